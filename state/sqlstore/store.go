// Package sqlstore keeps the recorded state in one SQLite database file.
//
// See DESIGN.md for its invariants: what is acknowledged is on disk, a taken-over process cannot write, and a dead one is
// noticed at once.
package sqlstore

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-dr/holdfast/state"
)

// Options say which state to open and how.
type Options struct {
	Path         string // of the database file; its directory must exist
	ReadOnly     bool   // never write; the database must exist and be of the current schema
	AllowNetwork bool   // accept a network file system, although SQLite may lose or corrupt data there
}

// Store is a state backend on a SQLite database. Its methods may be called from several goroutines, and several
// Stores of one or many processes may use the same database.
type Store struct {
	path     string
	shared   bool // other machines may mount the file system: their processes cannot be watched
	readOnly bool
	engine   string

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
	mine map[int64]bool // epochs of sessions whose byte this Store holds
}

var _ state.Backend = (*Store)(nil)

// setupTime bounds the wait for another process that creates, upgrades or replaces the database.
const setupTime = 30 * time.Second

// smallFile is the size up to which the whole database is checked at every Open; larger ones are checked
// when a process that used them has died.
const smallFile = 4 << 20

// Open opens the state database and creates it when it does not exist. A damaged one is state.ErrCorrupt, one written by a
// newer program is state.ErrSchema. The context bounds opening only.
func Open(ctx context.Context, o Options) (*Store, error) {
	s, err := open(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("open state database %s: %w", o.Path, remedy(err))
	}
	return s, nil
}

func open(ctx context.Context, o Options) (_ *Store, err error) {
	path, err := locate(o.Path, !o.ReadOnly)
	if err != nil {
		return nil, err
	}
	kind, err := sharedFilesystem(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	if kind != "" && !o.AllowNetwork {
		return nil, fmt.Errorf("the directory is on a %s file system, where SQLite can lose committed data; use a local disk", kind)
	}
	s := &Store{path: path, shared: kind != "", readOnly: o.ReadOnly, mine: map[int64]bool{}, done: make(chan struct{})}
	s.reserve = &reserve{path: path + ".reserve"}
	if s.lock, err = openLockFile(path+".lock", o.ReadOnly); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.release())
		}
	}()
	setup, cancel := context.WithTimeout(ctx, setupTime)
	defer cancel()
	if err := s.lock.wait(setup, func() error { return s.lock.share(useByte) }); err != nil {
		return nil, fmt.Errorf("the state is being replaced: %w", err)
	}
	processSetup.Do(func() { _ = lockByDescription() })
	if o.ReadOnly {
		if err := s.openReading(ctx); err != nil {
			return nil, err
		}
		s.stop = func() {}
		close(s.done)
		return s, nil
	}
	if err := s.openWriting(ctx, setup); err != nil {
		return nil, err
	}
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	s.queue = make(chan *request, maxBatch)
	go s.commitLoop(life)
	return s, nil
}

// processSetup sets what SQLite can only be told once per process and before its first use.
var processSetup sync.Once

func (s *Store) openReading(ctx context.Context) error {
	db, err := sql.Open(driverName, dsn(s.path, readingFile))
	if err != nil {
		return err
	}
	s.reader = db
	db.SetMaxOpenConns(readers)
	if s.engine, err = engine(ctx, db); err != nil {
		return err
	}
	if err := wantOurs(ctx, db); err != nil {
		return err
	}
	have, want, err := schema(ctx, db)
	if err != nil {
		return err
	}
	if have < want {
		return fmt.Errorf("it has schema %d, this program needs %d; any command that writes upgrades it", have, want)
	}
	return s.checkIfNeeded(ctx, db)
}

func (s *Store) openWriting(ctx, setup context.Context) error {
	if err := s.lock.wait(setup, func() error { return s.lock.take(setupByte) }); err != nil {
		return fmt.Errorf("another process is setting it up: %w", err)
	}
	if err := errors.Join(s.setUp(ctx), s.lock.free(setupByte)); err != nil {
		return err
	}
	if err := s.checkIfNeeded(ctx, s.writer); err != nil {
		return err
	}
	s.reserve.fill()
	var err error
	if s.reader, err = sql.Open(driverName, dsn(s.path, reading)); err != nil {
		return err
	}
	s.reader.SetMaxOpenConns(readers)
	s.reader.SetMaxIdleConns(readers)
	return nil
}

// setUp creates or upgrades the database. The caller holds the setup lock.
func (s *Store) setUp(ctx context.Context) (err error) {
	empty, err := s.create(ctx)
	if err != nil {
		return err
	}
	if s.writer, err = sql.Open(driverName, dsn(s.path, writing)); err != nil {
		return err
	}
	s.writer.SetMaxOpenConns(1)
	if s.engine, err = engine(ctx, s.writer); err != nil {
		return err
	}
	if empty {
		if err := markOurs(ctx, s.writer); err != nil {
			return err
		}
	}
	if err := migrate(ctx, s.writer, migrations); err != nil {
		return err
	}
	if _, err := s.writer.ExecContext(ctx, `INSERT INTO meta (name, value) VALUES ('lineage', ?) ON CONFLICT (name) DO NOTHING`, newLineage()); err != nil {
		return explain(err)
	}
	used, err := s.lock.used()
	if err != nil || used {
		return err
	}
	return s.lock.markUsed()
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
// An empty one where a state was before is damage, not a new beginning.
func (s *Store) create(ctx context.Context) (empty bool, err error) {
	f, err := os.OpenFile(s.path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		return true, errors.Join(f.Close(), syncDir(filepath.Dir(s.path)))
	}
	if !errors.Is(err, os.ErrExist) {
		return false, err
	}
	if fi, err := os.Stat(s.path); err != nil || !fi.Mode().IsRegular() {
		return false, errors.Join(err, errors.New("it is not a regular file"))
	}
	db, err := sql.Open(driverName, dsn(s.path, readingFile))
	if err != nil {
		return false, err
	}
	ours, empty, err := isOurs(ctx, db)
	if err := errors.Join(err, explain(db.Close())); err != nil {
		return false, err
	}
	used, err := s.lock.used()
	if err == nil && empty && used {
		err = fmt.Errorf("%w: the file is empty but held a state before", state.ErrCorrupt)
	}
	if err == nil && !empty && !ours {
		err = errForeign
	}
	return empty, err
}

// checkIfNeeded looks for damage where it is likely or costs little: a file of up to 4 MiB, or one whose last user died.
func (s *Store) checkIfNeeded(ctx context.Context, db *sql.DB) error {
	fi, err := os.Stat(s.path)
	if err != nil {
		return err
	}
	if fi.Size() > smallFile {
		dead, err := s.deadSessions(func(each func(epoch int64, host string) error) error {
			rows, err := db.QueryContext(ctx, `SELECT epoch, host FROM session WHERE ending = ''`)
			if err != nil {
				return err
			}
			defer rows.Close()
			for rows.Next() {
				var epoch int64
				var host string
				if err := rows.Scan(&epoch, &host); err != nil {
					return err
				}
				if err := each(epoch, host); err != nil {
					return err
				}
			}
			return rows.Err()
		})
		if err != nil {
			return explain(err)
		}
		if len(dead) == 0 {
			return nil
		}
	}
	return check(ctx, db, false)
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
	return e.error.Error() + "; restore a backup with `holdfast state restore FILE`, " +
		"but look in the kernel's log first: where the disk cannot be read, the engine says the same, and nothing may be wrong with the file"
}

func (e *remediedError) Unwrap() error { return e.error }

func newLineage() string {
	var b [16]byte
	rand.Read(b[:]) // never fails: it ends the program instead
	return hex.EncodeToString(b[:])
}

// Files are the paths of all files that belong to the state. Nothing but this package may open or copy them:
// that can drop the database's locks or give a copy that is torn.
func (s *Store) Files() []string {
	return []string{s.path, s.path + "-wal", s.path + "-shm", s.path + ".lock", s.reserve.path}
}

// Close ends the Store. Sessions that were not closed count as dead from then on.
func (s *Store) Close() error {
	s.closing.Do(func() {
		s.stop()
		<-s.done
		s.closeErr = s.release()
	})
	return s.closeErr
}

// release gives back what open took. The lock file goes last: until then nobody may replace the database.
func (s *Store) release() error {
	var errs []error
	for _, db := range []*sql.DB{s.reader, s.writer} {
		if db != nil {
			errs = append(errs, explain(db.Close()))
		}
	}
	return errors.Join(append(errs, s.lock.close())...)
}
