package sqlite_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
	_ "modernc.org/sqlite"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/providertest"
	"github.com/holdfast-dr/holdfast/providers/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	export = providers.CaptureRequest{Action: providers.ExportDomain, Domain: "app.db", Variant: providers.Persisted}
	secure = providers.CaptureRequest{Action: providers.SecureBackup, Domain: providers.AllDomains}
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func openDevice(t *testing.T, path string, protected ...string) providers.Device {
	t.Helper()
	dev, err := sqlite.DeviceType().Open(t.Context(), "app", &sqlite.Settings{Path: path, TempDir: t.TempDir()}, providers.Env{Protected: protected})
	must(t, err)
	return dev
}

// connect opens a database as its application would.
func connect(t *testing.T, path, mode string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+"?_busy_timeout=20000&_pragma=page_size(512)&_pragma=synchronous(off)&_pragma=journal_mode("+mode+")")
	must(t, err)
	t.Cleanup(func() { must(t, db.Close()) })
	db.SetMaxOpenConns(1)
	return db
}

func fill(t *testing.T, db *sql.DB, rows int) {
	t.Helper()
	for _, q := range []string{
		"CREATE TABLE account (id INTEGER PRIMARY KEY, name TEXT NOT NULL, balance INTEGER)",
		`CREATE TABLE "odd ""name" (x)`,
		"CREATE INDEX by_name ON account (name)",
		"CREATE VIRTUAL TABLE words USING fts5(text)",
		"PRAGMA user_version = 7",
		`INSERT INTO "odd ""name" VALUES (1)`,
		"INSERT INTO words VALUES ('hello world')",
		fmt.Sprintf("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) INSERT INTO account SELECT i, 'name ' || i || hex(randomblob(100)), 100 FROM n", rows),
	} {
		if _, err := db.Exec(q); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
}

func makeDatabase(t *testing.T, path, mode string, rows int) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=synchronous(off)&_pragma=journal_mode("+mode+")")
	must(t, err)
	fill(t, db, rows)
	must(t, db.Close())
}

// dump tells what is in a database.
func dump(t *testing.T, path string) string {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+"?mode=ro")
	must(t, err)
	defer db.Close()
	rows, err := db.Query(`SELECT id || name || balance FROM account UNION ALL SELECT x FROM "odd ""name" UNION ALL SELECT text FROM words ORDER BY 1`)
	must(t, err)
	defer rows.Close()
	sum := sha256.New()
	for rows.Next() {
		var s string
		must(t, rows.Scan(&s))
		sum.Write([]byte(s + "\n"))
	}
	must(t, rows.Err())
	return fmt.Sprintf("%x", sum.Sum(nil))
}

// state is every byte in a directory.
func state(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var b strings.Builder
	for _, e := range entries {
		content, err := os.ReadFile(filepath.Join(dir, e.Name()))
		must(t, err)
		info, err := e.Info()
		must(t, err)
		fmt.Fprintf(&b, "%s %v %v %x\n", e.Name(), info.Mode(), info.ModTime().UnixNano(), sha256.Sum256(content))
	}
	return b.String()
}

func TestContract(t *testing.T) {
	var dir string
	providertest.Device(t, providertest.DeviceSuite{
		Requests:    []providers.CaptureRequest{export, secure},
		Parts:       sqlite.DeviceType().Parts,
		FindsDamage: true,
		New: func(t *testing.T) providertest.DeviceCase {
			dir = t.TempDir()
			makeDatabase(t, filepath.Join(dir, "app.db"), "delete", 500)
			makeDatabase(t, filepath.Join(dir, "other.sqlite"), "truncate", 10)
			must(t, os.WriteFile(filepath.Join(dir, "notes.txt"), []byte("no database"), 0o600))
			must(t, os.WriteFile(filepath.Join(dir, "empty"), nil, 0o600))
			return providertest.DeviceCase{
				Device: openDevice(t, dir),
				State:  func(t *testing.T) string { return state(t, dir) },
				Break:  func(t *testing.T) { must(t, os.Rename(dir, dir+".gone")) },
				Change: func(t *testing.T, _ providers.CaptureRequest) func(*testing.T) {
					want := dump(t, filepath.Join(dir, "app.db"))
					db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "app.db"))
					must(t, err)
					for _, q := range []string{"DELETE FROM account WHERE id > 7", "DROP INDEX by_name", "CREATE TABLE late (id INTEGER)", "PRAGMA user_version = 8", "VACUUM"} {
						_, err := db.Exec(q)
						must(t, err)
					}
					must(t, db.Close())
					return func(t *testing.T) {
						if got := dump(t, filepath.Join(dir, "app.db")); got != want {
							t.Errorf("the database has %s, want %s", got, want)
						}
						if left, _ := filepath.Glob(filepath.Join(dir, ".holdfast*")); left != nil {
							t.Errorf("left behind: %q", left)
						}
					}
				},
			}
		},
		InPlace: func(req providers.CaptureRequest) bool { return req.Action == providers.ExportDomain },
		Restored: func(t *testing.T, req providers.CaptureRequest, to string) {
			names := []string{"app.db"}
			if req.Action == providers.SecureBackup {
				names = append(names, "other.sqlite")
			}
			entries, err := os.ReadDir(to)
			if err != nil || len(entries) != len(names) {
				t.Errorf("restored %v, %v; want %q", entries, err, names)
			}
			for _, name := range names {
				if dump(t, filepath.Join(to, name)) != dump(t, filepath.Join(dir, name)) {
					t.Errorf("restored %s differs", name)
				}
			}
		},
	})
}

func TestRowsOnlyInTheLog(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "app.db")
	db := connect(t, path, "wal")
	fill(t, db, 100)
	if info, err := os.Stat(path + "-wal"); err != nil || info.Size() == 0 {
		t.Fatalf("the test needs rows in the log: %v", err)
	}
	before, err := os.ReadFile(path)
	must(t, err)
	dev := openDevice(t, path)
	art := new(providertest.Artifact)
	_, err = dev.Capture(t.Context(), export, art)
	must(t, err)
	after, err := os.ReadFile(path)
	must(t, err)
	if !bytes.Equal(before, after) {
		t.Error("the capture changed the database file")
	}
	to := t.TempDir()
	must(t, dev.Restore(t.Context(), providers.RestoreRequest{Action: export.Action, Domain: export.Domain, Dir: to}, art))
	if dump(t, filepath.Join(to, "app.db")) != dump(t, path) {
		t.Error("restored database differs")
	}
}

// TestConcurrentWriters moves money between accounts while captures are made: in
// every copy the sum must be what it always was.
func TestConcurrentWriters(t *testing.T) {
	for _, mode := range []string{"wal", "delete"} {
		t.Run(mode, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "app.db")
			const accounts = 5_000
			db := connect(t, path, mode)
			fill(t, db, accounts)
			ctx, stop := context.WithCancel(t.Context())
			var writers sync.WaitGroup
			moves := make(chan struct{}, 1)
			writers.Go(func() {
				for i := 1; ctx.Err() == nil; i++ {
					tx, err := db.Begin()
					if err != nil {
						t.Error(err)
						return
					}
					_, e1 := tx.Exec("UPDATE account SET balance = balance - 1 WHERE id = ?", 1+i*7919%accounts)
					_, e2 := tx.Exec("UPDATE account SET balance = balance + 1 WHERE id = ?", 1+i*104729%accounts)
					if err := errors.Join(e1, e2, tx.Commit()); err != nil {
						t.Error(err)
						return
					}
					select {
					case moves <- struct{}{}:
					default:
					}
				}
			})
			defer writers.Wait()
			defer stop()
			dev := openDevice(t, path)
			good := 0
			for range 3 {
				<-moves
				art := new(providertest.Artifact)
				_, err := dev.Capture(t.Context(), export, art)
				if providers.Retryable(err) {
					continue
				}
				good++
				must(t, err)
				to := t.TempDir()
				must(t, dev.Restore(t.Context(), providers.RestoreRequest{Action: export.Action, Domain: export.Domain, Dir: to}, art))
				copied, err := sql.Open("sqlite", "file:"+filepath.Join(to, "app.db")+"?mode=ro")
				must(t, err)
				var n, sum int
				err = copied.QueryRow("SELECT count(*), sum(balance) FROM account").Scan(&n, &sum)
				must(t, errors.Join(err, copied.Close()))
				if n != accounts || sum != accounts*100 {
					t.Errorf("copy has %d accounts with %d in all", n, sum)
				}
			}
			if good == 0 {
				t.Error("no capture succeeded beside a writer")
			}
		})
	}
}

func TestLockedIsRetryable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.db")
	db := connect(t, path, "delete")
	fill(t, db, 10)
	conn, err := db.Conn(t.Context())
	must(t, err)
	defer conn.Close()
	_, err = conn.ExecContext(t.Context(), "BEGIN EXCLUSIVE")
	must(t, err)
	_, err = openDevice(t, path).Capture(t.Context(), export, new(providertest.Artifact))
	if !providers.Retryable(err) {
		t.Errorf("got %v, want a retryable error", err)
	}
	_, err = conn.ExecContext(t.Context(), "ROLLBACK")
	must(t, err)
}

func TestProtected(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state.db")
	db := connect(t, path, "wal")
	fill(t, db, 10)
	alias := filepath.Join(dir, "alias.db")
	must(t, os.Link(path, alias))
	for _, p := range []string{path, alias} {
		dev := openDevice(t, p, path)
		req := export
		req.Domain = filepath.Base(p)
		if _, err := dev.Capture(t.Context(), req, new(providertest.Artifact)); err == nil || !strings.Contains(err.Error(), "holdfast itself") {
			t.Errorf("capture of %s: got %v", p, err)
		}
	}
	makeDatabase(t, filepath.Join(dir, "app.db"), "delete", 10)
	dev := openDevice(t, dir, path)
	info, err := dev.Inspect(t.Context())
	if err != nil || len(info.Domains) != 1 || info.Domains[0] != "app.db" {
		t.Errorf("domains %q, %v", info.Domains, err)
	}
	res, err := dev.Capture(t.Context(), secure, new(providertest.Artifact))
	if err != nil || len(res.Warnings) != 2 {
		t.Errorf("warnings %q, %v; want one for each name", res.Warnings, err)
	}
	req := export
	req.Domain = "state.db"
	if _, err := dev.Capture(t.Context(), req, new(providertest.Artifact)); err == nil || !strings.Contains(err.Error(), "holdfast itself") {
		t.Errorf("capture by name: got %v", err)
	}
}

func TestBadSources(t *testing.T) {
	dir := t.TempDir()
	damaged := filepath.Join(dir, "damaged.db")
	makeDatabase(t, damaged, "delete", 2000)
	content, err := os.ReadFile(damaged)
	must(t, err)
	for i := 8192; i < len(content)-100; i += 4096 {
		copy(content[i:], "garbage garbage garbage")
	}
	must(t, os.WriteFile(damaged, content, 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "text"), []byte(strings.Repeat("no database ", 1000)), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "empty"), nil, 0o600))
	tests := map[string]string{"damaged.db": "damaged", "text": "no SQLite database", "empty": "empty", "gone": "no such file"}
	for name, want := range tests {
		dev := openDevice(t, filepath.Join(dir, name))
		req := export
		req.Domain = name
		art := new(providertest.Artifact)
		_, err := dev.Capture(t.Context(), req, art)
		if err == nil || !strings.Contains(err.Error(), want) || providers.Retryable(err) {
			t.Errorf("%s: got %v, want an error with %q", name, err, want)
		}
		if len(art.Files()) > 0 {
			t.Errorf("%s: files were made: %v", name, art.Files())
		}
	}
	if _, err := openDevice(t, filepath.Join(dir, "gone")).Inspect(t.Context()); !errors.Is(err, providers.ErrUnavailable) {
		t.Errorf("inspect: got %v, want ErrUnavailable", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "gone")); !os.IsNotExist(err) {
		t.Error("a missing database was made")
	}
	if _, err := openDevice(t, t.TempDir()).Capture(t.Context(), secure, new(providertest.Artifact)); !errors.Is(err, providers.ErrTooSmall) {
		t.Errorf("directory without databases: got %v, want ErrTooSmall", err)
	}
}

func TestOddNames(t *testing.T) {
	dir := t.TempDir()
	const name = "a b?mode=rw#x%20&ü.db"
	makeDatabase(t, filepath.Join(dir, "plain"), "delete", 10)
	must(t, os.Rename(filepath.Join(dir, "plain"), filepath.Join(dir, name)))
	dev, req, art, to := openDevice(t, dir), export, new(providertest.Artifact), t.TempDir()
	req.Domain = name
	_, err := dev.Capture(t.Context(), req, art)
	must(t, err)
	must(t, dev.Restore(t.Context(), providers.RestoreRequest{Action: req.Action, Domain: name, Dir: to}, art))
	if _, err := os.Stat(filepath.Join(to, name)); err != nil {
		t.Error(err)
	}
}

func TestHostileArtifact(t *testing.T) {
	dir := t.TempDir()
	makeDatabase(t, filepath.Join(dir, "app.db"), "delete", 10)
	dev, art := openDevice(t, dir), new(providertest.Artifact)
	_, err := dev.Capture(t.Context(), export, art)
	must(t, err)
	facts := string(art.Bytes("fingerprint.json"))
	tests := map[string]string{
		"path":       strings.Replace(facts, "app.db", "../app.db", 1),
		"absolute":   strings.Replace(facts, "app.db", "/tmp/app.db", 1),
		"parent":     strings.Replace(facts, "app.db", "..", 1),
		"more rows":  strings.Replace(facts, `"account": 10`, `"account": 11`, 1),
		"schema":     strings.Replace(facts, `"schema_sha256": "`, `"schema_sha256": "0`, 1),
		"no facts":   "{}",
		"not JSON":   "x",
		"one more":   strings.Replace(facts, "{", `{"more.db":{},`, 1),
		"other type": "[]",
	}
	for name, text := range tests {
		bad := art.Clone()
		bad.Set("fingerprint.json", []byte(text))
		top := t.TempDir()
		into := filepath.Join(top, "into")
		must(t, os.Mkdir(into, 0o700))
		err := dev.Restore(t.Context(), providers.RestoreRequest{Action: export.Action, Domain: export.Domain, Dir: into}, bad)
		if !errors.Is(err, providers.ErrCorrupt) {
			t.Errorf("%s: got %v, want ErrCorrupt", name, err)
		}
		if left, err := os.ReadDir(top); err != nil || len(left) != 1 {
			t.Errorf("%s: beside the directory: %v, %v", name, left, err)
		}
	}
	into := t.TempDir()
	must(t, os.WriteFile(filepath.Join(into, "app.db"), []byte("mine"), 0o600))
	if err := dev.Restore(t.Context(), providers.RestoreRequest{Action: export.Action, Domain: export.Domain, Dir: into}, art); !errors.Is(err, os.ErrExist) {
		t.Errorf("over an existing file: got %v", err)
	}
}

func TestCheck(t *testing.T) {
	tests := map[string]struct {
		settings sqlite.Settings
		want     string
	}{
		"good":          {sqlite.Settings{Path: "/a", TempDir: "/tmp"}, "[]"},
		"relative path": {sqlite.Settings{Path: "a"}, "[path]"},
		"relative temp": {sqlite.Settings{Path: "/a", TempDir: "tmp"}, "[temp_dir]"},
	}
	for name, tt := range tests {
		got := []string{}
		tt.settings.Check(func(path, _ string) { got = append(got, path) })
		if fmt.Sprint(got) != tt.want {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}

// TestUnpacked: the room that a restore takes is known, although the export is compressed.
func TestUnpacked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.db")
	db, err := sql.Open("sqlite", "file:"+path)
	must(t, err)
	_, err = db.Exec("CREATE TABLE blank (data BLOB); INSERT INTO blank VALUES (zeroblob(1 << 20))")
	must(t, errors.Join(err, db.Close()))
	info, err := os.Stat(path)
	must(t, err)
	art := new(providertest.Artifact)
	res, err := openDevice(t, path).Capture(t.Context(), export, art)
	must(t, err)
	var packed int64
	for _, f := range art.Files() {
		packed += f.Size
	}
	if res.Unpacked != info.Size() || packed >= res.Unpacked {
		t.Errorf("%d bytes unpacked, %d packed; the database has %d", res.Unpacked, packed, info.Size())
	}
}
