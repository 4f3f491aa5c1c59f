package sqlstore

import (
	"context"
	"fmt"
	"time"

	"github.com/holdfast-dr/holdfast/state"
)

// openRuns picks the runs that have not ended: see the indexes run_open and run_attention.
const openRuns = `SELECT ` + runColumns + ` FROM run WHERE status IN ('pending', 'running', 'interrupted')
	UNION ALL SELECT ` + runColumns + ` FROM run WHERE status = 'attention' AND EXISTS (SELECT 1 FROM task WHERE run_id = run.id AND status = 'pending')`

// undecidedRuns picks the runs with a task in attention. Those that ended are few, and found by the index run_attention.
const undecidedRuns = `SELECT ` + runColumns + ` FROM run WHERE status = 'attention'
	UNION ALL SELECT ` + runColumns + ` FROM run WHERE status IN ('pending', 'running', 'interrupted')
	AND EXISTS (SELECT 1 FROM task WHERE run_id = run.id AND status = 'attention')`

// Await gives a run whose waiting tasks depend on a person's decision the status attention. It is the one status that does not follow
// from the tasks alone: only who drives the run knows that it will start none of them. Resolve makes it follow again.
func (s *Store) Await(ctx context.Context, run string, at time.Time) error {
	id, err := runNumber(run)
	if err == nil {
		err = s.write(ctx, func(t *tx) error { return t.await(id, stored(at)) })
	}
	if err != nil {
		return fmt.Errorf("leave run %s to a person: %w", run, err)
	}
	return nil
}

func (t *tx) await(id int64, at time.Time) error {
	var before state.Status
	found, err := t.Row(`SELECT status FROM run WHERE id = ?`, []any{id}, &before)
	if err != nil {
		return err
	}
	if !found {
		return state.ErrNotFound
	}
	n, err := t.Exec(`UPDATE run SET status = ?, ended_at = CASE WHEN status = 'attention' THEN ended_at ELSE ? END
		WHERE id = ? AND status IN ('running', 'attention')
		AND EXISTS (SELECT 1 FROM task WHERE run_id = run.id AND status = 'attention')
		AND NOT EXISTS (SELECT 1 FROM task WHERE run_id = run.id AND status IN ('running', 'interrupted'))`,
		state.Attention, micros(at), id)
	if err == nil && n == 0 {
		err = fmt.Errorf("it is %s, and none of its tasks waits for a decision alone: %w", before, state.ErrStale)
	}
	return err
}

// undecided reports whether a run waits for a person, so that none of its tasks may begin.
func (t *tx) undecided(run int64) (bool, error) {
	return t.Row(`SELECT 1 FROM run WHERE id = ? AND status = 'attention'`, []any{run}, new(int))
}
