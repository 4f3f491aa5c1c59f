package plan

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/holdfast-dr/holdfast/cmd/internal/app"
	"github.com/holdfast-dr/holdfast/cmd/internal/command"
	"github.com/holdfast-dr/holdfast/cmd/internal/command/execution"
	"github.com/holdfast-dr/holdfast/cmd/internal/view"
	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/reconcile/execute"
)

func runCommand(c *command.Call) *cobra.Command {
	var do execution.Flags
	var dry bool
	cmd := &cobra.Command{
		Use:     "run ADDRESS",
		GroupID: command.SectionWork,
		Short:   "Start the work of one backup plan, mirror or failover now",
		Long: `Start the work of one object now, due or not, without asking. Maintenance windows
and freezes hold. What is run must be applied as it is declared. Running does not
wait for an apply.`,
		Example:     "  holdfast run backup_plan.nightly\n  holdfast run nightly --dry-run\n  holdfast run failover.orders --allow=role",
		Args:        cobra.ExactArgs(1),
		Annotations: command.Streams,
		RunE: func(cmd *cobra.Command, args []string) error {
			if !dry {
				c.OpenStream(cmd)
			}
			allowed, err := do.Allowed()
			if err != nil {
				return err
			}
			a, err := c.App()
			if err != nil {
				return err
			}
			cfg, err := c.Load(cmd.Context(), a)
			if err != nil {
				return err
			}
			addr, err := command.Resolve(cfg.Doc, args[0], config.KindBackupPlan, config.KindMirror, config.KindFailover)
			if err != nil {
				return err
			}
			o := app.PlanOptions{AllowRewind: true}
			o.Mode, o.Run, o.Operator, o.Unreviewed = reconcile.ModeRun, addr, app.Actor(), !dry
			st, err := a.OpenState(cmd.Context(), a.StatePath(cfg.Doc), false)
			if err != nil {
				return err
			}
			defer st.Close()
			p, err := a.Plan(cmd.Context(), cfg, st, o)
			if err != nil {
				return err
			}
			if dry {
				code := planCode(p, false)
				if p.Empty() && !p.Errored {
					code = command.ExitBlocked
				}
				return errors.Join(execution.Show(c, p, execution.Review{Format: "text", Verbose: true, Code: code}), command.Exit(code, nil))
			}
			streamed := execution.Stream(c, p)
			if p.Errored || p.Empty() {
				return nothingToRun(c, p, streamed)
			}
			if err := execution.Confirm(cmd.Context(), c, p, allowed, execution.Question{Approved: true}); err != nil {
				return err
			}
			return execution.Begin(cmd.Context(), c, a, st, func(ctx context.Context, x *execute.Executor) (execute.Result, error) { return x.Run(ctx, p) })
		},
		ValidArgsFunction: c.CompleteObjects(config.KindBackupPlan, config.KindMirror, config.KindFailover),
	}
	command.Words(cmd, &do.Allow, "allow", nil, "role: allow the move of an active side", "role")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "show what would be done and what the look at devices and stores found; do nothing")
	return cmd
}

// nothingToRun says why the work of one object does not start. Programs have the problems of the plan already.
func nothingToRun(c *command.Call, p *reconcile.Plan, streamed bool) error {
	switch {
	case p.Errored && streamed:
		return command.Exit(erroredCode(p), nil)
	case p.Errored:
		return errors.Join(view.Diagnostics(c.Err, p.Findings, c.Style(c.Err)), command.Exit(erroredCode(p), nil))
	}
	why := "there is nothing to run"
	if len(p.Deferred) > 0 {
		d := p.Deferred[0]
		why = fmt.Sprintf("%s waits for %s", d.Address, d.Waits)
		if d.Code != "" {
			why += " [" + d.Code + "]"
		}
	}
	return command.Exit(command.ExitBlocked, errors.New("nothing was done: "+why))
}
