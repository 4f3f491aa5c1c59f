package record

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/holdfast-dr/holdfast/cmd/internal/app"
	"github.com/holdfast-dr/holdfast/cmd/internal/command"
	"github.com/holdfast-dr/holdfast/state"
	"github.com/holdfast-dr/holdfast/state/sqlstore"
)

func taskCommand(c *command.Call) *cobra.Command {
	cmd := &cobra.Command{Use: "task", GroupID: command.SectionWork, Short: "Decide about tasks whose outcome is unknown"}
	var done, failed, retry bool
	var reason string
	resolve := &cobra.Command{
		Use:   "resolve TASK",
		Short: "Say how a task ended that was interrupted where it must not be repeated",
		Long: `A step that must not run twice (a script, for one) and was interrupted leaves its
task in "attention": holdfast cannot know whether it took effect. Look, then say so.

What stands behind the pre script of a backup plan waits for the answer, for a day at
most: with --done it goes on, with --failed it is cancelled, and with --retry the script
runs again first. Continue with holdfast apply --resume. Later runs do not wait for it.`,
		Example: "  holdfast task resolve 12.3 --done --reason \"the announcement was sent\"\n  holdfast task resolve 12.3 --retry --reason \"it never started\"",
		Args:    cobra.ExactArgs(1),

		ValidArgsFunction: c.CompleteState(completeAttention),
		RunE: func(cmd *cobra.Command, args []string) error {
			to := map[state.Status]bool{state.Succeeded: done, state.Failed: failed, state.Interrupted: retry}
			var chosen []state.Status
			for s, on := range to {
				if on {
					chosen = append(chosen, s)
				}
			}
			if len(chosen) != 1 || reason == "" {
				return errors.New("say one of --done, --failed and --retry, and why with --reason")
			}
			return c.WithState(cmd.Context(), func(a *app.App, st *sqlstore.Store) error {
				err := st.Resolve(cmd.Context(), args[0], chosen[0], app.Actor(), reason, a.Now())
				switch {
				case errors.Is(err, state.ErrStale): // of the task, not of a plan
					return command.Exit(command.ExitFault, err)
				case err != nil:
					return err
				}
				run, _, _ := strings.Cut(args[0], ".")
				now, err := st.Run(cmd.Context(), run)
				if err != nil {
					return err
				}
				switch {
				case retry:
					return c.Done(map[string]any{"task": args[0], "status": chosen[0]}, "Task %s will be tried again by: holdfast apply --resume %s", args[0], run)
				case !now.Status.Terminal():
					return c.Done(map[string]any{"task": args[0], "status": chosen[0]}, "Task %s is %s. What waits behind it goes on with: holdfast apply --resume %s", args[0], chosen[0], run)
				}
				return c.Done(map[string]any{"task": args[0], "status": chosen[0]}, "Task %s is %s.", args[0], chosen[0])
			})
		},
	}
	resolve.Flags().BoolVar(&done, "done", false, "the step took effect and the task is complete")
	resolve.Flags().BoolVar(&failed, "failed", false, "the task failed")
	resolve.Flags().BoolVar(&retry, "retry", false, "run the open step again")
	resolve.Flags().StringVar(&reason, "reason", "", "why; kept in the log of edits (required)")
	cmd.AddCommand(resolve)
	return cmd
}

// completeAttention offers the tasks that wait for a decision, newest first.
func completeAttention(cmd *cobra.Command, st *sqlstore.Store) (offers []string, err error) {
	snap, err := st.Snapshot(cmd.Context())
	if err != nil {
		return nil, err
	}
	for _, r := range snap.Undecided() {
		tasks, err := st.Tasks(cmd.Context(), r.ID)
		if err != nil {
			return nil, err
		}
		for _, t := range tasks {
			if t.Status == state.Attention {
				offers = append([]string{offerTask(t, r.Address)}, offers...)
			}
		}
	}
	return offers, nil
}
