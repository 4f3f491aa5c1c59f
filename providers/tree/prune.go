package tree

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/holdfast-dr/holdfast/config/glob"
	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/attribute"
)

// Prune first walks and counts; then, if the count is allowed, it goes to where there was something and deletes, never
// more than was allowed even if files vanish from the source in between.
func (m *mirror) Prune(ctx context.Context, req providers.MirrorRequest) (providers.MirrorResult, error) {
	var res providers.MirrorResult
	exclude, err := glob.Compile(req.Exclude)
	if err != nil {
		return res, failed("prune", req, err)
	}
	s, err := openSides(req)
	if err != nil {
		return res, err
	}
	defer s.close()
	seen, err := identify(s, req)
	if err != nil {
		return res, err
	}
	if seen.first() {
		return res, wrongIdentity(s.dstPath, "it was never synced by "+req.Mirror, "Let a copy run first.")
	}
	if err := s.lock(); err != nil {
		return res, err
	}
	guard, err := m.guard()
	if err != nil {
		return res, err
	}
	found := &surplus{}
	if err := run(ctx, s, exclude, func(*walk) visitor { return found }); err != nil {
		return res, failed("prune", req, err)
	}
	diff := found.diff
	res.Files = diff.SourceFiles
	if req.MaxDeletePercent <= 0 {
		return res, nil
	}
	if diff.SourceFiles == 0 && diff.TargetFiles > 0 {
		return res, emptySource(s)
	}
	allowed := diff.TargetFiles * int64(min(req.MaxDeletePercent, 100)) / 100
	if diff.DeleteFiles > allowed {
		return res, tooMany(s, req, diff.DeleteFiles, diff.TargetFiles)
	}
	p := &pruning{protected: guard, exclude: exclude, allowed: allowed}
	if len(found.dirs) > 0 {
		err = run(ctx, s, exclude, func(*walk) visitor { return p }, found.dirs...)
	}
	res.DeletedFiles = p.deleted.Load()
	if errors.Is(err, providers.ErrTooManyDeletes) {
		return res, tooMany(s, req, allowed+1, diff.TargetFiles)
	}
	if err != nil {
		return res, failed("prune", req, err)
	}
	return res, confirm(s, req)
}

func tooMany(s *sides, req providers.MirrorRequest, n, of int64) error {
	return &providers.Error{
		Op: "prune", Target: s.dstPath,
		Err:  fmt.Errorf("%w: at least %d of the target's %d files, more than %d %%", providers.ErrTooManyDeletes, n, of, req.MaxDeletePercent),
		Hint: fmt.Sprintf("If the source %s is really meant to have lost them, raise delete.max_percent of %s for one pass.", s.srcPath, req.Mirror),
	}
}

// surplus is a comparison that notes where the target has what the source has not.
type surplus struct {
	comparison
	dirs []string
}

func (s *surplus) visit(b *both, e *entry) (bool, error) {
	if !e.inSrc && b.src.exists() {
		b.changed.Store(true)
	}
	if !e.inSrc && e.name == storeDir && e.dst.isDir() {
		if holds, err := isStore(b.dst); holds || err != nil {
			return false, at(b.path, cmp.Or(err, errStore))
		}
	}
	return s.comparison.visit(b, e)
}

// What tells that a directory is a store of artifacts: storeMark in storeDir.
const (
	storeDir  = ".holdfast"
	storeMark = "store.json"
)

var errStore = errors.New("holds a store of artifacts, which no prune deletes; if it is not needed any more, remove it by hand")

func isStore(d dir) (bool, error) {
	meta, err := d.open(storeDir)
	if err != nil {
		return false, err
	}
	defer meta.close()
	_, holds, err := meta.lstat(storeMark)
	return holds, err
}

func (s *surplus) leave(b *both) error {
	if b.changed.Load() {
		s.mu.Lock()
		s.dirs = append(s.dirs, b.path)
		s.mu.Unlock()
	}
	return s.comparison.leave(b)
}

// pruning deletes what the source no longer has from directories that both have.
type pruning struct {
	protected map[id]bool
	exclude   glob.Matcher
	allowed   int64
	deleted   atomic.Int64
}

// fail ends the pass: what could not be read may be there.
func (p *pruning) fail(path string, err error) error { return at(path, err) }

func (p *pruning) leftover(b *both, name string) error {
	if !b.src.exists() {
		return nil
	}
	return p.remove(b.dst, name, b.path, nil)
}

func (p *pruning) visit(b *both, e *entry) (bool, error) {
	if e.inSrc {
		return false, nil
	}
	if skip, _ := own(e.name, b.path == "", false); !skip {
		if _, back, err := b.src.lstat(e.name); back || err != nil {
			return false, err
		}
	}
	b.changed.Store(true)
	b.loose.Do(func() { loosen(b.dst.fd) })
	if err := writable(b.dst, &b.dstInfo); err != nil {
		return false, at(b.path, err)
	}
	_, err := p.entry(b.dst, e.name, join(b.path, e.name), &e.dst)
	return false, err
}

// leave puts back the directory's mode and times, which the deletes changed.
func (p *pruning) leave(b *both) error {
	if !b.changed.Load() {
		return nil
	}
	if !privileged {
		if err := unix.Fchmod(b.dst.fd, b.dstInfo.perm()); err != nil {
			return at(b.path, err)
		}
	}
	err := attribute.SetTime(attribute.Opened(b.dst.fd), b.dstInfo.mtime)
	if err == nil && b.path != "" {
		_, err = attribute.SetFlags(b.dst.fd, attribute.FlagsOf(b.src.fd))
	}
	if err != nil {
		return at(b.path, err)
	}
	return nil
}

// entry deletes a file or a whole directory, content first, and reports whether
// it is gone: a directory with excluded paths in it stays.
func (p *pruning) entry(parent dir, name, path string, i *info) (bool, error) {
	if !i.isDir() {
		return true, p.remove(parent, name, path, i)
	}
	if err := parent.allow(name, i); err != nil {
		return false, at(path, err)
	}
	d, err := parent.open(name)
	if err != nil {
		return false, at(path, err)
	}
	defer d.close()
	loosen(d.fd)
	names, err := d.list()
	if err != nil {
		return false, at(path, err)
	}
	empty := true
	for _, name := range names {
		below := join(path, name)
		i, ok, err := d.lstat(name)
		if err != nil {
			return false, at(below, err)
		}
		switch {
		case !ok:
			continue
		case p.exclude.Match(below, i.isDir()):
			empty = false
			continue
		case isOwn(name, tempPrefix) && !i.isDir():
			if err := p.remove(d, name, below, nil); err != nil {
				return false, err
			}
			continue
		}
		gone, err := p.entry(d, name, below, &i)
		if err != nil {
			return false, err
		}
		empty = empty && gone
	}
	if !empty {
		return false, nil
	}
	if err := parent.unlink(name, unix.AT_REMOVEDIR); err != nil {
		return false, at(path, err)
	}
	return true, nil
}

// remove deletes one file; without info it is an unfinished one, which does not count.
func (p *pruning) remove(d dir, name, path string, i *info) error {
	if i != nil {
		if p.protected[i.id] {
			return at(path, errProtected)
		}
		if p.deleted.Add(1) > p.allowed {
			p.deleted.Add(-1)
			return providers.ErrTooManyDeletes
		}
	}
	if err := d.unlink(name, 0); err != nil {
		if i != nil {
			p.deleted.Add(-1)
		}
		return at(path, err)
	}
	return nil
}

// writable makes sure that entries of an open directory can be deleted.
func writable(d dir, i *info) error {
	if i.mode&0o700 == 0o700 || privileged {
		return nil
	}
	return unix.Fchmod(d.fd, i.perm()|0o700)
}
