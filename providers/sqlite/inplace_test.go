package sqlite_test

import (
	"database/sql"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/providertest"
)

// back makes an artifact of a database and changes it.
func back(t *testing.T, mode string) (path, want string, art *providertest.Artifact) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "app.db")
	makeDatabase(t, path, mode, 300)
	want = dump(t, path)
	art = new(providertest.Artifact)
	_, err := openDevice(t, path).Capture(t.Context(), export, art)
	must(t, err)
	db := connect(t, path, mode)
	_, err = db.Exec("DELETE FROM account WHERE id > 5")
	must(t, err)
	return path, want, art
}

func putBack(t *testing.T, path, domain string, replace bool, art providers.Source) error {
	t.Helper()
	return openDevice(t, path).Restore(t.Context(), providers.RestoreRequest{Action: export.Action, Domain: domain, Replace: replace}, art)
}

// TestInPlaceWhileItIsUsed: connections that stay open see the restored content; a transaction in progress keeps the database as it is.
func TestInPlaceWhileItIsUsed(t *testing.T) {
	for _, mode := range []string{"delete", "wal"} {
		t.Run(mode, func(t *testing.T) {
			path, want, art := back(t, mode)
			db := connect(t, path, mode)
			tx, err := db.Begin()
			must(t, err)
			_, err = tx.Exec("INSERT INTO account VALUES (1000, 'open', 1)")
			must(t, err)
			if err := putBack(t, path, "app.db", true, art); !errors.Is(err, providers.ErrUnavailable) || !providers.Retryable(err) {
				t.Errorf("with a writer: got %v, want ErrUnavailable that may pass", err)
			}
			must(t, tx.Commit())
			if dump(t, path) == want {
				t.Error("the database was overwritten although the restore failed")
			}
			must(t, putBack(t, path, "app.db", true, art))
			var rows int
			must(t, db.QueryRow("SELECT count(*) FROM account").Scan(&rows))
			if got := dump(t, path); got != want || rows != 300 {
				t.Errorf("the database has %s, want %s; an open connection sees %d rows", got, want, rows)
			}
			_, err = db.Exec("INSERT INTO account VALUES (2000, 'after', 1)")
			must(t, err)
			var answer string
			must(t, db.QueryRow("PRAGMA integrity_check").Scan(&answer))
			if answer != "ok" {
				t.Errorf("integrity_check: %s", answer)
			}
		})
	}
}

// TestInPlaceWithAReader: with write-ahead log a reader keeps its view and the restore goes on.
func TestInPlaceWithAReader(t *testing.T) {
	path, want, art := back(t, "wal")
	db := connect(t, path, "wal")
	tx, err := db.Begin()
	must(t, err)
	var before, still int
	must(t, tx.QueryRow("SELECT count(*) FROM account").Scan(&before))
	must(t, putBack(t, path, "app.db", true, art))
	must(t, tx.QueryRow("SELECT count(*) FROM account").Scan(&still))
	must(t, tx.Rollback())
	if before != still || dump(t, path) != want {
		t.Errorf("a reader saw %d and then %d rows; the database has %s, want %s", before, still, dump(t, path), want)
	}
}

func TestInPlaceWhereNothingIs(t *testing.T) {
	path, want, art := back(t, "delete")
	dir := filepath.Dir(path)
	must(t, putBack(t, dir, "copy.db", false, art))
	if got := dump(t, filepath.Join(dir, "copy.db")); got != want {
		t.Errorf("the new database has %s, want %s", got, want)
	}
	must(t, os.Remove(path))
	must(t, os.WriteFile(path+"-wal", []byte("of another life"), 0o600))
	if err := putBack(t, path, "app.db", true, art); !errors.Is(err, providers.ErrNotEmpty) {
		t.Errorf("with the log of a database that is gone: got %v, want ErrNotEmpty", err)
	}
	must(t, os.Remove(path+"-wal"))
	must(t, putBack(t, path, "app.db", false, art))
	if got := dump(t, path); got != want {
		t.Errorf("the database has %s, want %s", got, want)
	}
	for _, name := range []string{"../escaped", "a/b", "..", "", "app.db-wal"} {
		if err := putBack(t, dir, name, true, art); !errors.Is(err, providers.ErrNotFound) {
			t.Errorf("domain %q: got %v, want ErrNotFound", name, err)
		}
	}
	entries, err := os.ReadDir(dir)
	must(t, err)
	if len(entries) != 2 {
		t.Errorf("the directory holds %v", entries)
	}
}

// TestInPlaceOfSomethingElse: what is no database is not touched, and damage of one is repaired.
func TestInPlaceOfSomethingElse(t *testing.T) {
	path, want, art := back(t, "delete")
	b, err := os.ReadFile(path)
	must(t, err)
	for at := 8192; at < len(b); at++ { // the header stays
		b[at] = 0xff
	}
	must(t, os.WriteFile(path, b, 0o600))
	must(t, putBack(t, path, "app.db", true, art))
	if got := dump(t, path); got != want {
		t.Errorf("the database has %s, want %s", got, want)
	}
	garbage := make([]byte, 8192)
	copy(garbage, "no database at all")
	must(t, os.WriteFile(path, garbage, 0o600))
	if err := putBack(t, path, "app.db", true, art); err == nil {
		t.Error("a file that is no database was overwritten")
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != string(garbage) {
		t.Errorf("the file was changed (%v)", err)
	}
}

// TestInPlaceOfAnotherPageSize: the content comes with its own pages, or the error says what to do.
func TestInPlaceOfAnotherPageSize(t *testing.T) {
	path, want, art := back(t, "delete")
	for _, mode := range []string{"delete", "wal"} {
		must(t, os.RemoveAll(path))
		db, err := sql.Open("sqlite", "file:"+path+"?_pragma=page_size(8192)&_pragma=journal_mode("+mode+")")
		must(t, err)
		fill(t, db, 3)
		must(t, db.Close())
		before := dump(t, path)
		err = putBack(t, path, "app.db", true, art)
		var e *providers.Error
		switch {
		case err == nil && dump(t, path) == want:
		case mode == "wal" && errors.As(err, &e) && e.Hint != "" && dump(t, path) == before:
		default:
			t.Errorf("%s: got %v", mode, err)
		}
	}
}

// TestRepeatedWhileItIsUsed: a connection that stays open writes on after the restore, and a repetition leaves what it wrote. The mark
// goes when it is forgotten, as soon as nobody writes.
func TestRepeatedWhileItIsUsed(t *testing.T) {
	for _, mode := range []string{"delete", "wal"} {
		t.Run(mode, func(t *testing.T) {
			path, want, art := back(t, mode)
			db, dev := connect(t, path, mode), openDevice(t, path)
			req := providers.RestoreRequest{Action: export.Action, Domain: "app.db", Replace: true, ID: "first"}
			must(t, dev.Restore(t.Context(), req, art))
			if got := dump(t, path); got != want {
				t.Fatalf("the database has %s, want %s", got, want)
			}
			_, err := db.Exec("INSERT INTO account VALUES (1000, 'later', 1)")
			must(t, err)
			later := dump(t, path)
			marked := new(providertest.Artifact)
			_, err = dev.Capture(t.Context(), export, marked)
			must(t, err)
			must(t, dev.Restore(t.Context(), req, art))
			if got := dump(t, path); got != later {
				t.Errorf("after the repetition the database has %s, want what was written since, %s", got, later)
			}

			tx, err := db.Begin()
			must(t, err)
			_, err = tx.Exec("INSERT INTO account VALUES (1001, 'open', 1)")
			must(t, err)
			if err := dev.Forget(t.Context(), req); !errors.Is(err, providers.ErrUnavailable) || !providers.Retryable(err) {
				t.Errorf("with a writer: got %v, want ErrUnavailable that may pass", err)
			}
			must(t, tx.Rollback())
			must(t, dev.Forget(t.Context(), req))
			tables := func() (n int) {
				must(t, db.QueryRow("SELECT count(*) FROM sqlite_schema WHERE name LIKE '%holdfast%'").Scan(&n))
				return n
			}
			if n := tables(); n != 0 || dump(t, path) != later {
				t.Errorf("%d tables of holdfast are left; the database has %s, want %s", n, dump(t, path), later)
			}

			// The mark in an artifact that was taken before it was forgotten is of no restore.
			req.ID = "second"
			must(t, dev.Restore(t.Context(), req, marked))
			must(t, dev.Forget(t.Context(), req))
			if n := tables(); n != 0 || dump(t, path) != later {
				t.Errorf("%d tables of holdfast are left; the database has %s, want %s", n, dump(t, path), later)
			}
		})
	}
}

// TestInPlaceBesideALeftoverThatStays: what an interrupted restore left and nobody can remove is told, and in nobody's way.
func TestInPlaceBesideALeftoverThatStays(t *testing.T) {
	path, want, art := back(t, "delete")
	left := filepath.Join(filepath.Dir(path), ".holdfast-restore-app.db")
	must(t, os.Mkdir(left, 0o700))
	must(t, os.WriteFile(filepath.Join(left, "app.db"), nil, 0o600))
	if out, err := exec.Command("chattr", "+i", filepath.Join(left, "app.db"), left).CombinedOutput(); err != nil {
		t.Skipf("chattr: %v: %s", err, out)
	}
	t.Cleanup(func() { exec.Command("chattr", "-R", "-i", left).Run() })
	for range 2 {
		var told []string
		req := providers.RestoreRequest{Action: export.Action, Domain: "app.db", Replace: true, Warn: func(text string) { told = append(told, text) }}
		must(t, openDevice(t, path).Restore(t.Context(), req, art))
		if len(told) != 1 || !strings.Contains(told[0], left) {
			t.Errorf("told %q, want the leftover", told)
		}
	}
	if got := dump(t, path); got != want {
		t.Errorf("the database has %s, want %s", got, want)
	}
	if all, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".holdfast*")); err != nil || len(all) != 1 {
		t.Errorf("beside the database are %q, %v; want the leftover alone", all, err)
	}
}
