package remote

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/transport"

	"github.com/holdfast-dr/holdfast/config/diag"
)

// remoteError is what went wrong with a server, in words. It matches what
// caused it but does not hand it out: the cause may repeat what the server
// sent, even our credentials.
type remoteError struct {
	text  string
	cause error
}

func (e *remoteError) Error() string        { return e.text }
func (e *remoteError) Is(target error) bool { return errors.Is(e.cause, target) }

// Explain says what to do about an error of the server of a repository. Its text
// has no credentials.
func Explain(loc Location, err error) error {
	for {
		var unexpected *plumbing.UnexpectedError
		var permanent *plumbing.PermanentError
		if errors.As(err, &unexpected) {
			err = unexpected.Err
		} else if errors.As(err, &permanent) {
			err = permanent.Err
		} else {
			break
		}
	}
	var dns *net.DNSError
	var certificate *tls.CertificateVerificationError
	var timeout net.Error
	text := ""
	switch token := os.Getenv(TokenVariable); {
	case errors.Is(err, context.Canceled):
		text = "canceled"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		text = "the server did not answer in time; check the network and the server"
	case errors.As(err, &dns):
		text = fmt.Sprintf("host %s is not known; check its name and the name service", loc.Host)
	case errors.Is(err, syscall.ECONNREFUSED):
		text = fmt.Sprintf("host %s refuses connections; check the port and whether the server runs", loc.Host)
	case errors.As(err, &certificate):
		text = "the server's certificate is not trusted: " + certificate.Err.Error()
	case errors.Is(err, transport.ErrAuthenticationRequired) && token == "":
		text = "the server wants a login, or there is no such repository; set " + TokenVariable + " to a token that may read it"
	case errors.Is(err, transport.ErrAuthenticationRequired):
		text = "the server does not accept the token in " + TokenVariable
	case errors.Is(err, transport.ErrAuthorizationFailed):
		text = "the account may not read this repository"
	case errors.Is(err, transport.ErrRepositoryNotFound):
		text = "the server knows no such repository, or hides it from this account"
	case errors.Is(err, transport.ErrEmptyRemoteRepository):
		text = "the repository has no commits yet; commit the configuration first"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		text = "the server ended the connection early; check its log"
	default:
		text = err.Error()
	}
	text = fmt.Sprintf("read %s: %s", loc.Shown, diag.Printable(text))
	if token := os.Getenv(TokenVariable); token != "" {
		text = strings.ReplaceAll(text, token, "***")
	}
	return &remoteError{text: text, cause: err}
}
