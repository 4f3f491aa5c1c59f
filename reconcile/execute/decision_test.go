package execute_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/providertest/simulator"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/reconcile/execute"
	"github.com/holdfast-dr/holdfast/state"
)

// killedIn applies a plan and kills the process as soon as a step has begun. It gives the run.
func (k *rig) killedIn(step string, p *reconcile.Plan) (run string) {
	k.Helper()
	o := k.o
	kill, cut := context.WithCancel(k.Context())
	k.o.Kill = kill
	killed := false
	k.o.Events = func(e execute.Event) {
		if e.Kind == execute.StepStarted && e.Step == step && !killed {
			killed = true
			cut()
		}
	}
	res := k.apply(p)
	k.o = o
	if !killed || !res.Stopped || len(res.Left) > 0 {
		k.Fatalf("killed: %t, stopped: %t, left: %v", killed, res.Stopped, res.Left)
	}
	return res.Runs[0].ID
}

// TestDoneIsOneStep: that a script was done does not mean that the backup was.
func TestDoneIsOneStep(t *testing.T) {
	for _, c := range []struct {
		step  string
		after state.Status // of the task, when a person said that the step was done
	}{
		{"task-pre", state.Interrupted}, {"task-post", state.Succeeded},
	} {
		t.Run(c.step, func(t *testing.T) {
			k := newRig(t)
			k.initialised()
			p := k.plan(manual(k.backupTask("device.docs", "main", "export_domain", true)))
			run := k.killedIn(c.step, p)
			k.resume()
			k.want(run, "attention OUTCOME_UNKNOWN")
			arts, _ := k.b.Artifacts(t.Context(), state.ArtifactFilter{})
			if got := k.decide(run+".1", execute.AnswerDone); got != c.after {
				t.Errorf("the task is %s, want %s", got, c.after)
			}
			k.want(run, string(c.after))
			if snap, _ := k.b.Snapshot(t.Context()); len(arts) == 0 && snap.LastGood["backup_plan.x"].ID != "" {
				t.Error("a run that has backed up nothing counts as a good one")
			}
			k.resume()
			k.want(run, "succeeded")
			if arts, _ = k.b.Artifacts(t.Context(), state.ArtifactFilter{State: state.ArtifactGood}); len(arts) != 1 {
				t.Errorf("%d artifacts, want 1", len(arts))
			}
			if n := k.ran(c.step); n > 1 {
				t.Errorf("the script ran %d times", n)
			}
			steps, _ := k.b.Steps(t.Context(), run+".1")
			i := slices.IndexFunc(steps, func(s state.StepRun) bool { return s.Name == c.step })
			if s := steps[i]; s.State != state.StepDone || s.Error != "" || !strings.Contains(string(s.Output), `"told_by":"ann"`) {
				t.Errorf("the step is %s, %q, %s", s.State, s.Error, s.Output)
			}
			if task := k.tasks(run)[0]; task.Reason+task.Error != "" || task.Files == 0 {
				t.Errorf("the task has %d files, %s %s", task.Files, task.Reason, task.Error)
			}
			if _, err := execute.Decide(t.Context(), k.b, execute.Decision{Task: run + ".1", Answer: execute.AnswerDone, Actor: "ann", Reason: "again", At: time.Now()}); !errors.Is(err, state.ErrStale) || err.Error() != "task "+run+".1 has succeeded and needs no decision" {
				t.Errorf("decided again: %v", err)
			}
			k.clean(p, true)
		})
	}
}

// TestAfterARetryNothingTellsOfTheQuestion: the record of a task is about how it ended.
func TestAfterARetryNothingTellsOfTheQuestion(t *testing.T) {
	k := newRig(t)
	k.initialised()
	run := k.killedIn("task-pre", k.plan(manual(k.backupTask("device.docs", "main", "export_domain", true))))
	k.resume()
	k.decide(run+".1", execute.AnswerRetry)
	for range 2 {
		if task := k.tasks(run)[0]; task.Reason+task.Error != "" {
			t.Errorf("it is %s: %s %s", task.Status, task.Reason, task.Error)
		}
		k.resume()
	}
	k.want(run, "succeeded")
}

// mute is a store that does or does not do what it is asked for, and cannot be asked.
type mute struct {
	providers.Store
	*muteness
}

type muteness struct{ commits, asks bool }

func (m mute) Commit(ctx context.Context, of providers.Manifest) (providers.Manifest, error) {
	if m.commits {
		if _, err := m.Store.Commit(context.WithoutCancel(ctx), of); err != nil {
			return of, err
		}
	}
	if !m.asks {
		return of, errors.New("broken")
	}
	return m.Store.Commit(ctx, of)
}

func (m mute) Get(ctx context.Context, ref providers.ArtifactRef) (providers.Manifest, error) {
	if !m.asks {
		return providers.Manifest{}, errors.New("broken")
	}
	return m.Store.Get(ctx, ref)
}

// TestDoneIsLookedAt: what a step leaves in a store is recorded as it was seen there. A person's word makes no artifact.
func TestDoneIsLookedAt(t *testing.T) {
	for _, happened := range []bool{true, false} {
		k := newRig(t)
		k.initialised()
		m := &muteness{commits: happened}
		reg := *k.o.Registry
		reg.Stores = slices.Clone(reg.Stores)
		open := reg.Stores[0].Open
		reg.Stores[0].Open = func(ctx context.Context, name string, settings any, env providers.Env) (providers.Store, error) {
			s, err := open(ctx, name, settings, env)
			return mute{s, m}, err
		}
		k.o.Registry = &reg
		p := k.plan(manual(k.backupTask("device.docs", "main", "export_domain", true)))
		run := k.killedIn("commit", p)
		k.resume()
		k.want(run, "attention OUTCOME_UNKNOWN")
		k.decide(run+".1", execute.AnswerDone)
		k.want(run, "interrupted")
		k.resume() // it still cannot be asked
		k.want(run, "attention OUTCOME_UNKNOWN")
		k.decide(run+".1", execute.AnswerDone)
		m.asks, m.commits = true, false
		k.resume()
		if !happened {
			k.want(run, "attention OUTCOME_UNKNOWN")
			if task := k.tasks(run)[0]; !strings.Contains(task.Error, "a look does not show it") || !strings.Contains(task.Error, "task resolve "+task.ID) {
				t.Errorf("it says: %s", task.Error)
			}
			k.decide(run+".1", execute.AnswerRetry)
			k.resume()
		}
		k.want(run, "succeeded")
		if arts, _ := k.b.Artifacts(t.Context(), state.ArtifactFilter{State: state.ArtifactGood}); len(arts) != 1 {
			t.Errorf("%d artifacts, want 1", len(arts))
		}
		k.clean(p, true)
	}
}

// TestUnquiescedByHand: who says so pays the duty, and no more: a backup that was made is committed, one that failed stays failed.
func TestUnquiescedByHand(t *testing.T) {
	for name, c := range map[string]struct {
		capture error
		after   string
		arts    int
	}{
		"after a capture":        {nil, "succeeded", 2},
		"after a failed capture": {errors.New("broken"), "failed FAILED", 0},
	} {
		t.Run(name, func(t *testing.T) {
			q := newQuietRig(t)
			q.sim.Set(t, func(b *simulator.Behavior) { b.NeverUnquiesces = true })
			if c.capture != nil {
				q.failing("device.Capture", 1, c.capture)
			}
			res := q.apply(q.plan(manual(q.quietTask("D1", "export_domain"), q.quietTask("D2", "export_domain"))))
			run := res.Runs[0].ID
			q.want(run, "attention "+execute.FailedUnquiesce, "pending")
			if res.Runs[0].Status != state.Attention || res.Interrupted {
				t.Errorf("the run is %s, interrupted: %t", res.Runs[0].Status, res.Interrupted)
			}
			if res, err := execute.New(q.o).Resume(t.Context(), run); err != nil || res.Runs[0].Status != state.Attention || q.count(execute.TakenOver) > 0 {
				t.Errorf("resumed without a decision: %+v, %v", res, err)
			}
			q.healed()
			q.sim.Set(t, func(b *simulator.Behavior) { b.NeverUnquiesces = false })
			q.sim.Put(t, "D1", providers.Normal)
			asked := len(q.called("unquiesce"))
			q.decide(run+".1", execute.AnswerDone)
			q.want(run, "interrupted", "pending")
			if open := q.owes(run + ".1"); len(open) > 0 {
				t.Errorf("owes %q", open)
			}
			q.resume()
			q.want(run, c.after, "succeeded")
			if again := len(q.called("unquiesce")) - asked; again != 1 { // of the other task
				t.Errorf("unquiesced %d times more", again)
			}
			arts, _ := q.b.Artifacts(t.Context(), state.ArtifactFilter{Domain: "D1", State: state.ArtifactGood})
			if len(arts) != c.arts {
				t.Errorf("%d artifacts, want %d", len(arts), c.arts)
			}
			q.clean()
		})
	}
}

// TestLeftQuiescedByAStop: a stop that cannot release the device asks a person; the answer leads back to the backup.
func TestLeftQuiescedByAStop(t *testing.T) {
	q := newQuietRig(t)
	q.sim.Set(t, func(b *simulator.Behavior) { b.NeverUnquiesces, b.Capture = true, simulator.HangsHalfWay })
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	q.o.Events = func(e execute.Event) {
		if e.Step == "capturepersisted" && e.Kind == execute.StepStarted {
			stop()
		}
	}
	res, err := execute.New(q.o).Apply(ctx, q.plan(manual(q.quietTask("D2", "export_domain"))))
	if err != nil {
		t.Fatal(err)
	}
	run := res.Runs[0].ID
	q.want(run, "attention "+execute.FailedUnquiesce)
	q.sim.Set(t, func(b *simulator.Behavior) { b.NeverUnquiesces, b.Capture = false, "" })
	q.sim.Put(t, "D2", providers.Normal)
	q.decide(run+".1", execute.AnswerDone)
	q.resume()
	q.want(run, "succeeded")
	q.clean()
}

// TestUnfrozenByHand: the move has failed and stays failed; its role is looked at before it is settled.
func TestUnfrozenByHand(t *testing.T) {
	k := newRig(t)
	breakService(t, k.world)
	k.failing("target.Unfreeze", -1, errors.New("no answer"))
	p := k.move("failover_target.svc", "failover_target.link")
	res := k.apply(p)
	run := res.Runs[0].ID
	k.want(run, "attention DUTY_UNPAID")
	if err := os.Remove(k.path("svc", "frozen")); err != nil {
		t.Fatal(err)
	}
	k.decide(run+".1", execute.AnswerDone)
	if r := k.role(); r.State != state.RoleUncertain {
		t.Errorf("role %+v before anybody looked", r)
	}
	k.resume() // the service still cannot be unfrozen, and need not be
	k.want(run, "failed FAILED")
	if r := k.role(); r.State != state.RoleSettled || r.Active != left {
		t.Errorf("role %+v", r)
	}
	k.healed()
	k.clean(p, true)
}

// TestSwitchedByHand: a role is settled only on a side that the targets show, whatever a person says.
func TestSwitchedByHand(t *testing.T) {
	k := newRig(t)
	breakService(t, k.world)
	p := k.move("failover_target.link", "failover_target.svc")
	run := k.apply(p).Runs[0].ID
	k.want(run, "attention OUTCOME_UNKNOWN")
	uncertain := func(when string) {
		t.Helper()
		if r := k.role(); r.State != state.RoleUncertain || r.Active != left || r.Epoch != 2 || r.MovingTo != right {
			t.Errorf("%s, the role is %+v", when, r)
		}
	}
	k.decide(run+".1", execute.AnswerDone)
	k.want(run, "interrupted")
	uncertain("told")
	k.resume()
	k.want(run, "attention OUTCOME_UNKNOWN")
	uncertain("told, and not so")

	k.failing("target.Observe", -1, errors.New("no answer"))
	k.decide(run+".1", execute.AnswerDone)
	k.resume()
	k.want(run, "attention OUTCOME_UNKNOWN")
	uncertain("told, and nobody can look")

	k.healed()
	if err := errors.Join(os.WriteFile(k.path("svc", "state"), []byte("right\nepoch=2\n"), 0o644), os.Remove(k.path("svc", "frozen"))); err != nil {
		t.Fatal(err)
	}
	k.decide(run+".1", execute.AnswerDone)
	uncertain("told, before the look")
	k.resume()
	k.want(run, "succeeded")
	if r := k.role(); r.State != state.RoleSettled || r.Active != right || r.Epoch != 2 {
		t.Errorf("role %+v", r)
	}
	k.clean(p, true)
}

// TestBehindADecision: a run that wants what a task in attention keeps is left at once, and says why. Nobody stopped it.
func TestBehindADecision(t *testing.T) {
	q := newQuietRig(t)
	q.sim.Set(t, func(b *simulator.Behavior) { b.NeverUnquiesces = true })
	stuck := q.backup(q.quietTask("D1", "export_domain"))
	q.wantTask(stuck, state.Attention, execute.FailedUnquiesce)
	next := manual(q.quietTask("D2", "export_domain"))
	next.TriggerKey = "next"
	after := q.mirrorAction("mirror.plain", "plain", "plain-copy", "", 0)
	after.After = []int{0}
	check := func(res execute.Result) {
		t.Helper()
		if !res.Interrupted || res.Stopped || len(res.Left) != 2 {
			t.Fatalf("interrupted: %t, stopped: %t, left: %+v", res.Interrupted, res.Stopped, res.Left)
		}
		l := res.Left[0]
		if l.Run != res.Runs[0].ID || l.Task != l.Run+".1" || !l.Idle || !strings.Contains(l.Why, "device/box, which task "+stuck.ID+" keeps") ||
			!strings.Contains(l.Why, "holdfast task resolve "+stuck.ID) {
			t.Errorf("left %+v", l)
		}
		if l := res.Left[1]; l.Why != "it comes after run "+res.Runs[0].ID+", which has not ended" {
			t.Errorf("left %+v", l)
		}
	}
	res := q.apply(q.plan(next, after))
	check(res)
	check(q.resume())
	q.sim.Set(t, func(b *simulator.Behavior) { b.NeverUnquiesces = false })
	q.decide(stuck.ID, execute.AnswerRetry)
	if res := q.resume(); len(res.Left) > 0 || res.Interrupted {
		t.Errorf("left %+v", res.Left)
	}
	q.want(res.Runs[0].ID, "succeeded")
	q.want(res.Runs[1].ID, "succeeded")
	q.clean()
}

// TestTwoQuestions: one answer pays the duty that is asked about, and the step that nobody knows of asks next. Nothing runs again. What an older
// version left does not name the duty.
func TestTwoQuestions(t *testing.T) {
	for name, question := range map[string]json.RawMessage{"named": json.RawMessage(`{"duty":"unquiesce device.box D1"}`), "older": nil} {
		t.Run(name, func(t *testing.T) {
			q := newQuietRig(t)
			task := q.quietTask("D1", "export_domain")
			last := len(task.Steps) - 1
			task.Steps = append([]reconcile.Step{q.counted("announce", state.Halt)}, task.Steps[last]) // a commit that nothing is captured for
			plan := q.plan(manual(task))
			runs, err := q.b.Begin(t.Context(), state.StoredPlan{ID: name, Digest: plan.Digest, Body: raw(plan)}, []state.NewRun{{
				Run: state.Run{Address: "backup_plan.x", Trigger: state.TriggerManual, TriggerKey: name, CreatedAt: q.at}, Tasks: []state.TaskRun{{Kind: "backup", Locks: task.Locks}},
			}})
			if err != nil {
				t.Fatal(err)
			}
			id := runs[0].ID + ".1"
			s, err := q.b.OpenSession(t.Context(), state.Session{PID: os.Getpid(), Actor: "test", Started: q.at})
			if err != nil {
				t.Fatal(err)
			}
			claim, err := q.b.Claim(t.Context(), s.Epoch, id, q.at)
			if err != nil {
				t.Fatal(err)
			}
			unknown := state.StepRun{Index: 0, Name: "announce", Class: state.Halt, State: state.StepUnknown, Error: "cut off"}
			if err := q.b.Journal(t.Context(), claim, state.Entry{
				End: &unknown, Duties: []state.Duty{{Task: id, Name: "unquiesce device.box D1"}}, At: q.at,
				Finish: &state.TaskRun{Status: state.Attention, Reason: execute.DutyUnpaid, Error: "unquiesce device.box D1: no answer", Output: question},
			}); err != nil {
				t.Fatal(err)
			}
			if err := q.b.CloseSession(t.Context(), s.Epoch); err != nil {
				t.Fatal(err)
			}
			q.decide(id, execute.AnswerDone)
			if open := q.owes(id); len(open) > 0 {
				t.Errorf("owes %q", open)
			}
			q.want(runs[0].ID, "interrupted")
			q.resume()
			q.want(runs[0].ID, "attention OUTCOME_UNKNOWN")
			if task := q.tasks(runs[0].ID)[0]; !strings.Contains(task.Error, `step "announce"`) || len(task.Output) > 0 {
				t.Errorf("it asks: %s %s", task.Error, task.Output)
			}
			if got := q.decide(id, execute.AnswerFailed); got != state.Failed || q.ran("announce") > 0 {
				t.Errorf("the task is %s, the script ran %d times", got, q.ran("announce"))
			}
			if task := q.tasks(runs[0].ID)[0]; task.Error != "ann decided that it failed: looked" || task.Reason != execute.Unknown {
				t.Errorf("the task says %s: %s", task.Reason, task.Error)
			}
			if locks, _ := q.b.Locks(t.Context()); len(locks) > 0 {
				t.Errorf("locked: %v", locks)
			}
		})
	}
}

// TestNoSuchDecision: what cannot be answered is refused, and nothing changes.
func TestNoSuchDecision(t *testing.T) {
	k := newRig(t)
	run := k.cutOff()
	for name, d := range map[string]execute.Decision{
		"no task":        {Task: run + ".9", Answer: execute.AnswerDone, At: time.Now()},
		"no run":         {Task: "99.1", Answer: execute.AnswerFailed, At: time.Now()},
		"no id":          {Task: "../x", Answer: execute.AnswerRetry, At: time.Now()},
		"no answer":      {Task: run + ".1", At: time.Now()},
		"another answer": {Task: run + ".1", Answer: "maybe", At: time.Now()},
		"no time":        {Task: run + ".1", Answer: execute.AnswerDone},
	} {
		if to, err := execute.Decide(t.Context(), k.b, d); err == nil {
			t.Errorf("%s: it is %s", name, to)
		}
	}
	if _, err := execute.Decide(t.Context(), k.b, execute.Decision{Task: run + ".2", Answer: execute.AnswerDone, At: time.Now()}); !errors.Is(err, state.ErrStale) {
		t.Errorf("a task that has not begun: %v", err)
	}
	k.want(run, "attention OUTCOME_UNKNOWN", "pending", "pending")
}
