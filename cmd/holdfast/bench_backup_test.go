package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"filippo.io/age"
)

// BenchmarkBackup takes, verifies and restores the same data with holdfast, restic and borg, all of them
// encrypting and compressing with zstd, on the same disk. Holdfast's initial backup has read everything back when it ends; theirs has not.
func BenchmarkBackup(b *testing.B) {
	bin := holdfastBinary(b)
	for _, data := range []struct {
		name  string
		write func(testing.TB, string)
	}{
		{"100000-small-files", smallFiles},
		{"2GiB-large-files", largeFiles},
	} {
		b.Run(data.name, func(b *testing.B) {
			source := filepath.Join(b.TempDir(), "source")
			data.write(b, source)
			// Under a hypervisor, whoever comes first pays for memory that nobody used for a while. A copy that is not measured does. It
			// stays, because ext4 makes new files slowly for minutes after many were removed: it looks for inodes that were not freed lately.
			run(b, ".", "cp", "-a", source, filepath.Join(b.TempDir(), "first"))
			for _, p := range []peer{holdfastPeer(b, bin, source), resticPeer(source), borgPeer(source)} {
				b.Run(p.name, func(b *testing.B) { p.bench(b, source) })
			}
		})
	}
}

// peer is a way to back up a directory. Its commands run in a directory of their own.
type peer struct {
	name                     string
	program                  string
	env                      map[string]string
	files                    map[string]string // laid into its directory first
	prepare                  [][]string        // makes an empty repository; not measured
	initial, verify, restore []string          // restore puts the content below the directory "out"
	content                  string            // where below "out" it is then
}

func (p peer) bench(b *testing.B, source string) {
	if _, err := exec.LookPath(p.program); err != nil {
		b.Skipf("%s is not installed: no peer in this run", p.program)
	}
	dir := b.TempDir()
	for name, value := range p.env {
		b.Setenv(name, value)
	}
	for name, text := range p.files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	for _, args := range p.prepare {
		run(b, dir, p.program, args...)
	}
	b.Run("initial", func(b *testing.B) { process(b, dir, 0, p.program, p.initial...) })
	b.Run("verify", func(b *testing.B) { process(b, dir, 0, p.program, p.verify...) })
	b.Run("restore", func(b *testing.B) { process(b, dir, 0, p.program, p.restore...) })
	run(b, dir, "diff", "-r", "-q", source, filepath.Join(dir, "out", p.content))
}

// run runs what is not measured.
func run(b *testing.B, dir, name string, args ...string) {
	b.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%s %v: %v\n%.4000s", name, args, err, out)
	}
}

func holdfastPeer(b *testing.B, bin, source string) peer {
	key, err := age.GenerateX25519Identity()
	if err != nil {
		b.Fatal(err)
	}
	config := fmt.Sprintf(`
secret "key" { file = "key" }
device "files" "data" {
  root "content" { path = %q }
}
store "plain" "repository" {
  path     = %q
  compress = "zstd"
  encrypt { recipients = [%q] }
  decrypt { identity = secret.key }
}
backup_plan "all" {
  store = store.repository
  activity "all" {
    action  = "secure_backup"
    devices = ["data"]
  }
}
`, source, filepath.Join(b.TempDir(), "repository"), key.Recipient())
	return peer{
		name: "holdfast", program: bin,
		files:   map[string]string{"bench.hold.hcl": config, "key": key.String()},
		prepare: [][]string{{"init"}, {"apply", "--auto-approve"}},
		initial: []string{"run", "backup_plan.all"},
		verify:  []string{"verify", "--all"},
		restore: []string{"restore", "--device", "data", "--dir", "out"},
		content: "content",
	}
}

func resticPeer(source string) peer {
	return peer{
		name: "restic", program: "restic",
		env:     map[string]string{"RESTIC_PASSWORD": "bench", "RESTIC_REPOSITORY": "repository", "RESTIC_CACHE_DIR": "cache"},
		prepare: [][]string{{"init", "--repository-version", "2"}},
		initial: []string{"backup", "--quiet", source},
		verify:  []string{"check", "--read-data"},
		restore: []string{"restore", "latest", "--target", "out"},
		content: source,
	}
}

func borgPeer(source string) peer {
	return peer{
		name: "borg", program: "borg",
		env:     map[string]string{"BORG_PASSPHRASE": "bench", "BORG_REPO": "repository", "BORG_BASE_DIR": "base"},
		prepare: [][]string{{"init", "--encryption", "repokey-blake2"}},
		initial: []string{"create", "--compression", "zstd,3", "::first", source},
		verify:  []string{"check", "--verify-data"},
		restore: []string{"extract", "::first"}, // into its working directory
		content: filepath.Join("..", source),
	}
}

// smallFiles writes 100,000 files of up to 16 KiB, half of them compressible.
func smallFiles(b testing.TB, root string) {
	random := rand.New(rand.NewPCG(1, 2))
	buf := make([]byte, 16<<10)
	for dir := range 1000 {
		path := filepath.Join(root, fmt.Sprintf("d%02d", dir%40), fmt.Sprintf("e%03d", dir))
		if err := os.MkdirAll(path, 0o755); err != nil {
			b.Fatal(err)
		}
		for i := range 100 {
			content := buf[:random.IntN(len(buf))]
			randomContent(random, content, i%2 == 0)
			if err := os.WriteFile(filepath.Join(path, fmt.Sprintf("f%d", i)), content, 0o644); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// largeFiles writes eight files of 256 MiB: four that cannot be compressed, and four of text of which half is repeated.
func largeFiles(b testing.TB, root string) {
	if err := os.MkdirAll(root, 0o755); err != nil {
		b.Fatal(err)
	}
	random := rand.New(rand.NewPCG(3, 4))
	block := make([]byte, 4<<20)
	for i := range 8 {
		f, err := os.Create(filepath.Join(root, fmt.Sprintf("large%d", i)))
		if err != nil {
			b.Fatal(err)
		}
		for j := range 64 {
			if i%2 == 0 || j%2 == 0 {
				randomContent(random, block, i%2 == 1)
			}
			if _, err := f.Write(block); err != nil {
				b.Fatal(err)
			}
		}
		if err := f.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// randomContent writes random bytes, or text of random words.
func randomContent(random *rand.Rand, p []byte, text bool) {
	if !text {
		for i := range p {
			p[i] = byte(random.Uint32())
		}
		return
	}
	for n := 0; n < len(p); {
		n += copy(p[n:], words[random.IntN(len(words))])
	}
}

var words = []string{"backup ", "window ", "store ", "10.0.0.17 ", "2026-11-22T03:00:00Z ", "GET /index.html ", "status=200 ", "failover ", "mirror\n", "an artifact ", "0x7ffe ", "the plan ", "and "}
