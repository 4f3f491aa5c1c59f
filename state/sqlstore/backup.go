package sqlstore

import (
	"context"
	"encoding/json"
	"time"

	"github.com/holdfast-dr/holdfast/state"
	"github.com/holdfast-dr/holdfast/state/sqlstore/database"
)

// Backup writes a consistent copy of the database to a new file that only its owner can read. Writers are not held up. An existing file is
// never overwritten, and the file appears complete or not at all.
func (s *Store) Backup(ctx context.Context, path string) error { return s.db.Backup(ctx, path) }

// epochLeap is added to the fencing numbers of a restored state, so that they are above all that were given out since its backup.
const epochLeap = 1 << 20

// Restore puts a backup in the place of the state database at path to, which may be missing or damaged. The backup is checked
// first and becomes a state of a new lineage, so that plans made for the old one are refused. The old database is kept beside it as
// "<to>.replaced-<at>". It is state.ErrLocked while a process uses the old one.
func Restore(ctx context.Context, from, to string, at time.Time) error {
	return database.Restore(ctx, from, to, at, migrations, func(exec database.Exec) error { return adopt(exec, from, at) })
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
