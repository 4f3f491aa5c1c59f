package statetest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/holdfast-dr/holdfast/state"
)

// hostile are texts that break careless storage.
var hostile = []string{
	`'; DROP TABLE run; --`, `"quoted" \ back`, "%s %d ?", "line\nbreak\ttab", "Zürich 東京 🔒", "e\u0301 and é", strings.Repeat("x", 300),
	"<script>&amp;", "\u2028\u202e", " leading and trailing ", "NULL", "0", "1e999",
}

var readTests = map[string]func(*fixture){
	"hostile texts come back as they were": func(f *fixture) {
		l := f.lock(f.session())
		for _, text := range hostile {
			quoted, err := json.Marshal(map[string]string{text: text})
			f.ok(err)
			c := f.put("store."+text, 0)
			c.Spec, c.Identity, c.By, c.Commit, c.Digest = quoted, text, text, text, text
			f.record(l, []state.Change{c})
			n := f.newRun("store."+text, state.TaskRun{Kind: text, Activity: text, Device: text, Domain: text, Action: text, Locks: []string{text}, Output: quoted})
			n.Run.TriggerKey, n.Run.Actor, n.Run.Reason = text, text, text
			runs, err := f.b.Begin(f.ctx(), f.plan(), []state.NewRun{n})
			f.ok(err)
			equal(f, text, f.run(runs[0].ID), runs[0])
			task := f.task(runs[0].ID + ".1")
			equal(f, text, []string{task.Kind, task.Device, task.Locks[0], string(task.Output)}, []string{text, text, text, string(quoted)})
			c2 := f.claim(l.Session, task.ID)
			f.journal(c2, state.Entry{Begin: &state.StepRun{Name: text, Input: quoted}, Duties: []state.Duty{{Name: text, Args: quoted}}})
			f.journal(c2, state.Entry{End: &state.StepRun{State: state.StepFailed, Error: text}, Paid: []string{text},
				Finish: &state.TaskRun{Status: state.Failed, Error: text}})
			duties, err := f.b.Duties(f.ctx(), task.ID)
			f.ok(err)
			equal(f, text, duties, []state.Duty{{Task: task.ID, Name: text, Args: quoted, Paid: true}})
			got, err := f.b.Runs(f.ctx(), state.RunFilter{Address: "store." + text})
			f.ok(err)
			equal(f, text, len(got), 1)
			f.ok(f.b.Log(f.ctx(), f.now, text, text, text, quoted))
		}
		n := f.snapshot()
		for _, text := range hostile {
			o := n.Objects["store."+text]
			equal(f, text, []string{o.Identity, o.AppliedBy, o.Commit, o.Digest}, []string{text, text, text, text})
		}
		f.ok(f.b.Export(f.ctx(), &bytes.Buffer{}))
	},
	"texts that cannot be kept are refused or kept": func(f *fixture) {
		l := f.lock(f.session())
		for _, text := range []string{"a\x00b", "\xff\xfe"} {
			c := f.put("store."+text, 0)
			if _, err := f.b.Record(f.ctx(), l, []state.Change{c}, nil); err != nil {
				continue
			}
			if _, there := f.snapshot().Objects["store."+text]; !there {
				f.Errorf("%q was changed on the way", text)
			}
		}
	},
	"what is not there is not found": func(f *fixture) {
		for _, id := range []string{"", "1", "x", "1.1", "-1", "99999999999999999999"} {
			f.is(second(f.b.Run(f.ctx(), id)), state.ErrNotFound)
			f.is(second(f.b.Plan(f.ctx(), id)), state.ErrNotFound)
		}
		f.is(second(f.b.Steps(f.ctx(), "x")), state.ErrNotFound)
		f.is(second(f.b.Duties(f.ctx(), "")), state.ErrNotFound)
		f.is(second(f.b.Tasks(f.ctx(), "1 OR 1=1")), state.ErrNotFound)
	},
	"runs are filtered, newest first": func(f *fixture) {
		se := f.session()
		a1 := f.begin("backup_plan.a", device("QA1"))
		b1 := f.begin("backup_plan.b", device("QA1"))
		a2 := f.begin("backup_plan.a", device("QA2"))
		f.finish(f.claim(se, a1.ID+".1"), state.Succeeded)
		for name, test := range map[string]struct {
			by   state.RunFilter
			want []string
		}{
			"all":     {state.RunFilter{}, []string{a2.ID, b1.ID, a1.ID}},
			"address": {state.RunFilter{Address: "backup_plan.a"}, []string{a2.ID, a1.ID}},
			"open":    {state.RunFilter{Open: true}, []string{a2.ID, b1.ID}},
			"both":    {state.RunFilter{Address: "backup_plan.a", Open: true}, []string{a2.ID}},
			"limit":   {state.RunFilter{Limit: 1}, []string{a2.ID}},
			"none":    {state.RunFilter{Address: "backup_plan.%"}, nil},
		} {
			runs, err := f.b.Runs(f.ctx(), test.by)
			f.ok(err)
			var ids []string
			for _, r := range runs {
				ids = append(ids, r.ID)
			}
			equal(f, name, ids, test.want)
		}
		n := f.snapshot()
		equal(f, "last run", n.LastRuns["backup_plan.a"].ID, a2.ID)
		equal(f, "last good run", n.LastGood["backup_plan.a"].ID, a1.ID)
		equal(f, "open runs, oldest first", []string{n.OpenRuns[0].ID, n.OpenRuns[1].ID}, []string{b1.ID, a2.ID})
	},
	"a run of which only scripts ended well did nothing, and is no good one": func(f *fixture) {
		se := f.session()
		script := state.TaskRun{Kind: state.KindScript}
		good := func() string { return f.snapshot().LastGood["backup_plan.a"].ID }
		for _, c := range []struct {
			work state.Status
			good bool
		}{
			{state.Cancelled, false}, {state.Skipped, false}, {state.Failed, false}, {state.Attention, false}, {state.Warned, true},
			{state.Failed, false}, {state.Succeeded, true},
		} {
			was := good()
			r := f.begin("backup_plan.a", script, device("QA1"), device("QA2"))
			f.finish(f.claim(se, r.ID+".1"), state.Succeeded)
			f.finish(f.claim(se, r.ID+".2"), c.work)
			f.finish(f.claim(se, r.ID+".3"), state.Skipped)
			ended, err := f.b.Run(f.ctx(), r.ID)
			f.ok(err)
			equal(f, "the run with that work", ended.Status, c.work)
			if got := good(); (got == r.ID) != c.good || !c.good && got != was {
				f.Errorf("after a run with a backup that is %s, the good one is %q, was %q", c.work, got, was)
			}
		}
	},
	"artifacts that no recorded run made are found while no later run was good": func(f *fixture) {
		se := f.session()
		want := func(what string, at time.Time) {
			f.Helper()
			equal(f, what, f.snapshot().Artifacts["backup_plan.a"].Found, at)
		}
		put := func(run string, of state.ArtifactState) time.Time {
			a := state.Artifact{ID: fmt.Sprint(f.n, run), Store: "store.nas", BackupPlan: "backup_plan.a", Run: run, State: of, Started: f.tick()}
			f.n++
			f.ok(f.b.PutArtifact(f.ctx(), a))
			return a.Started
		}
		put("", state.ArtifactQuarantined)
		want("a bad one", time.Time{})
		put("", state.ArtifactGood)
		at := put("4711", state.ArtifactGood)
		want("of a run that is gone", at)
		r := f.begin("backup_plan.a", device("QA1"))
		c := f.claim(se, r.ID+".1")
		put(r.ID, state.ArtifactGood)
		want("of a run that has not ended", at)
		f.finish(c, state.Succeeded)
		want("before a good run", time.Time{})
		at = put("no number", state.ArtifactGood)
		want("after it", at)
	},
	"times missed in a row are a gap while they are among the newest runs": func(f *fixture) {
		begin := func(at time.Time, missed int) {
			var runs []state.NewRun
			for i := range missed {
				due := at.Add(-time.Duration(missed-i) * time.Hour)
				runs = append(runs, state.NewRun{Run: state.Run{Address: "backup_plan.a", Trigger: state.TriggerSchedule, TriggerKey: due.String(),
					DueAt: due, Status: state.Missed, CreatedAt: at, EndedAt: at}})
			}
			runs = append(runs, state.NewRun{Run: state.Run{Address: "backup_plan.a", Trigger: state.TriggerSchedule, TriggerKey: at.String(), DueAt: at, CreatedAt: at},
				Cursor: &state.Cursor{Address: "backup_plan.a", Nominal: at.String(), At: at}})
			_, err := f.b.Begin(f.ctx(), state.StoredPlan{ID: at.String(), Body: json.RawMessage(`{}`)}, runs)
			f.ok(err)
		}
		f.begin("backup_plan.b", device("QA2"))
		begin(f.now, 0)
		equal(f, "gaps", len(f.snapshot().Gaps), 0)
		begin(f.now.Add(72*time.Hour), 60)
		later := f.now.Add(100 * time.Hour)
		begin(later, 3)
		equal(f, "the newest gap", f.snapshot().Gaps, map[string]state.Gap{"backup_plan.a": {From: later.Add(-3 * time.Hour), To: later, Missed: 3}})
		for i := range 20 {
			begin(later.Add(time.Duration(i+1)*time.Hour), 0)
		}
		equal(f, "gaps after many runs", len(f.snapshot().Gaps), 0)
		begin(later.Add(172*time.Hour), 150)
		equal(f, "a long gap", f.snapshot().Gaps["backup_plan.a"].Missed, 150)
	},
	"artifacts are filtered, newest first": func(f *fixture) {
		put := func(id string, hours int, change func(*state.Artifact)) {
			a := state.Artifact{ID: id, Store: "store.nas", BackupPlan: "backup_plan.a", Run: "1", Task: "1.1", Device: "device.QA1", Domain: "D1", Bytes: 10,
				State: state.ArtifactGood, Started: f.now.Add(time.Duration(hours) * time.Hour), Manifest: json.RawMessage(`{}`)}
			change(&a)
			f.ok(f.b.PutArtifact(f.ctx(), a))
		}
		put("a", 1, func(a *state.Artifact) {})
		put("b", 2, func(a *state.Artifact) { a.State = state.ArtifactQuarantined })
		put("c", 3, func(a *state.Artifact) { a.Store, a.Domain = "store.vault", "D2" })
		put("d", 4, func(a *state.Artifact) {
			a.BackupPlan, a.Device, a.Run, a.Task = "backup_plan.b", "device.QA2", "2", "2.1"
		})
		for name, test := range map[string]struct {
			by   state.ArtifactFilter
			want string
		}{
			"all":    {state.ArtifactFilter{}, "dcba"},
			"id":     {state.ArtifactFilter{ID: "b"}, "b"},
			"plan":   {state.ArtifactFilter{BackupPlan: "backup_plan.a"}, "cba"},
			"device": {state.ArtifactFilter{Device: "device.QA2"}, "d"},
			"domain": {state.ArtifactFilter{Domain: "D2"}, "c"},
			"store":  {state.ArtifactFilter{Store: "store.nas"}, "dba"},
			"run":    {state.ArtifactFilter{Run: "2"}, "d"},
			"task":   {state.ArtifactFilter{Task: "1.1"}, "cba"},
			"state":  {state.ArtifactFilter{State: state.ArtifactGood}, "dca"},
			"limit":  {state.ArtifactFilter{State: state.ArtifactGood, Limit: 2}, "dc"},
		} {
			arts, err := f.b.Artifacts(f.ctx(), test.by)
			f.ok(err)
			var ids string
			for _, a := range arts {
				ids += a.ID
			}
			equal(f, name, ids, test.want)
		}
		h := f.snapshot().Artifacts["backup_plan.a"]
		equal(f, "holdings", h, state.Holdings{Count: 2, Bytes: 20, Oldest: f.now.Add(time.Hour), Newest: f.now.Add(3 * time.Hour), Found: f.now.Add(3 * time.Hour)})

		put("a", 1, func(a *state.Artifact) { a.State = state.ArtifactDeleted })
		f.is(f.b.PutArtifact(f.ctx(), state.Artifact{ID: "a", State: state.ArtifactGood}), state.ErrStale)
		if err := f.b.PutArtifact(f.ctx(), state.Artifact{}); err == nil {
			f.Error("an artifact without id was accepted")
		}
	},
	"export is complete and marked at its end": func(f *fixture) {
		se := f.session()
		l := f.lock(se)
		f.record(l, []state.Change{f.put("store.nas", 0)})
		f.finish(f.claim(se, f.begin("backup_plan.qa", device("QA1")).ID+".1"), state.Succeeded)
		f.ok(f.b.Log(f.ctx(), f.now, "ann", "unlock", "store.nas", json.RawMessage(`{"why":"test"}`)))
		var out bytes.Buffer
		f.ok(f.b.Export(f.ctx(), &out))
		kinds := map[string]int{}
		var last map[string]any
		for lines := bufio.NewScanner(&out); lines.Scan(); {
			last = nil
			f.ok(json.Unmarshal(lines.Bytes(), &last))
			kind, _ := last["type"].(string)
			kinds[kind]++
		}
		equal(f, "records", kinds, map[string]int{"": 1, "object": 1, "plan": 1, "run": 1, "task": 1, "lock": 1, "session": 1, "audit": 1, "end": 1})
		equal(f, "end mark", last["value"], any(map[string]any{"records": 7.0}))
	},
	"a backup is a new file": func(f *fixture) {
		path := filepath.Join(f.TempDir(), "copy.db")
		f.ok(f.b.Backup(f.ctx(), path))
		fi, err := os.Stat(path)
		f.ok(err)
		equal(f, "mode", fi.Mode().Perm(), os.FileMode(0o600))
		f.is(f.b.Backup(f.ctx(), path), os.ErrExist)
	},
	"an ended context writes nothing": func(f *fixture) {
		se := f.session()
		r := f.begin("backup_plan.qa", device("QA1"))
		ctx, cancel := context.WithCancel(f.ctx())
		cancel()
		f.is(second(f.b.Claim(ctx, se, r.ID+".1", f.tick())), context.Canceled)
		f.is(second(f.b.Snapshot(ctx)), context.Canceled)
		f.is(second(f.b.Begin(ctx, f.plan(), []state.NewRun{f.newRun("backup_plan.qa")})), context.Canceled)
		equal(f, "task", f.task(r.ID+".1").Status, state.Pending)
	},
}
