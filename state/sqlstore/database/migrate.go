package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"

	"github.com/holdfast-dr/holdfast/state"
	"github.com/pressly/goose/v3"
)

func migrator(db *sql.DB, files fs.FS) (*goose.Provider, error) {
	dir, err := fs.Sub(files, "migrations")
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(dialect, db, dir,
		goose.WithTableName("schema_version"), goose.WithLogger(goose.NopLogger()), goose.WithDisableGlobalRegistry(true))
}

// migrate brings the schema to the newest version this program knows. The caller holds the setup lock.
func migrate(ctx context.Context, db *sql.DB, files fs.FS) (upgraded bool, err error) {
	m, err := migrator(db, files)
	if err != nil {
		return false, err
	}
	have, want, err := m.GetVersions(ctx)
	if err != nil {
		return false, suspect(ctx, db, err)
	}
	if have > want {
		return false, newerSchema(have, want)
	}
	if have == want {
		return false, nil
	}
	if err := unseal(ctx, db); err != nil {
		return false, err
	}
	if _, err := m.Up(ctx); err != nil {
		return false, fmt.Errorf("upgrade from schema %d to %d: %w", have, want, suspect(ctx, db, err))
	}
	return true, nil
}

// unseal compares all rows with their checksums and takes these away: an upgrade changes what they are of.
func unseal(ctx context.Context, db *sql.DB) error {
	s, err := readSums(ctx, db)
	if err == nil {
		err = s.verifyAll(ctx, db)
	}
	for table := range s {
		if err == nil {
			err = executor(ctx, db)("UPDATE " + table + " SET sum = NULL")
		}
	}
	return err
}

// suspect looks for damage behind an error of the migrations. A table whose pages are zeros is there and is empty to them, and what
// they say then helps nobody.
func suspect(ctx context.Context, db *sql.DB, err error) error {
	if found := check(ctx, db, false); errors.Is(found, state.ErrCorrupt) {
		return found
	}
	return explain(err)
}

// versions gives the version of the database and the newest one this program knows. A newer database is state.ErrSchema.
func versions(ctx context.Context, db *sql.DB, files fs.FS) (have, want int64, err error) {
	m, err := migrator(db, files)
	if err != nil {
		return 0, 0, err
	}
	for _, source := range m.ListSources() {
		want = max(want, source.Version)
	}
	err = db.QueryRowContext(ctx, `SELECT coalesce(max(version_id), 0) FROM schema_version WHERE is_applied`).Scan(&have)
	if err != nil {
		return 0, 0, explain(err)
	}
	if have > want {
		return 0, 0, newerSchema(have, want)
	}
	return have, want, nil
}

func newerSchema(have, want int64) error {
	return fmt.Errorf("%w: schema %d, this program knows up to %d; use a newer program", state.ErrSchema, have, want)
}
