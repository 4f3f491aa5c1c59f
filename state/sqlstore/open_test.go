package sqlstore_test

import (
	"context"
	"database/sql"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dr/holdfast/state"
	"github.com/holdfast-dr/holdfast/state/sqlstore"
	"github.com/holdfast-dr/holdfast/state/statetest"
)

func open(t *testing.T, o sqlstore.Options) (*sqlstore.Store, error) {
	t.Helper()
	s, err := sqlstore.Open(t.Context(), o)
	if err == nil {
		t.Cleanup(func() { s.Close() })
	}
	return s, err
}

func TestOpenCreatesAPrivateFile(t *testing.T) {
	for _, name := range []string{"state.db", "with space.db", "100% ü?x=1#y&z.db", "mode=ro"} {
		path := filepath.Join(t.TempDir(), name)
		s := statetest.Open(t, path)
		if _, err := s.Meta(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, file := range []string{path, path + ".lock"} {
			fi, err := os.Stat(file)
			if err != nil {
				t.Fatal(err)
			}
			if fi.Mode().Perm() != 0o600 {
				t.Errorf("%s has mode %s", file, fi.Mode())
			}
		}
		entries, err := os.ReadDir(filepath.Dir(path))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if !slicesContainBase(s.Files(), e.Name()) {
				t.Errorf("%s is not among the state's files %v", e.Name(), s.Files())
			}
		}
	}
}

func slicesContainBase(paths []string, name string) bool {
	for _, p := range paths {
		if filepath.Base(p) == name {
			return true
		}
	}
	return false
}

func TestEngineIsNotOneThatLosesCommits(t *testing.T) {
	m, err := statetest.New(t).Meta(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(m.Engine, "sqlite 3.") || m.Engine < "sqlite 3.51.3" {
		t.Errorf("linked engine is %s", m.Engine)
	}
}

func TestReopenKeepsTheState(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	s := statetest.Open(t, path)
	run := begin(t, s, "k", 3)
	before, err := s.Meta(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.OpenSession(t.Context(), state.Session{}); err == nil {
		t.Error("a closed state accepted a write")
	}
	if _, err := s.Meta(t.Context()); err == nil {
		t.Error("a closed state was read")
	}
	s = statetest.Open(t, path)
	after, err := s.Meta(t.Context())
	if err != nil || after != before {
		t.Errorf("got %+v, %v, want %+v", after, err, before)
	}
	got, err := s.Run(t.Context(), run.ID)
	if err != nil || got != run {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestOpenThroughALink(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "real.db")
	s := statetest.Open(t, path)
	link := filepath.Join(t.TempDir(), "link.db")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	l := statetest.Open(t, link)
	if a, b := s.Files()[3], l.Files()[3]; a != b {
		t.Errorf("lock files %s and %s", a, b)
	}
}

func TestOpenRefuses(t *testing.T) {
	notDatabase := []byte(strings.Repeat("This is not a database. ", 1000))
	for _, test := range []struct {
		name string
		make func(t *testing.T, dir string) sqlstore.Options
		is   error
		text string
	}{
		{"no directory", func(t *testing.T, dir string) sqlstore.Options {
			return sqlstore.Options{Path: filepath.Join(dir, "a/b/state.db")}
		}, os.ErrNotExist, "mkdir -p"},
		{"a directory", func(t *testing.T, dir string) sqlstore.Options { return sqlstore.Options{Path: dir} }, nil, "is a directory"},
		{"no path", func(t *testing.T, dir string) sqlstore.Options { return sqlstore.Options{} }, nil, "path is empty"},
		{"a path with NUL", func(t *testing.T, dir string) sqlstore.Options { return sqlstore.Options{Path: dir + "/a\x00b"} }, nil, "not usable"},
		{"a socket of the system", func(t *testing.T, dir string) sqlstore.Options { return sqlstore.Options{Path: os.DevNull} }, nil, "not a regular file"},
		{"a link to nothing", func(t *testing.T, dir string) sqlstore.Options {
			link := filepath.Join(dir, "link.db")
			if err := os.Symlink("/nonexistent/state.db", link); err != nil {
				t.Fatal(err)
			}
			return sqlstore.Options{Path: link}
		}, nil, "a link to a file that does not exist"},
		{"not a database", func(t *testing.T, dir string) sqlstore.Options {
			return sqlstore.Options{Path: write(t, dir, notDatabase)}
		}, state.ErrCorrupt, "holdfast state restore"},
		{"not a database, reading", func(t *testing.T, dir string) sqlstore.Options {
			return sqlstore.Options{Path: write(t, dir, notDatabase), ReadOnly: true}
		}, state.ErrCorrupt, "holdfast state restore"},
		{"a damaged page", func(t *testing.T, dir string) sqlstore.Options {
			path := used(t, dir)
			damage(t, path, 3*4096, 4096)
			return sqlstore.Options{Path: path}
		}, state.ErrCorrupt, "holdfast state restore"},
		{"zeroed pages", func(t *testing.T, dir string) sqlstore.Options {
			path := used(t, dir)
			zero(t, path, 4096, 4*4096)
			return sqlstore.Options{Path: path}
		}, state.ErrCorrupt, "holdfast state restore"},
		{"zeroed pages, reading", func(t *testing.T, dir string) sqlstore.Options {
			path := used(t, dir)
			zero(t, path, 4096, 4*4096)
			return sqlstore.Options{Path: path, ReadOnly: true}
		}, state.ErrCorrupt, "holdfast state restore"},
		{"a damaged header", func(t *testing.T, dir string) sqlstore.Options {
			path := used(t, dir)
			damage(t, path, 0, 40)
			return sqlstore.Options{Path: path}
		}, state.ErrCorrupt, "holdfast state restore"},
		{"cut off", func(t *testing.T, dir string) sqlstore.Options {
			path := used(t, dir)
			if err := os.Truncate(path, 2*4096+100); err != nil {
				t.Fatal(err)
			}
			return sqlstore.Options{Path: path}
		}, state.ErrCorrupt, "holdfast state restore"},
		{"emptied", func(t *testing.T, dir string) sqlstore.Options {
			path := used(t, dir)
			if err := os.Truncate(path, 0); err != nil {
				t.Fatal(err)
			}
			return sqlstore.Options{Path: path}
		}, state.ErrCorrupt, "held a state before"},
		{"another program's database", func(t *testing.T, dir string) sqlstore.Options {
			path := filepath.Join(dir, "other.db")
			execute(t, path, `CREATE TABLE secrets (a TEXT)`)
			return sqlstore.Options{Path: path}
		}, nil, "another program"},
		{"a newer schema", func(t *testing.T, dir string) sqlstore.Options {
			path := used(t, dir)
			execute(t, path, `INSERT INTO schema_version (version_id, is_applied) VALUES (99, 1)`)
			return sqlstore.Options{Path: path}
		}, state.ErrSchema, "use a newer program"},
		{"a newer schema, reading", func(t *testing.T, dir string) sqlstore.Options {
			path := used(t, dir)
			execute(t, path, `INSERT INTO schema_version (version_id, is_applied) VALUES (99, 1)`)
			return sqlstore.Options{Path: path, ReadOnly: true}
		}, state.ErrSchema, "use a newer program"},
		{"reading what is not there", func(t *testing.T, dir string) sqlstore.Options {
			return sqlstore.Options{Path: filepath.Join(dir, "state.db"), ReadOnly: true}
		}, os.ErrNotExist, ""},
		{"reading an empty file", func(t *testing.T, dir string) sqlstore.Options {
			return sqlstore.Options{Path: write(t, dir, nil), ReadOnly: true}
		}, os.ErrNotExist, "it is empty"},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := test.make(t, t.TempDir())
			before, _ := os.ReadFile(o.Path)
			_, err := open(t, o)
			if err == nil {
				t.Fatal("no error")
			}
			if test.is != nil && !errors.Is(err, test.is) || !strings.Contains(err.Error(), test.text) {
				t.Errorf("got %v", err)
			}
			after, _ := os.ReadFile(o.Path)
			if string(before) != string(after) {
				t.Error("the file was changed")
			}
		})
	}
}

// write makes a file that was never a state.
func write(t *testing.T, dir string, content []byte) string {
	t.Helper()
	path := filepath.Join(dir, "state.db")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// used makes a state with something in it.
func used(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "state.db")
	s := statetest.Open(t, path)
	begin(t, s, "k", 200)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func damage(t *testing.T, path string, at, n int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt([]byte(strings.Repeat("\xa5", int(n))), at)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// zero overwrites a part of a file as a disk does that lost it.
func zero(t *testing.T, path string, at, n int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt(make([]byte, n), at)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// execute changes a database behind the backend's back.
func execute(t *testing.T, path string, statements ...string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	for _, sql := range statements {
		if _, err := db.Exec(sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestUnreadableFile(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("the superuser may open every file")
	}
	path := used(t, t.TempDir())
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, sqlstore.Options{Path: path}); !errors.Is(err, os.ErrPermission) {
		t.Errorf("got %v", err)
	}
}

func TestReadOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	w := statetest.Open(t, path)
	begin(t, w, "a", 1)
	r, err := open(t, sqlstore.Options{Path: path, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.OpenSession(t.Context(), state.Session{}); err == nil || !strings.Contains(err.Error(), "reading only") {
		t.Errorf("got %v", err)
	}
	begin(t, w, "b", 1)
	if runs, err := r.Runs(t.Context(), state.RunFilter{}); err != nil || len(runs) != 2 {
		t.Errorf("got %v, %v", runs, err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if runs, err := r.Runs(t.Context(), state.RunFilter{}); err != nil || len(runs) != 2 {
		t.Errorf("after the writer ended: %v, %v", runs, err)
	}
}

func TestOpenOfAnExistingState(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, sqlstore.Options{Path: path, Existing: true}); err == nil || !strings.Contains(err.Error(), "holdfast init") {
		t.Errorf("an empty file: got %v", err)
	}
	if got := list(t, filepath.Dir(path)); len(got) != 1 {
		t.Errorf("made beside an empty file: %v", got)
	}
	if err := os.WriteFile(path+".lock", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, sqlstore.Options{Path: path, Existing: true}); err == nil || errors.Is(err, state.ErrCorrupt) {
		t.Errorf("an empty file with a lock file that tells of no state: got %v", err)
	}
	if fi, err := os.Stat(path); err != nil || fi.Size() != 0 || fi.Mode().Perm() != 0o644 {
		t.Errorf("the empty file was changed: %v, %v", fi, err)
	}
	if err := statetest.Open(t, path).Close(); err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("the state that was made of it has mode %v, %v", fi, err)
	}
	if _, err := open(t, sqlstore.Options{Path: path, Existing: true}); err != nil {
		t.Errorf("a state: got %v", err)
	}
	if _, err := open(t, sqlstore.Options{Path: path + ".none", Existing: true}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: got %v", err)
	}
}

func TestOpenWaitsForSetupOnlyAsLongAsTheContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	statetest.Open(t, path)
	locked := holdByte(t, path+".lock", 0)
	defer locked()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := sqlstore.Open(ctx, sqlstore.Options{Path: path}); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "setting it up") {
		t.Errorf("got %v", err)
	}
}

func TestWriterThatWaitsForAnotherProcessCanBeCancelled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	s := statetest.Open(t, path)
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	if _, err := db.Exec("BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	if _, err := s.OpenSession(ctx, state.Session{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if waited := time.Since(began); waited > 5*time.Second {
		t.Errorf("waited %s", waited)
	}
	if _, err := s.Snapshot(t.Context()); err != nil {
		t.Errorf("a reader waited for a writer: %v", err)
	}
	if _, err := db.Exec("ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if n, err := s.OpenSession(t.Context(), state.Session{}); err != nil || n.Epoch != 1 {
		t.Errorf("the cancelled write was done: %+v, %v", n, err)
	}
}

func TestDamageFoundWhileRunningSaysWhatToDo(t *testing.T) {
	path := used(t, t.TempDir())
	s := statetest.Open(t, path)
	damage(t, path, 4096, 20*4096)
	err := s.Export(t.Context(), io.Discard)
	if !errors.Is(err, state.ErrCorrupt) || strings.Count(err.Error(), "holdfast state restore") != 1 {
		t.Errorf("got %v", err)
	}
}
