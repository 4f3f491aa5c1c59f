package tree

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/holdfast-dr/holdfast/config/glob"
	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/attribute"
)

// visitor is what a walk is for. Calls about one directory come from one goroutine,
// calls about different directories at the same time. An error ends the walk.
type visitor interface {
	// visit gets every entry that is not excluded, in name order, and says whether to
	// descend into the sides of it that are directories.
	visit(b *both, e *entry) (descend bool, err error)
	// leftover gets a file in the target that a killed pass did not finish.
	leftover(b *both, name string) error
	// leave comes after all entries and jobs of a directory, before its subdirectories are entered.
	leave(b *both) error
	// fail decides about an entry or a directory that cannot be read: nil goes on without it.
	fail(path string, err error) error
}

// entry is one name in a directory, as it is on both sides.
type entry struct {
	name         string
	inSrc, inDst bool
	src, dst     info
	made         bool            // a directory that this pass made in the target
	flags        attribute.Flags // the source's, once it was opened
}

// both is one directory on both sides; a side without it has no descriptor.
type both struct {
	src, dst dir
	path     string // relative to the roots
	srcInfo  info
	dstInfo  info
	changed  atomic.Bool // the target's was made by this pass, or entries of it were changed
	loose    sync.Once
	counts   counts
	jobs     sync.WaitGroup
}

func (b *both) close() {
	b.src.close()
	b.dst.close()
}

// walk goes through two trees at once, as a merge of their sorted listings.
// It holds the names of a few directories at a time, whatever the size of the trees.
type walk struct {
	ctx     context.Context
	stop    context.CancelCauseFunc
	exclude glob.Matcher
	roots   [2]id // neither may turn up inside the other, through a bind mount
	v       visitor
	slots   chan struct{}
	running sync.WaitGroup
}

// run walks the trees to the end, or to the first error: from the tops, or from directories that both of them had.
func run(ctx context.Context, s *sides, exclude glob.Matcher, v func(*walk) visitor, from ...string) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	w := &walk{ctx: ctx, stop: stop, exclude: exclude, roots: [2]id{s.srcInfo.id, s.dstInfo.id}, slots: make(chan struct{}, workers())}
	w.v = v(w)
	if len(from) == 0 {
		from = []string{""}
	}
	for _, path := range from {
		b, err := s.enter(path)
		if path != "" && gone(err) {
			continue
		}
		if err != nil {
			stop(at(path, err))
			break
		}
		if !w.try(func() { w.dir(b) }) {
			w.dir(b)
		}
	}
	w.running.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// enter opens a directory on both sides.
func (s *sides) enter(path string) (b *both, err error) {
	b = &both{src: none, dst: none, path: path}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	if b.src, err = s.src.below(path); err != nil {
		return nil, err
	}
	if b.srcInfo, err = b.src.stat(); err != nil || !s.dst.exists() {
		return b, err
	}
	if b.dst, err = s.dst.below(path); err != nil {
		return nil, err
	}
	b.dstInfo, err = b.dst.stat()
	return b, err
}

// try runs f beside the caller if a worker is free.
func (w *walk) try(f func()) bool {
	select {
	case w.slots <- struct{}{}:
		w.running.Go(func() {
			defer func() { <-w.slots }()
			f()
		})
		return true
	default:
		return false
	}
}

// job runs f, which belongs to the directory, beside the walk if a worker is free.
func (w *walk) job(b *both, f func() error) {
	do := func() {
		if err := f(); err != nil {
			w.stop(err)
		}
	}
	b.jobs.Add(1)
	if !w.try(func() { defer b.jobs.Done(); do() }) {
		defer b.jobs.Done()
		do()
	}
}

func (w *walk) dir(b *both) {
	defer b.close()
	subs, err := w.entries(b)
	b.jobs.Wait()
	if err == nil && w.ctx.Err() == nil {
		err = w.v.leave(b)
	}
	if err != nil {
		w.stop(err)
		return
	}
	for i := range subs {
		if w.ctx.Err() != nil {
			return
		}
		child, err := w.open(b, &subs[i])
		if err != nil {
			w.stop(err)
			return
		}
		if child != nil && !w.try(func() { w.dir(child) }) {
			w.dir(child)
		}
	}
}

// entries merges the two listings and returns the directories to descend into.
func (w *walk) entries(b *both) ([]entry, error) {
	src, err := b.src.list()
	if err != nil {
		return nil, w.v.fail(b.path, err)
	}
	dst, err := b.dst.list()
	if err != nil {
		return nil, w.v.fail(b.path, err)
	}
	var subs []entry
	var e entry
	for len(src) > 0 || len(dst) > 0 {
		if w.ctx.Err() != nil {
			return nil, nil
		}
		e = entry{}
		order := 0
		switch {
		case len(src) == 0:
			order = 1
		case len(dst) == 0:
			order = -1
		default:
			order = strings.Compare(src[0], dst[0])
		}
		if order <= 0 {
			e.name, e.inSrc = src[0], true
			src = src[1:]
		}
		if order >= 0 {
			e.name, e.inDst = dst[0], true
			dst = dst[1:]
		}
		descend, err := w.entry(b, &e)
		if err != nil {
			return nil, err
		}
		if descend {
			subs = append(subs, e)
		}
	}
	return subs, nil
}

func (w *walk) entry(b *both, e *entry) (descend bool, err error) {
	if e.inSrc {
		if skip, _ := own(e.name, b.path == "", false); skip {
			e.inSrc = false
		} else if e.src, e.inSrc, err = b.src.lstat(e.name); err != nil {
			return false, w.v.fail(join(b.path, e.name), err)
		}
	}
	if e.inDst {
		skip, leftover := own(e.name, b.path == "", true)
		if leftover {
			return false, w.v.leftover(b, e.name)
		}
		if skip {
			return false, nil
		}
		if e.dst, e.inDst, err = b.dst.lstat(e.name); err != nil {
			return false, w.v.fail(join(b.path, e.name), err)
		}
	}
	if !e.inSrc && !e.inDst || w.excluded(b.path, e) {
		return false, nil
	}
	if e.inSrc && e.src.isDir() && e.src.id == w.roots[1] || e.inDst && e.dst.isDir() && e.dst.id == w.roots[0] {
		return false, at(join(b.path, e.name), providers.ErrNested)
	}
	return w.v.visit(b, e)
}

func (w *walk) excluded(dir string, e *entry) bool {
	if w.exclude.Empty() {
		return false
	}
	path := join(dir, e.name)
	return e.inSrc && w.exclude.Match(path, e.src.isDir()) || e.inDst && w.exclude.Match(path, e.dst.isDir())
}

// open enters a subdirectory. Nothing and no error: it vanished, or the visitor goes on without it.
func (w *walk) open(b *both, e *entry) (*both, error) {
	child := &both{src: none, dst: none, path: join(b.path, e.name), srcInfo: e.src, dstInfo: e.dst}
	child.changed.Store(e.made)
	var err error
	if e.inSrc && e.src.isDir() {
		child.src, err = b.src.open(e.name)
		if gone(err) {
			return nil, nil
		}
	}
	if err == nil && e.inDst && e.dst.isDir() {
		child.dst, err = b.dst.open(e.name)
	}
	if err != nil {
		child.close()
		return nil, w.v.fail(child.path, err)
	}
	return child, nil
}
