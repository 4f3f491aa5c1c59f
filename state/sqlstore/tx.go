package sqlstore

import (
	"context"
	"fmt"

	"github.com/holdfast-dr/holdfast/state/sqlstore/database"
)

// tx is the open write transaction, for one function.
type tx struct {
	*database.Tx
	now map[int64]settling // runs whose tasks the function changed
}

// write is database.DB.Write of a function on the tables. The runs whose tasks it changed are settled before the commit.
func (s *Store) write(ctx context.Context, do func(*tx) error) error {
	return s.db.Write(ctx, func(d *database.Tx) error {
		t := &tx{Tx: d, now: map[int64]settling{}}
		if err := do(t); err != nil {
			return err
		}
		for run, change := range t.now {
			s.changed[run] = s.changed[run].and(change)
		}
		return nil
	})
}

// settle settles the runs whose tasks changed in the open transaction.
func (s *Store) settle(d *database.Tx) error {
	t := &tx{Tx: d}
	for run, change := range s.changed {
		if _, err := t.settleRun(run, change); err != nil {
			return err
		}
	}
	return nil
}

// next raises a counter and gives its new value.
func (t *tx) next(counter string) (int64, error) {
	var n int64
	found, err := t.Row(`UPDATE counter SET value = value + 1 WHERE name = ? RETURNING value`, []any{counter}, &n)
	if err == nil && !found {
		err = fmt.Errorf("there is no counter %q", counter)
	}
	return n, err
}
