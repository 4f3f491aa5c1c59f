// Package sqlstore keeps the recorded state in one SQLite database file: its tables, and what may be written into them and when.
//
// See DESIGN.md for its invariants: what is acknowledged is on disk, a taken-over process cannot write, and a dead one is
// noticed at once. How the file is shared, committed and copied is package database.
package sqlstore

import (
	"context"
	"crypto/rand"
	"embed"
	"encoding/hex"

	"github.com/holdfast-dr/holdfast/state"
	"github.com/holdfast-dr/holdfast/state/sqlstore/database"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Options say which state to open and how.
type Options = database.Options

// Store is a state backend on a SQLite database. Its methods may be called from several goroutines, and several
// Stores of one or many processes may use the same database.
type Store struct {
	db *database.DB

	changed map[int64]settling // runs whose tasks changed in the open transaction; of the goroutine that runs writes
}

var _ state.Backend = (*Store)(nil)

// Open opens the state database and creates it when it does not exist. A damaged one is state.ErrCorrupt, one written by a
// newer program is state.ErrSchema. The context bounds opening only.
func Open(ctx context.Context, o Options) (*Store, error) {
	s := &Store{}
	db, err := database.Open(ctx, o, database.Schema{
		Migrations: migrations,
		Sessions:   openSessions,
		Ready:      ready,
		Begun:      func() { s.changed = map[int64]settling{} },
		Settle:     s.settle,
	})
	if err != nil {
		return nil, err
	}
	s.db = db
	return s, nil
}

func ready(exec database.Exec) error {
	return exec(`INSERT INTO meta (name, value) VALUES ('lineage', ?) ON CONFLICT (name) DO NOTHING`, newLineage())
}

func newLineage() string {
	var b [16]byte
	rand.Read(b[:]) // never fails: it ends the program instead
	return hex.EncodeToString(b[:])
}

// Files are the paths of all files that belong to the state. Nothing but this package may open or copy them:
// that can drop the database's locks or give a copy that is torn.
func (s *Store) Files() []string { return s.db.Files() }

// ReadOnly reports whether nothing can be written to the state, because it was opened so or is where nothing can be written.
func (s *Store) ReadOnly() bool { return s.db.ReadOnly() }

// Room says why nothing new should be begun: what becomes of it could not be written. It wraps ENOSPC; nil: there is room.
func (s *Store) Room() error { return s.db.Room() }

// Close ends the Store. Sessions that were not closed count as dead from then on.
func (s *Store) Close() error { return s.db.Close() }
