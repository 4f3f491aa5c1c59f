package statetest

import (
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/holdfast-dr/holdfast/state"
)

var recordTests = map[string]func(*fixture){
	"a schedule that begins anew counts from then": func(f *fixture) {
		l := f.lock(f.session())
		cursor := func() state.Cursor { return f.snapshot().Cursors["backup_plan.qa"] }
		put := func(restart bool) time.Time {
			c := f.put("backup_plan.qa", f.snapshot().Objects["backup_plan.qa"].Generation)
			c.Restart = restart
			f.record(l, []state.Change{c})
			return c.At
		}
		put(false)
		equal(f, "cursor of one that was never followed", cursor(), state.Cursor{})
		at := put(true)
		equal(f, "cursor of one that begins anew", cursor(), state.Cursor{Address: "backup_plan.qa", At: at})
		put(false)
		equal(f, "cursor after another change", cursor().At, at)
		n := f.newRun("backup_plan.qa", device("QA1"))
		n.Cursor = &state.Cursor{Address: "backup_plan.qa", Nominal: "later", At: f.tick().Add(time.Hour)}
		_, err := f.b.Begin(f.ctx(), f.plan(), []state.NewRun{n})
		f.ok(err)
		put(true)
		equal(f, "cursor that is ahead", cursor(), *n.Cursor)
	},
	"a new state has a lineage and generation 0": func(f *fixture) {
		m, err := f.b.Meta(f.ctx())
		f.ok(err)
		if m.Lineage == "" || m.Generation != 0 || m.Schema < 1 || m.Engine == "" {
			f.Errorf("got %+v", m)
		}
	},
	"record writes objects under the next generation": func(f *fixture) {
		l := f.lock(f.session())
		c := f.put("backup_plan.nightly", 0)
		c.Protect, c.Identity = true, "uuid-1"
		equal(f, "generation", f.record(l, []state.Change{c, f.put("store.nas", 0)}), 1)
		equal(f, "object", f.snapshot().Objects["backup_plan.nightly"], state.Object{Address: c.Address, Spec: c.Spec, Digest: c.Digest,
			Generation: 1, Protect: true, Identity: "uuid-1", Commit: c.Commit, AppliedAt: c.At, AppliedBy: "ann"})

		c = f.put("backup_plan.nightly", 1)
		equal(f, "generation", f.record(l, []state.Change{c}), 2)
		n := f.snapshot()
		equal(f, "identity is kept when none is given", n.Objects[c.Address].Identity, "uuid-1")
		equal(f, "protection", n.Objects[c.Address].Protect, false)
		equal(f, "generation of what was not written", n.Objects["store.nas"].Generation, 1)

		equal(f, "generation", f.record(l, []state.Change{{Op: state.OpDelete, Address: c.Address, IfGeneration: 2}}), 3)
		if _, there := f.snapshot().Objects[c.Address]; there {
			f.Error("the deleted object is there")
		}
	},
	"nothing to record changes nothing": func(f *fixture) {
		l := f.lock(f.session())
		f.record(l, []state.Change{f.put("store.nas", 0)})
		equal(f, "generation", f.record(l, nil), 1)
		equal(f, "generation", f.generation(), 1)
	},
	"the same record again changes nothing more": func(f *fixture) {
		l := f.lock(f.session())
		changes := []state.Change{f.put("store.nas", 0)}
		roles := []state.RoleChange{{Role: state.Role{Failover: "failover.orders", Active: "site.a", Epoch: 1, State: state.RoleSettled, Since: f.now}}}
		equal(f, "generation", f.record(l, changes, roles...), 1)
		equal(f, "generation", f.record(l, changes, roles...), 1)
	},
	"a broken precondition writes nothing and is named": func(f *fixture) {
		l := f.lock(f.session())
		f.record(l, []state.Change{f.put("store.nas", 0)})
		f.record(l, []state.Change{f.put("store.nas", 1)})
		for name, bad := range map[string]state.Change{
			"older generation": f.put("store.nas", 1),
			"must not exist":   f.put("store.nas", 0),
			"must exist":       f.put("store.gone", 7),
			"delete":           {Op: state.OpDelete, Address: "store.nas", IfGeneration: 1},
			"delete unknown":   {Op: state.OpDelete, Address: "store.gone", IfGeneration: 1},
			"move":             {Op: state.OpMove, Address: "store.new", Previous: "store.nas", IfGeneration: 1, Spec: json.RawMessage(`{}`)},
		} {
			_, err := f.b.Record(f.ctx(), l, []state.Change{f.put("store.other", 0), bad}, nil)
			f.is(err, state.ErrStale)
			var stale *state.StaleError
			if !errors.As(err, &stale) || !strings.Contains(stale.What, "store.") {
				f.Errorf("%s: %v does not name the object", name, err)
			}
		}
		_, err := f.b.Record(f.ctx(), l, []state.Change{f.put("store.nas", 1)}, nil)
		if !strings.Contains(err.Error(), "generation 1 -> 2") || !strings.Contains(err.Error(), "by ann") {
			f.Errorf("the error does not say what happened: %v", err)
		}
		equal(f, "generation", f.generation(), 2)
		equal(f, "objects", len(f.snapshot().Objects), 1)
	},
	"record is fenced after the lock is gone": func(f *fixture) {
		for name, lose := range map[string]func(state.Lock){
			"released": func(l state.Lock) { f.ok(f.b.ReleaseLock(f.ctx(), l)) },
			"broken": func(l state.Lock) {
				_, err := f.b.BreakLock(f.ctx(), l.Name, "bob", "stuck", f.tick())
				f.ok(err)
			},
			"taken over": func(l state.Lock) {
				f.now = f.now.Add(2 * time.Minute)
				f.ok(f.b.ReleaseLock(f.ctx(), f.lock(f.session())))
			},
		} {
			l := f.lock(f.session())
			lose(l)
			_, err := f.b.Record(f.ctx(), l, []state.Change{f.put("store."+name, 0)}, nil)
			f.is(err, state.ErrFenced)
		}
		equal(f, "generation", f.generation(), 0)
	},
	"record refuses what it cannot keep": func(f *fixture) {
		l := f.lock(f.session())
		bad := f.put("store.nas", 0)
		bad.Spec = json.RawMessage(`{"a":`)
		other := l
		other.Name = "device/QA1"
		for name, err := range map[string]error{
			"JSON":      second(f.b.Record(f.ctx(), l, []state.Change{bad}, nil)),
			"address":   second(f.b.Record(f.ctx(), l, []state.Change{f.put("", 0)}, nil)),
			"operation": second(f.b.Record(f.ctx(), l, []state.Change{{Op: "upsert", Address: "a", Spec: json.RawMessage(`{}`)}}, nil)),
			"lock":      second(f.b.Record(f.ctx(), other, []state.Change{f.put("store.nas", 0)}, nil)),
		} {
			if err == nil {
				f.Errorf("%s: no error", name)
			}
		}
		equal(f, "generation", f.generation(), 0)
	},
	"a role changes only from the epoch it is known with": func(f *fixture) {
		l := f.lock(f.session())
		role := state.Role{Failover: "failover.orders", Active: "site.berlin", Epoch: 1, State: state.RoleSettled, Since: f.tick(), Reason: "first", Run: "3"}
		f.record(l, nil, state.RoleChange{Role: role})
		equal(f, "role", f.snapshot().Roles[role.Failover], role)
		moved := role
		moved.Active, moved.Epoch, moved.State, moved.MovingTo, moved.Since = "site.dublin", 2, state.RoleMoving, "site.dublin", f.tick()
		f.record(l, nil, state.RoleChange{Role: moved, IfEpoch: 1})

		for _, known := range []int64{0, 1, 3} {
			late := moved
			late.Epoch, late.Since = known+1, f.tick()
			_, err := f.b.Record(f.ctx(), l, nil, []state.RoleChange{{Role: late, IfEpoch: known}})
			f.is(err, state.ErrStale)
			if !strings.Contains(err.Error(), "failover.orders changed role") {
				f.Errorf("the error does not say what happened: %v", err)
			}
		}
		_, err := f.b.Record(f.ctx(), l, nil, []state.RoleChange{{Role: state.Role{Failover: "failover.orders", Epoch: 1}, IfEpoch: 2}})
		if err == nil {
			f.Error("an epoch went back")
		}
		equal(f, "role", f.snapshot().Roles[role.Failover], moved)
		equal(f, "generation", f.generation(), 2)
	},
	"history follows a moved object": func(f *fixture) {
		se := f.session()
		l := f.lock(se)
		f.record(l, []state.Change{f.put("backup_plan.old", 0), f.put("mirror.old", 0), f.put("failover.old", 0), f.put("store.old", 0)},
			state.RoleChange{Role: state.Role{Failover: "failover.old", Active: "site.a", Epoch: 7, State: state.RoleSettled, Since: f.now}})
		run := f.newRun("backup_plan.old", device("QA1"))
		run.Cursor = &state.Cursor{Address: "backup_plan.old", Nominal: "2026-10-25T02:30", At: f.tick()}
		runs, err := f.b.Begin(f.ctx(), f.plan(), []state.NewRun{run})
		f.ok(err)
		c := f.claim(se, runs[0].ID+".1")
		art := state.Artifact{ID: "a1", Store: "store.old", BackupPlan: "backup_plan.old", Run: runs[0].ID, Task: c.Task, State: state.ArtifactGood, Bytes: 5, Started: f.now}
		f.journal(c, state.Entry{Finish: &state.TaskRun{Status: state.Succeeded}, Artifacts: []state.Artifact{art},
			Positions: []state.Position{{Mirror: "mirror.old", At: f.now, Finished: f.now, Files: 3}}})
		f.ok(f.b.Observe(f.ctx(), []state.Observation{{Address: "store.old", At: f.now, Body: json.RawMessage(`{"free":1}`)}}))

		// A former object of the new name left a run of the same occurrence, and a role.
		left := f.newRun("backup_plan.new")
		left.Run.TriggerKey = run.Run.TriggerKey
		_, err = f.b.Begin(f.ctx(), f.plan(), []state.NewRun{left})
		f.ok(err)
		f.record(l, nil, state.RoleChange{Role: state.Role{Failover: "failover.new", Active: "site.x", Epoch: 9, State: state.RoleSettled, Since: f.now}})

		var moves []state.Change
		for _, kind := range []string{"backup_plan", "mirror", "failover", "store"} {
			m := f.put(kind+".new", 1)
			m.Op, m.Previous = state.OpMove, kind+".old"
			moves = append(moves, m)
		}
		f.record(l, moves)
		n := f.snapshot()
		for _, kind := range []string{"backup_plan", "mirror", "failover", "store"} {
			if _, there := n.Objects[kind+".old"]; there || n.Objects[kind+".new"].Generation != 3 {
				f.Errorf("%s was not moved", kind)
			}
		}
		equal(f, "last good run", n.LastGood["backup_plan.new"].ID, runs[0].ID)
		equal(f, "runs under the old name", len(n.LastRuns), 1)
		equal(f, "cursor", n.Cursors["backup_plan.new"].Nominal, "2026-10-25T02:30")
		equal(f, "holdings", n.Artifacts["backup_plan.new"].Count, 1)
		equal(f, "position", n.Positions["mirror.new"].Files, 3)
		equal(f, "role", n.Roles["failover.new"].Active, "site.a")
		equal(f, "epoch never goes back", n.Roles["failover.new"].Epoch, 9)
		equal(f, "old role", n.Roles["failover.old"], state.Role{})
		equal(f, "observation", string(n.Observations["store.new"].Body), `{"free":1}`)
		arts, err := f.b.Artifacts(f.ctx(), state.ArtifactFilter{Store: "store.new", BackupPlan: "backup_plan.new"})
		f.ok(err)
		equal(f, "artifacts", len(arts), 1)
		all, err := f.b.Runs(f.ctx(), state.RunFilter{Address: "backup_plan.new"})
		f.ok(err)
		equal(f, "runs", len(all), 2)
		_, err = f.b.Begin(f.ctx(), f.plan(), []state.NewRun{{Run: all[1]}})
		f.is(err, state.ErrDuplicate)
	},
	"a move does not replace a recorded object": func(f *fixture) {
		l := f.lock(f.session())
		f.record(l, []state.Change{f.put("store.a", 0), f.put("store.b", 0)})
		m := f.put("store.b", 1)
		m.Op, m.Previous = state.OpMove, "store.a"
		_, err := f.b.Record(f.ctx(), l, []state.Change{m}, nil)
		f.is(err, state.ErrStale)
		m.Previous = "store.b"
		if _, err := f.b.Record(f.ctx(), l, []state.Change{m}, nil); err == nil {
			f.Error("a move onto itself was accepted")
		}
		equal(f, "objects", len(f.snapshot().Objects), 2)
	},
	"a deleted object leaves its runs, artifacts and role epoch": func(f *fixture) {
		l := f.lock(f.session())
		f.record(l, []state.Change{f.put("failover.orders", 0)},
			state.RoleChange{Role: state.Role{Failover: "failover.orders", Active: "site.a", Epoch: 4, State: state.RoleSettled, Since: f.now}})
		r := f.begin("failover.orders")
		f.record(l, []state.Change{{Op: state.OpDelete, Address: "failover.orders", IfGeneration: 1}})
		equal(f, "run", f.run(r.ID).Address, "failover.orders")
		equal(f, "epoch", f.snapshot().Roles["failover.orders"].Epoch, 4)
	},
	"an object declared anew has its own run of an occurrence": func(f *fixture) {
		l := f.lock(f.session())
		f.record(l, []state.Change{f.put("backup_plan.qa", 0)})
		run := f.newRun("backup_plan.qa")
		run.Run.TriggerKey = "2026-10-25T02:30"
		for i := range 3 {
			runs, err := f.b.Begin(f.ctx(), f.plan(), []state.NewRun{run})
			f.ok(err)
			equal(f, "key", f.run(runs[0].ID).TriggerKey, "2026-10-25T02:30")
			_, err = f.b.Begin(f.ctx(), f.plan(), []state.NewRun{run})
			f.is(err, state.ErrDuplicate)
			generation := f.snapshot().Objects["backup_plan.qa"].Generation
			f.record(l, []state.Change{{Op: state.OpDelete, Address: "backup_plan.qa", IfGeneration: generation}})
			f.record(l, []state.Change{f.put("backup_plan.qa", 0)})
			all, err := f.b.Runs(f.ctx(), state.RunFilter{Address: "backup_plan.qa"})
			f.ok(err)
			equal(f, "runs", len(all), i+1)
		}
	},
	"observations do not raise the generation and do not go back": func(f *fixture) {
		f.ok(f.b.Observe(f.ctx(), nil))
		seen := state.Observation{Address: "device.QA1", At: f.tick(), Body: json.RawMessage(`{"model":"X3"}`)}
		f.ok(f.b.Observe(f.ctx(), []state.Observation{seen}))
		f.ok(f.b.Observe(f.ctx(), []state.Observation{{Address: "device.QA1", At: seen.At.Add(-time.Hour), Body: json.RawMessage(`{}`)}}))
		equal(f, "observation", f.snapshot().Observations["device.QA1"], seen)
		equal(f, "generation", f.generation(), 0)
		if err := f.b.Observe(f.ctx(), []state.Observation{{Address: "a", Body: json.RawMessage(`{`)}}); err == nil {
			f.Error("broken JSON was accepted")
		}
	},
}

// second gives the error of a call with two results.
func second[T any](_ T, err error) error { return err }
