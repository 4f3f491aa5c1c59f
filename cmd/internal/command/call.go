// Package command is what all commands share: one call of the program with its streams, flags and exit code, and the way
// from there to the configuration and the recorded state. Below it lies one package for each kind of work.
//
// A package of commands exports one function, whose commands package cli puts into the tree:
//
//	func Commands(c *command.Call) []*cobra.Command
//
// A command goes from flags to work to view. It opens what it works on with Call.App and Call.Load, or Call.WithState when
// it needs no configuration; prints with package view on Call.Out, as JSON if Call.JSON is set; and returns an error, which
// Call.End turns into words and an exit code. An error made by Exit names its code, others have one by the table in CodeOf.
// What a shell cannot guess of flags and arguments is completed by OneOf, Call.CompleteObjects and Call.CompleteState.
//
// A command that does a plan uses package execution, and has Streams as its annotations: with --json it prints JSON lines
// from Call.OpenStream on.
//
// New, Call.Flags, Call.Signals and Call.End are for package cli, which makes the call and ends it.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/holdfast-dr/holdfast/cmd/internal/view"
)

// Version is the version of this program; set when it is released.
var Version = "0.1.0-dev"

// Sections of the help. Every command right below the program is in one, by its GroupID.
const (
	SectionWork  = "work"  // everyday work
	SectionLook  = "look"  // what only shows something
	SectionData  = "data"  // artifacts and their stores
	SectionState = "state" // the recorded state
)

// Call is one call of the program: the streams, the global flags and what was learnt of the terminal. The flags have their
// values once the command runs.
type Call struct {
	In   io.Reader // answers of a person, or a file given as "-"
	Out  io.Writer // what was asked for
	Err  io.Writer // what is said besides: problems, warnings, logs
	JSON bool      // --json: Out is read by a program, and nobody can be asked

	chdir, repo, ref, path, state, now string
	vars, varFiles                     []string
	noColor                            bool
	logLevel                           string

	signal  atomic.Int32    // exit code of the first signal
	working atomic.Bool     // a plan is being executed: stopping takes words
	kill    context.Context // ends by the second signal
	cut     context.CancelFunc

	zone   *time.Location // of a configuration that was read; nil: none was
	stream *Stream        // begun by OpenStream
	out    *output        // is Out
}

// New gives the call of a program that was started with args. They are only searched for --json, so that errors are JSON
// also when the arguments cannot be understood.
func New(args []string, in io.Reader, out, err io.Writer) *Call {
	o := &output{to: out}
	kill, cut := context.WithCancel(context.Background())
	return &Call{
		In: in, Out: o, out: o, Err: err, kill: kill, cut: cut,
		JSON: slices.Contains(args, "--json") || slices.Contains(args, "-json"),
	}
}

// Flags declares the global flags on the command at the top.
func (c *Call) Flags(root *cobra.Command) {
	f := root.PersistentFlags()
	f.StringVar(&c.chdir, "chdir", "", "directory of the configuration; relative paths count from it")
	f.StringVar(&c.repo, "repo", "", "read the configuration from this git repository (path, file://, https://, ssh://)")
	f.StringVar(&c.ref, "ref", "", "commit, branch or tag of --repo (default HEAD)")
	f.StringVar(&c.path, "path", "", "folder of the configuration inside the repository")
	f.StringVar(&c.state, "state", "", "state file (default: the state block, $HOLDFAST_STATE, holdfast.db)")
	f.StringArrayVar(&c.vars, "var", nil, "value of a variable, NAME=VALUE; may be repeated")
	f.StringArrayVar(&c.varFiles, "var-file", nil, "file with values of variables (*.holdvars.hcl); may be repeated")
	f.BoolVar(&c.JSON, "json", c.JSON, "print JSON for programs")
	f.Lookup("json").DefValue = "false"
	f.BoolVar(&c.noColor, "no-color", false, "no colours, also on a terminal")
	f.StringVar(&c.logLevel, "log-level", "warn", "trace, debug, info, warn, error or off; logs go to standard error")
	f.StringVar(&c.now, "now", "", "pretend it is this time (RFC 3339); for tests")
	if err := f.MarkHidden("now"); err != nil {
		panic(err) // the flag was declared a line above
	}
	OneOf(root, "log-level", "trace", "debug", "info", "warn", "error", "off")
}

// End prints the error of the command, if it was not reported yet, and gives the exit code of the program: that of a signal
// that kept the command from being done, or that of the error.
func (c *Call) End(err error) int {
	code := CodeOf(err)
	if sig := c.signal.Load(); sig != 0 && code != ExitDone {
		code = int(sig)
	}
	switch {
	case c.stream != nil:
		c.stream.end(err, code)
	case err != nil && err.Error() != "":
		c.fail(err, code)
	}
	return c.unwritten(err, code)
}

// fail prints an error that was not reported yet.
func (c *Call) fail(err error, code int) {
	if errors.Is(err, context.Canceled) && c.signal.Load() != 0 {
		err = errInterrupted
	}
	if c.JSON {
		_ = view.JSON(c.Out, map[string]any{"error": err.Error(), "exit": code})
		return
	}
	fmt.Fprintln(c.Err, "Error: "+view.Clean(err.Error()))
}

var errInterrupted = errors.New("interrupted; nothing was changed")

// Done says what was done: in words as of fmt.Sprintf, on one line, or as JSON.
func (c *Call) Done(what map[string]any, format string, args ...any) error {
	if c.JSON {
		return view.JSON(c.Out, what)
	}
	_, err := fmt.Fprintln(c.Out, view.Line(fmt.Sprintf(format, args...)))
	return err
}

// Zone is the zone of times for people: that of the settings, or where no configuration was read that of this machine.
func (c *Call) Zone() *time.Location {
	if c.zone != nil {
		return c.zone
	}
	return time.Local
}

// Time says an instant to people in a form that --now and --at take, too, with the name of its zone.
func (c *Call) Time(t time.Time) string {
	text := t.In(c.Zone()).Format("2006-01-02T15:04:05Z07:00 MST")
	return strings.TrimSuffix(text, " UTC")
}

// Style gives colours only on a terminal that wants them, and times in the zone of the call.
func (c *Call) Style(w io.Writer) view.Style {
	if o, ok := w.(*output); ok {
		w = o.to
	}
	f, ok := w.(*os.File)
	return view.Style{
		Color: ok && !c.noColor && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd())),
		Zone:  c.Zone(),
	}
}

// Interactive reports whether a person can answer a question.
func (c *Call) Interactive() bool {
	in, ok := c.In.(*os.File)
	return ok && !c.JSON && term.IsTerminal(int(in.Fd()))
}

// File gives a path that a person wrote: a relative one counts from --chdir.
func (c *Call) File(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(c.chdir, path)
}
