package tree

import (
	"sync"

	"golang.org/x/sys/unix"
)

// linkLimit bounds the memory of a pass; files with several names beyond it become separate files.
const linkLimit = 100_000

// link is a file with several names whose first name was copied in this pass.
type link struct {
	mu   sync.Mutex
	path string // in the target; empty until it was copied
	id   id
}

// linked copies a file with several names once and gives its other names to the copy.
func (c *copying) linked(b *both, e *entry, temp string) (int64, error) {
	c.mu.Lock()
	l := c.links[e.src.id]
	if l == nil && len(c.links) < linkLimit {
		l = &link{}
		c.links[e.src.id] = l
	}
	c.mu.Unlock()
	if l == nil {
		return c.content(b, e, temp)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.path != "" && c.relink(l, b, e, temp) {
		return 0, nil
	}
	size, err := c.content(b, e, temp)
	if err != nil {
		return 0, err
	}
	made, _, err := b.dst.lstat(temp)
	if err != nil {
		return 0, err
	}
	l.path, l.id = join(b.path, e.name), made.id
	return size, nil
}

// relink makes temp another name of the copy, if the copy is still what was written
// and still what the source holds. Any doubt is no: then the content is copied.
func (c *copying) relink(l *link, b *both, e *entry, temp string) bool {
	fd, err := unix.Openat2(c.root.fd, l.path, &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
	})
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	copied, err := dir{fd}.stat()
	if err != nil || copied.id != l.id || copied.size != e.src.size || copied.mtime != e.src.mtime || copied.dev != b.dstInfo.dev {
		return false
	}
	return unix.Linkat(unix.AT_FDCWD, procPath(fd), b.dst.fd, temp, unix.AT_SYMLINK_FOLLOW) == nil
}
