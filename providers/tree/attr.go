package tree

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/attribute"
	"github.com/holdfast-dr/holdfast/providers/opened"
)

// hard are the flags that forbid what a later pass has to do.
const hard = attribute.Immutable | attribute.Append

// sealed reports whether an entry of the target carries all that the source's does: the target's was written after the source's was
// last changed in any way. A pass that was cut off tells nothing.
func (c *copying) sealed(src, dst *info) bool {
	return !c.careful && sameOwner(src, dst) && before(src.ctime, dst.ctime)
}

func before(a, b unix.Timespec) bool {
	return a.Sec < b.Sec || a.Sec == b.Sec && a.Nsec < b.Nsec
}

var xattrBuffers = sync.Pool{New: func() any { b := make([]byte, attribute.MaxXattr); return &b }}

// describe gives an entry of the target what one of the source carries, but for content and flags.
func (c *copying) describe(path string, from, to attribute.Entry, want *info) error {
	buf := xattrBuffers.Get().(*[]byte)
	defer xattrBuffers.Put(buf)
	a := attribute.Attributes{Mode: want.mode, UID: want.uid, GID: want.gid, Mtime: want.mtime}
	var unread []string
	a.Xattrs, unread = attribute.Xattrs(from, *buf, nil)
	lost, err := attribute.Apply(to, &a)
	for _, name := range unread {
		c.losses.add("attribute "+attribute.Kind(name)+" cannot be read", path)
	}
	for _, name := range lost.Xattrs {
		c.losses.add("the target does not take the attribute "+attribute.Kind(name), path)
	}
	if lost.Owner {
		c.losses.add("the owner cannot be set", path)
	}
	if lost.Bits {
		c.losses.add("setuid and setgid are left out without the owner", path)
	}
	return err
}

// flag gives an open entry of the target the source's flags, after everything else was done to it.
func (c *copying) flag(path string, to int, want attribute.Flags) error {
	lost, err := attribute.SetFlags(to, want)
	if lost {
		c.losses.add("the target does not take the flags "+want.String(), path)
	}
	return err
}

// flagName does so for an entry by its name.
func (c *copying) flagName(b *both, e *entry) error {
	to, err := b.dst.openat(e.name, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer unix.Close(to)
	return c.flag(join(b.path, e.name), to, e.flags)
}

// loosen takes the flags that forbid changes from an open file or directory. Where that is not possible, the change itself says so.
func loosen(fd int) {
	if flags := attribute.FlagsOf(fd); flags&hard != 0 {
		_, _ = attribute.SetFlags(fd, flags&^hard)
	}
}

// loosened repeats a change of an entry that was forbidden, with the flags that may forbid it taken away.
func (d dir) loosened(name string, change func() error) error {
	err := change()
	if err != unix.EPERM {
		return err
	}
	i, ok, lerr := d.lstat(name)
	if lerr != nil || !ok || !i.isFile() && !i.isDir() {
		return err
	}
	fd, oerr := d.openat(name, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if oerr != nil {
		return err
	}
	defer unix.Close(fd)
	loosen(fd)
	return change()
}

func (d dir) unlink(name string, flags int) error {
	err := d.loosened(name, func() error { return unix.Unlinkat(d.fd, name, flags) })
	if err == unix.ENOENT {
		return nil
	}
	return err
}

// mend gives an existing entry with the right content what else the source's carries.
func (c *copying) mend(b *both, e *entry) error {
	if c.protected[e.src.id] || c.protected[e.dst.id] {
		return errProtected
	}
	if err := c.begun(); err != nil {
		return err
	}
	path := join(b.path, e.name)
	if !e.src.isFile() {
		return c.describe(path, attribute.Named(b.src.fd, e.name), attribute.Named(b.dst.fd, e.name), &e.src)
	}
	if e.src.nlink == 1 && e.dst.nlink > 1 && !sameOwner(&e.src, &e.dst) {
		return c.bring(b, e) // other names of the target's, which is one file no more at the source
	}
	for _, f := range []id{e.src.id, e.dst.id} {
		release, err := opened.Read(c.ctx, opened.Inode{Dev: f.dev, Ino: f.ino})
		if err != nil {
			return err
		}
		defer release()
	}
	from, err := b.src.openat(e.name, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer unix.Close(from)
	to, err := b.dst.openat(e.name, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.EACCES) {
		return c.bring(b, e)
	}
	if err != nil {
		return err
	}
	defer unix.Close(to)
	if now, err := (dir{to}).stat(); err != nil || now.id != e.dst.id {
		return errors.Join(providers.ErrChanged, err)
	}
	if sameOwner(&e.src, &e.dst) && !before(e.src.ctime, e.dst.ctime) {
		// Something else changed. It may be the content: a file of the same size can be put there with the time of the old one.
		same, err := c.sameBytes(from, to, e.src.size)
		if err != nil {
			return err
		}
		if !same {
			return c.bring(b, e)
		}
	}
	loosen(to)
	if err := c.describe(path, attribute.Opened(from), attribute.Opened(to), &e.src); err != nil {
		return err
	}
	if err := c.flag(path, to, attribute.FlagsOf(from)); err != nil {
		return err
	}
	if err := unchangedSince(from, &e.src); err == nil || !errors.Is(err, providers.ErrChanged) {
		return err
	}
	return c.bring(b, e)
}

// losses are what of the entries could not be kept, by kind. They are safe for concurrent use.
type losses struct {
	mu    sync.Mutex
	kinds map[string]*loss
}

type loss struct {
	n     int
	first string // path
}

func (l *losses) add(kind, path string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.kinds == nil {
		l.kinds = map[string]*loss{}
	}
	of := l.kinds[kind]
	if of == nil {
		of = &loss{first: path}
		l.kinds[kind] = of
	}
	of.n++
	of.first = min(of.first, path)
}

// lines tells each kind in one line.
func (l *losses) lines() (all []string) {
	for kind, of := range l.kinds {
		line := fmt.Sprintf("%s: %q", kind, cmp.Or(of.first, "."))
		if of.n > 1 {
			line += fmt.Sprintf(" and %d more", of.n-1)
		}
		all = append(all, line)
	}
	slices.SortFunc(all, strings.Compare)
	return all
}
