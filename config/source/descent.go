package source

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/holdfast-dr/holdfast/config/source/remote"
)

// Descent says how a commit relates to an earlier one.
type Descent string

// The relations.
const (
	DescentSame    Descent = "same"    // it is that commit
	DescentYes     Descent = "yes"     // it descends from that commit
	DescentNo      Descent = "no"      // it does not: a rewind, a forced push, or a commit of another repository
	DescentUnknown Descent = "unknown" // the history that could be read is cut off, or there is none
)

// OK says that nothing of the earlier commit was taken back: same or yes.
func (d Descent) OK() bool { return d == DescentSame || d == DescentYes }

// Descends says whether the opened commit is ancestor or descends from it.
// ancestor is a full commit id. A remote repository is asked for the history
// only now.
func (s *Source) Descends(ctx context.Context, ancestor string) (d Descent, err error) {
	defer guard(&err)
	if !isFullID(ancestor) {
		return "", fmt.Errorf("%q is not a full commit id of 40 hex digits", ancestor)
	}
	switch {
	case s.Info.Commit == "":
		return DescentUnknown, nil
	case s.Info.Commit == plumbing.NewHash(ancestor).String():
		return DescentSame, nil
	}
	return s.ancestry(ctx, ancestor)
}

// Descends opens spec only to ask for its descent. A caller that also reads the
// files should ask its Source, so that both speak of the same commit.
func Descends(ctx context.Context, spec Spec, ancestor string) (d Descent, err error) {
	s, err := Open(ctx, spec)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return s.Descends(ctx, ancestor)
}

// Fork gives the commit where another one branched off ref: the newest that
// both have in common. commit is a full id in the repository of spec.
func Fork(ctx context.Context, spec Spec, commit string) (base string, err error) {
	defer guard(&err)
	loc, err := remote.Parse(spec.Repo)
	if err != nil {
		return "", err
	}
	if err := checkRef(spec.Ref); err != nil {
		return "", err
	}
	h, id, err := spec.histories(ctx, loc, plumbing.NewHash(commit))
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, h.db.Close()) }()
	tip, err := h.db.peel(id)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", loc.Shown, err)
	}
	found, err := h.fork(ctx, plumbing.NewHash(commit), tip.Hash)
	if errors.Is(err, errCut) {
		err = fmt.Errorf("%w; fetch all of it: git fetch --unshallow (in a workflow: fetch-depth: 0, or GIT_DEPTH: 0)", err)
	}
	if err != nil {
		return "", fmt.Errorf("find where %s branched off %s: %w", commit[:12], spec.Ref, err)
	}
	return found.String(), nil
}

// histories opens the history of the ref of spec together with that of a commit.
func (spec Spec) histories(ctx context.Context, loc remote.Location, commit objectID) (*history, objectID, error) {
	if loc.OnServer() {
		h, id, err := fetchFork(ctx, loc, spec.Ref, commit)
		if err != nil {
			err = remote.Explain(loc, err)
		}
		return h, id, err
	}
	r, err := openLocal(loc.Path)
	if err != nil {
		return nil, objectID{}, err
	}
	r.refs.whole = true
	_, id, err := r.resolve(spec.Ref)
	if err != nil {
		return nil, id, errors.Join(fmt.Errorf("read %s: %w", r.where, err), r.db.Close())
	}
	return r.history(), id, nil
}
