// Package record is the work on what is recorded: the commands status, history, task, state and lock. None but state adopt
// needs a configuration.
package record

import (
	"github.com/spf13/cobra"

	"github.com/holdfast-dr/holdfast/cmd/internal/app"
	"github.com/holdfast-dr/holdfast/cmd/internal/command"
	"github.com/holdfast-dr/holdfast/cmd/internal/view"
	"github.com/holdfast-dr/holdfast/reconcile/status"
	"github.com/holdfast-dr/holdfast/state/sqlstore"
)

// Commands are status, history, task, state and lock.
func Commands(c *command.Call) []*cobra.Command {
	return []*cobra.Command{statusCommand(c), historyCommand(c), taskCommand(c), stateCommand(c), lockCommand(c)}
}

func statusCommand(c *command.Call) *cobra.Command {
	return &cobra.Command{
		Use:     "status",
		GroupID: command.SectionLook,
		Short:   "Show how backups, mirrors and roles stand",
		Long:    "Show how backups, mirrors and roles stand, from the recorded state: nothing is contacted and no configuration is needed.",
		Example: "  holdfast status\n  holdfast status --json | jq '.mirrors[] | select(.healthy | not)'",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.ReadState(cmd.Context(), func(a *app.App, st *sqlstore.Store) error {
				snap, err := st.Snapshot(cmd.Context())
				if err != nil {
					return err
				}
				standing := status.Of(snap, a.Now())
				if c.JSON {
					return view.JSON(c.Out, standing)
				}
				return view.Status(c.Out, standing, c.Style(c.Out))
			})
		},
	}
}
