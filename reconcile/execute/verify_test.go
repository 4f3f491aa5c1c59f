package execute_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/state"
)

// verified is the address of the runs of verifications: one of its own, since a story's first life is told by its runs.
const verified = "store.verified"

// verification reads artifacts of the world's store back, after a look at its catalogue.
func (w world) verification(ids ...string) *reconcile.Plan {
	a := reconcile.Action{Address: verified, Kind: reconcile.ActionVerify, Trigger: state.TriggerApply, Tasks: []reconcile.Task{{
		Kind: "verify", Stage: reconcile.StageWork, Device: "store.nas",
		Steps: []reconcile.Step{step("catalogue", reconcile.OpStoreAudit, state.Rerun, reconcile.StoreArgs{Store: "store.nas"})},
	}}}
	for _, id := range ids {
		a.Tasks = append(a.Tasks, reconcile.Task{Kind: "verify", Stage: reconcile.StageWork, Action: "read " + id, Steps: []reconcile.Step{
			step("check", reconcile.OpArtifactCheck, state.Rerun, reconcile.CheckArgs{Artifact: id, Store: "store.nas"}),
		}})
	}
	return w.plan(a)
}

func artifactOf(t testing.TB, b state.Backend, id string) state.Artifact {
	t.Helper()
	all, err := b.Artifacts(t.Context(), state.ArtifactFilter{ID: id})
	if err != nil || len(all) != 1 {
		t.Fatalf("artifact %s: %d, %v", id, len(all), err)
	}
	return all[0]
}

// file is where the first file of an artifact lies.
func (w world) file(t testing.TB, a state.Artifact) string {
	t.Helper()
	var m providers.Manifest
	if err := json.Unmarshal(a.Manifest, &m); err != nil || len(m.Files) == 0 {
		t.Fatalf("manifest of %s: %v", a.ID, err)
	}
	return w.path("store", m.Files[0].Path)
}

func flip(t testing.TB, file string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func remove(t testing.TB, file string) {
	t.Helper()
	if err := os.RemoveAll(file); err != nil {
		t.Fatal(err)
	}
}

// prepareDamage makes backups and flips a byte in the oldest.
func prepareDamage(t testing.TB, w world) {
	prepareBackups(t, w)
	b := w.open(t)
	defer b.Close()
	flip(t, w.file(t, artifactOf(t, b, w.aged()[0])))
	if err := os.WriteFile(w.path("damaged"), []byte(w.aged()[0]), 0o644); err != nil {
		t.Fatal(err)
	}
}

// wantRead: the damaged artifact is quarantined, all others were read by this plan.
func (w world) wantRead(ctx context.Context, b state.Backend, f *findings) {
	all, err := b.Artifacts(ctx, state.ArtifactFilter{})
	if err != nil || len(all) != 6 {
		f.addf("%d artifacts, %v", len(all), err)
		return
	}
	runs, err := b.Runs(ctx, state.RunFilter{Address: verified, Limit: 1})
	if err != nil || len(runs) != 1 || runs[0].Status != state.Partial || runs[0].Succeeded != 6 || runs[0].Failed != 1 {
		f.addf("the run is %+v (%v)", runs, err)
		return
	}
	for _, a := range all {
		damaged := a.ID == w.aged()[0]
		switch {
		case damaged && (a.State != state.ArtifactQuarantined || a.Quarantined.Before(runs[0].CreatedAt) || a.Error == ""):
			f.addf("the damaged artifact is %s since %s: %q", a.State, a.Quarantined, a.Error)
		case !damaged && (a.State != state.ArtifactGood || a.Verified.Before(runs[0].CreatedAt)):
			f.addf("artifact %s is %s, verified %s", a.ID, a.State, a.Verified)
		}
	}
}

func TestVerificationFindsDamage(t *testing.T) {
	k := newRig(t)
	prepareDamage(t, k.world)
	ids := k.aged()
	bad := artifactOf(t, k.b, ids[0])
	res := k.apply(k.verification(ids...))
	k.want(res.Runs[0].ID, "succeeded", "failed FAILED_VERIFY", "succeeded", "succeeded", "succeeded", "succeeded", "succeeded")
	var f findings
	k.wantRead(t.Context(), k.b, &f)
	for _, problem := range f {
		t.Error(problem)
	}
	tasks := k.tasks(res.Runs[0].ID)
	path := strings.TrimPrefix(k.file(t, bad), k.path("store")+"/")
	for _, want := range []string{bad.ID, path, "store.nas", "quarantined", "holdfast status"} {
		if !strings.Contains(tasks[1].Error, want) {
			t.Errorf("the message does not name %s: %s", want, tasks[1].Error)
		}
	}
	if !strings.Contains(artifactOf(t, k.b, ids[0]).Error, path) {
		t.Errorf("the record does not name %s: %s", path, artifactOf(t, k.b, ids[0]).Error)
	}
	if good := artifactOf(t, k.b, ids[1]); tasks[2].Bytes != good.Bytes || tasks[2].Files != good.Files {
		t.Errorf("the task counts %d files, %d bytes of %+v", tasks[2].Files, tasks[2].Bytes, good)
	}
	// Once quarantined it is named again, and never good by itself.
	res = k.apply(k.verification(ids[0]))
	k.want(res.Runs[0].ID, "succeeded", "failed FAILED_VERIFY")
}

func TestWhatAReadingDecides(t *testing.T) {
	manifest := func(t *testing.T, k *rig, a state.Artifact) string {
		all, err := filepath.Glob(filepath.Join(filepath.Dir(k.file(t, a)), "*.json"))
		hidden, err2 := filepath.Glob(filepath.Join(filepath.Dir(k.file(t, a)), strings.SplitN(filepath.Base(k.file(t, a)), ".", 2)[0]+".holdfast.json"))
		if all = append(hidden, all...); errors.Join(err, err2) != nil || len(all) == 0 {
			t.Fatalf("no manifest beside %s: %v %v", k.file(t, a), err, err2)
		}
		return all[0]
	}
	put := func(t *testing.T, k *rig, id string, change func(*state.Artifact)) {
		a := artifactOf(t, k.b, id)
		change(&a)
		if err := k.b.PutArtifact(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	during := func(k *rig, point string, do func() error) {
		k.mu.Lock()
		defer k.mu.Unlock()
		done := false
		k.fault = func(p string) error {
			if p != point || done {
				return nil
			}
			done = true
			return do()
		}
	}
	for name, test := range map[string]struct {
		prepare func(t *testing.T, k *rig, a state.Artifact)
		want    string
		state   state.ArtifactState
		pinned  bool
		read    bool // verified anew
	}{
		"a file is gone": {func(t *testing.T, k *rig, a state.Artifact) { remove(t, k.file(t, a)) }, "failed FAILED_VERIFY", state.ArtifactQuarantined, false, false},
		"a file is short": {func(t *testing.T, k *rig, a state.Artifact) {
			if err := os.Truncate(k.file(t, a), 3); err != nil {
				t.Fatal(err)
			}
		}, "failed FAILED_VERIFY", state.ArtifactQuarantined, false, false},
		"the manifest is gone": {func(t *testing.T, k *rig, a state.Artifact) { remove(t, manifest(t, k, a)) }, "failed FAILED_VERIFY", state.ArtifactQuarantined, false, false},
		"the manifest says something else": {func(t *testing.T, k *rig, a state.Artifact) {
			data, err := os.ReadFile(manifest(t, k, a))
			if err != nil {
				t.Fatal(err)
			}
			changed := strings.Replace(string(data), "c0ffee", "c0ffef", 1)
			if err := os.WriteFile(manifest(t, k, a), []byte(changed), 0o600); err != nil || changed == string(data) {
				t.Fatal(err)
			}
		}, "failed FAILED_VERIFY", state.ArtifactQuarantined, false, false},
		"the store is gone": {func(t *testing.T, k *rig, a state.Artifact) {
			if err := os.Rename(k.path("store"), k.path("elsewhere")); err != nil {
				t.Fatal(err)
			}
		}, "failed FAILED_STORE_IDENTITY_CHANGED", state.ArtifactGood, false, false},
		"the store goes while it is read": {func(t *testing.T, k *rig, a state.Artifact) {
			during(k, "store.Stored", func() error {
				if err := os.Rename(k.path("store"), k.path("elsewhere")); err != nil {
					return err
				}
				return os.ErrNotExist
			})
		}, "failed FAILED_STORE_IDENTITY_CHANGED", state.ArtifactGood, false, false},
		"another store lies there": {func(t *testing.T, k *rig, a state.Artifact) {
			marker := k.path("store", ".holdfast", "store.json")
			data, err := os.ReadFile(marker)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(marker, []byte(strings.ReplaceAll(string(data), "nas-identity", "other")), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "failed FAILED_STORE_IDENTITY_CHANGED", state.ArtifactGood, false, false},
		"the disk gives errors": {func(t *testing.T, k *rig, a state.Artifact) { k.failing("store.Stored", 99, syscall.EIO) }, "failed FAILED", state.ArtifactGood, false, false},
		"an error that passes":  {func(t *testing.T, k *rig, a state.Artifact) { k.failing("store.Stored", 2, retryable(syscall.EIO)) }, "succeeded", state.ArtifactGood, false, true},
		"it is pinned while it is read": {func(t *testing.T, k *rig, a state.Artifact) {
			during(k, "store.Stored", func() error { return k.b.Pin(t.Context(), a.ID, true, "ana", "audit", time.Now()) })
		}, "succeeded", state.ArtifactGood, true, true},
		"it is quarantined while it is read": {func(t *testing.T, k *rig, a state.Artifact) {
			during(k, "store.Stored", func() error {
				_, err := k.b.PutReading(t.Context(), state.Reading{Artifact: a.ID, At: time.Now(), Error: "seen by another"})
				return err
			})
		}, "succeeded", state.ArtifactQuarantined, false, false},
		"its deletion begins while it is read": {func(t *testing.T, k *rig, a state.Artifact) {
			during(k, "store.Stored", func() error {
				put(t, k, a.ID, func(a *state.Artifact) { a.State = state.ArtifactExpiring })
				return nil
			})
		}, "succeeded", state.ArtifactExpiring, false, false},
		"its deletion takes what is read": {func(t *testing.T, k *rig, a state.Artifact) {
			during(k, "store.Stored", func() error {
				put(t, k, a.ID, func(a *state.Artifact) { a.State = state.ArtifactExpiring })
				remove(t, manifest(t, k, a))
				remove(t, k.file(t, a))
				return nil
			})
		}, "succeeded", state.ArtifactExpiring, false, false},
		"it was deleted before": {func(t *testing.T, k *rig, a state.Artifact) {
			put(t, k, a.ID, func(a *state.Artifact) { a.State = state.ArtifactDeleted })
		}, "succeeded", state.ArtifactDeleted, false, false},
		"it is in another store now": {func(t *testing.T, k *rig, a state.Artifact) {
			put(t, k, a.ID, func(a *state.Artifact) { a.Store = "store.other" })
		}, "failed CANCELLED_PLAN_STALE", state.ArtifactGood, false, false},
		"its recorded manifest is none": {func(t *testing.T, k *rig, a state.Artifact) {
			put(t, k, a.ID, func(a *state.Artifact) { a.Manifest = json.RawMessage(`[]`) })
		}, "failed FAILED", state.ArtifactGood, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			k := newRig(t)
			prepareBackups(t, k.world)
			id := k.aged()[0]
			before := artifactOf(t, k.b, id)
			test.prepare(t, k, before)
			p := k.verification(id)
			p.Actions[0].Tasks = p.Actions[0].Tasks[1:]
			res := k.apply(p)
			k.want(res.Runs[0].ID, test.want)
			after := artifactOf(t, k.b, id)
			if after.State != test.state || after.Pinned != test.pinned || after.Verified.After(before.Verified) != test.read {
				t.Errorf("it is %s, pinned %t, verified %s (before: %s): %s", after.State, after.Pinned, after.Verified, before.Verified, after.Error)
			}
		})
	}
}

func TestAudit(t *testing.T) {
	for name, test := range map[string]struct {
		damage func(t *testing.T, k *rig)
		want   string
		names  string // in the message, or among the warnings
	}{
		"nothing": {func(*testing.T, *rig) {}, "succeeded", ""},
		"an entry of the catalogue": {func(t *testing.T, k *rig) {
			all, err := filepath.Glob(k.path("store", ".holdfast", "catalog", "*", "*", "*", k.aged()[1]+"-*"))
			if err != nil || len(all) != 1 {
				t.Fatalf("%v, %v", all, err)
			}
			remove(t, all[0])
		}, "failed FAILED_VERIFY", "catalog_gap"},
		"all artifacts": {func(t *testing.T, k *rig) {
			for _, d := range []string{"docs", "host"} {
				remove(t, k.path("store", d))
			}
		}, "failed FAILED_VERIFY", "6 places"},
		"a file too many": {func(t *testing.T, k *rig) {
			file := filepath.Join(filepath.Dir(k.file(t, artifactOf(t, k.b, k.aged()[0]))), "notes.txt")
			if err := os.WriteFile(file, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, "succeeded_with_warnings", "notes.txt"},
		"the store": {func(t *testing.T, k *rig) { remove(t, k.path("store")) }, "failed FAILED_STORE_IDENTITY_CHANGED", ""},
	} {
		t.Run(name, func(t *testing.T) {
			k := newRig(t)
			prepareBackups(t, k.world)
			test.damage(t, k)
			res := k.apply(k.verification())
			k.want(res.Runs[0].ID, test.want)
			if task := k.tasks(res.Runs[0].ID)[0]; !strings.Contains(task.Error+string(task.Output), test.names) {
				t.Errorf("%q is not named: %s %s", test.names, task.Error, task.Output)
			}
		})
	}
}

// knownDamage reports whether the world was made with damage in an artifact.
func (w world) knownDamage(id string) bool {
	ids, _ := os.ReadFile(w.path("damaged"))
	return slices.Contains(strings.Fields(string(ids)), id)
}
