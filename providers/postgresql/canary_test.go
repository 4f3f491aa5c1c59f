package postgresql_test

import (
	"context"
	"os"
	"testing"

	"github.com/holdfast-dr/holdfast/config/unit"
	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/postgresql"
	"github.com/holdfast-dr/holdfast/providers/providertest"
)

// TestKilledLeavesNoPassword: neither a capture nor a restore that is killed leaves the password in a file, at whatever point.
func TestKilledLeavesNoPassword(t *testing.T) {
	long(t)
	const dsn, programs = "HOLDFAST_TEST_DSN", "HOLDFAST_TEST_BIN"
	var c *cluster
	if !providertest.Dying() {
		c = shared(t)
		c.exec(t, "postgres", "CREATE DATABASE killed")
		c.exec(t, "killed", "CREATE TABLE t AS SELECT 1 AS n")
		t.Setenv(dsn, c.dsn("admin", canary))
		t.Setenv(programs, binDir)
	}
	providertest.Canary(t, "c4n4ry", func(ctx context.Context, steps *providertest.Steps) error {
		s := &postgresql.Settings{DSN: "secret.dsn", Compression: 1, BinDir: os.Getenv(programs), Timeout: unit.Duration(600e9)}
		dev, err := postgresql.DeviceType().Open(ctx, "db", s, providers.Env{
			Secret: func(context.Context, providers.Secret) (string, error) { return os.Getenv(dsn), nil },
		})
		if err != nil {
			return err
		}
		req, art := export, new(providertest.Artifact)
		req.Domain = "killed"
		if _, err := dev.Capture(ctx, req, steps.Sink(art)); err != nil {
			return err
		}
		return dev.Restore(ctx, replacing("killed copy"), steps.Source(art))
	})
	if c != nil {
		eventually(t, "the sessions of those that were killed end", func() bool {
			return c.value(t, "postgres", "SELECT count(*) FROM pg_stat_activity WHERE datname LIKE 'killed%'") == "0"
		})
		c.exec(t, "postgres", "DROP DATABASE killed", `DROP DATABASE "killed copy"`)
	}
}
