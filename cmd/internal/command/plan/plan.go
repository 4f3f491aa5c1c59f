// Package plan is the everyday work: the commands plan, show, apply and run. A plan is made from the configuration, or for one
// object, and done by package execution.
package plan

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/holdfast-dr/holdfast/cmd/internal/app"
	"github.com/holdfast-dr/holdfast/cmd/internal/command"
	"github.com/holdfast-dr/holdfast/cmd/internal/command/execution"
	"github.com/holdfast-dr/holdfast/cmd/internal/view"
	"github.com/holdfast-dr/holdfast/config/diag"
	"github.com/holdfast-dr/holdfast/reconcile"
)

// Commands are plan, show, apply and run.
func Commands(c *command.Call) []*cobra.Command {
	return []*cobra.Command{planCommand(c), showCommand(c), applyCommand(c), runCommand(c)}
}

// planFlags are the flags that say what is planned; plan and apply share them.
type planFlags struct {
	targets, exclude []string
	refresh          string
	destroy          bool
	rewind           bool
	verbose          bool
}

func (f *planFlags) add(c *command.Call, cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&f.targets, "target", nil, "plan only this address (or pattern with *) and what it needs; may be repeated")
	cmd.Flags().StringArrayVar(&f.exclude, "exclude", nil, "leave this address (or pattern with *) out; may be repeated")
	cmd.Flags().StringVar(&f.refresh, "refresh", "live", "live: look at devices, stores and targets; recorded: use the last look, contact nothing")
	cmd.Flags().BoolVar(&f.destroy, "destroy", false, "plan the removal of every recorded object; artifacts stay")
	cmd.Flags().BoolVar(&f.rewind, "allow-rewind", false, "accept a commit that does not descend from the last applied one")
	cmd.Flags().BoolVar(&f.verbose, "verbose", false, "show every task and every argument")
	command.OneOf(cmd, "refresh", "live", "recorded")
	for _, flag := range []string{"target", "exclude"} {
		_ = cmd.RegisterFlagCompletionFunc(flag, c.CompleteAddresses()) // the flag was declared above
	}
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

func planCommand(c *command.Call) *cobra.Command {
	var f planFlags
	var out, format, against string
	var detailed bool
	var maxBytes int
	cmd := &cobra.Command{
		Use:     "plan",
		GroupID: command.SectionWork,
		Short:   "Show what would change and what is due; do nothing",
		Long: `Compare the configuration with the recorded state and the world, and show what
apply would do: changes to the record, work that is due, what is deferred and
why, what differs from the record, and roles. Nothing is changed and no lock is
taken; a plan can be made while an apply runs.

With --refresh=recorded nothing is contacted and no secret is resolved: the
setting for pull requests in CI. With --against REF two commits are compared
without any state; with --against REF... what is compared is the commit where
this one branched off REF, so that what REF gained since is no difference.`,
		Example: `  holdfast plan
  holdfast plan --out tonight.plan && holdfast apply tonight.plan
  holdfast plan --repo . --ref HEAD --refresh=recorded --detailed-exitcode --format=markdown
  holdfast plan --against origin/main
  holdfast plan --against origin/main... --format=markdown`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if against != "" && out != "" {
				return errors.New("--against compares two commits, which is nothing that can be applied: leave --out away")
			}
			if against != "" {
				if err := unfit(cmd, compared, "target", "exclude", "destroy", "allow-rewind"); err != nil {
					return err
				}
			}
			m := planning{Call: c, flags: f, against: against}
			if format == "markdown" && !c.JSON {
				m.comment, m.most = true, maxBytes
			}
			p, err := m.plan(cmd.Context())
			if err != nil {
				return m.failed(err)
			}
			if out != "" && !p.Errored {
				if err := app.SavePlan(c.File(out), p); err != nil {
					return err
				}
			}
			code := planCode(p, detailed)
			if err := execution.Show(c, p, execution.Review{Format: format, MaxBytes: maxBytes, Verbose: f.verbose, Code: code}); err != nil {
				return err
			}
			if out != "" && !p.Errored && !c.JSON && format == "text" {
				execution.Saved(c, p, "holdfast apply", out)
			}
			return command.Exit(code, nil)
		},
	}
	f.add(c, cmd)
	cmd.Flags().StringVar(&out, "out", "", "also write the plan to this file, for holdfast apply FILE")
	cmd.Flags().StringVar(&format, "format", "text", "text, markdown or json")
	command.Number(cmd, &maxBytes, "max-bytes", 60000, "cut --format=markdown to this size, least severe first; 0: no limit")
	cmd.Flags().StringVar(&against, "against", "", "compare with this commit instead of the state; REF... is where this one branched off REF")
	cmd.Flags().BoolVar(&detailed, "detailed-exitcode", false, "exit with 2 when there are changes or due actions, 3 when there is only drift")
	command.OneOf(cmd, "format", "text", "markdown", "json")
	return cmd
}

// planning makes the plan of the command plan.
type planning struct {
	*command.Call
	flags   planFlags
	against string
	comment bool // what keeps the plan from being made is also told in Markdown
	most    int  // bytes of a comment

	environment string    // of the configuration, as far as it is known
	problems    diag.List // of the configuration
}

// plan loads the configuration and plans it.
func (m *planning) plan(ctx context.Context) (*reconcile.Plan, error) {
	o, err := m.flags.options()
	if err != nil {
		return nil, err
	}
	a, err := m.App()
	if err != nil {
		return nil, err
	}
	cfg, err := m.loaded(a.Load(ctx))
	if err != nil {
		return nil, err
	}
	if m.against != "" {
		return m.compare(ctx, a, cfg)
	}
	st, err := a.OpenState(ctx, a.StatePath(cfg.Doc), false)
	if errors.Is(err, app.ErrNoState) {
		return nil, fmt.Errorf("%w. Where there is none to read, as for a pull request, compare two commits: holdfast plan --against origin/main", err)
	}
	if err != nil {
		return nil, err
	}
	defer st.Close()
	return a.Plan(ctx, cfg, st, o)
}

func (m *planning) loaded(cfg *app.Config, diags diag.List, err error) (*app.Config, error) {
	if cfg != nil {
		m.environment, m.problems = cfg.Doc.Settings.Environment, diags
	}
	return m.Loaded(cfg, diags, err)
}

func (m *planning) compare(ctx context.Context, a *app.App, cfg *app.Config) (*reconcile.Plan, error) {
	base, diags, err := a.LoadBase(ctx, cfg, m.against)
	if errors.Is(err, app.ErrInvalid) {
		m.problems = diags
	}
	if base, err = m.Loaded(base, diags, err); err != nil {
		return nil, fmt.Errorf("read the configuration of %s: %w", m.against, err)
	}
	return a.Compare(base, cfg), nil
}

// failed tells a pull request, too, why there is no plan.
func (m *planning) failed(err error) error {
	if !m.comment {
		return err
	}
	return errors.Join(err, view.MarkdownFailure(m.Out, m.environment, m.problems, err, m.most))
}

// erroredCode is the exit code of a plan with errors: what would undo an applied commit is no usable plan, and what only
// protection stops is blocked.
func erroredCode(p *reconcile.Plan) int {
	codes := map[string]int{"HF-GIT-001": command.ExitUnusable, "HF-GIT-002": command.ExitUnusable, "HF-DEL-001": command.ExitBlocked}
	code := command.ExitFault
	for i, d := range slices.DeleteFunc(slices.Clone(p.Findings), func(d diag.Diagnostic) bool { return d.Severity != diag.Error }) {
		this, ok := codes[d.Code]
		if !ok || i > 0 && this != code {
			return command.ExitFault
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
		return command.ExitDone
	case !p.Empty():
		return command.ExitChanges
	case len(p.Drift) > 0:
		return command.ExitDrift
	}
	return command.ExitDone
}

func showCommand(c *command.Call) *cobra.Command {
	var format string
	var verbose bool
	cmd := &cobra.Command{
		Use:     "show FILE",
		GroupID: command.SectionLook,
		Short:   "Show a saved plan",
		Example: "  holdfast show tonight.plan\n  holdfast show --json tonight.plan",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			p, err := app.ReadPlan(c.File(args[0]))
			if err != nil {
				return err
			}
			return execution.Show(c, p, execution.Review{Format: format, Verbose: verbose})
		},
	}
	cmd.Flags().StringVar(&format, "format", "text", "text, markdown or json")
	command.OneOf(cmd, "format", "text", "markdown", "json")
	cmd.Flags().BoolVar(&verbose, "verbose", false, "show every task and every argument")
	return cmd
}
