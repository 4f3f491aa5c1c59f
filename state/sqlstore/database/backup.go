package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/holdfast-dr/holdfast/state"
)

// Backup writes a consistent copy of the database to a new file that only its owner can read. Writers are not held up. An existing file is
// never overwritten, and the file appears complete or not at all.
func (d *DB) Backup(ctx context.Context, path string) error {
	if err := d.backup(ctx, path); err != nil {
		return fmt.Errorf("back up the state to %s: %w", path, err)
	}
	return nil
}

func (d *DB) backup(ctx context.Context, path string) (err error) {
	path, err = filepath.Abs(path)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(path); err == nil {
		return errTaken
	}
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".holdfast-backup-*") // mode 0600
	var at *fs.PathError
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("there is no directory %s: %w", dir, os.ErrNotExist)
	case errors.As(err, &at): // which names the temporary file
		return fmt.Errorf("the directory %s: %w", dir, at.Err)
	case err != nil:
		return err
	}
	temp := f.Name()
	defer func() { err = errors.Join(err, f.Close(), removeIfThere(temp)) }()
	db, err := sql.Open(driverName, dsn(d.path, d.copying()))
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1)
	if err := errors.Join(copyTo(ctx, db, temp), explain(db.Close())); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	// A link, unlike a rename, refuses to replace a file that appeared meanwhile.
	if err := os.Link(temp, path); errors.Is(err, os.ErrExist) {
		return errTaken
	} else if err != nil {
		return err
	}
	return syncDir(dir)
}

var errTaken = fmt.Errorf("it exists already, and a backup never replaces a file; name a new one, or a directory, in which each backup gets a name with its time: %w", os.ErrExist)

// Replacement says which database takes the place of which, and what has a say in it.
type Replacement struct {
	From, To   string
	At         time.Time // names the file that is kept
	Migrations fs.FS

	// Fits is asked before anything is changed, unless there is no database that can be read in the place. Damaged says that not all of it
	// can be. An error ends the replacement.
	Fits func(old, backup Querier, damaged bool) error
	// Adopt changes, in one transaction, what tells the backup from the old one.
	Adopt func(Exec) error
}

// Restore puts a backup in the place of a database, which may be missing or damaged. The backup is checked first. The old database is
// kept beside it under the name that is given back, which is empty when there was none. It is state.ErrLocked while a process uses the old one.
func Restore(ctx context.Context, r Replacement) (kept string, err error) {
	if kept, err = r.restore(ctx); err != nil {
		return "", fmt.Errorf("restore the state from %s: %w", r.From, err)
	}
	return kept, nil
}

func (r Replacement) restore(ctx context.Context) (kept string, err error) {
	to, err := locate(r.To, true)
	if err != nil {
		return "", err
	}
	processSetup.Do(func() { _ = lockByDescription() })
	lock, err := openLockFile(to+".lock", false)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, lock.close()) }()
	for _, at := range []int64{useByte, setupByte} {
		if err := lock.take(at); err != nil {
			return "", fmt.Errorf("%s is in use; stop the agent and other commands first: %w: %w", to, state.ErrLocked, err)
		}
	}
	if live, err := lock.held(1, useByte-1); err != nil || live {
		return "", errors.Join(err, fmt.Errorf("a session on %s is alive: %w", to, state.ErrLocked))
	}
	temp, err := copyBeside(r.From, to)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, removeIfThere(temp)) }()
	if err := r.take(ctx, temp, to); err != nil {
		return "", err
	}
	kept = to + ".replaced-" + r.At.UTC().Format("20060102T150405Z")
	there, err := setAside(ctx, to, kept)
	if err != nil {
		return "", fmt.Errorf("keep the old database: %w", err)
	}
	if err := os.Rename(temp, to); err != nil {
		return "", err
	}
	if err := syncDir(filepath.Dir(to)); err != nil {
		return "", err
	}
	if !there {
		kept = ""
	}
	return kept, lock.markUsed()
}

// copyBeside copies a file to a temporary one in the directory of to, on disk.
func copyBeside(from, to string) (temp string, err error) {
	src, err := os.Open(from)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	if fi, err := src.Stat(); err != nil || !fi.Mode().IsRegular() {
		return "", errors.Join(err, fmt.Errorf("%s is not a regular file", from))
	}
	if here, err := os.Stat(to); err == nil {
		if fi, err := src.Stat(); err == nil && os.SameFile(here, fi) {
			return "", errors.New("it is the state database itself")
		}
	}
	dst, err := os.CreateTemp(filepath.Dir(to), ".holdfast-restore-*")
	if err != nil {
		return "", err
	}
	_, err = io.Copy(dst, src)
	if err = errors.Join(err, dst.Sync(), dst.Close()); err != nil {
		return "", errors.Join(err, removeIfThere(dst.Name()))
	}
	return dst.Name(), nil
}

// take checks a copy of a backup and has it adopted.
func (r Replacement) take(ctx context.Context, path, to string) (err error) {
	db, err := sql.Open(driverName, dsn(path, copying))
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1)
	defer func() { err = errors.Join(err, explain(db.Close())) }()
	if err := wantOurs(ctx, db); err != nil {
		return err
	}
	if err := check(ctx, db, true); err != nil {
		return fmt.Errorf("the backup is not good: %w", err)
	}
	if _, _, err := versions(ctx, db, r.Migrations); err != nil {
		return err
	}
	rows, err := readSums(ctx, db)
	if err != nil {
		return err
	}
	if err := rows.verifyAll(ctx, db); err != nil {
		return fmt.Errorf("the backup is not good: %w", err)
	}
	if err := r.compare(ctx, to, db); err != nil {
		return err
	}
	t, err := db.BeginTx(ctx, nil)
	if err != nil {
		return explain(err)
	}
	if err := r.Adopt(executor(ctx, t)); err != nil {
		return errors.Join(err, t.Rollback())
	}
	if err := rows.sealAll(executor(ctx, t)); err != nil {
		return errors.Join(err, t.Rollback())
	}
	return explain(t.Commit())
}

// compare asks whether the backup may replace what is in its place. What cannot be read there has no say: it is what a backup is for.
func (r Replacement) compare(ctx context.Context, to string, backup *sql.DB) (err error) {
	if fi, err := os.Stat(to); err != nil || fi.Size() == 0 {
		return nil
	}
	old, err := sql.Open(driverName, dsn(to, readingFile))
	if err != nil {
		return err
	}
	old.SetMaxOpenConns(1)
	defer func() { err = errors.Join(err, explain(old.Close())) }()
	ours, empty, err := isOurs(ctx, old)
	switch {
	case err != nil || empty:
		return ctx.Err()
	case !ours:
		return fmt.Errorf("%s: %w; nothing was replaced", to, errForeign)
	}
	damaged := check(ctx, old, false) != nil
	if err := ctx.Err(); err != nil {
		return err
	}
	return r.Fits(old, backup, damaged)
}

// setAside keeps the old database under another name while it also stays in its place, to be replaced in one step. Its write-ahead log
// must be gone by then: the engine would apply it to the new database. It is folded into the old one, or, when that is
// too damaged, kept beside it.
// It reports whether there was anything to keep.
func setAside(ctx context.Context, path, kept string) (there bool, err error) {
	if _, err := os.Lstat(kept); err == nil {
		return false, fmt.Errorf("%s: %w", kept, os.ErrExist)
	}
	folded := errors.New("there is no database")
	if _, err := os.Stat(path); err == nil {
		folded = foldAway(ctx, path)
		if err := ctx.Err(); err != nil {
			return false, err
		}
		if err := os.Link(path, kept); err != nil {
			return false, err
		}
		there = true
	}
	if folded != nil {
		switch err := os.Rename(path+"-wal", kept+"-wal"); {
		case err == nil:
			there = true
		case !errors.Is(err, os.ErrNotExist):
			return false, errors.Join(folded, err)
		}
		if err := removeIfThere(path + "-shm"); err != nil {
			return false, err
		}
	} else if _, err := os.Lstat(path + "-wal"); err == nil {
		return false, errors.New("its write-ahead log did not go away")
	}
	return there, syncDir(filepath.Dir(path))
}

// foldAway lets the engine put the write-ahead log into the database; closing the last connection removes the log.
func foldAway(ctx context.Context, path string) error {
	db, err := sql.Open(driverName, dsn(path, copying))
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1)
	return errors.Join(foldLog(ctx, db), explain(db.Close()))
}

func removeIfThere(path string) error {
	if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// syncDir makes new names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
