// Package scratch keeps what a process needs only while it runs: secrets for the programs it starts, copies it works
// on. Nothing of it is found under a name after the process ended, however it ended. It is a leaf.
package scratch

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// prefix begins every name that this package makes.
const prefix = ".holdfast-scratch-"

// Secret gives a file that is only in memory and that only this user may read. A program that has it among its files
// reads it at Path.
func Secret(content []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("secret", unix.MFD_CLOEXEC|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) { // a kernel before 6.3
		fd, err = unix.MemfdCreate("secret", unix.MFD_CLOEXEC)
	}
	if err != nil {
		return nil, fmt.Errorf("a file in memory: %w", err)
	}
	f := os.NewFile(uintptr(fd), "a secret in memory")
	_, err = f.Write(content)
	if err = errors.Join(err, f.Chmod(0o600)); err != nil { // libpq refuses a file that others may read
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Path is where a program finds the file that it has as descriptor fd.
func Path(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }

// File gives an empty file without a name in a directory; the empty one is the system's for temporary files.
func File(dir string) (*os.File, error) {
	if dir == "" {
		dir = os.TempDir()
	}
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_EXCL|unix.O_CLOEXEC, 0o600)
	if err == nil {
		return os.NewFile(uintptr(fd), "a file without a name in "+dir), nil
	}
	// Not every file system has these, and what a missing directory is called is best told by what people know.
	f, unlink, err := Named(dir)
	if err != nil {
		return nil, err
	}
	if err := unlink(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Named gives an empty file that has its name only until unlink is called, for what must open it by name first.
// Unlinking again is harmless.
func Named(dir string) (f *os.File, unlink func() error, err error) {
	f, err = os.CreateTemp(dir, prefix+"*")
	if err != nil {
		return nil, nil, err
	}
	gone := false
	return f, func() error {
		if gone {
			return nil
		}
		gone = true
		if err := os.Remove(f.Name()); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}, nil
}

// Content reads a file of this package from its beginning to its end, whatever was read before.
func Content(f *os.File) io.Reader { return io.NewSectionReader(f, 0, 1<<62) }
