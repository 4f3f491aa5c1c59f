package source

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"

	"github.com/holdfast-dr/holdfast/config/diag"
)

// Limits on what a server may send.
const (
	remoteTimeout  = 60 * time.Second
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

// openRemote fetches one commit, without its history when the server can do that.
func openRemote(ctx context.Context, loc location, ref, dir string) (*Source, error) {
	name, id, db, err := fetchRef(ctx, loc, ref)
	if err != nil {
		return nil, explain(loc, err)
	}
	s, err := commitSource(db, loc.shown, name, id, dir)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	s.ancestry = func(ctx context.Context, ancestor string) (Descent, error) {
		history, err := fetchHistory(ctx, loc, plumbing.NewHash(s.Info.Commit))
		if err != nil {
			return "", explain(loc, err)
		}
		d, err := descent(ctx, history, s.Info.Commit, ancestor, nil)
		return d, errors.Join(err, history.Close())
	}
	return s, nil
}

func fetchRef(ctx context.Context, loc location, ref string) (name string, id objectID, db *database, err error) {
	ctx, cancel := context.WithTimeout(ctx, remoteTimeout)
	defer cancel()
	defer func() { err = late(ctx, err) }()
	allowance := &budget{left: maxAdvertised}
	s, err := dial(ctx, loc, allowance)
	if err != nil {
		return "", id, nil, err
	}
	defer s.Close()
	adv, err := s.AdvertisedReferencesContext(ctx)
	if err != nil {
		return "", id, nil, err
	}
	allowance.left = maxTransferred
	rs := advertised{adv}
	name, id, found, err := pick(rs, ref)
	if err != nil {
		return "", id, nil, err
	}
	caps := adv.Capabilities
	direct := found || rs.tip(id) || caps.Supports(capability.AllowReachableSHA1InWant) || caps.Supports("allow-any-sha1-in-want")
	switch {
	case direct && !id.IsZero():
		req := request(caps, packp.FilterBlobLimit(maxFileSize+1, packp.BlobLimitPrefixNone), id)
		if caps.Supports(capability.Shallow) {
			req.Depth = packp.DepthCommits(1)
			if err := req.Capabilities.Set(capability.Shallow); err != nil {
				return "", id, nil, err
			}
		}
		db, err = receive(ctx, s, req)
		return name, id, db, err
	case !isFullID(ref) && !isPartID(ref):
		return "", id, nil, unknownRef(rs, ref)
	}
	tips := rs.tips()
	if len(tips) == 0 || len(tips) > maxWants {
		return "", id, nil, unknownRef(rs, ref)
	}
	// The server only gives what refs lead to: fetch it all and search.
	db, err = receive(ctx, s, request(caps, packp.FilterBlobLimit(maxFileSize+1, packp.BlobLimitPrefixNone), tips...))
	if err != nil {
		return "", id, nil, err
	}
	if isFullID(ref) {
		if _, err = db.size(id); errors.Is(err, errMissing) {
			err = unknownRef(rs, ref)
		}
	} else {
		id, err = byPrefix(db, rs, ref)
	}
	if err != nil {
		return "", id, nil, errors.Join(err, db.Close())
	}
	return "", id, db, nil
}

// fetchHistory fetches a commit and everything before it; only the commits
// themselves when the server can filter.
func fetchHistory(ctx context.Context, loc location, id objectID) (db *database, err error) {
	ctx, cancel := context.WithTimeout(ctx, remoteTimeout)
	defer cancel()
	defer func() { err = late(ctx, err) }()
	allowance := &budget{left: maxAdvertised}
	s, err := dial(ctx, loc, allowance)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	adv, err := s.AdvertisedReferencesContext(ctx)
	if err != nil {
		return nil, err
	}
	allowance.left = maxTransferred
	wants := []objectID{id}
	if rs := (advertised{adv}); !rs.tip(id) && !adv.Capabilities.Supports(capability.AllowReachableSHA1InWant) {
		if wants = rs.tips(); len(wants) == 0 || len(wants) > maxWants {
			return nil, fmt.Errorf("commit %s is no longer reachable from any branch", short(id))
		}
	}
	return receive(ctx, s, request(adv.Capabilities, packp.FilterTreeDepth(0), wants...))
}

// late replaces the many errors an ended context leads to by the context's own.
func late(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

func dial(ctx context.Context, loc location, allowance *budget) (session, error) {
	if loc.scheme == "ssh" {
		return dialSSH(ctx, loc, allowance)
	}
	return dialHTTPS(loc, allowance)
}

// dialHTTPS prepares requests; none is sent yet. go-git drops the credentials
// when a redirect leaves the host, and refuses redirects to plain http.
func dialHTTPS(loc location, allowance *budget) (session, error) {
	base := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:   15 * time.Second,
		ResponseHeaderTimeout: remoteTimeout,
		ForceAttemptHTTP2:     true,
		DisableKeepAlives:     true,
	}
	host := loc.host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	endpoint, err := transport.NewEndpoint("https://" + host)
	if err != nil {
		return nil, err
	}
	endpoint.Path = loc.path
	if loc.port != "" {
		if endpoint.Port, err = net.LookupPort("tcp", loc.port); err != nil {
			return nil, fmt.Errorf("port %s: %w", loc.port, err)
		}
	}
	var auth transport.AuthMethod
	if token := os.Getenv(TokenVariable); token != "" {
		user := loc.user
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

// request asks for commits. Objects that filter leaves out are never needed;
// a server that cannot filter sends them too.
func request(caps *capability.List, filter packp.Filter, wants ...objectID) *packp.UploadPackRequest {
	req := packp.NewUploadPackRequestFromCapabilities(caps)
	req.Wants = wants
	if caps.Supports(capability.Filter) && req.Capabilities.Set(capability.Filter) == nil {
		req.Filter = filter
	}
	return req
}

func receive(ctx context.Context, s session, req *packp.UploadPackRequest) (*database, error) {
	res, err := s.UploadPack(ctx, req)
	if err != nil {
		return nil, err
	}
	defer res.Close()
	var pack io.Reader = res
	switch {
	case req.Capabilities.Supports(capability.Sideband64k):
		pack = sideband.NewDemuxer(sideband.Sideband64k, res)
	case req.Capabilities.Supports(capability.Sideband):
		pack = sideband.NewDemuxer(sideband.Sideband, res)
	}
	store, err := receivePack(ctx, pack)
	if err != nil {
		return nil, err
	}
	return &database{stores: []objectStore{store}, hint: " (the server did not send it; it may be larger than the limits)"}, nil
}

// advertised are the refs a server offers.
type advertised struct{ *packp.AdvRefs }

func (a advertised) head() (string, objectID, error) {
	branch := ""
	for _, pair := range a.Capabilities.Get(capability.SymRef) {
		if target, ok := strings.CutPrefix(pair, "HEAD:"); ok {
			branch = shortName(target)
		}
	}
	if a.Head == nil {
		return branch, objectID{}, nil
	}
	return diag.Printable(branch), *a.Head, nil
}

func (a advertised) find(name string) (objectID, bool, error) {
	id, ok := a.References[name]
	return id, ok, nil
}

func (a advertised) names() ([]string, error) {
	return slices.Sorted(maps.Keys(a.References)), nil
}

func (a advertised) tip(id objectID) bool {
	if id.IsZero() {
		return false
	}
	for _, at := range a.References {
		if at == id {
			return true
		}
	}
	return false
}

// tips are the ids branches and tags point at.
func (a advertised) tips() []objectID {
	set := map[objectID]bool{}
	for name, id := range a.References {
		if strings.HasPrefix(name, "refs/heads/") || strings.HasPrefix(name, "refs/tags/") {
			set[id] = true
		}
	}
	return slices.Collect(maps.Keys(set))
}

// remoteError is what went wrong with a server, in words. It matches what
// caused it but does not hand it out: the cause may repeat what the server
// sent, even our credentials.
type remoteError struct {
	text  string
	cause error
}

func (e *remoteError) Error() string        { return e.text }
func (e *remoteError) Is(target error) bool { return errors.Is(e.cause, target) }

// explain says what to do about an error of a server.
func explain(loc location, err error) error {
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
		text = fmt.Sprintf("host %s is not known; check its name and the name service", loc.host)
	case errors.Is(err, syscall.ECONNREFUSED):
		text = fmt.Sprintf("host %s refuses connections; check the port and whether the server runs", loc.host)
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
		text = "the repository " + errNoCommits.Error() + "; commit the configuration first"
		err = errNoCommits
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		text = "the server ended the connection early; check its log"
	default:
		text = err.Error()
	}
	text = fmt.Sprintf("read %s: %s", loc.shown, diag.Printable(text))
	if token := os.Getenv(TokenVariable); token != "" {
		text = strings.ReplaceAll(text, token, "***")
	}
	return &remoteError{text: text, cause: err}
}
