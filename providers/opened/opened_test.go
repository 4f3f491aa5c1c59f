package opened_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dr/holdfast/providers/opened"
)

func TestDatabaseKeepsReadersAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, other := opened.Inode{Dev: 1, Ino: 1}, opened.Inode{Dev: 1, Ino: 2}
		release, err := opened.Database(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := opened.TryRead(f); ok {
			t.Error("a reader opened a file that SQLite has open")
		}
		free, ok := opened.TryRead(other)
		if !ok {
			t.Fatal("another file was held, too")
		}
		free()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := opened.Read(ctx, f); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("waiting ended with %v", err)
		}
		var got atomic.Bool
		go func() {
			done, err := opened.Read(t.Context(), f)
			if err == nil {
				got.Store(true)
				done()
			}
		}()
		synctest.Wait()
		if got.Load() {
			t.Error("the reader did not wait")
		}
		release()
		synctest.Wait()
		if !got.Load() {
			t.Error("the reader still waits after the release")
		}
	})
}

func TestReadersKeepDatabaseAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := opened.Inode{Dev: 2, Ino: 1}
		first, _ := opened.Read(t.Context(), f)
		second, _ := opened.Read(t.Context(), f)
		var in atomic.Bool
		go func() {
			release, err := opened.Database(t.Context(), f)
			if err == nil {
				in.Store(true)
				release()
			}
		}()
		first()
		synctest.Wait()
		if in.Load() {
			t.Error("SQLite opened a file that a reader has open")
		}
		second()
		synctest.Wait()
		if !in.Load() {
			t.Error("SQLite still waits after the last reader closed")
		}
	})
}

func TestNeverBoth(t *testing.T) {
	f := opened.Inode{Dev: 3, Ino: 1}
	var readers, databases atomic.Int32
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 500 {
				if i%4 == 0 {
					release, _ := opened.Database(t.Context(), f)
					if databases.Add(1) != 1 || readers.Load() != 0 {
						t.Error("SQLite was not alone")
					}
					databases.Add(-1)
					release()
					continue
				}
				release, _ := opened.Read(t.Context(), f)
				readers.Add(1)
				if databases.Load() != 0 {
					t.Error("a reader and SQLite had the file open together")
				}
				readers.Add(-1)
				release()
			}
		})
	}
	wg.Wait()
}
