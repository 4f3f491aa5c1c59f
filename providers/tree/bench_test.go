package tree_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-dr/holdfast/providers"
)

const benchFiles = 100_000

// cpu measures the processor seconds of f, this process's or its children's.
func cpu(b *testing.B, who int, f func()) float64 {
	b.Helper()
	used := func() time.Duration {
		var r syscall.Rusage
		if err := syscall.Getrusage(who, &r); err != nil {
			b.Fatal(err)
		}
		return time.Duration(r.Utime.Nano() + r.Stime.Nano())
	}
	before := used()
	f()
	return (used() - before).Seconds()
}

func grow(b *testing.B) (src string) {
	b.Helper()
	src = filepath.Join(b.TempDir(), "src")
	data := make([]byte, 512)
	for i := range benchFiles {
		dir := filepath.Join(src, fmt.Sprintf("d%03d", i%317))
		if i < 317 {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				b.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("some-file-%06d.dat", i)), data[:i%512], 0o644); err != nil {
			b.Fatal(err)
		}
	}
	return src
}

// rsync is the peer; without it the comparison is left out.
func rsync(b *testing.B, src, dst string) {
	b.Helper()
	path, err := exec.LookPath("rsync")
	if err != nil {
		b.Skip("rsync is not installed")
	}
	if out, err := exec.Command(path, "-a", "--delete", src+"/", dst+"/").CombinedOutput(); err != nil {
		b.Fatalf("rsync: %v: %s", err, out)
	}
}

func BenchmarkFirst(b *testing.B) {
	src := grow(b)
	b.Run("holdfast", func(b *testing.B) {
		var sum float64
		for b.Loop() {
			sum += cpu(b, syscall.RUSAGE_SELF, func() { mirrored(b, src, filepath.Join(b.TempDir(), "dst")) })
		}
		b.ReportMetric(sum/float64(b.N), "cpu-s/op")
	})
	b.Run("rsync", func(b *testing.B) {
		var sum float64
		for b.Loop() {
			sum += cpu(b, syscall.RUSAGE_CHILDREN, func() { rsync(b, src, filepath.Join(b.TempDir(), "dst")) })
		}
		b.ReportMetric(sum/float64(b.N), "cpu-s/op")
	})
}

func BenchmarkUnchanged(b *testing.B) {
	src := grow(b)
	dst := filepath.Join(b.TempDir(), "dst")
	mirrored(b, src, dst)
	m := open(b)
	req := providers.MirrorRequest{Mirror: "mirror.bench", Source: fileURL(src), Target: fileURL(dst)}
	b.Run("holdfast compare", func(b *testing.B) {
		var sum float64
		for b.Loop() {
			sum += cpu(b, syscall.RUSAGE_SELF, func() {
				if diff, err := m.Compare(b.Context(), req); err != nil || diff.CopyFiles != 0 {
					b.Fatal(diff, err)
				}
			})
		}
		b.ReportMetric(sum/float64(b.N), "cpu-s/op")
	})
	b.Run("holdfast copy", func(b *testing.B) {
		var sum float64
		for b.Loop() {
			sum += cpu(b, syscall.RUSAGE_SELF, func() { mirrored(b, src, dst) })
		}
		b.ReportMetric(sum/float64(b.N), "cpu-s/op")
	})
	b.Run("rsync", func(b *testing.B) {
		var sum float64
		for b.Loop() {
			sum += cpu(b, syscall.RUSAGE_CHILDREN, func() { rsync(b, src, dst) })
		}
		b.ReportMetric(sum/float64(b.N), "cpu-s/op")
	})
}

func mirrored(b *testing.B, src, dst string) {
	b.Helper()
	req := providers.MirrorRequest{Mirror: "mirror.bench", Source: fileURL(src), Target: fileURL(dst)}
	if _, err := open(b).Copy(b.Context(), req, nil); err != nil {
		b.Fatal(err)
	}
}
