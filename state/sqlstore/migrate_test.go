package sqlstore_test

import (
	"bytes"
	"compress/gzip"
	"database/sql"
	"io"
	"os"
	"testing"

	"github.com/holdfast-dr/holdfast/state"
	"github.com/holdfast-dr/holdfast/state/sqlstore"
	"github.com/holdfast-dr/holdfast/state/statetest"
)

// oldState unpacks a state as an earlier version of the program wrote it. These files are never made again.
func oldState(t *testing.T, name string) string {
	t.Helper()
	packed, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return write(t, t.TempDir(), content)
}

func TestOldStateOpensAndGoesOn(t *testing.T) {
	path := oldState(t, "schema-1.sqlite.gz")
	if s, err := open(t, sqlstore.Options{Path: path, ReadOnly: true}); err == nil {
		if _, err := s.Snapshot(t.Context()); err != nil {
			t.Error(err)
		}
	}
	s := statetest.Open(t, path)
	n, err := s.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n.Meta.Generation != 1 || len(n.Objects) != 3 || n.Roles["failover.orders"].Epoch != 7 || n.Positions["mirror.vault"].Files != 9 ||
		n.Artifacts["backup_plan.qa"].Count != 1 || len(n.OpenRuns) != 1 || len(n.Locks) != 2 || len(n.Observations) != 1 {
		t.Errorf("got %+v", n)
	}
	epoch := session(t, s)
	tasks, err := s.Tasks(t.Context(), "1")
	if err != nil || tasks[0].Status != state.Succeeded || tasks[1].Status != state.Interrupted {
		t.Fatalf("got %+v, %v", tasks, err)
	}
	duties, err := s.Duties(t.Context(), "1.2")
	if err != nil || len(duties) != 1 || duties[0].Paid {
		t.Errorf("got %+v, %v", duties, err)
	}
	if err := work(t.Context(), s, epoch, "1.2"); err != nil {
		t.Fatal(err)
	}
	if run, err := s.Run(t.Context(), "1"); err != nil || run.Status != state.Succeeded {
		t.Errorf("got %+v, %v", run, err)
	}
}

// TestOldGoodRuns: what an earlier version counted as good although only scripts had ended well counts no more.
func TestOldGoodRuns(t *testing.T) {
	path := oldState(t, "schema-1.sqlite.gz")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	run := func(id int, address, status string, kinds map[string]string) {
		t.Helper()
		if _, err := db.Exec(`INSERT INTO run SELECT ?, plan, 0, ?, 'backup', 'manual', ?, 0, '', '', ?, '', '', 1, 1, 1, 0, 0, 0, 0, 0, 0 FROM run LIMIT 1`, id, address, id, status); err != nil {
			t.Fatal(err)
		}
		seq := 0
		for kind, status := range kinds {
			seq++
			if _, err := db.Exec(`INSERT INTO task VALUES (?, ?, ?, '', '', '', '', '[]', ?, '', '', 0, 0, 0, 0, 0, 0, 0, 0, NULL, '')`, id, seq, kind, status); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := db.Exec(`INSERT INTO run_head VALUES (?, ?, ?) ON CONFLICT (address) DO UPDATE SET last_run = excluded.last_run, last_good = excluded.last_good`, address, id, id); err != nil {
			t.Fatal(err)
		}
	}
	run(901, "backup_plan.a", "succeeded_with_warnings", map[string]string{"script": "succeeded", "backup": "succeeded_with_warnings"})
	run(902, "backup_plan.a", "partial", map[string]string{"script": "succeeded", "backup": "failed"})
	run(903, "backup_plan.b", "partial", map[string]string{"script": "succeeded", "backup": "cancelled"})
	run(904, "store.s", "succeeded", map[string]string{"verify": "succeeded"})
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	n, err := statetest.Open(t, path).Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]string{"backup_plan.a": "901", "backup_plan.b": "", "store.s": "904"} {
		if got := n.LastGood[address].ID; got != want {
			t.Errorf("the good run of %s is %q, want %q", address, got, want)
		}
	}
	if got := n.LastRuns["backup_plan.b"].ID; got != "903" {
		t.Errorf("the newest run is %q", got)
	}
}
