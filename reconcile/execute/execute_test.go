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
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-dr/holdfast/config/unit"
	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/providertest"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/reconcile/execute"
	"github.com/holdfast-dr/holdfast/state"
)

// bench is a world with its state and an executor whose providers can be made to fail.
type bench struct {
	*testing.T
	world
	b      state.Backend
	o      execute.Options
	fault  providertest.Fault
	mu     sync.Mutex
	events []execute.Event
}

func newBench(t *testing.T) *bench {
	t.Helper()
	k := &bench{T: t, world: world{t.TempDir()}, fault: func(string) error { return nil }}
	k.build(t)
	db := k.world.open(t)
	t.Cleanup(func() { db.Close() })
	k.b = db
	k.o = execute.Options{
		Backend: db, Actor: "test", Version: "0.0",
		Registry: providertest.Faulty(registry(), func(p string) error {
			k.mu.Lock()
			f := k.fault
			k.mu.Unlock()
			return f(p)
		}),
		Events: func(e execute.Event) { k.events = append(k.events, e) },
		Sleep:  func(context.Context, time.Duration) error { return nil },
	}
	return k
}

// failing makes calls at a point fail with an error, n times.
func (k *bench) failing(point string, n int, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.fault = func(p string) error {
		k.mu.Lock()
		defer k.mu.Unlock()
		if p != point || n == 0 {
			return nil
		}
		n--
		return err
	}
}

func (k *bench) healed() { k.failing("", 0, nil) }

func (k *bench) apply(p *reconcile.Plan) execute.Result {
	k.Helper()
	res, err := execute.New(k.o).Apply(k.Context(), p)
	if err != nil {
		k.Fatal(err)
	}
	return res
}

func (k *bench) resume() execute.Result {
	k.Helper()
	res, err := execute.New(k.o).Resume(k.Context(), "")
	if err != nil {
		k.Fatal(err)
	}
	return res
}

func (k *bench) tasks(run string) []state.TaskRun {
	k.Helper()
	tasks, err := k.b.Tasks(k.Context(), run)
	if err != nil {
		k.Fatal(err)
	}
	return tasks
}

// want compares statuses and reasons of a run's tasks, written "succeeded" or "failed FAILED_VERIFY".
func (k *bench) want(run string, want ...string) {
	k.Helper()
	var got []string
	for _, t := range k.tasks(run) {
		got = append(got, strings.TrimSpace(string(t.Status)+" "+t.Reason))
	}
	if !slices.Equal(got, want) {
		k.Errorf("tasks of run %s:\n got %q\nwant %q", run, got, want)
		for _, t := range k.tasks(run) {
			k.Logf("%s %s: %s", t.ID, t.Kind, t.Error)
		}
	}
}

func (k *bench) clean(p *reconcile.Plan, final bool) {
	k.Helper()
	for _, f := range k.check(k.Context(), k.b, p, final) {
		k.Error(f)
	}
}

func (k *bench) role() state.Role {
	k.Helper()
	snap, err := k.b.Snapshot(k.Context())
	if err != nil {
		k.Fatal(err)
	}
	return snap.Roles[orders]
}

func (k *bench) count(kind execute.EventKind) (n int) {
	for _, e := range k.events {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

func retryable(err error) error {
	return &providers.Error{Op: "call", Target: "it", Err: err, Retry: true}
}

// initialised applies the store, so that backups have a place.
func (k *bench) initialised() {
	k.Helper()
	p := k.plan(k.initAction())
	p.Changes = []reconcile.Change{create("store.nas", true)}
	res := k.apply(p)
	k.want(res.Runs[0].ID, "succeeded")
}

func script(command string) reconcile.Step {
	return step("script", reconcile.OpScript, state.Halt, reconcile.ScriptArgs{Command: []string{"/bin/sh", "-c", command}, Timeout: unit.Duration(time.Minute)})
}

func scriptTask(stage int, command string) reconcile.Task {
	return reconcile.Task{Kind: "script", Stage: stage, Steps: []reconcile.Step{script(command)}}
}

func manual(tasks ...reconcile.Task) reconcile.Action {
	return reconcile.Action{Address: "backup_plan.x", Kind: reconcile.ActionBackup, Trigger: state.TriggerManual, Tasks: tasks}
}

func TestEveryOperationIsImplementedAndKilled(t *testing.T) {
	used := map[reconcile.Op]bool{}
	for _, a := range (world{"/x"}).everything().Actions {
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
	k := newBench(t)
	p := k.everything()
	res := k.apply(p)
	for _, r := range res.Runs {
		if r.Status != state.Succeeded {
			t.Errorf("run %s of %s is %s", r.ID, r.Address, r.Status)
		}
	}
	if res.Recorded != 4 || res.Interrupted || res.Generation < 3 {
		t.Errorf("result %+v", res)
	}
	k.want(res.Runs[1].ID, "succeeded", "succeeded", "succeeded", "succeeded")
	k.clean(p, true)
	if got := k.tasks(res.Runs[1].ID)[2]; got.Files != 1 || got.Bytes == 0 {
		t.Errorf("the task counts %d files, %d bytes", got.Files, got.Bytes)
	}
	if k.count(execute.RunStarted) != 4 || k.count(execute.RunDone) != 4 || k.count(execute.PlanRecorded) != 1 {
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
	for n := 1; ; n++ {
		k := newBench(t)
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
			t.Logf("stopped at each of %d calls", n-1)
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
		if testing.Short() {
			n += 6
		}
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
	for at := 1; ; at++ {
		k := newBench(t)
		l := &lossy{mortal: mortal{k.b, &crash{}}, at: at}
		k.o.Backend = l
		p := k.everything()
		res := k.apply(p)
		if l.n < at {
			t.Logf("lost each of %d answers", at-1)
			return
		}
		for _, r := range res.Runs {
			if r.Status != state.Succeeded {
				t.Errorf("answer %d lost: the run of %s is %s", at, r.Address, r.Status)
			}
		}
		k.clean(p, true)
		if testing.Short() {
			at += 8
		}
	}
}

// TestTakenOver: after a task was taken away, nothing more is done for it and nothing is recorded.
func TestTakenOver(t *testing.T) {
	for _, point := range []string{"device.Inspect", "device.Capture", "store.Staged"} {
		t.Run(point, func(t *testing.T) {
			k := newBench(t)
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
	k := newBench(t)
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
	k := newBench(t)
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

func TestRetriesOnlyWhatMayPass(t *testing.T) {
	for _, c := range []struct {
		name  string
		point string
		times int
		err   error
		want  string
		tries int
	}{
		{"twice", "device.Capture", 2, retryable(errors.New("busy")), "succeeded", 2},
		{"thrice", "device.Capture", 3, retryable(errors.New("busy")), "failed FAILED", 2},
		{"not retryable", "device.Capture", 1, errors.New("broken"), "failed FAILED", 0},
		{"unavailable", "device.Inspect", 3, retryable(fmt.Errorf("%w: refused", providers.ErrUnavailable)), "skipped SKIPPED_DEVICE_NOT_AVAILABLE", 2},
		{"space", "store.Stage", 1, fmt.Errorf("%w: full", providers.ErrNoSpace), "failed FAILED_STORE_SPACE", 0},
		{"identity", "store.Commit", 1, fmt.Errorf("%w: swapped", providers.ErrIdentity), "failed FAILED_STORE_IDENTITY_CHANGED", 0},
		{"source", "device.Capture:close", 1, fmt.Errorf("%w: 1", providers.ErrSourceExit), "failed FAILED_SOURCE_EXIT", 0},
		{"small", "device.Capture:close", 1, fmt.Errorf("%w: 0 B", providers.ErrTooSmall), "failed FAILED_TOO_SMALL", 0},
		{"lost reply of a commit", "store.Commit:done", 1, errors.New("connection reset"), "succeeded", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := newBench(t)
			k.initialised()
			k.failing(c.point, c.times, c.err)
			p := k.plan(manual(k.backupTask("device.host", providers.AllDomains, "secure_backup", false)))
			res := k.apply(p)
			k.want(res.Runs[0].ID, c.want)
			if got := k.count(execute.StepRetry); got != c.tries {
				t.Errorf("%d retries, want %d", got, c.tries)
			}
			k.clean(p, true)
		})
	}
}

func TestOrderAndPolicies(t *testing.T) {
	ok := scriptTask(reconcile.StageWork, "true")
	fail := scriptTask(reconcile.StageWork, "exit 1")
	halting := fail
	halting.OnError = "halt"
	pre := func(command string) reconcile.Task {
		t := scriptTask(reconcile.StageBefore, command)
		t.OnError = "halt"
		return t
	}
	post := scriptTask(reconcile.StageAfter, "true")
	always := post
	always.Always = true
	onFailure, onSuccess := always, always
	onFailure.On, onSuccess.On = []string{"failure"}, []string{"success"}
	skipped := ok
	skipped.Skip = &reconcile.Skip{Code: "SKIPPED_DEVICE_EXCLUDED", Reason: "test"}
	for _, c := range []struct {
		name  string
		tasks []reconcile.Task
		want  []string
		run   state.Status
	}{
		{"all good", []reconcile.Task{pre("true"), ok, ok, always}, []string{"succeeded", "succeeded", "succeeded", "succeeded"}, state.Succeeded},
		{"continue", []reconcile.Task{fail, ok, post}, []string{"failed FAILED_SCRIPT", "succeeded", "succeeded"}, state.Partial},
		{"halt", []reconcile.Task{halting, ok, post, always}, []string{"failed FAILED_SCRIPT", "cancelled EXECUTION_CANCELED_BECAUSE_ERROR_POLICY", "cancelled EXECUTION_CANCELED_BECAUSE_ERROR_POLICY", "succeeded"}, state.Partial},
		{"pre script fails", []reconcile.Task{pre("exit 2"), ok, post, always}, []string{"failed FAILED_SCRIPT", "cancelled PLAN_FAILED_PRE_SCRIPT", "cancelled PLAN_FAILED_PRE_SCRIPT", "succeeded"}, state.Partial},
		{"pre script skips", []reconcile.Task{pre("exit 75"), ok, post}, []string{"skipped SKIPPED_SOFT", "skipped SKIPPED_SOFT", "skipped SKIPPED_SOFT"}, state.Skipped},
		{"all skipped", []reconcile.Task{pre("true"), skipped, skipped, always}, []string{"skipped SKIPPED_ALL_TASKS_SKIPPED", "skipped SKIPPED_DEVICE_EXCLUDED", "skipped SKIPPED_DEVICE_EXCLUDED", "skipped SKIPPED_ALL_TASKS_SKIPPED"}, state.Skipped},
		{"bound to outcomes, good", []reconcile.Task{ok, onFailure, onSuccess}, []string{"succeeded", "skipped SKIPPED_CONDITION_NOT_MET", "succeeded"}, state.Succeeded},
		{"bound to outcomes, bad", []reconcile.Task{fail, onFailure, onSuccess}, []string{"failed FAILED_SCRIPT", "succeeded", "skipped SKIPPED_CONDITION_NOT_MET"}, state.Partial},
		{"timeout", []reconcile.Task{{Kind: "script", Stage: 1, Steps: []reconcile.Step{step("s", reconcile.OpScript, state.Halt, reconcile.ScriptArgs{Command: []string{"sleep", "60"}, Timeout: unit.Duration(10 * time.Millisecond)})}}}, []string{"failed FAILED_TIMEOUT"}, state.Failed},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := newBench(t)
			res := k.apply(k.plan(manual(c.tasks...)))
			k.want(res.Runs[0].ID, c.want...)
			if res.Runs[0].Status != c.run {
				t.Errorf("the run is %s, want %s", res.Runs[0].Status, c.run)
			}
		})
	}
}

func TestScriptsAreTold(t *testing.T) {
	k := newBench(t)
	task := scriptTask(reconcile.StageAfter, `echo "$HOLDFAST_RUN $HOLDFAST_TASK $HOLDFAST_STATUS $HOLDFAST_ADDRESS"`)
	task.Always = true
	res := k.apply(k.plan(manual(scriptTask(reconcile.StageWork, "exit 1"), task)))
	steps, err := k.b.Steps(t.Context(), res.Runs[0].ID+".2")
	if err != nil {
		t.Fatal(err)
	}
	want := res.Runs[0].ID + " " + res.Runs[0].ID + ".2 failed backup_plan.x"
	if !strings.Contains(string(steps[0].Output), want) {
		t.Errorf("output %s does not hold %q", steps[0].Output, want)
	}
}

func TestTaskScripts(t *testing.T) {
	k := newBench(t)
	k.initialised()
	task := k.backupTask("device.host", providers.AllDomains, "secure_backup", true)
	task.Steps[3] = script("exit 75")
	res := k.apply(k.plan(manual(task)))
	k.want(res.Runs[0].ID, "skipped SKIPPED_SOFT")
	if _, err := os.Stat(k.path("count", "task-post")); err != nil {
		t.Error("the post script did not run")
	}
}

func TestDependencies(t *testing.T) {
	k := newBench(t)
	k.failing("store.Init", 1, errors.New("no such disk"))
	backup := k.backupAction("2026-10-25T02:30")
	backup.After = []int{0}
	mirror := k.mirrorAction("mirror.plain", "plain", "plain-copy", "", 0)
	p := k.plan(k.initAction(), backup, mirror)
	p.Changes = []reconcile.Change{create("store.nas", true)}
	res := k.apply(p)
	k.want(res.Runs[0].ID, "failed FAILED")
	c := "cancelled CANCELLED_DEPENDENCY_FAILED"
	k.want(res.Runs[1].ID, c, c, c, c)
	k.want(res.Runs[2].ID, "succeeded")
	snap, _ := k.b.Snapshot(t.Context())
	if _, ok := snap.Objects["store.nas"]; ok {
		t.Error("a store that was not initialised is recorded")
	}
}

func TestWaitsForALock(t *testing.T) {
	k := newBench(t)
	now := time.Now()
	hold := state.Lock{Name: "device/host", Actor: "ana", Operation: "hold", Reason: "maintenance", Acquired: now, Expires: now.Add(100 * time.Hour)}
	if _, err := k.b.AcquireLock(t.Context(), hold); err != nil {
		t.Fatal(err)
	}
	task := scriptTask(reconcile.StageWork, "true")
	task.Locks = []string{"device/host"}
	release := func() {
		if _, err := k.b.BreakLock(t.Context(), "device/host", "ana", "done", time.Now()); err != nil {
			t.Error(err)
		}
	}
	var waited atomic.Bool
	events := k.o.Events
	k.o.Events = func(e execute.Event) {
		events(e)
		if e.Kind == execute.Waiting && waited.CompareAndSwap(false, true) {
			if !strings.Contains(e.Reason, "ana") {
				t.Errorf("the event does not name the holder: %q", e.Reason)
			}
			release()
		}
	}
	res := k.apply(k.plan(manual(task)))
	k.want(res.Runs[0].ID, "succeeded")
	if !waited.Load() {
		t.Error("no event told that it waits")
	}
}

func TestWaitsNoLongerThanADay(t *testing.T) {
	k := newBench(t)
	var skew atomic.Int64
	k.o.Now = func() time.Time { return time.Now().Add(time.Duration(skew.Load())) }
	now := time.Now()
	if _, err := k.b.AcquireLock(t.Context(), state.Lock{Name: "device/host", Actor: "ana", Operation: "hold", Acquired: now, Expires: now.Add(100 * time.Hour)}); err != nil {
		t.Fatal(err)
	}
	k.o.Events = func(e execute.Event) {
		if e.Kind == execute.Waiting {
			skew.Store(int64(25 * time.Hour))
		}
	}
	task := scriptTask(reconcile.StageWork, "true")
	task.Locks = []string{"device/host"}
	res := k.apply(k.plan(manual(task)))
	k.want(res.Runs[0].ID, "cancelled EXECUTION_CANCELED_BECAUSE_A_DAY_PASSED")
}

func TestTwoTasksOfOneDeviceNeverRunTogether(t *testing.T) {
	k := newBench(t)
	var tasks []reconcile.Task
	for i := range 12 {
		task := scriptTask(reconcile.StageWork, fmt.Sprintf(`mkdir %s && rmdir %[1]s`, k.path(fmt.Sprintf("busy%d", i%3))))
		task.Locks = []string{fmt.Sprintf("device/%d", i%3)}
		tasks = append(tasks, task)
	}
	p := k.plan(manual(tasks...))
	p.Parallel = 6
	res := k.apply(p)
	if res.Runs[0].Status != state.Succeeded {
		k.want(res.Runs[0].ID)
	}
}

func TestBrokenPreconditionsDoNothing(t *testing.T) {
	k := newBench(t)
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
	k := newBench(t)
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
	k := newBench(t)
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

func TestMirrorFollowsTheRole(t *testing.T) {
	k := newBench(t)
	res := k.apply(k.plan(k.mirrorAction("mirror.live", "left", "right", orders, 7)))
	k.want(res.Runs[0].ID, "cancelled CANCELLED_ROLE_CHANGED")
	if diff := compareTrees(k.path("left"), k.path("right")); diff == "" {
		t.Error("copied although the role has another epoch")
	}
}

func TestHalfASwitchoverIsAPersons(t *testing.T) {
	k := newBench(t)
	breakService(t, k.world)
	p := k.move("failover_target.link", "failover_target.svc")
	res := k.apply(p)
	k.want(res.Runs[0].ID, "attention OUTCOME_UNKNOWN")
	if r := k.role(); r.State != state.RoleUncertain || r.Active != left || r.Epoch != 2 || r.MovingTo != right {
		t.Errorf("role %+v", r)
	}
	task := k.tasks(res.Runs[0].ID)[0]
	if !strings.Contains(task.Error, "holdfast task resolve "+task.ID) {
		t.Errorf("the message does not say what to do: %s", task.Error)
	}
	live := k.apply(k.plan(k.mirrorAction("mirror.live", "left", "right", orders, 2)))
	k.want(live.Runs[0].ID, "cancelled CANCELLED_ROLE_CHANGED")

	if err := os.Remove(k.path("svc", "broken")); err != nil {
		t.Fatal(err)
	}
	if err := k.b.Resolve(t.Context(), task.ID, state.Interrupted, "ana", "repaired", time.Now()); err != nil {
		t.Fatal(err)
	}
	k.resume()
	k.want(res.Runs[0].ID, "succeeded")
	if r := k.role(); r.State != state.RoleSettled || r.Active != right || r.Epoch != 2 {
		t.Errorf("role %+v", r)
	}
	k.clean(p, true)
}

func TestAFailedMoveUsesItsEpochUp(t *testing.T) {
	k := newBench(t)
	breakService(t, k.world)
	res := k.apply(k.move("failover_target.svc", "failover_target.link"))
	k.want(res.Runs[0].ID, "failed FAILED")
	if r := k.role(); r.State != state.RoleSettled || r.Active != left || r.Epoch != 2 {
		t.Errorf("role %+v", r)
	}
	again := k.apply(k.plan(k.moveAction("left", "right", 1, "failover_target.svc")))
	k.want(again.Runs[0].ID, "cancelled CANCELLED_ROLE_CHANGED")
	if k.count(execute.DutyPaid) != 1 {
		t.Error("the freeze was not undone")
	}
}

func TestADutyThatCannotBePaidIsAPersons(t *testing.T) {
	k := newBench(t)
	breakService(t, k.world)
	k.failing("target.Unfreeze", -1, errors.New("no answer"))
	p := k.move("failover_target.svc", "failover_target.link")
	res := k.apply(p)
	k.want(res.Runs[0].ID, "attention DUTY_UNPAID")
	k.healed()
	task := k.tasks(res.Runs[0].ID)[0]
	if err := k.b.Resolve(t.Context(), task.ID, state.Interrupted, "ana", "repaired", time.Now()); err != nil {
		t.Fatal(err)
	}
	k.resume()
	k.want(res.Runs[0].ID, "failed FAILED")
	if r := k.role(); r.State != state.RoleSettled || r.Active != left {
		t.Errorf("role %+v", r)
	}
	k.clean(p, true)
}

func TestWindows(t *testing.T) {
	at := time.Date(2026, 11, 18, 23, 30, 0, 0, time.UTC)
	task := func(args reconcile.WindowArgs, command string) reconcile.Task {
		return reconcile.Task{Kind: "script", Stage: reconcile.StageWork, Steps: []reconcile.Step{
			step("window", reconcile.OpWindow, state.Rerun, args),
			step("work", reconcile.OpScript, state.Rerun, reconcile.ScriptArgs{Command: []string{"/bin/sh", "-c", command}, Timeout: unit.Duration(time.Minute)}),
		}}
	}
	night := reconcile.WindowArgs{Window: "maintenance_window.night", Start: "22:00", End: "06:00", Timezone: "UTC", AtClose: "finish"}
	day := reconcile.WindowArgs{Window: "maintenance_window.day", Start: "09:00", End: "17:00", Timezone: "UTC", AtClose: "finish"}
	closing := reconcile.WindowArgs{Window: "maintenance_window.night", Start: "22:00", End: "23:31", Timezone: "UTC", AtClose: "stop"}
	k := newBench(t)
	var skew atomic.Int64
	k.o.Now = func() time.Time { return at.Add(time.Duration(skew.Load())) }
	k.o.Events = func(e execute.Event) {
		if e.Step == "work" && e.Kind == execute.StepStarted {
			skew.Store(int64(59*time.Second + 900*time.Millisecond))
		}
	}
	skewed := manual(task(night, "true"), task(day, "true"), task(closing, "exit 0"))
	res := k.apply(k.plan(skewed))
	k.want(res.Runs[0].ID, "succeeded", "cancelled EXECUTION_CANCELED_BECAUSE_MAINTENANCE_WINDOW", "succeeded")
	skew.Store(int64(59*time.Second + 900*time.Millisecond))
	a := manual(task(closing, "sleep 60"))
	a.Address = "backup_plan.y"
	res = k.apply(k.plan(a))
	k.want(res.Runs[0].ID, "cancelled EXECUTION_CANCELED_BECAUSE_MAINTENANCE_WINDOW")
}

func TestSecretsAreNotKept(t *testing.T) {
	const canary = "canary-9f2c-value"
	k := newBench(t)
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
	k := newBench(t)
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

func TestResumeOfOneRun(t *testing.T) {
	k := newBench(t)
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
