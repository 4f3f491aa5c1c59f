package database

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/binary"
	"fmt"
	"hash/crc64"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-dr/holdfast/state"
	"modernc.org/sqlite"
)

// The engine notices damage to the structure of its file, and none to what is in it. So each row of a table that has a column "sum" carries
// there a checksum of its other columns. The committer writes it for every row that a transaction changed, before it commits; a row
// without one was written by something older and is not compared.

// sumFunction gives the checksum of its arguments, in SQL.
const sumFunction = "holdfast_sum"

var polynomial = crc64.MakeTable(crc64.ECMA)

func init() {
	sum := func(_ *sqlite.FunctionContext, args []driver.Value) (driver.Value, error) { return checksum(args), nil }
	sqlite.MustRegisterDeterministicScalarFunction(sumFunction, -1, sum)
}

// checksum tells values apart by their types and lengths, too.
func checksum(values []driver.Value) int64 {
	sum, head := uint64(0), [9]byte{}
	add := func(kind byte, n uint64) {
		head[0] = kind
		binary.BigEndian.PutUint64(head[1:], n)
		sum = crc64.Update(sum, polynomial, head[:])
	}
	for _, v := range values {
		switch v := v.(type) {
		case nil:
			add('n', 0)
		case int64:
			add('i', uint64(v))
		case float64:
			add('f', math.Float64bits(v))
		case string:
			add('t', uint64(len(v)))
			sum = crc64.Update(sum, polynomial, []byte(v))
		case []byte:
			add('b', uint64(len(v)))
			sum = crc64.Update(sum, polynomial, v)
		case time.Time: // the driver makes one of no column that a migration declares
			add('d', uint64(v.UnixNano()))
		}
	}
	return int64(sum)
}

// sums are the tables with checksums, by name, each with the expression that makes one.
type sums map[string]string

// readSums finds the tables with checksums.
func readSums(ctx context.Context, q Querier) (sums, error) {
	columns := map[string][]string{}
	const query = `SELECT m.name, c.name FROM sqlite_schema m, pragma_table_info(m.name) c WHERE m.type = 'table' ORDER BY m.name, c.cid`
	err := Each(ctx, q, query, nil, func(row Row) error {
		var table, column string
		err := row.Scan(&table, &column)
		columns[table] = append(columns[table], column)
		return err
	})
	all := sums{}
	for table, of := range columns {
		if slices.Contains(of, "sum") {
			of = slices.DeleteFunc(of, func(c string) bool { return c == "sum" })
			all[table] = sumFunction + "(" + strings.Join(of, ", ") + ")"
		}
	}
	return all, err
}

// seal gives a checksum to the rows of a table for which a condition holds.
func (s sums) seal(exec Exec, table, where string, args ...any) error {
	if s[table] == "" {
		return nil
	}
	return exec("UPDATE "+table+" SET sum = "+s[table]+" WHERE "+where, args...)
}

// sealAll gives every row that has none, or another one, its checksum.
func (s sums) sealAll(exec Exec) error {
	for table, expression := range s {
		if err := s.seal(exec, table, "sum IS NOT "+expression); err != nil {
			return err
		}
	}
	return nil
}

// verify compares the rows of a table for which a condition holds with their checksums. The first that differs is state.ErrCorrupt.
func (s sums) verify(ctx context.Context, q Querier, table, where string, args ...any) error {
	if s[table] == "" {
		return nil
	}
	query := "SELECT rowid FROM " + table + " WHERE sum IS NOT NULL AND (" + where + ") AND sum <> " + s[table] + " LIMIT 1"
	return Each(ctx, q, query, args, func(row Row) error {
		var id int64
		if err := row.Scan(&id); err != nil {
			return err
		}
		return fmt.Errorf("%w: row %d of table %s is not what was written", state.ErrCorrupt, id, table)
	})
}

func (s sums) verifyAll(ctx context.Context, q Querier) error {
	for table := range s {
		if err := s.verify(ctx, q, table, "1"); err != nil {
			return err
		}
	}
	return nil
}

// Verify compares the rows of a table for which a condition holds with their checksums, where they are about to be read. What differs is
// state.ErrCorrupt, and the error says what to do.
func (d *DB) Verify(ctx context.Context, q Querier, table, where string, args ...any) error {
	return readError(ctx, d.sums.verify(ctx, q, table, where, args...))
}

// touched are rows that a transaction changed, by table and number.
type touched map[string]map[int64]bool

// watch notes the rows that a connection changes.
func (t touched) watch(conn *sql.Conn, of sums) error {
	return conn.Raw(func(c any) error {
		c.(sqlite.HookRegisterer).RegisterPreUpdateHook(func(change sqlite.SQLitePreUpdateData) {
			if of[change.TableName] == "" {
				return
			}
			if t[change.TableName] == nil {
				t[change.TableName] = map[int64]bool{}
			}
			t[change.TableName][change.NewRowID] = true
		})
		return nil
	})
}

// seal gives the rows that the open transaction changed their checksums.
func (c *connection) seal(t *Tx) error {
	for table, rows := range c.touched {
		delete(c.touched, table)
		query := "UPDATE " + table + " SET sum = " + c.sums[table] + " WHERE rowid = ?"
		for id := range rows {
			if _, err := t.Exec(query, id); err != nil {
				return err
			}
		}
		delete(c.touched, table) // the checksums changed the rows once more
	}
	return nil
}
