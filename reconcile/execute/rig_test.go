package execute_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-dr/holdfast/config/unit"
	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/providertest/faulty"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/reconcile/execute"
	"github.com/holdfast-dr/holdfast/state"
)

// rig is a world with its state and an executor whose providers can be made to fail.
type rig struct {
	*testing.T
	world
	b      state.Backend
	o      execute.Options
	fault  faulty.Fault
	mu     sync.Mutex
	events []execute.Event
}

func newRig(t *testing.T) *rig {
	t.Helper()
	k := &rig{T: t, world: world{t.TempDir()}, fault: func(string) error { return nil }}
	k.build(t)
	db := k.world.open(t)
	t.Cleanup(func() { db.Close() })
	k.b = db
	k.o = execute.Options{
		Backend: db, Actor: "test", Version: "0.0",
		Registry: faulty.Registry(registry(), func(p string) error {
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
func (k *rig) failing(point string, n int, err error) {
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

func (k *rig) healed() { k.failing("", 0, nil) }

func (k *rig) apply(p *reconcile.Plan) execute.Result {
	k.Helper()
	res, err := execute.New(k.o).Apply(k.Context(), p)
	if err != nil {
		k.Fatal(err)
	}
	return res
}

func (k *rig) resume() execute.Result {
	k.Helper()
	res, err := execute.New(k.o).Resume(k.Context(), "")
	if err != nil {
		k.Fatal(err)
	}
	return res
}

func (k *rig) tasks(run string) []state.TaskRun {
	k.Helper()
	tasks, err := k.b.Tasks(k.Context(), run)
	if err != nil {
		k.Fatal(err)
	}
	return tasks
}

// want compares statuses and reasons of a run's tasks, written "succeeded" or "failed FAILED_VERIFY".
func (k *rig) want(run string, want ...string) {
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

func (k *rig) clean(p *reconcile.Plan, final bool) {
	k.Helper()
	for _, f := range k.check(k.Context(), k.b, p, final) {
		k.Error(f)
	}
}

func (k *rig) role() state.Role {
	k.Helper()
	snap, err := k.b.Snapshot(k.Context())
	if err != nil {
		k.Fatal(err)
	}
	return snap.Roles[orders]
}

func (k *rig) count(kind execute.EventKind) (n int) {
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
func (k *rig) initialised() {
	k.Helper()
	p := k.plan(k.initAction())
	p.Changes = []reconcile.Change{create("store.nas", true)}
	res := k.apply(p)
	k.want(res.Runs[0].ID, "succeeded")
}

func script(command string) reconcile.Step {
	return step("script", reconcile.OpScript, state.Halt, reconcile.ScriptArgs{Command: []string{"/bin/sh", "-c", command}, Timeout: unit.Duration(time.Minute)})
}

// scriptTask is a script around the work, or with StageWork work that is done by a script.
func scriptTask(stage int, command string) reconcile.Task {
	kind := state.KindScript
	if stage == reconcile.StageWork {
		kind = "backup"
	}
	return reconcile.Task{Kind: kind, Stage: stage, Steps: []reconcile.Step{script(command)}}
}

func manual(tasks ...reconcile.Task) reconcile.Action {
	return reconcile.Action{Address: "backup_plan.x", Kind: reconcile.ActionBackup, Trigger: state.TriggerManual, Tasks: tasks}
}
