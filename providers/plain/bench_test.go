package plain_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/plain"
	"github.com/holdfast-dr/holdfast/providers/providertest"
)

const benchSize = 1 << 30

// BenchmarkArtifact stages 1 GiB, reads it back as the executor's verification
// does, and commits it.
func BenchmarkArtifact(b *testing.B) {
	block := make([]byte, 1<<20)
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range block {
		block[i] = byte(rng.Uint32())
	}
	b.SetBytes(benchSize)
	for b.Loop() {
		b.StopTimer()
		s := newStore(b, &plain.Settings{Path: filepath.Join(b.TempDir(), "store")})
		ref := providertest.NewRef("device", "domain", providers.ExportDomain)
		b.StartTimer()

		start := time.Now()
		stage, err := s.Stage(b.Context(), ref)
		check(b, err)
		w, err := stage.Create("export.tar")
		check(b, err)
		for n := 0; n < benchSize; n += len(block) {
			_, err := w.Write(block)
			check(b, err)
		}
		check(b, w.Close())
		staged := time.Since(start)

		r, err := s.Staged(b.Context(), ref.ID, "export.tar")
		check(b, err)
		h := sha256.New()
		_, err = io.CopyBuffer(h, struct{ io.Reader }{r}, make([]byte, 1<<20))
		check(b, err)
		check(b, r.Close())
		if hex.EncodeToString(h.Sum(nil)) != stage.Files()[0].SHA256 {
			b.Fatal("reads back differently")
		}
		verified := time.Since(start)

		_, err = s.Commit(b.Context(), providers.Manifest{Schema: 1, ArtifactRef: ref, Files: stage.Files()})
		check(b, err)
		b.ReportMetric(benchSize/staged.Seconds()/1e6, "stage-MB/s")
		b.ReportMetric(benchSize/(verified-staged).Seconds()/1e6, "verify-MB/s")
		b.ReportMetric(float64((time.Since(start)-verified).Microseconds())/1000, "commit-ms")

		b.StopTimer()
		check(b, s.Delete(b.Context(), ref))
		b.StartTimer()
	}
}

// BenchmarkCat is what the medium gives without us: cat into a file, and sync it.
func BenchmarkCat(b *testing.B) {
	dir := b.TempDir()
	source := filepath.Join(dir, "source")
	check(b, exec.Command("sh", "-c", fmt.Sprintf("head -c %d /dev/urandom >%s && sync %s", benchSize, source, source)).Run())
	b.SetBytes(benchSize)
	for b.Loop() {
		check(b, exec.Command("sh", "-c", fmt.Sprintf("cat %s >%s/copy && sync %s/copy", source, dir, dir)).Run())
		b.StopTimer()
		check(b, os.Remove(filepath.Join(dir, "copy")))
		b.StartTimer()
	}
}

// BenchmarkList walks a store of 1,000 artifacts.
func BenchmarkList(b *testing.B) {
	s := newStore(b, &plain.Settings{Path: filepath.Join(b.TempDir(), "store")})
	for i := range 1000 {
		ref := providertest.NewRef(fmt.Sprintf("device%d", i%50), "domain", providers.ExportDomain)
		ref.Started = ref.Started.Add(time.Duration(i) * time.Hour)
		providertest.Put(b, s, ref, providertest.Content{Name: "export.zip", Data: []byte("x")})
	}
	for b.Loop() {
		if n := len(providertest.ListIDs(b, s)); n != 1000 {
			b.Fatal(n)
		}
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
