package execute_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/reconcile/execute"
	"github.com/holdfast-dr/holdfast/state"
)

// recordedStore gives the record of the world's store.
func (k *rig) recordedStore() state.Object {
	k.Helper()
	snap, err := k.b.Snapshot(k.Context())
	if err != nil {
		k.Fatal(err)
	}
	return snap.Objects["store.nas"]
}

func TestWhatAStoreShowsIsRecorded(t *testing.T) {
	k := newRig(t)
	p := k.plan(k.initAction())
	p.Changes = []reconcile.Change{create("store.nas", true)}
	k.apply(p)
	o := k.recordedStore()
	if o.Epoch != 1 || len(o.Heads) != 0 {
		t.Errorf("after init: epoch %d, heads %v", o.Epoch, o.Heads)
	}
	var seq int64
	generation := o.Generation
	for _, key := range []string{"1", "2"} {
		k.apply(k.plan(k.backupAction(key)))
		if o = k.recordedStore(); len(o.Heads) != 1 || o.Heads[0].Seq <= seq {
			t.Fatalf("after backup %s the heads are %v, before it %d", key, o.Heads, seq)
		}
		seq = o.Heads[0].Seq
	}
	if o.Generation != generation {
		t.Errorf("seeing a store raised its generation to %d from %d", o.Generation, generation)
	}
	all, err := k.b.Artifacts(t.Context(), state.ArtifactFilter{})
	if err != nil {
		t.Fatal(err)
	}
	k.apply(k.retention(all[len(all)-1].ID))
	if o = k.recordedStore(); o.Heads[0].Seq != seq+1 {
		t.Errorf("after a deletion the heads are %v, before it %d", o.Heads, seq)
	}
}

func TestAnotherCopyOfAStoreIsNotWrittenTo(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*reconcile.Spec)
		says   string
	}{
		"another identity": {func(s *reconcile.Spec) { s.Identity = "another" }, "is another store"},
		"older epoch":      {func(s *reconcile.Spec) { s.Epoch = 2 }, "carries the epoch 1; recorded is 2"},
		"older catalogue":  {func(s *reconcile.Spec) { s.Heads[0].Seq += 5 }, "is an older copy of the store"},
		"other catalogue":  {func(s *reconcile.Spec) { s.Heads[0].SHA256 = "other" }, "is another copy of the store"},
	} {
		t.Run(name, func(t *testing.T) {
			k := newRig(t)
			prepareBackups(t, k.world)
			before := k.listing()
			p := k.plan(k.backupAction("4"))
			spec := p.Objects["store.nas"]
			o := k.recordedStore()
			spec.Identity, spec.Epoch, spec.Heads = o.Identity, o.Epoch, append([]state.Head{}, o.Heads...)
			test.change(&spec)
			p.Objects["store.nas"] = spec
			res := k.apply(p)
			for _, task := range k.tasks(res.Runs[0].ID) {
				if task.Kind == "backup" && (task.Reason != execute.FailedStoreIdentity || !strings.Contains(task.Error, test.says)) {
					t.Errorf("task %s: %s, %s", task.ID, task.Reason, task.Error)
				}
			}
			if after := k.listing(); after != before {
				t.Errorf("the store was\n%s and is\n%s", before, after)
			}
		})
	}
}

// listing names what is in the store.
func (k *rig) listing() string {
	k.Helper()
	var all strings.Builder
	var walk func(dir string)
	walk = func(dir string) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			k.Fatal(err)
		}
		for _, e := range entries {
			all.WriteString(dir + "/" + e.Name() + "\n")
			if e.IsDir() {
				walk(dir + "/" + e.Name())
			}
		}
	}
	walk(k.path("store"))
	return all.String()
}

func TestNothingIsDeletedDuringAHold(t *testing.T) {
	k := newRig(t)
	prepareBackups(t, k.world)
	ids := k.aged()
	k.failing("store.Delete", 1, os.ErrPermission)
	k.want(k.apply(k.retention(ids[0])).Runs[0].ID, "failed FAILED") // its deletion has begun
	k.healed()
	hold := func(h state.Hold) {
		if err := k.b.Hold(t.Context(), h, "test", "", time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	hold(state.Hold{Until: time.Now().Add(time.Hour), Reason: "rescan"})
	before := k.listing()
	res := k.apply(k.retention(ids[0], ids[1]))
	k.want(res.Runs[0].ID, "cancelled CANCELLED_DELETIONS_HELD", "cancelled CANCELLED_DELETIONS_HELD")
	if after := k.listing(); after != before {
		t.Errorf("the store was\n%s and is\n%s", before, after)
	}
	hold(state.Hold{})
	k.want(k.apply(k.retention(ids[0], ids[1])).Runs[0].ID, "succeeded", "succeeded")
	var f findings
	k.wantDeleted(t.Context(), k.b, &f, ids[0], ids[1])
	for _, problem := range f {
		t.Error(problem)
	}
}
