package sqlstore_test

import (
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// holdByte locks one byte of a file as another process would, until the function is called.
func holdByte(t *testing.T, path string, at int64) func() {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart, Start: at, Len: 1}); err != nil {
		t.Fatal(err)
	}
	return func() { f.Close() }
}
