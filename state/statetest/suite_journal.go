package statetest

import (
	"encoding/json"

	"github.com/holdfast-dr/holdfast/state"
)

var journalTests = map[string]func(*fixture){
	"attention with an unpaid duty keeps the locks until a person decides": func(f *fixture) {
		se := f.session()
		r := f.begin("backup_plan.qa", device("QA1"), device("QA2"))
		owing, paid := f.claim(se, r.ID+".1"), f.claim(se, r.ID+".2")
		for _, c := range []state.Claim{owing, paid} {
			f.journal(c, state.Entry{Begin: &state.StepRun{Name: "quiesce", Class: state.Rerun}, Duties: []state.Duty{{Name: "unquiesce"}}})
		}
		f.journal(paid, state.Entry{Paid: []string{"unquiesce"}})
		f.finish(owing, state.Attention)
		f.finish(paid, state.Attention)
		locks := f.snapshot().Locks
		equal(f, "locks", len(locks), 1)
		equal(f, "holder", locks[0].Task, owing.Task)
		f.ok(f.resolve(owing.Task, state.Failed))
		equal(f, "locks", len(f.snapshot().Locks), 0)
	},
	"a task from its first step to its end": func(f *fixture) {
		se := f.session()
		r := f.begin("backup_plan.qa", device("QA1"), device("QA2"))
		c := f.claim(se, r.ID+".1")
		t0 := f.tick()
		f.journal(c, state.Entry{Begin: &state.StepRun{Index: 0, Name: "quiesce", Class: state.Rerun, Input: json.RawMessage(`{"timeout":"60s"}`)},
			Duties: []state.Duty{{Name: "unquiesce", Args: json.RawMessage(`{"device":"QA1"}`)}}, At: t0})
		steps, err := f.b.Steps(f.ctx(), c.Task)
		f.ok(err)
		intent := state.StepRun{Task: c.Task, Index: 0, Name: "quiesce", Class: state.Rerun, State: state.StepIntent, Session: se, Attempt: 1,
			Input: json.RawMessage(`{"timeout":"60s"}`), Began: t0}
		equal(f, "steps", steps, []state.StepRun{intent})
		duties, err := f.b.Duties(f.ctx(), c.Task)
		f.ok(err)
		equal(f, "duties", duties, []state.Duty{{Task: c.Task, Name: "unquiesce", Args: json.RawMessage(`{"device":"QA1"}`)}})

		t1 := f.tick()
		f.journal(c, state.Entry{End: &state.StepRun{Index: 0, State: state.StepDone, Output: json.RawMessage(`{"ok":true}`)},
			Begin: &state.StepRun{Index: 1, Name: "capture", Class: state.Check}, At: t1})
		art := state.Artifact{ID: "01J", Store: "store.nas", BackupPlan: "backup_plan.qa", Run: r.ID, Task: c.Task, Device: "device.QA1", Domain: "D",
			Action: "secure_backup", Variant: "persisted", Files: 3, Bytes: 1000, Manifest: json.RawMessage(`{"files":[]}`), State: state.ArtifactGood,
			Started: t1, Verified: t1, Error: "none"}
		t2 := f.tick()
		f.journal(c, state.Entry{End: &state.StepRun{Index: 1, State: state.StepFailed, Error: "one file was short"}, Paid: []string{"unquiesce"},
			Artifacts: []state.Artifact{art}, At: t2,
			Finish: &state.TaskRun{Status: state.Warned, Reason: "R", Error: "E", Files: 3, Bytes: 1000, Errors: 1, Output: json.RawMessage(`{"a":1}`)}})

		steps, err = f.b.Steps(f.ctx(), c.Task)
		f.ok(err)
		done := intent
		done.State, done.Output, done.Ended = state.StepDone, json.RawMessage(`{"ok":true}`), t1
		equal(f, "steps", steps, []state.StepRun{done, {Task: c.Task, Index: 1, Name: "capture", Class: state.Check, State: state.StepFailed,
			Session: se, Attempt: 1, Error: "one file was short", Began: t1, Ended: t2}})
		duties, err = f.b.Duties(f.ctx(), c.Task)
		f.ok(err)
		equal(f, "paid", duties[0].Paid, true)
		arts, err := f.b.Artifacts(f.ctx(), state.ArtifactFilter{Task: c.Task})
		f.ok(err)
		equal(f, "artifacts", arts, []state.Artifact{art})
		task := device("QA1")
		task.ID, task.Run, task.Seq, task.Status, task.Reason, task.Error = c.Task, r.ID, 1, state.Warned, "R", "E"
		task.Attempt, task.StatusAt, task.Started, task.Ended = 1, t2, f.task(c.Task).Started, t2
		task.Files, task.Bytes, task.Errors, task.Output = 3, 1000, 1, json.RawMessage(`{"a":1}`)
		equal(f, "task", f.task(c.Task), task)
		equal(f, "locks", len(f.snapshot().Locks), 0)

		run := f.run(r.ID)
		equal(f, "run", run.Status, state.Running)
		equal(f, "succeeded", run.Succeeded, 1)
		f.finish(f.claim(se, r.ID+".2"), state.Failed)
		run = f.run(r.ID)
		equal(f, "run", run.Status, state.Partial)
		equal(f, "numbers", [4]int{run.Succeeded, run.Failed, run.Skipped, run.Total}, [4]int{1, 1, 0, 2})
		equal(f, "end", run.EndedAt, f.now)
		equal(f, "last good", f.snapshot().LastGood["backup_plan.qa"], run)
		equal(f, "generation", f.generation(), 0)
	},
	"the same entry again changes nothing": func(f *fixture) {
		se := f.session()
		c := f.claim(se, f.begin("backup_plan.qa", device("QA1")).ID+".1")
		role := state.RoleChange{Role: state.Role{Failover: "failover.x", Active: "site.a", Epoch: 1, State: state.RoleSettled, Since: f.now}}
		for _, e := range []state.Entry{
			{Begin: &state.StepRun{Index: 0, Name: "a"}, Duties: []state.Duty{{Name: "d"}}, Roles: []state.RoleChange{role}, At: f.tick()},
			{End: &state.StepRun{Index: 0, State: state.StepDone}, Paid: []string{"d"}, Begin: &state.StepRun{Index: 1, Name: "b"}, At: f.tick()},
			{End: &state.StepRun{Index: 1, State: state.StepDone}, Finish: &state.TaskRun{Status: state.Succeeded}, At: f.tick()},
		} {
			for range 2 {
				f.journal(c, e)
			}
		}
		equal(f, "generation", f.generation(), 1)
		equal(f, "run", f.run("1").Succeeded, 1)
		f.is(f.b.Journal(f.ctx(), c, state.Entry{Finish: &state.TaskRun{Status: state.Failed}, At: f.tick()}), state.ErrFenced)
	},
	"an entry is stored as a whole or not at all": func(f *fixture) {
		se := f.session()
		l := f.lock(se)
		f.record(l, []state.Change{f.put("store.nas", 0)})
		c := f.claim(se, f.begin("backup_plan.qa", device("QA1")).ID+".1")
		stale := f.put("store.nas", 9)
		f.is(f.b.Journal(f.ctx(), c, state.Entry{Begin: &state.StepRun{Name: "a"}, Duties: []state.Duty{{Name: "d"}},
			Artifacts: []state.Artifact{{ID: "a"}}, Positions: []state.Position{{Mirror: "m"}}, Changes: []state.Change{stale}, At: f.tick()}), state.ErrStale)
		steps, err := f.b.Steps(f.ctx(), c.Task)
		f.ok(err)
		duties, err := f.b.Duties(f.ctx(), c.Task)
		f.ok(err)
		arts, err := f.b.Artifacts(f.ctx(), state.ArtifactFilter{})
		f.ok(err)
		equal(f, "rows", []int{len(steps), len(duties), len(arts), len(f.snapshot().Positions)}, []int{0, 0, 0, 0})
		equal(f, "generation", f.generation(), 1)

		good := f.put("store.nas", 1)
		good.Identity = "uuid-7"
		f.journal(c, state.Entry{Changes: []state.Change{good}})
		equal(f, "generation", f.generation(), 2)
		equal(f, "identity", f.snapshot().Objects["store.nas"].Identity, "uuid-7")
	},
	"a journal needs its claim": func(f *fixture) {
		a, b := f.session(), f.session()
		c := f.claim(a, f.begin("backup_plan.qa", device("QA1")).ID+".1")
		for name, change := range map[string]func(*state.Claim){
			"session": func(c *state.Claim) { c.Session = b },
			"attempt": func(c *state.Claim) { c.Attempt++ },
		} {
			other := c
			change(&other)
			if err := f.b.Journal(f.ctx(), other, state.Entry{Begin: &state.StepRun{Name: name}, At: f.tick()}); err == nil {
				f.Errorf("%s: no error", name)
			} else {
				f.is(err, state.ErrFenced)
			}
		}
		other := c
		other.Task = "99.1"
		f.is(f.b.Journal(f.ctx(), other, state.Entry{At: f.tick()}), state.ErrNotFound)
		equal(f, "task", f.task(c.Task).Owner, a)
	},
	"a friendly stop leaves a task waiting with its locks": func(f *fixture) {
		se := f.session()
		c := f.claim(se, f.begin("backup_plan.qa", device("QA1")).ID+".1")
		f.journal(c, state.Entry{Begin: &state.StepRun{Name: "a", Class: state.Rerun}, Duties: []state.Duty{{Name: "unquiesce"}}})
		f.finish(c, state.Interrupted)
		equal(f, "run", f.run("1").Status, state.Interrupted)
		equal(f, "locks", f.snapshot().Locks[0].Task, c.Task)
		equal(f, "open runs", len(f.snapshot().OpenRuns), 1)
		c = f.claim(se, c.Task)
		f.journal(c, state.Entry{Begin: &state.StepRun{Name: "a", Class: state.Rerun}, At: f.tick()})
		steps, err := f.b.Steps(f.ctx(), c.Task)
		f.ok(err)
		equal(f, "attempt of the step", steps[0].Attempt, 2)
		f.finish(c, state.Succeeded)
		equal(f, "run", f.run("1").Status, state.Succeeded)
		equal(f, "locks", len(f.snapshot().Locks), 0)
	},
	"a task ends only as a status allows": func(f *fixture) {
		se := f.session()
		c := f.claim(se, f.begin("backup_plan.qa", device("QA1")).ID+".1")
		for _, s := range []state.Status{state.Pending, state.Running, state.Missed, "", "done"} {
			if err := f.b.Journal(f.ctx(), c, state.Entry{Finish: &state.TaskRun{Status: s}, At: f.tick()}); err == nil {
				f.Errorf("finished as %q", s)
			}
		}
		if err := f.b.Journal(f.ctx(), c, state.Entry{Begin: &state.StepRun{Name: "a", Input: json.RawMessage(`{`)}, At: f.tick()}); err == nil {
			f.Error("broken JSON was accepted")
		}
		if err := f.b.Journal(f.ctx(), c, state.Entry{Finish: &state.TaskRun{Status: state.Succeeded}}); err == nil {
			f.Error("an entry without time was accepted")
		}
		equal(f, "task", f.task(c.Task).Status, state.Running)
	},
	"a duty can be opened again": func(f *fixture) {
		se := f.session()
		c := f.claim(se, f.begin("backup_plan.qa", device("QA1")).ID+".1")
		f.journal(c, state.Entry{Duties: []state.Duty{{Name: "unquiesce"}}})
		f.journal(c, state.Entry{Paid: []string{"unquiesce", "never opened"}})
		f.journal(c, state.Entry{Paid: []string{"unquiesce"}, Duties: []state.Duty{{Name: "unquiesce", Args: json.RawMessage(`1`)}}})
		duties, err := f.b.Duties(f.ctx(), c.Task)
		f.ok(err)
		equal(f, "duties", duties, []state.Duty{{Task: c.Task, Name: "unquiesce", Args: json.RawMessage(`1`)}})
	},
	"a skipped step that was never begun": func(f *fixture) {
		se := f.session()
		c := f.claim(se, f.begin("backup_plan.qa", device("QA1")).ID+".1")
		at := f.tick()
		f.journal(c, state.Entry{End: &state.StepRun{Index: 4, Name: "post", Class: state.Halt, State: state.StepSkipped}, At: at})
		steps, err := f.b.Steps(f.ctx(), c.Task)
		f.ok(err)
		equal(f, "steps", steps, []state.StepRun{{Task: c.Task, Index: 4, Name: "post", Class: state.Halt, State: state.StepSkipped, Session: se, Attempt: 1,
			Began: at, Ended: at}})
	},
}
