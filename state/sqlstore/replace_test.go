package sqlstore_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dr/holdfast/state"
	"github.com/holdfast-dr/holdfast/state/sqlstore"
	"github.com/holdfast-dr/holdfast/state/statetest"
)

// restore puts a backup in the place of a state at the time the tests begin with.
func restore(t *testing.T, from, to string) error {
	t.Helper()
	_, err := sqlstore.Restore(t.Context(), sqlstore.Replacement{From: from, To: to, At: start})
	return err
}

// copied makes a state in which something is recorded, and a backup of it.
func copied(t *testing.T) (path, backup string) {
	t.Helper()
	path, backup = filepath.Join(t.TempDir(), "state.db"), filepath.Join(t.TempDir(), "copy")
	s := statetest.Open(t, path)
	begin(t, s, "k", 1)
	if err := errors.Join(s.Backup(t.Context(), backup), s.Close()); err != nil {
		t.Fatal(err)
	}
	return path, backup
}

func hold(t *testing.T, path string, until time.Time) {
	t.Helper()
	s := statetest.Open(t, path)
	_, err := s.AcquireLock(t.Context(), state.Lock{Name: state.ApplyLock, Operation: "hold", Actor: "ann", Reason: "migration", Acquired: start.Add(-time.Hour), Expires: until})
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestRestoreHeedsAHold(t *testing.T) {
	path, backup := copied(t)
	hold(t, path, start.Add(time.Minute))
	var locked *state.LockedError
	if err := restore(t, backup, path); !errors.As(err, &locked) || locked.Lock.Actor != "ann" {
		t.Fatalf("got %v", err)
	}
	for _, name := range list(t, filepath.Dir(path)) {
		if strings.HasPrefix(name, ".holdfast") || strings.Contains(name, "replaced") {
			t.Errorf("%s was left behind", name)
		}
	}
	if _, err := sqlstore.Restore(t.Context(), sqlstore.Replacement{From: backup, To: path, At: start.Add(time.Minute)}); err != nil {
		t.Errorf("the hold is over: %v", err)
	}
}

// A hold on a damaged state cannot be released, since the state cannot be opened: it must not keep the backup out.
func TestRestoreReplacesADamagedStateThatIsHeld(t *testing.T) {
	path, backup := copied(t)
	hold(t, path, start.Add(time.Minute))
	fi, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, fi.Size()-4096); err != nil {
		t.Fatal(err)
	}
	if err := restore(t, backup, path); err != nil {
		t.Error(err)
	}
}

func TestRestoreSaysWhereTheReplacedStateIs(t *testing.T) {
	path, backup := copied(t)
	kept, err := sqlstore.Restore(t.Context(), sqlstore.Replacement{From: backup, To: path, At: start})
	if want := path + ".replaced-" + start.Format("20060102T150405Z"); err != nil || kept != want {
		t.Fatalf("got %q, %v, want %q", kept, err, want)
	}
	if _, err := os.Stat(kept); err != nil {
		t.Error(err)
	}
	none := filepath.Join(t.TempDir(), "none.db")
	if kept, err := sqlstore.Restore(t.Context(), sqlstore.Replacement{From: backup, To: none, At: start}); err != nil || kept != "" {
		t.Errorf("nothing was replaced: got %q, %v", kept, err)
	}
}

func TestRestoreTellsLineages(t *testing.T) {
	path, backup := copied(t)
	other, _ := copied(t)
	want := map[string]string{}
	for _, p := range []string{path, other} {
		s := statetest.Open(t, p)
		want[p] = mustMeta(t, s).Lineage
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	var refused *sqlstore.OtherLineageError
	if err := restore(t, backup, other); !errors.As(err, &refused) || refused.State != want[other] || refused.Backup != want[path] {
		t.Fatalf("got %v, want %v", err, want)
	}
	if _, err := sqlstore.Restore(t.Context(), sqlstore.Replacement{From: backup, To: other, At: start, OtherLineage: true}); err != nil {
		t.Fatal(err)
	}

	// What a restore made is of the family of the backup: it can be restored from it again, from the first state, and so on.
	at := start
	for _, from := range []string{backup, path, backup} {
		at = at.Add(time.Second)
		if _, err := sqlstore.Restore(t.Context(), sqlstore.Replacement{From: from, To: other, At: at}); err != nil {
			t.Errorf("from %s: %v", from, err)
		}
	}

	blank := filepath.Join(t.TempDir(), "blank.db")
	if err := statetest.Open(t, blank).Close(); err != nil {
		t.Fatal(err)
	}
	if err := restore(t, backup, blank); err != nil {
		t.Errorf("nothing was recorded there: %v", err)
	}
}

func TestRestoreLeavesTheDatabaseOfAnotherProgram(t *testing.T) {
	_, backup := copied(t)
	path := filepath.Join(t.TempDir(), "other.db")
	execute(t, path, `CREATE TABLE t (a TEXT)`)
	if err := restore(t, backup, path); err == nil || !strings.Contains(err.Error(), "another program") {
		t.Errorf("got %v", err)
	}
}
