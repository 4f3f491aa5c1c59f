package disk_test

import (
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/holdfast-dr/holdfast/providers/plain/disk"
)

func TestLock(t *testing.T) {
	path := t.TempDir()
	var wg sync.WaitGroup
	var inside atomic.Int32
	for range 8 {
		dir, err := os.OpenRoot(path)
		check(t, err)
		t.Cleanup(func() { dir.Close() })
		wg.Go(func() {
			for range 20 {
				unlock, err := disk.Lock(t.Context(), dir, "lock")
				if err != nil {
					t.Error(err)
					return
				}
				if n := inside.Add(1); n != 1 {
					t.Errorf("%d hold the lock", n)
				}
				inside.Add(-1)
				unlock()
			}
		})
	}
	wg.Wait()

	dir, err := os.OpenRoot(path)
	check(t, err)
	defer dir.Close()
	unlock, err := disk.Lock(t.Context(), dir, "lock")
	check(t, err)
	defer unlock()
	if !disk.Locks(dir, "lock") || disk.Locks(dir, "absent") {
		t.Error("a lock that is held can be relied on, and one that is not there cannot")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := disk.Lock(ctx, dir, "lock"); !errors.Is(err, context.Canceled) {
		t.Errorf("waiting for a lock that is held: %v", err)
	}
	check(t, dir.Symlink("lock", "link"))
	if _, err := disk.Lock(t.Context(), dir, "link"); !errors.Is(err, disk.ErrLink) {
		t.Errorf("a lock that is a link: %v", err)
	}
}
