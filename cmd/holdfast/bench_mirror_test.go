package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// BenchmarkMirror copies 100,000 files for the first time, without a change, and with a change to one in a hundred, each as people type it:
// holdfast run, and rsync with and without hard links, access lists and extended attributes. What holdfast copied is durable when it ends.
func BenchmarkMirror(b *testing.B) {
	bin := holdfastBinary(b)
	source := filepath.Join(b.TempDir(), "source")
	smallFiles(b, source)
	run(b, ".", "cp", "-a", source, filepath.Join(b.TempDir(), "first")) // see BenchmarkBackup
	var copies []copier
	copies = append(copies, holdfastCopier(b, bin, source))
	for _, flags := range []string{"-a", "-aHAX"} {
		if _, err := exec.LookPath("rsync"); err == nil { // else there is no peer in this run
			copies = append(copies, copier{"rsync " + flags, b.TempDir(), []string{"rsync", flags, source + "/", "target/"}})
		}
	}
	all := func(row string, times int) {
		b.Run(row, func(b *testing.B) {
			for _, c := range copies {
				b.Run(c.name, func(b *testing.B) { several(b, times, c.dir, 0, c.args[0], c.args[1:]...) })
			}
		})
	}
	all("first", 1)
	all("unchanged", 5)
	random := rand.New(rand.NewPCG(5, 6))
	changes, err := filepath.Glob(filepath.Join(source, "*", "*", "f7"))
	if err != nil {
		b.Fatal(err)
	}
	for _, path := range changes {
		if err := os.WriteFile(path, []byte(words[random.IntN(len(words))]), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	run(b, ".", "sync", "-f", source) // none pays for writing the changes themselves
	all("1-percent-changed", 1)
	for _, c := range copies {
		run(b, c.dir, "diff", "-r", "-q", "--exclude=.holdfast-*", source, "target")
	}
}

// copier copies the source into the directory "target" of its own.
type copier struct {
	name string
	dir  string
	args []string
}

func holdfastCopier(b *testing.B, bin, source string) copier {
	dir := b.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	write("bench.hold.hcl", fmt.Sprintf("mirror \"data\" {\n  source = endpoint(%q)\n  target = endpoint(%q)\n  every  = \"1h\"\n}\n",
		"file://"+source, "file://"+filepath.Join(dir, "target")))
	write("freeze.hold.hcl", frozen) // the mirror is recorded, and its first pass waits
	run(b, dir, bin, "init")
	run(b, dir, bin, "apply", "--auto-approve")
	if err := os.Remove(filepath.Join(dir, "freeze.hold.hcl")); err != nil {
		b.Fatal(err)
	}
	return copier{"holdfast", dir, []string{bin, "run", "mirror.data"}}
}
