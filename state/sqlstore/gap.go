package sqlstore

import (
	"context"

	"github.com/holdfast-dr/holdfast/state"
	"github.com/holdfast-dr/holdfast/state/sqlstore/database"
)

// gapRuns is among how many of its newest runs a schedule's missed times are looked for. It bounds what a snapshot reads.
const gapRuns = 12

// gaps finds the newest missed times of each schedule that are among its newest runs.
func gaps(ctx context.Context, q database.Querier) (map[string]state.Gap, error) {
	found := map[string]state.Gap{}
	err := database.Each(ctx, q, `SELECT r.address, max(r.created_at) FROM schedule_cursor c JOIN run r
		ON r.id IN (SELECT n.id FROM run n WHERE n.address = c.address ORDER BY n.id DESC LIMIT ?)
		WHERE r.status = 'missed' GROUP BY r.address`, []any{gapRuns}, func(row database.Row) error {
		var address string
		var g state.Gap
		err := row.Scan(&address, (*instant)(&g.To))
		found[address] = g
		return err
	})
	for address, g := range found {
		if err != nil {
			break
		}
		g, err = database.One(ctx, q, func(row database.Row) (state.Gap, error) {
			err := row.Scan((*instant)(&g.From), &g.Missed)
			return g, err
		}, `SELECT min(due_at), count(*) FROM run WHERE address = ? AND created_at = ? AND status = 'missed'`, address, micros(g.To))
		found[address] = g
	}
	return found, err
}
