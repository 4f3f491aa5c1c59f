package execute_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-dr/holdfast/config/sampletest"
	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/reconcile/execute"
	"github.com/holdfast-dr/holdfast/state"
)

func TestEveryOperationIsImplementedAndKilled(t *testing.T) {
	used := map[reconcile.Op]bool{}
	w := world{"/x"}
	for _, a := range slices.Concat(w.everything().Actions, w.retention("1").Actions, w.verification("1").Actions, w.restores("1").Actions) {
		for _, task := range a.Tasks {
			for _, s := range task.Steps {
				used[s.Op] = true
			}
		}
	}
	for _, op := range reconcile.Ops {
		if !execute.Knows(op) {
			t.Errorf("%s has no implementation", op)
		}
		if !used[op] {
			t.Errorf("%s is not in the plan of the crash test", op)
		}
	}
}

func TestEverythingOnce(t *testing.T) {
	k := newRig(t)
	p := k.everything()
	res := k.apply(p)
	for _, r := range res.Runs {
		if r.Status != state.Succeeded {
			t.Errorf("run %s of %s is %s", r.ID, r.Address, r.Status)
		}
	}
	if res.Recorded != 4 || res.Recorded+res.ByRuns != len(p.Changes) || res.Interrupted || res.Generation < 3 {
		t.Errorf("result %+v", res)
	}
	k.want(res.Runs[1].ID, "succeeded", "succeeded", "succeeded", "succeeded")
	k.clean(p, true)
	if got := k.tasks(res.Runs[1].ID)[2]; got.Files != 1 || got.Bytes == 0 {
		t.Errorf("the task counts %d files, %d bytes", got.Files, got.Bytes)
	}
	if k.count(execute.RunStarted) != 5 || k.count(execute.RunDone) != 5 || k.count(execute.PlanRecorded) != 1 {
		t.Errorf("events: %v", k.events)
	}
	arts, _ := k.b.Artifacts(t.Context(), state.ArtifactFilter{})
	var m providers.Manifest
	if err := json.Unmarshal(arts[0].Manifest, &m); err != nil || m.Commit != "c0ffee" || m.Version != "0.0" || m.Task == "" || m.DeviceType == "" {
		t.Errorf("manifest %+v (%v)", m, err)
	}
}

// TestStoppedAnywhere: a friendly stop at any call never costs more than a resume, and never a person's attention.
func TestStoppedAnywhere(t *testing.T) {
	for n := range sampletest.Points(t, 10) {
		k := newRig(t)
		ctx, stop := context.WithCancel(t.Context())
		var calls atomic.Int64
		k.fault = func(string) error {
			if calls.Add(1) == int64(n) {
				stop()
			}
			return nil
		}
		p := k.everything()
		res, err := execute.New(k.o).Apply(ctx, p)
		stop()
		if err != nil {
			t.Fatalf("stopped at call %d: %v", n, err)
		}
		if calls.Load() < int64(n) {
			t.Logf("there are %d calls", calls.Load())
			break
		}
		k.clean(p, false)
		if locks, _ := k.b.Locks(t.Context()); slices.ContainsFunc(locks, func(l state.Lock) bool { return l.Task == "" }) {
			t.Errorf("stopped at call %d: locks are left: %v", n, locks)
		}
		if link, svc, _, _ := k.sides(); res.Interrupted && k.role().State != state.RoleSettled {
			t.Errorf("stopped at call %d: the role is left %s (%s, %s)", n, k.role().State, link, svc)
		}
		k.resume()
		for _, r := range res.Runs {
			if now, _ := k.b.Run(t.Context(), r.ID); now.Status != state.Succeeded {
				t.Errorf("stopped at call %d: the run of %s ended %s", n, r.Address, now.Status)
			}
		}
		k.clean(p, true)
	}
}

// lossy is a backend that loses the answer to one write.
type lossy struct {
	mortal
	n, at int
}

var errLostAnswer = errors.New("connection reset")

func (l *lossy) lose(err error) error {
	l.n++
	if err == nil && l.n == l.at {
		return errLostAnswer
	}
	return err
}

func (l *lossy) Record(ctx context.Context, lock state.Lock, c []state.Change, r []state.RoleChange) (int64, error) {
	g, err := l.Backend.Record(ctx, lock, c, r)
	return g, l.lose(err)
}

func (l *lossy) Begin(ctx context.Context, p state.StoredPlan, runs []state.NewRun) ([]state.Run, error) {
	made, err := l.Backend.Begin(ctx, p, runs)
	return made, l.lose(err)
}

func (l *lossy) Claim(ctx context.Context, session int64, task string, at time.Time) (state.Claim, error) {
	c, err := l.Backend.Claim(ctx, session, task, at)
	return c, l.lose(err)
}

func (l *lossy) Journal(ctx context.Context, c state.Claim, e state.Entry) error {
	return l.lose(l.Backend.Journal(ctx, c, e))
}

func (l *lossy) Cancel(ctx context.Context, run string, status state.Status, reason, msg string, at time.Time) error {
	return l.lose(l.Backend.Cancel(ctx, run, status, reason, msg, at))
}

// TestLostAnswers: a write whose answer is lost is made again, and nothing happens twice.
func TestLostAnswers(t *testing.T) {
	for at := range sampletest.Points(t, 10) {
		k := newRig(t)
		l := &lossy{mortal: mortal{k.b, &crash{}}, at: at}
		k.o.Backend = l
		p := k.everything()
		res := k.apply(p)
		if l.n < at {
			t.Logf("there are %d answers", l.n)
			return
		}
		for _, r := range res.Runs {
			if r.Status != state.Succeeded {
				t.Errorf("answer %d lost: the run of %s is %s", at, r.Address, r.Status)
			}
		}
		k.clean(p, true)
	}
}

// TestTakenOver: after a task was taken away, nothing more is done for it and nothing is recorded.
func TestTakenOver(t *testing.T) {
	for _, point := range []string{"device.Inspect", "device.Capture", "store.Staged"} {
		t.Run(point, func(t *testing.T) {
			k := newRig(t)
			k.initialised()
			var after []string
			taken := false
			k.fault = func(p string) error {
				if taken && p != point+":done" && !strings.HasPrefix(p, "device.Capture:") {
					after = append(after, p)
				}
				if p == point && !taken {
					taken = true
					if _, err := k.b.BreakLock(t.Context(), "device/host", "another", "test", time.Now()); err != nil {
						t.Error(err)
					}
				}
				return nil
			}
			res := k.apply(k.plan(manual(k.backupTask("device.host", providers.AllDomains, "secure_backup", false))))
			for _, p := range after {
				if p != "store.Stage" && p != "store.Stage:done" { // part of the capture that was under way
					t.Errorf("%s was called after the task was taken away", p)
				}
			}
			if arts, _ := k.b.Artifacts(t.Context(), state.ArtifactFilter{}); len(arts) > 0 {
				t.Errorf("recorded %v", arts)
			}
			if !res.Interrupted || k.count(execute.TakenOver) == 0 {
				t.Errorf("interrupted %v, events %v", res.Interrupted, k.events)
			}
			k.healed()
			k.resume()
			k.want(res.Runs[0].ID, "succeeded")
		})
	}
}

// damaged flips a bit of what is read back.
type damaged struct{ providers.Store }

func (d damaged) Staged(ctx context.Context, id providers.ArtifactID, name string) (r io.ReadCloser, err error) {
	r, err = d.Store.Staged(ctx, id, name)
	if err != nil {
		return nil, err
	}
	return flipped{r}, nil
}

type flipped struct{ io.ReadCloser }

func (f flipped) Read(p []byte) (int, error) {
	n, err := f.ReadCloser.Read(p)
	if n > 0 {
		p[0] ^= 1
	}
	return n, err
}

func TestDamagedStagingIsNeverRecorded(t *testing.T) {
	k := newRig(t)
	k.initialised()
	reg := *k.o.Registry
	reg.Stores = slices.Clone(reg.Stores)
	open := reg.Stores[0].Open
	reg.Stores[0].Open = func(ctx context.Context, name string, settings any, env providers.Env) (providers.Store, error) {
		s, err := open(ctx, name, settings, env)
		return damaged{s}, err
	}
	k.o.Registry = &reg
	p := k.plan(manual(k.backupTask("device.host", providers.AllDomains, "secure_backup", false)))
	res := k.apply(p)
	k.want(res.Runs[0].ID, "failed FAILED_VERIFY")
	if arts, _ := k.b.Artifacts(t.Context(), state.ArtifactFilter{}); len(arts) > 0 {
		t.Errorf("recorded %v", arts)
	}
	k.clean(p, true)
}

func TestNothingIsPrunedAfterACopyWithErrors(t *testing.T) {
	k := newRig(t)
	pass := func() *reconcile.Plan { return k.plan(k.mirrorAction("mirror.plain", "plain", "plain-copy", "", 0)) }
	k.apply(pass())
	before, _ := k.b.Snapshot(t.Context())
	if err := os.Remove(k.path("plain", "two")); err != nil {
		t.Fatal(err)
	}
	k.failing("mirror.Copy:done", 1, errors.New("one file could not be read"))
	res := k.apply(pass())
	k.want(res.Runs[0].ID, "failed FAILED")
	if _, err := os.Stat(k.path("plain-copy", "two")); err != nil {
		t.Error("pruned after a copy with errors")
	}
	if after, _ := k.b.Snapshot(t.Context()); after.Positions["mirror.plain"] != before.Positions["mirror.plain"] {
		t.Errorf("the position moved: %v", after.Positions)
	}
}

// One walk through both trees is enough when there is nothing to delete; how many files there are must not cost twice.
func TestNoSecondWalkWithNothingToDelete(t *testing.T) {
	k := newRig(t)
	pass := func() *reconcile.Plan { return k.plan(k.mirrorAction("mirror.plain", "plain", "plain-copy", "", 0)) }
	k.failing("mirror.Prune", 1, errors.New("a second walk"))
	k.want(k.apply(pass()).Runs[0].ID, "succeeded")
	if err := os.Remove(k.path("plain", "two")); err != nil {
		t.Fatal(err)
	}
	k.want(k.apply(pass()).Runs[0].ID, "failed FAILED")
	k.want(k.apply(pass()).Runs[0].ID, "succeeded")
	if _, err := os.Stat(k.path("plain-copy", "two")); err == nil {
		t.Error("what the source lost is still at the target")
	}
}

func TestBrokenPreconditionsDoNothing(t *testing.T) {
	k := newRig(t)
	p := k.everything()
	p.Preconditions = []reconcile.Precondition{{Kind: reconcile.NeedGeneration, Address: orders, Want: "7"}}
	_, err := execute.New(k.o).Apply(t.Context(), p)
	var stale *state.StaleError
	if !errors.As(err, &stale) || !strings.Contains(stale.What, orders) {
		t.Fatalf("error %v", err)
	}
	if runs, _ := k.b.Runs(t.Context(), state.RunFilter{}); len(runs) > 0 {
		t.Errorf("runs were created: %v", runs)
	}
	if locks, _ := k.b.Locks(t.Context()); len(locks) > 0 {
		t.Errorf("locks are left: %v", locks)
	}
}

func TestApplyLock(t *testing.T) {
	k := newRig(t)
	now := time.Now()
	if _, err := k.b.AcquireLock(t.Context(), state.Lock{Name: state.ApplyLock, Actor: "ana", Operation: "hold", Acquired: now, Expires: now.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	x := execute.New(k.o)
	var locked *state.LockedError
	if _, err := x.Apply(t.Context(), k.everything()); !errors.As(err, &locked) || locked.Lock.Actor != "ana" {
		t.Errorf("apply: %v", err)
	}
	p := k.plan(manual(scriptTask(reconcile.StageWork, "true")))
	p.Mode = reconcile.ModeRun
	res, err := x.Run(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	k.want(res.Runs[0].ID, "succeeded")
}

// TestApplyLockIsFreeDuringBackups: the next apply does not wait for a backup.
func TestApplyLockIsFreeDuringBackups(t *testing.T) {
	k := newRig(t)
	k.initialised()
	free := false
	k.fault = func(p string) error {
		if p == "device.Capture" {
			locks, _ := k.b.Locks(t.Context())
			free = !slices.ContainsFunc(locks, func(l state.Lock) bool { return l.Name == state.ApplyLock })
		}
		return nil
	}
	p := k.plan(manual(k.backupTask("device.host", providers.AllDomains, "secure_backup", false)))
	p.Changes = []reconcile.Change{create("device.host", false)}
	k.apply(p)
	if !free {
		t.Error("the apply lock was held during a capture")
	}
}

func TestSecretsAreNotKept(t *testing.T) {
	const canary = "canary-9f2c-value"
	k := newRig(t)
	k.initialised()
	file := k.path("secret")
	if err := os.WriteFile(file, []byte(canary+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := k.plan(manual(k.backupTask("device.host", providers.AllDomains, "secure_backup", false)))
	p.Objects["secret.db"] = reconcile.Spec{Spec: raw(map[string]any{"file": file})}
	p.Objects["device.host"] = reconcile.Spec{Type: "command", Spec: raw(map[string]any{
		"command": []string{"/bin/sh", "-c", `echo "login with $PW failed" >&2; exit 3`}, "secret_environment": map[string]string{"PW": "secret.db"},
		"extension": ".txt", "min_size": "1B", "timeout": "1m",
	})}
	res := k.apply(p)
	k.want(res.Runs[0].ID, "failed FAILED_SOURCE_EXIT")
	var dump strings.Builder
	if err := k.b.Export(t.Context(), &dump); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(&dump, k.events)
	if strings.Contains(dump.String(), canary) {
		t.Error("the secret is in the state or in an event")
	}
	if !strings.Contains(dump.String(), "login with") {
		t.Error("the complaint of the command is lost")
	}
}

func TestMissedRuns(t *testing.T) {
	k := newRig(t)
	at := time.Now().Truncate(time.Minute)
	ran := manual(scriptTask(reconcile.StageWork, "true"))
	ran.Trigger, ran.TriggerKey, ran.Nominal, ran.DueAt = state.TriggerSchedule, "2026-11-18T02:30", "2026-11-18T02:30", at
	ran.Missed = []reconcile.Missed{{Nominal: "2026-11-17T02:30", At: at.Add(-24 * time.Hour)}}
	left := ran
	left.Address, left.Tasks = "backup_plan.y", nil
	left.Missed = []reconcile.Missed{{Nominal: "2026-11-18T02:30", At: at}}
	k.apply(k.plan(ran, left))
	snap, err := k.b.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{"backup_plan.x", "backup_plan.y"} {
		if c := snap.Cursors[address]; c.Nominal != "2026-11-18T02:30" {
			t.Errorf("cursor of %s: %+v", address, c)
		}
	}
	runs, _ := k.b.Runs(t.Context(), state.RunFilter{})
	var got []string
	for _, r := range runs {
		got = append(got, r.Address+" "+r.TriggerKey+" "+string(r.Status))
	}
	slices.Sort(got)
	want := []string{"backup_plan.x 2026-11-17T02:30 missed", "backup_plan.x 2026-11-18T02:30 succeeded", "backup_plan.y 2026-11-18T02:30 missed"}
	if !slices.Equal(got, want) {
		t.Errorf("runs %q, want %q", got, want)
	}
	if _, err := execute.New(k.o).Apply(t.Context(), k.plan(ran)); !errors.Is(err, state.ErrDuplicate) {
		t.Errorf("the same occurrence again: %v", err)
	}
}

// unrecording is a backend that cannot record changes.
type unrecording struct {
	state.Backend
	err error
}

func (u unrecording) Record(context.Context, state.Lock, []state.Change, []state.RoleChange) (int64, error) {
	return 0, u.err
}

// TestBetweenBeginAndRecord: runs exist, the changes of their plan are not recorded.
func TestBetweenBeginAndRecord(t *testing.T) {
	plan := func(k *rig) *reconcile.Plan {
		p := k.plan(manual(scriptTask(reconcile.StageWork, "true")))
		p.Changes = []reconcile.Change{create("backup_plan.x", false)}
		return p
	}
	recorded := func(k *rig) bool {
		snap, err := k.b.Snapshot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_, ok := snap.Objects["backup_plan.x"]
		return ok
	}
	t.Run("a resume records", func(t *testing.T) {
		k := newRig(t)
		k.o.Backend = unrecording{k.b, errLostAnswer}
		if _, err := execute.New(k.o).Apply(t.Context(), plan(k)); !errors.Is(err, errLostAnswer) {
			t.Fatalf("error %v", err)
		}
		k.o.Backend = k.b
		res := k.resume()
		if k.want("1", "succeeded"); !recorded(k) || res.Recorded != 1 {
			t.Error("the changes are not recorded")
		}
	})
	t.Run("not when the plan no longer holds", func(t *testing.T) {
		k := newRig(t)
		k.o.Backend = unrecording{k.b, errLostAnswer}
		p := plan(k)
		p.ExpiresAt = time.Now().Add(time.Hour)
		if _, err := execute.New(k.o).Apply(t.Context(), p); !errors.Is(err, errLostAnswer) {
			t.Fatalf("error %v", err)
		}
		k.o.Backend = k.b
		k.o.Now = func() time.Time { return time.Now().Add(2 * time.Hour) }
		k.resume()
		if k.want("1", "cancelled CANCELLED_PLAN_STALE"); recorded(k) {
			t.Error("an expired plan was recorded")
		}
	})
	t.Run("refused", func(t *testing.T) {
		k := newRig(t)
		k.o.Backend = unrecording{k.b, &state.StaleError{What: "backup_plan.x changed"}}
		if _, err := execute.New(k.o).Apply(t.Context(), plan(k)); !errors.Is(err, state.ErrStale) {
			t.Fatalf("error %v", err)
		}
		k.want("1", "cancelled CANCELLED_PLAN_STALE")
	})
}

// TestALivePlanIsLeftAlone: what another process works on is not resumed beside it.
func TestALivePlanIsLeftAlone(t *testing.T) {
	k := newRig(t)
	var inner error
	var others execute.Result
	k.initialised()
	k.fault = func(p string) error {
		if p == "device.Capture" {
			x := execute.New(execute.Options{Backend: k.b, Registry: registry(), Actor: "another"})
			others, _ = x.Resume(t.Context(), "")
			_, inner = x.Resume(t.Context(), "2")
		}
		return nil
	}
	res := k.apply(k.plan(manual(k.backupTask("device.host", providers.AllDomains, "secure_backup", false))))
	k.want(res.Runs[0].ID, "succeeded")
	if len(others.Runs) > 0 || !errors.Is(inner, state.ErrLocked) {
		t.Errorf("runs %v, error %v", others.Runs, inner)
	}
}

func TestResumeOfOneRun(t *testing.T) {
	k := newRig(t)
	x := execute.New(k.o)
	res := k.apply(k.plan(manual(scriptTask(reconcile.StageWork, "true"))))
	if _, err := x.Resume(t.Context(), res.Runs[0].ID); err == nil || !strings.Contains(err.Error(), "has ended") {
		t.Errorf("resume of an ended run: %v", err)
	}
	if _, err := x.Resume(t.Context(), "999"); !errors.Is(err, state.ErrNotFound) {
		t.Errorf("resume of no run: %v", err)
	}
	if res := k.resume(); len(res.Runs) > 0 {
		t.Errorf("resumed %v", res.Runs)
	}
}
