package postgresql

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/holdfast-dr/holdfast/providers"
)

// unpacker writes files below a directory; without one it reads them and writes nothing.
// As root it gives them to the directory's owner, because a server does not run as root.
type unpacker struct {
	root *os.Root
	uid  int
	gid  int
}

func newUnpacker(dir string) (*unpacker, error) {
	if dir == "" {
		return &unpacker{}, nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	u := &unpacker{root: root, uid: -1, gid: -1}
	if info, err := root.Stat("."); err == nil && os.Geteuid() == 0 {
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			u.uid, u.gid = int(st.Uid), int(st.Gid)
		}
	}
	return u, nil
}

func (u *unpacker) close() {
	if u.root != nil {
		_ = u.root.Close()
	}
}

// sync puts everything that was written onto the medium.
func (u *unpacker) sync() error {
	if u.root == nil {
		return nil
	}
	dir, err := u.root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(unix.Syncfs(int(dir.Fd())), dir.Close())
}

func (u *unpacker) mkdir(name string) error {
	if u.root == nil || name == "." {
		return nil
	}
	if err := u.root.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return u.give(name)
}

func (u *unpacker) write(name string, r io.Reader) (err error) {
	if u.root == nil {
		if _, err := io.Copy(io.Discard, r); err != nil {
			return broken(err)
		}
		return nil
	}
	f, err := u.create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := io.Copy(f, r); err != nil {
		if err = noRoom(err); errors.As(err, new(*os.PathError)) {
			return err
		}
		return broken(err)
	}
	return u.give(name)
}

// create makes a file that is not there.
func (u *unpacker) create(name string) (*os.File, error) {
	if err := u.root.MkdirAll(path.Dir(name), 0o700); err != nil {
		return nil, err
	}
	return u.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
}

// noRoom says of an error that there is no room, if it is one.
func noRoom(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return providers.NoSpace(err)
	}
	return err
}

func (u *unpacker) give(name string) error {
	if u.uid < 0 {
		return nil
	}
	return u.root.Lchown(name, u.uid, u.gid)
}
