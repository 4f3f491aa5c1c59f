package providertest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/holdfast-dr/holdfast/config/sampletest"
	"github.com/holdfast-dr/holdfast/providers"
)

const dieAt = "HOLDFAST_TEST_DIE_AT"

// Dying reports whether this process is one that Canary started.
func Dying() bool { return os.Getenv(dieAt) != "" }

// Canary runs work in processes of the calling test, each of which is killed (SIGKILL) one step later than the one
// before, in a sample about two, until one comes to its end. A step is what is asked of the sinks and sources that work passes through steps.
// What is left in the system's temporary directory, and what everybody sees of running programs, must not hold the
// canary; of a process that comes to its end nothing is left.
func Canary(t *testing.T, canary string, work func(ctx context.Context, s *Steps) error) {
	t.Helper()
	if Dying() {
		n, err := strconv.Atoi(os.Getenv(dieAt))
		if err == nil {
			err = work(t.Context(), &Steps{left: n, canary: []byte(canary)})
		}
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	temp := t.TempDir()
	for n := range sampletest.Points(t, 2) {
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), dieAt+"="+strconv.Itoa(n), "TMPDIR="+temp)
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if err == nil && n > 1 {
			break
		}
		status, ok := syscall.WaitStatus(0), errors.As(err, &exit)
		if ok {
			status, ok = exit.Sys().(syscall.WaitStatus)
		}
		if !ok || status.Signal() != syscall.SIGKILL {
			t.Fatalf("step %d: %v, want a process that kills itself\n%s", n, err, out)
		}
		lookFor(t, canary, temp, n)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("after a run that came to its end: %v is left, %v", left, err)
	}
}

func lookFor(t *testing.T, canary, dir string, step int) {
	t.Helper()
	if err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte(canary)) {
			t.Errorf("killed at step %d: %s has the canary", step, path)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}

// Steps counts what is asked of sinks and sources, and kills the process at one of them.
type Steps struct {
	left   int
	canary []byte
}

func (s *Steps) step() {
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range lines {
		if b, err := os.ReadFile(path); err == nil && bytes.Contains(b, s.canary) {
			panic(path + " has the canary")
		}
	}
	if s.left--; s.left == 0 {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
}

// Sink gives a sink whose calls are steps.
func (s *Steps) Sink(to providers.Sink) providers.Sink { return &stepSink{to, s} }

// Source gives a source whose calls are steps.
func (s *Steps) Source(from providers.Source) providers.Source { return &stepSource{from, s} }

type stepSink struct {
	providers.Sink
	steps *Steps
}

func (s *stepSink) Create(name string) (io.WriteCloser, error) {
	s.steps.step()
	w, err := s.Sink.Create(name)
	return &stepFile{write: w, steps: s.steps}, err
}

type stepSource struct {
	providers.Source
	steps *Steps
}

func (s *stepSource) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	s.steps.step()
	r, err := s.Source.Open(ctx, name)
	return &stepFile{read: r, steps: s.steps}, err
}

// stepFile takes its first bytes for a step.
type stepFile struct {
	write io.WriteCloser
	read  io.ReadCloser
	steps *Steps
	begun bool
}

func (f *stepFile) begin() {
	if !f.begun {
		f.begun = true
		f.steps.step()
	}
}

func (f *stepFile) Write(b []byte) (int, error) {
	n, err := f.write.Write(b)
	f.begin()
	return n, err
}

func (f *stepFile) Read(b []byte) (int, error) {
	n, err := f.read.Read(b)
	f.begin()
	return n, err
}

func (f *stepFile) Close() error {
	if f.write != nil {
		return f.write.Close()
	}
	return f.read.Close()
}
