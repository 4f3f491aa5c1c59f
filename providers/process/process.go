// Package process runs one program for a bounded time: argument list and
// clean environment in, exit code and bounded output out, and nothing it
// started left behind. It is a leaf.
package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-dr/holdfast/providers/priority"
)

// Conditions a caller decides on. Match with errors.Is.
var (
	// ErrStart says that the program did not start: it does not exist, or may not be run.
	ErrStart = errors.New("not started")
	// ErrTimeout says that the program was killed because its time was over.
	ErrTimeout = errors.New("timed out")
	// ErrOpenOutput says that the program ended but left a process in a session of its own, which still holds the output.
	ErrOpenOutput = errors.New("ended but left a process that holds its output open")
)

// FirstFile is the descriptor of the first of Spec.Files in the program.
const FirstFile = 3

const (
	defaultGrace = 10 * time.Second
	keptBytes    = 64 << 10 // of each of standard error and, without a Stdout writer, standard output
)

// Spec says what to run. There is never a shell between.
type Spec struct {
	Argv    []string
	Env     map[string]string // added to PATH, HOME, LANG and TZ, the only variables that are passed on
	Dir     string            // working directory; empty: the root directory
	Stdin   io.Reader         // nil: empty. An error of it kills the program: cut input never looks whole
	Stdout  io.Writer         // nil: kept in Result.Stdout
	Files   []*os.File        // open in the program, too, from descriptor FirstFile on
	Timeout time.Duration     // 0: none but the context's
	Grace   time.Duration     // from SIGTERM to SIGKILL; 0: 10 s
	Redact  []string          // secret values to blot out of what is kept
}

// Result is what a program that was started left.
type Result struct {
	ExitCode int    // -1 when a signal ended it
	Stdout   string // first and last 32 KiB; empty with a Stdout writer
	Stderr   string // first and last 32 KiB
}

// ExitError is the end of a program with another code than 0.
type ExitError struct {
	Program string
	Code    int            // -1 when a signal ended it
	Signal  syscall.Signal // 0 when it ended by itself
	Stderr  string         // redacted
}

func (e *ExitError) Error() string {
	msg := fmt.Sprintf("%s ended with exit code %d", e.Program, e.Code)
	if e.Signal != 0 {
		msg = fmt.Sprintf("%s was killed by signal %d (%v)", e.Program, int(e.Signal), e.Signal)
	}
	if last := lastLines(e.Stderr); last != "" {
		msg += ": " + last
	}
	return msg
}

// Run starts the program in a process group of its own and waits for it.
// Whatever is left of the group when the program ended is killed. When ctx
// is done or the time is over the group gets SIGTERM and, after the grace, SIGKILL. Should
// this process die, the kernel kills the program. It has the priority of the context (package priority).
//
// The error is ErrStart, an *ExitError, ErrTimeout, ErrOpenOutput, the cause of
// ctx, or the error of Stdin or Stdout. The result is set in all cases but ErrStart.
func Run(ctx context.Context, spec Spec) (Result, error) {
	if err := check(spec); err != nil {
		return Result{ExitCode: -1}, err
	}
	if spec.Timeout > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeoutCause(ctx, spec.Timeout, fmt.Errorf("%w after %s", ErrTimeout, spec.Timeout))
		defer stop()
	}
	if spec.Grace <= 0 {
		spec.Grace = defaultGrace
	}
	ctx, kill := context.WithCancelCause(ctx)
	defer kill(nil)
	if ctx.Err() != nil {
		return Result{ExitCode: -1}, fmt.Errorf("%w: %w", ErrStart, context.Cause(ctx))
	}

	cmd := exec.Command(spec.Argv[0], spec.Argv[1:]...)
	cmd.Env = environment(spec.Env)
	cmd.ExtraFiles = spec.Files
	cmd.Dir = spec.Dir
	if cmd.Dir == "" {
		cmd.Dir = "/"
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}

	kept, stderr := newKeeper(spec.Redact), newKeeper(spec.Redact)
	out := spec.Stdout
	if out == nil {
		out = kept
	}
	p, err := connect(cmd, spec.Stdin, spec.Grace)
	if err != nil {
		return Result{ExitCode: -1}, err
	}
	defer p.close()

	started, exited, reap := make(chan error, 1), make(chan struct{}), make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		// The kernel sends the parent death signal when the starting thread ends, so the thread is kept.
		if !priority.Join(ctx) {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
		}
		err := cmd.Start()
		p.closeChildEnds()
		started <- err
		if err != nil {
			return
		}
		awaitExit(cmd.Process.Pid)
		close(exited)
		<-reap
		ended <- cmd.Wait()
	}()
	if err := <-started; err != nil {
		return Result{ExitCode: -1}, fmt.Errorf("%w: %w", ErrStart, err)
	}
	p.pump(out, stderr, spec.Stdin, kill)

	// The leader stays a zombie until reap, so its group number cannot be another's.
	group := -cmd.Process.Pid
	select {
	case <-exited:
	case <-ctx.Done():
		_ = unix.Kill(group, unix.SIGTERM)
		grace := time.NewTimer(spec.Grace)
		defer grace.Stop()
		select {
		case <-exited:
		case <-grace.C:
			_ = unix.Kill(group, unix.SIGKILL)
			<-exited
		}
	}
	_ = unix.Kill(group, unix.SIGKILL)
	close(reap)
	waitErr := <-ended
	ioErr := p.drain(ctx)

	res := Result{ExitCode: cmd.ProcessState.ExitCode(), Stdout: kept.text(), Stderr: stderr.text()}
	switch {
	case ctx.Err() != nil:
		return res, fmt.Errorf("%s: %w", spec.Argv[0], context.Cause(ctx))
	case ioErr != nil && !errors.Is(ioErr, ErrOpenOutput):
		return res, fmt.Errorf("%s: %w", spec.Argv[0], ioErr)
	case waitErr != nil:
		return res, exitError(spec.Argv[0], waitErr, res)
	case ioErr != nil:
		return res, fmt.Errorf("%s: %w", spec.Argv[0], ioErr)
	}
	return res, nil
}

func check(spec Spec) error {
	if len(spec.Argv) == 0 || spec.Argv[0] == "" {
		return fmt.Errorf("%w: the command is empty", ErrStart)
	}
	for _, a := range spec.Argv {
		if strings.ContainsRune(a, 0) {
			return fmt.Errorf("%w: an argument holds a NUL byte", ErrStart)
		}
	}
	for k, v := range spec.Env {
		if k == "" || strings.ContainsAny(k, "=\x00") || strings.ContainsRune(v, 0) {
			return fmt.Errorf("%w: the environment variable %q has an impossible name or value", ErrStart, k)
		}
	}
	return nil
}

const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

func environment(extra map[string]string) []string {
	vars := map[string]string{"PATH": defaultPath}
	for _, k := range []string{"PATH", "HOME", "LANG", "TZ"} {
		if v, ok := os.LookupEnv(k); ok {
			vars[k] = v
		}
	}
	for k, v := range extra {
		vars[k] = v
	}
	env := make([]string, 0, len(vars))
	for k, v := range vars {
		env = append(env, k+"="+v)
	}
	slices.Sort(env)
	return env
}

// awaitExit returns when the process ended and leaves it to be reaped.
func awaitExit(pid int) {
	for unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
}

func exitError(program string, err error, res Result) error {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return fmt.Errorf("%s: %w", program, err)
	}
	e := &ExitError{Program: program, Code: exit.ExitCode(), Stderr: res.Stderr}
	if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		e.Signal = ws.Signal()
	}
	return e
}
