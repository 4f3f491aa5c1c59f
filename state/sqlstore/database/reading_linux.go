package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// unwritable reports whether nothing can be written to the database at a path, by its permissions, those of its directory, or because the
// file system is mounted to be read only. What is wrong otherwise is seen when it is opened.
func unwritable(path string) bool {
	for _, need := range []struct {
		path string
		mode uint32
	}{{filepath.Dir(path), unix.W_OK | unix.X_OK}, {path, unix.W_OK}} {
		if err := unix.Access(need.path, need.mode); errors.Is(err, unix.EROFS) || errors.Is(err, unix.EACCES) {
			return true
		}
	}
	return false
}

// unreadable says who may read a database that this user may not: no command does without.
func unreadable(path string) error {
	if err := unix.Access(path, unix.R_OK); !errors.Is(err, unix.EACCES) {
		return nil // what is wrong otherwise is seen when it is opened
	}
	whose := "this user may not read it"
	if fi, err := os.Stat(path); err == nil {
		if st, ok := fi.Sys().(*syscall.Stat_t); ok {
			whose = fmt.Sprintf("it belongs to user %d with mode %04o, and user %d may not read it", st.Uid, fi.Mode().Perm(), os.Geteuid())
		}
	}
	return fmt.Errorf("%w: %s. Use the account that holdfast runs as, or name a copy with --state that you may read (holdfast state backup makes one)", fs.ErrPermission, whose)
}

// onlyRead makes d one that never writes. Stuck says that nothing can be made beside the database, also no index of its log.
func (d *DB) onlyRead(ctx context.Context, stuck bool) error {
	if err := d.openReading(ctx, stuck); err != nil {
		return err
	}
	d.readOnly, d.stop = true, func() {}
	close(d.done)
	return nil
}

// insteadOfWriting opens for reading only a database that could not be opened otherwise because its disk is full. When it cannot be read
// so either, the reserve is spent for the index of its log.
func (d *DB) insteadOfWriting(ctx context.Context, full error) error {
	_ = d.hangUp() // it has said what is wrong
	err := d.onlyRead(ctx, true)
	if err != nil && d.reserve.spend() {
		err = d.onlyRead(ctx, true)
	}
	if err != nil {
		return fmt.Errorf("%w; for reading only: %w", full, err)
	}
	return nil
}

// openReading opens the database without a right to write.
//
// The engine reads a database with a write-ahead log only where it can keep the index of the log, or finds it. Where it cannot, and there is
// nothing in the log, the file alone is the whole database: then it is read as one that nobody changes, and release makes sure of that.
func (d *DB) openReading(ctx context.Context, stuck bool) error {
	err := d.openReader(ctx, readingFile)
	if !errors.Is(err, syscall.EACCES) && !diskFull(err) || !stuck {
		return err
	}
	for _, side := range []string{"-wal", "-journal"} {
		if fi, statErr := os.Stat(d.path + side); statErr == nil && fi.Size() > 0 {
			return fmt.Errorf("%s has commits that are not in it yet, and can be read only where it can be written; %s", d.path+side, copied)
		} else if statErr != nil && !errors.Is(statErr, fs.ErrNotExist) {
			return statErr
		}
	}
	if d.frozen, err = os.Stat(d.path); err != nil {
		return err
	}
	return d.openReader(ctx, readingFrozen)
}

// copied is what to do with a database that cannot be used where it is.
const copied = "copy it, with all files beside it whose names begin with its name, to a directory that can be written, and name the copy with --state"

func (d *DB) openReader(ctx context.Context, a access) (err error) {
	db, err := sql.Open(driverName, dsn(d.path, a))
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, explain(db.Close()))
		}
	}()
	db.SetMaxOpenConns(readers)
	if d.engine, err = engine(ctx, db); err != nil {
		return err
	}
	if err := wantOurs(ctx, db); err != nil {
		return err
	}
	have, want, err := versions(ctx, db, d.schema.Migrations)
	if err != nil {
		return err
	}
	if have < want {
		todo := "any command that writes upgrades it"
		if unwritable(d.path) {
			todo = copied
		}
		return fmt.Errorf("it has schema %d, this program needs %d; %s", have, want, todo)
	}
	if d.sums, err = readSums(ctx, db); err != nil {
		return err
	}
	if err := d.checkIfNeeded(ctx, db); err != nil {
		return err
	}
	d.reader = db
	return nil
}

// copying is how the database is opened to be copied.
func (d *DB) copying() access {
	switch {
	case d.frozen != nil:
		return copyingFrozen
	case d.readOnly:
		return copyingFile
	}
	return copying
}

// unchanged makes sure that a database that was read as one that nobody changes was that.
func (d *DB) unchanged() error {
	if d.frozen == nil {
		return nil
	}
	now, err := os.Stat(d.path)
	if err != nil {
		return err
	}
	wal, err := os.Stat(d.path + "-wal")
	grown := err == nil && wal.Size() > 0
	if !os.SameFile(now, d.frozen) || now.Size() != d.frozen.Size() || !now.ModTime().Equal(d.frozen.ModTime()) || grown {
		return errors.New("the state was changed by somebody else while it was read, and what was shown may be wrong; do it again")
	}
	return nil
}

// ReadOnly reports whether nothing can be written through this DB.
func (d *DB) ReadOnly() bool { return d.readOnly }
