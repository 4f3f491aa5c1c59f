package record

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/holdfast-dr/holdfast/cmd/internal/app"
	"github.com/holdfast-dr/holdfast/cmd/internal/command"
	"github.com/holdfast-dr/holdfast/reconcile/execute"
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
task in "attention": holdfast cannot know whether it took effect. So does a device
that does not take work again. Look, then say so:

  --done    The open step took effect, or what had to be undone was undone by hand.
            That is all it says: the task goes on with its other steps, and one
            that had failed before stays failed. What a step leaves in a store or a
            failover target is looked at, and recorded as it is seen there.
  --retry   Try the open step again, or what had to be undone.
  --failed  The task failed, and nothing more is done for it. A device that it left
            quiesced, or a target that it left frozen, is yours.

Continue with holdfast apply --resume. What stands behind the pre script of a backup
plan waits for the answer, for a day at most: with --done it goes on, with --failed it
is cancelled, and with --retry the script runs again first. Later runs do not wait.`,
		Example: "  holdfast task resolve 12.3 --done --reason \"the announcement was sent\"\n  holdfast task resolve 12.3 --retry --reason \"it never started\"",
		Args:    cobra.ExactArgs(1),

		ValidArgsFunction: c.CompleteState(completeAttention),
		RunE: func(cmd *cobra.Command, args []string) error {
			answers := map[execute.Answer]bool{execute.AnswerDone: done, execute.AnswerFailed: failed, execute.AnswerRetry: retry}
			var given []execute.Answer
			for a, on := range answers {
				if on {
					given = append(given, a)
				}
			}
			if len(given) != 1 || reason == "" {
				return errors.New("say one of --done, --failed and --retry, and why with --reason")
			}
			d := execute.Decision{Task: args[0], Answer: given[0], Actor: app.Actor(), Reason: reason}
			return c.WithState(cmd.Context(), func(a *app.App, st *sqlstore.Store) error {
				d.At = a.Now()
				return decide(cmd.Context(), c, st, d)
			})
		},
	}
	resolve.Flags().BoolVar(&done, "done", false, "the open step took effect, or what the task owed was done by hand; the task goes on")
	resolve.Flags().BoolVar(&failed, "failed", false, "the task failed; nothing more is done for it")
	resolve.Flags().BoolVar(&retry, "retry", false, "try the open step again, or what the task owes")
	resolve.Flags().StringVar(&reason, "reason", "", "why; kept in the log of edits (required)")
	cmd.AddCommand(resolve)
	return cmd
}

// decide records a decision and says what comes next.
func decide(ctx context.Context, c *command.Call, st *sqlstore.Store, d execute.Decision) error {
	to, err := execute.Decide(ctx, st, d)
	switch {
	case errors.Is(err, state.ErrStale): // of the task, not of a plan
		return command.Exit(command.ExitFault, err)
	case err != nil:
		return err
	}
	run, _, _ := strings.Cut(d.Task, ".")
	now, err := st.Run(ctx, run)
	if err != nil {
		return err
	}
	waits := !now.Status.Terminal()
	text := fmt.Sprintf("Task %s %s.", d.Task, to.Words())
	switch {
	case to == state.Interrupted && d.Answer == execute.AnswerRetry:
		text = fmt.Sprintf("Task %s will be tried again by: holdfast apply --resume %s", d.Task, run)
	case to == state.Interrupted:
		text = fmt.Sprintf("Noted. Task %s goes on with what is left of it by: holdfast apply --resume %s", d.Task, run)
	case waits:
		text += " What waits behind it goes on with: holdfast apply --resume " + run
	}
	return c.Done(map[string]any{"task": d.Task, "status": to, "resume": waits}, "%s", text)
}

// completeAttention offers the tasks that wait for a decision, newest first.
func completeAttention(cmd *cobra.Command, st *sqlstore.Store) (offers []string, err error) {
	snap, err := st.Snapshot(cmd.Context())
	if err != nil {
		return nil, err
	}
	for _, r := range snap.Undecided {
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
