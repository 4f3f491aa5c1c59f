package plain

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"syscall"

	"github.com/holdfast-dr/holdfast/providers"
)

// fault says what failed on which file of the store. It keeps an error that was
// already told.
func (s *store) fault(op, rel string, err error) error {
	var told *providers.Error
	if err == nil || errors.As(err, &told) {
		return err
	}
	e := &providers.Error{Op: op, Target: path.Join(s.path, rel), Err: cause(err)}
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		e.Err = providers.NoSpace(e.Err)
		e.Hint = "Free space or inodes on the store, or raise the quota."
	case errors.Is(err, fs.ErrNotExist):
		e.Err = fmt.Errorf("%w: %w", providers.ErrNotFound, e.Err)
	case errors.Is(err, fs.ErrPermission):
		e.Hint = "The user holdfast runs as needs to read and write the whole store."
	case errors.Is(err, syscall.EROFS):
		e.Err = fmt.Errorf("%w: %w", providers.ErrReadOnly, e.Err)
		e.Hint = "Look in the kernel's log why: after an error of the medium a file system is made read-only. Then mount the store to be written to."
	case errors.Is(err, syscall.EIO):
		e.Err = fmt.Errorf("%w: %w", providers.ErrMedium, e.Err)
		e.Hint = "The medium reported an I/O error; check it before trusting what lies there."
	case errors.Is(err, syscall.ESTALE), errors.Is(err, syscall.ENOTCONN), errors.Is(err, syscall.ETIMEDOUT), errors.Is(err, syscall.EHOSTDOWN):
		e.Err = fmt.Errorf("%w: %w", providers.ErrUnavailable, e.Err)
		e.Retry = true
		e.Hint = "The server of the mounted file system does not answer."
	}
	return e
}

// cause drops the operation and path that package os adds; fault names the path in full.
func cause(err error) error {
	switch e := err.(type) {
	case *fs.PathError:
		return e.Err
	case *os.LinkError:
		return e.Err
	case *os.SyscallError:
		return e.Err
	}
	return providers.Plainly(err)
}

// corrupt says that something in the store is not what it should be.
func (s *store) corrupt(rel, format string, args ...any) error {
	return &providers.Error{
		Op: "read", Target: path.Join(s.path, rel),
		Err: fmt.Errorf("%w: %w", providers.ErrCorrupt, fmt.Errorf(format, args...)),
	}
}
