package postgresql_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/holdfast-dr/holdfast/config/sampletest"
	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/postgresql"
	"github.com/holdfast-dr/holdfast/providers/providertest"
)

var (
	export = providers.CaptureRequest{Action: providers.ExportDomain, Domain: "app", Variant: providers.Persisted}
	runs   = providers.CaptureRequest{Action: providers.ExportDomain, Domain: "app", Variant: providers.Nonpersisted}
	secure = providers.CaptureRequest{Action: providers.SecureBackup, Domain: providers.AllDomains}
)

func TestContract(t *testing.T) {
	requests := []providers.CaptureRequest{export}
	if !testing.Short() {
		requests = append(requests, sampletest.Of(t, []providers.CaptureRequest{runs, secure}, 1)...)
	}
	providertest.Device(t, providertest.DeviceSuite{
		Requests:    requests,
		FindsDamage: true,
		Slow:        true,
		Parts:       postgresql.DeviceType().Parts,
		New: func(t *testing.T) providertest.DeviceCase {
			c := shared(t)
			again := sync.OnceFunc(func() { // other tests share the server
				c.exec(t, "postgres", "DROP DATABASE app WITH (FORCE)")
				c.fill(t, "app", 1)
			})
			return providertest.DeviceCase{
				Device:  c.device(t),
				Secrets: []string{canary, "c4n4ry"},
				State: func(t *testing.T) string {
					return c.value(t, "app", "SELECT string_agg(format('%s %s', relname, n_tup_ins + n_tup_upd + n_tup_del), ',' ORDER BY relname) FROM pg_stat_user_tables") +
						c.value(t, "app", "SELECT string_agg(name || setting, ',' ORDER BY name) FROM pg_settings WHERE source = 'configuration file'") +
						c.value(t, "app", "SELECT count(*) FROM pg_replication_slots")
				},
				Break: func(t *testing.T) { must(t, c.pgctl("stop", "-m", "immediate")) },
				Change: func(t *testing.T, _ providers.CaptureRequest) func(*testing.T) {
					t.Cleanup(again)
					return c.damage(t)
				},
			}
		},
		// Settings that run and are not saved, and whole clusters, do not go into a server.
		InPlace: func(req providers.CaptureRequest) bool { return req == export },
		Restored: func(t *testing.T, req providers.CaptureRequest, dir string) {
			switch {
			case req.Action == providers.SecureBackup:
				if v, err := os.ReadFile(filepath.Join(dir, "PG_VERSION")); err != nil || len(bytes.TrimSpace(v)) == 0 {
					t.Errorf("PG_VERSION: %q, %v", v, err)
				}
			case req.Variant == providers.Nonpersisted:
				if b, err := os.ReadFile(filepath.Join(dir, "settings.json")); err != nil || !strings.Contains(string(b), "max_connections") {
					t.Errorf("settings.json: %s, %v", b, err)
				}
			default:
				list := run(t, "pg_restore", "--list", readable(t, filepath.Join(dir, "export.pgdump")))
				if !strings.Contains(list, "TABLE DATA public pgbench_accounts") {
					t.Errorf("the dump has only\n%s", list)
				}
			}
		},
	})
}

// damage changes the database "app" in its rows, its schema and what belongs to its name, and gives a check that rows and schema are what they were.
func (c *cluster) damage(t *testing.T) func(*testing.T) {
	t.Helper()
	const content = `SELECT concat_ws(E'\n', (SELECT md5(string_agg(a::text, ',' ORDER BY aid)) FROM pgbench_accounts a), (SELECT count(*) FROM "odd ""schema"."t.a'b"),
		(SELECT string_agg(format('%s %s', relname, relkind), ',' ORDER BY relname) FROM pg_class WHERE relnamespace = 'public'::regnamespace))`
	want := c.value(t, "app", content)
	c.exec(t, "app", "UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid % 3 = 0", "DROP TABLE part CASCADE", "CREATE TABLE late (id int)", "DELETE FROM pgbench_tellers")
	if c.value(t, "app", content) == want {
		t.Fatal("nothing was changed")
	}
	eventually(t, "the sessions have counted what they did", func() bool {
		return c.value(t, "postgres", "SELECT count(*) FROM pg_stat_activity WHERE datname = 'app'") == "0"
	})
	return func(t *testing.T) {
		t.Helper()
		if got := c.value(t, "app", content); got != want {
			t.Errorf("the database has\n%s\nwant\n%s", got, want)
		}
		for _, name := range c.names(t, "app_replaced_%") { // they keep what they had; here their space is wanted
			c.exec(t, "postgres", "DROP DATABASE "+name)
		}
		if left := c.names(t, "holdfast%"); len(left) > 0 {
			t.Errorf("left behind: %q", left)
		}
	}
}

// readable copies a file to where the user of the servers can read it.
func readable(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	to := filepath.Join(newDir(t), filepath.Base(path))
	t.Cleanup(func() { must(t, os.RemoveAll(filepath.Dir(to))) })
	must(t, os.WriteFile(to, b, 0o644))
	return to
}
