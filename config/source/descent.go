package source

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// Descent says how a commit relates to an earlier one.
type Descent string

// The relations.
const (
	DescentSame    Descent = "same"    // it is that commit
	DescentYes     Descent = "yes"     // it descends from that commit
	DescentNo      Descent = "no"      // both are known and it does not: a rewind or a forced push
	DescentUnknown Descent = "unknown" // that commit is not in the history that could be read
)

// OK says that nothing of the earlier commit was taken back: same or yes.
func (d Descent) OK() bool { return d == DescentSame || d == DescentYes }

// Descends says whether the opened commit is ancestor or descends from it.
// ancestor is a full commit id. A remote repository is asked for the history
// only now, and cannot tell "no" from "unknown".
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

// descent walks the history of commit, newest first, until it meets ancestor.
// At the ids in shallow the history was cut off.
func descent(ctx context.Context, db *database, commit, ancestor string, shallow map[objectID]bool) (Descent, error) {
	target := plumbing.NewHash(ancestor)
	if _, err := db.commit(target); errors.Is(err, errMissing) {
		return DescentUnknown, nil
	} else if err != nil {
		return "", err
	}
	first, err := db.commit(plumbing.NewHash(commit))
	if err != nil {
		return "", err
	}
	cut := false
	queue := &newestFirst{entry(first)}
	seen := map[objectID]bool{first.Hash: true}
	for queue.Len() > 0 {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		c := heap.Pop(queue).(visit)
		if c.id == target {
			return DescentYes, nil
		}
		if shallow[c.id] {
			cut = true
			continue
		}
		for _, p := range c.parents {
			if seen[p] {
				continue
			}
			seen[p] = true
			parent, err := db.commit(p)
			if err != nil {
				return "", fmt.Errorf("follow the history of %s: %w", commit[:12], err)
			}
			heap.Push(queue, entry(parent))
		}
	}
	if cut {
		return DescentUnknown, nil
	}
	return DescentNo, nil
}

type visit struct {
	id      objectID
	when    time.Time
	parents []objectID
}

func entry(c *object.Commit) visit {
	return visit{id: c.Hash, when: c.Committer.When, parents: c.ParentHashes}
}

// newestFirst implements heap.Interface. Dates only order the walk; a wrong
// clock makes it longer, never wrong.
type newestFirst []visit

func (q newestFirst) Len() int           { return len(q) }
func (q newestFirst) Less(i, j int) bool { return q[i].when.After(q[j].when) }
func (q newestFirst) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *newestFirst) Push(x any)        { *q = append(*q, x.(visit)) }

func (q *newestFirst) Pop() any {
	old := *q
	last := old[len(old)-1]
	*q = old[:len(old)-1]
	return last
}
