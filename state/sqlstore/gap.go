package sqlstore

import (
	"context"

	"github.com/holdfast-dr/holdfast/state"
)

// gapRuns is among how many of its newest runs a schedule's missed times are looked for. It bounds what a snapshot reads.
const gapRuns = 12

// gaps finds the newest missed times of each schedule that are among its newest runs.
func gaps(ctx context.Context, q querier) (map[string]state.Gap, error) {
	found := map[string]state.Gap{}
	rows, err := q.QueryContext(ctx, `SELECT r.address, max(r.created_at) FROM schedule_cursor c JOIN run r
		ON r.id IN (SELECT n.id FROM run n WHERE n.address = c.address ORDER BY n.id DESC LIMIT ?)
		WHERE r.status = 'missed' GROUP BY r.address`, gapRuns)
	if err != nil {
		return nil, explain(err)
	}
	err = eachRow(rows, func(row scanner) error {
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
		g, err = one(ctx, q, func(row scanner) (state.Gap, error) {
			err := row.Scan((*instant)(&g.From), &g.Missed)
			return g, err
		}, `SELECT min(due_at), count(*) FROM run WHERE address = ? AND created_at = ? AND status = 'missed'`, address, micros(g.To))
		found[address] = g
	}
	return found, err
}
