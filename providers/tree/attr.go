package tree

import (
	"bytes"
	"errors"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/opened"
)

// describe gives an open file or directory the source's owner, mode, extended
// attributes and times, in the order in which none undoes another: a
// change of owner clears set-id bits and capabilities. has is nil for a new file.
func describe(from, to int, want, has *info) error {
	if privileged && (has == nil || has.uid != want.uid || has.gid != want.gid) {
		if err := unix.Fchown(to, int(want.uid), int(want.gid)); err != nil {
			return err
		}
	}
	if err := unix.Fchmod(to, want.perm()); err != nil {
		return err
	}
	if err := copyXattrs(from, to, has != nil); err != nil {
		return err
	}
	return setTimes(to, want)
}

func setTimes(fd int, want *info) error {
	times := [2]unix.Timespec{{Nsec: unix.UTIME_OMIT}, want.mtime}
	return unix.UtimesNanoAt(unix.AT_FDCWD, procPath(fd), times[:], 0)
}

// describeNode does the same for a link, fifo or device node just made in d.
func describeNode(d dir, name string, want *info) error {
	if privileged {
		if err := unix.Fchownat(d.fd, name, int(want.uid), int(want.gid), unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return err
		}
	}
	if want.kind() != unix.S_IFLNK {
		fd, err := d.openat(name, unix.O_PATH, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := unix.Chmod(procPath(fd), want.perm()); err != nil {
			return err
		}
	}
	times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, want.mtime}
	return unix.UtimesNanoAt(d.fd, name, times, unix.AT_SYMLINK_NOFOLLOW)
}

// mend gives an existing entry with the right content the source's mode and owner.
func (c *copying) mend(b *both, e *entry) error {
	if c.protected[e.src.id] || c.protected[e.dst.id] {
		return errProtected
	}
	if err := c.begun(); err != nil {
		return err
	}
	if !e.src.isFile() {
		return describeNode(b.dst, e.name, &e.src)
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
	opened, err := dir{to}.stat()
	if err != nil {
		return err
	}
	if opened.id != e.dst.id || unchangedSince(from, &e.src) != nil {
		return providers.ErrChanged
	}
	return describe(from, to, &e.src, &e.dst)
}

// copyXattrs makes the extended attributes that we carry the same. A file
// system without them takes none.
func copyXattrs(from, to int, existing bool) error {
	want, err := listXattrs(from)
	if err != nil {
		return err
	}
	if existing {
		has, err := listXattrs(to)
		if err != nil {
			return err
		}
		for _, name := range has {
			if !slices.Contains(want, name) {
				if err := unix.Fremovexattr(to, name); err != nil && err != unix.ENODATA {
					return err
				}
			}
		}
	}
	for _, name := range want {
		value, err := xattr(from, name)
		if err == unix.ENODATA {
			continue
		}
		if err != nil {
			return err
		}
		if err := unix.Fsetxattr(to, name, value, 0); err != nil && err != unix.EOPNOTSUPP {
			return err
		}
	}
	return nil
}

func carried(name string) bool {
	return strings.HasPrefix(name, "user.") || strings.HasPrefix(name, "system.posix_acl_") || privileged && name == "security.capability"
}

func listXattrs(fd int) ([]string, error) {
	raw, err := grow(func(buf []byte) (int, error) { return unix.Flistxattr(fd, buf) })
	if err == unix.EOPNOTSUPP || len(raw) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for name := range bytes.SplitSeq(raw, []byte{0}) {
		if carried(string(name)) {
			names = append(names, string(name))
		}
	}
	return names, nil
}

func xattr(fd int, name string) ([]byte, error) {
	return grow(func(buf []byte) (int, error) { return unix.Fgetxattr(fd, name, buf) })
}

// grow calls with an ever larger buffer until what there is fits in.
func grow(call func([]byte) (int, error)) ([]byte, error) {
	var small [256]byte
	buf := small[:]
	for {
		n, err := call(buf)
		if err == unix.ERANGE && len(buf) < 1<<17 {
			buf = make([]byte, 2*len(buf))
			continue
		}
		if err != nil {
			return nil, err
		}
		return slices.Clone(buf[:n]), nil
	}
}
