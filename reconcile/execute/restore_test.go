package execute_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/reconcile/artifact"
	"github.com/holdfast-dr/holdfast/state"
)

// restoreInPlace puts an artifact back into the files device, after a safety backup.
func (w world) restoreInPlace(id string) reconcile.Action {
	args := reconcile.RestoreArgs{Artifact: id, Store: "store.nas", State: state.ArtifactGood, Device: "device.docs", Domain: "main", Replace: true}
	safety := reconcile.CaptureArgs{
		Device: "device.docs", Domain: "main", Action: "export_domain", Variant: "persisted", Store: "store.nas", Activity: "safety",
	}
	look := reconcile.DeviceArgs{Device: "device.docs"}
	return reconcile.Action{
		Address: "device.docs", Kind: reconcile.ActionRestore, Class: reconcile.ClassDestroy, Trigger: state.TriggerManual,
		Tasks: []reconcile.Task{{
			Kind: "restore", Stage: reconcile.StageWork, Device: "device.docs", Domain: "main", OnError: "halt", Locks: []string{"device/docs"},
			Steps: []reconcile.Step{
				step("store", reconcile.OpStoreCheck, state.Rerun, reconcile.StoreArgs{Store: "store.nas"}),
				step("inspect", reconcile.OpDeviceInspect, state.Rerun, look),
				step("safety_capture", reconcile.OpDeviceCapture, state.Rerun, safety),
				step("safety_verify", reconcile.OpArtifactVerify, state.Rerun, safety),
				step("safety_commit", reconcile.OpArtifactCommit, state.Check, safety),
				step("check", reconcile.OpRestoreCheck, state.Rerun, args),
				step("restore", reconcile.OpArtifactRestore, state.Rerun, args),
				step("confirm", reconcile.OpDeviceInspect, state.Rerun, look),
			},
		}},
	}
}

// restoreAside puts an artifact of the files device into a directory.
func (w world) restoreAside(id, dir string) reconcile.Action {
	args := reconcile.RestoreArgs{Artifact: id, Store: "store.nas", State: state.ArtifactGood, Dir: dir}
	return reconcile.Action{
		Address: "device.docs", Kind: reconcile.ActionRestore, Trigger: state.TriggerManual,
		Tasks: []reconcile.Task{{
			Kind: "restore", Stage: reconcile.StageWork, Device: "device.docs", Domain: "main", Locks: []string{"directory" + dir},
			Steps: []reconcile.Step{
				step("store", reconcile.OpStoreCheck, state.Rerun, reconcile.StoreArgs{Store: "store.nas"}),
				step("check aside", reconcile.OpRestoreCheck, state.Rerun, args),
				step("restore aside", reconcile.OpArtifactRestore, state.Rerun, args),
			},
		}},
	}
}

// restorePlan does work of mode restore.
func (w world) restorePlan(actions ...reconcile.Action) *reconcile.Plan {
	p := w.plan(actions...)
	p.Mode = reconcile.ModeRestore
	return p
}

// restores is a plan of both. A trigger key of its own keeps the second from being taken for the first.
func (w world) restores(id string) *reconcile.Plan {
	aside := w.restoreAside(id, w.path("restored"))
	aside.TriggerKey = "aside"
	return w.restorePlan(w.restoreInPlace(id), aside)
}

// prepareRestore backs the world up, keeps what the files device held, and changes it.
func prepareRestore(t testing.TB, w world) {
	t.Helper()
	prepareBackups(t, w)
	copyTree(t, w.path("docs"), w.path("docs-captured"))
	if err := errors.Join(
		os.WriteFile(w.path("docs", "a.txt"), []byte("changed\n"), 0o644),
		os.RemoveAll(w.path("docs", "sub")),
		os.WriteFile(w.path("docs", "new.txt"), []byte("not in the artifact\n"), 0o644),
	); err != nil {
		t.Fatal(err)
	}
	copyTree(t, w.path("docs"), w.path("docs-changed"))
}

func copyTree(t testing.TB, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// ofDocs gives the newest artifact of the files device that was there before any restore.
func (w world) ofDocs(t testing.TB, ctx context.Context, b state.Backend) state.Artifact {
	t.Helper()
	all, err := b.Artifacts(ctx, state.ArtifactFilter{Device: "device.docs", BackupPlan: "backup_plan.nightly"})
	if err != nil || len(all) == 0 {
		t.Fatalf("%d artifacts of the files device, %v", len(all), err)
	}
	return all[0]
}

// useRestored is an application of the files device. As soon as a restore has given it back, it writes there, and notes elsewhere
// what it wrote: that is in no backup.
func (w world) useRestored(point string) {
	if point != "device.Restore:done" || compareUsed(w.path("docs"), w.path("docs-captured")) != "" {
		return
	}
	for _, file := range []string{w.path("docs", usedFile), w.path(usedFile)} {
		f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err == nil {
			_, err = f.WriteString("written\n")
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			panic(err)
		}
	}
}

const usedFile = "used.log"

// compareUsed is compareTrees without what the application wrote.
func compareUsed(a, b string) string {
	x, y := listTree(a), listTree(b)
	delete(x, "/"+usedFile)
	return differ(x, y, b)
}

// checkRestores: what is restored into is whole, old or new, at every instant.
func (w world) checkRestores(final bool, f *findings) {
	if _, err := os.Stat(w.path("docs-captured")); err != nil {
		return
	}
	if a, b := compareUsed(w.path("docs"), w.path("docs-captured")), compareTrees(w.path("docs"), w.path("docs-changed")); a != "" && b != "" {
		f.addf("the device holds a mixture: %s; %s", a, b)
	}
	noted, _ := os.ReadFile(w.path(usedFile))
	if kept, _ := os.ReadFile(w.path("docs", usedFile)); len(kept) < len(noted) {
		f.addf("%d bytes were written after the restore, %d of them are there", len(noted), len(kept))
	}
	if _, err := os.Stat(w.path("restored")); err == nil {
		if diff := compareTrees(w.path("restored"), w.path("docs-captured")); diff != "" {
			f.addf("the directory is not whole: %s", diff)
		}
	}
	if !final {
		return
	}
	for _, pattern := range []string{"restored.partial-*", ".holdfast-restore-*"} {
		if left, _ := filepath.Glob(w.path(pattern)); len(left) > 0 {
			f.addf("left behind: %q", left)
		}
	}
}

// endRestored: the device and the directory hold what was captured, and what the device held before is in the store.
func endRestored(ctx context.Context, w world, b state.Backend, f *findings) {
	for _, dir := range []string{"docs", "restored"} {
		if diff := compareUsed(w.path(dir), w.path("docs-captured")); diff != "" {
			f.addf("%s was not restored: %s", dir, diff)
		}
	}
	runs, err := b.Runs(ctx, state.RunFilter{})
	if err != nil {
		f.addf("runs: %v", err)
	}
	for _, r := range runs {
		if r.Kind == string(reconcile.ActionRestore) && !r.Status.Good() {
			f.addf("what was restored is called %s: %s", r.Status, r.Error)
		}
	}
	safety, err := b.Artifacts(ctx, state.ArtifactFilter{Device: "device.docs", State: state.ArtifactGood})
	if err != nil || len(safety) == 0 || safety[0].BackupPlan != "" {
		f.addf("there is no safety backup (%v)", err)
		return
	}
	o := providers.Opener{Registry: registry(), Lookup: func(a string) (providers.Spec, error) {
		s := w.objects()[a]
		return providers.Spec{Type: s.Type, Body: s.Spec, Identity: s.Identity}, nil
	}}
	saved := w.path("saved")
	if _, err := artifact.Restore(ctx, &o, safety[0], artifact.Target{Dir: saved}, nil); err != nil {
		f.addf("restore the safety backup: %v", err)
		return
	}
	if diff := compareTrees(saved, w.path("docs-changed")); diff != "" {
		f.addf("the safety backup is not what the device held: %s", diff)
	}
	if err := errors.Join(artifact.Sweep(saved, safety[0].ID), os.RemoveAll(saved)); err != nil {
		f.addf("%v", err)
	}
}

// restoring is a rig that is prepared, and the artifact to restore.
func restoring(t *testing.T) (*rig, state.Artifact) {
	t.Helper()
	k := newRig(t)
	prepareRestore(t, k.world)
	return k, k.ofDocs(t, t.Context(), k.b)
}

func TestRestore(t *testing.T) {
	k, art := restoring(t)
	p := k.restores(art.ID)
	res := k.apply(p)
	k.want(res.Runs[0].ID, "succeeded")
	k.want(res.Runs[1].ID, "succeeded")
	k.clean(p, true)
	var f findings
	endRestored(t.Context(), k.world, k.b, &f)
	for _, text := range f {
		t.Error(text)
	}
	if r := res.Runs[0]; r.Kind != "restore" || r.Address != "device.docs" {
		t.Errorf("the run is a %s of %s", r.Kind, r.Address)
	}
}

// TestNothingIsRestored: whatever goes wrong before, the target is as it was.
func TestNothingIsRestored(t *testing.T) {
	for name, tc := range map[string]struct {
		break_ func(k *rig, art state.Artifact)
		want   string
		spared bool // Restore is not even called
	}{
		"the safety backup fails": {func(k *rig, _ state.Artifact) {
			k.failing("device.Capture", -1, errors.New("no"))
		}, "failed FAILED", true},
		"the safety backup is not what was written": {func(k *rig, _ state.Artifact) {
			k.failing("store.Staged", -1, providers.ErrCorrupt)
		}, "failed FAILED_VERIFY", true},
		"the safety backup cannot be committed": {func(k *rig, _ state.Artifact) {
			k.failing("store.Commit", -1, providers.ErrNoSpace)
		}, "failed FAILED_STORE_SPACE", true},
		"the device is not there": {func(k *rig, _ state.Artifact) {
			k.failing("device.Inspect", -1, providers.ErrUnavailable)
		}, "failed FAILED_NOT_AVAILABLE", true},
		"the artifact is damaged": {func(k *rig, art state.Artifact) {
			m, err := artifact.Manifest(art)
			if err != nil {
				k.Fatal(err)
			}
			path := k.path("store", filepath.FromSlash(m.Files[0].Path))
			b, err := os.ReadFile(path)
			if err != nil {
				k.Fatal(err)
			}
			b[len(b)/2] ^= 1
			if err := errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, b, 0o600)); err != nil {
				k.Fatal(err)
			}
		}, "failed FAILED_VERIFY", true},
		"the artifact is quarantined": {func(k *rig, art state.Artifact) {
			art.State, art.Quarantined = state.ArtifactQuarantined, time.Now()
			if err := k.b.PutArtifact(k.Context(), art); err != nil {
				k.Fatal(err)
			}
		}, "failed CANCELLED_PLAN_STALE", true},
		"the restore fails": {func(k *rig, _ state.Artifact) {
			k.failing("device.Restore:open", -1, errors.New("no"))
		}, "failed FAILED", false},
		"the content cannot be read to its end": {func(k *rig, _ state.Artifact) {
			k.failing("device.Restore:read", -1, errors.New("no"))
		}, "failed FAILED", false},
	} {
		t.Run(name, func(t *testing.T) {
			k, art := restoring(t)
			tc.break_(k, art)
			called := false
			fault := k.fault
			k.fault = func(p string) error {
				called = called || strings.HasPrefix(p, "device.Restore")
				return fault(p)
			}
			p := k.restorePlan(k.restoreInPlace(art.ID))
			res := k.apply(p)
			k.healed()
			k.want(res.Runs[0].ID, tc.want)
			if diff := compareTrees(k.path("docs"), k.path("docs-changed")); diff != "" {
				t.Errorf("the target was changed: %s", diff)
			}
			if called && tc.spared {
				t.Error("the restore began")
			}
			var f findings
			k.checkRestores(true, &f)
			k.checkEnd(t.Context(), k.b, &f)
			for _, text := range f {
				t.Error(text)
			}
		})
	}
}

// TestRestoreIntoADirectory: it appears whole, and never takes the place of something.
func TestRestoreIntoADirectory(t *testing.T) {
	k, art := restoring(t)
	if err := os.MkdirAll(k.path("restored", "mine"), 0o755); err != nil {
		t.Fatal(err)
	}
	res := k.apply(k.restorePlan(k.restoreAside(art.ID, k.path("restored"))))
	k.want(res.Runs[0].ID, "failed FAILED_NOT_EMPTY")
	if err := os.Remove(k.path("restored", "mine")); err != nil {
		t.Fatal(err)
	}
	res = k.apply(k.restorePlan(k.restoreAside(art.ID, k.path("restored"))))
	k.want(res.Runs[0].ID, "succeeded")
	var f findings
	k.checkRestores(true, &f)
	for _, text := range f {
		t.Error(text)
	}
	if diff := compareTrees(k.path("restored"), k.path("docs-captured")); diff != "" {
		t.Error(diff)
	}
	if got := k.tasks(res.Runs[0].ID)[0]; got.Files != art.Files || got.Bytes != art.Bytes {
		t.Errorf("the task counts %d files, %d bytes; the artifact has %d, %d", got.Files, got.Bytes, art.Files, art.Bytes)
	}
}

// TestForgetFails: that a device could not be made to forget a restore is told, and no reason to call the restore a failure.
func TestForgetFails(t *testing.T) {
	for name, tc := range map[string]struct {
		times int
		err   error
		want  string
	}{
		"for good":        {-1, errors.New("no"), "succeeded_with_warnings"},
		"in use":          {-1, retryable(errors.New("no")), "succeeded_with_warnings"},
		"in use at first": {2, retryable(errors.New("no")), "succeeded"},
	} {
		t.Run(name, func(t *testing.T) {
			k, art := restoring(t)
			k.failing("device.Forget", tc.times, tc.err)
			res := k.apply(k.restorePlan(k.restoreInPlace(art.ID)))
			k.want(res.Runs[0].ID, tc.want)
			if msg := k.tasks(res.Runs[0].ID)[0].Error; tc.times < 0 && !strings.Contains(msg, "left behind") {
				t.Errorf("the message is %q", msg)
			}
			if diff := compareTrees(k.path("docs"), k.path("docs-captured")); diff != "" {
				t.Error(diff)
			}
		})
	}
}
