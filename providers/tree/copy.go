package tree

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/holdfast-dr/holdfast/config/glob"
	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/attribute"
)

// Copy makes a first or another copy. What it wrote is durable when it returns
// without error: one syncfs per file system at the end instead of an fsync per
// file, which for many small files costs more than copying them.
func (m *mirror) Copy(ctx context.Context, req providers.MirrorRequest, progress providers.Progress) (providers.MirrorResult, error) {
	exclude, err := glob.Compile(req.Exclude)
	if err != nil {
		return providers.MirrorResult{}, failed("copy", req, err)
	}
	s, err := openSides(req)
	if err != nil {
		return providers.MirrorResult{}, err
	}
	defer s.close()
	if err := begin(s, req); err != nil {
		return providers.MirrorResult{}, err
	}
	if progress == nil {
		progress = func(int64, int64) {}
	}
	guard, err := m.guard()
	if err != nil {
		return providers.MirrorResult{}, err
	}
	c := &copying{root: s.dst, protected: guard, progress: progress, devices: map[uint64]int{}, links: map[id]*link{}}
	if c.careful, err = hasBegun(s.dst, req.Mirror); err != nil {
		return providers.MirrorResult{}, failed("copy", req, err)
	}
	c.begun = sync.OnceValue(func() error { return beginWriting(s.dst, req.Mirror) })
	defer c.close()
	err = run(ctx, s, exclude, func(w *walk) visitor {
		c.walk, c.ctx = w, w.ctx
		return c
	})
	res := providers.MirrorResult{Files: c.files.Load(), CopiedFiles: c.copied.Load(), CopiedBytes: c.bytes.Load(), Warnings: c.losses.lines()}
	for _, p := range exclude.IdlePlaces() {
		res.Warnings = append(res.Warnings, fmt.Sprintf("the exclude pattern %q matched nothing", p))
	}
	if err = c.outcome(err); err != nil {
		return res, failed("copy", req, err)
	}
	if res.Files == 0 && c.extra.Load() {
		return res, emptySource(s)
	}
	if err := c.settle(s, req.Mirror); err != nil {
		return res, failed("copy", req, err)
	}
	res.Clean = !c.extra.Load()
	return res, confirm(s, req)
}

func emptySource(s *sides) error {
	return &providers.Error{
		Op: "read source", Target: s.srcPath, Err: fmt.Errorf("%w and the target %s is not", providers.ErrEmptySource, s.dstPath),
		Hint: "Check that the source is mounted. To empty the target on purpose, delete its content by hand.",
	}
}

// begin checks both sides and makes them ready for a pass that changes the target.
func begin(s *sides, req providers.MirrorRequest) error {
	seen, err := identify(s, req)
	if err != nil {
		return err
	}
	if err := s.create(); err != nil {
		return err
	}
	if err := s.lock(); err != nil {
		return err
	}
	if err := seen.mark(s, req); err != nil {
		return failed("copy", req, err)
	}
	return s.look()
}

// guard identifies holdfast's own open files, which must be neither opened nor
// replaced. A database has companions beside it.
func (m *mirror) guard() (map[id]bool, error) {
	ids := map[id]bool{}
	for _, path := range m.protected {
		if real, err := filepath.EvalSymlinks(path); err == nil {
			path = real
		}
		for _, companion := range []string{"", "-wal", "-shm", "-journal"} {
			var st unix.Stat_t
			if err := unix.Stat(path+companion, &st); err == nil {
				ids[id{st.Dev, st.Ino}] = true
			} else if err != unix.ENOENT {
				return nil, &providers.Error{Op: "stat", Target: path + companion, Err: err}
			}
		}
	}
	return ids, nil
}

var errProtected = errors.New("is holdfast's own open file; exclude it from the mirror")

const keptErrors = 20

// copying brings what is new and changed to the target.
type copying struct {
	walk      *walk
	root      dir          // of the target
	begun     func() error // called before anything is changed
	careful   bool         // the pass before this one was cut off
	losses    losses
	ctx       context.Context
	protected map[id]bool
	progress  providers.Progress

	files, copied, bytes atomic.Int64
	extra                atomic.Bool // the target has what the source has not

	mu       sync.Mutex
	problems []error
	failures int
	devices  map[uint64]int // a descriptor on each file system written to, by device
	links    map[id]*link
}

func (c *copying) close() {
	for _, fd := range c.devices {
		unix.Close(fd)
	}
}

// settle makes durable what this pass wrote, or one before it that did not get here.
func (c *copying) settle(s *sides, mirror string) error {
	if begun, err := hasBegun(c.root, mirror); err != nil || !begun {
		return err
	}
	if err := c.sync(); err != nil {
		return err
	}
	if err := endWriting(c.root, mirror); err != nil {
		return err
	}
	return attribute.SetTime(attribute.Opened(c.root.fd), s.srcInfo.mtime)
}

func (c *copying) sync() error {
	for _, fd := range c.devices {
		if err := unix.Syncfs(fd); err != nil {
			return fmt.Errorf("sync: %w", err)
		}
	}
	return nil
}

// outcome is the error of the pass: what ended it, or what it had to leave out.
func (c *copying) outcome(err error) error {
	if err != nil || c.failures == 0 {
		return err
	}
	if more := c.failures - len(c.problems); more > 0 {
		c.problems = append(c.problems, fmt.Errorf("and %d more", more))
	}
	return fmt.Errorf("%d of %d files and directories were not copied: %w", c.failures, c.files.Load(), errors.Join(c.problems...))
}

// fail notes what cannot be copied and lets the others go on, unless nothing can be written at all.
func (c *copying) fail(path string, err error) error {
	switch {
	case c.ctx.Err() != nil:
		return context.Cause(c.ctx)
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT), errors.Is(err, unix.EROFS):
		return at(path, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failures++; len(c.problems) < keptErrors {
		c.problems = append(c.problems, at(path, err))
	}
	return nil
}

// changes notes that entries of a directory of the target are about to change.
func (c *copying) changes(b *both) error {
	b.changed.Store(true)
	b.loose.Do(func() { loosen(b.dst.fd) })
	return c.begun()
}

func (c *copying) leftover(b *both, name string) error {
	if err := c.changes(b); err != nil {
		return c.fail(join(b.path, name), err)
	}
	if err := b.dst.unlink(name, 0); err != nil {
		return c.fail(join(b.path, name), err)
	}
	return nil
}

func (c *copying) visit(b *both, e *entry) (bool, error) {
	if !e.inSrc {
		c.extra.Store(true)
		return false, nil
	}
	if !e.src.isDir() {
		c.files.Add(1)
	}
	if e.inDst && e.src.isDir() != e.dst.isDir() {
		if err := c.aside(b, e); err != nil {
			return false, c.fail(join(b.path, e.name), err)
		}
		e.inDst = false
	}
	if e.src.isDir() {
		if err := c.directory(b, e); err != nil {
			return false, c.fail(join(b.path, e.name), err)
		}
		return true, nil
	}
	if e.inDst {
		same, err := sameContent(b, e)
		same = same && err == nil && c.together(b, e)
		if same && !c.sealed(&e.src, &e.dst) {
			err = c.mend(b, e)
		}
		if err != nil {
			return false, c.fail(join(b.path, e.name), err)
		}
		if same {
			return false, nil
		}
	}
	one := *e
	c.walk.job(b, func() error {
		if err := c.bring(b, &one); err != nil {
			return c.fail(join(b.path, one.name), err)
		}
		return nil
	})
	return false, nil
}

// directory makes sure that the target has the directory and that we may write into it.
func (c *copying) directory(b *both, e *entry) error {
	if e.inDst {
		return b.dst.allow(e.name, &e.dst)
	}
	if err := c.changes(b); err != nil {
		return err
	}
	if err := unix.Mkdirat(b.dst.fd, e.name, 0o700); err != nil {
		return err
	}
	e.made = true
	var err error
	if e.dst, e.inDst, err = b.dst.lstat(e.name); err != nil {
		return err
	}
	if !e.inDst || !e.dst.isDir() {
		return errors.New("the new directory was replaced")
	}
	return nil
}

// aside moves an entry out of the way of one of another type. Excluded paths stay where they are.
func (c *copying) aside(b *both, e *entry) error {
	if c.protected[e.dst.id] {
		return errProtected
	}
	if e.dst.isDir() && !c.walk.exclude.Empty() {
		holds, err := holdsExcluded(c.walk.exclude, b.dst, e.name, join(b.path, e.name))
		if err != nil {
			return err
		}
		if holds {
			return errors.New("is a file at the source, but a directory with excluded paths in it at the target; move that away by hand")
		}
	}
	if err := c.changes(b); err != nil {
		return err
	}
	c.extra.Store(true)
	return b.dst.loosened(e.name, func() error {
		return unix.Renameat2(b.dst.fd, e.name, b.dst.fd, asidePrefix+randomHex(), unix.RENAME_NOREPLACE)
	})
}

func holdsExcluded(exclude glob.Matcher, parent dir, name, path string) (bool, error) {
	if !exclude.MayMatchBelow(path) {
		return false, nil
	}
	d, err := parent.open(name)
	if err != nil {
		return false, err
	}
	defer d.close()
	names, err := d.list()
	if err != nil {
		return false, err
	}
	for _, name := range names {
		i, ok, err := d.lstat(name)
		if err != nil {
			return false, err
		}
		if !ok {
			continue
		}
		below := join(path, name)
		holds := exclude.Match(below, i.isDir())
		if !holds && i.isDir() {
			holds, err = holdsExcluded(exclude, d, name, below)
		}
		if holds || err != nil {
			return holds, err
		}
	}
	return false, nil
}

// leave gives a directory the source's mode, owner and times once its own entries are
// complete. What happens further down does not touch them any more.
func (c *copying) leave(b *both) error {
	if !b.dst.exists() {
		return nil
	}
	c.mu.Lock()
	_, known := c.devices[b.dstInfo.dev]
	c.mu.Unlock()
	if !known {
		if err := c.device(b); err != nil {
			return c.fail(b.path, err)
		}
	}
	if !b.changed.Load() && b.srcInfo.mtime == b.dstInfo.mtime && c.sealed(&b.srcInfo, &b.dstInfo) {
		return nil
	}
	if err := c.complete(b); err != nil {
		return c.fail(b.path, err)
	}
	return nil
}

// complete describes a directory. The tops of both trees are not made immutable: each pass works there.
func (c *copying) complete(b *both) error {
	if err := c.begun(); err != nil {
		return err
	}
	b.loose.Do(func() { loosen(b.dst.fd) })
	if err := c.describe(b.path, attribute.Opened(b.src.fd), attribute.Opened(b.dst.fd), &b.srcInfo); err != nil {
		return err
	}
	flags := attribute.FlagsOf(b.src.fd)
	if b.path == "" {
		flags &^= hard
	}
	return c.flag(b.path, b.dst.fd, flags)
}

// device keeps a descriptor on every file system below the target, for the sync at the end.
func (c *copying) device(b *both) error {
	d, err := b.dst.again()
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.devices[b.dstInfo.dev]; known {
		d.close()
		return nil
	}
	c.devices[b.dstInfo.dev] = d.fd
	return nil
}

func tempName() string { return tempPrefix + randomHex() }

func randomHex() string {
	b := make([]byte, ownHex/2)
	rand.Read(b)
	return hex.EncodeToString(b)
}
