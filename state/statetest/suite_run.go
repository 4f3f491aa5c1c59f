package statetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-dr/holdfast/state"
)

var runTests = map[string]func(*fixture){
	"a run protects what its tasks do": func(f *fixture) {
		se := f.session()
		r := f.begin("backup_plan.qa", device("QA1"), device("QA2"), device("QA3"))
		finish := func(c state.Claim, s state.Status, files, bytes int64) {
			f.journal(c, state.Entry{Finish: &state.TaskRun{Status: s, SourceFiles: files, SourceBytes: bytes}})
		}
		want := func(files, bytes int64) {
			f.Helper()
			run := f.run(r.ID)
			equal(f, "the run protects", []int64{run.SourceFiles, run.SourceBytes}, []int64{files, bytes})
		}
		finish(f.claim(se, r.ID+".1"), state.Succeeded, 3, 1000)
		want(3, 1000)
		finish(f.claim(se, r.ID+".2"), state.Interrupted, 1, 5) // what it says at its end counts
		want(3, 1000)
		finish(f.claim(se, r.ID+".2"), state.Warned, 2, 500)
		want(5, 1500)
		finish(f.claim(se, r.ID+".3"), state.Failed, 0, 7)
		want(5, 1507)
		equal(f, "its task", f.task(r.ID+".2").SourceBytes, int64(500))
	},
	"begin numbers runs and tasks": func(f *fixture) {
		p := f.plan()
		n := f.newRun("backup_plan.qa", device("QA1"), device("QA2"), state.TaskRun{Kind: "backup", Device: "device.QA2", Domain: "D", Status: state.Skipped,
			Reason: "SKIPPED_DEVICE_NOT_AVAILABLE", Error: "connection refused"})
		runs, err := f.b.Begin(f.ctx(), p, []state.NewRun{n, f.newRun("backup_plan.prod")})
		f.ok(err)
		want := n.Run
		want.ID, want.Plan, want.Status = "1", p.ID, state.Pending
		want.Devices, want.Domains, want.Skipped, want.Total = 2, 1, 1, 3
		equal(f, "run", runs[0], want)
		equal(f, "stored run", f.run("1"), want)
		equal(f, "second id", runs[1].ID, "2")
		equal(f, "a run without tasks", f.run("2").Status, state.Skipped)
		tasks, err := f.b.Tasks(f.ctx(), "1")
		f.ok(err)
		first := device("QA1")
		first.ID, first.Run, first.Seq, first.Status, first.StatusAt = "1.1", "1", 1, state.Pending, want.CreatedAt
		equal(f, "task", tasks[0], first)
		equal(f, "skipped task", tasks[2].Reason, "SKIPPED_DEVICE_NOT_AVAILABLE")
		equal(f, "end of the skipped task", tasks[2].Ended, want.CreatedAt)
		got, err := f.b.Plan(f.ctx(), p.ID)
		f.ok(err)
		equal(f, "plan", got, p)
		equal(f, "generation", f.generation(), 0)
	},
	"a run of skipped tasks is ended at once": func(f *fixture) {
		r := f.begin("backup_plan.qa", state.TaskRun{Device: "a", Status: state.Skipped}, state.TaskRun{Device: "b", Status: state.Skipped})
		equal(f, "status", r.Status, state.Skipped)
		equal(f, "end", r.EndedAt, r.CreatedAt)
		equal(f, "open runs", len(f.snapshot().OpenRuns), 0)
	},
	"a missed run is kept as missed": func(f *fixture) {
		n := f.newRun("backup_plan.qa")
		n.Run.Status, n.Run.Reason = state.Missed, "too late"
		runs, err := f.b.Begin(f.ctx(), f.plan(), []state.NewRun{n})
		f.ok(err)
		equal(f, "status", f.run(runs[0].ID).Status, state.Missed)
	},
	"an occurrence has one run": func(f *fixture) {
		n := f.newRun("backup_plan.qa", device("QA1"))
		first, err := f.b.Begin(f.ctx(), f.plan(), []state.NewRun{n})
		f.ok(err)
		again := f.plan()
		_, err = f.b.Begin(f.ctx(), again, []state.NewRun{f.newRun("backup_plan.other"), n})
		f.is(err, state.ErrDuplicate)
		var dup *state.DuplicateError
		if !errors.As(err, &dup) || dup.Run != first[0].ID || dup.Address != "backup_plan.qa" {
			f.Errorf("%v does not name the run", err)
		}
		_, err = f.b.Plan(f.ctx(), again.ID)
		f.is(err, state.ErrNotFound)
		runs, err := f.b.Runs(f.ctx(), state.RunFilter{})
		f.ok(err)
		equal(f, "runs", len(runs), 1)

		n.Run.Trigger = state.TriggerSchedule
		next, err := f.b.Begin(f.ctx(), f.plan(), []state.NewRun{n})
		f.ok(err)
		equal(f, "id", next[0].ID, "2")
		_, err = f.b.Begin(f.ctx(), f.plan(), []state.NewRun{f.newRun("backup_plan.qa"), {Run: n.Run}, {Run: n.Run}})
		f.is(err, state.ErrDuplicate)
	},
	"a plan is stored once": func(f *fixture) {
		p := f.plan()
		for range 2 {
			_, err := f.b.Begin(f.ctx(), p, []state.NewRun{f.newRun("backup_plan.qa")})
			f.ok(err)
		}
		p.Digest = "sha256:other"
		if _, err := f.b.Begin(f.ctx(), p, []state.NewRun{f.newRun("backup_plan.qa")}); err == nil {
			f.Error("another plan under the same id was accepted")
		}
	},
	"a cursor moves with its run and never back": func(f *fixture) {
		n := f.newRun("backup_plan.qa")
		newer := state.Cursor{Address: "backup_plan.qa", Nominal: "2026-10-25T02:30", At: f.tick()}
		n.Cursor = &newer
		runs := []state.NewRun{n, f.newRun("backup_plan.qa")}
		runs[1].Cursor = &state.Cursor{Address: "backup_plan.qa", Nominal: "2026-10-24T02:30", At: newer.At.AddDate(0, 0, -1)}
		_, err := f.b.Begin(f.ctx(), f.plan(), runs)
		f.ok(err)
		equal(f, "cursor", f.snapshot().Cursors["backup_plan.qa"], newer)
	},
	"begin refuses what cannot begin": func(f *fixture) {
		with := func(change func(*state.NewRun)) state.NewRun {
			n := f.newRun("backup_plan.qa", device("QA1"))
			change(&n)
			return n
		}
		for name, n := range map[string]state.NewRun{
			"address": with(func(n *state.NewRun) { n.Run.Address = "" }),
			"trigger": with(func(n *state.NewRun) { n.Run.Trigger = "" }),
			"key":     with(func(n *state.NewRun) { n.Run.TriggerKey = "" }),
			"running": with(func(n *state.NewRun) { n.Tasks[0].Status = state.Running }),
			"open":    with(func(n *state.NewRun) { n.Run.Status = state.Missed }),
			"output":  with(func(n *state.NewRun) { n.Tasks[0].Output = json.RawMessage(`{`) }),
		} {
			if _, err := f.b.Begin(f.ctx(), f.plan(), []state.NewRun{n}); err == nil {
				f.Errorf("%s: no error", name)
			}
		}
		runs, err := f.b.Runs(f.ctx(), state.RunFilter{})
		f.ok(err)
		equal(f, "runs", len(runs), 0)
	},
	"a claim makes a task and its run running": func(f *fixture) {
		se := f.session()
		r := f.begin("backup_plan.qa", device("QA1"), device("QA2"))
		c := f.claim(se, r.ID+".1")
		equal(f, "claim", c, state.Claim{Task: r.ID + ".1", Session: se, Attempt: 1, Token: f.snapshot().Locks[0].Token})
		task := f.task(c.Task)
		equal(f, "status", task.Status, state.Running)
		equal(f, "owner", task.Owner, se)
		equal(f, "start", task.Started, f.now)
		run := f.run(r.ID)
		equal(f, "run", run.Status, state.Running)
		equal(f, "start of the run", run.StartedAt, f.now)
		equal(f, "open runs", len(f.snapshot().OpenRuns), 1)

		_, err := f.b.Claim(f.ctx(), se, c.Task, f.tick())
		f.is(err, state.ErrStale)
		_, err = f.b.Claim(f.ctx(), 999999, r.ID+".2", f.tick())
		f.is(err, state.ErrFenced)
		for _, id := range []string{"", "x", "1", "1.", ".1", "1.1.1", "01.1", "-1.1", "1.99", "9.1", "1.1 "} {
			_, err := f.b.Claim(f.ctx(), se, id, f.tick())
			f.is(err, state.ErrNotFound)
		}
	},
	"the same claim again is the same claim": func(f *fixture) {
		se := f.session()
		r := f.begin("backup_plan.qa", device("QA1"))
		at := f.tick()
		a, err := f.b.Claim(f.ctx(), se, r.ID+".1", at)
		f.ok(err)
		b, err := f.b.Claim(f.ctx(), se, r.ID+".1", at)
		f.ok(err)
		equal(f, "claim", b, a)
		f.journal(a, state.Entry{Begin: &state.StepRun{Name: "x"}})
		_, err = f.b.Claim(f.ctx(), se, r.ID+".1", at)
		f.is(err, state.ErrStale)
	},
	"two tasks with one lock do not run together": func(f *fixture) {
		se := f.session()
		both := device("QA1")
		both.Locks = []string{"device/QA1", "device/QA2"}
		r := f.begin("backup_plan.qa", device("QA2"), both, device("QA1"))
		c := f.claim(se, r.ID+".1")
		_, err := f.b.Claim(f.ctx(), se, r.ID+".2", f.tick())
		f.is(err, state.ErrBusy)
		equal(f, "locks after a refused claim", len(f.snapshot().Locks), 1)
		equal(f, "status after a refused claim", f.task(r.ID+".2").Status, state.Pending)
		f.claim(se, r.ID+".3")
		f.finish(c, state.Succeeded)
		_, err = f.b.Claim(f.ctx(), se, r.ID+".2", f.tick())
		f.is(err, state.ErrBusy)
	},
	"an interrupted task keeps its locks": func(f *fixture) {
		a, b := f.session(), f.session()
		r := f.begin("backup_plan.qa", device("QA1"), device("QA1"))
		old := f.claim(a, r.ID+".1")
		f.ok(f.b.CloseSession(f.ctx(), a))
		equal(f, "task", f.task(old.Task).Status, state.Interrupted)
		equal(f, "owner", f.task(old.Task).Owner, int64(0))
		equal(f, "run with a pending task", f.run(r.ID).Status, state.Running)
		_, err := f.b.Claim(f.ctx(), b, r.ID+".2", f.tick())
		f.is(err, state.ErrBusy)
		c := f.claim(b, r.ID+".1")
		equal(f, "attempt", c.Attempt, 2)
		if c.Token <= old.Token {
			f.Errorf("token %d after %d", c.Token, old.Token)
		}
		f.is(f.b.Journal(f.ctx(), old, state.Entry{Begin: &state.StepRun{Name: "late"}, At: f.tick()}), state.ErrFenced)
		f.is(f.b.Journal(f.ctx(), old, state.Entry{Finish: &state.TaskRun{Status: state.Succeeded}, At: f.tick()}), state.ErrFenced)
		f.finish(c, state.Succeeded)
		f.claim(b, r.ID+".2")
	},
	"cancel ends what is pending": func(f *fixture) {
		se := f.session()
		r := f.begin("backup_plan.qa", device("QA1"), device("QA2"), device("QA3"))
		c := f.claim(se, r.ID+".1")
		const reason = "EXECUTION_CANCELED_BECAUSE_MAINTENANCE_WINDOW"
		for range 2 {
			f.ok(f.b.Cancel(f.ctx(), r.ID, state.Cancelled, reason, "the window closed at 06:00", f.tick()))
		}
		equal(f, "running task", f.task(c.Task).Status, state.Running)
		task := f.task(r.ID + ".2")
		equal(f, "task", task.Status, state.Cancelled)
		equal(f, "reason", task.Reason, reason)
		equal(f, "run", f.run(r.ID).Status, state.Running)
		f.finish(c, state.Succeeded)
		run := f.run(r.ID)
		equal(f, "run", run.Status, state.Partial)
		equal(f, "numbers", [4]int{run.Succeeded, run.Failed, run.Skipped, run.Total}, [4]int{1, 0, 2, 3})
		_, err := f.b.Claim(f.ctx(), se, r.ID+".2", f.tick())
		f.is(err, state.ErrStale)

		whole := f.begin("backup_plan.qa", device("QA1"))
		f.ok(f.b.Cancel(f.ctx(), whole.ID, state.Cancelled, reason, "the window closed at 06:00", f.tick()))
		run = f.run(whole.ID)
		equal(f, "run", run.Status, state.Cancelled)
		equal(f, "reason of the run", run.Reason, reason)
		equal(f, "end of the run", run.EndedAt, f.now)

		missed := f.begin("backup_plan.qa", device("QA1"))
		f.ok(f.b.Cancel(f.ctx(), missed.ID, state.Missed, "late", "", f.tick()))
		equal(f, "run", f.run(missed.ID).Status, state.Missed)
		equal(f, "task of a missed run", f.task(missed.ID+".1").Status, state.Skipped)

		f.is(f.b.Cancel(f.ctx(), "77", state.Cancelled, "", "", f.tick()), state.ErrNotFound)
		f.is(f.b.Cancel(f.ctx(), "x", state.Cancelled, "", "", f.tick()), state.ErrNotFound)
		for _, s := range []state.Status{state.Succeeded, state.Running, state.Interrupted, ""} {
			if err := f.b.Cancel(f.ctx(), r.ID, s, "", "", f.tick()); err == nil {
				f.Errorf("cancelled as %q", s)
			}
		}
	},
	"a run waits for a decision": func(f *fixture) {
		se := f.session()
		for i, to := range []state.Status{state.Succeeded, state.Failed, state.Interrupted} {
			r := f.begin("backup_plan.qa", device(fmt.Sprintf("A%d", i)), device(fmt.Sprintf("B%d", i)))
			f.is(f.b.Await(f.ctx(), r.ID, f.tick()), state.ErrStale)
			c := f.claim(se, r.ID+".1")
			f.is(f.b.Await(f.ctx(), r.ID, f.tick()), state.ErrStale)
			f.finish(c, state.Attention)
			equal(f, "run that goes on by itself", f.run(r.ID).Status, state.Running)
			for range 2 {
				f.ok(f.b.Await(f.ctx(), r.ID, f.tick()))
			}
			equal(f, "run", f.run(r.ID).Status, state.Attention)
			equal(f, "waiting task", f.task(r.ID+".2").Status, state.Pending)
			open, err := f.b.Runs(f.ctx(), state.RunFilter{Open: true, Address: "backup_plan.qa"})
			f.ok(err)
			equal(f, "open runs", len(open), 1)
			equal(f, "open runs of the snapshot", len(f.snapshot().OpenRuns), 1)
			_, err = f.b.Claim(f.ctx(), se, r.ID+".2", f.tick())
			f.is(err, state.ErrStale)
			f.ok(f.resolve(r.ID+".1", to))
			run := f.run(r.ID)
			equal(f, "run", run.Status, state.Running)
			equal(f, "end", run.EndedAt.IsZero(), true)
			f.is(f.b.Await(f.ctx(), r.ID, f.tick()), state.ErrStale)
			if to == state.Interrupted {
				f.finish(f.claim(se, r.ID+".1"), state.Succeeded)
			}
			f.finish(f.claim(se, r.ID+".2"), state.Succeeded)
		}
		late := f.begin("backup_plan.late", device("A"), device("B"))
		f.finish(f.claim(se, late.ID+".1"), state.Attention)
		f.ok(f.b.Await(f.ctx(), late.ID, f.tick()))
		f.ok(f.b.Cancel(f.ctx(), late.ID, state.Cancelled, "CANCELLED_WAITED_TOO_LONG", "", f.tick()))
		equal(f, "run", f.run(late.ID).Status, state.Attention)
		equal(f, "task", f.task(late.ID+".2").Status, state.Cancelled)
		open, err := f.b.Runs(f.ctx(), state.RunFilter{Open: true})
		f.ok(err)
		equal(f, "open runs", len(open), 0)
		f.is(f.b.Await(f.ctx(), "77", f.tick()), state.ErrNotFound)
		f.is(f.b.Await(f.ctx(), "x", f.tick()), state.ErrNotFound)
	},
	"a person resolves an unknown outcome": func(f *fixture) {
		se := f.session()
		for i, test := range []struct {
			to   state.Status
			run  state.Status
			good int
		}{
			{state.Succeeded, state.Succeeded, 2}, {state.Failed, state.Partial, 1}, {state.Interrupted, state.Interrupted, 1},
		} {
			r := f.begin("backup_plan.qa", device(fmt.Sprintf("A%d", i)), device(fmt.Sprintf("B%d", i)))
			f.finish(f.claim(se, r.ID+".1"), state.Succeeded)
			c := f.claim(se, r.ID+".2")
			f.is(f.resolve(c.Task, test.to), state.ErrStale)
			f.finish(c, state.Attention)
			equal(f, "run", f.run(r.ID).Status, state.Attention)
			decided := state.Resolution{Task: c.Task, To: test.to, Actor: "ann", Reason: "looked", At: f.tick()}
			for range 2 {
				f.ok(f.b.Resolve(f.ctx(), decided))
			}
			equal(f, "task", f.task(c.Task).Status, test.to)
			run := f.run(r.ID)
			equal(f, "run", run.Status, test.run)
			equal(f, "succeeded", run.Succeeded, test.good)
			equal(f, "ended", run.EndedAt.IsZero(), !test.run.Terminal())
			if test.to == state.Interrupted {
				f.finish(f.claim(se, c.Task), state.Succeeded)
				equal(f, "run", f.run(r.ID).Status, state.Succeeded)
			}
		}
		for _, to := range []state.Status{state.Running, state.Cancelled, state.Skipped, state.Pending, state.Attention, ""} {
			if err := f.resolve("1.2", to); err == nil {
				f.Errorf("resolved as %q", to)
			}
		}
		f.is(f.resolve("77.1", state.Failed), state.ErrNotFound)
		if err := f.resolve("1.2", state.Failed); err == nil || err.Error() != "task 1.2 has succeeded and needs no decision" {
			f.Errorf("got %v", err)
		}
	},
	"a decision tells of steps and duties, and of the task what is true then": func(f *fixture) {
		se := f.session()
		r := f.begin("backup_plan.qa", device("QA1"))
		c := f.claim(se, r.ID+".1")
		f.journal(c, state.Entry{Begin: &state.StepRun{Index: 0, Name: "pre_script", Class: state.Halt}})
		f.journal(c, state.Entry{End: &state.StepRun{Index: 0, State: state.StepUnknown, Error: "cut off"}, Begin: &state.StepRun{Index: 1, Name: "quiesce"},
			Duties: []state.Duty{{Name: "unquiesce"}, {Name: "other"}}})
		f.journal(c, state.Entry{Finish: &state.TaskRun{Status: state.Attention, Reason: "OUTCOME_UNKNOWN", Error: "look", Files: 2, Output: json.RawMessage(`{"a":1}`)}})
		decided := state.Resolution{Task: c.Task, Attempt: c.Attempt, To: state.Interrupted, Actor: "ann", Reason: "looked", Paid: []string{"unquiesce"}, At: f.tick(),
			Steps: []state.StepRun{{Index: 0, State: state.StepDone, Output: json.RawMessage(`{"note":"n"}`)}, {Index: 1, State: state.StepIntent}}}
		for what, wrong := range map[string]func(*state.Resolution){
			"another attempt":    func(r *state.Resolution) { r.Attempt++ },
			"no such step":       func(r *state.Resolution) { r.Steps = []state.StepRun{{Index: 7}} },
			"no such duty":       func(r *state.Resolution) { r.Paid = []string{"unquiesce", "x"} },
			"output that is not": func(r *state.Resolution) { r.Steps = []state.StepRun{{Output: json.RawMessage(`{`)}} },
			"no time":            func(r *state.Resolution) { r.At = time.Time{} },
		} {
			other := decided
			wrong(&other)
			if err := f.b.Resolve(f.ctx(), other); err == nil || what == "another attempt" && !errors.Is(err, state.ErrStale) {
				f.Errorf("%s: %v", what, err)
			}
		}
		equal(f, "task", f.task(c.Task).Status, state.Attention)
		for range 2 {
			f.ok(f.b.Resolve(f.ctx(), decided))
		}
		task := f.task(c.Task)
		equal(f, "reason, error and output", task.Reason+task.Error+string(task.Output), "")
		equal(f, "files", task.Files, 2)
		steps, err := f.b.Steps(f.ctx(), c.Task)
		f.ok(err)
		equal(f, "step", [3]string{string(steps[0].State), string(steps[0].Output), steps[0].Error}, [3]string{"done", `{"note":"n"}`, ""})
		equal(f, "end of the step", steps[0].Ended, decided.At)
		equal(f, "open step", [2]any{steps[1].State, steps[1].Ended.IsZero()}, [2]any{state.StepIntent, true})
		duties, err := f.b.Duties(f.ctx(), c.Task)
		f.ok(err)
		equal(f, "duties", []bool{duties[0].Paid, duties[1].Paid}, []bool{false, true})
		equal(f, "locks", len(f.snapshot().Locks), 1)
	},
	"a run in attention is told of until somebody decided, whatever came after": func(f *fixture) {
		se := f.session()
		want := func(what string, ids ...string) {
			f.Helper()
			var got []string
			for _, r := range f.snapshot().Undecided {
				got = append(got, r.ID)
			}
			equal(f, what, got, ids)
		}
		want("none")
		old := f.begin("backup_plan.qa", device("QA1"))
		f.finish(f.claim(se, old.ID+".1"), state.Attention)
		open := f.begin("backup_plan.qa", device("QA2"), device("QA3"))
		f.finish(f.claim(se, open.ID+".1"), state.Attention)
		for range 9 {
			f.finish(f.claim(se, f.begin("backup_plan.qa", device("QA1")).ID+".1"), state.Succeeded)
		}
		newest := f.begin("backup_plan.qb", device("QA1"))
		f.finish(f.claim(se, newest.ID+".1"), state.Attention)
		want("three", old.ID, open.ID, newest.ID)
		f.ok(f.resolve(old.ID+".1", state.Succeeded))
		f.ok(f.resolve(open.ID+".1", state.Interrupted))
		want("one", newest.ID)
	},
}
