package tree

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// id names a file on this machine, whatever its paths.
type id struct{ dev, ino uint64 }

// info is what a walk needs to know of one file.
type info struct {
	id
	mtime    unix.Timespec
	ctime    unix.Timespec
	size     int64
	blocks   int64
	rdev     uint64
	nlink    uint64
	mode     uint32
	uid, gid uint32
}

func infoOf(st *unix.Stat_t) info {
	return info{
		id: id{st.Dev, st.Ino}, mtime: st.Mtim, size: st.Size, blocks: st.Blocks, rdev: st.Rdev, nlink: uint64(st.Nlink),
		mode: st.Mode, uid: st.Uid, gid: st.Gid, ctime: st.Ctim,
	}
}

func (i *info) kind() uint32 { return i.mode & unix.S_IFMT }
func (i *info) isDir() bool  { return i.kind() == unix.S_IFDIR }
func (i *info) perm() uint32 { return i.mode & 0o7777 }
func (i *info) isFile() bool { return i.kind() == unix.S_IFREG }

// dir is an open directory. All work below a root goes through one: a single
// name relative to an open directory, never following a symbolic link. That is
// stricter than os.Root, which follows links that stay inside.
type dir struct{ fd int }

var none = dir{-1}

func (d dir) exists() bool { return d.fd >= 0 }

func (d dir) close() {
	if d.exists() {
		unix.Close(d.fd)
	}
}

func openRoot(path string) (dir, error) {
	fd, err := retry(func() (int, error) {
		return unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return none, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return dir{fd}, nil
}

// open opens a directory in d. A link there is ELOOP or ENOTDIR.
func (d dir) open(name string) (dir, error) {
	fd, err := d.openat(name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	return dir{fd}, err
}

func (d dir) openat(name string, flags int, mode uint32) (int, error) {
	return retry(func() (int, error) {
		return unix.Openat(d.fd, name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NOCTTY, mode)
	})
}

func (d dir) stat() (info, error) {
	var st unix.Stat_t
	if err := unix.Fstat(d.fd, &st); err != nil {
		return info{}, err
	}
	return infoOf(&st), nil
}

// lstat describes the entry itself. ok is false when there is none.
func (d dir) lstat(name string) (_ info, ok bool, err error) {
	var st unix.Stat_t
	if err := unix.Fstatat(d.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		if err == unix.ENOENT {
			err = nil
		}
		return info{}, false, err
	}
	return infoOf(&st), true, nil
}

var direntBuffers = sync.Pool{New: func() any { b := make([]byte, 64<<10); return &b }}

// list gives the names in d, sorted by bytes. It works once per open directory.
func (d dir) list() ([]string, error) {
	if !d.exists() {
		return nil, nil
	}
	buf := direntBuffers.Get().(*[]byte)
	defer direntBuffers.Put(buf)
	var names []string
	for {
		n, err := retry(func() (int, error) { return unix.ReadDirent(d.fd, *buf) })
		if err != nil {
			return nil, err
		}
		if n <= 0 {
			break
		}
		_, _, names = unix.ParseDirent((*buf)[:n], -1, names)
	}
	if !slices.IsSorted(names) {
		slices.Sort(names)
	}
	return names, nil
}

func (d dir) readlink(name string) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(d.fd, name, buf)
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

// again opens d itself once more, for another listing.
func (d dir) again() (dir, error) { return d.open(".") }

// below opens a directory at a path below d, or d itself once more.
func (d dir) below(path string) (dir, error) {
	at, err := d.again()
	for name := range strings.SplitSeq(path, "/") {
		if err != nil || name == "" {
			return at, err
		}
		up := at
		at, err = up.open(name)
		up.close()
	}
	return at, err
}

// allow gives the owner of a directory in d the right to work in it. Root needs none.
func (d dir) allow(name string, i *info) error {
	if i.mode&0o700 == 0o700 || privileged {
		return nil
	}
	fd, err := d.openat(name, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Chmod(procPath(fd), i.perm()|0o700)
}

// procPath names an open file, so that calls without a descriptor form reach that very file.
func procPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

var privileged = unix.Geteuid() == 0

func retry[T any](call func() (T, error)) (T, error) {
	for {
		v, err := call()
		if err != unix.EINTR {
			return v, err
		}
	}
}

// Names that are holdfast's own. Those of unfinished and displaced files have
// exactly this form, so that hardly any user's file is taken for one.
const (
	ownPrefix   = ".holdfast-"
	tempPrefix  = ownPrefix + "tmp-" // a file that is being written
	asidePrefix = ownPrefix + "old-" // an entry that made way for one of another type
	ownHex      = 16
)

func isOwn(name, prefix string) bool {
	rest, ok := strings.CutPrefix(name, prefix)
	return ok && len(rest) == ownHex && strings.Trim(rest, "0123456789abcdef") == ""
}

// own tells how a walk treats a name: as nothing at all, or as what a killed pass left.
func own(name string, top, target bool) (skip, leftover bool) {
	if top && (name == "lost+found" || isMarker(name) || isBegun(name)) {
		return true, false
	}
	if !strings.HasPrefix(name, ownPrefix) {
		return false, false
	}
	if isOwn(name, tempPrefix) {
		return true, target
	}
	return !target && isOwn(name, asidePrefix), false
}

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// gone reports errors of an entry that vanished or changed its type since it was listed.
func gone(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ESTALE)
}

func at(path string, err error) error {
	if path == "" {
		path = "."
	}
	return fmt.Errorf("%s: %w", strconv.QuoteToGraphic(path), err)
}
