package statetest

import (
	"time"

	"github.com/holdfast-dr/holdfast/state"
)

var readingTests = map[string]func(*fixture){
	"a reading verifies or quarantines, and touches nothing else": func(f *fixture) {
		f.kept("abc")
		a, b, put := f.artifact("a"), f.artifact("b"), f.now
		c := f.claim(f.session(), f.begin("store.nas", device("QA1")).ID+".1")
		f.ok(f.b.Pin(f.ctx(), "a", true, "ann", "audit", f.tick()))
		f.ok(f.b.Pin(f.ctx(), "b", true, "ann", "audit", f.tick()))
		read := f.tick()
		e := state.Entry{Readings: []state.Reading{{Artifact: "a", At: read}, {Artifact: "b", At: read, Error: "one byte differs"}}, At: f.tick()}
		f.journal(c, e)
		f.journal(c, e)
		a.Verified, a.Pinned = read, true
		b.State, b.Error, b.Quarantined, b.Pinned = state.ArtifactQuarantined, "one byte differs", read, true
		equal(f, "read", f.artifact("a"), a)
		equal(f, "damaged", f.artifact("b"), b)
		equal(f, "holdings", f.snapshot().Artifacts["backup_plan.qa"].Count, 2)

		// An earlier reading that comes late changes nothing unless it found damage; a damaged artifact stays so, with its first error.
		f.journal(c, state.Entry{Readings: []state.Reading{{Artifact: "a", At: put}}, At: f.tick()})
		equal(f, "read before", f.artifact("a"), a)
		f.journal(c, state.Entry{Readings: []state.Reading{{Artifact: "b", At: f.tick()}, {Artifact: "b", At: f.tick(), Error: "another"}}, At: f.tick()})
		equal(f, "damaged still", f.artifact("b"), b)
		equal(f, "quarantined by an early reading", f.reading(state.Reading{Artifact: "a", At: put, Error: "gone"}), state.ArtifactQuarantined)
	},
	"what was seen of a store outside a run": func(f *fixture) {
		f.record(f.lock(f.session()), []state.Change{f.put("store.nas", 0)})
		head := state.Head{Writer: "w", Seq: 7, SHA256: "s"}
		f.ok(f.b.PutSight(f.ctx(), state.StoreSight{Store: "store.nas", Heads: []state.Head{head}}))
		equal(f, "heads", f.snapshot().Objects["store.nas"].Heads, []state.Head{head})
		f.ok(f.b.PutSight(f.ctx(), state.StoreSight{Store: "store.nas", Heads: []state.Head{{Writer: "w", Seq: 6, SHA256: "r"}}}))
		equal(f, "heads after an older sight", f.snapshot().Objects["store.nas"].Heads, []state.Head{head})
		f.ok(f.b.PutSight(f.ctx(), state.StoreSight{Store: "store.none", Heads: []state.Head{head}}))
	},
	"a reading outside a run": func(f *fixture) {
		f.kept("ab")
		equal(f, "good", f.reading(state.Reading{Artifact: "a", At: f.tick()}), state.ArtifactGood)
		equal(f, "verified", f.artifact("a").Verified, f.now)
		equal(f, "bad", f.reading(state.Reading{Artifact: "b", At: f.tick(), Error: "gone"}), state.ArtifactQuarantined)
		equal(f, "good again", f.reading(state.Reading{Artifact: "b", At: f.tick()}), state.ArtifactQuarantined)
		_, err := f.b.PutReading(f.ctx(), state.Reading{Artifact: "z", At: f.tick()})
		f.is(err, state.ErrNotFound)
		for _, r := range []state.Reading{{}, {Artifact: "a"}, {At: f.now}} {
			if _, err := f.b.PutReading(f.ctx(), r); err == nil {
				f.Errorf("%+v was accepted", r)
			}
			c := f.claim(f.session(), f.begin("store.nas", device("QA1")).ID+".1")
			if err := f.b.Journal(f.ctx(), c, state.Entry{Readings: []state.Reading{r}, At: f.tick()}); err == nil {
				f.Errorf("an entry with %+v was accepted", r)
			}
			f.finish(c, state.Failed)
		}
	},
	"a reading undoes no deletion": func(f *fixture) {
		f.kept("abcd")
		c := f.claim(f.session(), f.begin("store.nas", device("QA1")).ID+".1")
		f.journal(c, state.Entry{Expire: []state.Expiry{{Artifact: "a", Newer: 1}, {Artifact: "b", Newer: 1}}, At: f.tick()})
		f.journal(c, state.Entry{Deleted: []string{"b"}, At: f.tick()})
		a, b := f.artifact("a"), f.artifact("b")
		for _, problem := range []string{"", "gone"} {
			f.journal(c, state.Entry{Readings: []state.Reading{{Artifact: "a", At: f.tick(), Error: problem}, {Artifact: "b", At: f.tick(), Error: problem}}, At: f.tick()})
			equal(f, "deleted", f.reading(state.Reading{Artifact: "b", At: f.tick(), Error: problem}), state.ArtifactDeleted)
			equal(f, "expiring", f.artifact("a"), a)
			equal(f, "deleted", f.artifact("b"), b)
		}
	},
	"an artifact put by a journal undoes nothing": func(f *fixture) {
		f.kept("abcd")
		c := f.claim(f.session(), f.begin("store.nas", device("QA1")).ID+".1")
		fresh := map[string]state.Artifact{}
		for _, id := range []string{"a", "b", "c", "d"} {
			fresh[id] = f.artifact(id)
		}
		f.journal(c, state.Entry{Expire: []state.Expiry{{Artifact: "a", Newer: 1}, {Artifact: "b", Newer: 1}}, At: f.tick()})
		f.journal(c, state.Entry{Deleted: []string{"b"}, At: f.tick()})
		f.journal(c, state.Entry{Readings: []state.Reading{{Artifact: "c", At: f.tick(), Error: "gone"}}, At: f.tick()})
		f.ok(f.b.Pin(f.ctx(), "d", true, "ann", "audit", f.tick()))
		before := map[string]state.Artifact{}
		for id := range fresh {
			before[id] = f.artifact(id)
		}
		late := fresh["d"]
		late.Verified = f.tick().Add(time.Hour)
		f.journal(c, state.Entry{Artifacts: []state.Artifact{fresh["a"], fresh["b"], fresh["c"], late}, At: f.tick()})
		late.Pinned = true
		before["d"] = late
		for id, want := range before {
			equal(f, id, f.artifact(id), want)
		}
	},
}

func (f *fixture) reading(r state.Reading) state.ArtifactState {
	f.Helper()
	after, err := f.b.PutReading(f.ctx(), r)
	f.ok(err)
	return after
}
