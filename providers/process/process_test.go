package process_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/holdfast-dr/holdfast/providers/process"
)

func sh(script string, args ...string) []string {
	return append([]string{"/bin/sh", "-c", script, "sh"}, args...)
}

func TestRunKeepsOutputAndExitCode(t *testing.T) {
	res, err := process.Run(t.Context(), process.Spec{Argv: sh("cat; echo done; echo bad thing >&2; exit 7"), Stdin: strings.NewReader("in\n")})
	var exit *process.ExitError
	if !errors.As(err, &exit) || exit.Code != 7 || !strings.Contains(err.Error(), "exit code 7: bad thing") {
		t.Fatalf("error = %v", err)
	}
	if res.ExitCode != 7 || res.Stdout != "in\ndone\n" || res.Stderr != "bad thing\n" {
		t.Errorf("result = %+v", res)
	}
}

func TestRunTellsASignal(t *testing.T) {
	res, err := process.Run(t.Context(), process.Spec{Argv: sh("kill -9 $$")})
	var exit *process.ExitError
	if !errors.As(err, &exit) || exit.Signal != syscall.SIGKILL || res.ExitCode != -1 {
		t.Fatalf("result = %+v, error = %v", res, err)
	}
}

func TestRunUsesNoShell(t *testing.T) {
	hostile := "$(touch x); `id` | & \n -- *"
	res, err := process.Run(t.Context(), process.Spec{Argv: []string{"printf", "%s", hostile}})
	if err != nil || res.Stdout != hostile {
		t.Fatalf("argument arrived as %q, error = %v", res.Stdout, err)
	}
}

func TestRunPassesACleanEnvironment(t *testing.T) {
	t.Setenv("HOLDFAST_TEST_CANARY", "canary")
	t.Setenv("TZ", "Africa/Johannesburg")
	t.Setenv("LANG", "C")
	t.Setenv("HOME", "/nonexistent")
	res, err := process.Run(t.Context(), process.Spec{Argv: []string{"env"}, Env: map[string]string{"ADDED": "1", "LANG": "C.UTF-8"}})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for l := range strings.Lines(res.Stdout) {
		name, _, _ := strings.Cut(l, "=")
		names = append(names, name)
	}
	if want := []string{"ADDED", "HOME", "LANG", "PATH", "TZ"}; !slices.Equal(names, want) {
		t.Errorf("variables = %v, want %v", names, want)
	}
	if !strings.Contains(res.Stdout, "LANG=C.UTF-8\n") || !strings.Contains(res.Stdout, "TZ=Africa/Johannesburg\n") {
		t.Errorf("environment = %q", res.Stdout)
	}
}

func TestRunDoesNotStart(t *testing.T) {
	notExecutable := filepath.Join(t.TempDir(), "tool")
	if err := os.WriteFile(notExecutable, []byte("#!/bin/sh\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, spec := range map[string]process.Spec{
		"empty":          {},
		"empty program":  {Argv: []string{""}},
		"unknown":        {Argv: []string{"holdfast-no-such-program"}},
		"not executable": {Argv: []string{notExecutable}},
		"NUL":            {Argv: []string{"true", "a\x00b"}},
		"bad variable":   {Argv: []string{"true"}, Env: map[string]string{"A=B": "c"}},
		"no directory":   {Argv: []string{"true"}, Dir: filepath.Join(t.TempDir(), "absent")},
	} {
		t.Run(name, func(t *testing.T) {
			if res, err := process.Run(t.Context(), spec); !errors.Is(err, process.ErrStart) || res.ExitCode != -1 {
				t.Errorf("result = %+v, error = %v", res, err)
			}
		})
	}
}

// gone reports whether a process has ended; a zombie nobody reaped yet counts as ended.
func gone(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, rest, _ := bytes.Cut(stat, []byte(") "))
	return bytes.HasPrefix(rest, []byte("Z"))
}

func awaitGone(t *testing.T, text string) {
	t.Helper()
	pid, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil {
		t.Fatalf("no process id in %q", text)
	}
	for deadline := time.Now().Add(5 * time.Second); !gone(pid); {
		if time.Now().After(deadline) {
			t.Fatalf("process %d still runs", pid)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestRunKillsTheWholeGroup(t *testing.T) {
	for name, tc := range map[string]struct {
		script string
		want   error
	}{
		"child of a leader that goes on": {"sleep 1000 & echo $!; wait", process.ErrTimeout},
		"leader ignores SIGTERM":         {"trap '' TERM; sleep 1000 & echo $!; while :; do wait; done", process.ErrTimeout},
		"child left by a clean end":      {"sleep 1000 >/dev/null 2>&1 & echo $!", nil},
		"child that holds the output":    {"sleep 1000 & echo $!", nil},
	} {
		t.Run(name, func(t *testing.T) {
			spec := process.Spec{Argv: sh(tc.script), Grace: 50 * time.Millisecond}
			if tc.want != nil {
				spec.Timeout = 2 * time.Second
			}
			res, err := process.Run(t.Context(), spec)
			if !errors.Is(err, tc.want) {
				t.Fatalf("error = %v, want %v", err, tc.want)
			}
			awaitGone(t, res.Stdout)
		})
	}
}

func TestRunGivesTimeToCleanUp(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("the window closed")
	ready := writer(func(p []byte) (int, error) {
		if bytes.Contains(p, []byte("ready")) {
			cancel(why)
		}
		return len(p), nil
	})
	marker := filepath.Join(t.TempDir(), "cleaned")
	_, err := process.Run(ctx, process.Spec{Argv: sh(`trap 'echo yes >"$1"; exit 0' TERM; echo ready; while :; do sleep 0.01; done`, marker), Stdout: ready})
	if !errors.Is(err, why) {
		t.Errorf("error = %v", err)
	}
	if b, err := os.ReadFile(marker); err != nil || string(b) != "yes\n" {
		t.Errorf("the trap did not run: %q, %v", b, err)
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

func TestRunTellsALeftBehindProcess(t *testing.T) {
	var pid bytes.Buffer
	_, err := process.Run(t.Context(), process.Spec{Argv: sh("setsid sh -c 'echo $$; exec sleep 1000'; true"), Stdout: &pid, Timeout: 2 * time.Second, Grace: 50 * time.Millisecond})
	if !errors.Is(err, process.ErrTimeout) {
		t.Fatalf("error = %v", err)
	}
	killEscaped(t, pid.String())

	// The program ends only after its escaped child told its number.
	pid.Reset()
	told := make(chan struct{})
	out := writer(func(p []byte) (int, error) {
		defer close(told)
		return pid.Write(p)
	})
	in := reader(func([]byte) (int, error) {
		<-told
		return 0, io.EOF
	})
	_, err = process.Run(t.Context(), process.Spec{Argv: sh("setsid sh -c 'echo $$; exec sleep 1000' & read end; exit 0"), Stdin: in, Stdout: out, Grace: 50 * time.Millisecond})
	if !errors.Is(err, process.ErrOpenOutput) {
		t.Fatalf("error = %v", err)
	}
	killEscaped(t, pid.String())
}

type reader func([]byte) (int, error)

func (r reader) Read(p []byte) (int, error) { return r(p) }

func killEscaped(t *testing.T, text string) {
	t.Helper()
	pid, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil {
		t.Fatalf("no process id in %q", text)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Errorf("the escaped process was already gone: %v", err)
	}
}

func TestRunKillsOnFailingStreams(t *testing.T) {
	broken := errors.New("broken")
	marker := filepath.Join(t.TempDir(), "whole")
	_, err := process.Run(t.Context(), process.Spec{
		Argv:  sh(`cat >/dev/null && echo yes >"$1"`, marker),
		Stdin: io.MultiReader(strings.NewReader("half"), iotest.ErrReader(broken)),
		Grace: 50 * time.Millisecond,
	})
	if !errors.Is(err, broken) {
		t.Errorf("error = %v", err)
	}
	if _, err := os.Stat(marker); err == nil {
		t.Error("the program took a cut input for a whole one")
	}

	full := writer(func([]byte) (int, error) { return 0, syscall.ENOSPC })
	if _, err := process.Run(t.Context(), process.Spec{Argv: sh("yes"), Stdout: full}); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("error = %v", err)
	}
}

func TestRunForgivesUnreadInput(t *testing.T) {
	res, err := process.Run(t.Context(), process.Spec{Argv: []string{"head", "-c", "1"}, Stdin: io.LimitReader(reader(func(p []byte) (int, error) { return len(p), nil }), 1<<22)})
	if err != nil || len(res.Stdout) == 0 {
		t.Errorf("result = %+v, error = %v", res, err)
	}
}

func TestRunWaitsForASlowWriter(t *testing.T) {
	var got int
	slow := writer(func(p []byte) (int, error) {
		got += len(p)
		time.Sleep(20 * time.Millisecond)
		return len(p), nil
	})
	if _, err := process.Run(t.Context(), process.Spec{Argv: sh("head -c 300000 /dev/zero"), Stdout: slow, Grace: 10 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	if got != 300000 {
		t.Errorf("%d bytes arrived", got)
	}
}

func TestRunBoundsAndRedactsWhatItKeeps(t *testing.T) {
	const secret = "s3cr3t-canary"
	// The secret straddles every cut: the head's end, the tail's begin, and the writes between.
	script := `i=0; while [ $i -lt 20000 ]; do printf '%s' "$HF" >&2; i=$((i+1)); done; printf 'the end %s' "$HF" >&2; exit 1`
	res, err := process.Run(t.Context(), process.Spec{Argv: sh(script), Env: map[string]string{"HF": secret}, Redact: []string{"", secret}})
	if err == nil || strings.Contains(err.Error()+res.Stderr, secret) || strings.Contains(res.Stderr, secret[:6]) {
		t.Fatal("the secret is in what was kept")
	}
	if len(res.Stderr) > 66<<10 || !strings.Contains(res.Stderr, "bytes left out") || !strings.HasSuffix(res.Stderr, "the end [redacted]") {
		t.Errorf("kept %d bytes ending in %q", len(res.Stderr), res.Stderr[max(0, len(res.Stderr)-40):])
	}
	if !strings.Contains(err.Error(), "the end [redacted]") || len(err.Error()) > 600 {
		t.Errorf("error = %v", err)
	}
}

func TestExitErrorIsOnePlainLine(t *testing.T) {
	_, err := process.Run(t.Context(), process.Spec{Argv: sh(`printf 'one\n\033[31mtwo\xff\r\n\nthree\nfour\n' >&2; exit 1`)})
	if err == nil || strings.ContainsAny(err.Error(), "\n\r\x1b") || !strings.HasSuffix(err.Error(), "three; four") {
		t.Errorf("error = %q", err)
	}
}

func TestRunAfterCancelStartsNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := process.Run(ctx, process.Spec{Argv: []string{"true"}}); !errors.Is(err, context.Canceled) || !errors.Is(err, process.ErrStart) {
		t.Errorf("error = %v", err)
	}
}
