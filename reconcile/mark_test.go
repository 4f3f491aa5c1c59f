package reconcile_test

import (
	"testing"
	"time"

	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/state"
)

// TestBehind: a state knows what it had written, by its heads, its catalogue, or a run that failed after it had published.
func TestBehind(t *testing.T) {
	at := time.Date(2026, 11, 21, 23, 0, 5, 0, time.UTC)
	run := func(status state.Status) state.Run {
		return state.Run{Status: status, StartedAt: at.Add(-time.Second), EndedAt: at.Add(time.Minute)}
	}
	last := reconcile.StoreEvent{Writer: "w", Seq: 3, Artifact: "A", Named: at}
	deleted := last
	deleted.Deleted = true
	for name, c := range map[string]struct {
		st     state.Snapshot
		last   *reconcile.StoreEvent
		behind bool
	}{
		"nothing was written":           {last: nil},
		"unknown":                       {last: &last, behind: true},
		"a run is at work":              {st: state.Snapshot{OpenRuns: []state.Run{{}}}, last: &last},
		"known by its heads":            {st: state.Snapshot{Objects: heads(3)}, last: &last},
		"heads from before":             {st: state.Snapshot{Objects: heads(2)}, last: &last, behind: true},
		"known by the catalogue":        {st: state.Snapshot{Catalogue: []state.ArtifactBrief{{ID: "A"}}}, last: &last},
		"deleted, and good here":        {st: state.Snapshot{Catalogue: []state.ArtifactBrief{{ID: "A"}}}, last: &deleted, behind: true},
		"a failed run of that time":     {st: runs(run(state.Failed)), last: &last},
		"a good run of that time":       {st: runs(run(state.Succeeded)), last: &last, behind: true},
		"a failed run, and it is gone":  {st: runs(run(state.Failed)), last: &deleted, behind: true},
		"a failed run of another time":  {st: runs(state.Run{Status: state.Failed, StartedAt: at.Add(time.Hour), EndedAt: at.Add(2 * time.Hour)}), last: &last, behind: true},
		"an ID that tells no time":      {st: runs(run(state.Failed)), last: &reconcile.StoreEvent{Writer: "w", Seq: 3, Artifact: "A"}, behind: true},
		"heads that another one raised": {st: state.Snapshot{Objects: map[string]state.Object{"store.nas": {Heads: []state.Head{{Writer: "x", Seq: 9}}}}}, last: &last, behind: true},
	} {
		if got := reconcile.Behind(&c.st, "store.nas", c.last); (got != nil) != c.behind {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func heads(seq int64) map[string]state.Object {
	return map[string]state.Object{"store.nas": {Heads: []state.Head{{Writer: "w", Seq: seq}}}}
}

func runs(r state.Run) state.Snapshot {
	return state.Snapshot{LastRuns: map[string]state.Run{"backup_plan.a": r}}
}
