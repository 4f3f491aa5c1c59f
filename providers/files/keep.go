package files

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/attribute"
	"github.com/holdfast-dr/holdfast/providers/files/archive"
)

// fits checks that what is to stay has room beside the new content.
func (p *place) fits(keep []string) error {
	for _, path := range keep {
		_, err := os.Lstat(filepath.Join(p.new(), path))
		switch {
		case err == nil:
			return refused(filepath.Join(p.path, path), "it is left out of backups now and is in the artifact, and one of the two would be lost")
		case errors.Is(err, fs.ErrNotExist):
		default: // something on the way to it is no directory there
			return refused(filepath.Join(p.path, path), "it is not in the artifact, which has a file where its directory is: "+err.Error())
		}
	}
	return nil
}

// complete moves what stays from the old content to the new, which has taken its place, and locks the root again where it is immutable. It
// goes on where a crash broke it off.
func (p *place) complete(was ready) error {
	for _, from := range []string{p.new(), p.old()} {
		if _, err := os.Lstat(from); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		for _, path := range was.Keep {
			if err := move(from, p.path, path); err != nil {
				return &providers.Error{
					Op: "keep", Target: filepath.Join(p.path, path), Err: err,
					Hint: "The new content is in its place. This is still in " + from + ", and restoring again goes on with it.",
				}
			}
		}
	}
	if was.Flags == 0 {
		return nil
	}
	return withDir(p.path, func(fd int) error {
		_, err := attribute.SetFlags(fd, was.Flags)
		return err
	})
}

// move gives an entry of one tree its place in another. One that is not there was moved before.
func move(from, to, path string) error {
	was := filepath.Join(from, path)
	if _, err := os.Lstat(was); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := makeParents(from, to, filepath.Dir(path)); err != nil {
		return err
	}
	is := filepath.Join(to, path)
	return unlocked(filepath.Dir(was), func() error {
		return unlocked(filepath.Dir(is), func() error {
			return unlocked(was, func() error { return renameNew(was, is) }, is)
		})
	})
}

func renameNew(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if err == unix.EINVAL || err == unix.ENOSYS {
		if _, there := os.Lstat(to); there == nil {
			err = unix.EEXIST
		} else {
			err = unix.Rename(from, to)
		}
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

// makeParents makes the directories that a tree does not have, with what they carry in the other.
func makeParents(from, to, dir string) error {
	at := filepath.Join(to, dir)
	if _, err := os.Lstat(at); dir == "." || err == nil {
		return nil
	}
	if err := makeParents(from, to, filepath.Dir(dir)); err != nil {
		return err
	}
	return unlocked(filepath.Dir(at), func() error {
		if err := os.Mkdir(at, 0o700); err != nil {
			return err
		}
		return withDir(filepath.Join(from, dir), func(like int) error {
			var st unix.Stat_t
			if err := unix.Fstat(like, &st); err != nil {
				return err
			}
			want := attribute.Of(&st)
			want.Xattrs, _ = attribute.Xattrs(attribute.Opened(like), make([]byte, attribute.MaxXattr), nil)
			return withDir(at, func(fd int) error {
				_, err := attribute.Apply(attribute.Opened(fd), &want)
				return err
			})
		})
	})
}

// locking are the flags that keep entries from being moved.
const locking = attribute.Immutable | attribute.Append

// unlock takes those flags from a directory or a file, and gives all that it had. Of anything else there are none.
func unlock(path string) (had attribute.Flags, err error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR && st.Mode&unix.S_IFMT != unix.S_IFREG {
		return 0, archive.Failed("stat", path, err)
	}
	err = withDir(path, func(fd int) error {
		if had = attribute.FlagsOf(fd); had&locking == 0 {
			had = 0
			return nil
		}
		_, err := attribute.SetFlags(fd, had&^locking)
		return err
	})
	if errors.Is(err, fs.ErrPermission) { // whoever may not read it cannot have locked it, either
		return 0, nil
	}
	return had, err
}

// unlocked does something to a directory, or moves an entry, which keeps its flags and the directory its time.
func unlocked(path string, do func() error, after ...string) error {
	flags, err := unlock(path)
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := archive.Failed("stat", path, unix.Lstat(path, &st)); err != nil {
		return err
	}
	err = do()
	for _, moved := range after {
		if err == nil {
			path = moved
		}
	}
	if len(after) == 0 {
		err = errors.Join(err, withDir(path, func(fd int) error { return attribute.SetTime(attribute.Opened(fd), st.Mtim) }))
	}
	if flags == 0 {
		return err
	}
	return errors.Join(err, withDir(path, func(fd int) error {
		_, err := attribute.SetFlags(fd, flags)
		return err
	}))
}

// withDir opens a directory, or a file, and has something done with its descriptor.
func withDir(path string, do func(fd int) error) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return archive.Failed("open", path, err)
	}
	defer unix.Close(fd)
	if err := do(fd); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
