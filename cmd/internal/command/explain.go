package command

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/holdfast-dr/holdfast/state"
	"github.com/holdfast-dr/holdfast/state/sqlstore"
)

// Explain gives runs that ended and not well, and have no error of their own, that of their first bad task, and says how many more there are.
// Where something failed, only that counts: the rest was skipped or cancelled for other reasons, or because of it.
func Explain(ctx context.Context, st *sqlstore.Store, runs []state.Run) error {
	for i := range runs {
		r := &runs[i]
		if r.Error != "" || r.Status.Good() || !r.Status.Terminal() || r.Total == 0 {
			continue
		}
		tasks, err := st.Tasks(ctx, r.ID)
		if err != nil {
			return err
		}
		failed := slices.ContainsFunc(tasks, hasFailed)
		why := slices.DeleteFunc(tasks, func(t state.TaskRun) bool {
			return t.Status.Good() || failed && !hasFailed(t) || t.Error == "" && t.Reason == ""
		})
		if len(why) == 0 {
			continue
		}
		r.Error = why[0].ID + ": " + cmp.Or(why[0].Error, why[0].Reason)
		if more := len(why) - 1; more > 0 {
			r.Error += fmt.Sprintf(" (and %d more)", more)
		}
	}
	return nil
}

func hasFailed(t state.TaskRun) bool { return t.Status == state.Failed || t.Status == state.Attention }
