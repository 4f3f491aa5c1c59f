package sqlstore_test

import (
	"bytes"
	"compress/gzip"
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
