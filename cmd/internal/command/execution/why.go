package execution

import (
	"context"

	"github.com/holdfast-dr/holdfast/cmd/internal/command"
	"github.com/holdfast-dr/holdfast/state"
	"github.com/holdfast-dr/holdfast/state/sqlstore"
)

// explained gives the runs with why those that did not end well did so. When that cannot be read, the history has it still.
func explained(st *sqlstore.Store, runs []state.Run) []state.Run {
	ctx, cancel := context.WithTimeout(context.Background(), readTimeout)
	defer cancel()
	_ = command.Explain(ctx, st, runs)
	return runs
}
