package command

import (
	"context"

	"github.com/holdfast-dr/holdfast/state"
	"github.com/holdfast-dr/holdfast/state/sqlstore"
)

// Explain gives runs that ended and not well, and have no error of their own, what went wrong with their tasks.
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
		r.Error = state.Why(tasks)
	}
	return nil
}
