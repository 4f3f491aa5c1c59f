package execute_test

import (
	"testing"

	"github.com/holdfast-dr/holdfast/reconcile/execute"
	"github.com/holdfast-dr/holdfast/state"
)

func newWorld(t testing.TB) (world, state.Backend) {
	t.Helper()
	w := world{t.TempDir()}
	w.build(t)
	b := w.open(t)
	t.Cleanup(func() { b.Close() })
	return w, b
}

func TestEverythingOnce(t *testing.T) {
	w, b := newWorld(t)
	plan := w.everything()
	var events []execute.Event
	x := execute.New(execute.Options{Backend: b, Registry: registry(), Actor: "test", Events: func(e execute.Event) { events = append(events, e) }})
	res, err := x.Apply(t.Context(), plan)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range res.Runs {
		if r.Status != state.Succeeded {
			t.Errorf("run %s of %s is %s", r.ID, r.Address, r.Status)
			tasks, _ := b.Tasks(t.Context(), r.ID)
			for _, k := range tasks {
				t.Logf("  %s %s %s %s %s", k.ID, k.Kind, k.Status, k.Reason, k.Error)
			}
		}
	}
	if res.Recorded != 4 || res.Interrupted {
		t.Errorf("recorded %d, interrupted %v", res.Recorded, res.Interrupted)
	}
	for _, f := range w.check(t.Context(), b, plan, true) {
		t.Error(f)
	}
	for _, e := range events {
		t.Logf("%s %s %s %s %s", e.Kind, e.Task, e.Step, e.Status, e.Error)
	}
}
