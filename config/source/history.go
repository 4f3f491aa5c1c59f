package source

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// history is what a repository knows of its commits.
type history struct {
	db      *database
	shallow map[objectID]bool // commits whose parents were not fetched
}

// errCut is matched when an answer lies before where the history was cut off.
var errCut = errors.New("the history that was fetched here ends before it")

// descent walks the history of commit, newest first, until it meets ancestor.
// What is not in a whole history is no ancestor.
func (h *history) descent(ctx context.Context, commit, ancestor string) (Descent, error) {
	target := plumbing.NewHash(ancestor)
	switch _, err := h.db.commit(target); {
	case errors.Is(err, errMissing) && len(h.shallow) == 0:
		return DescentNo, nil
	case err != nil && !errors.Is(err, errMissing):
		return "", err
	}
	w := walk{history: h}
	if err := w.add(plumbing.NewHash(commit), 1); err != nil {
		return "", err
	}
	for w.queue.Len() > 0 {
		c, err := w.next(ctx)
		if err != nil {
			return "", fmt.Errorf("follow the history of %s: %w", commit[:12], err)
		}
		if c.id == target {
			return DescentYes, nil
		}
	}
	if w.cut {
		return DescentUnknown, nil
	}
	return DescentNo, nil
}

// The sides a commit was reached from, and that it lies before a common one.
const (
	ours, theirs, stale = 1, 2, 4
	common              = ours | theirs
)

// fork finds the newest commit that two commits have in common: where the one
// branched off the other. It walks both histories together, newest first, and
// marks what it meets with the sides it came from.
func (h *history) fork(ctx context.Context, a, b objectID) (objectID, error) {
	w := walk{history: h}
	if err := errors.Join(w.add(a, ours), w.add(b, theirs)); err != nil {
		return a, err
	}
	var found []objectID
	for w.fresh() {
		c, err := w.next(ctx)
		if err != nil {
			return a, err
		}
		if w.marks[c.id] == common && !slices.Contains(found, c.id) {
			found = append(found, c.id)
		}
	}
	for len(found) > 1 && w.queue.Len() > 0 { // where clocks were wrong, one may lie before another
		if _, err := w.next(ctx); err != nil {
			return a, err
		}
	}
	found = slices.DeleteFunc(found, func(id objectID) bool { return w.marks[id]&stale != 0 })
	switch {
	case len(found) > 0:
		return found[0], nil
	case w.cut:
		return a, errCut
	}
	return a, errors.New("they have no commit in common")
}

// walk goes through commits, newest first. Dates only order it; a wrong clock
// makes it longer.
type walk struct {
	*history
	queue newestFirst
	marks map[objectID]byte
	cut   bool // it met a commit whose parents were not fetched
}

// add puts a commit in the queue unless it has these marks already.
func (w *walk) add(id objectID, marks byte) error {
	if w.marks == nil {
		w.marks = map[objectID]byte{}
	}
	if w.marks[id]|marks == w.marks[id] {
		return nil
	}
	w.marks[id] |= marks
	c, err := w.db.commit(id)
	if err == nil {
		heap.Push(&w.queue, entry(c))
	}
	return err
}

// next takes the newest commit and gives its marks to its parents.
func (w *walk) next(ctx context.Context) (visit, error) {
	if err := ctx.Err(); err != nil {
		return visit{}, err
	}
	c := heap.Pop(&w.queue).(visit)
	if w.shallow[c.id] {
		w.cut = true
		return c, nil
	}
	marks := w.marks[c.id]
	if marks&common == common {
		marks |= stale
	}
	for _, p := range c.parents {
		if err := w.add(p, marks); err != nil {
			return c, err
		}
	}
	return c, nil
}

// fresh reports whether anything in the queue may still lead to a common commit.
func (w *walk) fresh() bool {
	return slices.ContainsFunc(w.queue, func(v visit) bool { return w.marks[v.id]&stale == 0 })
}

type visit struct {
	id      objectID
	when    time.Time
	parents []objectID
}

func entry(c *object.Commit) visit {
	return visit{id: c.Hash, when: c.Committer.When, parents: c.ParentHashes}
}

// newestFirst implements heap.Interface.
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
