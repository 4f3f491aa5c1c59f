// Package database is one SQLite file that several processes share, whatever tables are in it: how it is opened, upgraded and
// checked, who commits and when, what tells that a process has died, what is done when the disk is full, and how the whole file
// is copied and replaced. The recorded state reaches SQLite only through it, and its errors speak of the state.
//
// See DESIGN.md of package sqlstore for the invariants.
package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-dr/holdfast/state"
)

// Options say which database to open and how.
type Options struct {
	Path         string // of the database file; its directory must exist
	ReadOnly     bool   // never write; the database must exist and be of the current schema
	Reading      bool   // nothing will be written: as ReadOnly where it cannot be written, else as Existing
	Existing     bool   // make none: there must be one, and an empty file is none
	AllowNetwork bool   // accept a network file system, although SQLite may lose or corrupt data there
}

// Schema is what a program keeps in its database.
type Schema struct {
	Migrations fs.FS  // has the directory "migrations" of the SQL files that make and upgrade the tables
	Sessions   string // a query for the sessions that did not end: their numbers and hosts

	// Ready is called at every opening for writing, after the upgrade, and puts in what must be there. It may find it there.
	Ready func(Exec) error
	// Begun is called when a transaction of writes has begun: what functions given to Write noted for the last one is void.
	Begun func()
	// Settle is called after the functions and before the commit. Its error undoes the transaction. Both are called by the
	// goroutine that runs the functions.
	Settle func(*Tx) error
}

// Exec runs one statement.
type Exec func(query string, args ...any) error

// DB is an open database. Its methods may be called from several goroutines, and several
// DBs of one or many processes may use the same file.
type DB struct {
	schema   Schema
	path     string
	shared   bool // other machines may mount the file system: their processes cannot be watched
	readOnly bool
	engine   string
	frozen   fs.FileInfo // of the file, when it is read without any locks

	sums    sums
	lock    *lockFile
	reader  *sql.DB
	writer  *sql.DB
	reserve *reserve

	queue chan *request
	stop  context.CancelFunc
	done  chan struct{} // closed when the committer has ended

	closing  sync.Once
	closeErr error

	mu   sync.Mutex
	mine map[int64]bool // epochs of sessions whose byte this DB holds
}

// setupTime bounds the wait for another process that creates, upgrades or replaces the database.
const setupTime = 30 * time.Second

// smallFile is the size up to which the whole database is checked at every Open; larger ones are checked
// when a process that used them has died.
const smallFile = 4 << 20

// Open opens the database and creates it when it does not exist. A damaged one is state.ErrCorrupt, one written by a
// newer program is state.ErrSchema. The context bounds opening only.
func Open(ctx context.Context, o Options, schema Schema) (*DB, error) {
	d, err := open(ctx, o, schema)
	if err != nil {
		return nil, fmt.Errorf("open state database %s: %w", o.Path, remedy(err))
	}
	return d, nil
}

func open(ctx context.Context, o Options, schema Schema) (_ *DB, err error) {
	o.Existing = o.Existing || o.Reading
	if err := unreadable(o.Path); err != nil {
		return nil, err
	}
	path, err := locate(o.Path, !o.ReadOnly && !o.Existing)
	if err != nil {
		return nil, err
	}
	o.ReadOnly = o.ReadOnly || o.Reading && unwritable(path)
	if o.Existing && bare(path) {
		return nil, errEmpty
	}
	kind, err := sharedFilesystem(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	if kind != "" && !o.AllowNetwork {
		return nil, fmt.Errorf("the directory is on a %s file system, where SQLite can lose committed data; use a local disk", kind)
	}
	d := &DB{schema: schema, path: path, shared: kind != "", readOnly: o.ReadOnly, mine: map[int64]bool{}, done: make(chan struct{})}
	d.reserve = &reserve{path: path + ".reserve"}
	if d.lock, err = openLockFile(path+".lock", o.ReadOnly); err != nil {
		if unwritable(path) {
			err = fmt.Errorf("%w; commands that only look, such as status, verify --list and restore, do without; for others %s", err, copied)
		}
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.release())
		}
	}()
	setup, cancel := context.WithTimeout(ctx, setupTime)
	defer cancel()
	if err := d.lock.wait(setup, func() error { return d.lock.share(useByte) }); err != nil {
		return nil, fmt.Errorf("the state is being replaced: %w", err)
	}
	processSetup.Do(func() { _ = lockByDescription() })
	if o.ReadOnly {
		return d, d.onlyRead(ctx, unwritable(d.path))
	}
	err = d.openWriting(ctx, setup, o.Existing)
	if diskFull(err) && o.Reading {
		return d, d.insteadOfWriting(ctx, err)
	}
	if diskFull(err) && d.reserve.spend() {
		_ = d.hangUp() // it has said what is wrong
		err = d.openWriting(ctx, setup, o.Existing)
	}
	if err != nil {
		return nil, err
	}
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	d.stop = stop
	d.queue = make(chan *request, maxBatch)
	go d.commitLoop(life)
	return d, nil
}

// processSetup sets what SQLite can only be told once per process and before its first use.
var processSetup sync.Once

func (d *DB) openWriting(ctx, setup context.Context, existing bool) error {
	if err := d.lock.wait(setup, func() error { return d.lock.take(setupByte) }); err != nil {
		return fmt.Errorf("another process is setting it up: %w", err)
	}
	if err := errors.Join(d.setUp(ctx, existing), d.lock.free(setupByte)); err != nil {
		return err
	}
	if err := d.checkIfNeeded(ctx, d.writer); err != nil {
		return err
	}
	d.reserve.fill()
	var err error
	if d.reader, err = sql.Open(driverName, dsn(d.path, reading)); err != nil {
		return err
	}
	d.reader.SetMaxOpenConns(readers)
	d.reader.SetMaxIdleConns(readers)
	return nil
}

// setUp creates or upgrades the database. The caller holds the setup lock.
func (d *DB) setUp(ctx context.Context, existing bool) (err error) {
	empty, err := d.create(ctx, existing)
	if err != nil {
		return err
	}
	if d.writer, err = sql.Open(driverName, dsn(d.path, writing)); err != nil {
		return err
	}
	d.writer.SetMaxOpenConns(1)
	if d.engine, err = engine(ctx, d.writer); err != nil {
		return err
	}
	if empty {
		if err := markOurs(ctx, d.writer); err != nil {
			return err
		}
	}
	upgraded, err := migrate(ctx, d.writer, d.schema.Migrations)
	if err != nil {
		return err
	}
	if d.sums, err = readSums(ctx, d.writer); err != nil {
		return err
	}
	if err := d.schema.Ready(executor(ctx, d.writer)); err != nil {
		return err
	}
	for table := range d.sums { // meta alone is written by Ready
		if upgraded || table == "meta" {
			if err := d.sums.seal(executor(ctx, d.writer), table, "sum IS NULL"); err != nil {
				return err
			}
		}
	}
	used, err := d.lock.used()
	if err != nil || used {
		return err
	}
	return d.lock.markUsed()
}

func executor(ctx context.Context, to interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}) Exec {
	return func(query string, args ...any) error {
		_, err := to.ExecContext(ctx, query, args...)
		return explain(err)
	}
}

const readers = 4

var errForeign = errors.New("it is the database of another program")

func wantOurs(ctx context.Context, db *sql.DB) error {
	ours, empty, err := isOurs(ctx, db)
	if err == nil && empty {
		return fmt.Errorf("it is empty: %w", os.ErrNotExist)
	}
	if err == nil && !ours {
		return errForeign
	}
	return err
}

// create makes the database file with tight permissions, or makes sure that the one there is ours, before anything touches it.
// An empty one where a state was before is damage, not a new beginning; elsewhere it becomes one unless it must exist already.
func (d *DB) create(ctx context.Context, existing bool) (empty bool, err error) {
	if !existing {
		f, err := os.OpenFile(d.path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if err == nil {
			return true, errors.Join(f.Close(), syncDir(filepath.Dir(d.path)))
		}
		if !errors.Is(err, os.ErrExist) {
			return false, err
		}
	}
	if fi, err := os.Stat(d.path); err != nil || !fi.Mode().IsRegular() {
		return false, errors.Join(err, errors.New("it is not a regular file"))
	}
	db, err := sql.Open(driverName, dsn(d.path, readingFile))
	if err != nil {
		return false, err
	}
	ours, empty, err := isOurs(ctx, db)
	if err := errors.Join(err, explain(db.Close())); err != nil {
		return false, err
	}
	used, err := d.lock.used()
	switch {
	case err != nil:
		return false, err
	case empty && used:
		return false, fmt.Errorf("%w: the file is empty but held a state before", state.ErrCorrupt)
	case empty && existing:
		return false, errEmpty
	case empty:
		return true, os.Chmod(d.path, 0o600)
	case !ours:
		return false, errForeign
	}
	return false, nil
}

var errEmpty = errors.New("the file is empty and no state; if it was one, restore a backup with `holdfast state restore FILE`, and `holdfast init` makes a new one")

// bare reports whether a file is empty and nothing beside it tells of a state: then nothing is to be made beside it.
func bare(path string) bool {
	fi, err := os.Stat(path)
	if err != nil || !fi.Mode().IsRegular() || fi.Size() > 0 {
		return false
	}
	_, err = os.Lstat(path + ".lock")
	return errors.Is(err, os.ErrNotExist)
}

// checkIfNeeded looks for damage where it is likely or costs little: a file of up to 4 MiB, or one whose last user died.
func (d *DB) checkIfNeeded(ctx context.Context, db *sql.DB) error {
	fi, err := os.Stat(d.path)
	if err != nil {
		return err
	}
	if fi.Size() > smallFile {
		died := false
		err := Each(ctx, db, d.schema.Sessions, nil, func(row Row) error {
			var epoch int64
			var host string
			if err := row.Scan(&epoch, &host); err != nil {
				return err
			}
			dead, err := d.Dead(epoch, host)
			died = died || dead
			return err
		})
		if err != nil || !died {
			return err
		}
	}
	if err := check(ctx, db, fi.Size() <= smallFile); err != nil {
		return err
	}
	return d.sums.verifyAll(ctx, db)
}

// locate gives the real path of the database file.
func locate(path string, create bool) (string, error) {
	if path == "" || strings.ContainsRune(path, 0) {
		return "", errors.New("the path is empty or not usable")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	} else if !errors.Is(err, os.ErrNotExist) {
		return "", err
	} else if _, err := os.Lstat(path); err == nil {
		return "", errors.New("it is a link to a file that does not exist; mount what it leads to, or name the file itself")
	} else {
		dir, err := filepath.EvalSymlinks(filepath.Dir(path))
		if errors.Is(err, os.ErrNotExist) {
			return "", fmt.Errorf("its directory does not exist; make it with: mkdir -p -m 0700 %s: %w", filepath.Dir(path), err)
		}
		if err != nil {
			return "", err
		}
		path = filepath.Join(dir, filepath.Base(path))
	}
	fi, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist) && create:
		return path, nil
	case err != nil:
		return "", err
	case fi.IsDir():
		return "", errors.New("it is a directory; name a file in it")
	case !fi.Mode().IsRegular():
		return "", errors.New("it is not a regular file")
	}
	return path, nil
}

// remedy adds to an error what to do about it, once.
func remedy(err error) error {
	var said *remediedError
	if !errors.Is(err, state.ErrCorrupt) || errors.As(err, &said) {
		return err
	}
	return &remediedError{err}
}

// remediedError is damage, with what to do about it.
type remediedError struct{ error }

func (e *remediedError) Error() string {
	return e.error.Error() + "; restore a backup with `holdfast state restore FILE` and then `holdfast store rescan STORE`, " +
		"but look in the kernel's log first: where the disk cannot be read, the engine says the same, and nothing may be wrong with the file"
}

func (e *remediedError) Unwrap() error { return e.error }

// Engine is the name and version of the engine.
func (d *DB) Engine() string { return d.engine }

// Files are the paths of all files that belong to the database. Nothing but this package may open or copy them:
// that can drop the database's locks or give a copy that is torn.
func (d *DB) Files() []string {
	return []string{d.path, d.path + "-wal", d.path + "-shm", d.path + ".lock", d.reserve.path}
}

// Close ends the DB. Sessions whose bytes it still holds count as dead from then on.
func (d *DB) Close() error {
	d.closing.Do(func() {
		d.stop()
		<-d.done
		d.closeErr = d.release()
	})
	return d.closeErr
}

// release gives back what open took. The lock file goes last: until then nobody may replace the database.
func (d *DB) release() error {
	return errors.Join(d.hangUp(), d.unchanged(), d.lock.close())
}

// hangUp closes the connections.
func (d *DB) hangUp() error {
	var errs []error
	for _, db := range []*sql.DB{d.reader, d.writer} {
		if db != nil {
			errs = append(errs, explain(db.Close()))
		}
	}
	return errors.Join(errs...)
}
