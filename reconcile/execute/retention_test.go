package execute_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/reconcile/execute"
	"github.com/holdfast-dr/holdfast/state"
)

// expireTask deletes one artifact.
func expireTask(id string) reconcile.Task {
	a := reconcile.ExpireArgs{Artifact: id, Store: "store.nas", Newer: 1}
	return reconcile.Task{Kind: "retention", Stage: reconcile.StageWork, Action: "delete " + id, Steps: []reconcile.Step{
		step("expire", reconcile.OpArtifactExpire, state.Rerun, a),
		step("delete", reconcile.OpArtifactDelete, state.Rerun, a),
	}}
}

// retention deletes artifacts.
func (w world) retention(ids ...string) *reconcile.Plan {
	a := reconcile.Action{Address: "retention.standard", Kind: reconcile.ActionRetention, Trigger: state.TriggerApply}
	for _, id := range ids {
		a.Tasks = append(a.Tasks, expireTask(id))
	}
	return w.plan(a)
}

// aged gives the artifacts of the world's store as prepareBackups left them, oldest first.
func (w world) aged() []string {
	b, err := os.ReadFile(w.path("artifacts"))
	if err != nil {
		panic(err)
	}
	return strings.Fields(string(b))
}

// prepareBackups makes the store and backs both devices up three times.
func prepareBackups(t testing.TB, w world) {
	t.Helper()
	ctx, b := t.Context(), w.open(t)
	defer b.Close()
	x := execute.New(execute.Options{Backend: b, Registry: registry(), Actor: "test"})
	p := w.plan(w.initAction())
	p.Changes = []reconcile.Change{create("store.nas", true)}
	for _, next := range []*reconcile.Plan{p, w.plan(w.backupAction("1")), w.plan(w.backupAction("2")), w.plan(w.backupAction("3"))} {
		res, err := x.Apply(ctx, next)
		if err != nil || res.Runs[0].Status != state.Succeeded {
			t.Fatalf("%+v, %v", res, err)
		}
	}
	all, err := b.Artifacts(ctx, state.ArtifactFilter{})
	if err != nil || len(all) != 6 {
		t.Fatalf("%d artifacts, %v", len(all), err)
	}
	var ids []string
	for _, a := range slices.Backward(all) {
		ids = append(ids, a.ID)
	}
	if err := os.WriteFile(w.path("artifacts"), []byte(strings.Join(ids, "\n")), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(w.path("count")); err != nil { // what the scripts left is of plans that are not checked
		t.Fatal(err)
	}
	if err := os.Mkdir(w.path("count"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(w.path("count", "run"), []byte("#!/bin/sh\nset -e\necho \"$HOLDFAST_TASK\" >> \"$1\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
}

// wantDeleted: exactly these artifacts are gone, from the record and from the store.
func (w world) wantDeleted(ctx context.Context, b state.Backend, f *findings, gone ...string) {
	all, err := b.Artifacts(ctx, state.ArtifactFilter{})
	if err != nil {
		f.addf("list artifacts: %v", err)
		return
	}
	store, err := w.openStore(ctx)
	if err != nil {
		f.addf("open store: %v", err)
		return
	}
	defer store.Close()
	there := map[string]bool{}
	for m, err := range store.List(ctx) {
		if err != nil {
			f.addf("the store holds: %v", err)
		}
		there[string(m.ID)] = true
	}
	for _, a := range all {
		want := !slices.Contains(gone, a.ID)
		if there[a.ID] != want || (a.State == state.ArtifactGood) != want || !want && a.State != state.ArtifactDeleted {
			f.addf("artifact %s is %s, in the store: %t, to be kept: %t", a.ID, a.State, there[a.ID], want)
		}
	}
	trash, _ := filepath.Glob(w.path("store", ".holdfast", "trash", "*"))
	if len(trash) > 0 {
		f.addf("the trash holds %v", trash)
	}
}

func TestRetentionLeavesWhatMustStay(t *testing.T) {
	k := newRig(t)
	prepareBackups(t, k.world)
	ids := k.aged()
	pin := func(id string, on bool) {
		if err := k.b.Pin(t.Context(), id, on, "test", "", time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	pin(ids[0], true)
	res := k.apply(k.retention(ids[0], ids[4], ids[1]))
	k.want(res.Runs[0].ID, "skipped SKIPPED_ARTIFACT_PINNED", "failed CANCELLED_PLAN_STALE", "succeeded")
	var f findings
	k.wantDeleted(t.Context(), k.b, &f, ids[1])
	for _, problem := range f {
		t.Error(problem)
	}
	// Again: what is gone is gone, and what was unpinned goes.
	pin(ids[0], false)
	res = k.apply(k.retention(ids[0], ids[1]))
	k.want(res.Runs[0].ID, "succeeded", "succeeded")
	f = nil
	k.wantDeleted(t.Context(), k.b, &f, ids[0], ids[1])
	for _, problem := range f {
		t.Error(problem)
	}
}

func TestADeletionThatFailedIsFinishedByTheNextPlan(t *testing.T) {
	k := newRig(t)
	prepareBackups(t, k.world)
	ids := k.aged()
	k.failing("store.Delete", 1, os.ErrPermission)
	res := k.apply(k.retention(ids[0]))
	k.want(res.Runs[0].ID, "failed FAILED")
	if all, err := k.b.Artifacts(t.Context(), state.ArtifactFilter{ID: ids[0]}); err != nil || all[0].State != state.ArtifactExpiring {
		t.Fatalf("%+v, %v", all, err)
	}
	k.healed()
	res = k.apply(k.retention(ids[0]))
	k.want(res.Runs[0].ID, "succeeded")
	var f findings
	k.wantDeleted(t.Context(), k.b, &f, ids[0])
	for _, problem := range f {
		t.Error(problem)
	}
}
