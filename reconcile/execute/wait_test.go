package execute_test

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/reconcile/execute"
	"github.com/holdfast-dr/holdfast/state"
)

// A task that waits says for whom at once, and then every minute how long it has waited.
func TestWaitsForALock(t *testing.T) {
	k := newRig(t)
	var skew atomic.Int64
	k.o.Now = func() time.Time { return time.Now().Add(time.Duration(skew.Load())) }
	now := time.Now()
	hold := state.Lock{Name: "device/host", Actor: "ana", Operation: "hold", Reason: "maintenance", Acquired: now, Expires: now.Add(100 * time.Hour)}
	if _, err := k.b.AcquireLock(t.Context(), hold); err != nil {
		t.Fatal(err)
	}
	task := scriptTask(reconcile.StageWork, "true")
	task.Locks = []string{"device/host"}
	var told []string
	k.o.Events = func(e execute.Event) {
		if e.Kind != execute.Waiting {
			return
		}
		told = append(told, e.Reason+" "+e.Time.Sub(e.Since).Truncate(time.Minute).String())
		skew.Add(int64(time.Minute))
		if len(told) == 3 {
			if _, err := k.b.BreakLock(t.Context(), "device/host", "ana", "done", time.Now()); err != nil {
				t.Error(err)
			}
		}
	}
	res := k.apply(k.plan(manual(task)))
	k.want(res.Runs[0].ID, "succeeded")
	text := "device/host, which ana holds "
	if want := []string{text + "0s", text + "1m0s", text + "2m0s"}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
}

// keeps claims a task that needs a device, for a session of a former process, which may have held a lock of its own.
func (k *rig) keeps(address string) (run state.Run, session int64) {
	k.Helper()
	now := time.Now()
	s, err := k.b.OpenSession(k.Context(), state.Session{PID: 4711, Actor: "bob", Started: now})
	if err != nil {
		k.Fatal(err)
	}
	_, err = k.b.AcquireLock(k.Context(), state.Lock{Name: "plan/" + address, Session: s.Epoch, Actor: "bob", Acquired: now})
	if err != nil {
		k.Fatal(err)
	}
	runs, err := k.b.Begin(k.Context(), state.StoredPlan{ID: address, Body: raw(struct{}{}), CreatedAt: now}, []state.NewRun{{
		Run:   state.Run{Address: address, Kind: "backup", Trigger: state.TriggerManual, TriggerKey: "1", Status: state.Pending, CreatedAt: now},
		Tasks: []state.TaskRun{{Kind: "backup", Device: "device.host", Locks: []string{"device/host"}}},
	}})
	if err != nil {
		k.Fatal(err)
	}
	if _, err := k.b.Claim(k.Context(), s.Epoch, runs[0].ID+".1", now); err != nil {
		k.Fatal(err)
	}
	return runs[0], s.Epoch
}

// Nobody waits for a task on which nobody works: whether its process had ended before, ends meanwhile, or is stopped.
func TestWaitsForNobody(t *testing.T) {
	for name, dies := range map[string]func(k *rig, session int64, skew *atomic.Int64){
		"ended before": func(k *rig, session int64, _ *atomic.Int64) {
			if err := k.b.CloseSession(k.Context(), session); err != nil {
				k.Fatal(err)
			}
		},
		"ends meanwhile": func(k *rig, session int64, _ *atomic.Int64) {
			k.o.Events = func(e execute.Event) {
				if e.Kind == execute.Waiting && strings.Contains(e.Reason, "of bob (process 4711) holds") {
					if err := k.b.CloseSession(k.Context(), session); err != nil {
						k.Error(err)
					}
				}
			}
		},
		"stopped": func(k *rig, _ int64, skew *atomic.Int64) {
			k.o.Events = func(e execute.Event) {
				if e.Kind == execute.Waiting {
					skew.Store(int64(2 * time.Minute))
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			k := newRig(t)
			var skew atomic.Int64
			k.o.Now = func() time.Time { return time.Now().Add(time.Duration(skew.Load())) }
			kept, session := k.keeps("backup_plan.y")
			dies(k, session, &skew)
			free, waiting := scriptTask(reconcile.StageWork, "true"), scriptTask(reconcile.StageWork, "true")
			waiting.Locks = []string{"device/host"}
			res := k.apply(k.plan(manual(free, waiting)))
			k.want(res.Runs[0].ID, "succeeded", "pending")
			if !res.Interrupted || res.Stopped || len(res.Left) != 1 {
				t.Fatalf("the result is %+v", res)
			}
			want := "device/host, which task " + kept.ID + ".1 keeps, that was interrupted. Go on with that: holdfast apply --resume"
			if res.Left[0].Why != want {
				t.Errorf("it waits for %q, want %q", res.Left[0].Why, want)
			}
		})
	}
}

// A task that was interrupted is waited for while somebody has taken its plan to go on with it.
func TestWaitsForAResume(t *testing.T) {
	k := newRig(t)
	kept, session := k.keeps("backup_plan.y")
	if err := k.b.CloseSession(t.Context(), session); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	other, err := k.b.OpenSession(t.Context(), state.Session{PID: 4712, Actor: "eve", Started: now})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.b.AcquireLock(t.Context(), state.Lock{Name: "plan/backup_plan.y", Session: other.Epoch, Actor: "eve", Acquired: now}); err != nil {
		t.Fatal(err)
	}
	task := scriptTask(reconcile.StageWork, "true")
	task.Locks = []string{"device/host"}
	k.o.Events = func(e execute.Event) {
		if e.Kind != execute.Waiting {
			return
		}
		c, err := k.b.Claim(t.Context(), other.Epoch, kept.ID+".1", now)
		if err == nil {
			done := state.TaskRun{ID: kept.ID + ".1", Run: kept.ID, Seq: 1, Status: state.Succeeded, Attempt: c.Attempt, Ended: now, StatusAt: now}
			err = k.b.Journal(t.Context(), c, state.Entry{Finish: &done, At: now})
		}
		if err != nil {
			t.Error(err)
		}
	}
	res := k.apply(k.plan(manual(task)))
	k.want(res.Runs[0].ID, "succeeded")
}
