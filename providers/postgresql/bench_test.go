package postgresql_test

import (
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

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
	c, dir := benchCluster(b)
	for _, level := range []int{6, 1, 0} {
		b.Run(fmt.Sprintf("Z%d", level), func(b *testing.B) {
			dev := c.device(b, func(s *postgresql.Settings) { s.Compression = level })
			compare(b, func() {
				run(b, "pg_dump", "-h", c.dir, "-U", "admin", "-Fc", fmt.Sprint("-Z", level), "-f", filepath.Join(dir, "plain"), "app")
			}, func() {
				_, err := dev.Capture(b.Context(), export, files(dir))
				must(b, err)
			})
			info, err := os.Stat(filepath.Join(dir, "export.pgdump"))
			must(b, err)
			b.ReportMetric(float64(info.Size())/1e6, "MB")
		})
	}
}

// BenchmarkSecureBackup compares a base backup with pg_basebackup to a file.
func BenchmarkSecureBackup(b *testing.B) {
	c, dir := benchCluster(b)
	dev, to := c.device(b), filepath.Join(dir, "base")
	compare(b, func() {
		run(b, "pg_basebackup", "-h", c.dir, "-U", "admin", "-D", to, "-Ft", "-X", "fetch", "-c", "fast", "--manifest-checksums=SHA256", "--no-sync")
		must(b, os.RemoveAll(to))
	}, func() {
		_, err := dev.Capture(b.Context(), secure, files(dir))
		must(b, err)
	})
}

func benchCluster(b *testing.B) (c *cluster, dir string) {
	c = own(b)
	c.fill(b, "app", 20)
	c.exec(b, "app", "VACUUM ANALYZE", "CHECKPOINT")
	dir = newDir(b)
	b.Cleanup(func() { must(b, os.RemoveAll(dir)) })
	return c, dir
}

// compare runs both in turn, so that what else the machine does hits both, and reports the best time of each.
func compare(b *testing.B, plain, ours func()) {
	best := [2]time.Duration{math.MaxInt64, math.MaxInt64}
	for b.Loop() {
		for i, f := range []func(){plain, ours} {
			start := time.Now()
			f()
			best[i] = min(best[i], time.Since(start))
		}
	}
	b.ReportMetric(best[0].Seconds(), "plain-s")
	b.ReportMetric(best[1].Seconds(), "holdfast-s")
	b.ReportMetric(best[1].Seconds()/best[0].Seconds(), "ratio")
}
