package execute_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-dr/holdfast/config/unit"
	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/reconcile/execute"
	"github.com/holdfast-dr/holdfast/state"
)

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
			k := newRig(t)
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
		{"halt", []reconcile.Task{halting, ok, post, always}, []string{"failed FAILED_SCRIPT", "cancelled EXECUTION_CANCELED_BECAUSE_ERROR_POLICY", "cancelled EXECUTION_CANCELED_BECAUSE_ERROR_POLICY", "succeeded"}, state.Failed},
		{"pre script fails", []reconcile.Task{pre("exit 2"), ok, post, always}, []string{"failed FAILED_SCRIPT", "cancelled PLAN_FAILED_PRE_SCRIPT", "cancelled PLAN_FAILED_PRE_SCRIPT", "succeeded"}, state.Failed},
		{"pre script skips", []reconcile.Task{pre("exit 75"), ok, post}, []string{"skipped SKIPPED_SOFT", "skipped SKIPPED_SOFT", "skipped SKIPPED_SOFT"}, state.Skipped},
		{"all skipped", []reconcile.Task{pre("true"), skipped, skipped, always}, []string{"skipped SKIPPED_ALL_TASKS_SKIPPED", "skipped SKIPPED_DEVICE_EXCLUDED", "skipped SKIPPED_DEVICE_EXCLUDED", "skipped SKIPPED_ALL_TASKS_SKIPPED"}, state.Skipped},
		{"post script fails", []reconcile.Task{ok, scriptTask(reconcile.StageAfter, "exit 1")}, []string{"succeeded", "failed FAILED_SCRIPT"}, state.Partial},
		{"bound to outcomes, good", []reconcile.Task{ok, onFailure, onSuccess}, []string{"succeeded", "skipped SKIPPED_CONDITION_NOT_MET", "succeeded"}, state.Succeeded},
		{"bound to outcomes, bad", []reconcile.Task{fail, onFailure, onSuccess}, []string{"failed FAILED_SCRIPT", "succeeded", "skipped SKIPPED_CONDITION_NOT_MET"}, state.Failed},
		{"timeout", []reconcile.Task{{Kind: "script", Stage: 1, Steps: []reconcile.Step{step("s", reconcile.OpScript, state.Halt, reconcile.ScriptArgs{Command: []string{"sleep", "60"}, Timeout: unit.Duration(10 * time.Millisecond)})}}}, []string{"failed FAILED_TIMEOUT"}, state.Failed},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := newRig(t)
			res := k.apply(k.plan(manual(c.tasks...)))
			k.want(res.Runs[0].ID, c.want...)
			if res.Runs[0].Status != c.run {
				t.Errorf("the run is %s, want %s", res.Runs[0].Status, c.run)
			}
		})
	}
}

// TestScriptsAreTold: a script hears how things went up to it. Before the work nothing went yet.
func TestScriptsAreTold(t *testing.T) {
	const tell = `env | grep ^HOLDFAST_`
	k := newRig(t)
	k.initialised()
	told := func(run string, task, step int) map[string]string {
		steps, err := k.b.Steps(t.Context(), fmt.Sprintf("%s.%d", run, task))
		if err != nil || len(steps) <= step {
			t.Fatalf("%d steps, %v", len(steps), err)
		}
		var out struct{ Stdout string }
		if err := json.Unmarshal(steps[step].Output, &out); err != nil {
			t.Fatal(err)
		}
		env := map[string]string{}
		for line := range strings.Lines(out.Stdout) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			env[strings.TrimPrefix(name, "HOLDFAST_")] = value
		}
		return env
	}
	want := func(env map[string]string, want string) {
		t.Helper()
		var got []string
		for _, name := range []string{
			"STATUS", "REASON", "ERROR", "TASKS", "TASKS_SUCCEEDED", "TASKS_FAILED", "TASKS_SKIPPED", "FILES", "SOURCE_FILES", "SOURCE_BYTES",
		} {
			value, set := env[name]
			if !set {
				t.Errorf("%s is not told", name)
			}
			got = append(got, value)
		}
		if got := strings.Join(got, ", "); got != want {
			t.Errorf("told\n%s, want\n%s", got, want)
		}
	}
	good := k.backupTask("device.host", providers.AllDomains, "secure_backup", true)
	good.Steps[3], good.Steps[len(good.Steps)-1] = script(tell), always(script(tell))
	bad := k.backupTask("device.host", providers.AllDomains, "secure_backup", true)
	bad.Steps[3], bad.Steps[len(bad.Steps)-1] = script(`echo no way >&2; exit 3`), always(script(tell))
	post := scriptTask(reconcile.StageAfter, tell)
	post.Always = true

	res := k.apply(k.plan(manual(scriptTask(reconcile.StageBefore, tell), good, bad, post)))
	run := res.Runs[0]
	k.want(run.ID, "succeeded", "succeeded", "failed FAILED_SCRIPT", "succeeded")
	if run.Status != state.Partial || run.SourceBytes == 0 {
		t.Errorf("the run is %+v", run)
	}
	source := fmt.Sprintf("%d, %d", run.SourceFiles, run.SourceBytes)
	files := k.tasks(run.ID)[1].Files
	want(told(run.ID, 1, 0), "running, , , 2, 0, 0, 0, 0, 0, 0")
	want(told(run.ID, 2, 3), "running, , , 1, 0, 0, 0, 0, 0, 0")
	want(told(run.ID, 2, len(good.Steps)-1), fmt.Sprintf("succeeded, , , 1, 1, 0, 0, %d, %s", files, source))
	why := "/bin/sh ended with exit code 3: no way"
	want(told(run.ID, 3, 4), "failed, FAILED_SCRIPT, "+why+", 1, 0, 1, 0, 0, 0, 0")
	want(told(run.ID, 4, 0), fmt.Sprintf("partial, FAILED_SCRIPT, %s.3: %s, 2, 1, 1, 0, %d, %s", run.ID, why, files, source))
}

func always(s reconcile.Step) reconcile.Step {
	s.Always = true
	return s
}

func TestTaskScripts(t *testing.T) {
	k := newRig(t)
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
	k := newRig(t)
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

func TestWaitsNoLongerThanADay(t *testing.T) {
	k := newRig(t)
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
	t.Log("fault 16: a task that waited for 25 h is cancelled with EXECUTION_CANCELED_BECAUSE_A_DAY_PASSED")
}

func TestTwoTasksOfOneDeviceNeverRunTogether(t *testing.T) {
	k := newRig(t)
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
	k := newRig(t)
	var skew atomic.Int64
	k.o.Now = func() time.Time { return at.Add(time.Duration(skew.Load())) }
	res := k.apply(k.plan(manual(task(night, "true"), task(day, "true"), task(closing, "exit 0"))))
	k.want(res.Runs[0].ID, "succeeded", "cancelled EXECUTION_CANCELED_BECAUSE_MAINTENANCE_WINDOW", "succeeded")
	skew.Store(int64(59*time.Second + 900*time.Millisecond))
	a := manual(task(closing, "sleep 60"))
	a.Address = "backup_plan.y"
	res = k.apply(k.plan(a))
	k.want(res.Runs[0].ID, "cancelled EXECUTION_CANCELED_BECAUSE_MAINTENANCE_WINDOW")
}
