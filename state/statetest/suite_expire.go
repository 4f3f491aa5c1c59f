package statetest

import (
	"encoding/json"
	"time"

	"github.com/holdfast-dr/holdfast/state"
)

// kept puts good artifacts of one group, one an hour, named as given.
func (f *fixture) kept(names string) {
	f.Helper()
	for i, id := range names {
		at := f.now.Add(time.Duration(i-len(names)) * time.Hour)
		f.ok(f.b.PutArtifact(f.ctx(), state.Artifact{
			ID: string(id), Store: "store.nas", BackupPlan: "backup_plan.qa", Run: "1", Task: "1.1", Device: "device.QA1", Domain: "D", Action: "export_domain",
			Variant: "persisted", Bytes: 10, Manifest: json.RawMessage(`{"files":[]}`), State: state.ArtifactGood, Started: at, Verified: at,
		}))
	}
}

func (f *fixture) change(id string, change func(*state.Artifact)) {
	f.Helper()
	all, err := f.b.Artifacts(f.ctx(), state.ArtifactFilter{ID: id})
	f.ok(err)
	change(&all[0])
	f.ok(f.b.PutArtifact(f.ctx(), all[0]))
}

// states gives the states of artifacts by id.
func (f *fixture) states() map[string]state.ArtifactState {
	f.Helper()
	all, err := f.b.Artifacts(f.ctx(), state.ArtifactFilter{})
	f.ok(err)
	states := map[string]state.ArtifactState{}
	for _, a := range all {
		states[a.ID] = a.State
	}
	return states
}

var expireTests = map[string]func(*fixture){
	"a deletion begins, ends and is final": func(f *fixture) {
		f.kept("abc")
		c := f.claim(f.session(), f.begin("retention.x", device("QA1")).ID+".1")
		stale := state.Entry{Deleted: []string{"a"}, At: f.tick()}
		f.is(f.b.Journal(f.ctx(), c, stale), state.ErrStale)
		begin := state.Entry{Expire: []state.Expiry{{Artifact: "a", Newer: 2}}, At: f.tick()}
		f.journal(c, begin)
		f.journal(c, begin)
		equal(f, "begun", f.states()["a"], state.ArtifactExpiring)
		equal(f, "holdings", f.snapshot().Artifacts["backup_plan.qa"].Count, 2)
		equal(f, "catalogue", len(f.snapshot().Catalogue), 3)
		f.is(f.b.PutArtifact(f.ctx(), state.Artifact{ID: "a", State: state.ArtifactGood}), state.ErrStale)
		f.is(f.b.PutArtifact(f.ctx(), state.Artifact{ID: "a", State: state.ArtifactQuarantined}), state.ErrStale)
		f.is(f.b.Pin(f.ctx(), "a", true, "ann", "", f.tick()), state.ErrStale)
		f.journal(c, state.Entry{Expire: []state.Expiry{{Artifact: "a", Newer: 9}}, At: f.tick()})
		f.journal(c, state.Entry{Deleted: []string{"a"}, At: f.tick()})
		f.journal(c, state.Entry{Deleted: []string{"a"}, Expire: []state.Expiry{{Artifact: "a", Newer: 9}}, At: f.tick()})
		equal(f, "ended", f.states()["a"], state.ArtifactDeleted)
		equal(f, "catalogue", len(f.snapshot().Catalogue), 2)
	},
	"a deletion begins only above the floors": func(f *fixture) {
		se := f.session()
		for name, test := range map[string]struct {
			change func(id string)
			expire state.Expiry
			want   error
		}{
			"too few":             {func(string) {}, state.Expiry{Artifact: "a", Newer: 3}, state.ErrStale},
			"the newest":          {func(string) {}, state.Expiry{Artifact: "c"}, state.ErrStale},
			"absent":              {func(string) {}, state.Expiry{Artifact: "z", Newer: 1}, state.ErrNotFound},
			"newer are bad":       {func(id string) { f.change(id, func(a *state.Artifact) { a.State = state.ArtifactQuarantined }) }, state.Expiry{Artifact: "a", Newer: 1}, state.ErrStale},
			"newer are others":    {func(id string) { f.change(id, func(a *state.Artifact) { a.Variant = "" }) }, state.Expiry{Artifact: "a", Newer: 1}, state.ErrStale},
			"newer in the future": {func(id string) { f.change(id, func(a *state.Artifact) { a.Started = f.now.Add(time.Hour) }) }, state.Expiry{Artifact: "a", Newer: 1}, state.ErrStale},
			"none verified":       {func(id string) { f.change(id, func(a *state.Artifact) { a.Verified = time.Time{} }) }, state.Expiry{Artifact: "a", Newer: 1}, state.ErrStale},
			"object changed":      {func(string) {}, state.Expiry{Artifact: "a", Newer: 1, Objects: map[string]int64{"retention.x": 99}}, state.ErrStale},
		} {
			f.kept("abc")
			test.change("b")
			test.change("c")
			c := f.claim(se, f.begin("retention.x", device("QA"+name)).ID+".1")
			f.is(f.b.Journal(f.ctx(), c, state.Entry{Expire: []state.Expiry{test.expire}, At: f.tick()}), test.want)
			equal(f, name, f.states()["a"], state.ArtifactGood)
			f.journal(c, state.Entry{Finish: &state.TaskRun{Status: state.Failed}, At: f.tick()})
		}
	},
	"a deletion that was asked for needs no floor": func(f *fixture) {
		f.kept("ab")
		f.change("a", func(a *state.Artifact) { a.BackupPlan = "" })
		f.change("b", func(a *state.Artifact) { a.Store, a.Variant, a.Verified = "store.other", "", time.Time{} })
		c := f.claim(f.session(), f.begin("device.QA1", device("QA1")).ID+".1")
		asked := func(id string, last bool, want error) {
			f.Helper()
			e := state.Entry{Expire: []state.Expiry{{Artifact: id, Asked: true, Last: last}}, At: f.tick()}
			f.is(f.b.Journal(f.ctx(), c, e), want)
		}
		f.ok(f.b.Pin(f.ctx(), "a", true, "ann", "audit", f.tick()))
		asked("a", true, state.ErrStale)
		f.ok(f.b.Pin(f.ctx(), "a", false, "ann", "", f.tick()))
		asked("z", true, state.ErrNotFound)
		f.journal(c, state.Entry{Expire: []state.Expiry{{Artifact: "a", Asked: true}}, At: f.tick()})
		equal(f, "begun", f.states()["a"], state.ArtifactExpiring)
		asked("b", false, state.ErrStale) // the last good one
		equal(f, "kept", f.states()["b"], state.ArtifactGood)
		f.change("b", func(a *state.Artifact) { a.State = state.ArtifactQuarantined })
		f.journal(c, state.Entry{Expire: []state.Expiry{{Artifact: "b", Asked: true}}, At: f.tick()})
		equal(f, "a damaged one", f.states()["b"], state.ArtifactExpiring)
		f.kept("c")
		f.journal(c, state.Entry{Expire: []state.Expiry{{Artifact: "c", Asked: true, Last: true}}, At: f.tick()})
		equal(f, "the last one, forced", f.states()["c"], state.ArtifactExpiring)
	},
	"a pin holds": func(f *fixture) {
		put := f.now
		f.kept("ab")
		f.is(f.b.Pin(f.ctx(), "z", true, "ann", "", f.tick()), state.ErrNotFound)
		for range 2 {
			f.ok(f.b.Pin(f.ctx(), "a", true, "ann", "audit", f.tick()))
		}
		f.change("a", func(a *state.Artifact) { a.Pinned = false })
		f.change("b", func(a *state.Artifact) { a.State, a.Quarantined = state.ArtifactQuarantined, f.now })
		for _, a := range f.snapshot().Catalogue {
			if a.ID == "b" {
				equal(f, "brief", a, state.ArtifactBrief{
					ID: "b", Store: "store.nas", BackupPlan: "backup_plan.qa", Device: "device.QA1", Domain: "D", Action: "export_domain", Variant: "persisted",
					State: state.ArtifactQuarantined, Started: put.Add(-time.Hour), Verified: put.Add(-time.Hour), Quarantined: f.now, Bytes: 10,
				})
			}
			equal(f, "pinned "+a.ID, a.Pinned, a.ID == "a")
		}
		c := f.claim(f.session(), f.begin("retention.x", device("QA1")).ID+".1")
		f.is(f.b.Journal(f.ctx(), c, state.Entry{Expire: []state.Expiry{{Artifact: "a", Newer: 1}}, At: f.tick()}), state.ErrStale)
		f.ok(f.b.Pin(f.ctx(), "a", false, "ann", "", f.tick()))
		f.change("b", func(a *state.Artifact) { a.State = state.ArtifactGood })
		f.journal(c, state.Entry{Expire: []state.Expiry{{Artifact: "a", Newer: 1}}, At: f.tick()})
	},
}
