// Package command is the command line: one file per subcommand, each from flags to work to view.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/holdfast-dr/holdfast/cmd/internal/app"
	"github.com/holdfast-dr/holdfast/cmd/internal/view"
	"github.com/holdfast-dr/holdfast/config/diag"
)

// Version is the version of this program; set when it is released.
var Version = "0.1.0-dev"

// Main runs the program and gives its exit code.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	c := &cli{in: stdin, out: stdout, err: stderr, kill: make(chan struct{})}
	ctx, stop := c.signals()
	defer stop()
	c.json = slices.Contains(args, "--json") || slices.Contains(args, "-json") // also when the arguments cannot be understood
	root := c.root()
	root.SetArgs(doubleDashes(root, args))
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	code := codeOf(err)
	if sig := c.signal.Load(); sig != 0 && code != exitDone {
		code = int(sig)
	}
	switch {
	case c.stream != nil:
		c.stream.result(c.result, err, code)
	case err != nil && err.Error() != "":
		c.fail(err, code)
	}
	return code
}

// cli is one call: the streams, the global flags and what was learnt of the terminal.
type cli struct {
	in       io.Reader
	out, err io.Writer

	chdir, repo, ref, path, state, now string
	vars, varFiles                     []string
	json, noColor                      bool
	logLevel                           string

	signal  atomic.Int32  // exit code of the first signal
	working atomic.Bool   // a plan is being executed: stopping takes words
	kill    chan struct{} // closed by the second signal

	stream *stream         // apply and run with --json
	result view.ResultJSON // what they did
}

const rootHelp = `holdfast is business continuity as code: declare backup plans, maintenance
windows, mirrors and failover targets in *.hold.hcl files, keep them in git,
review the plan, apply it.

  holdfast init                 make the state file, check the configuration
  holdfast plan                 show what would change and what is due
  holdfast apply                do it, after a yes
  holdfast status               how things stand
  holdfast history              what happened

The configuration is read from the working directory (--chdir), or from a
commit of a git repository (--repo URL --ref REF) without a checkout.

Exit codes: 0 done, 1 error, 2 changes (plan --detailed-exitcode), 3 drift only,
5 plan not usable, 6 locked, 7 blocked and nothing done, 8 partial,
9 declined, 10 ran and failed, 130/143 interrupted.`

func (c *cli) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "holdfast",
		Short:         "Business continuity as code",
		Long:          rootHelp,
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       Version,
	}
	f := root.PersistentFlags()
	f.StringVar(&c.chdir, "chdir", "", "directory of the configuration; relative paths count from it")
	f.StringVar(&c.repo, "repo", "", "read the configuration from this git repository (path, file://, https://, ssh://)")
	f.StringVar(&c.ref, "ref", "", "commit, branch or tag of --repo (default HEAD)")
	f.StringVar(&c.path, "path", "", "folder of the configuration inside the repository")
	f.StringVar(&c.state, "state", "", "state file (default: the state block, $HOLDFAST_STATE, holdfast.db)")
	f.StringArrayVar(&c.vars, "var", nil, "value of a variable, NAME=VALUE; may be repeated")
	f.StringArrayVar(&c.varFiles, "var-file", nil, "file with values of variables (*.holdvars.hcl); may be repeated")
	f.BoolVar(&c.json, "json", c.json, "print JSON for programs")
	f.Lookup("json").DefValue = "false"
	f.BoolVar(&c.noColor, "no-color", false, "no colours, also on a terminal")
	f.StringVar(&c.logLevel, "log-level", "warn", "trace, debug, info, warn, error or off; logs go to standard error")
	f.StringVar(&c.now, "now", "", "pretend it is this time (RFC 3339); for tests")
	if err := f.MarkHidden("now"); err != nil {
		panic(err) // the flag was declared a line above
	}
	oneOf(root, "log-level", "trace", "debug", "info", "warn", "error", "off")
	root.AddGroup(
		&cobra.Group{ID: "work", Title: "Everyday work:"},
		&cobra.Group{ID: "look", Title: "Looking:"},
		&cobra.Group{ID: "data", Title: "Artifacts:"},
		&cobra.Group{ID: "state", Title: "Recorded state:"},
	)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		c.open(cmd)
		return fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())
	})
	root.AddCommand(
		c.initCommand(), c.fmtCommand(), c.validateCommand(), c.planCommand(), c.showCommand(), c.applyCommand(), c.runCommand(),
		c.statusCommand(), c.historyCommand(), c.restoreCommand(), c.verifyCommand(), c.artifactCommand(), c.storeCommand(),
		c.stateCommand(), c.lockCommand(), c.taskCommand(), c.schemaCommand(), c.versionCommand(),
	)
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		switch cmd.Name() {
		case "help":
			cmd.GroupID = "look"
			cmd.Example = "  holdfast help apply\n  holdfast help state mv"
		case "completion":
			cmd.GroupID = "look"
			for _, shell := range cmd.Commands() {
				shell.Example = "  holdfast completion " + shell.Name()
			}
		}
	}
	c.shape(root)
	return root
}

// app gives the application with the global flags.
func (c *cli) app() (*app.App, error) {
	o := app.Options{Dir: c.chdir, Repo: c.repo, Ref: c.ref, Path: c.path, State: c.state, VarFiles: c.varFiles, Version: Version, Vars: map[string]string{}}
	if c.ref != "" && c.repo == "" {
		return nil, errors.New("--ref needs --repo: name the repository, for example --repo . --ref " + c.ref)
	}
	for _, v := range c.vars {
		name, value, ok := strings.Cut(v, "=")
		if !ok {
			return nil, fmt.Errorf("--var %s: write NAME=VALUE", v)
		}
		o.Vars[name] = value
	}
	if c.now != "" {
		now, err := time.Parse(time.RFC3339, c.now)
		if err != nil {
			return nil, fmt.Errorf("--now: %w", err)
		}
		started := time.Now()
		o.Now = func() time.Time { return now.Add(time.Since(started)) }
	}
	level := hclog.LevelFromString(c.logLevel)
	if level == hclog.NoLevel {
		return nil, fmt.Errorf("--log-level %s: write trace, debug, info, warn, error or off", c.logLevel)
	}
	o.Log = hclog.New(&hclog.LoggerOptions{Name: "holdfast", Level: level, Output: c.err, JSONFormat: c.json})
	return app.New(o), nil
}

// load reads the configuration. When it has errors they are printed and end the command; warnings stay with it.
func (c *cli) load(ctx context.Context, a *app.App) (*app.Config, error) {
	cfg, diags, err := a.Load(ctx)
	return cfg, c.report(cfg, diags, err)
}

// report prints the problems of a configuration that has errors, with their source lines.
func (c *cli) report(cfg *app.Config, diags diag.List, err error) error {
	if !errors.Is(err, app.ErrInvalid) {
		return err
	}
	diags.WithSnippets(cfg.Doc.Sources)
	if c.stream != nil {
		c.stream.problems(diags)
		return &exitError{code: exitFault, err: err}
	}
	if c.json {
		return errors.Join(view.ValidateJSON(c.out, diags), exit(exitFault))
	}
	return errors.Join(view.Diagnostics(c.err, diags, c.style(c.err)), exit(exitFault))
}

// fail prints an error that was not reported yet.
func (c *cli) fail(err error, code int) {
	if errors.Is(err, context.Canceled) && c.signal.Load() != 0 {
		err = errInterrupted
	}
	if c.json {
		_ = view.JSON(c.out, map[string]any{"error": err.Error(), "exit": code})
		return
	}
	fmt.Fprintln(c.err, "Error: "+view.Clean(err.Error()))
}

var errInterrupted = errors.New("interrupted; nothing was changed")

// done says what was done, in words or as JSON.
func (c *cli) done(what map[string]any, format string, args ...any) error {
	if c.json {
		return view.JSON(c.out, what)
	}
	_, err := fmt.Fprintln(c.out, view.Line(fmt.Sprintf(format, args...)))
	return err
}

// style gives colours only on a terminal that wants them.
func (c *cli) style(w io.Writer) view.Style {
	f, ok := w.(*os.File)
	return view.Style{
		Color: ok && !c.noColor && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd())),
		Zone:  time.Local,
	}
}

// interactive reports whether a person can answer a question.
func (c *cli) interactive() bool {
	in, ok := c.in.(*os.File)
	return ok && !c.json && term.IsTerminal(int(in.Fd()))
}

// signals gives a context that the first SIGINT, SIGTERM or SIGHUP (the terminal is gone) cancels; the second one closes
// kill.
func (c *cli) signals() (context.Context, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	got := make(chan os.Signal, 2)
	signal.Notify(got, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // nohup
		signal.Notify(got, syscall.SIGHUP)
	}
	done := make(chan struct{})
	go func() {
		select {
		case sig := <-got:
			c.signal.Store(exitTerminated)
			if sig == os.Interrupt {
				c.signal.Store(exitInterrupted)
			}
			if c.working.Load() && c.stream == nil {
				fmt.Fprintln(c.err, "\nStopping: the step in flight ends, nothing new begins. Once more stops at once; either way holdfast apply --resume continues.")
			}
			cancel()
		case <-done:
			return
		}
		select {
		case <-got:
			close(c.kill)
		case <-done:
		}
	}()
	return ctx, func() {
		signal.Stop(got)
		close(done)
		cancel()
	}
}

// shape gives every command errors that say what to write. One that only has subcommands refuses a word that is none of
// them; alone, it shows its help.
func (c *cli) shape(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		c.shape(sub)
	}
	if valid := cmd.Args; valid != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if valid(cmd, args) != nil {
				c.open(cmd)
				return fmt.Errorf("%d arguments do not fit: %s", len(args), cmd.UseLine())
			}
			return nil
		}
	}
	if cmd.Runnable() || !cmd.HasParent() {
		return
	}
	cmd.SuggestionsMinimumDistance = 2
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		hint := ""
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			hint = fmt.Sprintf(" (did you mean %s?)", strings.Join(near, " or "))
		}
		return fmt.Errorf("unknown command %q for %q%s; see %s --help", args[0], cmd.CommandPath(), hint, cmd.CommandPath())
	}
}

// file gives a path that a person wrote: a relative one counts from --chdir.
func (c *cli) file(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(c.chdir, path)
}

// doubleDashes lets long flags be written with one dash, as Terraform's users do: -auto-approve is --auto-approve.
func doubleDashes(root *cobra.Command, args []string) []string {
	long := map[string]bool{"help": true, "version": true}
	var collect func(cmd *cobra.Command)
	collect = func(cmd *cobra.Command) {
		for _, set := range []*pflag.FlagSet{cmd.PersistentFlags(), cmd.Flags()} {
			set.VisitAll(func(f *pflag.Flag) { long[f.Name] = true })
		}
		for _, sub := range cmd.Commands() {
			collect(sub)
		}
	}
	collect(root)
	fixed := make([]string, len(args))
	for i, arg := range args {
		fixed[i] = arg
		if arg == "--" {
			copy(fixed[i:], args[i:])
			break
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(arg, "-"), "=")
		if len(name) > 1 && strings.HasPrefix(arg, "-") && !strings.HasPrefix(arg, "--") && long[name] {
			fixed[i] = "-" + arg
		}
	}
	return fixed
}
