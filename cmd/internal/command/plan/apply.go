package plan

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/holdfast-dr/holdfast/cmd/internal/app"
	"github.com/holdfast-dr/holdfast/cmd/internal/command"
	"github.com/holdfast-dr/holdfast/cmd/internal/command/execution"
	"github.com/holdfast-dr/holdfast/cmd/internal/view"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/reconcile/execute"
	"github.com/holdfast-dr/holdfast/state"
)

func applyCommand(c *command.Call) *cobra.Command {
	var f planFlags
	var do execution.Flags
	var run string
	cmd := &cobra.Command{
		Use:     "apply [PLANFILE]",
		GroupID: command.SectionWork,
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
		Annotations: command.Streams,
		RunE: func(cmd *cobra.Command, args []string) error {
			c.OpenStream(cmd)
			if cmd.Flags().Changed("resume") {
				if len(args) == 1 { // "--resume 12" reads like "--resume=12"
					if run != "all" || !isNumber(args[0]) {
						return errors.New("--resume takes the number of a run, and no plan file")
					}
					run = args[0]
				}
				if err := unfit(cmd, resumed, "target", "exclude", "refresh", "destroy", "allow-rewind", "allow", "allow-delete"); err != nil {
					return err
				}
				return resume(cmd.Context(), c, run)
			}
			allowed, err := do.Allowed()
			if err != nil {
				return err
			}
			if len(args) == 1 {
				if err := unfit(cmd, saved, "target", "exclude", "refresh", "destroy", "allow-rewind"); err != nil {
					return err
				}
				return applyFile(cmd.Context(), c, args[0], allowed, f.verbose)
			}
			o, err := f.options()
			if err != nil {
				return err
			}
			if o.Recorded {
				return errors.New("apply always looks at what it works on: leave --refresh=recorded away, or apply a saved plan")
			}
			o.Unreviewed = do.Approve
			return planAndDo(cmd.Context(), c, o, allowed, do.Approve, f.verbose)
		},
	}
	f.add(c, cmd)
	cmd.Flags().BoolVar(&do.Approve, "auto-approve", false, "do not ask")
	command.Words(cmd, &do.Allow, "allow", []string{"safe", "degrade"}, "classes of change that may be applied: safe, degrade, destroy, role (added to safe and degrade)",
		"safe", "degrade", "destroy", "role")
	command.Number(cmd, &do.Deletes, "allow-delete", 0, "number of objects that may be removed when the brake on mass removal holds")
	cmd.Flags().StringVar(&run, "resume", "", "continue the runs that did not end: all, or one `RUN` by its number")
	cmd.Flags().Lookup("resume").NoOptDefVal = "all"
	open := c.CompleteRuns(state.RunFilter{Open: true})
	_ = cmd.RegisterFlagCompletionFunc("resume", open) // the flag was declared above
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if cmd.Flags().Changed("resume") {
			return open(cmd, args, typed)
		}
		return nil, cobra.ShellCompDirectiveDefault
	}
	return cmd
}

func planAndDo(ctx context.Context, c *command.Call, o app.PlanOptions, allowed reconcile.Allowed, approve, verbose bool) error {
	a, err := c.App()
	if err != nil {
		return err
	}
	cfg, err := c.Load(ctx, a)
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
	question := execution.Question{Approved: approve, Opens: reconcile.ClassRole, Review: "holdfast plan"}
	if err := execution.Announce(c, p, allowed, question, verbose); err != nil {
		return err
	}
	if p.Errored {
		return command.Exit(erroredCode(p), nil)
	}
	if p.Empty() {
		return mentionHold(ctx, c, a, st)
	}
	if err := execution.Confirm(ctx, c, p, allowed, question); err != nil {
		return err
	}
	return execution.Begin(ctx, c, a, st, func(ctx context.Context, x *execute.Executor) (execute.Result, error) { return x.Apply(ctx, p) })
}

// mentionHold tells of a person's hold after an apply that found nothing to do: one with work would have been refused.
func mentionHold(ctx context.Context, c *command.Call, a *app.App, st state.Backend) error {
	locks, err := st.Locks(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(locks, func(l state.Lock) bool { return l.Name == state.ApplyLock && l.ByPerson() && !l.Expired(a.Now()) })
	if i < 0 {
		return nil
	}
	text := (&state.LockedError{Lock: locks[i]}).Error() + "; until then an apply with something to do is refused"
	if s := c.Stream(); s != nil {
		s.Line("hold", text, "lock", locks[i])
		return nil
	}
	_, err = fmt.Fprintln(c.Out, view.Line("Note: "+text+"."))
	return err
}

func applyFile(ctx context.Context, c *command.Call, path string, allowed reconcile.Allowed, verbose bool) error {
	p, err := app.ReadPlan(c.File(path))
	if err != nil {
		return err
	}
	a, err := c.App()
	if err != nil {
		return err
	}
	if p.Errored || (!p.Applyable && !p.Empty()) {
		return command.Exit(command.ExitUnusable, errors.New("this plan cannot be applied: it was made with errors or only to compare. Make a new plan"))
	}
	question := execution.Question{Approved: true}
	if err := execution.Announce(c, p, allowed, question, verbose); err != nil {
		return err
	}
	if p.Empty() {
		return nil
	}
	if err := execution.Confirm(ctx, c, p, allowed, question); err != nil {
		return err
	}
	st, err := a.OpenState(ctx, c.StatePath(ctx, a), false)
	if err != nil {
		return err
	}
	defer st.Close()
	return execution.Begin(ctx, c, a, st, func(ctx context.Context, x *execute.Executor) (execute.Result, error) { return x.Apply(ctx, p) })
}

func resume(ctx context.Context, c *command.Call, run string) error {
	if run == "all" {
		run = ""
	}
	a, err := c.App()
	if err != nil {
		return err
	}
	st, err := a.OpenState(ctx, c.StatePath(ctx, a), false)
	if err != nil {
		return err
	}
	defer st.Close()
	err = execution.Do(ctx, c, a, st, func(ctx context.Context, x *execute.Executor) (execute.Result, error) {
		res, err := x.Resume(ctx, run)
		if err == nil && len(res.Runs) == 0 && c.Stream() == nil {
			fmt.Fprintln(c.Out, "Nothing to continue: no run waits for it.")
		}
		return res, err
	})
	if ctx.Err() != nil {
		return err
	}
	if wrong := remind(ctx, c, st); err == nil {
		err = wrong
	}
	return err
}

// remind names the tasks that wait for a decision: no resume goes on with them.
func remind(ctx context.Context, c *command.Call, b state.Backend) error {
	snap, err := b.Snapshot(ctx)
	if err != nil {
		return err
	}
	for _, r := range snap.Undecided {
		tasks, err := b.Tasks(ctx, r.ID)
		if err != nil {
			return err
		}
		for _, t := range tasks {
			if t.Status != state.Attention {
				continue
			}
			text := fmt.Sprintf("Task %s of %s needs a decision. Look: holdfast history %s, then: holdfast task resolve %s --done | --failed | --retry", t.ID, r.Address, r.ID, t.ID)
			if s := c.Stream(); s != nil {
				s.Line("undecided", text, "run", r.ID, "task", t.ID, "address", r.Address)
			} else if _, err := fmt.Fprintln(c.Out, view.Line(text)); err != nil {
				return err
			}
		}
	}
	return nil
}

func isNumber(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
