package record

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/holdfast-dr/holdfast/cmd/internal/command"
	"github.com/holdfast-dr/holdfast/state"
	"github.com/holdfast-dr/holdfast/state/sqlstore"
)

// completeHistory offers the newest runs and the recorded objects; after the number of a run and a dot, its tasks.
func completeHistory(c *command.Call) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		return c.CompleteState(func(cmd *cobra.Command, st *sqlstore.Store) ([]string, error) {
			if run, _, ok := strings.Cut(typed, "."); ok && isNumber(run) {
				return tasksOf(cmd, st, run)
			}
			runs, err := command.Runs(cmd.Context(), st, state.RunFilter{})
			if err != nil {
				return nil, err
			}
			objects, err := command.Recorded(cmd.Context(), st, typed)
			return append(runs, objects...), err
		})(cmd, args, typed)
	}
}

func tasksOf(cmd *cobra.Command, st *sqlstore.Store, run string) (offers []string, err error) {
	tasks, err := st.Tasks(cmd.Context(), run)
	for _, t := range tasks {
		offers = append(offers, offerTask(t, ""))
	}
	return offers, err
}

// offerTask is a task for a shell, with what it is about and how it stands.
func offerTask(t state.TaskRun, object string) string {
	about := t.Activity
	if t.Device != "" {
		about = strings.TrimSuffix(t.Device+"/"+t.Domain, "/")
	}
	return command.Offer(t.ID, object, about, string(t.Status))
}

// completeLocks offers what is held.
func completeLocks(cmd *cobra.Command, st *sqlstore.Store) (offers []string, err error) {
	locks, err := st.Locks(cmd.Context())
	for _, l := range locks {
		offers = append(offers, command.Offer(l.Name, l.Actor, l.Operation, l.Reason))
	}
	return offers, err
}
