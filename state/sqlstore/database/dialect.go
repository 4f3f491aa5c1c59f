package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"syscall"

	"github.com/holdfast-dr/holdfast/state"
	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Everything that only SQLite has is in this file: the connection settings, the meaning of its error codes,
// its pragmas and the copy of a whole database. The statements elsewhere are portable.

// minEngine is the first SQLite that does not lose acknowledged commits in WAL mode (the "WAL-reset" bug of 3.7.0 to 3.51.2).
const minEngine = 3_051_003

// applicationID marks a database file as ours ("hldf").
const applicationID = 0x686c6466

const (
	dialect    = goose.DialectSQLite3
	driverName = "sqlite"
	beginWrite = "BEGIN IMMEDIATE" // waits for the write lock at once; a later upgrade of a read transaction would not wait
)

type access int

const (
	writing access = iota
	reading
	readingFile   // of a file that is only looked at: no right to write is needed
	readingFrozen // of a file that nobody changes: no locks are taken, and a log beside it is not looked at
	copying       // of one whole database, which keeps its journal mode
	copyingFile   // of one that nothing is written to
	copyingFrozen // of one as for readingFrozen
)

// dsn is the connection string of a database file.
func dsn(path string, a access) string {
	q := url.Values{
		"_busy_timeout": {"10000"},
		"_defensive":    {"1"},
		"_dqs":          {"0"},
		"_pragma":       {"trusted_schema(0)", "cell_size_check(1)", "journal_size_limit(67108864)"},
	}
	switch a {
	case writing:
		q.Set("_foreign_keys", "1")
		q.Set("_txlock", "immediate")
		q.Set("_journal_mode", "WAL")
		q.Set("_synchronous", "FULL")
	case copying:
		q.Set("_txlock", "immediate")
		q.Set("_synchronous", "FULL")
		q.Set("mode", "rw")
	case reading, readingFile, readingFrozen:
		q.Set("_query_only", "1")
	}
	switch a {
	case readingFrozen, copyingFrozen:
		q.Set("immutable", "1")
		fallthrough
	case readingFile, copyingFile:
		q.Set("mode", "ro")
	}
	u := url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}
	return u.String()
}

// engine gives the name and version of the linked database engine, or an error when it is one that loses commits.
func engine(ctx context.Context, db *sql.DB) (string, error) {
	var version string
	if err := db.QueryRowContext(ctx, "SELECT sqlite_version()").Scan(&version); err != nil {
		return "", explain(err)
	}
	n := 0
	for _, part := range strings.SplitN(version, ".", 3) {
		d, err := strconv.Atoi(part)
		if err != nil {
			return "", fmt.Errorf("version %q of SQLite is not understood", version)
		}
		n = n*1000 + d
	}
	if n < minEngine {
		return "", fmt.Errorf("SQLite %s can lose acknowledged writes: 3.51.3 or newer is needed", version)
	}
	return "sqlite " + version, nil
}

// lockByDescription makes SQLite lock the database file by open file description. With its default, closing any
// descriptor of the file anywhere in the process drops all its locks. An error means the system cannot, or SQLite is in use
// already: then only the rule remains that nothing else opens the state's files.
func lockByDescription() error {
	_, err := sqlite.OFDLocking(true)
	return err
}

// isOurs tells whose database this is: empty, ours, or another program's.
func isOurs(ctx context.Context, db *sql.DB) (ours, empty bool, err error) {
	var id, tables int64
	if err := db.QueryRowContext(ctx, "PRAGMA application_id").Scan(&id); err != nil {
		return false, false, explain(err)
	}
	if err := db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&tables); err != nil {
		return false, false, explain(err)
	}
	return id == applicationID, tables == 0, nil
}

func markOurs(ctx context.Context, db *sql.DB) error {
	_, err := db.ExecContext(ctx, fmt.Sprintf("PRAGMA application_id = %d", applicationID))
	return explain(err)
}

// check reads the whole database and reports the first thing that is wrong with it. The thorough form also compares indexes with tables.
func check(ctx context.Context, db *sql.DB, thorough bool) error {
	pragma := "PRAGMA quick_check(1)"
	if thorough {
		pragma = "PRAGMA integrity_check(1)"
	}
	var found string
	if err := db.QueryRowContext(ctx, pragma).Scan(&found); err != nil {
		return explain(err)
	}
	if found != "ok" {
		return fmt.Errorf("%w: %s", state.ErrCorrupt, strings.ReplaceAll(found, "\n", " "))
	}
	return nil
}

// foldLog moves what is in the write-ahead log into the database file and empties the log.
func foldLog(ctx context.Context, db *sql.DB) error {
	var busy, logged, moved int64
	if err := db.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &logged, &moved); err != nil {
		return explain(err)
	}
	if busy != 0 {
		return errors.New("the database is in use")
	}
	return nil
}

// copyTo writes a consistent copy of the database to an empty or new file.
func copyTo(ctx context.Context, db *sql.DB, path string) error {
	_, err := db.ExecContext(ctx, "VACUUM INTO ?", path)
	return explain(err)
}

// broken reports whether an error of the database engine ends the whole transaction: on most of them the engine may have rolled
// back everything. Only an error that is about the values of one statement leaves the transaction as it was.
func broken(err error) bool {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH:
		return false
	}
	return true
}

func diskFull(err error) bool { return errors.Is(err, syscall.ENOSPC) }

// explain turns an error of the engine into one a person can act on.
func explain(err error) error {
	var e *sqlite.Error
	if err == nil || !errors.As(err, &e) {
		return err
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return &engineError{e, "the database file is damaged or not a database", state.ErrCorrupt}
	case sqlite3.SQLITE_FULL:
		return &engineError{e, "disk full", syscall.ENOSPC}
	case sqlite3.SQLITE_IOERR:
		if e.Code() == sqlite3.SQLITE_IOERR_SHMSIZE {
			return &engineError{e, "disk full", syscall.ENOSPC}
		}
		return &engineError{e, "input or output error; the disk may be failing", syscall.EIO}
	case sqlite3.SQLITE_BUSY:
		return &engineError{e, "another process has been writing for more than 10 seconds", nil}
	case sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY:
		return &engineError{e, "the file cannot be opened for this; check its owner and permissions and those of its directory", syscall.EACCES}
	}
	return err
}

// engineError is an error of the engine with words for people. It is also the sentinel it stands for.
type engineError struct {
	engine *sqlite.Error
	text   string
	is     error
}

func (e *engineError) Error() string { return e.text + " (" + e.engine.Error() + ")" }

func (e *engineError) Unwrap() []error {
	if e.is == nil {
		return []error{e.engine}
	}
	return []error{e.engine, e.is}
}
