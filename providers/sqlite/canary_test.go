package sqlite_test

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/providertest"
	"github.com/holdfast-dr/holdfast/providers/sqlite"
)

func query(t *testing.T, path string, queries ...string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path)
	must(t, err)
	for _, q := range queries {
		_, err := db.Exec(q)
		must(t, err)
	}
	must(t, db.Close())
}

// TestKilledLeavesNoCopy: a capture that is killed leaves nothing of the database, at whatever point and whatever its journal is.
func TestKilledLeavesNoCopy(t *testing.T) {
	const at = "HOLDFAST_TEST_DATABASE"
	if !providertest.Dying() {
		dir := t.TempDir()
		for _, mode := range []string{"wal", "delete"} {
			query(t, filepath.Join(dir, mode+".db"), "PRAGMA journal_mode="+mode, "CREATE TABLE t (a)", "INSERT INTO t VALUES ('c4n4ry')")
		}
		t.Setenv(at, dir)
	}
	providertest.Canary(t, "c4n4ry", func(ctx context.Context, steps *providertest.Steps) error {
		dev, err := sqlite.DeviceType().Open(ctx, "app", &sqlite.Settings{Path: os.Getenv(at)}, providers.Env{})
		if err != nil {
			return err
		}
		_, err = dev.Capture(ctx, secure, steps.Sink(new(providertest.Artifact)))
		return err
	})
}

// TestLeftoversAreSwept: what a version that named its copies left behind goes with the next capture, and nothing else does.
func TestLeftoversAreSwept(t *testing.T) {
	path, temp := filepath.Join(t.TempDir(), "app.db"), t.TempDir()
	query(t, path, "CREATE TABLE t (a)")
	for name, inside := range map[string]string{"holdfast-sqlite-123": "copy.db", "holdfast-sqlite-20261201": "app.db", "holdfast-sqlite-mine": "copy.db"} {
		must(t, os.Mkdir(filepath.Join(temp, name), 0o700))
		must(t, os.WriteFile(filepath.Join(temp, name, inside), []byte("content"), 0o600))
	}
	dev, err := sqlite.DeviceType().Open(t.Context(), "app", &sqlite.Settings{Path: path, TempDir: temp}, providers.Env{})
	must(t, err)
	_, err = dev.Capture(t.Context(), export, new(providertest.Artifact))
	must(t, err)
	left, err := os.ReadDir(temp)
	must(t, err)
	var names []string
	for _, e := range left {
		names = append(names, e.Name())
	}
	if got := strings.Join(names, " "); got != "holdfast-sqlite-20261201 holdfast-sqlite-mine" {
		t.Errorf("left: %s", got)
	}
}
