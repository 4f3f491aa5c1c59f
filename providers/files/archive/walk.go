package archive

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/opened"
)

// Tree is one root that goes into an archive.
type Tree struct {
	Name          string // of the root, for messages
	Path          string // the directory; a symbolic link here is followed
	Prefix        string // of its paths in the archive; empty when it is the only root
	Scope         Scope
	OneFilesystem bool
	AllowEmpty    bool
	Skip          bool         // what cannot be read is left out, with a warning; otherwise the capture fails in the end
	Leave         opened.Inode // a directory whose content is left out; zero: none

	entries atomic.Int64 // what is in the archive, without directories
	skipped atomic.Int64 // what could not be read
}

// dir is an open directory. The walker and every item in it hold a reference;
// the last one closes it. Everything below is reached through it by single
// names that are never followed, so a name that becomes a symbolic link under our feet leads nowhere.
type dir struct {
	fd   int
	tree *Tree
	path string // in the archive; empty for the root of an export
	id   opened.Inode
	refs atomic.Int32
	dirs *openDirs
}

func (d *dir) hold() { d.refs.Add(1) }

func (d *dir) release() {
	if d.refs.Add(-1) == 0 {
		d.dirs.close(d)
	}
}

func (d *dir) join(name string) string {
	switch {
	case name == "" && d.path == "":
		return "."
	case name == "":
		return d.path
	case d.path == "":
		return name
	}
	return d.path + "/" + name
}

// onDisk is the true path, for messages.
func (d *dir) onDisk(name string) string {
	path := strings.TrimPrefix(strings.TrimPrefix(d.join(name), d.tree.Prefix), "/")
	if path == "" || path == "." {
		return d.tree.Path
	}
	return strings.TrimSuffix(d.tree.Path, "/") + "/" + path
}

func (d *dir) fail(op, name string, err error) error {
	failed := &fs.PathError{Op: op, Path: d.onDisk(name), Err: err}
	switch err {
	case unix.EMFILE, unix.ENFILE, unix.ENOMEM: // it is us who cannot
		return failed
	}
	return &unreadable{failed}
}

// unreadable is something of the source that cannot be read.
type unreadable struct{ err error }

func (e *unreadable) Error() string { return e.err.Error() }
func (e *unreadable) Unwrap() error { return e.err }

// openDirs knows every open directory, so that a capture that ends early leaves none behind.
type openDirs struct {
	mu   sync.Mutex
	open map[*dir]struct{}
}

func (o *openDirs) add(d *dir) {
	d.dirs = o
	d.hold()
	o.mu.Lock()
	o.open[d] = struct{}{}
	o.mu.Unlock()
}

func (o *openDirs) close(d *dir) {
	o.mu.Lock()
	_, open := o.open[d]
	delete(o.open, d)
	o.mu.Unlock()
	if open {
		unix.Close(d.fd)
	}
}

func (o *openDirs) closeAll() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for d := range o.open {
		unix.Close(d.fd)
	}
	clear(o.open)
}

// item is one name to capture; the empty name is the directory itself.
type item struct {
	dir  *dir
	name string
	note string // why a directory's content is left out
	lost error  // why it cannot be read
}

// walker lists trees in a fixed order: of each directory first the
// other names, then the directories, both sorted.
type walker struct {
	dirs *openDirs
	emit func(item) error
	warn func(string) error
	buf  [64 << 10]byte
}

// level is a directory on the way to where the walker is. With include
// patterns it is emitted only when something in it is.
type level struct {
	dir     *dir
	parent  *level
	emitted bool
}

func (w *walker) walk(ctx context.Context, t *Tree) error {
	fd, err := unix.Open(t.Path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	var st unix.Stat_t
	if err == nil {
		if err = unix.Fstat(fd, &st); err != nil {
			unix.Close(fd)
		}
	}
	if err != nil {
		err := fmt.Errorf("root %s: %w", t.Name, &fs.PathError{Op: "open", Path: t.Path, Err: err})
		if errors.Is(err, fs.ErrNotExist) {
			return &providers.Error{
				Op: "capture", Target: t.Name, Err: fmt.Errorf("%w: %w", providers.ErrNotFound, err),
				Hint: "Create or mount the directory, or remove the root from the configuration.",
			}
		}
		return err
	}
	d := &dir{fd: fd, tree: t, path: t.Prefix, id: opened.InodeOf(&st)}
	w.dirs.add(d)
	return w.level(ctx, &level{dir: d}, "")
}

// level emits what is in one directory; rel is its path below the root. It gives up its reference.
func (w *walker) level(ctx context.Context, l *level, rel string) error {
	d, t := l.dir, l.dir.tree
	defer d.release()
	if err := ctx.Err(); err != nil {
		return err
	}
	if rel == "" || t.Scope.takes(rel, true) {
		if err := w.emitLevel(l, ""); err != nil {
			return err
		}
	}
	names, dirs, err := w.read(d)
	if err != nil {
		return w.emitLost(l, "", err)
	}
	if tag := t.Scope.Tag(d.fd); tag != "" {
		if rel == "" {
			if err := w.warn(fmt.Sprintf("root %s: only %s is taken, because it is in the root itself", t.Name, tag)); err != nil {
				return err
			}
		}
		names, dirs = slices.DeleteFunc(names, func(name string) bool { return name != tag }), nil
	}
	for _, name := range names {
		path := under(rel, name)
		if t.Scope.LeavesOutEntry(d.fd, name, path, false) {
			continue
		}
		if err := w.emitItem(l, name); err != nil {
			return err
		}
	}
	for _, name := range dirs {
		path := under(rel, name)
		if t.Scope.LeavesOutEntry(d.fd, name, path, true) {
			continue
		}
		if err := w.descend(ctx, l, name, path); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) descend(ctx context.Context, parent *level, name, path string) error {
	d := parent.dir
	fd, err := unix.Openat(d.fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	var st unix.Stat_t
	if err == nil {
		if err = unix.Fstat(fd, &st); err != nil {
			unix.Close(fd)
		}
	}
	switch err {
	case nil:
	case unix.ENOENT:
		return w.warn("vanished before it was read: " + d.onDisk(name))
	case unix.ENOTDIR, unix.ELOOP: // it was a directory when it was listed
		return w.emitItem(parent, name)
	default:
		return w.emitLost(parent, name, d.fail("open", name, err))
	}
	sub := &dir{fd: fd, tree: d.tree, path: d.join(name), id: opened.InodeOf(&st)}
	w.dirs.add(sub)
	l := &level{dir: sub, parent: parent}
	if sub.id == d.tree.Leave {
		defer sub.release()
		return w.emitLevel(l, "content left out: the store that this backup goes to is there")
	}
	if sub.id.Dev != d.id.Dev {
		if note := leftOut(fd, d.tree); note != "" {
			defer sub.release()
			return w.emitLevel(l, note)
		}
	}
	return w.level(ctx, l, path)
}

// leftOut says why the content of a mount point is not captured.
func leftOut(fd int, t *Tree) string {
	if t.OneFilesystem {
		return "content left out: another file system is mounted here"
	}
	var fs unix.Statfs_t
	if unix.Fstatfs(fd, &fs) != nil {
		return ""
	}
	switch fs.Type {
	case unix.PROC_SUPER_MAGIC, unix.SYSFS_MAGIC, unix.CGROUP2_SUPER_MAGIC, unix.CGROUP_SUPER_MAGIC, unix.DEVPTS_SUPER_MAGIC, unix.DEBUGFS_MAGIC, unix.TRACEFS_MAGIC:
		return "content left out: a view into the kernel is mounted here, not files"
	}
	return ""
}

// emitLevel emits the directory itself, after those above it.
func (w *walker) emitLevel(l *level, note string) error {
	if l == nil || l.emitted {
		return nil
	}
	if err := w.emitLevel(l.parent, ""); err != nil {
		return err
	}
	l.emitted = true
	l.dir.hold()
	return w.emit(item{dir: l.dir, note: note})
}

func (w *walker) emitItem(l *level, name string) error {
	if err := w.emitLevel(l, ""); err != nil {
		return err
	}
	l.dir.hold()
	return w.emit(item{dir: l.dir, name: name})
}

// emitLost passes on what cannot be read.
func (w *walker) emitLost(l *level, name string, err error) error {
	l.dir.hold()
	return w.emit(item{dir: l.dir, name: name, lost: err})
}

func under(rel, name string) string {
	if rel == "" {
		return name
	}
	return rel + "/" + name
}

// read lists a directory, sorted: directories, and everything else.
func (w *walker) read(d *dir) (names, dirs []string, err error) {
	const head = 19 // of linux_dirent64: inode, offset, record length, type
	for {
		n, err := unix.Getdents(d.fd, w.buf[:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, nil, d.fail("read", "", err)
		}
		if n == 0 {
			slices.Sort(names)
			slices.Sort(dirs)
			return names, dirs, nil
		}
		for b := w.buf[:n]; len(b) >= head; {
			size := int(binary.NativeEndian.Uint16(b[16:]))
			typ, raw := b[18], b[head:size]
			b = b[size:]
			name := unix.ByteSliceToString(raw)
			if name == "." || name == ".." {
				continue
			}
			if typ == unix.DT_UNKNOWN {
				var st unix.Stat_t
				if err := unix.Fstatat(d.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR {
					typ = unix.DT_DIR
				}
			}
			if typ == unix.DT_DIR {
				dirs = append(dirs, name)
			} else {
				names = append(names, name)
			}
		}
	}
}
