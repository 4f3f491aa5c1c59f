package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/holdfast-dr/holdfast/providers"
)

const maxBlocked = 10 // names beside a database that are tried

// inPlace puts an export into a database of this device. A copy is made beside it and checked. Where there is no database the copy
// gets its name; otherwise it is written into the database with SQLite's online backup, in one transaction: other connections
// see the old content or the new one, a crash is rolled back by whoever opens the database next, and a database that somebody
// writes to, or keeps reading without write-ahead log, is left as it is. One that is there keeps its owner and mode.
func (d *device) inPlace(ctx context.Context, req providers.RestoreRequest, src providers.Source) error {
	if req.Action != providers.ExportDomain {
		return fmt.Errorf("a %s in place: %w: restore it into a directory, or the exports of its databases one by one", req.Action, errors.ErrUnsupported)
	}
	path, err := d.place(req.Domain)
	if err != nil {
		return err
	}
	beside, err := workplace(path, req)
	if err != nil {
		return err
	}
	if done, err := marked(ctx, path, req.ID); err != nil || done {
		return err
	}
	if err := os.Mkdir(beside, 0o700); err != nil {
		return err
	}
	defer os.RemoveAll(beside)
	to := req
	to.Dir = beside
	var file *carried
	names, err := extract(ctx, to, src, func(_ string, c *carried) error { file = c; return nil })
	if err != nil {
		return err
	}
	if len(names) != 1 {
		return fmt.Errorf("%w: an export holds %d databases", providers.ErrCorrupt, len(names))
	}
	copied := filepath.Join(beside, names[0])
	if req.ID != "" {
		if err := mark(ctx, copied, req.ID); err != nil {
			return fmt.Errorf("mark the copy: %w", err)
		}
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := file.give(copied, req); err != nil {
			return err
		}
		return appear(copied, path)
	case err != nil:
		return err
	case info.Size() > 0 && !req.Replace:
		return fmt.Errorf("%s: %w", path, providers.ErrNotEmpty)
	}
	return overwrite(ctx, copied, path, info)
}

// workplace gives a free name beside a database and removes what a crash left there. What cannot be removed, such as an immutable file,
// must not be in the way of this restore or of the next: then it is another name.
func workplace(path string, req providers.RestoreRequest) (string, error) {
	for n := ""; len(n) < maxBlocked; n += "x" {
		beside := filepath.Join(filepath.Dir(path), ".holdfast-restore"+n+"-"+filepath.Base(path))
		err := os.RemoveAll(beside)
		if err == nil {
			return beside, nil
		}
		req.Warnf("what an interrupted restore left could not be removed: %v; remove it by hand (chattr -R -i -a makes that possible)", err)
	}
	return "", &providers.Error{
		Op: "restore", Target: path, Err: fmt.Errorf("%d names beside it that begin with .holdfast-restore are taken, and cannot be freed", maxBlocked),
		Hint: "Remove what interrupted restores left by hand; chattr -R -i -a makes that possible.",
	}
}

// place gives the path of a database that is there or could be.
func (d *device) place(domain string) (string, error) {
	if db, _, err := d.database(domain); err == nil || !errors.Is(err, providers.ErrNotFound) && !errors.Is(err, fs.ErrNotExist) {
		return followed(db.path, err)
	}
	path := filepath.Clean(d.settings.Path)
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && domain == filepath.Base(path):
		return path, nil // a device of one file, which is gone
	case err != nil:
		return "", err
	case !info.IsDir(), domain == "", domain == ".", domain == "..", strings.ContainsAny(domain, "/\x00"), endsLikeCompanion(domain):
		return "", fmt.Errorf("database %q in %s: %w", domain, d.settings.Path, providers.ErrNotFound)
	}
	return followed(filepath.Join(path, domain), nil)
}

func endsLikeCompanion(name string) bool {
	for _, c := range companions {
		if strings.HasSuffix(name, c) {
			return true
		}
	}
	return false
}

// followed gives the real path: what SQLite keeps beside a database is beside that.
func followed(path string, err error) (string, error) {
	if err != nil {
		return "", err
	}
	real, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Lstat(path); err == nil {
			return "", fmt.Errorf("%s is a symbolic link that leads nowhere", path)
		}
		return path, nil
	}
	return real, err
}

// appear gives a copy the name of a database that is not there. What is left of a former one would be taken for its log.
func appear(copied, path string) error {
	for _, c := range companions {
		if _, err := os.Lstat(path + c); err == nil {
			return &providers.Error{
				Op: "restore", Target: path + c, Err: providers.ErrNotEmpty,
				Hint: "It is left of a database that is gone, and would be applied to the restored one. Move it away.",
			}
		}
	}
	err := unix.Renameat2(unix.AT_FDCWD, copied, unix.AT_FDCWD, path, unix.RENAME_NOREPLACE)
	switch err {
	case nil:
	case unix.EEXIST:
		return fmt.Errorf("%s: %w", path, providers.ErrNotEmpty)
	case unix.EINVAL, unix.ENOSYS: // a file system without it
		err := os.Link(copied, path)
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%s: %w", path, providers.ErrNotEmpty)
		}
		if err != nil {
			return err
		}
	default:
		return &os.LinkError{Op: "rename", Old: copied, New: path, Err: err}
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// overwrite writes a copy into a database in one transaction.
func overwrite(ctx context.Context, copied, path string, info fs.FileInfo) error {
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no regular file", path)
	}
	release, err := hold(ctx, path, info)
	if err != nil {
		return err
	}
	defer release()
	db, err := sql.Open("sqlite", targetURI(path))
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	conn, err := db.Conn(ctx)
	if err != nil {
		return busy(path, err)
	}
	defer conn.Close()
	err = conn.Raw(func(driver any) error {
		restorer, ok := driver.(interface {
			NewRestore(uri string) (*sqlite.Backup, error)
		})
		if !ok {
			return fmt.Errorf("online backup: %w", errors.ErrUnsupported)
		}
		b, err := restorer.NewRestore(copiedURI(copied))
		if err != nil {
			return err
		}
		// In one step: between two the transaction would be open while nobody works on it.
		if _, err := b.Step(-1); err != nil {
			b.Finish() // it would tell the same error again
			return err
		}
		return b.Finish()
	})
	return busy(path, err)
}

// targetURI opens a database that is to be overwritten.
func targetURI(path string) string {
	return uri(path, url.Values{"mode": {"rw"}, "_pragma": {"trusted_schema(0)", "synchronous(full)"}, "_busy_timeout": {lockWait}})
}

// busy explains what SQLite says of a database that cannot be overwritten.
func busy(path string, err error) error {
	switch codeOf(err) & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return &providers.Error{
			Op: "restore", Target: path, Err: fmt.Errorf("%w: the database is in use: %w", providers.ErrUnavailable, err), Retry: true,
			Hint: "Stop the programs that use it.",
		}
	case sqlite3.SQLITE_NOTADB:
		return &providers.Error{
			Op: "restore", Target: path, Err: err,
			Hint: "What is there is no database any more. Move it away, with the files beside it that end in -wal, -shm and -journal, and restore again.",
		}
	case sqlite3.SQLITE_READONLY:
		return &providers.Error{
			Op: "restore", Target: path, Err: err,
			Hint: "It may not be written, or it is in WAL mode and has another page size than the artifact: PRAGMA journal_mode = DELETE on it lets it be overwritten.",
		}
	}
	return err
}
