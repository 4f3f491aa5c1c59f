package postgresql_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dr/holdfast/config/unit"
	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/postgresql"
	"github.com/holdfast-dr/holdfast/providers/providertest"
)

// drop removes databases and roles of one test from the shared server, before and after it.
func (c *cluster) drop(t *testing.T, roles string, databases ...string) {
	t.Helper()
	drop := func() {
		for _, name := range databases {
			c.exec(t, "postgres", `DROP DATABASE IF EXISTS "`+name+`" WITH (FORCE)`)
		}
		if roles != "" {
			c.exec(t, "postgres", "DROP ROLE IF EXISTS "+roles)
		}
	}
	drop()
	t.Cleanup(drop)
}

func captureOf(t *testing.T, dev providers.Device, database string) (*providertest.Artifact, providers.CaptureResult) {
	t.Helper()
	req := export
	req.Domain = database
	return capture(t, dev, req)
}

// putBack puts an export into a database and gives the warnings.
func putBack(t *testing.T, dev providers.Device, database string, src providers.Source) (warnings []string) {
	t.Helper()
	req := replacing(database)
	req.Replace, req.Warn = false, func(text string) { warnings = append(warnings, text) }
	must(t, dev.Restore(t.Context(), req, src))
	return warnings
}

func has(texts []string, parts ...string) bool {
	return slices.ContainsFunc(texts, func(text string) bool {
		return !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(text, part) })
	})
}

// watchedSource calls look while the dump is read.
type watchedSource struct {
	providers.Source
	look func()
}

func (s watchedSource) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	if name == "export.pgdump" {
		s.look()
	}
	return s.Source.Open(ctx, name)
}

// TestDatabaseIsAsItWas: what belongs to a database itself comes back where there is none, and nobody may connect before.
func TestDatabaseIsAsItWas(t *testing.T) {
	long(t)
	c := shared(t)
	c.drop(t, "own_reader, own_gone, own_chief", "own", "own copy", "own old")
	c.exec(t, "postgres", "CREATE ROLE own_reader LOGIN", "CREATE ROLE own_gone LOGIN", "CREATE ROLE own_chief", "CREATE DATABASE own OWNER own_chief CONNECTION LIMIT 20",
		"REVOKE ALL ON DATABASE own FROM PUBLIC", "GRANT CONNECT ON DATABASE own TO own_reader WITH GRANT OPTION", "GRANT TEMPORARY ON DATABASE own TO own_gone",
		"COMMENT ON DATABASE own IS 'it''s own'", "ALTER DATABASE own SET search_path = app, public", "ALTER DATABASE own SET default_transaction_read_only = on",
		"ALTER ROLE own_reader IN DATABASE own SET work_mem = '64MB'", "ALTER ROLE own_gone IN DATABASE own SET temp_tablespaces = ''",
		"SET allow_system_table_mods = on; INSERT INTO pg_shseclabel SELECT oid, 'pg_database'::regclass, 'no such', 'secret' FROM pg_database WHERE datname = 'own'")
	t.Cleanup(func() { c.exec(t, "postgres", "SET allow_system_table_mods = on; DELETE FROM pg_shseclabel") })
	dev, want := c.device(t), c.properties(t, "own")
	art, _ := captureOf(t, dev, "own")

	looked := 0
	warnings := putBack(t, dev, "own copy", watchedSource{art, func() {
		looked++
		if got := c.value(t, "postgres", "SELECT datconnlimit || ' ' || has_database_privilege('own_reader', oid, 'CONNECT') FROM pg_database WHERE datname = '"+
			postgresql.NewName("own copy")+"'"); got != "0 false" {
			t.Errorf("while it is loaded: limit and right to connect are %s", got)
		}
	}})
	if got := c.properties(t, "own copy"); got != want || looked == 0 {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if len(warnings) != 1 || !has(warnings, "security label of no such") {
		t.Errorf("warnings %q, want one of the label, whose library is not there", warnings)
	}
	// In the name of roles that are not there.
	c.exec(t, "postgres", `DROP DATABASE own`, `DROP DATABASE "own copy"`, "DROP ROLE own_gone, own_chief")
	warnings = putBack(t, dev, "own", art)
	if got := c.properties(t, "own"); got != want {
		t.Errorf("with roles that were missing: got\n%s\nwant\n%s", got, want)
	}
	if !has(warnings, "without login", "own_chief", "own_gone") || c.value(t, "postgres", "SELECT rolcanlogin FROM pg_roles WHERE rolname = 'own_gone'") != "false" {
		t.Errorf("warnings %q, want the roles that were made", warnings)
	}

	// An artifact that does not know who may connect.
	old := art.Clone()
	b, err := postgresql.WithoutProperties(art.Bytes("fingerprint.json"))
	must(t, err)
	old.Set("fingerprint.json", b)
	warnings = putBack(t, dev, "own old", old)
	if got := c.value(t, "postgres", `SELECT has_database_privilege('own_reader', 'own old', 'CONNECT')`); got != "false" || !has(warnings, "GRANT CONNECT") {
		t.Errorf("of an older artifact: may connect %s, warnings %q", got, warnings)
	}
	c.exec(t, "postgres", `DROP DATABASE "own old"`, `CREATE DATABASE "own old"`)
	if warnings = putBack(t, dev, "own old", art); !has(warnings, "keeps", "access rights, connection limit, comment, settings") {
		t.Errorf("into an empty database: warnings %q", warnings)
	}
}

// TestNotASuperuser: a role that may make databases, and no roles, restores what it can, into absent databases and in place.
func TestNotASuperuser(t *testing.T) {
	long(t)
	c := shared(t)
	c.drop(t, "plain_app, plain_gone, plain_other", "plain", "plain_copy", "plain_foreign")
	c.exec(t, "postgres", "CREATE ROLE plain_app LOGIN CREATEDB PASSWORD 'x'", "CREATE ROLE plain_gone", "CREATE ROLE plain_other", "CREATE DATABASE plain OWNER plain_app",
		"GRANT CREATE ON DATABASE plain TO plain_gone", "ALTER ROLE plain_gone IN DATABASE plain SET work_mem = '1MB'", "GRANT pg_signal_backend TO plain_app")
	c.exec(t, "plain", "SET ROLE plain_app", "CREATE TABLE t AS SELECT 1 AS n")
	dev := openDevice(t, c.dsn("plain_app", "x"))
	art, _ := captureOf(t, dev, "plain")
	if warnings := putBack(t, dev, "plain_copy", art); len(warnings) != 1 || !has(warnings, "work_mem of plain_gone", "permission denied") {
		t.Errorf("warnings %q", warnings)
	}
	c.exec(t, "postgres", "ALTER ROLE plain_gone IN DATABASE plain RESET ALL", "ALTER ROLE plain_gone IN DATABASE \"plain_copy\" RESET ALL")
	must(t, dev.Restore(t.Context(), replacing("plain_copy"), art))
	for _, name := range c.names(t, "plain_copy_replaced_%") {
		c.exec(t, "postgres", `DROP DATABASE "`+name+`"`)
	}
	c.exec(t, "postgres", `DROP DATABASE "plain_copy"`, "ALTER DATABASE plain OWNER TO plain_other")
	art, _ = captureOf(t, c.device(t), "plain")
	for _, name := range c.names(t, "plain%") {
		c.exec(t, "postgres", `DROP DATABASE "`+name+`" WITH (FORCE)`)
	}
	c.exec(t, "postgres", "DROP ROLE plain_gone, plain_other")
	if warnings := putBack(t, dev, "plain_foreign", art); !has(warnings, "may not make the roles", "plain_gone", "plain_other") {
		t.Errorf("warnings %q", warnings)
	}
	if got := c.value(t, "postgres", `SELECT pg_get_userbyid(datdba) || has_database_privilege('plain_app', oid, 'CONNECT') FROM pg_database WHERE datname = 'plain_foreign'`); got != "plain_apptrue" {
		t.Errorf("owner and right to connect: %s", got)
	}
}

// TestFactsNeedThePath: what needs the database's own search path is read with it; what cannot be read costs the fact, not the export.
func TestFactsNeedThePath(t *testing.T) {
	long(t)
	c := shared(t)
	c.drop(t, "", "paths", "paths copy")
	c.exec(t, "postgres", "CREATE DATABASE paths", "ALTER DATABASE paths SET search_path = app, public")
	c.exec(t, "paths", "CREATE SCHEMA app", "SET search_path = app", "CREATE FUNCTION bare(t text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT lower(t)'",
		"CREATE FUNCTION slug(t text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT bare(t)'",
		"CREATE TABLE p (n text)", "INSERT INTO p VALUES ('A')", "CREATE TABLE q (n text)", "CREATE TABLE counted AS SELECT 1")
	dev := c.device(t, withSums("app.p.n"))
	art, _ := captureOf(t, dev, "paths")
	if warnings := putBack(t, dev, "paths copy", art); len(warnings) > 0 {
		t.Error(warnings)
	}
	c.exec(t, "paths", "SET search_path = app", "CREATE INDEX ON p (slug(n))")
	_, res := captureOf(t, dev, "paths")
	rows, _ := res.Fingerprint["rows"].(map[string]int64)
	if len(res.Warnings) > 0 || rows[`"app"."p"`] != 1 || len(rows) != 3 {
		t.Errorf("rows %v, warnings %q", rows, res.Warnings)
	}
	c.exec(t, "paths", "SET search_path = app", "CREATE INDEX ON q (slug(n))", "ALTER FUNCTION bare RENAME TO other")
	_, res = captureOf(t, dev, "paths")
	rows, _ = res.Fingerprint["rows"].(map[string]int64)
	if len(res.Warnings) != 3 || !has(res.Warnings, `"app"."q"`, "counted", "bare") || !has(res.Warnings, "summed") || len(rows) != 1 {
		t.Errorf("rows %v, warnings %q", rows, res.Warnings)
	}
}

// TestLockedTable: a table that somebody has locked ends the wait in time, with a name.
func TestLockedTable(t *testing.T) {
	c := shared(t)
	c.drop(t, "", "locked")
	c.exec(t, "postgres", "CREATE DATABASE locked")
	c.exec(t, "locked", "CREATE TABLE held (n int)", "CREATE MATERIALIZED VIEW seen AS SELECT 1 AS n", "CREATE TABLE parts (n int) PARTITION BY RANGE (n)")
	dev := c.device(t, func(s *postgresql.Settings) { s.LockTimeout = unit.Duration(200 * time.Millisecond) })
	holder := c.connect(t, "locked")
	for _, statement := range []string{"LOCK TABLE held", "REFRESH MATERIALIZED VIEW seen", "LOCK TABLE parts"} {
		_, err := holder.Exec(t.Context(), "BEGIN; "+statement)
		must(t, err)
		req := export
		req.Domain = "locked"
		_, err = dev.Capture(t.Context(), req, new(providertest.Artifact))
		for _, part := range []string{"200ms", "public." + statement[strings.LastIndex(statement, " ")+1:], fmt.Sprintf("session %d of user admin", holder.PgConn().PID()), "lock_timeout"} {
			if err == nil || !strings.Contains(err.Error(), part) || !providers.Retryable(err) {
				t.Errorf("%s: got %v, want %q", statement, err, part)
			}
		}
		_, err = holder.Exec(t.Context(), "ROLLBACK")
		must(t, err)
	}
	captureOf(t, dev, "locked")
}

// TestQueueBehindTheExport: who asks for a table between the locks of the export and those of pg_dump makes everybody wait, pg_dump too. The
// export gives way.
func TestQueueBehindTheExport(t *testing.T) {
	c := shared(t)
	c.drop(t, "", "queued")
	c.exec(t, "postgres", "CREATE DATABASE queued")
	c.exec(t, "queued", "CREATE TABLE wanted (n int)")
	asks := c.connect(t, "queued")
	asked := make(chan error, 1)
	waits := func() bool {
		return c.value(t, "queued", "SELECT count(*) FROM pg_locks WHERE relation = 'wanted'::regclass AND NOT granted") != "0"
	}
	begun := filepath.Join(t.TempDir(), "begun")
	slow := fakes(t, map[string]string{
		"pg_dump":    fmt.Sprintf("case $1 in --version) ;; *) touch %[1]s; while [ -e %[1]s ]; do sleep 0.02; done;; esac; exec %[2]s \"$@\"", begun, filepath.Join(binDir, "pg_dump")),
		"pg_dumpall": fmt.Sprintf("exec %s \"$@\"", filepath.Join(binDir, "pg_dumpall")),
	})
	dev := c.device(t, slow, func(s *postgresql.Settings) { s.LockTimeout = unit.Duration(200 * time.Millisecond) })
	captured := make(chan error, 1)
	go func() {
		req := export
		req.Domain = "queued"
		_, err := dev.Capture(context.Background(), req, new(providertest.Artifact))
		captured <- err
	}()
	eventually(t, "pg_dump begins", func() bool {
		_, err := os.Stat(begun)
		return err == nil
	})
	go func() {
		_, err := asks.Exec(context.Background(), "ALTER TABLE wanted ADD m int")
		asked <- err
	}()
	eventually(t, "somebody waits for the export", waits)
	must(t, os.Remove(begun))
	if err := <-captured; err == nil || !strings.Contains(err.Error(), "waits to lock public.wanted") || !providers.Retryable(err) {
		t.Errorf("got %v", err)
	}
	must(t, <-asked)
}

// TestMissedDatabases: a database that is asked for and cannot be a domain is told, not forgotten.
func TestMissedDatabases(t *testing.T) {
	long(t)
	c := shared(t)
	c.drop(t, "", "all-domains", "reserved")
	c.exec(t, "postgres", `CREATE DATABASE "all-domains"`, "CREATE DATABASE reserved")
	if _, res := captureOf(t, c.device(t), "reserved"); !has(res.Warnings, `"all-domains"`, "rename") {
		t.Errorf("warnings %q", res.Warnings)
	}
	named := c.device(t, func(s *postgresql.Settings) { s.Databases = []string{"reserv*"} })
	if _, res := captureOf(t, named, "reserved"); len(res.Warnings) > 0 {
		t.Errorf("warnings %q of a database that is not asked for", res.Warnings)
	}
	named = c.device(t, func(s *postgresql.Settings) { s.Databases = []string{"reserv*", "no such", "template1", "gone_*"} })
	if _, res := captureOf(t, named, "reserved"); len(res.Warnings) != 3 || !has(res.Warnings, `"no such"`) ||
		!has(res.Warnings, `"template1"`, "template") || !has(res.Warnings, `"gone_*"`) {
		t.Errorf("warnings %q", res.Warnings)
	}
	req := export
	req.Domain = providers.AllDomains
	if _, err := c.device(t).Capture(t.Context(), req, new(providertest.Artifact)); !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "rename") {
		t.Errorf("got %v", err)
	}
}

// TestFaultyDump: a dump with faults of its own loads as far as it can when that is asked for, into a new database.
func TestFaultyDump(t *testing.T) {
	long(t)
	c := shared(t)
	c.drop(t, "", "faulty", "faulty copy")
	c.exec(t, "postgres", "CREATE DATABASE faulty")
	c.exec(t, "faulty", "CREATE TABLE par (id int PRIMARY KEY)", "CREATE TABLE chi (id int REFERENCES par)", "CREATE TABLE good AS SELECT 1 AS n",
		"INSERT INTO par VALUES (1)", "INSERT INTO chi VALUES (1)", "SET session_replication_role = replica", "DELETE FROM par",
		"CREATE FUNCTION bare(n int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT n'",
		"CREATE FUNCTION slug(n int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT bare(n)'", "CREATE INDEX slugs ON good (slug(n))",
		"CREATE FUNCTION found() RETURNS SETOF good LANGUAGE sql AS 'SELECT * FROM good'", "CREATE MATERIALIZED VIEW seen AS SELECT n FROM found()",
		"CREATE FUNCTION big(n int) RETURNS bool LANGUAGE sql AS 'SELECT n > 5'", "CREATE TABLE checked (n int)", "INSERT INTO checked VALUES (1)",
		"ALTER TABLE checked ADD CHECK (big(n)) NOT VALID")
	dev := c.device(t)
	art, _ := captureOf(t, dev, "faulty")
	var warnings []string
	req := providers.RestoreRequest{Action: export.Action, Domain: "faulty copy", Warn: func(text string) { warnings = append(warnings, text) }}
	err := dev.Restore(t.Context(), req, art)
	if err == nil || !strings.Contains(err.Error(), "slugs") && !strings.Contains(err.Error(), "chi") || !strings.Contains(err.Error(), "--lenient") || providers.Retryable(err) {
		t.Errorf("strict: got %v", err)
	}
	if left := c.names(t, "faulty copy"); len(left) > 0 {
		t.Errorf("strict: left %q", left)
	}
	req.Lenient = true
	must(t, dev.Restore(t.Context(), req, art))
	if !has(warnings, "not loaded: ALTER TABLE ONLY public.chi ADD CONSTRAINT chi_id_fkey", "is not present") || !has(warnings, "CREATE INDEX slugs") ||
		!has(warnings, "REFRESH MATERIALIZED VIEW public.seen") {
		t.Errorf("warnings %q", warnings)
	}
	if got := c.value(t, "faulty copy", "SELECT count(*) FROM good, chi"); got != "1" {
		t.Errorf("%s rows in what is good", got)
	}
	if err := dev.Restore(t.Context(), req, art); !errors.Is(err, providers.ErrNotEmpty) {
		t.Errorf("into a database that is there: got %v", err)
	}
	bad := art.Clone()
	dump := bad.Bytes("export.pgdump")
	bad.Set("export.pgdump", append(slices.Clone(dump[:len(dump)-9]), dump[len(dump)-8:]...))
	req.Domain = "faulty damaged"
	if err := dev.Restore(t.Context(), req, bad); !errors.Is(err, providers.ErrCorrupt) || len(c.names(t, "faulty damaged")) > 0 {
		t.Errorf("of a damaged dump: got %v", err)
	}
}
