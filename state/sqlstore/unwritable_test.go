package sqlstore_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/holdfast-dr/holdfast/state"
	"github.com/holdfast-dr/holdfast/state/sqlstore"
	"github.com/holdfast-dr/holdfast/state/statetest"
)

// rescue is a directory on a file system of its own that can be made read-only, as rescue media mount a disk.
func rescue(t *testing.T) (dir string, freeze func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("mounting takes root")
		}
		t.Skip("mounting takes root")
	}
	dir = t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir, func() {
		t.Helper()
		if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
			t.Fatal(err)
		}
	}
}

// Who may not read the state is told so, whatever it is opened for: no command does without reading it.
func TestUnreadable(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("giving rights up takes root")
	}
	path := filepath.Join(t.TempDir(), "state.db")
	if err := statetest.Open(t, path).Close(); err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]sqlstore.Options{"for writing": {Path: path, Existing: true}, "for reading": {Path: path, Existing: true, Reading: true}} {
		_, err := asNobody(t, func() (*sqlstore.Store, error) { return sqlstore.Open(t.Context(), o) })
		if err == nil || !strings.Contains(err.Error(), "user 65534 may not read it") && !strings.Contains(err.Error(), "this user may not read it") ||
			strings.Contains(err.Error(), "only look") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// asNobody calls a function on a thread without the rights of root.
func asNobody[T any](t *testing.T, call func() (T, error)) (T, error) {
	runtime.LockOSThread() // the rights are those of this thread alone, and it has them again before it is used for anything else
	defer runtime.UnlockOSThread()
	set := func(user, saved uintptr) {
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, user, user, saved); errno != 0 {
			t.Fatal(errno)
		}
	}
	set(65534, 0)
	defer set(0, 0)
	return call()
}

func TestReadingWhereNothingCanBeWritten(t *testing.T) {
	dir, freeze := rescue(t)
	live, closed, bare, lost := filepath.Join(dir, "live.db"), filepath.Join(dir, "closed.db"), filepath.Join(dir, "bare.db"), filepath.Join(dir, "lost.db")
	s := statetest.Open(t, closed)
	begin(t, s, "a", 1)
	begin(t, s, "b", 1)
	for _, side := range []string{"", "-wal", "-shm"} { // as a process leaves them that is killed
		data, err := os.ReadFile(closed + side)
		if err != nil {
			t.Fatal(err)
		}
		for path, takes := range map[string]bool{live + side: true, lost + side: side != "-shm"} {
			if takes {
				if err := os.WriteFile(path, data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if err := s.Backup(t.Context(), bare); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	freeze()

	for name, path := range map[string]string{"closed": closed, "left by a killed process": live, "a backup": bare} {
		t.Run(name, func(t *testing.T) {
			r, err := open(t, sqlstore.Options{Path: path, Reading: true})
			if err != nil {
				t.Fatal(err)
			}
			if !r.ReadOnly() {
				t.Error("says that it can be written")
			}
			if runs, err := r.Runs(t.Context(), state.RunFilter{}); err != nil || len(runs) != 2 {
				t.Errorf("got %v, %v", runs, err)
			}
			if _, err := r.OpenSession(t.Context(), state.Session{}); err == nil {
				t.Error("a session was opened")
			}
			copied := filepath.Join(t.TempDir(), "copy.db")
			if err := r.Backup(t.Context(), copied); err != nil {
				t.Fatal(err)
			}
			if runs, err := statetest.Open(t, copied).Runs(t.Context(), state.RunFilter{}); err != nil || len(runs) != 2 {
				t.Errorf("of the copy: got %v, %v", runs, err)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
			if _, err := open(t, sqlstore.Options{Path: path}); err == nil || !strings.Contains(err.Error(), "name the copy with --state") {
				t.Errorf("for writing: got %v", err)
			}
		})
	}
	if _, err := open(t, sqlstore.Options{Path: lost, Reading: true}); err == nil || !strings.Contains(err.Error(), "lost.db-wal has commits that are not in it yet") {
		t.Errorf("with a log that cannot be read: got %v", err)
	}
	if _, err := open(t, sqlstore.Options{Path: filepath.Join(dir, "none.db"), Reading: true}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no state: got %v", err)
	}
}

func TestReadingWhereItCanBeWritten(t *testing.T) {
	path := used(t, t.TempDir())
	s, err := open(t, sqlstore.Options{Path: path, Reading: true})
	if err != nil || s.ReadOnly() {
		t.Fatalf("got %v", err)
	}
	begin(t, s, "more", 1)
}

// TestReadingNoticesThatTheStateChanged has a state that is read without locks and is written all the same.
func TestReadingNoticesThatTheStateChanged(t *testing.T) {
	dir, freeze := rescue(t)
	path := used(t, dir)
	freeze()
	r, err := sqlstore.Open(t.Context(), sqlstore.Options{Path: path, Reading: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Meta(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT, ""); err != nil {
		t.Fatal(err)
	}
	s := statetest.Open(t, path)
	begin(t, s, "meanwhile", 1)
	if err := errors.Join(s.Close(), r.Close()); err == nil || !strings.Contains(err.Error(), "changed by somebody else") {
		t.Errorf("got %v", err)
	}
}
