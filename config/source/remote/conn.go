// Package remote speaks with the server of a git repository, by https or ssh: it
// reads the refs and fetches commits. What a server may send is bounded, and
// what goes wrong with it is said in words.
package remote

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"

	"github.com/holdfast-dr/holdfast/config/diag"
)

// Conn is one conversation with the server of a repository: it tells its refs,
// then it sends one pack.
type Conn struct {
	session session
	offered *packp.AdvRefs
}

// Dial connects to the server of a repository and reads its refs. The
// conversation ends with ctx; give it no longer than Timeout.
func Dial(ctx context.Context, loc Location) (*Conn, error) {
	allowance := &budget{left: maxAdvertised}
	s, err := startSession(ctx, loc, allowance)
	if err != nil {
		return nil, err
	}
	offered, err := s.AdvertisedReferencesContext(ctx)
	if err != nil {
		s.Close()
		return nil, err
	}
	allowance.left = maxTransferred
	return &Conn{session: s, offered: offered}, nil
}

// Close ends the conversation.
func (c *Conn) Close() error { return c.session.Close() }

// Head gives the full name of the branch HEAD names, or nothing when it is
// detached, and its commit, or zero when the branch has none yet.
func (c *Conn) Head() (branch string, id plumbing.Hash, err error) {
	for _, pair := range c.offered.Capabilities.Get(capability.SymRef) {
		if target, ok := strings.CutPrefix(pair, "HEAD:"); ok {
			branch = diag.Printable(target)
		}
	}
	if c.offered.Head != nil {
		id = *c.offered.Head
	}
	return branch, id, nil
}

// Find gives what a full name such as refs/heads/main points at.
func (c *Conn) Find(name string) (plumbing.Hash, bool, error) {
	id, ok := c.offered.References[name]
	return id, ok, nil
}

// Absent has nothing to add about a name that the server does not know.
func (c *Conn) Absent(string) string { return "" }

// Names lists every full name, in order.
func (c *Conn) Names() ([]string, error) {
	return slices.Sorted(maps.Keys(c.offered.References)), nil
}

// tips are what branches and tags point at; none when there are more than can
// be asked for.
func (c *Conn) tips() []plumbing.Hash {
	set := map[plumbing.Hash]bool{}
	for name, id := range c.offered.References {
		if strings.HasPrefix(name, "refs/heads/") || strings.HasPrefix(name, "refs/tags/") {
			set[id] = true
		}
	}
	if len(set) > maxWants {
		return nil
	}
	return slices.Collect(maps.Keys(set))
}

// isTip reports whether a ref points at a commit.
func (c *Conn) isTip(id plumbing.Hash) bool {
	for _, at := range c.offered.References {
		if at == id {
			return !id.IsZero()
		}
	}
	return false
}

// Gives reports whether the server sends a commit that is asked for by its id.
func (c *Conn) Gives(id plumbing.Hash) bool {
	caps := c.offered.Capabilities
	return c.isTip(id) || caps.Supports(capability.AllowReachableSHA1InWant) || caps.Supports("allow-any-sha1-in-want")
}

// Commit fetches one commit, without its history when the server can do that
// and without files larger than most bytes when it can filter.
func (c *Conn) Commit(ctx context.Context, id plumbing.Hash, most uint64) (*Pack, error) {
	req := c.request(packp.FilterBlobLimit(most+1, packp.BlobLimitPrefixNone), id)
	if c.offered.Capabilities.Supports(capability.Shallow) {
		req.Depth = packp.DepthCommits(1)
		if err := req.Capabilities.Set(capability.Shallow); err != nil {
			return nil, err
		}
	}
	return c.receive(ctx, req)
}

// All fetches everything branches and tags lead to, without files larger than
// most bytes when the server can filter. It is nil when there are no branches
// and tags, or too many.
func (c *Conn) All(ctx context.Context, most uint64) (*Pack, error) {
	tips := c.tips()
	if len(tips) == 0 {
		return nil, nil
	}
	return c.receive(ctx, c.request(packp.FilterBlobLimit(most+1, packp.BlobLimitPrefixNone), tips...))
}

// History fetches commits and everything before them; only the commits
// themselves when the server can filter.
func (c *Conn) History(ctx context.Context, ids ...plumbing.Hash) (*Pack, error) {
	wants := slices.Compact(slices.Clone(ids))
	for _, id := range ids {
		if c.isTip(id) || c.offered.Capabilities.Supports(capability.AllowReachableSHA1InWant) {
			continue
		}
		if wants = c.tips(); len(wants) == 0 {
			return nil, fmt.Errorf("commit %s is no longer reachable from any branch", id.String()[:12])
		}
		break
	}
	return c.receive(ctx, c.request(packp.FilterTreeDepth(0), wants...))
}

// Shallow gives the commits at which the server's own history is cut off.
func (c *Conn) Shallow() map[plumbing.Hash]bool {
	set := map[plumbing.Hash]bool{}
	for _, id := range c.offered.Shallows {
		set[id] = true
	}
	return set
}

// request asks for commits. Objects that filter leaves out are never needed;
// a server that cannot filter sends them too.
func (c *Conn) request(filter packp.Filter, wants ...plumbing.Hash) *packp.UploadPackRequest {
	req := packp.NewUploadPackRequestFromCapabilities(c.offered.Capabilities)
	req.Wants = wants
	if c.offered.Capabilities.Supports(capability.Filter) && req.Capabilities.Set(capability.Filter) == nil {
		req.Filter = filter
	}
	return req
}

func (c *Conn) receive(ctx context.Context, req *packp.UploadPackRequest) (*Pack, error) {
	res, err := c.session.UploadPack(ctx, req)
	if err != nil {
		return nil, err
	}
	defer res.Close()
	var sent io.Reader = res
	switch {
	case req.Capabilities.Supports(capability.Sideband64k):
		sent = sideband.NewDemuxer(sideband.Sideband64k, res)
	case req.Capabilities.Supports(capability.Sideband):
		sent = sideband.NewDemuxer(sideband.Sideband, res)
	}
	return receivePack(ctx, sent)
}
