package command

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/holdfast-dr/holdfast/cmd/internal/app"
	"github.com/holdfast-dr/holdfast/cmd/internal/view"
	"github.com/holdfast-dr/holdfast/config/diag"
	"github.com/holdfast-dr/holdfast/reconcile"
)

// planFlags are the flags that say what is planned; plan and apply share them.
type planFlags struct {
	targets, exclude []string
	refresh          string
	destroy          bool
	rewind           bool
	verbose          bool
}

func (f *planFlags) add(c *cli, cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&f.targets, "target", nil, "plan only this address (or pattern with *) and what it needs; may be repeated")
	cmd.Flags().StringArrayVar(&f.exclude, "exclude", nil, "leave this address (or pattern with *) out; may be repeated")
	cmd.Flags().StringVar(&f.refresh, "refresh", "live", "live: look at devices, stores and targets; recorded: use the last look, contact nothing")
	cmd.Flags().BoolVar(&f.destroy, "destroy", false, "plan the removal of every recorded object; artifacts stay")
	cmd.Flags().BoolVar(&f.rewind, "allow-rewind", false, "accept a commit that does not descend from the last applied one")
	cmd.Flags().BoolVar(&f.verbose, "verbose", false, "show every task and every argument")
	oneOf(cmd, "refresh", "live", "recorded")
	for _, flag := range []string{"target", "exclude"} {
		_ = cmd.RegisterFlagCompletionFunc(flag, c.completeObjects()) // the flag was declared above
	}
}

// oneOf gives the completion of a declared flag whose values are few.
func oneOf(cmd *cobra.Command, flag string, values ...string) {
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
}

func (f *planFlags) options() (app.PlanOptions, error) {
	o := app.PlanOptions{AllowRewind: f.rewind}
	o.Targets, o.Exclude = f.targets, f.exclude
	if f.destroy {
		o.Mode = reconcile.ModeDestroy
	}
	switch f.refresh {
	case "live":
	case "recorded":
		o.Recorded = true
	default:
		return o, fmt.Errorf("--refresh=%s: write live or recorded", f.refresh)
	}
	return o, nil
}

func (c *cli) planCommand() *cobra.Command {
	var f planFlags
	var out, format, against string
	var detailed bool
	var maxBytes int
	cmd := &cobra.Command{
		Use:     "plan",
		GroupID: "work",
		Short:   "Show what would change and what is due; do nothing",
		Long: `Compare the configuration with the recorded state and the world, and show what
apply would do: changes to the record, work that is due, what is deferred and
why, what differs from the record, and roles. Nothing is changed and no lock is
taken; a plan can be made while an apply runs.

With --refresh=recorded nothing is contacted and no secret is resolved: the
setting for pull requests in CI. With --against REF two commits are compared
without any state.`,
		Example: `  holdfast plan
  holdfast plan --out tonight.plan && holdfast apply tonight.plan
  holdfast plan --repo . --ref HEAD --refresh=recorded --detailed-exitcode --format=markdown
  holdfast plan --against origin/main`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if against != "" && out != "" {
				return errors.New("--against compares two commits, which is nothing that can be applied: leave --out away")
			}
			p, err := c.makePlan(cmd.Context(), f, against)
			if err != nil {
				return err
			}
			if out != "" && !p.Errored {
				if err := app.SavePlan(c.file(out), p); err != nil {
					return err
				}
			}
			code := planCode(p, detailed)
			if err := c.showPlan(p, format, maxBytes, f.verbose, code); err != nil {
				return err
			}
			if out != "" && !p.Errored && !c.json && format == "text" {
				fmt.Fprintf(c.out, "Saved. To do exactly this: holdfast apply %s\n", out)
			}
			return exit(code)
		},
	}
	f.add(c, cmd)
	cmd.Flags().StringVar(&out, "out", "", "also write the plan to this file, for holdfast apply FILE")
	cmd.Flags().StringVar(&format, "format", "text", "text, markdown or json")
	cmd.Flags().IntVar(&maxBytes, "max-bytes", 60000, "cut --format=markdown to this size, least severe first; 0: no limit")
	cmd.Flags().StringVar(&against, "against", "", "compare with this commit instead of the state")
	cmd.Flags().BoolVar(&detailed, "detailed-exitcode", false, "exit with 2 when there are changes or due actions, 3 when there is only drift")
	oneOf(cmd, "format", "text", "markdown", "json")
	return cmd
}

// makePlan loads the configuration and plans it.
func (c *cli) makePlan(ctx context.Context, f planFlags, against string) (*reconcile.Plan, error) {
	o, err := f.options()
	if err != nil {
		return nil, err
	}
	a, err := c.app()
	if err != nil {
		return nil, err
	}
	cfg, err := c.load(ctx, a)
	if err != nil {
		return nil, err
	}
	if against != "" {
		base, diags, err := a.LoadRef(ctx, against)
		if err := c.report(base, diags, err); err != nil {
			return nil, fmt.Errorf("read the configuration of %s: %w", against, err)
		}
		return a.Compare(base, cfg), nil
	}
	st, err := a.OpenState(ctx, a.StatePath(cfg.Doc), false)
	if err != nil {
		return nil, err
	}
	defer st.Close()
	return a.Plan(ctx, cfg, st, o)
}

// erroredCode is the exit code of a plan with errors: what would undo an applied commit is no usable plan, and what only
// protection stops is blocked.
func erroredCode(p *reconcile.Plan) int {
	codes := map[string]int{"HF-GIT-001": exitUnusable, "HF-DEL-001": exitBlocked}
	code := exitFault
	for i, d := range slices.DeleteFunc(slices.Clone(p.Findings), func(d diag.Diagnostic) bool { return d.Severity != diag.Error }) {
		this, ok := codes[d.Code]
		if !ok || i > 0 && this != code {
			return exitFault
		}
		code = this
	}
	return code
}

func planCode(p *reconcile.Plan, detailed bool) int {
	switch {
	case p.Errored:
		return erroredCode(p)
	case !detailed:
		return exitDone
	case !p.Empty():
		return exitChanges
	case len(p.Drift) > 0:
		return exitDrift
	}
	return exitDone
}

func (c *cli) showPlan(p *reconcile.Plan, format string, maxBytes int, verbose bool, code int) error {
	if c.json {
		format = "json"
	}
	allowed := defaultAllowed()
	switch format {
	case "json":
		return view.PlanJSON(c.out, p, code)
	case "markdown":
		return view.Markdown(c.out, p, allowed, maxBytes)
	case "text":
		return view.Plan(c.out, p, view.PlanOptions{Style: c.style(c.out), Allowed: allowed, Verbose: verbose})
	}
	return fmt.Errorf("--format=%s: write text, markdown or json", format)
}

func (c *cli) showCommand() *cobra.Command {
	var format string
	var verbose bool
	cmd := &cobra.Command{
		Use:     "show FILE",
		GroupID: "look",
		Short:   "Show a saved plan",
		Example: "  holdfast show tonight.plan\n  holdfast show --json tonight.plan",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			p, err := app.ReadPlan(c.file(args[0]))
			if err != nil {
				return err
			}
			return c.showPlan(p, format, 0, verbose, exitDone)
		},
	}
	cmd.Flags().StringVar(&format, "format", "text", "text, markdown or json")
	oneOf(cmd, "format", "text", "markdown", "json")
	cmd.Flags().BoolVar(&verbose, "verbose", false, "show every task and every argument")
	return cmd
}

// defaultAllowed is what apply may do without being told.
func defaultAllowed() reconcile.Allowed {
	return reconcile.Allowed{Classes: []reconcile.Class{reconcile.ClassNone, reconcile.ClassSafe, reconcile.ClassDegrade}}
}

// completeObjects offers the addresses of the configuration in the working directory.
func (c *cli) completeObjects(kinds ...string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		a, err := c.app()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		cfg, _, err := a.Load(cmd.Context())
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var names []string
		for _, o := range cfg.Doc.Objects() {
			addr := o.Head().Address
			if len(kinds) == 0 || slices.Contains(kinds, addr.Kind()) {
				names = append(names, string(addr))
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

var errNotTerminal = errors.New("nobody can be asked here: standard input is no terminal. Review holdfast plan, then use --auto-approve, or apply a saved plan")
