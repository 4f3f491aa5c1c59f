package database

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// Writers hand a function to the one committer. It runs all that wait in one transaction, each in a savepoint of its own, and
// commits once: a commit costs one flush of the disk, whatever is in it. Everybody waits for that commit.

const (
	maxBatch   = 256
	beginTime  = 15 * time.Second // longer than the engine's own wait for other writers
	commitTime = 60 * time.Second
	graceTime  = 10 * time.Second // how long a cancelled caller still waits for the outcome of a commit under way
)

var (
	errClosed   = errors.New("the state is closed")
	errReadOnly = errors.New("the state is open for reading only")
)

const (
	waiting int32 = iota
	taken
	withdrawn
)

// request is one caller's write.
type request struct {
	do    func(*Tx) error
	state atomic.Int32
	err   error
	done  chan struct{}
}

// Write runs a function in a transaction and returns when it is durably committed. When the context ends first, nothing was
// written, unless the commit is under way: then the outcome is awaited, and only if that takes too long it is unknown.
// The function may run more than once, in different transactions, so it sets its results anew each time.
func (d *DB) Write(ctx context.Context, do func(*Tx) error) error {
	if d.readOnly {
		return errReadOnly
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	r := &request{do: do, done: make(chan struct{})}
	select {
	case d.queue <- r:
	case <-ctx.Done():
		return ctx.Err()
	case <-d.done:
		return errClosed
	}
	select {
	case <-r.done:
		return r.err
	case <-d.done:
		return r.afterEnd()
	case <-ctx.Done():
	}
	if r.state.CompareAndSwap(waiting, withdrawn) {
		return ctx.Err()
	}
	grace := time.NewTimer(graceTime)
	defer grace.Stop()
	select {
	case <-r.done:
		return r.err
	case <-d.done:
		return r.afterEnd()
	case <-grace.C:
		return fmt.Errorf("whether the write is stored is not known: %w", ctx.Err())
	}
}

// afterEnd gives the outcome of a request when the committer has ended, perhaps without having seen it.
func (r *request) afterEnd() error {
	select {
	case <-r.done:
		return r.err
	default:
		return errClosed
	}
}

func (d *DB) commitLoop(ctx context.Context) {
	defer close(d.done)
	c := &connection{db: d.writer, schema: d.schema, sums: d.sums, touched: touched{}}
	defer c.drop()
	last := 0
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-d.queue:
			last = d.commit(ctx, c, r, last)
		}
	}
}

// commit takes what waits, gives everyone an answer, and tells how many they were.
func (d *DB) commit(ctx context.Context, c *connection, first *request, last int) int {
	batch, err := d.attempt(ctx, c, first, last)
	if diskFull(err) && d.reserve.spend() {
		if err = c.begin(ctx); err == nil {
			err = c.apply(ctx, batch)
		}
	}
	if err != nil && ctx.Err() != nil {
		err = errClosed
	}
	for _, r := range batch {
		if err != nil {
			r.err = remedy(err)
		}
		close(r.done)
	}
	if err == nil {
		d.reserve.refill()
	}
	return len(batch)
}

// attempt begins a transaction, collects its batch and runs it. When no transaction can be begun, all that wait share the error.
func (d *DB) attempt(ctx context.Context, c *connection, first *request, last int) ([]*request, error) {
	if err := c.begin(ctx); err != nil {
		return d.collect(first, 0), err
	}
	batch := d.collect(first, last)
	return batch, c.apply(ctx, batch)
}

// gatherTime is how long a batch waits for writers that were in the last one: they have just been answered and are about to
// come back. It is much shorter than a flush of the disk that it saves. A lone writer never waits.
const gatherTime = 300 * time.Microsecond

// collect gives the requests of one batch: the first, all that are waiting by now, and those that come at once.
func (d *DB) collect(first *request, expected int) []*request {
	var batch []*request
	add := func(r *request) {
		if r.state.CompareAndSwap(waiting, taken) {
			batch = append(batch, r)
		}
	}
	add(first)
	var late <-chan time.Time
	for len(batch) < maxBatch {
		select {
		case r := <-d.queue:
			add(r)
			continue
		default:
		}
		if len(batch) >= expected {
			break
		}
		if late == nil {
			timer := time.NewTimer(gatherTime)
			defer timer.Stop()
			late = timer.C
		}
		select {
		case r := <-d.queue:
			add(r)
		case <-late:
			expected = 0
		}
	}
	return batch
}

// connection is the writing connection with its prepared statements. After any doubt about its condition it is dropped.
type connection struct {
	db     *sql.DB
	schema Schema
	conn   *sql.Conn
	stmts  map[string]*sql.Stmt

	sums    sums
	touched touched // by the open transaction
}

// begin starts a transaction. Waiting for other processes happens only here, and ends with the context.
func (c *connection) begin(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, beginTime)
	defer cancel()
	if c.conn == nil {
		conn, err := c.db.Conn(ctx)
		if err != nil {
			return explain(err)
		}
		c.conn, c.stmts = conn, map[string]*sql.Stmt{}
		if err := c.touched.watch(conn, c.sums); err != nil {
			c.drop()
			return err
		}
	}
	clear(c.touched)
	if _, err := c.conn.ExecContext(ctx, beginWrite); err != nil {
		c.drop()
		return explain(err)
	}
	return nil
}

// apply runs the requests in the open transaction and commits it. An error is that of the whole batch: nothing of it is stored
// as far as this process can tell. A request's own error undoes that request only.
func (c *connection) apply(ctx context.Context, batch []*request) error {
	t := &Tx{ctx: context.WithoutCancel(ctx), c: c}
	c.schema.Begun()
	for _, r := range batch {
		if err := t.run(r); err != nil {
			c.drop()
			return err
		}
	}
	if err := c.schema.Settle(t); err != nil {
		c.drop()
		return err
	}
	if err := c.seal(t); err != nil {
		c.drop()
		return err
	}
	ctx, cancel := context.WithTimeout(t.ctx, commitTime)
	defer cancel()
	if _, err := c.conn.ExecContext(ctx, "COMMIT"); err != nil {
		c.drop()
		return fmt.Errorf("commit: %w", explain(err))
	}
	return nil
}

// drop closes the connection, which rolls back what is open.
func (c *connection) drop() {
	if c.conn == nil {
		return
	}
	for _, stmt := range c.stmts {
		stmt.Close()
	}
	_ = c.conn.Raw(func(any) error { return driver.ErrBadConn })
	c.conn, c.stmts = nil, nil
}

// Tx is the open write transaction, for one function at a time. Its statements wait for no lock, since the transaction holds the
// only one; so they run under a context without end: interrupting one would undo the writes of other callers.
type Tx struct {
	ctx context.Context
	c   *connection
}

// run executes one request. It returns an error only when the transaction cannot go on.
func (t *Tx) run(r *request) error {
	if _, err := t.Exec("SAVEPOINT request"); err != nil {
		return err
	}
	r.err = r.do(t)
	if broken(r.err) {
		return r.err
	}
	if r.err != nil {
		if _, err := t.Exec("ROLLBACK TO request"); err != nil {
			return err
		}
	}
	_, err := t.Exec("RELEASE request")
	return err
}

func (t *Tx) prepare(query string) (*sql.Stmt, error) {
	if stmt := t.c.stmts[query]; stmt != nil {
		return stmt, nil
	}
	stmt, err := t.c.conn.PrepareContext(t.ctx, query)
	if err != nil {
		return nil, explain(err)
	}
	t.c.stmts[query] = stmt
	return stmt, nil
}

// Exec runs a statement and gives the number of changed rows.
func (t *Tx) Exec(query string, args ...any) (int64, error) {
	stmt, err := t.prepare(query)
	if err != nil {
		return 0, err
	}
	res, err := stmt.ExecContext(t.ctx, args...)
	if err != nil {
		return 0, explain(err)
	}
	return res.RowsAffected()
}

// Row reads the first row of a query, if there is one.
func (t *Tx) Row(query string, args []any, dest ...any) (bool, error) {
	stmt, err := t.prepare(query)
	if err != nil {
		return false, err
	}
	err = stmt.QueryRowContext(t.ctx, args...).Scan(dest...)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, explain(err)
}

// All reads every row of a query.
func (t *Tx) All(query string, args []any, each func(Row) error) error {
	stmt, err := t.prepare(query)
	if err != nil {
		return err
	}
	rows, err := stmt.QueryContext(t.ctx, args...)
	if err != nil {
		return explain(err)
	}
	return eachRow(rows, each)
}
