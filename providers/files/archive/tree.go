package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/attribute"
)

// node is what a restore sets on one name.
type node struct {
	path    string
	size    int64
	target  string
	symlink bool
	attribute.Attributes
}

func newNode(path string, h *tar.Header) node {
	n := node{
		path: path, size: sizeOf(h), target: h.Linkname,
		Attributes: attribute.Attributes{
			Mode: uint32(h.Mode)&0o7777 | modeOf(h.Typeflag), UID: uint32(h.Uid), GID: uint32(h.Gid),
			Mtime: unix.Timespec{Sec: h.ModTime.Unix(), Nsec: int64(h.ModTime.Nanosecond())},
			Flags: attribute.ParseFlags(h.PAXRecords[recordFlags]),
		},
	}
	for key, value := range h.PAXRecords {
		if name, ok := strings.CutPrefix(key, recordXattr); ok && name != "" {
			n.Xattrs = append(n.Xattrs, attribute.Xattr{Name: name, Value: value})
		}
	}
	slices.SortFunc(n.Xattrs, func(a, b attribute.Xattr) int { return strings.Compare(a.Name, b.Name) })
	return n
}

// modeOf is the type of an entry, as a mode has it.
func modeOf(flag byte) uint32 {
	switch flag {
	case tar.TypeDir:
		return unix.S_IFDIR
	case tar.TypeSymlink:
		return unix.S_IFLNK
	case tar.TypeFifo:
		return unix.S_IFIFO
	}
	return unix.S_IFREG
}

// treeWriter makes a tree below a directory. The directory of a name is
// opened through os.Root, which no symbolic link leads out of; the name itself is made
// in it, and only when it does not exist.
type treeWriter struct {
	root    *os.Root
	dirs    []node
	made    map[string]bool // the paths of dirs
	links   []node
	left    map[string]bool // devices, which are never made
	buffers sync.Pool
	lost    losses

	mu      sync.Mutex
	handles map[string]*dirHandle
	recent  []*dirHandle // the oldest first
	flagged []node
}

// dirHandle is an open directory that several files are made in.
type dirHandle struct {
	path string
	file *os.File
	refs int
}

// maxHandles is how many directories stay open for the next file in them.
const maxHandles = 64

func newTreeWriter(root *os.Root) *treeWriter {
	return &treeWriter{
		root: root, left: map[string]bool{},
		buffers: sync.Pool{New: func() any { return new(bytes.Buffer) }},
		made:    map[string]bool{".": true}, handles: map[string]*dirHandle{},
	}
}

func (t *treeWriter) buffer() *bytes.Buffer { return t.buffers.Get().(*bytes.Buffer) }

// within refuses a path whose directory is not one that was made here.
func (t *treeWriter) within(path string) error {
	dir := "."
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		dir = path[:i]
	}
	if !t.made[dir] {
		return fmt.Errorf("%w: %q has no directory to be in", providers.ErrCorrupt, path)
	}
	return nil
}

// parent opens the directory a name is to be made in. The caller gives it back with release.
func (t *treeWriter) parent(path string) (*dirHandle, string, error) {
	dir, name := ".", path
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		dir, name = path[:i], path[i+1:]
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if h, ok := t.handles[dir]; ok {
		h.refs++
		return h, name, nil
	}
	f, err := t.root.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, "", err
	}
	h := &dirHandle{path: dir, file: f, refs: 2} // the caller's and that of the list
	t.handles[dir] = h
	t.recent = append(t.recent, h)
	if len(t.recent) > maxHandles {
		oldest := t.recent[0]
		t.recent = slices.Delete(t.recent, 0, 1)
		delete(t.handles, oldest.path)
		t.drop(oldest)
	}
	return h, name, nil
}

func (t *treeWriter) release(h *dirHandle) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.drop(h)
}

func (t *treeWriter) drop(h *dirHandle) {
	if h.refs--; h.refs == 0 {
		h.file.Close()
	}
}

func (t *treeWriter) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, h := range t.recent {
		h.file.Close()
	}
	t.recent = nil
}

func (h *dirHandle) fd() int { return int(h.file.Fd()) }

func (t *treeWriter) mkdir(n node) error {
	t.setLater(n)
	if n.path == "." {
		return nil
	}
	return t.emptyDir(n.path)
}

// emptyDir makes a directory that others can be in.
func (t *treeWriter) emptyDir(path string) error {
	h, name, err := t.parent(path)
	if err != nil {
		return err
	}
	defer t.release(h)
	t.made[path] = true
	return made("mkdir", path, unix.Mkdirat(h.fd(), name, 0o700))
}

// setLater has finish set what a directory carries.
func (t *treeWriter) setLater(n node) { t.dirs = append(t.dirs, n) }

func (t *treeWriter) fifo(n node) error {
	h, name, err := t.parent(n.path)
	if err != nil {
		return err
	}
	defer t.release(h)
	if err := made("mkfifo", n.path, unix.Mknodat(h.fd(), name, unix.S_IFIFO|0o600, 0)); err != nil {
		return err
	}
	return t.attributes(attribute.Named(h.fd(), name), &n)
}

// create makes a new regular file, has its content written, and then sets what it carries.
func (t *treeWriter) create(n node, content func(fd int) error) (err error) {
	h, name, err := t.parent(n.path)
	if err != nil {
		return err
	}
	defer t.release(h)
	fd, err := unix.Openat(h.fd(), name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return made("create", n.path, err)
	}
	defer func() {
		if e := unix.Close(fd); err == nil {
			err = Failed("close", n.path, e)
		}
	}()
	if err := content(fd); err != nil {
		return err
	}
	return t.attributes(attribute.Opened(fd), &n)
}

// small writes a file whose content is in memory.
func (t *treeWriter) small(ctx context.Context, j smallJob) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	sum := sha256.Sum256(j.data.Bytes())
	if err := sameSum(j.file.path, sum[:], j.sum); err != nil {
		return err
	}
	defer func() {
		j.data.Reset()
		t.buffers.Put(j.data)
	}()
	return t.create(j.file, func(fd int) error { return writeAll(fd, j.file.path, j.data.Bytes()) })
}

func sameSum(path string, sum []byte, want [32]byte) error {
	if !bytes.Equal(sum, want[:]) {
		return fmt.Errorf("%w: %q", providers.ErrCorrupt, path)
	}
	return nil
}

func writeAll(fd int, path string, b []byte) error {
	for len(b) > 0 {
		n, err := unix.Write(fd, b)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return Failed("write", path, err)
		}
		b = b[n:]
	}
	return nil
}

// attributes sets what an entry carries, but for its flags, which it remembers.
func (t *treeWriter) attributes(at attribute.Entry, n *node) error {
	lost, err := attribute.Apply(at, &n.Attributes)
	if err != nil {
		return attributesFailed(n.path, err)
	}
	t.lost.note(lost)
	if n.Flags != 0 {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.flagged = append(t.flagged, *n)
	}
	return nil
}

// attributesFailed gives the error of package attribute as one of a call on a path.
func attributesFailed(path string, err error) error {
	var call *os.SyscallError
	if !errors.As(err, &call) {
		return err
	}
	var errno unix.Errno
	if errors.As(call.Err, &errno) {
		return Failed(call.Syscall, path, errno)
	}
	return Failed(call.Syscall, path, call.Err)
}

// flags sets the flags of all entries that have some, what is below a directory first: then nothing more can be done to these.
func (t *treeWriter) flags() error {
	slices.SortFunc(t.flagged, func(a, b node) int { return strings.Compare(b.path, a.path) })
	for _, n := range t.flagged {
		f, err := t.root.OpenFile(n.path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
		if errors.Is(err, fs.ErrPermission) {
			t.lost.flags.Add(1)
			continue
		}
		if err != nil {
			return err
		}
		lost, err := attribute.SetFlags(int(f.Fd()), n.Flags)
		f.Close()
		if err != nil {
			return attributesFailed(n.path, err)
		}
		if lost {
			t.lost.flags.Add(1)
		}
	}
	return nil
}

// leaveOut notes a device, which is never made, and neither are other names of it.
func (t *treeWriter) leaveOut(path string) {
	t.left[path] = true
	t.lost.devices.Add(1)
}

// later keeps a link until everything else is there, so that nothing is written through it.
func (t *treeWriter) later(n node, l *line) error {
	n.symlink = l.Type == kindSymlink
	t.links = append(t.links, n)
	return nil
}

// finish makes hard and symbolic links, then sets what directories carry, the deepest first, then flags, and waits until all of it
// is on the medium.
func (t *treeWriter) finish(ctx context.Context) error {
	for _, n := range t.links {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := t.link(n); err != nil {
			return err
		}
	}
	for _, n := range slices.Backward(t.dirs) {
		if err := t.directory(n); err != nil {
			return err
		}
	}
	if err := t.flags(); err != nil {
		return err
	}
	f, err := t.root.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	return Failed("sync", t.root.Name(), unix.Syncfs(int(f.Fd())))
}

func (t *treeWriter) link(n node) error {
	h, name, err := t.parent(n.path)
	if err != nil {
		return err
	}
	defer t.release(h)
	if !n.symlink {
		return t.hardlink(h, name, n)
	}
	if err := made("symlink", n.path, unix.Symlinkat(n.target, h.fd(), name)); err != nil {
		return err
	}
	return t.attributes(attribute.Named(h.fd(), name), &n)
}

func (t *treeWriter) hardlink(h *dirHandle, name string, n node) error {
	if t.left[n.target] {
		t.leaveOut(n.path)
		return nil
	}
	from, first, err := t.parent(n.target)
	if err != nil {
		return err
	}
	defer t.release(from)
	var st unix.Stat_t
	if err := unix.Fstatat(from.fd(), first, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil || st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return fmt.Errorf("%w: hard link %q has no file %q", providers.ErrCorrupt, n.path, n.target)
	}
	return made("link", n.path, unix.Linkat(from.fd(), first, h.fd(), name, 0))
}

func (t *treeWriter) directory(n node) error {
	f, err := t.root.OpenFile(n.path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return t.attributes(attribute.Opened(int(f.Fd())), &n)
}

// made is Failed for a name that must be new: an artifact that has it twice is corrupt.
func made(op, path string, err error) error {
	if err == unix.EEXIST {
		return fmt.Errorf("%w: %q is there twice", providers.ErrCorrupt, path)
	}
	return Failed(op, path, err)
}

// Failed gives the error of a call of the operating system on a path, nil for none. Where there is no room it is ErrNoSpace.
func Failed(op, path string, err error) error {
	switch err {
	case nil:
		return nil
	case unix.ENOSPC, unix.EDQUOT:
		err = providers.NoSpace(err)
	}
	return &fs.PathError{Op: op, Path: path, Err: err}
}
