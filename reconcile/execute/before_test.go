package execute_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dr/holdfast/config/unit"
	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/plain"
	"github.com/holdfast-dr/holdfast/providers/providertest/simulator"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/reconcile/execute"
	"github.com/holdfast-dr/holdfast/state"
)

// night is a window that is open at nightTime.
var (
	night     = reconcile.WindowArgs{Window: "maintenance_window.night", Start: "22:00", End: "06:00", Timezone: "UTC", AtClose: "finish"}
	nightTime = time.Date(2026, 11, 18, 23, 30, 0, 0, time.UTC)
)

// storeIs changes the settings of the store of a plan.
func (k *rig) storeIs(p *reconcile.Plan, settings map[string]any) {
	spec := p.Objects["store.nas"]
	all := map[string]any{"path": k.path("store")}
	for name, v := range settings {
		all[name] = v
	}
	spec.Spec = raw(all)
	p.Objects["store.nas"] = spec
}

// TestChecksBeforeAnythingRuns: the checks of the backup plan stand before its pre script and end the run with their code. Nothing else
// runs then, no post script either. Without a pre script each task finds out by itself.
func TestChecksBeforeAnythingRuns(t *testing.T) {
	swap := func(k *rig, p *reconcile.Plan) {
		spec := p.Objects["store.nas"]
		spec.Identity = "another"
		p.Objects["store.nas"] = spec
	}
	for _, c := range []struct {
		name   string
		change func(k *rig, p *reconcile.Plan)
		first  string // status and code of the first task
		code   string // of what waited
		alone  string // of a task in a backup plan without a pre script
	}{
		{"window", func(k *rig, _ *reconcile.Plan) { k.o.Now = func() time.Time { return nightTime.Add(12 * time.Hour) } },
			"cancelled PRE_VALIDATION_OUT_OF_MAINTENANCE_WINDOW", "PRE_VALIDATION_OUT_OF_MAINTENANCE_WINDOW", "cancelled EXECUTION_CANCELED_BECAUSE_MAINTENANCE_WINDOW"},
		{"mount", func(k *rig, p *reconcile.Plan) {
			k.storeIs(p, map[string]any{"mount": map[string]any{"required": true}})
		},
			"failed PRE_VALIDATION_STORE_IS_NOT_MOUNTED", "PRE_VALIDATION_STORE_IS_NOT_MOUNTED", "failed FAILED_STORE_NOT_MOUNTED"},
		{"not remote", func(k *rig, p *reconcile.Plan) { k.storeIs(p, map[string]any{"mount": map[string]any{"remote": true}}) },
			"failed PRE_VALIDATION_STORE_IS_NOT_MOUNTED", "PRE_VALIDATION_STORE_IS_NOT_MOUNTED", "failed FAILED_STORE_NOT_MOUNTED"},
		{"gone", func(k *rig, p *reconcile.Plan) {
			k.storeIs(p, map[string]any{"path": k.path("nothing"), "mount": map[string]any{"required": true}})
		}, "failed PRE_VALIDATION_STORE_IS_NOT_MOUNTED", "PRE_VALIDATION_STORE_IS_NOT_MOUNTED", "failed FAILED_STORE_NOT_MOUNTED"},
		{"identity", swap, "failed PRE_VALIDATION_STORE_IDENTITY_CHANGED", "PRE_VALIDATION_STORE_IDENTITY_CHANGED", "failed FAILED_STORE_IDENTITY_CHANGED"},
		{"space", func(k *rig, p *reconcile.Plan) {
			k.storeIs(p, map[string]any{"free_space": map[string]any{"min_bytes": "1000000TiB"}})
		}, "failed PRE_VALIDATION_BACKUP_STORE_OUT_OF_SPACE", "PRE_VALIDATION_BACKUP_STORE_OUT_OF_SPACE", "failed FAILED_STORE_SPACE"},
		{"space for the estimate", func(_ *rig, p *reconcile.Plan) {
			for i := range p.Actions[0].Tasks {
				p.Actions[0].Tasks[i].Estimate = 1 << 60
			}
		}, "failed PRE_VALIDATION_BACKUP_STORE_OUT_OF_SPACE", "PRE_VALIDATION_BACKUP_STORE_OUT_OF_SPACE", "failed FAILED_STORE_SPACE"},
		{"no answer", func(k *rig, _ *reconcile.Plan) {
			k.failing("store.Stat", -1, fmt.Errorf("%w: no route", providers.ErrUnavailable))
		},
			"failed PRE_VALIDATION_FAILED", "PRE_VALIDATION_FAILED", "failed FAILED_NOT_AVAILABLE"},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := newRig(t)
			k.initialised()
			k.o.Now = func() time.Time { return nightTime }
			task := k.backupTask("device.host", providers.AllDomains, "secure_backup", true)
			task.Steps[0].Args = raw(night)
			pre := reconcile.Task{Kind: "script", Stage: reconcile.StageBefore, OnError: "halt", Steps: []reconcile.Step{task.Steps[0], task.Steps[1], k.counted("plan-pre", state.Halt)}}
			post := reconcile.Task{Kind: "script", Stage: reconcile.StageAfter, Always: true, Steps: []reconcile.Step{k.counted("plan-post", state.Halt)}}

			p := k.plan(manual(pre, task, post))
			c.change(k, p)
			res := k.apply(p)
			k.want(res.Runs[0].ID, c.first, "cancelled "+c.code, "cancelled "+c.code)
			for _, script := range []string{"plan-pre", "plan-post", "task-pre"} {
				if _, err := os.Stat(k.path("count", script)); err == nil {
					t.Errorf("%s ran", script)
				}
			}

			p = k.plan(manual(task))
			p.Actions[0].Address = "backup_plan.alone"
			c.change(k, p)
			res = k.apply(p)
			k.want(res.Runs[0].ID, c.alone)
			if _, err := os.Stat(k.path("count", "task-pre")); err == nil {
				t.Error("the pre script of a task ran")
			}
		})
	}
}

// free asks the store of the rig how much space is free.
func (k *rig) free() int64 {
	k.Helper()
	s, err := plain.StoreType().Open(k.Context(), "nas", &plain.Settings{Path: k.path("store")}, providers.Env{})
	if err != nil {
		k.Fatal(err)
	}
	defer s.Close()
	info, err := s.Stat(k.Context())
	if err != nil {
		k.Fatal(err)
	}
	return info.FreeBytes
}

// TestRunningTasksReserveSpace: of two tasks that would each fit, the second fails while the first still has to write, and succeeds
// when the first has ended.
func TestRunningTasksReserveSpace(t *testing.T) {
	for _, parallel := range []int{1, 2} {
		t.Run(fmt.Sprint(parallel), func(t *testing.T) {
			k := newRig(t)
			k.initialised()
			estimate := k.free() / 10 * 6
			wait := func(file string) reconcile.Step {
				return script(`while [ ! -e "` + k.path(file) + `" ]; do sleep 0.01; done`)
			}
			first := k.backupTask("device.host", providers.AllDomains, "secure_backup", false)
			second := k.backupTask("device.docs", "main", "export_domain", false)
			first.Estimate, second.Estimate = estimate, estimate
			want := []string{"succeeded", "succeeded"}
			if parallel == 2 {
				first.Steps = append(first.Steps[:2:2], append([]reconcile.Step{wait("second-ended")}, first.Steps[2:]...)...)
				second.Steps = append([]reconcile.Step{wait("first-checked")}, second.Steps...)
				want[1] = "failed FAILED_STORE_SPACE"
			}
			mark := func(file string) {
				if err := os.WriteFile(k.path(file), nil, 0o600); err != nil {
					t.Error(err)
				}
			}
			k.o.Events = func(e execute.Event) {
				switch {
				case e.Kind == execute.StepDone && e.Step == "store" && strings.HasSuffix(e.Task, ".1"):
					mark("first-checked")
				case e.Kind == execute.TaskDone && strings.HasSuffix(e.Task, ".2"):
					mark("second-ended")
				}
			}
			p := k.plan(manual(first, second))
			p.Parallel = parallel
			res := k.apply(p)
			k.want(res.Runs[0].ID, want...)
			if msg := k.tasks(res.Runs[0].ID)[1].Error; parallel == 2 && !strings.Contains(msg, fmt.Sprintf("running tasks will write about %d", estimate)) {
				t.Errorf("the message is %q", msg)
			}
			k.clean(p, true)
		})
	}
}

// TestSpaceOnTheDevice is the seed's fifth check of a task.
func TestSpaceOnTheDevice(t *testing.T) {
	size := func(n int64) *int64 { return &n }
	for _, c := range []struct {
		name   string
		free   *int64
		change func(b *simulator.Behavior)
		status state.Status
		reason string
	}{
		{"enough", size(1 << 20), nil, state.Succeeded, ""},
		{"too little", size(1<<20 - 1), nil, state.Failed, "NOT_ENOUGH_FREE_SPACE_ON_DEVICE"},
		{"not told", nil, nil, state.Warned, ""},
		{"no answer", size(1 << 30), func(b *simulator.Behavior) { b.Fails = map[string]int{"state": -1} }, state.Failed, "FAILED"},
		{"full in the end", size(1 << 20), func(b *simulator.Behavior) { b.Size = 1 << 20 }, state.Failed, "NOT_ENOUGH_FREE_SPACE_ON_DEVICE"},
	} {
		t.Run(c.name, func(t *testing.T) {
			q := newQuietRig(t)
			q.sim.Set(t, func(b *simulator.Behavior) {
				b.FreeBytes = c.free
				if c.change != nil {
					c.change(b)
				}
			})
			task := q.backupTask("device.box", providers.AllDomains, "secure_backup", true)
			space := step("space", reconcile.OpDeviceSpace, state.Rerun, reconcile.SpaceArgs{Device: "device.box", MinFree: 1 << 20})
			task.Steps = append(task.Steps[:3:3], append([]reconcile.Step{space}, task.Steps[3:]...)...)
			got := q.backup(task)
			q.wantTask(got, c.status, c.reason)
			_, err := os.Stat(q.path("count", "task-pre"))
			if ran := err == nil; ran != (c.status != state.Failed || c.name == "full in the end") {
				t.Errorf("the pre script ran: %t", ran)
			}
			q.sim.Set(t, func(b *simulator.Behavior) { b.Fails = nil })
			q.clean()
		})
	}
}

// TestAtClose: when the window closes, waiting tasks do not start. What runs ends by itself, or with at_close = "stop" is cut off,
// the device released and what was staged thrown away.
func TestAtClose(t *testing.T) {
	cancelled := "cancelled EXECUTION_CANCELED_BECAUSE_MAINTENANCE_WINDOW"
	for close, want := range map[string]string{"finish": "succeeded", "stop": cancelled} {
		t.Run(close, func(t *testing.T) {
			q := newQuietRig(t)
			closes := time.Date(2026, 11, 18, 23, 31, 0, 0, time.UTC)
			q.at = closes.Add(-100 * time.Millisecond)
			window := raw(reconcile.WindowArgs{Window: "maintenance_window.night", Start: "22:00", End: "23:31", Timezone: "UTC", AtClose: close})
			var tasks []reconcile.Task
			for _, domain := range []string{"D1", "D2"} {
				task := q.quietTask(domain, "export_domain")
				task.Steps[0].Args = window
				tasks = append(tasks, task)
			}
			if close == "stop" {
				q.sim.Set(t, func(b *simulator.Behavior) { b.Capture = simulator.HangsHalfWay })
			}
			q.o.Events = func(e execute.Event) {
				if e.Step == "capturepersisted" && e.Kind == execute.StepStarted && close == "finish" {
					q.mu.Lock()
					q.at = closes.Add(time.Minute)
					q.mu.Unlock()
				}
			}
			for i := range tasks { // time passes only in captures: quiescing takes none
				tasks[i].Steps = withoutOps(tasks[i].Steps, reconcile.OpDeviceWait)
			}
			q.sim.Set(t, func(b *simulator.Behavior) { b.QuiesceTime, b.UnquiesceTime = 0, 0 })
			res := q.apply(q.plan(manual(tasks...)))
			q.sim.Set(t, func(b *simulator.Behavior) { b.Capture = "" })
			t.Logf("fault 16: at_close = %q: the running task %s, the waiting one %s", close, want, cancelled)
			if close == "stop" { // the clock stands still, and the first task ended when it closed
				q.want(res.Runs[0].ID, want, want)
			} else {
				q.want(res.Runs[0].ID, want, cancelled)
			}
			q.clean()
		})
	}
}

func withoutOps(steps []reconcile.Step, op reconcile.Op) (left []reconcile.Step) {
	for _, s := range steps {
		if s.Op != op {
			left = append(left, s)
		}
	}
	return left
}

// TestScriptsAreFilled: arguments of scripts around a task.
func TestScriptsAreFilled(t *testing.T) {
	k := newRig(t)
	k.initialised()
	task := k.backupTask("device.host", providers.AllDomains, "secure_backup", false)
	post := step("post", reconcile.OpScript, state.Halt, reconcile.ScriptArgs{
		Command: []string{"/bin/echo", "{backup_plan}", "{activity}", "{device}", "{domain}", "{action}", "{status}", "{run}", "{task}", "{{device}}"}, Timeout: unit.Duration(time.Minute),
	})
	post.Always = true
	task.Steps = append(task.Steps, post)
	res := k.apply(k.plan(manual(task)))
	k.want(res.Runs[0].ID, "succeeded")
	steps, err := k.b.Steps(t.Context(), res.Runs[0].ID+".1")
	if err != nil {
		t.Fatal(err)
	}
	var out struct{ Stdout string }
	if err := json.Unmarshal(steps[len(steps)-1].Output, &out); err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("x all host all-domains secure_backup succeeded %s %[1]s.1 {device}\n", res.Runs[0].ID); out.Stdout != want {
		t.Errorf("the script got %q, want %q", out.Stdout, want)
	}
}
