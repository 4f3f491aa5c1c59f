package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/user"
	"strings"
	"sync"

	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/transport"
	gitssh "github.com/go-git/go-git/v5/plumbing/transport/ssh"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/holdfast-dr/holdfast/config/diag"
)

// sshSession is git-upload-pack at the other end of an ssh connection. go-git's
// own ssh transport neither ends with a context during the handshake nor bounds
// what a server sends.
type sshSession struct {
	client  *ssh.Client
	release func() bool // detaches the connection from the context
	in      io.WriteCloser
	out     io.ReadCloser
	session *ssh.Session
	stderr  *remark
}

func dialSSH(ctx context.Context, loc Location, allowance *budget) (session, error) {
	port := loc.Port
	if port == "" {
		port = "22"
	}
	address := net.JoinHostPort(loc.Host, port)
	known, err := gitssh.NewKnownHostsDb()
	if err != nil {
		return nil, fmt.Errorf("there is no known_hosts file (~/.ssh/known_hosts, /etc/ssh/ssh_known_hosts or SSH_KNOWN_HOSTS) to check the server's key against: %w", err)
	}
	account := loc.User
	if account == "" {
		me, err := user.Current()
		if err != nil {
			return nil, fmt.Errorf("no user is given and the current one is unknown: %w", err)
		}
		account = me.Username
	}
	keys, done := clientKeys()
	defer done()
	config := &ssh.ClientConfig{
		User:              account,
		Auth:              []ssh.AuthMethod{ssh.PublicKeysCallback(keys.signers)},
		HostKeyAlgorithms: known.HostKeyAlgorithms(address),
		HostKeyCallback: func(host string, remote net.Addr, key ssh.PublicKey) error {
			return hostKeyError(known.HostKeyCallback()(host, remote, key), host, key)
		},
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	release := context.AfterFunc(ctx, func() { conn.Close() })
	s, err := startUploadPack(conn, address, config, loc.Path, allowance)
	if err != nil {
		release()
		conn.Close()
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case strings.Contains(err.Error(), "unable to authenticate"):
			return nil, fmt.Errorf("the server accepts no key for user %s; %s", account, keys.tried())
		}
		return nil, err
	}
	s.release = release
	return s, nil
}

func startUploadPack(conn net.Conn, address string, config *ssh.ClientConfig, path string, allowance *budget) (*sshSession, error) {
	c, channels, requests, err := ssh.NewClientConn(conn, address, config)
	if err != nil {
		return nil, err
	}
	client := ssh.NewClient(c, channels, requests)
	session, err := client.NewSession()
	if err != nil {
		return nil, err
	}
	s := &sshSession{client: client, session: session, stderr: &remark{}}
	session.Stderr = s.stderr
	if s.in, err = session.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := session.StdoutPipe()
	if err != nil {
		return nil, err
	}
	s.out = &budgetReader{io.NopCloser(out), allowance}
	return s, session.Start("git-upload-pack '" + strings.NewReplacer(`'`, `'\''`, `!`, `'\!'`).Replace(path) + "'")
}

// AdvertisedReferencesContext reads the refs. The connection itself ends with
// the context it was dialled with.
func (s *sshSession) AdvertisedReferencesContext(context.Context) (*packp.AdvRefs, error) {
	adv := packp.NewAdvRefs()
	err := adv.Decode(s.out)
	if errors.Is(err, packp.ErrEmptyInput) {
		// It ended without a word on this channel; the other has the reason. The
		// exit status adds nothing to it.
		_ = s.session.Wait()
	}
	said := s.stderr.String()
	switch {
	case errors.Is(err, packp.ErrEmptyAdvRefs), err == nil && adv.IsEmpty():
		return nil, transport.ErrEmptyRemoteRepository
	case err != nil && (strings.Contains(said, "not appear to be a git repository") || strings.Contains(strings.ToLower(said), "repository not found")):
		return nil, transport.ErrRepositoryNotFound
	case err != nil && said != "":
		return nil, fmt.Errorf("the server says: %s", said)
	case err != nil:
		return nil, err
	}
	transport.FilterUnsupportedCapabilities(adv.Capabilities)
	return adv, nil
}

// UploadPack sends the request and reads up to where the pack begins.
func (s *sshSession) UploadPack(_ context.Context, req *packp.UploadPackRequest) (*packp.UploadPackResponse, error) {
	if err := req.Validate(); err != nil {
		return nil, err
	}
	if err := req.UploadRequest.Encode(s.in); err != nil {
		return nil, err
	}
	if err := pktline.NewEncoder(s.in).EncodeString("done\n"); err != nil {
		return nil, err
	}
	if err := s.in.Close(); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	res := packp.NewUploadPackResponse(req)
	return res, res.Decode(s.out)
}

func (s *sshSession) Close() error {
	s.release()
	return s.client.Close()
}

// remark keeps the beginning of what a server writes to its standard error.
type remark struct {
	mu  sync.Mutex
	buf []byte
}

func (r *remark) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.buf = append(r.buf, p[:min(len(p), 1024-len(r.buf))]...)
	return len(p), nil
}

func (r *remark) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return diag.Printable(string(r.buf))
}

// hostKeyError says why a host key is not trusted and how to make it so.
func hostKeyError(err error, host string, key ssh.PublicKey) error {
	var unknown *knownhosts.KeyError
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &unknown):
		return err
	case len(unknown.Want) == 0:
		return fmt.Errorf("the host key of %s is not in known_hosts; compare its fingerprint %s with the server's, then add it", host, ssh.FingerprintSHA256(key))
	}
	return fmt.Errorf("the host key of %s has CHANGED: it shows %s, known_hosts (%s line %d) says otherwise; someone may be between you and the server, ask its administrator",
		host, ssh.FingerprintSHA256(key), unknown.Want[0].Filename, unknown.Want[0].Line)
}
