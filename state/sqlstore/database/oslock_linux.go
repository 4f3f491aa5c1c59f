package database

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// lockFile is the side file "<database>.lock". Byte ranges of it, locked by open file description, say which processes
// are alive: the kernel frees them at the moment a process dies, however it dies, so nobody waits for a timeout.
//
// It is a file of its own because opening and closing the database file or its -shm beside SQLite can drop SQLite's own
// locks, after which two processes write at once. Every DB opens it once and keeps it open.
//
//	byte 0            exclusive while the database is created, upgraded or replaced
//	byte 1 ...        exclusive by the session with this epoch
//	last byte         shared by every open DB; exclusive while the database is replaced
type lockFile struct {
	f *os.File // nil when there is none: a read-only state on a read-only file system
}

const (
	setupByte = 0
	useByte   = math.MaxInt64 - 1
)

// ErrHeld is a byte that another process, or another DB, holds.
var ErrHeld = errors.New("held by another process")

func openLockFile(path string, readOnly bool) (*lockFile, error) {
	flag := os.O_RDWR | os.O_CREATE
	if readOnly {
		flag = os.O_RDONLY
	}
	f, err := os.OpenFile(path, flag, 0o600)
	if readOnly && errors.Is(err, os.ErrNotExist) {
		return &lockFile{}, nil
	}
	if err != nil {
		return nil, err
	}
	return &lockFile{f: f}, nil
}

func (l *lockFile) set(kind int16, from, n int64) error {
	if l.f == nil {
		return nil
	}
	err := unix.FcntlFlock(l.f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: kind, Whence: io.SeekStart, Start: from, Len: n})
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return ErrHeld
	}
	if err != nil {
		return fmt.Errorf("lock %s: %w", l.f.Name(), err)
	}
	return nil
}

// take locks one byte for this DB alone, or is ErrHeld. Taking it again is no error.
func (l *lockFile) take(at int64) error { return l.set(unix.F_WRLCK, at, 1) }

// share locks one byte together with others that share it.
func (l *lockFile) share(at int64) error { return l.set(unix.F_RDLCK, at, 1) }

func (l *lockFile) free(at int64) error { return l.set(unix.F_UNLCK, at, 1) }

// held reports whether another open file description holds a lock in the range. What this DB holds itself does not count.
func (l *lockFile) held(from, n int64) (bool, error) {
	if l.f == nil {
		return false, nil
	}
	q := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart, Start: from, Len: n}
	if err := unix.FcntlFlock(l.f.Fd(), unix.F_OFD_GETLK, &q); err != nil {
		return false, fmt.Errorf("look at locks of %s: %w", l.f.Name(), err)
	}
	return q.Type != unix.F_UNLCK, nil
}

// wait repeats a lock attempt until it succeeds or the context ends.
func (l *lockFile) wait(ctx context.Context, attempt func() error) error {
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		err := attempt()
		if !errors.Is(err, ErrHeld) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", err, ctx.Err())
		case <-time.After(pause):
		}
	}
}

// used reports whether a database was ever created beside this file.
func (l *lockFile) used() (bool, error) {
	if l.f == nil {
		return false, nil
	}
	fi, err := l.f.Stat()
	if err != nil {
		return false, err
	}
	return fi.Size() > 0, nil
}

func (l *lockFile) markUsed() error {
	if _, err := l.f.WriteAt([]byte("Locks of the state database beside this file. Keep it.\n"), 0); err != nil {
		return err
	}
	return l.f.Sync()
}

func (l *lockFile) close() error {
	if l.f == nil {
		return nil
	}
	return l.f.Close()
}

// sharedFilesystem names the kind of file system a directory is on when it is one that several machines can mount,
// or that is not served by this kernel; "" for a local one. SQLite's write-ahead log needs memory shared by all who write,
// which such file systems do not give.
func sharedFilesystem(dir string) (string, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return "", fmt.Errorf("look at the file system of %s: %w", dir, err)
	}
	return sharedKind(int64(fs.Type)), nil
}

func sharedKind(magic int64) string {
	switch uint32(magic) {
	case unix.NFS_SUPER_MAGIC:
		return "NFS"
	case unix.SMB_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC:
		return "CIFS"
	case unix.V9FS_MAGIC:
		return "9p"
	case unix.FUSE_SUPER_MAGIC:
		return "FUSE"
	case unix.CEPH_SUPER_MAGIC:
		return "Ceph"
	case unix.AFS_SUPER_MAGIC, unix.AFS_FS_MAGIC:
		return "AFS"
	case unix.CODA_SUPER_MAGIC:
		return "Coda"
	case unix.OCFS2_SUPER_MAGIC:
		return "OCFS2"
	}
	return ""
}

// freeBytes is what an ordinary user can still write in a directory.
func freeBytes(dir string) (int64, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return 0, err
	}
	return int64(fs.Bavail) * fs.Bsize, nil
}

// allocate gives a file real blocks, so that they are there to be given back.
func allocate(f *os.File, n int64) error { return unix.Fallocate(int(f.Fd()), 0, 0, n) }
