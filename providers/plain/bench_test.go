package plain_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/ahead"
	"github.com/holdfast-dr/holdfast/providers/plain"
	"github.com/holdfast-dr/holdfast/providers/providertest"
)

const benchSize = 1 << 30

// BenchmarkArtifact stages 1 GiB, reads it back as the executor's verification
// does, commits it, and reads the content as a restore does.
func BenchmarkArtifact(b *testing.B) {
	key := newKey(b)
	for name, set := range map[string]plain.Settings{
		"as captured": {}, "compressed": {Compress: "zstd"},
		"encrypted": {Encrypt: encrypts(key), Decrypt: readsWithKey}, "both": {Compress: "zstd", Encrypt: encrypts(key), Decrypt: readsWithKey},
	} {
		b.Run(name, func(b *testing.B) { benchmarkArtifact(b, set, providers.Env{Secret: secrets(key.secret)}) })
	}
}

func benchmarkArtifact(b *testing.B, set plain.Settings, env providers.Env) {
	const block = 1 << 20
	varied := make([]byte, 16<<20) // longer than a compressor looks back
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range varied {
		varied[i] = byte(rng.Uint32() & 0x1f) // five bits in each byte
	}
	b.SetBytes(benchSize)
	for b.Loop() {
		b.StopTimer()
		set.Path = filepath.Join(b.TempDir(), "store")
		env.Identity = ""
		check(b, openEnv(b, &set, env).Init(b.Context(), identity))
		env.Identity = identity
		s := openEnv(b, &set, env)
		ref := providertest.NewRef("device", "domain", providers.ExportDomain)
		b.StartTimer()

		start := time.Now()
		stage, err := s.Stage(b.Context(), ref)
		check(b, err)
		w, err := stage.Create("export.tar")
		check(b, err)
		for n := 0; n < benchSize; n += block {
			_, err := w.Write(varied[n%len(varied):][:block])
			check(b, err)
		}
		check(b, w.Close())
		staged := time.Since(start)

		r, err := s.Staged(b.Context(), ref.ID, "export.tar")
		check(b, err)
		h := sha256.New()
		back := ahead.NewReader(r, h)
		_, err = back.WriteTo(io.Discard)
		check(b, errors.Join(err, back.Close(), r.Close()))
		if hex.EncodeToString(h.Sum(nil)) != stage.Files()[0].SHA256 {
			b.Fatal("reads back differently")
		}
		verified := time.Since(start)

		m, err := s.Commit(b.Context(), providers.Manifest{Schema: 1, ArtifactRef: ref, Files: stage.Files()})
		check(b, err)
		b.ReportMetric(benchSize/staged.Seconds()/1e6, "stage-MB/s")
		b.ReportMetric(benchSize/(verified-staged).Seconds()/1e6, "verify-MB/s")
		committed := time.Since(start)
		b.ReportMetric(float64((committed-verified).Microseconds())/1000, "commit-ms")

		content, err := s.Open(b.Context(), m, "export.tar")
		check(b, err)
		_, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{content}, make([]byte, 128<<10))
		check(b, errors.Join(err, content.Close()))
		b.ReportMetric(benchSize/(time.Since(start)-committed).Seconds()/1e6, "open-MB/s")

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

// BenchmarkRecover lists, checks and recovers a store of 10,000 artifacts of three files: with its catalogue, by its
// manifests alone and by its paths alone.
func BenchmarkRecover(b *testing.B) {
	const artifacts = 10_000
	path := filepath.Join(b.TempDir(), "store")
	s := newStore(b, &plain.Settings{Path: path})
	for i := range artifacts {
		ref := providertest.NewRef(fmt.Sprintf("device%d", i%100), fmt.Sprintf("domain%d", i%10), []providers.Action{providers.SecureBackup, providers.ExportDomain}[i%2])
		ref.Started = ref.Started.Add(time.Duration(i) * time.Minute)
		providertest.Put(b, s, ref, crashFiles...)
	}
	count := func(b *testing.B) {
		n := 0
		for _, err := range s.Recover(b.Context()) {
			check(b, err)
			n++
		}
		if n != artifacts {
			b.Fatal(n)
		}
	}
	b.Run("list", func(b *testing.B) {
		for b.Loop() {
			if n := len(providertest.ListIDs(b, s)); n != artifacts {
				b.Fatal(n)
			}
		}
	})
	b.Run("check", func(b *testing.B) {
		for b.Loop() {
			if found := providertest.Findings(b, s); len(found) > 0 {
				b.Fatal(found)
			}
		}
	})
	b.Run("with the catalogue", func(b *testing.B) {
		for b.Loop() {
			count(b)
		}
	})
	check(b, os.RemoveAll(filepath.Join(path, ".holdfast/catalog")))
	b.Run("by manifests", func(b *testing.B) {
		for b.Loop() {
			count(b)
		}
	})
	for _, f := range artifactFiles(b, path) {
		if strings.HasSuffix(f, ".json") {
			check(b, os.Remove(filepath.Join(path, f)))
		}
	}
	b.Run("by paths", func(b *testing.B) {
		for b.Loop() {
			count(b)
		}
	})
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
