package statetest

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/holdfast-dr/holdfast/state"
)

func (f *fixture) recover(l state.Lock, r state.Recovery) state.RecoveryResult {
	f.Helper()
	r.Actor, r.At = "ann", f.tick()
	if r.Hold.Reason == "" {
		r.Hold = state.Hold{Until: r.At.Add(state.HoldTime), Reason: "rescan"}
	}
	n, err := f.b.Recover(f.ctx(), l, r)
	f.ok(err)
	return n
}

// found is an artifact as a store tells of it.
func (f *fixture) found(id string, st state.ArtifactState) state.Artifact {
	return state.Artifact{
		ID: id, Store: "store.nas", BackupPlan: "backup_plan.qa", Run: "41", Task: "41.1", Device: "device.QA1", Domain: "D", Action: "export_domain",
		Variant: "persisted", Files: 1, Bytes: 10, Manifest: json.RawMessage(`{"files":[]}`), State: st, Started: f.now, Error: "as the store tells",
	}
}

// artifact gives the record of an artifact.
func (f *fixture) artifact(id string) state.Artifact {
	f.Helper()
	all, err := f.b.Artifacts(f.ctx(), state.ArtifactFilter{ID: id})
	f.ok(err)
	if len(all) != 1 {
		f.Fatalf("%d artifacts %s", len(all), id)
	}
	return all[0]
}

var recoverTests = map[string]func(*fixture){
	"what a store tells becomes the record, once": func(f *fixture) {
		l := f.lock(f.session())
		good := f.found("a", state.ArtifactGood)
		cursor := state.Cursor{Address: "backup_plan.qa", Nominal: "2026-10-24T02:30", At: f.now.Add(-24 * time.Hour)}
		r := state.Recovery{Store: "store.nas", Found: []state.Artifact{good, f.found("b", state.ArtifactDeleted)}, Cursors: []state.Cursor{cursor}}
		equal(f, "first", f.recover(l, r), state.RecoveryResult{Added: 2, Cursors: 1})
		equal(f, "artifact", f.artifact("a"), good)
		n := f.snapshot()
		equal(f, "cursor", n.Cursors["backup_plan.qa"], cursor)
		equal(f, "hold", n.Meta.Hold, state.Hold{Until: f.now.Add(state.HoldTime), Reason: "rescan"})
		equal(f, "generation", n.Meta.Generation, 0)

		hold := n.Meta.Hold
		equal(f, "again", f.recover(l, r), state.RecoveryResult{Kept: 2})
		equal(f, "artifact", f.artifact("a"), good)
		equal(f, "hold of nothing new", f.snapshot().Meta.Hold, hold)
		equal(f, "the next run", f.begin("backup_plan.qa", device("QA1")).ID, "42")
	},
	"the record keeps what it knows better": func(f *fixture) {
		l := f.lock(f.session())
		states := []state.ArtifactState{state.ArtifactGood, state.ArtifactQuarantined, state.ArtifactUnverified, state.ArtifactDeleted}
		for _, test := range []struct {
			recorded state.ArtifactState
			want     [4]state.ArtifactState // by what is found, in the order of states
		}{
			{state.ArtifactGood, [4]state.ArtifactState{state.ArtifactGood, state.ArtifactQuarantined, state.ArtifactQuarantined, state.ArtifactDeleted}},
			{state.ArtifactUnverified, [4]state.ArtifactState{state.ArtifactGood, state.ArtifactQuarantined, state.ArtifactUnverified, state.ArtifactDeleted}},
			{state.ArtifactQuarantined, [4]state.ArtifactState{state.ArtifactQuarantined, state.ArtifactQuarantined, state.ArtifactQuarantined, state.ArtifactDeleted}},
			{state.ArtifactExpiring, [4]state.ArtifactState{state.ArtifactExpiring, state.ArtifactExpiring, state.ArtifactExpiring, state.ArtifactDeleted}},
			{state.ArtifactDeleted, [4]state.ArtifactState{state.ArtifactDeleted, state.ArtifactDeleted, state.ArtifactDeleted, state.ArtifactDeleted}},
		} {
			for i, st := range states {
				id := fmt.Sprintf("%s-%s", test.recorded, st)
				recorded := f.found(id, test.recorded)
				recorded.Run, recorded.Task, recorded.Error, recorded.Verified = "7", "7.1", "", f.now
				f.ok(f.b.PutArtifact(f.ctx(), recorded))
				if test.recorded != state.ArtifactExpiring && test.recorded != state.ArtifactDeleted {
					f.ok(f.b.Pin(f.ctx(), id, true, "ann", "audit", f.tick()))
					recorded.Pinned = true
				}
				f.recover(l, state.Recovery{Store: "store.nas", Found: []state.Artifact{f.found(id, st)}})
				got := f.artifact(id)
				equal(f, id, got.State, test.want[i])
				equal(f, id+" pin", got.Pinned, recorded.Pinned)
				switch {
				case got.State == recorded.State:
					equal(f, id, got, recorded)
				case got.State == state.ArtifactQuarantined:
					equal(f, id+" since", got.Quarantined, f.now)
					fallthrough
				case got.State == state.ArtifactDeleted:
					equal(f, id+" why", got.Error, "as the store tells")
					equal(f, id+" run", got.Run, "7")
				}
			}
		}
	},
	"an artifact in another store is left alone": func(f *fixture) {
		l := f.lock(f.session())
		f.kept("a")
		was := f.artifact("a")
		there := f.found("a", state.ArtifactQuarantined)
		there.Store = "store.other"
		equal(f, "result", f.recover(l, state.Recovery{Store: "store.other", Found: []state.Artifact{there}}), state.RecoveryResult{Elsewhere: 1})
		equal(f, "artifact", f.artifact("a"), was)
	},
	"a recovered artifact is never of somebody else's run": func(f *fixture) {
		l := f.lock(f.session())
		run := f.begin("backup_plan.qa", device("QA1")).ID
		for id, change := range map[string]func(*state.Artifact){
			"older": func(a *state.Artifact) { a.Run, a.Started = run, f.now.Add(-24*time.Hour) },
			"another": func(a *state.Artifact) {
				a.Run, a.BackupPlan, a.Started = run, "backup_plan.other", f.now.Add(time.Hour)
			},
			"none":  func(a *state.Artifact) { a.Run = "" },
			"words": func(a *state.Artifact) { a.Run = "1; DROP TABLE run" },
			"huge":  func(a *state.Artifact) { a.Run = "9223372036854775807" },
		} {
			a := f.found(id, state.ArtifactGood)
			change(&a)
			f.recover(l, state.Recovery{Store: "store.nas", Found: []state.Artifact{a}})
			equal(f, id, f.artifact(id).Run+f.artifact(id).Task, "")
		}
		equal(f, "the next run", f.begin("backup_plan.qa", device("QA1")).ID, "2")
	},
	"a recovery needs the apply lock and what is valid": func(f *fixture) {
		l := f.lock(f.session())
		good := state.Recovery{Store: "store.nas", At: f.tick(), Actor: "ann"}
		for name, change := range map[string]func(*state.Artifact){
			"id": func(a *state.Artifact) { a.ID = "" }, "lines": func(a *state.Artifact) { a.ID = "a\nb" }, "store": func(a *state.Artifact) { a.Store = "store.other" },
			"manifest": func(a *state.Artifact) { a.Manifest = json.RawMessage(`{`) }, "state": func(a *state.Artifact) { a.State = state.ArtifactExpiring },
		} {
			a := f.found("a", state.ArtifactGood)
			change(&a)
			bad := good
			bad.Found = []state.Artifact{f.found("b", state.ArtifactGood), a}
			if _, err := f.b.Recover(f.ctx(), l, bad); err == nil {
				f.Errorf("%s: no error", name)
			}
		}
		f.ok(f.b.ReleaseLock(f.ctx(), l))
		good.Found = []state.Artifact{f.found("a", state.ArtifactGood)}
		_, err := f.b.Recover(f.ctx(), l, good)
		f.is(err, state.ErrFenced)
		equal(f, "artifacts", len(f.states()), 0)
	},
	"cursors only go forward": func(f *fixture) {
		l := f.lock(f.session())
		at := func(hours int) state.Cursor {
			return state.Cursor{Address: "backup_plan.qa", Nominal: fmt.Sprint(hours), At: time.Date(2026, 1, 1, hours, 0, 0, 0, time.UTC)}
		}
		for i, want := range []int{1, 0, 0, 1} {
			n := f.recover(l, state.Recovery{Store: "store.nas", Cursors: []state.Cursor{at([]int{5, 4, 5, 6}[i])}})
			equal(f, "moved", n.Cursors, want)
		}
		equal(f, "cursor", f.snapshot().Cursors["backup_plan.qa"], at(6))
	},
	"nothing is deleted during a hold": func(f *fixture) {
		f.kept("abc")
		c := f.claim(f.session(), f.begin("retention.x", device("QA1")).ID+".1")
		expire := []state.Expiry{{Artifact: "a", Newer: 1}}
		f.ok(f.b.Hold(f.ctx(), state.Hold{Until: f.now.Add(time.Hour), Reason: "restored"}, "ann", "looking", f.tick()))
		err := f.b.Journal(f.ctx(), c, state.Entry{Expire: expire, At: f.tick()})
		f.is(err, state.ErrStale)
		if !strings.Contains(err.Error(), "restored") {
			f.Errorf("the error does not say why: %v", err)
		}
		equal(f, "kept", f.states()["a"], state.ArtifactGood)
		for range 2 {
			f.ok(f.b.Hold(f.ctx(), state.Hold{}, "ann", "all is well", f.tick()))
		}
		equal(f, "hold", f.snapshot().Meta.Hold, state.Hold{})
		f.journal(c, state.Entry{Expire: expire, At: f.tick()})
		equal(f, "begun", f.states()["a"], state.ArtifactExpiring)
	},
	"a hold ends by itself": func(f *fixture) {
		f.kept("abc")
		c := f.claim(f.session(), f.begin("retention.x", device("QA1")).ID+".1")
		f.ok(f.b.Hold(f.ctx(), state.Hold{Until: f.now.Add(time.Minute)}, "ann", "", f.tick()))
		f.journal(c, state.Entry{Expire: []state.Expiry{{Artifact: "a", Newer: 1}}, At: f.now.Add(time.Minute)})
	},
	"what was seen of a store only raises its record": func(f *fixture) {
		se := f.session()
		f.record(f.lock(se), []state.Change{f.put("store.nas", 0)})
		c := f.claim(se, f.begin("backup_plan.qa", device("QA1")).ID+".1")
		see := func(epoch int64, heads ...state.Head) state.Object {
			f.Helper()
			f.journal(c, state.Entry{Sights: []state.StoreSight{{Store: "store.nas", Epoch: epoch, Heads: heads}, {Store: "store.gone", Epoch: 1}}, At: f.tick()})
			return f.snapshot().Objects["store.nas"]
		}
		a1, a2, b1 := state.Head{Writer: "a", Seq: 1, SHA256: "x"}, state.Head{Writer: "a", Seq: 2, SHA256: "y"}, state.Head{Writer: "b", Seq: 1, SHA256: "z"}
		equal(f, "first", see(3, a1).Heads, []state.Head{a1})
		equal(f, "longer", see(3, b1, a2).Heads, []state.Head{a2, b1})
		o := see(2, a1)
		equal(f, "shorter", o.Heads, []state.Head{a2, b1})
		equal(f, "epoch", o.Epoch, int64(3))
		equal(f, "generation", o.Generation, int64(1))
	},
	"a store's epoch and heads are recorded, kept and replaced": func(f *fixture) {
		l := f.lock(f.session())
		head := state.Head{Writer: "a", Seq: 4, SHA256: "x"}
		c := f.put("store.nas", 0)
		c.Identity, c.Epoch, c.Heads = "uuid-1", 2, []state.Head{head}
		f.record(l, []state.Change{c})
		f.record(l, []state.Change{f.put("store.nas", 1)})
		o := f.snapshot().Objects["store.nas"]
		equal(f, "kept", []any{o.Identity, o.Epoch, o.Heads}, []any{"uuid-1", int64(2), []state.Head{head}})
		c = f.put("store.nas", 2)
		c.Epoch, c.Heads = 3, []state.Head{}
		f.record(l, []state.Change{c})
		o = f.snapshot().Objects["store.nas"]
		equal(f, "replaced", []any{o.Identity, o.Epoch, len(o.Heads)}, []any{"uuid-1", int64(3), 0})
	},
}
