package execute_test

import (
	"context"
	"testing"
	"time"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/reconcile/execute"
	"github.com/holdfast-dr/holdfast/state"
)

// recorded records a specification of an object.
func (k *rig) recorded(address string, spec map[string]any) {
	k.Helper()
	snap, err := k.b.Snapshot(k.Context())
	if err != nil {
		k.Fatal(err)
	}
	s, err := k.b.OpenSession(k.Context(), state.Session{Actor: "test", Started: time.Now()})
	if err != nil {
		k.Fatal(err)
	}
	lock, err := k.b.AcquireLock(k.Context(), state.Lock{Name: state.ApplyLock, Session: s.Epoch, Actor: "test", Acquired: time.Now()})
	if err != nil {
		k.Fatal(err)
	}
	change := state.Change{Op: state.OpPut, Address: address, IfGeneration: snap.Objects[address].Generation, Spec: raw(spec), By: "test", At: time.Now()}
	if _, err := k.b.Record(k.Context(), lock, []state.Change{change}, nil); err != nil {
		k.Fatal(err)
	}
	if err := k.b.CloseSession(k.Context(), s.Epoch); err != nil {
		k.Fatal(err)
	}
}

// TestSwitchedOff: a resume does not begin backups that are switched off by now. One that had begun pays what it owes, finds out what
// was cut off, and ends.
func TestSwitchedOff(t *testing.T) {
	const off = "cancelled BACKUPS_ARE_DISABLED"
	globally, byItself := map[string]any{"backups_enabled": false}, map[string]any{"enabled": false}
	for _, c := range []struct {
		name    string
		spec    map[string]any
		trigger state.Trigger
		killed  string // where
		want    []string
		kept    int // artifacts
	}{
		{"before anything of the backup", globally, state.TriggerManual, "store.Stat", []string{"succeeded", off, off, "succeeded"}, 0},
		{"in a capture", globally, state.TriggerManual, "device.Capture:write", []string{"succeeded", off, off, "succeeded"}, 0},
		{"in the commit", globally, state.TriggerManual, "store.Commit", []string{"succeeded", off, off, "succeeded"}, 0},
		{"after the commit", globally, state.TriggerManual, "store.Commit:done", []string{"succeeded", off, off, "succeeded"}, 1},
		{"in a script", globally, state.TriggerManual, "pre", []string{"attention OUTCOME_UNKNOWN", off, off, off}, 0},
		{"its schedule", byItself, state.TriggerSchedule, "device.Capture:write", []string{"succeeded", off, off, "succeeded"}, 0},
		{"its schedule, run by hand", byItself, state.TriggerManual, "device.Capture:write", []string{"succeeded", "succeeded", "succeeded", "succeeded"}, 2},
		{"on", map[string]any{"backups_enabled": true}, state.TriggerManual, "device.Capture:write", []string{"succeeded", "succeeded", "succeeded", "succeeded"}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			q := newQuietRig(t)
			script := func(name string, stage int) reconcile.Task {
				return reconcile.Task{Kind: "script", Stage: stage, Steps: []reconcile.Step{q.counted(name, state.Halt)}}
			}
			pre, post := script("pre", reconcile.StageBefore), script("post", reconcile.StageAfter)
			pre.OnError, post.Always = "halt", true
			a := manual(pre, q.quietTask("D2", "export_domain"), q.backupTask("device.host", providers.AllDomains, "secure_backup", false), post)
			a.Trigger = c.trigger
			if c.trigger == state.TriggerSchedule {
				a.TriggerKey, a.Nominal = "2026-10-25T02:30", "2026-10-25T02:30"
			}
			o := q.o
			kill, cut := context.WithCancel(t.Context())
			q.o.Kill = kill
			die := func(point string) {
				if point == c.killed {
					cut()
				}
			}
			q.o.Events = func(e execute.Event) {
				if e.Kind == execute.StepStarted {
					die(e.Step)
				}
			}
			q.fault = func(point string) error { die(point); return nil }
			run := q.apply(q.plan(a)).Runs[0].ID
			q.o = o
			q.recorded("backup_plan.x", c.spec)
			q.resume()
			q.want(run, c.want...)
			q.clean()
			if arts, err := q.b.Artifacts(t.Context(), state.ArtifactFilter{}); err != nil || len(arts) != c.kept {
				t.Errorf("%d artifacts are recorded, want %d (%v)", len(arts), c.kept, err)
			}
		})
	}
}
