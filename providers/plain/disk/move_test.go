package disk_test

import (
	"errors"
	"io/fs"
	"os"
	"testing"

	"github.com/holdfast-dr/holdfast/providers/plain/disk"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestMoveByLink(t *testing.T) {
	dir, err := os.OpenRoot(t.TempDir())
	check(t, err)
	defer dir.Close()
	for _, name := range []string{"a", "b"} {
		check(t, dir.WriteFile(name, []byte(name), 0o600))
	}
	check(t, dir.MkdirAll("full/x", 0o700))
	check(t, dir.Mkdir("empty", 0o700))
	for _, taken := range []string{"b", "full", "empty"} {
		if err := disk.MoveByLink(dir, "a", taken); !errors.Is(err, fs.ErrExist) {
			t.Errorf("a file to %s: %v", taken, err)
		}
	}
	for _, taken := range []string{"b", "empty"} {
		if err := disk.MoveByLink(dir, "full", taken); !errors.Is(err, fs.ErrExist) {
			t.Errorf("a directory to %s: %v", taken, err)
		}
	}
	check(t, disk.MoveByLink(dir, "a", "c"))
	check(t, disk.MoveByLink(dir, "full", "moved"))
	if data, err := dir.ReadFile("c"); string(data) != "a" || err != nil {
		t.Errorf("moved file holds %q, %v", data, err)
	}
	for _, old := range []string{"a", "full"} {
		if _, err := dir.Lstat(old); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there", old)
		}
	}
}
