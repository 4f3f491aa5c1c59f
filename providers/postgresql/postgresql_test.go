package postgresql_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast-dr/holdfast/config/sampletest"
	"github.com/holdfast-dr/holdfast/config/unit"
	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/postgresql"
	"github.com/holdfast-dr/holdfast/providers/providertest"
)

func capture(t testing.TB, dev providers.Device, req providers.CaptureRequest) (*providertest.Artifact, providers.CaptureResult) {
	t.Helper()
	art := new(providertest.Artifact)
	res, err := dev.Capture(context.Background(), req, art)
	must(t, err)
	return art, res
}

func withSums(columns ...string) func(*postgresql.Settings) {
	return func(s *postgresql.Settings) { s.Fingerprint = &postgresql.Fingerprint{Sums: columns} }
}

// TestRestoreUnderWrites is the promise: what is restored is what the facts say, while the source goes on changing.
func TestRestoreUnderWrites(t *testing.T) {
	long(t)
	c := shared(t)
	c.drop(t, "", "busy", "busy copy", "prepared") // base backups of other tests need not have them
	c.fill(t, "busy", 1)
	c.exec(t, "postgres", "CREATE ROLE clerk", "CREATE ROLE reader LOGIN PASSWORD 'hash4reader'")
	c.exec(t, "busy", "ALTER TABLE part OWNER TO clerk", "GRANT SELECT ON pgbench_accounts TO reader")
	c.write(t, "busy")
	dev := c.device(t, withSums("public.pgbench_accounts.abalance", `"odd ""schema"."t.a'b"."v.1"`, `busy."odd ""schema"."t.a'b".f`, "other.public.x.y", "public.no.such"))
	req := export
	req.Domain = "busy"
	art, res := capture(t, dev, req)
	if res.Consistency != "application" || !strings.HasPrefix(res.Tool, "pg_dump (PostgreSQL)") {
		t.Errorf("result %+v", res)
	}
	if len(res.Warnings) != 1 || !strings.Contains(res.Warnings[0], `"no"."such"`) {
		t.Errorf("warnings %q, want one about the column that is missing", res.Warnings)
	}
	rows, ok := res.Fingerprint["rows"].(map[string]int64)
	if !ok || rows[`"odd ""schema"."t.a'b"`] != 1000 || rows[`"public"."part_1"`] != 100 || rows[`"public"."fast"`] != 1 || len(rows) != 7 {
		t.Errorf("rows %v", res.Fingerprint["rows"])
	}
	if sums, ok := res.Fingerprint["sums"].(map[string]string); !ok || len(sums) != 3 {
		t.Errorf("sums %v", res.Fingerprint["sums"])
	}
	history := fmt.Sprint(rows[`"public"."pgbench_history"`])
	eventually(t, "the source has changed", func() bool { return c.value(t, "busy", "SELECT count(*) FROM pgbench_history") != history })

	into := providers.RestoreRequest{Action: req.Action, Domain: "busy copy", Variant: req.Variant}
	must(t, dev.Restore(t.Context(), into, art))
	if got := c.value(t, "busy copy", "SELECT count(*) FROM pgbench_history"); got != history {
		t.Errorf("the copy has %s rows of history, captured were %s", got, history)
	}
	if err := dev.Restore(t.Context(), into, art); !errors.Is(err, providers.ErrNotEmpty) {
		t.Errorf("into a database with content: got %v, want ErrNotEmpty", err)
	}
	c.exec(t, "postgres", "CREATE DATABASE prepared")
	into.Domain = "prepared"
	must(t, dev.Restore(t.Context(), into, art))

	// An empty server has neither the roles nor the database.
	other := own(t)
	into.Domain = "busy"
	must(t, other.device(t).Restore(t.Context(), into, art))
	if got := other.value(t, "busy", "SELECT tableowner FROM pg_tables WHERE tablename = 'part'"); got != "clerk" {
		t.Errorf("owner %q", got)
	}
	if got := other.value(t, "busy", "SELECT bool_or(rolcanlogin OR rolsuper) FROM pg_roles WHERE rolname IN ('clerk', 'reader')"); got != "false" {
		t.Error("a restored role may log in")
	}

	globals := string(art.Bytes("globals.sql"))
	if !strings.Contains(globals, "CREATE ROLE clerk") || strings.Contains(globals, "PASSWORD") {
		t.Errorf("globals.sql:\n%s", globals)
	}
	art, _ = capture(t, c.device(t, func(s *postgresql.Settings) { s.RolePasswords = true }), req)
	if globals := string(art.Bytes("globals.sql")); !strings.Contains(globals, "SCRAM-SHA-256") {
		t.Errorf("globals.sql with role_passwords:\n%s", globals)
	}
}

// TestRestoreFindsDifferences restores artifacts that are whole but not what their facts say.
func TestRestoreFindsDifferences(t *testing.T) {
	long(t)
	c := shared(t)
	dev := c.device(t, withSums("public.part.id"))
	art, _ := capture(t, dev, export)
	c.exec(t, "app", "CREATE TABLE added (id int)", "INSERT INTO added VALUES (1)")
	later, _ := capture(t, dev, export)
	c.exec(t, "app", "DROP TABLE added")
	exists := func(name string) string {
		return c.value(t, "postgres", "SELECT count(*) FROM pg_database WHERE datname = '"+name+"'")
	}
	into := providers.RestoreRequest{Action: export.Action, Domain: "different", Variant: export.Variant}
	changes := map[string]func(*providertest.Artifact){
		"another dump": func(a *providertest.Artifact) { a.Set("export.pgdump", later.Bytes("export.pgdump")) },
		"cut dump": func(a *providertest.Artifact) {
			b := a.Bytes("export.pgdump")
			a.Set("export.pgdump", b[:len(b)-1])
		},
		"facts": func(a *providertest.Artifact) {
			was := a.Bytes("fingerprint.json")
			changed := regexp.MustCompile(`(part_1\\"": )\d+`).ReplaceAll(was, []byte("${1}1000001"))
			if bytes.Equal(was, changed) {
				t.Fatalf("no count of part_1 in %s", was)
			}
			a.Set("fingerprint.json", changed)
		},
	}
	for _, name := range sampletest.Of(t, slices.Sorted(maps.Keys(changes)), 2) {
		change := changes[name]
		bad := art.Clone()
		change(bad)
		if err := dev.Restore(t.Context(), into, bad); !errors.Is(err, providers.ErrCorrupt) {
			t.Errorf("%s: got %v, want ErrCorrupt", name, err)
		}
		if exists("different") != "0" {
			t.Errorf("%s: a database is left", name)
		}
	}
	// An event trigger of the server changes what is restored: only the facts can tell.
	c.exec(t, "postgres", "CREATE DATABASE tampered")
	c.exec(t, "tampered", "CREATE FUNCTION public.less() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM public.part WHERE id = 7; END $$")
	into.Domain = "tampered"
	if err := dev.Restore(t.Context(), into, art); !errors.Is(err, providers.ErrNotEmpty) {
		t.Errorf("into a database with a function: got %v, want ErrNotEmpty", err)
	}
	if exists("tampered") != "1" {
		t.Error("a database that was there before is gone")
	}
	into.Domain = "different"
	if err := dev.Restore(t.Context(), into, &providertest.FaultySource{Source: art, After: 50_000}); !errors.Is(err, providertest.ErrFault) {
		t.Errorf("unreadable dump: got %v, want the fault", err)
	}
	if exists("different") != "0" {
		t.Error("unreadable dump: a database is left")
	}
	into.Domain = "all-domains"
	if err := dev.Restore(t.Context(), into, art); err == nil {
		t.Error("restored into all-domains")
	}
}

func TestHostileNames(t *testing.T) {
	long(t)
	c := shared(t)
	names := sampletest.Of(t, []string{
		"-x", "--help", `we"ird 'na\me`, "dbname=postgres user=nobody", "postgres://elsewhere/x", "ünï çödé 数", "a b", "semi;DROP", "$(id)", "%s{domain}", " lead",
	}, 3)
	dev := c.device(t)
	for _, name := range names {
		c.exec(t, "postgres", "CREATE DATABASE "+pgx.Identifier{name}.Sanitize())
		c.exec(t, name, "CREATE TABLE t AS SELECT 1 AS n")
		req := export
		req.Domain = name
		art, res := capture(t, dev, req)
		if fmt.Sprint(res.Fingerprint["rows"]) != `map["public"."t":1]` {
			t.Errorf("%q: %v", name, res.Fingerprint)
		}
		if !strings.Contains(string(art.Bytes("globals.sql")), "CREATE ROLE admin") {
			t.Errorf("%q: no globals", name)
		}
		c.exec(t, "postgres", "DROP DATABASE "+pgx.Identifier{name}.Sanitize())
		if err := dev.Restore(t.Context(), providers.RestoreRequest{Action: req.Action, Domain: name}, art); err != nil {
			t.Errorf("restore %q: %v", name, err)
		} else if got := c.value(t, name, "SELECT n FROM t"); got != "1" {
			t.Errorf("restored %q has %s", name, got)
		}
	}
	info, err := dev.Inspect(t.Context())
	must(t, err)
	for _, name := range names {
		if !slices.Contains(info.Domains, name) {
			t.Errorf("%q is not in %q", name, info.Domains)
		}
		c.exec(t, "postgres", "DROP DATABASE "+pgx.Identifier{name}.Sanitize())
	}
}

func TestInspectAndDatabases(t *testing.T) {
	c := shared(t)
	c.exec(t, "postgres", "CREATE DATABASE orders_1", "CREATE DATABASE orders_2", "CREATE DATABASE orders_t IS_TEMPLATE true")
	dev := c.device(t, func(s *postgresql.Settings) { s.Databases = []string{"orders_*", "app"} })
	info, err := dev.Inspect(t.Context())
	must(t, err)
	if want := []string{"app", "orders_1", "orders_2"}; !slices.Equal(info.Domains, want) {
		t.Errorf("domains %q, want %q", info.Domains, want)
	}
	if info.Model != "PostgreSQL" || !strings.HasPrefix(info.Build, "PostgreSQL "+info.Firmware[:2]) || len(info.Identity) < 18 {
		t.Errorf("info %+v", info)
	}
	req := export
	req.Domain = "postgres"
	if _, err := dev.Capture(t.Context(), req, new(providertest.Artifact)); !errors.Is(err, providers.ErrNotFound) {
		t.Errorf("a database that is not selected: got %v, want ErrNotFound", err)
	}
	for _, name := range []string{"orders_1", "orders_2"} {
		req.Domain = name
		capture(t, dev, req)
	}
}

func TestBadConnections(t *testing.T) {
	c := shared(t)
	c.exec(t, "postgres", "CREATE ROLE weak LOGIN PASSWORD 'weak'")
	tests := map[string]struct {
		dsn, want string
		retry     bool
	}{
		"wrong password": {c.dsn("admin", "wr0ng-c4n4ry"), "refuses the credentials", false},
		"no server":      {fmt.Sprintf("host=%s port=5999 user=admin password=wr0ng-c4n4ry", c.dir), "not reachable", true},
		"no directory":   {"host=/nonexistent user=admin password=wr0ng-c4n4ry", "not reachable", true},
		"no dsn":         {"wr0ng-c4n4ry", "neither", false},
		"certificate":    {"host=h user=u password=wr0ng-c4n4ry sslmode=verify-full sslrootcert=/nonexistent", "certificate", false},
	}
	for name, tt := range tests {
		dev := openDevice(t, tt.dsn)
		_, inspect := dev.Inspect(t.Context())
		_, capture := dev.Capture(t.Context(), export, new(providertest.Artifact))
		for _, err := range []error{inspect, capture} {
			if err == nil || !strings.Contains(err.Error(), tt.want) || providers.Retryable(err) != tt.retry {
				t.Errorf("%s: got %v, want an error with %q", name, err, tt.want)
			}
			if strings.Contains(fmt.Sprint(err), "wr0ng-c4n4ry") {
				t.Errorf("%s: the password is shown: %v", name, err)
			}
			if name != "no dsn" && name != "certificate" && !errors.Is(err, providers.ErrUnavailable) {
				t.Errorf("%s: got %v, want ErrUnavailable", name, err)
			}
		}
	}
	_, err := openDevice(t, c.dsn("weak", "weak")).Capture(t.Context(), export, new(providertest.Artifact))
	if err == nil || !strings.Contains(err.Error(), "permission denied") || !strings.Contains(err.Error(), "pg_read_all_data") {
		t.Errorf("a role without rights: got %v", err)
	}
	_, err = openDevice(t, c.dsn("weak", "weak")).Capture(t.Context(), secure, new(providertest.Artifact))
	if err == nil || !errors.Is(err, providers.ErrSourceExit) {
		t.Errorf("base backup by a role without rights: got %v", err)
	}
	c.exec(t, "postgres", "GRANT pg_read_all_data, pg_monitor TO weak")
	req := export
	req.Domain = "postgres"
	if _, err := openDevice(t, c.dsn("weak", "weak")).Capture(t.Context(), req, new(providertest.Artifact)); err != nil {
		t.Errorf("export with the rights that the hint names: %v", err)
	}
}

// tripSink calls trip once the first file has some bytes.
type tripSink struct {
	*providertest.Artifact
	trip func()
}

func (s *tripSink) Create(name string) (io.WriteCloser, error) {
	w, err := s.Artifact.Create(name)
	return &tripWriter{w, s}, err
}

type tripWriter struct {
	io.WriteCloser
	sink *tripSink
}

func (w *tripWriter) Write(b []byte) (int, error) {
	w.sink.trip()
	return w.WriteCloser.Write(b)
}

func noBackends(t *testing.T, c *cluster) {
	t.Helper()
	eventually(t, "no session of holdfast is left", func() bool {
		return c.value(t, "postgres", "SELECT count(*) FROM pg_stat_activity WHERE application_name IN ('holdfast', 'pg_dump', 'pg_basebackup', 'pg_restore')") == "0"
	})
}

func TestServerDiesInTheMiddle(t *testing.T) {
	t.Parallel()
	c := own(t)
	c.fill(t, "app", 2)
	for _, req := range []providers.CaptureRequest{export, secure} {
		art := new(providertest.Artifact)
		die := sync.OnceFunc(func() { must(t, c.pgctl("stop", "-m", "immediate")) })
		_, err := c.device(t, func(s *postgresql.Settings) { s.Compression = 0 }).Capture(t.Context(), req, &tripSink{art, die})
		if !errors.Is(err, providers.ErrSourceExit) && !errors.Is(err, providers.ErrUnavailable) || !providers.Retryable(err) {
			t.Errorf("%s: got %v, want a retryable ErrSourceExit or ErrUnavailable", req.Action, err)
		}
		if art.Bytes("fingerprint.json") != nil {
			t.Errorf("%s: the artifact looks whole", req.Action)
		}
		if _, err := c.device(t).Inspect(t.Context()); !errors.Is(err, providers.ErrUnavailable) || !providers.Retryable(err) {
			t.Errorf("inspect of a dead server: got %v", err)
		}
		c.start(t)
	}
	capture(t, c.device(t), export)
}

func TestCancelInTheMiddle(t *testing.T) {
	c := own(t)
	c.fill(t, "app", 2)
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	for _, req := range []providers.CaptureRequest{export, secure} {
		ctx, cancel := context.WithCancel(t.Context())
		art := new(providertest.Artifact)
		_, err := c.device(t, func(s *postgresql.Settings) { s.Compression = 0 }).Capture(ctx, req, &tripSink{art, cancel})
		cancel()
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v, want context.Canceled", req.Action, err)
		}
		noBackends(t, c)
		if got := c.value(t, "postgres", "SELECT count(*) FROM pg_replication_slots"); got != "0" {
			t.Errorf("%s: %s replication slots are left", req.Action, got)
		}
		left, err := os.ReadDir(temp)
		if err != nil || len(left) > 0 {
			t.Errorf("%s: left %v, %v", req.Action, left, err)
		}
	}
	// A lock that is never released holds up the capture until its time is over.
	conn := c.connect(t, "app")
	_, err := conn.Exec(t.Context(), "BEGIN; LOCK TABLE part_1")
	must(t, err)
	_, err = c.device(t, func(s *postgresql.Settings) { s.Timeout = unit.Duration(300e6) }).Capture(t.Context(), export, new(providertest.Artifact))
	if err == nil || !strings.Contains(err.Error(), "timed out after 300ms") || !strings.Contains(err.Error(), "raise timeout") {
		t.Errorf("behind a lock: got %v, want a time-out", err)
	}
	must(t, conn.Close(t.Context()))
	noBackends(t, c)
}

// TestSecretsStayAway looks at every argument list of the system, and at the environment, while programs run.
func TestSecretsStayAway(t *testing.T) {
	long(t)
	c := shared(t)
	lines := filepath.Join(t.TempDir(), "lines")
	programs, wrappers := []string{"pg_dump", "pg_dumpall", "pg_basebackup", "pg_restore"}, map[string]string{}
	for _, p := range programs { // each leaves its command line, as everybody on the machine sees it
		wrappers[p] = fmt.Sprintf("cat /proc/$$/cmdline >>'%s'; echo >>'%s'; exec %s \"$@\"", lines, lines, filepath.Join(binDir, p))
	}
	watched := fakes(t, wrappers)
	art, res := capture(t, c.device(t, watched), export)
	_, res2 := capture(t, c.device(t, watched), secure)
	for range 2 { // made, then replaced
		must(t, c.device(t, watched).Restore(t.Context(), replacing("secretly"), art))
	}
	all, err := os.ReadFile(lines)
	must(t, err)
	for _, program := range programs {
		if !strings.Contains(string(all), "/"+program+"\x00-") {
			t.Errorf("%q did not run", program)
		}
	}
	providertest.NoSecrets(t, []string{"c4n4ry"}, string(all), res, res2, string(art.Bytes("settings.json")), string(art.Bytes("fingerprint.json")), string(art.Bytes("globals.sql")))
}

// fakes makes a directory of programs that are scripts.
func fakes(t *testing.T, scripts map[string]string) func(*postgresql.Settings) {
	t.Helper()
	dir := t.TempDir()
	for name, script := range scripts {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script), 0o755))
	}
	return func(s *postgresql.Settings) { s.BinDir = dir }
}

func TestPrograms(t *testing.T) {
	c := shared(t)
	info, err := c.device(t).Inspect(t.Context())
	must(t, err)
	major, _, _ := strings.Cut(info.Firmware, ".")
	version := func(name, v string) string {
		return fmt.Sprintf("case \"$1\" in --version) echo '%s (PostgreSQL) %s'; exit 0;; esac\n", name, v)
	}
	dumpAll := version("pg_dumpall", major+".1") + "echo globals"
	tests := map[string]struct {
		scripts map[string]string
		req     providers.CaptureRequest
		is      error
		want    string
	}{
		"too old":        {map[string]string{"pg_dump": version("pg_dump", "13.1")}, export, nil, "the server is PostgreSQL " + major + " and needs pg_dump of version " + major + " or newer, but"},
		"old basebackup": {map[string]string{"pg_basebackup": version("pg_basebackup", "99devel")}, secure, nil, "postgresql-client-" + major},
		"none":           {nil, export, providers.ErrUnavailable, "postgresql-client-" + major},
		"no version":     {map[string]string{"pg_dump": "echo hello"}, export, providers.ErrUnavailable, "does not tell the version"},
		"fails": {map[string]string{"pg_dump": version("pg_dump", major) + "echo PGDMP...; echo bad thing >&2; exit 3", "pg_dumpall": dumpAll}, export,
			providers.ErrSourceExit, "exit code 3: bad thing"},
		"shows the password": {map[string]string{"pg_dump": version("pg_dump", major) + `sed 's/\\\\/\\/g; s/\\:/:/g' $PGPASSFILE >&2; exit 3`, "pg_dumpall": dumpAll}, export,
			providers.ErrSourceExit, "[redacted]"},
		"writes nothing": {map[string]string{"pg_dump": version("pg_dump", major), "pg_dumpall": dumpAll}, export, providers.ErrTooSmall, "empty"},
		"no archive":     {map[string]string{"pg_basebackup": version("pg_basebackup", major) + "echo hello"}, secure, providers.ErrCorrupt, "archive"},
		"archive is cut": {map[string]string{"pg_basebackup": version("pg_basebackup", major) + filepath.Join(binDir, "pg_basebackup") + ` "$@" | head -c 3000000`}, secure, providers.ErrCorrupt, "archive"},
		"globals fail":   {map[string]string{"pg_dump": version("pg_dump", major) + "echo x", "pg_dumpall": version("pg_dumpall", major) + "exit 1"}, export, providers.ErrSourceExit, "exit code 1"},
		"is killed":      {map[string]string{"pg_dump": version("pg_dump", major) + "echo x; kill -9 $$", "pg_dumpall": dumpAll}, export, providers.ErrSourceExit, "signal 9"},
	}
	for _, name := range sampletest.Of(t, slices.Sorted(maps.Keys(tests)), 6) {
		tt := tests[name]
		t.Run(name, func(t *testing.T) {
			art := new(providertest.Artifact)
			_, err := c.device(t, fakes(t, tt.scripts)).Capture(t.Context(), tt.req, art)
			if err == nil || !strings.Contains(err.Error(), tt.want) || tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("got %v, want %v with %q", err, tt.is, tt.want)
			}
			if strings.Contains(fmt.Sprint(err), "c4n4ry") {
				t.Errorf("the password is shown: %v", err)
			}
			if art.Bytes("fingerprint.json") != nil {
				t.Error("the artifact looks whole")
			}
		})
	}
	noisy := fakes(t, map[string]string{
		"pg_dump":    version("pg_dump", "99.1") + "echo PGDMP; echo 'pg_dump: warning: circular foreign keys' >&2",
		"pg_dumpall": version("pg_dumpall", major) + "echo globals",
	})
	_, res := capture(t, c.device(t, noisy), export)
	if len(res.Warnings) != 2 || !strings.Contains(res.Warnings[0], "circular") || !strings.Contains(res.Warnings[1], "99.1") {
		t.Errorf("warnings %q, want pg_dump's and one about its version", res.Warnings)
	}
	if _, res := capture(t, c.device(t, func(s *postgresql.Settings) { s.BinDir = "" }), export); !strings.Contains(res.Tool, " "+major+".") {
		t.Errorf("without bin_dir %q is used", res.Tool)
	}
}

func TestUnsaved(t *testing.T) {
	t.Parallel()
	c := own(t)
	dev := c.device(t)
	unsaved := func() bool {
		t.Helper()
		st, err := dev.DomainState(t.Context(), providers.AllDomains)
		must(t, err)
		if st.Quiesce != providers.QuiesceImpossible {
			t.Errorf("quiesce state %s without the setting", st.Quiesce)
		}
		return st.Unsaved
	}
	conf := filepath.Join(c.data, "postgresql.conf")
	add := func(line string) {
		t.Helper()
		f, err := os.OpenFile(conf, os.O_APPEND|os.O_WRONLY, 0)
		must(t, err)
		_, err = f.WriteString(line + "\n")
		must(t, errors.Join(err, f.Close()))
	}
	if unsaved() {
		t.Error("a new server has unsaved changes")
	}
	add("work_mem = '9MB'")
	if !unsaved() {
		t.Error("a change that was not reloaded is not seen")
	}
	c.exec(t, "postgres", "SELECT pg_reload_conf()")
	eventually(t, "the reload is seen", func() bool { return !unsaved() })
	add("max_connections = 77\nprimary_conninfo = 'host=h password=t0psecret user=u'")
	c.exec(t, "postgres", "SELECT pg_reload_conf()")
	eventually(t, "the needed restart is seen", unsaved)

	settings := func(variant providers.Variant) (doc struct {
		Variant  string
		Settings map[string]string
		Pending  []struct{ Name, File, Running string }
	}) {
		req := export
		req.Domain, req.Variant = "postgres", variant
		art, _ := capture(t, dev, req)
		b := art.Bytes("settings.json")
		must(t, json.Unmarshal(b, &doc))
		if strings.Contains(string(b), "t0psecret") {
			t.Error("a password is in settings.json")
		}
		return doc
	}
	saved, running := settings(providers.Persisted), settings(providers.Nonpersisted)
	if saved.Settings["max_connections"] != "77" || running.Settings["max_connections"] != "100" || saved.Variant != "persisted" || running.Variant != "nonpersisted" {
		t.Errorf("saved %v\nrunning %v", saved, running)
	}
	if len(saved.Pending) != 1 || saved.Pending[0].Name != "max_connections" || saved.Pending[0].File != "77" || saved.Pending[0].Running != "100" {
		t.Errorf("pending %v", saved.Pending)
	}
	if saved.Settings["work_mem"] != "9MB" || running.Settings["work_mem"] != "9MB" {
		t.Errorf("work_mem %q, %q", saved.Settings["work_mem"], running.Settings["work_mem"])
	}
}
