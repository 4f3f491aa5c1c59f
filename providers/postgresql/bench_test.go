package postgresql_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/postgresql"
)

// discard is a sink that keeps nothing but the size.
type discard struct{ size int64 }

func (d *discard) Create(string) (io.WriteCloser, error) { return d, nil }
func (d *discard) Close() error                          { return nil }
func (d *discard) Write(b []byte) (int, error) {
	d.size += int64(len(b))
	return len(b), nil
}

// files is a sink that writes to a directory.
type files string

func (f files) Create(name string) (io.WriteCloser, error) {
	return os.Create(filepath.Join(string(f), name))
}

func TestMemoryStaysConstant(t *testing.T) {
	c := own(t)
	c.exec(t, "postgres", "CREATE DATABASE app")
	c.exec(t, "app", "CREATE TABLE large AS SELECT i, repeat(md5(i::text), 30) AS v FROM generate_series(1, 150000) i")
	for _, req := range []providers.CaptureRequest{export, secure} {
		var before, after runtime.MemStats
		sink := new(discard)
		runtime.ReadMemStats(&before)
		_, err := c.device(t, func(s *postgresql.Settings) { s.Compression = 0 }).Capture(t.Context(), req, sink)
		must(t, err)
		runtime.ReadMemStats(&after)
		if sink.size < 100<<20 {
			t.Errorf("%s: only %d bytes were captured", req.Action, sink.size)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > 16<<20 {
			t.Errorf("%s of %d MB allocated %d MB in all", req.Action, sink.size>>20, used>>20)
		}
	}
}

// BenchmarkExport compares an export with pg_dump to a file, at each compression.
func BenchmarkExport(b *testing.B) {
	c := own(b)
	c.fill(b, "app", 30)
	c.exec(b, "app", "VACUUM ANALYZE")
	for _, level := range []int{6, 1, 0} {
		dir := newDir(b)
		b.Cleanup(func() { must(b, os.RemoveAll(dir)) })
		b.Run(fmt.Sprintf("Z%d/pg_dump", level), func(b *testing.B) {
			for b.Loop() {
				run(b, "pg_dump", "-h", c.dir, "-U", "admin", "-Fc", fmt.Sprint("-Z", level), "-f", filepath.Join(dir, "plain"), "app")
			}
		})
		b.Run(fmt.Sprintf("Z%d/holdfast", level), func(b *testing.B) {
			dev := c.device(b, func(s *postgresql.Settings) { s.Compression = level })
			for b.Loop() {
				_, err := dev.Capture(b.Context(), export, files(dir))
				must(b, err)
			}
		})
		if info, err := os.Stat(filepath.Join(dir, "export.pgdump")); err == nil {
			b.Logf("Z%d: %d MB", level, info.Size()>>20)
		}
	}
	b.Run("base/pg_basebackup", func(b *testing.B) {
		for b.Loop() {
			dir := filepath.Join(newDir(b), "base")
			run(b, "pg_basebackup", "-h", c.dir, "-U", "admin", "-D", dir, "-Ft", "-X", "fetch", "-c", "fast", "--manifest-checksums=SHA256", "--no-sync")
			must(b, os.RemoveAll(filepath.Dir(dir)))
		}
	})
	b.Run("base/holdfast", func(b *testing.B) {
		for b.Loop() {
			dir := newDir(b)
			_, err := c.device(b).Capture(b.Context(), secure, files(dir))
			must(b, err)
			must(b, os.RemoveAll(dir))
		}
	})
}
