package remote

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
)

// Timeout bounds one conversation.
const Timeout = 60 * time.Second

// Limits on what a server may send.
const (
	maxAdvertised  = 16 << 20  // bytes of the list of refs
	maxTransferred = 128 << 20 // bytes of objects, compressed
	maxWants       = 10_000    // refs asked for when a commit has to be searched
)

// TokenVariable is the environment variable with the password or token for
// https repositories.
const TokenVariable = "HOLDFAST_GIT_TOKEN"

// session is one conversation with a server.
type session interface {
	AdvertisedReferencesContext(context.Context) (*packp.AdvRefs, error)
	UploadPack(context.Context, *packp.UploadPackRequest) (*packp.UploadPackResponse, error)
	Close() error
}

// budget is how many bytes a server may still send.
type budget struct{ left int64 }

var errBudget = fmt.Errorf("it sends more than %d MiB; clone it and name the local clone", maxTransferred>>20)

type budgetReader struct {
	io.ReadCloser
	budget *budget
}

func (r *budgetReader) Read(p []byte) (int, error) {
	if r.budget.left <= 0 {
		return 0, errBudget
	}
	n, err := r.ReadCloser.Read(p[:min(int64(len(p)), r.budget.left)])
	r.budget.left -= int64(n)
	return n, err
}

// startSession prepares to speak with a server.
func startSession(ctx context.Context, loc Location, allowance *budget) (session, error) {
	if loc.Scheme == "ssh" {
		return dialSSH(ctx, loc, allowance)
	}
	return dialHTTPS(loc, allowance)
}

// dialHTTPS prepares requests; none is sent yet. go-git drops the credentials
// when a redirect leaves the host, and refuses redirects to plain http.
func dialHTTPS(loc Location, allowance *budget) (session, error) {
	base := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:   15 * time.Second,
		ResponseHeaderTimeout: Timeout,
		ForceAttemptHTTP2:     true,
		DisableKeepAlives:     true,
	}
	host := loc.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	endpoint, err := transport.NewEndpoint("https://" + host)
	if err != nil {
		return nil, err
	}
	endpoint.Path = loc.Path
	if loc.Port != "" {
		if endpoint.Port, err = net.LookupPort("tcp", loc.Port); err != nil {
			return nil, fmt.Errorf("port %s: %w", loc.Port, err)
		}
	}
	var auth transport.AuthMethod
	if token := os.Getenv(TokenVariable); token != "" {
		user := loc.User
		if user == "" {
			user = "git"
		}
		auth = &githttp.BasicAuth{Username: user, Password: token}
	}
	client := githttp.NewClient(&http.Client{Transport: limited{base, allowance}})
	return client.NewUploadPackSession(endpoint, auth)
}

// limited puts the answers of a server on a budget, after decompression.
type limited struct {
	base      http.RoundTripper
	allowance *budget
}

func (l limited) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := l.base.RoundTrip(req)
	if err == nil {
		res.Body = &budgetReader{res.Body, l.allowance}
	}
	return res, err
}
