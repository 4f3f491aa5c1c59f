package sqlstore_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-dr/holdfast/state"
	"github.com/holdfast-dr/holdfast/state/sqlstore"
	"github.com/holdfast-dr/holdfast/state/statetest"
)

// export is the state as text, without its first line and without what a restore changes.
func export(t *testing.T, s *sqlstore.Store) string {
	t.Helper()
	var out bytes.Buffer
	if err := s.Export(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	var kept []string
	for _, line := range strings.Split(out.String(), "\n")[1:] {
		if !strings.Contains(line, `"type":"audit"`) && !strings.Contains(line, `"type":"end"`) {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "\n")
}

func list(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestBackupAndRestore(t *testing.T) {
	dir := t.TempDir()
	path, copied := filepath.Join(dir, "state.db"), filepath.Join(t.TempDir(), "copy")
	s := statetest.Open(t, path)
	epoch := session(t, s)
	l := apply(t, s, epoch)
	if _, err := s.Record(t.Context(), l, changes(50), nil); err != nil {
		t.Fatal(err)
	}
	run := begin(t, s, "k", 3)
	if err := work(t.Context(), s, epoch, run.ID+".1"); err != nil {
		t.Fatal(err)
	}
	c, err := s.Claim(t.Context(), epoch, run.ID+".2", start)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Backup(t.Context(), copied); err != nil {
		t.Fatal(err)
	}
	if got := list(t, filepath.Dir(copied)); len(got) != 1 {
		t.Errorf("the backup left %v", got)
	}
	before, meta := export(t, s), mustMeta(t, s)

	begin(t, s, "later", 1)
	if err := restore(t, copied, path); !errors.Is(err, state.ErrLocked) {
		t.Fatalf("restored under a state in use: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := restore(t, copied, path); err != nil {
		t.Fatal(err)
	}

	s = statetest.Open(t, path)
	if got := export(t, s); got != before {
		t.Errorf("restored:\n%s\nwant:\n%s", got, before)
	}
	after := mustMeta(t, s)
	if after.Lineage == meta.Lineage || after.Generation != meta.Generation {
		t.Errorf("%+v became %+v", meta, after)
	}
	if fresh := session(t, s); fresh <= epoch+1000 {
		t.Errorf("epoch %d is not above all that were given out since the backup", fresh)
	}
	again, err := s.Claim(t.Context(), session(t, s), c.Task, start)
	if err != nil || again.Token <= c.Token+1000 {
		t.Errorf("got %+v, %v: the number is not above all that were given out since the backup", again, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	kept := path + ".replaced-" + start.Format("20060102T150405Z")
	old := statetest.Open(t, kept)
	if runs, err := old.Runs(t.Context(), state.RunFilter{}); err != nil || len(runs) != 2 {
		t.Errorf("the replaced state has runs %v, %v", runs, err)
	}
	if err := restore(t, copied, path); !errors.Is(err, os.ErrExist) {
		t.Errorf("the kept state was overwritten: %v", err)
	}
	for _, name := range list(t, dir) {
		if strings.HasPrefix(name, ".holdfast") {
			t.Errorf("%s was left behind", name)
		}
	}
}

func mustMeta(t *testing.T, s *sqlstore.Store) state.Meta {
	t.Helper()
	m, err := s.Meta(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestRestoreReplacesADamagedState(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"damaged": func(path string) error { return os.WriteFile(path, bytes.Repeat([]byte{0xa5}, 40_000), 0o600) },
		"emptied": func(path string) error { return os.Truncate(path, 0) },
		"removed": os.Remove,
		"whole":   func(string) error { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			path, copied := filepath.Join(t.TempDir(), "state.db"), filepath.Join(t.TempDir(), "copy")
			s := statetest.Open(t, path)
			begin(t, s, "k", 1)
			if err := s.Backup(t.Context(), copied); err != nil {
				t.Fatal(err)
			}
			begin(t, s, "later", 50)
			wal, err := os.ReadFile(path + "-wal")
			if err := errors.Join(err, s.Close(), spoil(path)); err != nil || len(wal) == 0 {
				t.Fatal(len(wal), err)
			}
			// The log a killed process leaves: it must not be applied to the new database.
			if err := os.WriteFile(path+"-wal", wal, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := restore(t, copied, path); err != nil {
				t.Fatal(err)
			}
			s = statetest.Open(t, path)
			if runs, err := s.Runs(t.Context(), state.RunFilter{}); err != nil || len(runs) != 1 {
				t.Errorf("%v, %v", runs, err)
			}
		})
	}
}

func TestRestoreRefuses(t *testing.T) {
	good := used(t, t.TempDir())
	for name, test := range map[string]struct {
		from func(t *testing.T) string
		is   error
	}{
		"nothing":       {func(t *testing.T) string { return filepath.Join(t.TempDir(), "none") }, os.ErrNotExist},
		"a directory":   {func(t *testing.T) string { return t.TempDir() }, nil},
		"text":          {func(t *testing.T) string { return write(t, t.TempDir(), []byte(strings.Repeat("no database ", 500))) }, state.ErrCorrupt},
		"an empty file": {func(t *testing.T) string { return write(t, t.TempDir(), nil) }, nil},
		"a damaged copy": {func(t *testing.T) string {
			path := used(t, t.TempDir())
			damage(t, path, 4096*5, 2000)
			return path
		}, state.ErrCorrupt},
		"another program's": {func(t *testing.T) string {
			path := filepath.Join(t.TempDir(), "other.db")
			execute(t, path, `CREATE TABLE t (a TEXT)`)
			return path
		}, nil},
		"a newer one": {func(t *testing.T) string {
			path := used(t, t.TempDir())
			execute(t, path, `INSERT INTO schema_version (version_id, is_applied) VALUES (99, 1)`)
			return path
		}, state.ErrSchema},
		"itself": {func(t *testing.T) string { return good }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			from := test.from(t)
			err := restore(t, from, good)
			if err == nil || test.is != nil && !errors.Is(err, test.is) {
				t.Fatalf("got %v", err)
			}
			s, err := open(t, sqlstore.Options{Path: good})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			for _, file := range list(t, filepath.Dir(good)) {
				if strings.HasPrefix(file, ".holdfast") || strings.Contains(file, "replaced") {
					t.Errorf("%s was left behind", file)
				}
			}
		})
	}
}

func TestRestoreRefusesWhileASessionLives(t *testing.T) {
	path := used(t, t.TempDir())
	copied := filepath.Join(t.TempDir(), "copy")
	s := statetest.Open(t, path)
	if err := errors.Join(s.Backup(t.Context(), copied), s.Close()); err != nil {
		t.Fatal(err)
	}
	free := holdByte(t, path+".lock", 7)
	if err := restore(t, copied, path); !errors.Is(err, state.ErrLocked) {
		t.Errorf("got %v", err)
	}
	free()
	if err := restore(t, copied, path); err != nil {
		t.Error(err)
	}
}

func TestBackupLeavesNothingWhenItFails(t *testing.T) {
	s := statetest.New(t)
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Backup(ctx, filepath.Join(dir, "copy")); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	none := filepath.Join(dir, "none")
	if err := s.Backup(t.Context(), filepath.Join(none, "copy")); !errors.Is(err, os.ErrNotExist) || !strings.HasSuffix(err.Error(), "there is no directory "+none+": file does not exist") {
		t.Errorf("got %v", err)
	}
	if err := s.Backup(t.Context(), dir); !errors.Is(err, os.ErrExist) {
		t.Errorf("over what is there: got %v", err)
	}
	if got := list(t, dir); len(got) != 0 {
		t.Errorf("left behind: %v", got)
	}
}
