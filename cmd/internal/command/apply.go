package command

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfast-dr/holdfast/cmd/internal/app"
	"github.com/holdfast-dr/holdfast/cmd/internal/view"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/reconcile/execute"
	"github.com/holdfast-dr/holdfast/state"
	"github.com/holdfast-dr/holdfast/state/sqlstore"
)

// doFlags say what an apply or a run may do.
type doFlags struct {
	approve bool
	allow   []string
	deletes int
}

func (f *doFlags) add(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.approve, "auto-approve", false, "do not ask")
	cmd.Flags().StringSliceVar(&f.allow, "allow", []string{"safe", "degrade"}, "classes of change that may be applied: safe, degrade, destroy, role (added to safe and degrade)")
	cmd.Flags().IntVar(&f.deletes, "allow-delete", 0, "number of objects that may be removed when the brake on mass removal holds")
	oneOf(cmd, "allow", "safe", "degrade", "destroy", "role")
}

func (f *doFlags) allowed() (reconcile.Allowed, error) {
	ok := defaultAllowed()
	for _, name := range f.allow {
		class := reconcile.Class(name)
		if !slices.Contains([]reconcile.Class{reconcile.ClassSafe, reconcile.ClassDegrade, reconcile.ClassDestroy, reconcile.ClassRole}, class) {
			return ok, fmt.Errorf("--allow=%s: write safe, degrade, destroy or role", name)
		}
		ok.Classes = append(ok.Classes, class)
	}
	ok.Deletes = f.deletes
	return ok, nil
}

func (c *cli) applyCommand() *cobra.Command {
	var f planFlags
	var do doFlags
	var resume string
	cmd := &cobra.Command{
		Use:     "apply [PLANFILE]",
		GroupID: "work",
		Short:   "Bring the record up to date and do the work that is due",
		Long: `Make a plan, show it, ask, and do it: record the changes, take the backups, sync
the mirrors and move the roles that the plan lists. With a plan file exactly that
plan is done, or nothing when something it relies on has changed.

Each step is written to the journal before it begins and after it ended. If the
process dies at any point, "holdfast apply --resume" goes on from there.`,
		Example: `  holdfast apply
  holdfast apply tonight.plan
  holdfast apply --auto-approve --allow=role
  holdfast apply --resume              (everything that did not end)
  holdfast apply --resume 12           (run 12)`,
		Args:        cobra.MaximumNArgs(1),
		Annotations: streams,
		RunE: func(cmd *cobra.Command, args []string) error {
			c.open(cmd)
			if cmd.Flags().Changed("resume") {
				if len(args) == 1 { // "--resume 12" reads like "--resume=12"
					if resume != "all" || !isNumber(args[0]) {
						return errors.New("--resume takes the number of a run, and no plan file")
					}
					resume = args[0]
				}
				return c.resume(cmd.Context(), resume)
			}
			allowed, err := do.allowed()
			if err != nil {
				return err
			}
			if len(args) == 1 {
				return c.applyFile(cmd.Context(), args[0], allowed)
			}
			o, err := f.options()
			if err != nil {
				return err
			}
			if o.Recorded {
				return errors.New("apply always looks at what it works on: leave --refresh=recorded away, or apply a saved plan")
			}
			return c.planAndDo(cmd.Context(), o, allowed, do.approve, f.verbose)
		},
	}
	f.add(c, cmd)
	do.add(cmd)
	cmd.Flags().StringVar(&resume, "resume", "", "continue the runs that did not end: all, or one `RUN` by its number")
	cmd.Flags().Lookup("resume").NoOptDefVal = "all"
	return cmd
}

func (c *cli) planAndDo(ctx context.Context, o app.PlanOptions, allowed reconcile.Allowed, approve, verbose bool) error {
	a, err := c.app()
	if err != nil {
		return err
	}
	cfg, err := c.load(ctx, a)
	if err != nil {
		return err
	}
	st, err := a.OpenState(ctx, a.StatePath(cfg.Doc), false)
	if err != nil {
		return err
	}
	defer st.Close()
	p, err := a.Plan(ctx, cfg, st, o)
	if err != nil {
		return err
	}
	if err := c.announce(p, allowed, verbose); err != nil {
		return err
	}
	if p.Errored {
		return exit(erroredCode(p))
	}
	if p.Empty() {
		return nil
	}
	if !approve {
		if !c.interactive() {
			return errNotTerminal
		}
		allowed.Classes = append(allowed.Classes, reconcile.ClassRole) // the question names the move; a yes allows it
	}
	if err := c.blocked(p, allowed); err != nil {
		return err
	}
	if !approve {
		if err := c.ask(ctx, p); err != nil {
			return err
		}
	}
	return c.execute(ctx, a, st, func(ctx context.Context, x *execute.Executor) (execute.Result, error) { return x.Apply(ctx, p) })
}

// announce shows the plan that is about to be done.
func (c *cli) announce(p *reconcile.Plan, allowed reconcile.Allowed, verbose bool) error {
	if c.stream != nil {
		c.stream.plan(p)
		return nil
	}
	return view.Plan(c.out, p, view.PlanOptions{Style: c.style(c.out), Allowed: allowed, Verbose: verbose})
}

// blocked ends the command when a gate of the plan is closed.
func (c *cli) blocked(p *reconcile.Plan, allowed reconcile.Allowed) error {
	closed := p.Closed(allowed)
	if len(closed) == 0 {
		return nil
	}
	var need []string
	for _, g := range closed {
		need = append(need, fmt.Sprintf("%s (%s)", g.Allow, g.Reason))
	}
	return &exitError{code: exitBlocked, err: fmt.Errorf("nothing was done: this plan needs %s", strings.Join(need, " and "))}
}

func (c *cli) ask(ctx context.Context, p *reconcile.Plan) error {
	if len(p.Gates) > 0 {
		for _, g := range p.Gates {
			fmt.Fprintf(c.out, "This %s.\n", g.Reason)
		}
	}
	fmt.Fprint(c.out, "\nDo this? Only \"yes\" is taken: ")
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(c.in).ReadString('\n')
		answer <- strings.TrimSpace(line)
	}()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case got := <-answer:
		if got != "yes" {
			return &exitError{code: exitDeclined, err: errors.New("declined; nothing was done")}
		}
	}
	return nil
}

func (c *cli) applyFile(ctx context.Context, path string, allowed reconcile.Allowed) error {
	p, err := app.ReadPlan(c.file(path))
	if err != nil {
		return err
	}
	a, err := c.app()
	if err != nil {
		return err
	}
	if p.Errored || (!p.Applyable && !p.Empty()) {
		return &exitError{code: exitUnusable, err: errors.New("this plan cannot be applied: it was made with errors or only to compare. Make a new plan")}
	}
	if err := c.announce(p, allowed, false); err != nil {
		return err
	}
	if p.Empty() {
		return nil
	}
	if err := c.blocked(p, allowed); err != nil {
		return err
	}
	st, err := a.OpenState(ctx, c.statePath(ctx, a), false)
	if err != nil {
		return err
	}
	defer st.Close()
	return c.execute(ctx, a, st, func(ctx context.Context, x *execute.Executor) (execute.Result, error) { return x.Apply(ctx, p) })
}

func (c *cli) resume(ctx context.Context, run string) error {
	if run == "all" {
		run = ""
	}
	a, err := c.app()
	if err != nil {
		return err
	}
	st, err := a.OpenState(ctx, c.statePath(ctx, a), false)
	if err != nil {
		return err
	}
	defer st.Close()
	return c.execute(ctx, a, st, func(ctx context.Context, x *execute.Executor) (execute.Result, error) {
		res, err := x.Resume(ctx, run)
		if err == nil && len(res.Runs) == 0 && c.stream == nil {
			fmt.Fprintln(c.out, "Nothing to continue: no run waits for it.")
			if open, err := st.Runs(ctx, state.RunFilter{Open: true}); err == nil {
				for _, r := range open {
					if r.Status != state.Attention {
						continue
					}
					fmt.Fprintf(c.out, "Run %s of %s needs a decision first: holdfast history %s\n", r.ID, r.Address, r.ID)
				}
			}
		}
		return res, err
	})
}

// statePath finds the state for commands that need no configuration: as told, or as the configuration says if it can be read.
func (c *cli) statePath(ctx context.Context, a *app.App) string {
	if c.state == "" {
		if cfg, _, err := a.Load(ctx); err == nil {
			return a.StatePath(cfg.Doc)
		}
	}
	return a.StatePath(nil)
}

// execute does work with progress, and turns how it ended into words and an exit code.
func (c *cli) execute(ctx context.Context, a *app.App, st *sqlstore.Store, work func(context.Context, *execute.Executor) (execute.Result, error)) error {
	progress := c.progress()
	c.working.Store(true)
	signal.Ignore(syscall.SIGPIPE) // the reader of the output may leave: the work goes on
	res, err := work(ctx, a.Executor(st, progress.event, c.kill))
	progress.close()
	c.result = view.ResultJSON{Runs: res.Runs, Recorded: res.Recorded, Generation: res.Generation, Interrupted: res.Interrupted}
	code := resultCode(res, err)
	if code == exitDone && unavailable(st, res.Runs) {
		code = exitFailed
	}
	if c.stream == nil && (err == nil || len(res.Runs) > 0) {
		// The exit code says how it ended, even when nobody can read this any more.
		_ = view.Result(c.out, res.Runs, res.Recorded, res.Interrupted, c.style(c.out))
	}
	if err != nil {
		return &exitError{code: code, err: err}
	}
	return exit(code)
}

// unavailable reports whether a run did nothing because its devices could not be reached. A task that is skipped is no failure;
// a backup of which nothing was made must not look like one that was.
func unavailable(st *sqlstore.Store, runs []state.Run) bool {
	for _, r := range runs {
		if r.Status != state.Skipped {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), readTimeout)
		tasks, err := st.Tasks(ctx, r.ID)
		cancel()
		if err != nil || slices.ContainsFunc(tasks, func(t state.TaskRun) bool { return t.Reason == reconcile.SkippedUnavailable }) {
			return true
		}
	}
	return false
}

// readTimeout bounds a last look at the state after the work.
const readTimeout = 10 * time.Second

// resultCode is the exit code of what was executed.
func resultCode(res execute.Result, err error) int {
	if err != nil {
		return codeOf(err)
	}
	if res.Interrupted {
		return exitInterrupted
	}
	var good, bad int
	for _, r := range res.Runs {
		switch r.Status {
		case state.Partial:
			return exitPartial
		case state.Failed, state.Cancelled, state.Attention, state.Interrupted:
			bad++
		case state.Succeeded, state.Warned:
			good++
		}
	}
	switch {
	case bad > 0 && good > 0:
		return exitPartial
	case bad > 0:
		return exitFailed
	}
	return exitDone
}
