package sqlite

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/holdfast-dr/holdfast/providers"
)

// largeCopy is the size above which indexes are not compared with their tables, which reads everything twice.
const largeCopy = 1 << 30

// maxProblems is how many lines of damage are told.
const maxProblems = 5

// facts are what is known of each database of an artifact, by name.
type facts map[string]fact

// fact is what a restored database is compared with.
type fact struct {
	Tables        map[string]int64 `json:"tables"`        // rows by table
	Schema        string           `json:"schema_sha256"` // of the statements in sqlite_schema
	UserVersion   int64            `json:"user_version"`
	ApplicationID int64            `json:"application_id"`
	Check         string           `json:"check"`               // the check that was run
	Unchecked     string           `json:"unchecked,omitempty"` // why it could not be run
	File          *carried         `json:"file,omitempty"`      // of the original
	damage        string
	size          int64 // of the copy; unlike facts it may differ after a restore
}

// examine checks a copy, which nobody else writes to, and reads its facts. Damage is not an error but told in the fact.
func examine(ctx context.Context, work *os.File) (f fact, err error) {
	f = fact{Tables: map[string]int64{}, Check: "integrity_check"}
	info, err := work.Stat()
	if err != nil {
		return f, err
	}
	f.size = info.Size()
	if info.Size() > largeCopy {
		f.Check = "quick_check"
	}
	db, done, err := openFile(work)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, done()) }()
	err = f.read(ctx, db)
	if code := codeOf(err); code == sqlite3.SQLITE_CORRUPT || code == sqlite3.SQLITE_NOTADB {
		f.damage = err.Error()
		return f, nil
	}
	return f, err
}

func (f *fact) read(ctx context.Context, db *sql.DB) error {
	problems, err := strs(ctx, db, fmt.Sprintf("PRAGMA %s(%d)", f.Check, maxProblems))
	switch {
	case codeOf(err) == sqlite3.SQLITE_ERROR: // it needs a function or collation that only the application has
		f.Unchecked = err.Error()
	case err != nil:
		return err
	case len(problems) != 1 || problems[0] != "ok":
		f.damage = strings.Join(problems, "; ")
		return nil
	}
	for pragma, to := range map[string]*int64{"user_version": &f.UserVersion, "application_id": &f.ApplicationID} {
		if err := db.QueryRowContext(ctx, "PRAGMA "+pragma).Scan(to); err != nil {
			return err
		}
	}
	statements, err := strs(ctx, db, "SELECT type || char(0) || name || char(0) || tbl_name || char(0) || coalesce(sql, '') || char(0) FROM sqlite_schema ORDER BY type, name")
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(strings.Join(statements, "\n")))
	f.Schema = hex.EncodeToString(sum[:])
	tables, err := strs(ctx, db, "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'")
	if err != nil {
		return err
	}
	for _, table := range tables {
		var n int64
		if err := db.QueryRowContext(ctx, `SELECT count(*) FROM main."`+strings.ReplaceAll(table, `"`, `""`)+`"`).Scan(&n); err != nil {
			return fmt.Errorf("count the rows of %q: %w", table, err)
		}
		f.Tables[table] = n
	}
	return nil
}

func strs(ctx context.Context, db *sql.DB, query string) (all []string, err error) {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, rows.Err()
}

// codeOf gives SQLite's primary result code; SQLITE_OK for any other error.
func codeOf(err error) int {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code() & 0xff
	}
	return sqlite3.SQLITE_OK
}

// advice says whether a call may succeed later, and what to do.
func advice(err error) (retry bool, hint string) {
	switch codeOf(err) {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return true, "An application holds an exclusive lock on the database. Capture it at another time, or look for a transaction that does not end."
	case sqlite3.SQLITE_NOTADB:
		return false, "The file is no SQLite database, or it is encrypted."
	case sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY:
		return false, "SQLite must be able to read the file and to write to its directory when the database is in WAL mode; an unfinished transaction of a crashed application is rolled back when that application opens it again."
	case sqlite3.SQLITE_FULL:
		return false, "Set temp_dir to a directory with more space."
	}
	if errors.Is(err, providers.ErrUnavailable) {
		return false, "Check that the path exists, is mounted and may be read."
	}
	return false, ""
}
