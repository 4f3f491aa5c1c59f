package tree

import (
	"sync"

	"golang.org/x/sys/unix"

	"github.com/holdfast-dr/holdfast/providers/attribute"
)

// linkLimit bounds the memory of a pass; files with several names beyond it become separate files.
const linkLimit = 100_000

// link is a file with several names at the source, of which the target has one.
type link struct {
	mu   sync.Mutex
	path string // in the target; empty until there is one
	id   id     // the target's
	seen info   // the source's, as it was then
}

// of reports whether the source's file is still the one that was seen. Its number alone says little: it is given to a new file
// as soon as the old one is gone.
func (l *link) of(src *info) bool {
	return l.path != "" && l.seen.ctime == src.ctime && l.seen.mtime == src.mtime && l.seen.size == src.size
}

// link gives what is known of a file with several names; nil: too many are.
func (c *copying) link(src *info) *link {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.links[src.id]
	if l == nil && len(c.links) < linkLimit {
		l = &link{}
		c.links[src.id] = l
	}
	return l
}

// together reports whether an entry that has the right content is one file with the other names that its file has at the source, as
// far as they were met.
func (c *copying) together(b *both, e *entry) bool {
	if e.src.nlink == 1 {
		return true
	}
	l := c.link(&e.src)
	if l == nil {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.of(&e.src) {
		l.path, l.id, l.seen = join(b.path, e.name), e.dst.id, e.src
		return true
	}
	return l.id == e.dst.id
}

// linked makes an entry with several names once and gives its other names to the copy.
func (c *copying) linked(l *link, b *both, e *entry) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	size, err := c.place(b, e, func(temp string) (int64, error) {
		if l.of(&e.src) && c.relink(l, b, e, temp) {
			return 0, nil
		}
		return c.create(b, e, temp)
	})
	if err != nil {
		return 0, err
	}
	made, _, err := b.dst.lstat(e.name)
	l.path, l.id, l.seen = join(b.path, e.name), made.id, e.src
	return size, err
}

// relink makes temp another name of the copy, if the copy is still what was written
// and still what the source holds. Any doubt is no: then the content is copied.
func (c *copying) relink(l *link, b *both, e *entry, temp string) bool {
	open := func(flags uint64) (int, error) {
		return unix.Openat2(c.root.fd, l.path, &unix.OpenHow{
			Flags: flags | unix.O_NOFOLLOW | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
		})
	}
	fd, err := open(unix.O_PATH)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	copied, err := dir{fd}.stat()
	if err != nil || copied.id != l.id || copied.size != e.src.size || copied.mtime != e.src.mtime || copied.dev != b.dstInfo.dev {
		return false
	}
	link := func() error { return unix.Linkat(unix.AT_FDCWD, procPath(fd), b.dst.fd, temp, unix.AT_SYMLINK_FOLLOW) }
	err = link()
	if err == unix.EPERM && copied.isFile() {
		file, oerr := open(unix.O_RDONLY | unix.O_NONBLOCK)
		if oerr != nil {
			return false
		}
		defer unix.Close(file)
		e.flags = attribute.FlagsOf(file) // set again when the name is there
		loosen(file)
		err = link()
	}
	return err == nil
}
