package scratch_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/holdfast-dr/holdfast/providers/scratch"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func entries(t *testing.T, dir string) (names []string) {
	t.Helper()
	all, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range all {
		names = append(names, e.Name())
	}
	return names
}

func TestSecretIsReadFromTheBeginningByWhoHasIt(t *testing.T) {
	f, err := scratch.Secret([]byte("secret"))
	must(t, err)
	defer f.Close()
	for range 2 {
		b, err := os.ReadFile(scratch.Path(int(f.Fd())))
		if err != nil || string(b) != "secret" {
			t.Errorf("got %q, %v", b, err)
		}
	}
	info, err := f.Stat()
	must(t, err)
	if info.Mode() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
}

func TestFileHasNoName(t *testing.T) {
	dir := t.TempDir()
	f, err := scratch.File(dir)
	must(t, err)
	defer f.Close()
	if names := entries(t, dir); len(names) > 0 {
		t.Errorf("there is %q", names)
	}
	_, err = f.WriteString("content")
	must(t, err)
	b := make([]byte, 7)
	if n, err := scratch.Content(f).Read(b); n != 7 || err != nil {
		t.Errorf("read %d, %v", n, err)
	}
	if _, err := scratch.File(filepath.Join(dir, "absent")); err == nil {
		t.Error("a file in a directory that is not there")
	}
}

func TestSweep(t *testing.T) {
	dir := t.TempDir()
	must(t, scratch.Sweep(filepath.Join(dir, "absent")))
	living, err := scratch.NewDir(dir)
	must(t, err)
	dead := filepath.Join(dir, ".holdfast-scratch-dead")
	must(t, os.MkdirAll(filepath.Join(dead, "deep"), 0o700))
	must(t, os.WriteFile(filepath.Join(dead, "deep", "file"), nil, 0o600))
	touch := func(name, content string, age time.Duration) string {
		path, at := filepath.Join(dir, name), time.Now().Add(-age)
		must(t, os.WriteFile(path, []byte(content), 0o600))
		must(t, os.Chtimes(path, at, at))
		return path
	}
	touch(".holdfast-scratch-empty", "", time.Hour)
	kept := []string{
		touch(".holdfast-scratch-young", "", 0), touch(".holdfast-scratch-full", "x", time.Hour), touch("holdfast-sqlite-1", "", time.Hour),
	}
	must(t, os.Symlink(dir, filepath.Join(dir, ".holdfast-scratch-link")))
	must(t, scratch.Sweep(dir))
	for _, path := range append(kept, living.Path, filepath.Join(dir, ".holdfast-scratch-link")) {
		if _, err := os.Lstat(path); err != nil {
			t.Error(err)
		}
	}
	if got := entries(t, dir); len(got) != len(kept)+2 {
		t.Errorf("left: %q", got)
	}
	must(t, living.Remove())
	if _, err := os.Lstat(living.Path); err == nil {
		t.Error("a directory that was removed is there")
	}
}
