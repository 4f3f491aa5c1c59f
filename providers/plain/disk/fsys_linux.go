// Package disk is how a plain store touches the file system: by handles on
// directories, following no link, replacing nothing by accident, and making
// durable what has to be. It knows nothing of stores.
package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/holdfast-dr/holdfast/providers"
)

// Sync makes a file or the names in a directory durable. Tests watch it, to know what a loss of power leaves.
var Sync = (*os.File).Sync

// A directory handle is an *os.Root. Files are named by one component below
// it, so no symbolic link can stand between the handle and the file.

// ErrLink says that a symbolic link stands where a store has files and directories of its own.
var ErrLink = errors.New("is a symbolic link, which a store does not follow")

// Sub opens a directory below dir.
func Sub(dir *os.Root, rel string) (*os.Root, error) {
	return walk(dir, rel, func(at *os.Root, name string) error { return nil })
}

// MakeSub opens a directory below dir, creating what is missing. What it created is durable.
func MakeSub(dir *os.Root, rel string) (*os.Root, error) {
	return walk(dir, rel, func(at *os.Root, name string) error {
		err := at.Mkdir(name, 0o700)
		if errors.Is(err, fs.ErrExist) {
			return nil
		}
		if err != nil {
			return err
		}
		return SyncDir(at)
	})
}

func walk(dir *os.Root, rel string, visit func(at *os.Root, name string) error) (*os.Root, error) {
	at, err := dir.OpenRoot(".")
	if err != nil {
		return nil, err
	}
	for name := range strings.SplitSeq(rel, "/") {
		next, err := enter(at, name, visit)
		at.Close()
		if err != nil {
			return nil, err
		}
		at = next
	}
	return at, nil
}

func enter(at *os.Root, name string, visit func(at *os.Root, name string) error) (*os.Root, error) {
	if err := visit(at, name); err != nil {
		return nil, err
	}
	seen, err := at.Lstat(name)
	if err != nil {
		return nil, err
	}
	if seen.Mode().Type() != fs.ModeDir {
		return nil, &fs.PathError{Op: "open", Path: name, Err: notA(seen, "directory")}
	}
	next, err := at.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	if got, err := next.Stat("."); err != nil || !os.SameFile(seen, got) {
		next.Close()
		return nil, &fs.PathError{Op: "open", Path: name, Err: errors.Join(providers.ErrChanged, err)}
	}
	return next, nil
}

func notA(info fs.FileInfo, what string) error {
	if info.Mode().Type() == fs.ModeSymlink {
		return ErrLink
	}
	return fmt.Errorf("is not a %s", what)
}

// Open opens a regular file for reading and nothing else.
func Open(dir *os.Root, name string) (*os.File, fs.FileInfo, error) {
	seen, err := Lstat(dir, name)
	if err != nil {
		return nil, nil, err
	}
	f, err := dir.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	got, err := f.Stat()
	if err != nil || !os.SameFile(seen, got) {
		f.Close()
		return nil, nil, &fs.PathError{Op: "open", Path: name, Err: errors.Join(providers.ErrChanged, err)}
	}
	return f, got, nil
}

// Lstat describes a regular file; anything else is an error.
func Lstat(dir *os.Root, name string) (fs.FileInfo, error) {
	info, err := dir.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: notA(info, "regular file")}
	}
	return info, nil
}

// Read reads a small regular file whole.
func Read(dir *os.Root, name string, limit int64) ([]byte, error) {
	f, info, err := Open(dir, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info.Size() > limit {
		return nil, &fs.PathError{Op: "read", Path: name, Err: fmt.Errorf("is longer than %d bytes", limit)}
	}
	return io.ReadAll(io.LimitReader(f, limit))
}

// All yields the entries of a directory without holding all of them.
func All(dir *os.Root) iter.Seq2[fs.DirEntry, error] {
	return func(yield func(fs.DirEntry, error) bool) {
		f, err := dir.Open(".")
		if err != nil {
			yield(nil, err)
			return
		}
		defer f.Close()
		for {
			batch, err := f.ReadDir(256)
			for _, e := range batch {
				if !yield(e, nil) {
					return
				}
			}
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield(nil, err)
				return
			}
		}
	}
}

// Entries lists a directory, in no order.
func Entries(dir *os.Root) ([]fs.DirEntry, error) {
	f, err := dir.Open(".")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.ReadDir(-1)
}

// Exists reports whether a name is taken, by whatever.
func Exists(dir *os.Root, name string) (bool, error) {
	_, err := dir.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// SyncDir makes the names in a directory durable. Some network file systems
// cannot sync a directory; their servers answer for it.
func SyncDir(dir *os.Root) error {
	f, err := dir.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	if err := Sync(f); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOTSUP) {
		return err
	}
	return nil
}

// WriteNew writes a file under a temporary name of its own, in place of an
// older attempt, and makes its content durable.
func WriteNew(dir *os.Root, name string, data []byte) error {
	if err := Remove(dir, name); err != nil {
		return err
	}
	f, err := dir.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = Sync(f)
	}
	return errors.Join(err, f.Close())
}

// Replace puts a complete file in place of the one there, durably.
func Replace(dir *os.Root, name string, data []byte) error {
	tmp := "." + name + ".tmp"
	if err := WriteNew(dir, tmp, data); err != nil {
		return err
	}
	if err := dir.Rename(tmp, name); err != nil {
		return err
	}
	return SyncDir(dir)
}

// Remove removes a file or an empty directory. One that is not there is no error.
func Remove(dir *os.Root, name string) error {
	if err := dir.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Move renames a file or directory and never replaces one: fs.ErrExist says
// that the new name is taken. Neither directory is synced.
func Move(from *os.Root, name string, to *os.Root, newName string) error {
	src, err := from.Open(".")
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := to.Open(".")
	if err != nil {
		return err
	}
	defer dst.Close()
	srcFD, dstFD := int(src.Fd()), int(dst.Fd())

	err = unix.Renameat2(srcFD, name, dstFD, newName, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.ENOTSUP) {
		err = moveByLink(from, srcFD, name, to, dstFD, newName)
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: name, New: newName, Err: err}
	}
	return nil
}

// moveByLink is move for file systems that cannot rename without replacing,
// such as NFS. A directory is renamed plainly: rename itself refuses to replace one that is not empty.
func moveByLink(from *os.Root, srcFD int, name string, to *os.Root, dstFD int, newName string) error {
	info, err := from.Lstat(name)
	if err != nil {
		return err
	}
	if info.IsDir() {
		taken, err := Exists(to, newName)
		if taken {
			return fs.ErrExist
		}
		if err != nil {
			return err
		}
		err = unix.Renameat(srcFD, name, dstFD, newName)
		if errors.Is(err, unix.ENOTEMPTY) {
			return fs.ErrExist
		}
		return err
	}
	if err := unix.Linkat(srcFD, name, dstFD, newName, 0); err != nil {
		return err
	}
	return unix.Unlinkat(srcFD, name, 0)
}

// Same reports whether two names are one file: what a crash inside moveByLink leaves.
func Same(a *os.Root, nameA string, b *os.Root, nameB string) bool {
	infoA, errA := a.Lstat(nameA)
	infoB, errB := b.Lstat(nameB)
	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}

// Forget drops a file from the page cache, so that reading it reads the medium.
// Where the kernel cannot, reading is still right, only less telling.
func Forget(f *os.File) {
	_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_SEQUENTIAL)
}

// ForgetBehind drops a range that was read from the page cache, so that reading on takes its place there and no new memory.
func ForgetBehind(f *os.File, offset, n int64) {
	_ = unix.Fadvise(int(f.Fd()), offset, n, unix.FADV_DONTNEED)
}

// FlushBehind starts writing a range to the medium without waiting for it.
func FlushBehind(f *os.File, offset, n int64) {
	_ = unix.SyncFileRange(int(f.Fd()), offset, n, unix.SYNC_FILE_RANGE_WRITE)
}
