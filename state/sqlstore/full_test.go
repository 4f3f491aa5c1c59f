package sqlstore_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/holdfast-dr/holdfast/state"
	"github.com/holdfast-dr/holdfast/state/sqlstore"
	"github.com/holdfast-dr/holdfast/state/statetest"
	"golang.org/x/sys/unix"
)

// smallDisk mounts a file system of a few megabytes.
func smallDisk(t *testing.T, megabytes int) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", megabytes)); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("mount a small file system: %v", err)
		}
		t.Skipf("a small file system cannot be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fillDisk takes all room that is left.
func fillDisk(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	chunk := make([]byte, 1<<20)
	for len(chunk) > 0 {
		if _, err := f.Write(chunk); err != nil {
			if !errors.Is(err, syscall.ENOSPC) {
				t.Fatal(err)
			}
			chunk = chunk[:len(chunk)/2]
		}
	}
}

// fillState writes entries until the state refuses, and tells how many it acknowledged.
func fillState(ctx context.Context, s *sqlstore.Store, c state.Claim, from int) (int, error) {
	for i := from; ; i++ {
		e := state.Entry{Begin: &state.StepRun{Index: i, Name: "s", Input: []byte(`"` + strings.Repeat("x", 20_000) + `"`)}, At: start}
		if err := s.Journal(ctx, c, e); err != nil {
			return i, err
		}
	}
}

func TestDiskFull(t *testing.T) {
	for _, test := range []struct {
		name      string
		megabytes int
		whole     bool
	}{{"with a small reserve", 12, false}, {"with a reserve", 90, true}} {
		t.Run(test.name, func(t *testing.T) {
			dir := smallDisk(t, test.megabytes)
			path, ballast := filepath.Join(dir, "state.db"), filepath.Join(dir, "ballast")
			s := statetest.Open(t, path)
			c, err := s.Claim(t.Context(), session(t, s), begin(t, s, "k", 1).ID+".1", start)
			if err != nil {
				t.Fatal(err)
			}
			reserve := s.Files()[4]
			if fi, err := os.Stat(reserve); err != nil || (fi.Size() == 16<<20) != test.whole {
				t.Fatalf("reserve: %v, %v", fi, err)
			}
			fillDisk(t, ballast)
			if err := s.Room(); err != nil {
				t.Errorf("with a reserve there is no room: %v", err)
			}
			n, err := fillState(t.Context(), s, c, 0)
			if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "disk full") {
				t.Fatalf("got %v", err)
			}
			if _, err := os.Stat(reserve); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the reserve was not given back: %v", err)
			}
			if test.whole && n < 200 {
				t.Errorf("%d entries of 20 kB in 16 MiB of reserve", n)
			}
			if _, err := s.Snapshot(t.Context()); err != nil {
				t.Errorf("read on a full disk: %v", err)
			}
			if err := s.Room(); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "make room first") {
				t.Errorf("room on a full disk: %v", err)
			}
			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
			e := state.Entry{Begin: &state.StepRun{Index: n, Name: "after"}, At: start}
			if err := s.Journal(t.Context(), c, e); err != nil {
				t.Fatalf("after room was made: %v", err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = statetest.Open(t, path)
			steps, err := s.Steps(t.Context(), c.Task)
			if err != nil || len(steps) != n+1 {
				t.Errorf("%d steps, %d were acknowledged (%v)", len(steps), n+1, err)
			}
		})
	}
}

// TestOpenOnAFullDisk: what only looks works on a full disk, whether or not there is a reserve; what writes spends the reserve.
func TestOpenOnAFullDisk(t *testing.T) {
	for _, reserve := range []bool{true, false} {
		t.Run(fmt.Sprintf("reserve %t", reserve), func(t *testing.T) {
			dir := smallDisk(t, 12)
			path := used(t, dir)
			if !reserve {
				if err := os.Remove(path + ".reserve"); err != nil {
					t.Fatal(err)
				}
			}
			fillDisk(t, filepath.Join(dir, "ballast"))
			r, err := open(t, sqlstore.Options{Path: path, Reading: true})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := r.Snapshot(t.Context()); err != nil {
				t.Error(err)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
			if _, err := os.Stat(path + ".reserve"); (err == nil) != reserve {
				t.Errorf("the reserve after looking: %v", err)
			}
			s, err := open(t, sqlstore.Options{Path: path})
			if reserve && err != nil || !reserve && !errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("for writing: %v", err)
			}
			if reserve {
				begin(t, s, "on the reserve", 1)
			}
		})
	}
}
