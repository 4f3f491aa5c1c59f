package scratch

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Dir is a directory for programs that need one. It is locked while its process lives, so that a later one can tell
// what is left.
type Dir struct {
	Path string
	lock *os.File
}

// NewDir makes an empty directory below parent that only this user may enter.
func NewDir(parent string) (*Dir, error) {
	for {
		path, err := os.MkdirTemp(parent, prefix+"*")
		if err != nil {
			return nil, err
		}
		lock, err := claim(path)
		if err == nil {
			return &Dir{path, lock}, nil
		}
		if !errors.Is(err, errTaken) { // by another process that swept
			return nil, errors.Join(err, os.Remove(path))
		}
	}
}

// Remove removes the directory with all that is in it.
func (d *Dir) Remove() error { return errors.Join(os.RemoveAll(d.Path), d.lock.Close()) }

var errTaken = errors.New("another process has it")

// claim locks what is at the path for as long as the file is open.
func claim(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errTaken
	}
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(errTaken, f.Close())
	}
	ours, err := f.Stat()
	now, nowErr := os.Lstat(path)
	if err != nil || nowErr != nil || !os.SameFile(ours, now) {
		return nil, errors.Join(errTaken, f.Close())
	}
	return f, nil
}

// former are the names of what versions before this package made, with what may be in it: a password, or a copy of a
// database.
var former = map[*regexp.Regexp]string{
	regexp.MustCompile(`^holdfast-postgresql-[0-9]+$`): "pgpass",
	regexp.MustCompile(`^holdfast-sqlite-[0-9]+$`):     "copy.db",
}

// Sweep removes from a directory what processes left there that are dead. It touches only what this package made, or
// versions before it did, and what belongs to this user. A directory that is not there holds nothing.
func Sweep(parent string) error {
	entries, err := os.ReadDir(parent)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if left(parent, e) {
			err = errors.Join(err, sweep(filepath.Join(parent, e.Name())))
		}
	}
	return err
}

// left reports whether an entry is of the kind that may be left behind. A file has a name only while it is empty.
func left(parent string, e fs.DirEntry) bool {
	info, err := e.Info()
	if err != nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(st.Uid) != os.Geteuid() {
		return false
	}
	ours := strings.HasPrefix(e.Name(), prefix)
	switch {
	case info.Mode().IsRegular():
		return ours && info.Size() == 0 && time.Since(info.ModTime()) > time.Minute
	case ours:
		return info.IsDir()
	}
	for name, content := range former {
		if info.IsDir() && name.MatchString(e.Name()) {
			in, err := os.ReadDir(filepath.Join(parent, e.Name()))
			return err == nil && !slices.ContainsFunc(in, func(e fs.DirEntry) bool { return e.Name() != content })
		}
	}
	return false
}

func sweep(path string) error {
	f, err := claim(path)
	if errors.Is(err, errTaken) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(os.RemoveAll(path), f.Close())
}
