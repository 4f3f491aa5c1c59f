package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"
)

// Each row of `make bench` is one whole command as people type it, beside peers that are measured in the same run. HOLDFAST names the
// binary.

// process runs a command and reports its wall time, processor time and peak memory.
func process(b *testing.B, dir string, want int, name string, args ...string) {
	b.Helper()
	several(b, 1, dir, want, name, args...)
}

// several runs a command some times and reports the medians.
func several(b *testing.B, times int, dir string, want int, name string, args ...string) {
	b.Helper()
	var wall, cpu, peak []float64
	for b.Loop() {
		for range times {
			cmd := exec.Command(name, args...)
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "CHECKPOINT_DISABLE=1")
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			start := time.Now()
			err := cmd.Run()
			wall = append(wall, time.Since(start).Seconds())
			if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != want {
				b.Fatalf("%s %v: %v\n%.4000s", name, args, err, out.String())
			}
			cpu = append(cpu, (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds())
			peak = append(peak, float64(cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss)/1024)
		}
	}
	b.ReportMetric(median(wall), "wall-s")
	b.ReportMetric(median(cpu), "cpu-s")
	b.ReportMetric(median(peak), "peak-MB")
	b.ReportMetric(0, "ns/op") // of all of them together: no figure of a command
}

func median(of []float64) float64 {
	slices.Sort(of)
	return of[len(of)/2]
}

func holdfastBinary(b *testing.B) string {
	bin := os.Getenv("HOLDFAST")
	if bin == "" {
		b.Skip("HOLDFAST names no binary; use make bench")
	}
	return bin
}

// frozen keeps all work from being due, so that apply only records.
const frozen = "freeze \"all\" {\n  from = \"2020-01-01\"\n  to = \"2099-12-31\"\n}\n"

// fleet writes a configuration of 5,000 objects. A quiet one is frozen.
func fleet(b *testing.B, dir string, quiet bool) {
	var w bytes.Buffer
	flush := func(name string) {
		if err := os.WriteFile(filepath.Join(dir, name+".hold.hcl"), w.Bytes(), 0o600); err != nil {
			b.Fatal(err)
		}
		w.Reset()
	}
	w.WriteString("settings { timezone = \"Europe/Berlin\" }\n")
	if quiet {
		w.WriteString(frozen)
	}
	for i := range 490 {
		fmt.Fprintf(&w, "site \"s%d\" { region = \"r%d\" }\n", i, i%7)
	}
	for i := range 10 {
		fmt.Fprintf(&w, "store \"plain\" \"st%d\" { path = %q }\n", i, filepath.Join(dir, "stores", fmt.Sprint(i)))
		fmt.Fprintf(&w, "maintenance_window \"w%d\" {\n  start = \"00:00\"\n  end = \"24:00\"\n}\n", i)
	}
	for i := range 2500 {
		fmt.Fprintf(&w, "device \"command\" \"d%d\" {\n  site = site.s%d\n  labels = { tier = \"%d\" }\n  command = [\"true\"]\n}\n", i, i%490, i%3)
	}
	flush("devices")
	for i := range 1000 {
		fmt.Fprintf(&w, "backup_plan \"b%d\" {\n  schedule = \"%d 1 * * *\"\n  store = store.st%d\n  maintenance_window = maintenance_window.w%d\n", i, i%60, i%10, i%10)
		fmt.Fprintf(&w, "  activity \"all\" {\n    action = \"secure_backup\"\n    devices = [\"d%d\", \"d%d\"]\n  }\n}\n", i, i+1000)
	}
	flush("backups")
	for i := range 989 {
		fmt.Fprintf(&w, "mirror \"m%d\" {\n  source = endpoint(\"file:///srv/a/%d\")\n  target = endpoint(\"file:///srv/b/%d\")\n  every = \"1h\"\n}\n", i, i, i)
	}
	if !quiet {
		w.WriteString("site \"last\" {}\n")
	}
	flush("mirrors")
}

func BenchmarkFleet(b *testing.B) {
	bin := holdfastBinary(b)
	busy, quiet := b.TempDir(), b.TempDir()
	fleet(b, busy, false)
	fleet(b, quiet, true)
	for _, dir := range []string{busy, quiet} {
		cmd := exec.Command(bin, "init")
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("init: %v\n%.2000s", err, out)
		}
	}
	b.Run("validate", func(b *testing.B) { several(b, 3, busy, 0, bin, "validate") })
	b.Run("plan-fresh-1000-due", func(b *testing.B) { several(b, 3, busy, 0, bin, "plan") })
	b.Run("plan-fresh", func(b *testing.B) { several(b, 3, quiet, 0, bin, "plan") })
	b.Run("apply-records-5000", func(b *testing.B) { process(b, quiet, 0, bin, "apply", "--auto-approve") })
	b.Run("plan-unchanged", func(b *testing.B) { several(b, 3, quiet, 0, bin, "plan", "--detailed-exitcode") })
	b.Run("status", func(b *testing.B) { several(b, 3, quiet, 0, bin, "status") })
}

func BenchmarkTerraform(b *testing.B) {
	holdfastBinary(b)
	bin, err := exec.LookPath("terraform")
	if err != nil {
		b.Skip("terraform is not installed: no peer in this run")
	}
	dir := b.TempDir()
	var w bytes.Buffer
	for i := range 5000 {
		fmt.Fprintf(&w, "resource \"terraform_data\" \"o%d\" {\n  input = { site = \"s%d\", schedule = \"%d 1 * * *\" }\n}\n", i, i%490, i%60)
	}
	if err := os.WriteFile(filepath.Join(dir, "main.tf"), w.Bytes(), 0o600); err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(bin, "init", "-input=false")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("terraform init: %v\n%s", err, out)
	}
	b.Run("validate", func(b *testing.B) { several(b, 3, dir, 0, bin, "validate") })
	b.Run("plan-fresh", func(b *testing.B) { several(b, 3, dir, 0, bin, "plan", "-input=false") })
}
