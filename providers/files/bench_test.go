package files_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/files"
	"github.com/holdfast-dr/holdfast/providers/providertest"
)

// benchTree makes 100,000 files of 0 to 8 KiB in 1,000 directories, in the
// directory HOLDFAST_BENCH_DIR when that is set, which it then leaves for the next time.
func benchTree(b *testing.B) string {
	b.Helper()
	dir := os.Getenv("HOLDFAST_BENCH_DIR")
	if dir == "" {
		dir = b.TempDir()
	}
	tree := filepath.Join(dir, "tree")
	if _, err := os.Stat(tree); err == nil {
		return tree
	}
	r := rand.New(rand.NewPCG(1, 2))
	words := make([][]byte, 20_000)
	for i := range words {
		for range 2 + r.IntN(9) {
			words[i] = append(words[i], byte('a'+r.IntN(26)))
		}
		words[i] = append(words[i], " \n\t.(=;"[r.IntN(7)])
	}
	zipf := rand.NewZipf(r, 1.1, 8, uint64(len(words)-1))
	for d := range 1000 {
		path := filepath.Join(tree, fmt.Sprintf("part%02d", d%32), fmt.Sprintf("dir%04d", d))
		if err := os.MkdirAll(path, 0o755); err != nil {
			b.Fatal(err)
		}
		for f := range 100 {
			var content []byte
			for size := r.IntN(8 << 10); len(content) < size; {
				content = append(content, words[zipf.Uint64()]...)
			}
			if err := os.WriteFile(filepath.Join(path, fmt.Sprintf("file%03d.txt", f)), content, 0o644); err != nil {
				b.Fatal(err)
			}
		}
	}
	return tree
}

// cpu reports the processor time that work took, which other load on the machine disturbs less than the elapsed time.
func cpu(b *testing.B, who int, work func()) {
	var before, after unix.Rusage
	if err := unix.Getrusage(who, &before); err != nil {
		b.Fatal(err)
	}
	work()
	if err := unix.Getrusage(who, &after); err != nil {
		b.Fatal(err)
	}
	spent := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
	b.ReportMetric(float64(spent)/1e9/float64(b.N), "cpu-s/op")
}

type discard struct{ n int64 }

func (d *discard) Create(string) (io.WriteCloser, error) { return d, nil }
func (d *discard) Write(b []byte) (int, error)           { d.n += int64(len(b)); return len(b), nil }
func (d *discard) Close() error                          { return nil }

// BenchmarkCapture compares a capture with the usual pipe on the same tree.
func BenchmarkCapture(b *testing.B) {
	tree := benchTree(b)
	shell := func(b *testing.B, script string) {
		cmd := exec.Command("sh", "-c", script)
		cmd.Dir = tree
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, out)
		}
	}
	shell(b, "tar -cf - . | cat >/dev/null") // warms the cache; tar itself reads nothing for /dev/null
	b.Run("holdfast", func(b *testing.B) {
		dev, err := files.DeviceType().Open(b.Context(), "web", &files.Settings{Roots: []*files.Root{{Name: "content", Path: tree}}}, providers.Env{})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		sink := new(discard)
		cpu(b, unix.RUSAGE_SELF, func() {
			for b.Loop() {
				sink.n = 0
				if _, err := dev.Capture(b.Context(), export, sink); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.ReportMetric(float64(sink.n)/1e6, "MB-out")
	})
	b.Run("tar zstd", func(b *testing.B) {
		if _, err := exec.LookPath("zstd"); err != nil {
			b.Skip(err)
		}
		cpu(b, unix.RUSAGE_CHILDREN, func() {
			for b.Loop() {
				shell(b, "tar -cf - . | zstd -3 -T2 -c | cat >/dev/null")
			}
		})
	})
}

// BenchmarkRestoreLarge restores 1 GiB in four files that cannot be compressed, next to cat, which checks nothing.
func BenchmarkRestoreLarge(b *testing.B) {
	tree, block := b.TempDir(), make([]byte, 4<<20)
	random := rand.NewChaCha8([32]byte{1})
	for i := range 4 {
		f, err := os.Create(filepath.Join(tree, fmt.Sprintf("large%d", i)))
		if err != nil {
			b.Fatal(err)
		}
		for range 64 {
			random.Read(block)
			if _, err := f.Write(block); err != nil {
				b.Fatal(err)
			}
		}
		if err := f.Close(); err != nil {
			b.Fatal(err)
		}
	}
	dev, err := files.DeviceType().Open(b.Context(), "web", &files.Settings{Roots: []*files.Root{{Name: "content", Path: tree}}}, providers.Env{})
	if err != nil {
		b.Fatal(err)
	}
	art := new(providertest.Artifact)
	if _, err := dev.Capture(b.Context(), export, art); err != nil {
		b.Fatal(err)
	}
	b.Run("holdfast", func(b *testing.B) {
		b.SetBytes(1 << 30)
		cpu(b, unix.RUSAGE_SELF, func() {
			for b.Loop() {
				if err := dev.Restore(b.Context(), providers.RestoreRequest{Dir: b.TempDir()}, art); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
	b.Run("cat", func(b *testing.B) {
		b.SetBytes(1 << 30)
		cpu(b, unix.RUSAGE_CHILDREN, func() {
			for b.Loop() {
				if out, err := exec.Command("sh", "-c", "cat "+tree+"/* >"+filepath.Join(b.TempDir(), "copy")+"; sync").CombinedOutput(); err != nil {
					b.Fatalf("%v: %s", err, out)
				}
			}
		})
	})
}

// BenchmarkRestore compares a restore with unpacking by tar, which checks nothing.
func BenchmarkRestore(b *testing.B) {
	tree := benchTree(b)
	dev, err := files.DeviceType().Open(b.Context(), "web", &files.Settings{Roots: []*files.Root{{Name: "content", Path: tree}}}, providers.Env{})
	if err != nil {
		b.Fatal(err)
	}
	art := new(providertest.Artifact)
	if _, err := dev.Capture(b.Context(), export, art); err != nil {
		b.Fatal(err)
	}
	packed := filepath.Join(b.TempDir(), "export.tar.zst")
	if err := os.WriteFile(packed, art.Bytes(archiveName), 0o600); err != nil {
		b.Fatal(err)
	}
	b.Run("holdfast", func(b *testing.B) {
		cpu(b, unix.RUSAGE_SELF, func() {
			for b.Loop() {
				if err := dev.Restore(b.Context(), providers.RestoreRequest{Dir: b.TempDir()}, art); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
	b.Run("zstd tar", func(b *testing.B) {
		cpu(b, unix.RUSAGE_CHILDREN, func() {
			for b.Loop() {
				if out, err := exec.Command("sh", "-c", "zstd -dc "+packed+" | tar -xpf - -C "+b.TempDir()+"; sync").CombinedOutput(); err != nil {
					b.Fatalf("%v: %s", err, out)
				}
			}
		})
	})
}
