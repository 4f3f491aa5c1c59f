package sqlstore

import (
	"context"

	"github.com/holdfast-dr/holdfast/state"
	"github.com/holdfast-dr/holdfast/state/sqlstore/database"
)

// found notes which artifacts no recorded run made, where they are newer than the last good run. That are none as a rule: an artifact is
// taken before its run ends.
func found(ctx context.Context, q database.Querier, all map[string]state.Holdings, good map[string]state.Run) error {
	for owner, h := range all {
		since := good[owner].EndedAt
		if !h.Newest.After(since) {
			continue
		}
		recorded := map[string]bool{}
		made, err := database.List(ctx, q, func(row database.Row) (a state.Artifact, err error) {
			err = row.Scan((*instant)(&a.Started), &a.Run)
			return a, err
		}, `SELECT started_at, run FROM artifact WHERE backup_plan = ? AND state = 'good' AND started_at > ? ORDER BY started_at DESC`, owner, micros(since))
		if err != nil {
			return err
		}
		for _, a := range made {
			known, asked := recorded[a.Run]
			if !asked {
				if known, err = isRun(ctx, q, a.Run); err != nil {
					return err
				}
				recorded[a.Run] = known
			}
			if !known {
				h.Found = a.Started
				all[owner] = h
				break
			}
		}
	}
	return nil
}

// isRun reports whether a run is recorded under a number.
func isRun(ctx context.Context, q database.Querier, id string) (bool, error) {
	n, err := runNumber(id)
	if err != nil {
		return false, nil // nor could there be one
	}
	ids, err := database.List(ctx, q, func(row database.Row) (n int64, err error) { return n, row.Scan(&n) }, `SELECT id FROM run WHERE id = ?`, n)
	return len(ids) > 0, err
}
