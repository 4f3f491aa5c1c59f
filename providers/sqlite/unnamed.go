package sqlite

import (
	"database/sql"
	"errors"
	"io"
	"io/fs"
	"net/url"
	"os"

	"modernc.org/sqlite/vfs"
)

// unnamed shows SQLite, which opens databases by name only, a file that may have none, for reading.
type unnamed struct{ file *os.File }

const unnamedName = "copy"

func (u unnamed) Open(name string) (fs.File, error) {
	if name != unnamedName { // a journal, or a log
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return &view{u.file, io.NewSectionReader(u.file, 0, 1<<62)}, nil
}

// view is a place in the file; closing it leaves the file open.
type view struct {
	file *os.File
	*io.SectionReader
}

func (v *view) Stat() (fs.FileInfo, error) { return v.file.Stat() }
func (v *view) Close() error               { return nil }

// openFile opens the database in a file that does not change. What done returns must be looked at.
func openFile(file *os.File) (db *sql.DB, done func() error, err error) {
	name, files, err := vfs.New(unnamed{file})
	if err != nil {
		return nil, nil, err
	}
	// Sorting in memory, because there is no place for temporary files.
	db, err = sql.Open("sqlite", uri(unnamedName, url.Values{
		"vfs": {name}, "mode": {"ro"}, "immutable": {"1"},
		"_pragma": {"query_only(1)", "trusted_schema(0)", "cell_size_check(1)", "temp_store(2)"},
	}))
	if err != nil {
		return nil, nil, errors.Join(err, files.Close())
	}
	db.SetMaxOpenConns(1)
	return db, func() error { return errors.Join(db.Close(), files.Close()) }, nil
}
