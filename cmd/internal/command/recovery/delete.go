package recovery

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/holdfast-dr/holdfast/cmd/internal/app"
	"github.com/holdfast-dr/holdfast/cmd/internal/command"
	"github.com/holdfast-dr/holdfast/cmd/internal/command/execution"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/reconcile/execute"
	"github.com/holdfast-dr/holdfast/state"
	"github.com/holdfast-dr/holdfast/state/sqlstore"
)

func deleteCommand(c *command.Call) *cobra.Command {
	var reason string
	var force, approve bool
	cmd := &cobra.Command{
		Use:   "delete ARTIFACT",
		Short: "Delete an artifact that no retention decides about",
		Long: `Delete an artifact that no retention decides about: the safety backup of a restore,
or one whose backup plan is gone or has no retention. It is shown, you are asked,
and its deletion is a run like others: in the history, and continued by
"holdfast apply --resume" if the process dies.

A pinned artifact is kept. The last good one of a device and domain takes --force.`,
		Example: `  holdfast artifact delete 01JQ0M3X7T8R5V2N6K4C9D1E0F --reason "the restore was right"
  holdfast artifact delete 01JQ0M3X7T8R5V2N6K4C9D1E0F --reason "web is gone" --force --auto-approve`,
		Args:        cobra.ExactArgs(1),
		Annotations: command.Streams,

		ValidArgsFunction: c.CompleteState(completeArtifacts),
		RunE: func(cmd *cobra.Command, args []string) error {
			c.OpenStream(cmd)
			if reason == "" {
				return errors.New("say why with --reason")
			}
			return c.WithState(cmd.Context(), func(a *app.App, st *sqlstore.Store) error {
				found, err := st.Artifacts(cmd.Context(), state.ArtifactFilter{ID: args[0]})
				switch {
				case err != nil:
					return err
				case len(found) == 0:
					return fmt.Errorf("there is no artifact %s; holdfast verify --list shows what there is", args[0])
				case found[0].State == state.ArtifactDeleted:
					return command.Exit(command.ExitBlocked, fmt.Errorf("artifact %s is deleted already", args[0]))
				}
				p, err := a.PlanDeletion(cmd.Context(), st, found[0], reason, force)
				if err != nil {
					return err
				}
				return remove(cmd.Context(), c, a, st, p, approve)
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why; kept in the history (required)")
	cmd.Flags().BoolVar(&force, "force", false, "also the last good artifact of its device and domain")
	cmd.Flags().BoolVar(&approve, "auto-approve", false, "do not ask")
	return cmd
}

// remove shows the plan of a deletion, asks, and does it.
func remove(ctx context.Context, c *command.Call, a *app.App, st *sqlstore.Store, p *reconcile.Plan, approve bool) error {
	question := execution.Question{Approved: approve, Review: "what this prints"}
	if err := execution.Announce(c, p, reconcile.Allowed{}, question, false); err != nil {
		return err
	}
	if p.Errored {
		return command.Exit(command.ExitBlocked, nil)
	}
	if !approve && !c.Interactive() {
		return errors.New("nobody can be asked here: standard input is no terminal. Review the plan above, then use --auto-approve")
	}
	if err := execution.Confirm(ctx, c, p, reconcile.Allowed{}, question); err != nil {
		return err
	}
	return execution.Do(ctx, c, a, st, func(ctx context.Context, x *execute.Executor) (execute.Result, error) { return x.Run(ctx, p) })
}
