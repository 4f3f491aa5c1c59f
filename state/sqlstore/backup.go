package sqlstore

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-dr/holdfast/state"
	"github.com/holdfast-dr/holdfast/state/sqlstore/database"
)

// Backup writes a consistent copy of the database to a new file that only its owner can read. Writers are not held up. An existing file is
// never overwritten, and the file appears complete or not at all.
func (s *Store) Backup(ctx context.Context, path string) error { return s.db.Backup(ctx, path) }

// epochLeap is added to the fencing numbers of a restored state, so that they are above all that were given out since its backup.
const epochLeap = 1 << 20

// Replacement says which backup takes the place of which state.
type Replacement struct {
	From, To     string
	At           time.Time
	OtherLineage bool // also where the state in the place has nothing to do with the backup
}

// OtherLineageError says that a state and a backup do not descend from one another.
type OtherLineageError struct{ State, Backup string } // their lineages

func (e *OtherLineageError) Error() string {
	return fmt.Sprintf("the state in its place has the lineage %s, the backup has %s and does not descend from it: it is the backup of another state", e.State, e.Backup)
}

// Restore puts a backup in the place of a state database, which may be missing or damaged. The backup is checked
// first and becomes a state of a new lineage, so that plans made for the old one are refused. The old database is kept beside it
// under the name that is given back, which is empty when there was none.
//
// It is state.ErrLocked while a process uses the old one, a *state.LockedError while a person holds it, and a *OtherLineageError when the
// backup is not one of it. What is too damaged to tell, and a state in which nothing was recorded yet, is replaced.
func Restore(ctx context.Context, r Replacement) (kept string, err error) {
	return database.Restore(ctx, database.Replacement{
		From: r.From, To: r.To, At: r.At, Migrations: migrations,
		Fits:  func(old, backup database.Querier, damaged bool) error { return r.fits(ctx, old, backup, damaged) },
		Adopt: func(exec database.Exec) error { return adopt(exec, r.From, r.At) },
	})
}

func (r Replacement) fits(ctx context.Context, old, backup database.Querier, damaged bool) error {
	if !damaged { // a damaged state cannot be opened to release a hold on it
		locks, err := database.List(ctx, old, scanLock, `SELECT `+lockColumns+` FROM held_lock WHERE session = 0 AND task = ''`)
		if err != nil {
			return err
		}
		for _, l := range locks {
			if !l.Expired(r.At) {
				return &state.LockedError{Lock: l}
			}
		}
	}
	was, err := descentOf(ctx, old)
	if err != nil || was.blank || r.OtherLineage {
		return ctx.Err()
	}
	is, err := descentOf(ctx, backup)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(is.lineages, func(l string) bool { return slices.Contains(was.lineages, l) }) {
		return nil
	}
	return &OtherLineageError{State: was.lineages[0], Backup: is.lineages[0]}
}

// descent is where a state comes from.
type descent struct {
	lineages []string // its own first, then those of the states whose backups it was restored from
	blank    bool     // nothing was recorded in it yet
}

func descentOf(ctx context.Context, q database.Querier) (descent, error) {
	return database.One(ctx, q, func(row database.Row) (d descent, err error) {
		var own, former string
		err = row.Scan(&own, &former, &d.blank)
		d.lineages = append([]string{own}, strings.Fields(former)...)
		return d, err
	}, `SELECT (SELECT value FROM meta WHERE name = 'lineage'), coalesce((SELECT value FROM meta WHERE name = 'ancestors'), ''),
		NOT EXISTS (SELECT 1 FROM counter WHERE name IN ('generation', 'run') AND value > 0)`)
}

// adopt makes a copy of a backup a state of its own.
func adopt(exec database.Exec, from string, at time.Time) error {
	detail, err := json.Marshal(map[string]string{"from": from})
	if err != nil {
		return err
	}
	hold, err := json.Marshal(state.Hold{Until: stored(at.Add(state.HoldTime)), Reason: "the state was restored from a backup"})
	if err != nil {
		return err
	}
	for _, change := range []struct {
		sql  string
		args []any
	}{
		{`INSERT INTO meta (name, value) SELECT 'ancestors', value FROM meta WHERE name = 'lineage'
			ON CONFLICT (name) DO UPDATE SET value = excluded.value || ' ' || meta.value`, nil},
		{`UPDATE meta SET value = ? WHERE name = 'lineage'`, []any{newLineage()}},
		{`UPDATE counter SET value = value + ? WHERE name IN ('epoch', 'token')`, []any{epochLeap}},
		{`INSERT INTO meta (name, value) VALUES ('hold', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, []any{string(hold)}},
		{`UPDATE counter SET value = value + 1 WHERE name = 'audit'`, nil},
		{`INSERT INTO audit (seq, at, actor, action, object, detail) SELECT value, ?, '', 'restore', 'state', ? FROM counter WHERE name = 'audit'`,
			[]any{micros(at), string(detail)}},
	} {
		if err := exec(change.sql, change.args...); err != nil {
			return err
		}
	}
	return nil
}
