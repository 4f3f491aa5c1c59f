package database

import (
	"context"
	"database/sql"
	"errors"

	"github.com/holdfast-dr/holdfast/state"
)

// Row is the current row of a query.
type Row interface{ Scan(dest ...any) error }

// Querier is a DB, whose every query sees a moment of its own, or one read transaction.
type Querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// QueryContext reads from the pool of reading connections.
func (d *DB) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return d.reader.QueryContext(ctx, query, args...)
}

// Read runs a function in one read transaction: all it reads is of the same moment. It waits for no writer.
func (d *DB) Read(ctx context.Context, do func(Querier) error) error {
	t, err := d.reader.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return explain(err)
	}
	err = do(t)
	if end := t.Rollback(); !errors.Is(end, sql.ErrTxDone) { // it is done when the context ended
		err = errors.Join(err, explain(end))
	}
	return readError(ctx, err)
}

// readError gives the reason of a read that was broken off, which is the context and not what the engine makes of it, and
// what to do about damage.
func readError(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return remedy(err)
}

// Each passes every row of a query to a function.
func Each(ctx context.Context, q Querier, query string, args []any, each func(Row) error) error {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return explain(err)
	}
	return eachRow(rows, each)
}

func eachRow(rows *sql.Rows, each func(Row) error) error {
	defer rows.Close()
	for rows.Next() {
		if err := each(rows); err != nil {
			return explain(err)
		}
	}
	return explain(rows.Err())
}

// List reads all rows of a query into records.
func List[T any](ctx context.Context, q Querier, scan func(Row) (T, error), query string, args ...any) ([]T, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, explain(err)
	}
	var all []T
	err = eachRow(rows, func(row Row) error {
		v, err := scan(row)
		all = append(all, v)
		return err
	})
	if err != nil {
		return nil, readError(ctx, err)
	}
	return all, nil
}

// One reads the only row of a query, or is state.ErrNotFound.
func One[T any](ctx context.Context, q Querier, scan func(Row) (T, error), query string, args ...any) (T, error) {
	all, err := List(ctx, q, scan, query, args...)
	var none T
	if err != nil {
		return none, err
	}
	if len(all) == 0 {
		return none, state.ErrNotFound
	}
	return all[0], nil
}
