package postgresql_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/holdfast-dr/holdfast/config/unit"
	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/postgresql"
)

// canary is the password of every server of these tests, with all that needs quoting somewhere.
const canary = `c4n4ry' \:p%40ss/word "x`

func TestMain(m *testing.M) {
	if dir := os.Getenv(restoreEnv); dir != "" {
		if err := restoreAndDie(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	code := m.Run()
	if c := started; c != nil {
		c.pgctl("stop", "-m", "immediate")
		_ = os.RemoveAll(c.dir)
	}
	_ = os.RemoveAll(initialised.dir) // of nothing, if there was no server
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// cluster is a PostgreSQL server of these tests: reachable through a socket in its own directory only.
type cluster struct{ dir, data string }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// long leaves a test out of short passes: much is done in it, of which nothing happens at a time that does not in the tests that stay.
func long(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("NOT TESTED with -short: it takes long")
	}
}

// bin finds the programs of version 15 or, on other systems, of whatever there is.
func bin(t testing.TB) string {
	t.Helper()
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if at, err := exec.LookPath("postgres"); err == nil {
		dirs = append(dirs, at)
	}
	if i := slices.Index(dirs, "/usr/lib/postgresql/15/bin/postgres"); i >= 0 {
		return filepath.Dir(dirs[i])
	}
	if len(dirs) == 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("there is no PostgreSQL server to test with")
		}
		t.Skip("there is no PostgreSQL server to test with: install postgresql-15")
	}
	return filepath.Dir(dirs[len(dirs)-1])
}

var binDir string

// unprivileged is the user servers run as: PostgreSQL refuses to run as root.
func unprivileged(t testing.TB) *syscall.Credential {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	u, err := user.Lookup("postgres")
	must(t, err)
	uid, err := strconv.Atoi(u.Uid)
	must(t, err)
	gid, err := strconv.Atoi(u.Gid)
	must(t, err)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

var credential *syscall.Credential

func command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(binDir, name), args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential}
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "PGPASSWORD="+canary, "LC_ALL=C")
	return cmd
}

func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := command(context.Background(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// newDir makes a directory for a server; the names of sockets must be short.
func newDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "hfpg")
	must(t, err)
	give(t, dir)
	return dir
}

// give makes a path the property of the servers' user.
func give(t testing.TB, path string) {
	t.Helper()
	if credential != nil {
		must(t, os.Chown(path, int(credential.Uid), int(credential.Gid)))
	}
}

// newData makes a place for a restored server, which has no server yet.
func newData(t testing.TB) *cluster {
	t.Helper()
	c := &cluster{dir: newDir(t)}
	c.data = filepath.Join(c.dir, "data")
	must(t, os.Mkdir(c.data, 0o700))
	give(t, c.data)
	t.Cleanup(func() {
		_ = c.pgctl("stop", "-m", "immediate")
		must(t, os.RemoveAll(c.dir))
	})
	return c
}

// initialised is a server's data that never ran: initdb takes longer than all else that a small test does.
var initialised = struct {
	sync.Mutex
	dir string
}{}

// newCluster starts a server on a copy of what initdb makes.
func newCluster(t testing.TB) *cluster {
	t.Helper()
	initialised.Lock()
	defer initialised.Unlock()
	if binDir == "" {
		binDir, credential = bin(t), unprivileged(t)
	}
	if initialised.dir == "" {
		dir := newDir(t)
		pwfile := filepath.Join(dir, "pw")
		must(t, os.WriteFile(pwfile, []byte(canary+"\n"), 0o644))
		run(t, "initdb", "-D", filepath.Join(dir, "data"), "-U", "admin", "-A", "scram-sha-256", "--pwfile="+pwfile, "-E", "UTF8",
			"--locale=C.UTF-8", "--wal-segsize=1", "--no-sync")
		initialised.dir = dir
	}
	c := &cluster{dir: newDir(t)}
	c.data = filepath.Join(c.dir, "data")
	if out, err := exec.Command("cp", "-a", filepath.Join(initialised.dir, "data"), c.data).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	c.start(t)
	return c
}

// own makes a cluster for one test, which can be parallel to others that have theirs.
func own(t testing.TB) *cluster {
	t.Helper()
	c := newCluster(t)
	t.Cleanup(func() {
		c.pgctl("stop", "-m", "immediate")
		must(t, os.RemoveAll(c.dir))
	})
	return c
}

var (
	starting sync.Mutex
	started  *cluster
)

// shared gives the cluster that most tests use, running, with the database "app".
func shared(t testing.TB) *cluster {
	t.Helper()
	starting.Lock()
	defer starting.Unlock()
	if started == nil {
		started = newCluster(t)
		started.fill(t, "app", 1)
	}
	if started.pgctl("status") != nil {
		started.start(t)
	}
	return started
}

// fill makes a database with pgbench's tables and some that need quoting.
func (c *cluster) fill(t testing.TB, name string, scale int) {
	t.Helper()
	c.exec(t, "postgres", "CREATE DATABASE "+pgx.Identifier{name}.Sanitize())
	run(t, "pgbench", "-h", c.dir, "-U", "admin", "-i", "-q", "-s", strconv.Itoa(scale), name)
	c.exec(t, name,
		`CREATE SCHEMA "odd ""schema"`, `CREATE TABLE "odd ""schema"."t.a'b" (id int, "v.1" text, f float8)`,
		`INSERT INTO "odd ""schema"."t.a'b" SELECT i, 'value ' || i, i / 7.0 FROM generate_series(1, 1000) i`,
		`CREATE TABLE part (id int, at date) PARTITION BY RANGE (id)`, `CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (100)`,
		`INSERT INTO part SELECT i, now() FROM generate_series(0, 99) i`, `CREATE UNLOGGED TABLE fast (id int)`, `INSERT INTO fast VALUES (1)`,
		`CREATE MATERIALIZED VIEW seen AS SELECT count(*) FROM part`, `SELECT lo_from_bytea(0, 'large object')`, `CREATE EXTENSION pg_trgm`)
}

func (c *cluster) start(t testing.TB) {
	t.Helper()
	c.startWith(t, "")
}

func (c *cluster) startWith(t testing.TB, options string) {
	t.Helper()
	log := filepath.Join(c.dir, "log")
	if out, err := command(context.Background(), "pg_ctl", "start", "-w", "-t", "60", "-D", c.data, "-l", log,
		"-o", "-k "+c.dir+" -c listen_addresses= -c fsync=off -c autovacuum=off -c wal_level=replica "+options).CombinedOutput(); err != nil {
		text, _ := os.ReadFile(log)
		t.Fatalf("start: %v\n%s\n%s", err, out, text)
	}
}

func (c *cluster) pgctl(args ...string) error {
	cmd := command(context.Background(), "pg_ctl", append(args, "-D", c.data)...)
	cmd.Stdout, cmd.Stderr = io.Discard, io.Discard
	return cmd.Run()
}

func (c *cluster) connect(t testing.TB, database string) *pgx.Conn {
	t.Helper()
	cfg, err := pgx.ParseConfig("")
	must(t, err)
	cfg.Host, cfg.Port, cfg.User, cfg.Password, cfg.Database = c.dir, 5432, "admin", canary, database
	cfg.TLSConfig, cfg.Fallbacks = nil, nil
	cfg.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	conn, err := pgx.ConnectConfig(context.Background(), cfg)
	must(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func (c *cluster) exec(t testing.TB, database string, queries ...string) {
	t.Helper()
	conn := c.connect(t, database)
	for _, q := range queries {
		if _, err := conn.Exec(context.Background(), q); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
	must(t, conn.Close(context.Background()))
}

// value reads one value as text.
func (c *cluster) value(t testing.TB, database, query string) string {
	t.Helper()
	conn := c.connect(t, database)
	defer conn.Close(context.Background())
	var s string
	must(t, conn.QueryRow(context.Background(), "SELECT ("+query+")::text").Scan(&s))
	return s
}

// eventually waits for what another process does.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	ctx, stop := context.WithTimeout(context.Background(), 20*time.Second)
	defer stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-ctx.Done():
			t.Fatalf("not within 20 s: %s", what)
		case <-tick.C:
		}
	}
}

// dsn is the connection of a user as a URL.
func (c *cluster) dsn(user, password string) string {
	return (&url.URL{Scheme: "postgres", User: url.UserPassword(user, password), Path: "/postgres", RawQuery: "host=" + url.QueryEscape(c.dir)}).String()
}

func (c *cluster) device(t testing.TB, change ...func(*postgresql.Settings)) providers.Device {
	t.Helper()
	return openDevice(t, c.dsn("admin", canary), change...)
}

func openDevice(t testing.TB, dsn string, change ...func(*postgresql.Settings)) providers.Device {
	t.Helper()
	s := &postgresql.Settings{DSN: "secret.dsn", Compression: 1, BinDir: binDir, Timeout: unit.Duration(10 * time.Minute)}
	for _, f := range change {
		f(s)
	}
	env := providers.Env{Secret: func(_ context.Context, ref providers.Secret) (string, error) {
		if ref != "secret.dsn" {
			return "", errors.New("asked for another secret")
		}
		return dsn, nil
	}}
	dev, err := postgresql.DeviceType().Open(context.Background(), "db", s, env)
	must(t, err)
	return dev
}

// write lets pgbench write until the test is over.
func (c *cluster) write(t testing.TB, database string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := command(ctx, "pgbench", "-h", c.dir, "-U", "admin", "-n", "-c", "2", "-R", "200", "-T", "3600", database)
	must(t, cmd.Start())
	rows := func() string { return c.value(t, database, "SELECT count(*) FROM pgbench_history") }
	before := rows()
	eventually(t, "pgbench writes", func() bool { return rows() != before })
	stop = sync.OnceFunc(func() {
		cancel()
		_ = cmd.Wait()
	})
	t.Cleanup(stop)
	return stop
}
