package postgresql_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/holdfast-dr/holdfast/config/sampletest"
	"github.com/holdfast-dr/holdfast/config/unit"
	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/postgresql"
	"github.com/holdfast-dr/holdfast/providers/providertest"
)

func replacing(name string) providers.RestoreRequest {
	return providers.RestoreRequest{Action: export.Action, Domain: name, Variant: export.Variant, Replace: true}
}

// properties is everything that belongs to a database's name.
func (c *cluster) properties(t *testing.T, name string) string {
	t.Helper()
	return c.value(t, "template1", `SELECT concat_ws(E'\n', pg_get_userbyid(datdba), datconnlimit, shobj_description(d.oid, 'pg_database'), t.spcname,
		(SELECT string_agg(concat_ws(' ', privilege_type, CASE grantee WHEN 0 THEN 'public' ELSE pg_get_userbyid(grantee) END, is_grantable), E'\n' ORDER BY privilege_type, pg_get_userbyid(grantee))
			FROM aclexplode(coalesce(datacl, acldefault('d', datdba)))),
		(SELECT string_agg(concat_ws(' ', CASE setrole WHEN 0 THEN '' ELSE pg_get_userbyid(setrole) END, setconfig::text), E'\n' ORDER BY pg_get_userbyid(setrole))
			FROM pg_db_role_setting WHERE setdatabase = d.oid))
		FROM pg_database d JOIN pg_tablespace t ON t.oid = dattablespace WHERE datname = '`+name+`'`)
}

func (c *cluster) names(t *testing.T, like string) []string {
	t.Helper()
	return strings.Fields(c.value(t, "template1", "SELECT coalesce(string_agg(datname, ' ' ORDER BY datname), '') FROM pg_database WHERE datname LIKE '"+like+"'"))
}

const history = "SELECT count(*) FROM pgbench_history"

// TestReplace puts an older state in the place of a database that people write to all the time.
func TestReplace(t *testing.T) {
	long(t)
	t.Parallel()
	c := own(t)
	c.fill(t, "live", 2)
	space := filepath.Join(c.dir, "space")
	must(t, os.Mkdir(space, 0o700))
	give(t, space)
	c.exec(t, "postgres", "CREATE ROLE keeper", `CREATE ROLE "odd ""role" LOGIN`, "CREATE TABLESPACE far LOCATION '"+space+"'")
	c.exec(t, "live", "CREATE SCHEMA \"a,b\"", `ALTER DATABASE live SET search_path TO "odd ""schema""", public, "a,b"`, "ALTER DATABASE live SET work_mem TO '9MB'",
		`ALTER DATABASE live SET "my.own" TO E'it''s \\ 1'`, `ALTER ROLE "odd ""role" IN DATABASE live SET lock_timeout TO '7s'`,
		"SELECT set_config('search_path', '', false)", "ALTER ROLE keeper IN DATABASE live SET search_path FROM CURRENT",
		"ALTER DATABASE live CONNECTION LIMIT 77", "COMMENT ON DATABASE live IS 'the shop''s %s'", "ALTER DATABASE live OWNER TO keeper",
		"REVOKE ALL ON DATABASE live FROM PUBLIC", `GRANT CONNECT ON DATABASE live TO "odd ""role" WITH GRANT OPTION`)
	c.exec(t, "postgres", "ALTER DATABASE live SET TABLESPACE far")
	dev := c.device(t, withSums("public.pgbench_accounts.abalance"))
	req := export
	req.Domain = "live"
	art, _ := capture(t, dev, req)
	want, before := c.value(t, "live", history), c.properties(t, "live")
	if !strings.Contains(before, `my.own`) || !strings.Contains(before, "CONNECT odd \"role t") || !strings.Contains(before, "far") {
		t.Fatalf("the database is not as odd as it should be: %s", before)
	}
	stop := c.write(t, "live")

	req2 := replacing("live")
	req2.Replace = false
	if err := dev.Restore(t.Context(), req2, art); !errors.Is(err, providers.ErrNotEmpty) || !strings.Contains(err.Error(), "replaced") {
		t.Errorf("without being allowed to replace: got %v, want ErrNotEmpty with a hint", err)
	}
	must(t, dev.Restore(t.Context(), replacing("live"), art))
	stop()
	if got := c.value(t, "live", history); got != want {
		t.Errorf("%s rows of history, captured were %s", got, want)
	}
	if after := c.properties(t, "live"); after != before {
		t.Errorf("the database was\n%s\nand is now\n%s", before, after)
	}
	if got := c.value(t, "live", "SELECT count(*) > 0 FROM pg_statistic"); got != "true" {
		t.Error("there are no statistics")
	}
	kept := c.names(t, "live_replaced_%")
	if len(kept) != 1 || len(c.names(t, "holdfast%")) > 0 {
		t.Fatalf("kept %q, beside are %q", kept, c.names(t, "holdfast%"))
	}
	info, err := dev.Inspect(t.Context())
	must(t, err)
	if fmt.Sprint(info.Domains) != "[live postgres]" {
		t.Errorf("domains %q", info.Domains)
	}
	c.exec(t, "postgres", "ALTER DATABASE "+kept[0]+" ALLOW_CONNECTIONS true")
	if got := c.value(t, kept[0], history); got == want {
		t.Error("the replaced database does not have what was written since the capture")
	}

	// A database of default rights, and another one's content; the replaced one is dropped.
	c.exec(t, "postgres", "CREATE DATABASE plain")
	c.exec(t, "plain", "CREATE TABLE mine (id int)")
	before = c.properties(t, "plain")
	c.exec(t, "postgres", "CREATE DATABASE "+postgresql.OldName("plain"), "CREATE DATABASE "+postgresql.NewName("plain")) // of a crash
	dropping := c.device(t, func(s *postgresql.Settings) { s.DropReplaced = true })
	if info, err := dropping.Inspect(t.Context()); err != nil || strings.Contains(fmt.Sprint(info.Domains), "holdfast") {
		t.Errorf("domains %q, %v: what a crash left is no domain", info.Domains, err)
	}
	must(t, dropping.Restore(t.Context(), replacing("plain"), art))
	if after := c.properties(t, "plain"); after != before || c.value(t, "plain", history) != want {
		t.Errorf("the database was\n%s\nand is now\n%s", before, after)
	}
	if left := append(c.names(t, "plain_%"), c.names(t, "holdfast%")...); len(left) > 0 {
		t.Errorf("left are %q", left)
	}
	// The database of the dsn itself, in a cluster that is quiesced, and one that is absent.
	ro := c.device(t, readOnly)
	must(t, ro.Quiesce(t.Context(), providers.AllDomains, 0))
	must(t, ro.Restore(t.Context(), replacing("postgres"), art))
	must(t, ro.Restore(t.Context(), replacing("absent"), art))
	must(t, ro.Unquiesce(t.Context(), providers.AllDomains))
	for _, name := range []string{"postgres", "absent"} {
		if got := c.value(t, name, history); got != want {
			t.Errorf("%s has %s rows of history, captured were %s", name, got, want)
		}
	}
	if len(c.names(t, "postgres_replaced_%")) != 1 || len(c.names(t, "absent_%")) != 0 {
		t.Errorf("databases %q", c.names(t, "%"))
	}
}

// TestReplaceRepeated: a restore is known by its ID below the database's comment, whether it took a place or found none, and one
// that died before it dropped what it replaced is finished.
func TestReplaceRepeated(t *testing.T) {
	long(t)
	t.Parallel()
	c := own(t)
	c.fill(t, "live", 1)
	dev := c.device(t, func(s *postgresql.Settings) { s.DropReplaced = true })
	req := export
	req.Domain = "live"
	art, _ := capture(t, dev, req)
	c.exec(t, "postgres", "COMMENT ON DATABASE live IS 'the shop'", "CREATE DATABASE vacant")
	for name, replace := range map[string]bool{"live": true, "absent": false, "vacant": false} {
		req := replacing(name)
		req.Replace, req.ID = replace, "it's 1"
		before := ""
		if name != "absent" {
			before = c.properties(t, name)
		}
		must(t, dev.Restore(t.Context(), req, art))
		if got := c.properties(t, name); !strings.Contains(got, "holdfast") || !strings.Contains(got, req.ID) {
			t.Errorf("%s has no mark: %s", name, got)
		}
		c.exec(t, name, "INSERT INTO pgbench_history (delta) VALUES (7)")
		if name == "live" { // it died before it dropped this
			c.exec(t, "postgres", "CREATE DATABASE "+postgresql.OldName("live"))
		}
		must(t, dev.Restore(t.Context(), req, art))
		if got := c.value(t, name, history); got != "1" {
			t.Errorf("%s has %s rows of history after the repetition, 1 was written", name, got)
		}
		must(t, dev.Forget(t.Context(), req))
		after := c.properties(t, name)
		if strings.Contains(after, "holdfast") || before != "" && after != before {
			t.Errorf("%s was\n%s\nand is now\n%s", name, before, after)
		}
		if err := dev.Restore(t.Context(), req, art); replace == errors.Is(err, providers.ErrNotEmpty) {
			t.Errorf("%s when it is forgotten: got %v", name, err)
		}
	}
	if left := append(c.names(t, "holdfast%"), c.names(t, "%_replaced_%")...); len(left) > 0 {
		t.Errorf("left are %q", left)
	}
}

// TestReplaceFails makes sure that the old database is what it was, and that nothing is left beside it.
func TestReplaceFails(t *testing.T) {
	long(t)
	t.Parallel()
	c := own(t)
	c.fill(t, "live", 1)
	dev := c.device(t)
	req := export
	req.Domain = "live"
	art, _ := capture(t, dev, req)
	c.exec(t, "live", "CREATE TABLE newer (id int)")
	session := c.connect(t, "live")
	before := c.value(t, "postgres", "SELECT oid FROM pg_database WHERE datname = 'live'")
	cut, other := art.Clone(), art.Clone()
	b := art.Bytes("export.pgdump")
	cut.Set("export.pgdump", b[:len(b)-1])
	facts, err := postgresql.Miscount(art.Bytes("fingerprint.json"))
	must(t, err)
	other.Set("fingerprint.json", facts)
	newer, err := postgresql.OfVersion(art.Bytes("fingerprint.json"), 990000)
	must(t, err)
	future := art.Clone()
	future.Set("fingerprint.json", newer)

	check := func(name, into string, src providers.Source, is error, want string) {
		t.Helper()
		err := dev.Restore(t.Context(), replacing(into), src)
		if err == nil || is != nil && !errors.Is(err, is) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %v with %q", name, err, is, want)
		}
		if got := c.value(t, "postgres", "SELECT oid FROM pg_database WHERE datname = 'live'"); got != before {
			t.Errorf("%s: the database is another", name)
		}
		if err := session.Ping(t.Context()); err != nil {
			t.Errorf("%s: a session was ended: %v", name, err)
		}
		if left := append(c.names(t, "holdfast%"), c.names(t, "live_%")...); len(left) > 0 {
			t.Errorf("%s: left are %q", name, left)
		}
	}
	check("cut dump", "live", cut, providers.ErrCorrupt, "")
	for _, name := range sampletest.Of(t, []string{"globals.sql", "settings.json", "fingerprint.json"}, 1) {
		bad := art.Clone()
		b := art.Bytes(name)
		bad.Set(name, b[:len(b)-1])
		check("cut "+name, "live", bad, providers.ErrCorrupt, "")
	}
	check("other facts", "live", other, providers.ErrCorrupt, "not what was captured")
	check("unreadable dump", "live", &providertest.FaultySource{Source: art, After: 50_000}, providertest.ErrFault, "")
	check("export of a newer server", "live", future, nil, "version mismatch")
	check("a template", "template1", art, errors.ErrUnsupported, "template")
	c.exec(t, "postgres", "CREATE ROLE weak LOGIN PASSWORD 'weak'")
	dev = openDevice(t, c.dsn("weak", "weak"))
	check("a role without rights", "live", art, nil, "permission denied")
}

func TestReplaceRefusesWhatStaysBehind(t *testing.T) {
	long(t)
	t.Parallel()
	c := own(t)
	must(t, c.pgctl("stop", "-m", "fast"))
	c.startWith(t, "-c wal_level=logical -c max_prepared_transactions=3")
	c.fill(t, "live", 1)
	req := export
	req.Domain = "live"
	dev := c.device(t)
	art, _ := capture(t, dev, req)
	c.exec(t, "live", "SELECT pg_create_logical_replication_slot('consumer', 'pgoutput')", "CREATE SUBSCRIPTION feed CONNECTION 'host=/nonexistent' PUBLICATION p WITH (connect = false)",
		"BEGIN; INSERT INTO fast VALUES (3); PREPARE TRANSACTION 'two phases'")
	for _, remove := range []struct{ what, by string }{
		{"the prepared transaction 'two phases'", "ROLLBACK PREPARED 'two phases'"},
		{"the replication slot consumer", "SELECT pg_drop_replication_slot('consumer')"},
		{"the subscription feed", "ALTER SUBSCRIPTION feed SET (slot_name = NONE); DROP SUBSCRIPTION feed"},
	} {
		if err := dev.Restore(t.Context(), replacing("live"), art); err == nil || !strings.Contains(err.Error(), remove.what) {
			t.Errorf("got %v, want a refusal because of %s", err, remove.what)
		}
		for q := range strings.SplitSeq(remove.by, "; ") {
			c.exec(t, "live", q)
		}
	}
	must(t, dev.Restore(t.Context(), replacing("live"), art))
}

// TestReplaceKilled kills the program, with SIGKILL, in the middle of a restore, and runs it again.
func TestReplaceKilled(t *testing.T) {
	long(t)
	t.Parallel()
	c := own(t)
	c.fill(t, "live", 2)
	req := export
	req.Domain = "live"
	art, _ := capture(t, c.device(t), req)
	c.exec(t, "live", "CREATE TABLE newer AS SELECT 1 AS n")
	stop := c.write(t, "live")
	dir := t.TempDir()
	for _, f := range art.Files() {
		must(t, os.WriteFile(filepath.Join(dir, f.Name), art.Bytes(f.Name), 0o600))
	}
	size := len(art.Bytes("export.pgdump"))
	start := func(die int) *exec.Cmd {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), restoreEnv+"="+dir, restoreEnv+"_DSN="+c.dsn("admin", canary), restoreEnv+"_BIN="+binDir, restoreEnv+"_DIE="+strconv.Itoa(die))
		cmd.Stderr = os.Stderr
		must(t, cmd.Start())
		return cmd
	}
	old := func(when string) {
		t.Helper()
		if got := c.value(t, "live", "SELECT n FROM newer"); got != "1" {
			t.Errorf("killed %s: the old database is not there any more", when)
		}
	}
	places := map[string]int{"before the dump": 1, "in the dump": size / 2, "at its end": size - 1}
	for _, name := range sampletest.Of(t, slices.Sorted(maps.Keys(places)), 2) {
		die := places[name]
		if err := start(die).Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
			t.Errorf("killed %s: got %v", name, err)
		}
		old(name)
	}
	// While the names are exchanged: a session that holds a lock on the name keeps the exchange waiting.
	holder := c.connect(t, "postgres")
	_, err := holder.Exec(t.Context(), "BEGIN; COMMENT ON DATABASE live IS NULL")
	must(t, err)
	cmd := start(0)
	eventually(t, "the exchange waits", func() bool {
		return c.value(t, "postgres", "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'ALTER DATABASE \"live\" RENAME%' AND wait_event_type = 'Lock'") == "1"
	})
	must(t, cmd.Process.Kill())
	if err := cmd.Wait(); err == nil {
		t.Error("the program ended by itself")
	}
	_, err = holder.Exec(t.Context(), "ROLLBACK")
	must(t, err)
	old("in the exchange")

	cmd = start(0)
	must(t, cmd.Wait())
	stop()
	if got := c.value(t, "live", history); got != "0" {
		t.Errorf("%s rows of history, captured was none", got)
	}
	kept := c.names(t, "live_replaced_%")
	if left := c.names(t, "holdfast%"); len(left) > 0 || len(kept) != 1 {
		t.Errorf("kept %q, left are %q", kept, left)
	}
	noBackends(t, c)
}

const restoreEnv = "HOLDFAST_TEST_RESTORE"

// restoreAndDie is the program that TestReplaceKilled kills.
func restoreAndDie(dir string) error {
	die, err := strconv.Atoi(os.Getenv(restoreEnv + "_DIE"))
	if err != nil {
		return err
	}
	env := providers.Env{Secret: func(context.Context, providers.Secret) (string, error) { return os.Getenv(restoreEnv + "_DSN"), nil }}
	s := &postgresql.Settings{DSN: "secret.dsn", Compression: 1, BinDir: os.Getenv(restoreEnv + "_BIN"), Timeout: unit.Duration(600e9)}
	dev, err := postgresql.DeviceType().Open(context.Background(), "db", s, env)
	if err != nil {
		return err
	}
	art := new(providertest.Artifact)
	for _, name := range []string{"export.pgdump", "globals.sql", "settings.json", "fingerprint.json"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		art.Set(name, b)
	}
	return dev.Restore(context.Background(), replacing("live"), &deadlySource{art, die})
}

// deadlySource kills the program when so many bytes of the dump were read; never with 0.
type deadlySource struct {
	providers.Source
	die int
}

func (s *deadlySource) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	r, err := s.Source.Open(ctx, name)
	if name != "export.pgdump" || s.die == 0 || err != nil {
		return r, err
	}
	return &deadlyReader{r, s.die}, nil
}

type deadlyReader struct {
	io.ReadCloser
	left int
}

func (r *deadlyReader) Read(b []byte) (int, error) {
	if r.left <= 0 {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
	n, err := r.ReadCloser.Read(b[:min(len(b), r.left)])
	r.left -= n
	return n, err
}

func TestSettingValue(t *testing.T) {
	for _, tt := range []struct{ name, value, want string }{
		{"work_mem", "9MB", "'9MB'"},
		{"my.own", `it's \ "`, ` E'it''s \\ "'`},
		{"search_path", `"$user", public`, `'$user', 'public'`},
		{"Search_Path", `"a,b","c""d" ,e`, `'a,b', 'c"d', 'e'`},
		{"search_path", `""`, "''"},
		{"session_preload_libraries", "a, /b/c", "'a', '/b/c'"},
	} {
		if got := postgresql.SettingValue(tt.name, tt.value); got != tt.want {
			t.Errorf("%s = %s: got %s, want %s", tt.name, tt.value, got, tt.want)
		}
	}
}

func TestKeptName(t *testing.T) {
	const at = "20261122t101500123"
	for _, name := range []string{"app", strings.Repeat("x", 63), strings.Repeat("ü", 31)} {
		got := postgresql.KeptName(name, at)
		if len(got) > 63 || !strings.HasSuffix(got, "_replaced_"+at) || got != strings.ToValidUTF8(got, "") || !strings.HasPrefix(got, name[:2]) {
			t.Errorf("%q: %q", name, got)
		}
	}
}
