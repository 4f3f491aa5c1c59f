package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	sqlite3 "modernc.org/sqlite/lib"

	"github.com/holdfast-dr/holdfast/providers"
)

// A restore in place with an ID puts a table into the copy before it takes the place of the database, so the mark becomes true in
// the same transaction as the content, and stays true whatever is written afterwards. Forget drops it.
const (
	markTable  = "_holdfast_restore"
	createMark = "CREATE TABLE " + markTable + " (id TEXT NOT NULL) /* The restore that made this database, until holdfast has recorded that. It may be dropped. */"
)

// mark puts the ID of a restore into a copy that nobody else has open.
func mark(ctx context.Context, path, id string) error {
	if err := transact(ctx, path, "immediate", func(tx *sql.Tx) error {
		for _, q := range []string{"DROP TABLE IF EXISTS " + markTable, createMark} { // an artifact may hold one that was not forgotten
			if _, err := tx.ExecContext(ctx, q); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO "+markTable+" VALUES (?)", id)
		return err
	}); err != nil {
		return err
	}
	for _, name := range []string{path, filepath.Dir(path)} {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// marked reports whether a database is what the restore with an ID made of it. What a crash left in its log is brought to an end
// first. A database that is gone or damaged has no mark.
func marked(ctx context.Context, path, id string) (is bool, err error) {
	if id == "" {
		return false, nil
	}
	err = inUse(ctx, path, func() error {
		return transact(ctx, path, "deferred", func(tx *sql.Tx) (err error) {
			is, err = hasMark(ctx, tx, id)
			return err
		})
	})
	switch code := codeOf(err); {
	case errors.Is(err, fs.ErrNotExist), code == sqlite3.SQLITE_NOTADB, code == sqlite3.SQLITE_CORRUPT:
		return false, nil
	}
	return is, busy(path, err)
}

func hasMark(ctx context.Context, tx *sql.Tx, id string) (is bool, err error) {
	err = tx.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?", markTable).Scan(&is)
	if err != nil || !is {
		return false, err
	}
	err = tx.QueryRowContext(ctx, "SELECT count(*) > 0 FROM "+markTable+" WHERE id = ?", id).Scan(&is)
	return is, err
}

// Forget drops the mark of a restore.
func (d *device) Forget(ctx context.Context, req providers.RestoreRequest) error {
	return d.wrap("forget the restore of", d.forget(ctx, req))
}

func (d *device) forget(ctx context.Context, req providers.RestoreRequest) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	path, err := d.place(req.Domain)
	if err != nil {
		return err
	}
	if is, err := marked(ctx, path, req.ID); err != nil || !is {
		return err
	}
	return busy(path, inUse(ctx, path, func() error {
		return transact(ctx, path, "immediate", func(tx *sql.Tx) error {
			is, err := hasMark(ctx, tx, req.ID)
			if err == nil && is {
				_, err = tx.ExecContext(ctx, "DROP TABLE "+markTable)
			}
			return err
		})
	}))
}

// inUse does something with a database that others may have open; see hold. One that is absent or empty is fs.ErrNotExist.
func inUse(ctx context.Context, path string, do func() error) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Size() == 0 || !info.Mode().IsRegular() {
		return fs.ErrNotExist
	}
	release, err := hold(ctx, path, info)
	if err != nil {
		return err
	}
	defer release()
	return do()
}

// transact makes one transaction in a database: "deferred", which waits for writers only when it writes itself, or "immediate".
func transact(ctx context.Context, path, kind string, do func(*sql.Tx) error) error {
	db, err := sql.Open("sqlite", targetURI(path)+"&_txlock="+kind)
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := do(tx); err != nil {
		return err
	}
	return tx.Commit()
}
