package store_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/config/sampletest"
	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/plain"
	"github.com/holdfast-dr/holdfast/reconcile/store"
	"github.com/holdfast-dr/holdfast/state"
	"github.com/holdfast-dr/holdfast/state/sqlstore"
	"github.com/holdfast-dr/holdfast/state/statetest"
)

const nas = "store.nas"

var start = time.Date(2026, 3, 1, 1, 0, 0, 0, time.UTC)

// fixture is a state with one plain store, whose place is at path.
type fixture struct {
	testing.TB
	path    string
	backend state.Backend
	opened  *sqlstore.Store
	now     time.Time
	lock    state.Lock
}

func newFixture(t testing.TB) *fixture {
	f := &fixture{TB: t, path: filepath.Join(t.TempDir(), "place"), now: start.Add(30 * 24 * time.Hour)}
	f.lose()
	return f
}

// lose gives the fixture a new state, in which nothing is recorded.
func (f *fixture) lose() {
	f.Helper()
	f.opened = statetest.New(f)
	f.backend = f.opened
	f.relock()
}

func (f *fixture) relock() {
	f.Helper()
	s, err := f.opened.OpenSession(f.Context(), state.Session{Actor: "ann", Started: f.now})
	f.ok(err)
	f.lock, err = f.opened.AcquireLock(f.Context(), state.Lock{
		Name: state.ApplyLock, Session: s.Epoch, Actor: "ann", Acquired: f.now, Expires: f.now.Add(time.Hour),
	})
	f.ok(err)
}

func (f *fixture) ok(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

func (f *fixture) snapshot() *state.Snapshot {
	f.Helper()
	snap, err := f.opened.Snapshot(f.Context())
	f.ok(err)
	return snap
}

func (f *fixture) spec() json.RawMessage {
	return json.RawMessage(fmt.Sprintf(`{"type":"plain","path":%q}`, f.path))
}

func (f *fixture) keeper() *store.Keeper {
	snap := f.snapshot()
	return &store.Keeper{
		Backend: f.backend, Actor: "ann", Now: func() time.Time { return f.now },
		Opener: &providers.Opener{
			Registry: &providers.Registry{Stores: []providers.StoreType{plain.StoreType()}},
			Env:      providers.Env{Writer: snap.Meta.Lineage},
			Lookup: func(address string) (providers.Spec, error) {
				o := snap.Objects[address]
				return providers.Spec{Type: "plain", Body: f.spec(), Identity: o.Identity, Epoch: o.Epoch}, nil
			},
		},
	}
}

func (f *fixture) init(adopt bool) store.Outcome {
	f.Helper()
	out, err := f.keeper().Init(f.Context(), f.lock, store.Declared{Address: nas, Spec: f.spec(), Commit: "c1"}, adopt)
	f.ok(err)
	return out
}

// fill commits artifacts, one an hour, of a backup plan.
func (f *fixture) fill(n int) []providers.Manifest {
	f.Helper()
	s, err := f.keeper().Opener.Store(f.Context(), nas)
	f.ok(err)
	defer s.Close()
	var all []providers.Manifest
	for i := range n {
		at := start.Add(time.Duration(i) * time.Hour)
		ref := providers.ArtifactRef{
			ID: providers.ArtifactID(fmt.Sprintf("01A%023d", i)), Device: fmt.Sprintf("web%d", i%40), Domain: "content", Action: providers.ExportDomain,
			Variant: providers.Persisted, Started: at,
		}
		stage, err := s.Stage(f.Context(), ref)
		f.ok(err)
		w, err := stage.Create("export.zip")
		f.ok(err)
		_, err = fmt.Fprintf(w, "content %d", i)
		f.ok(errors.Join(err, w.Close()))
		m, err := s.Commit(f.Context(), providers.Manifest{
			Schema: 1, ArtifactRef: ref, Files: stage.Files(), BackupPlan: "backup_plan.hourly", Run: fmt.Sprint(i + 1), Task: fmt.Sprintf("%d.1", i+1),
			Nominal: at.Format("2006-01-02T15:04"), Finished: at.Add(time.Second),
		})
		f.ok(err)
		all = append(all, m)
	}
	return all
}

var hourly = map[string]config.BackupPlan{"backup_plan.hourly": {Schedule: "0 * * * *", Timezone: "UTC"}}

func (f *fixture) rescan() (store.Rescanned, error) {
	return f.keeper().Rescan(f.Context(), f.lock, nas, hourly, false, nil)
}

// records gives what is recorded of artifacts.
func (f *fixture) records() string {
	f.Helper()
	all, err := f.opened.Artifacts(f.Context(), state.ArtifactFilter{})
	f.ok(err)
	body, err := json.Marshal(all)
	f.ok(err)
	return string(body)
}

func TestRescanGivesTheArtifactsAndTheSchedule(t *testing.T) {
	f := newFixture(t)
	f.init(false)
	manifests := f.fill(30)
	f.lose()
	if out := f.init(true); out.Done != store.Adopted || out.Epoch != 2 {
		t.Fatalf("adopted %+v", out)
	}
	got, err := f.rescan()
	f.ok(err)
	if got.Found[providers.Intact] != 30 || got.Result.Added != 30 || got.Result.Cursors != 1 || len(got.Problems)+len(got.Bad)+len(got.Unknown)+len(got.Skipped) > 0 {
		t.Errorf("got %+v", got)
	}
	snap := f.snapshot()
	if c := snap.Cursors["backup_plan.hourly"]; c.Nominal != manifests[29].Nominal || !c.At.Equal(manifests[29].Started) {
		t.Errorf("cursor %+v", c)
	}
	if !snap.Meta.Hold.Until.Equal(f.now.Add(state.HoldTime)) {
		t.Errorf("hold %+v", snap.Meta.Hold)
	}
	all, err := f.opened.Artifacts(t.Context(), state.ArtifactFilter{})
	f.ok(err)
	slices.Reverse(all) // oldest first
	for i, a := range all {
		body, err := json.Marshal(manifests[i])
		f.ok(err)
		want := state.Artifact{
			ID: string(manifests[i].ID), Store: nas, BackupPlan: "backup_plan.hourly", Run: manifests[i].Run, Task: manifests[i].Task,
			Device: "device." + manifests[i].Device, Domain: "content", Action: "export_domain", Variant: "persisted", Files: 1, Bytes: manifests[i].Size(),
			Manifest: body, State: state.ArtifactGood, Started: manifests[i].Started,
		}
		if got, want := fmt.Sprintf("%+v", a), fmt.Sprintf("%+v", want); got != want {
			t.Fatalf("artifact %d:\n got %s\nwant %s", i, got, want)
		}
	}
}

// dying is a backend that dies after so many transactions of a rescan, before or after the one that is too many.
type dying struct {
	*sqlstore.Store
	left  int
	after bool
}

var errDied = errors.New("died here")

func (d *dying) Recover(ctx context.Context, l state.Lock, r state.Recovery) (state.RecoveryResult, error) {
	d.left--
	if d.left < 0 && !d.after {
		return state.RecoveryResult{}, errDied
	}
	n, err := d.Store.Recover(ctx, l, r)
	if d.left < 0 {
		err = errDied
	}
	return n, err
}

func TestRescanThatDiedIsDoneAgain(t *testing.T) {
	f := newFixture(t)
	f.init(false)
	f.write(1101) // three transactions: two full ones, and the rest with the schedules
	_, err := f.rescan()
	f.ok(err)
	want := f.records()
	for left := range 3 {
		for _, after := range []bool{false, true} {
			f.lose()
			f.init(true)
			f.backend = &dying{f.opened, left, after}
			if _, err := f.rescan(); !errors.Is(err, errDied) {
				t.Fatalf("after %d transactions: %v", left, err)
			}
			if snap := f.snapshot(); len(snap.Catalogue) > 0 && snap.Meta.Hold.Until.IsZero() {
				t.Errorf("after %d transactions there are %d artifacts and no hold", left, len(snap.Catalogue))
			}
			f.backend = f.opened
			got, err := f.rescan()
			f.ok(err)
			if got.Result.Added+got.Result.Kept != 1101 || got.Result.Changed != 0 {
				t.Errorf("after %d transactions: %+v", left, got.Result)
			}
			if f.records() != want {
				t.Errorf("after %d transactions the records are others", left)
			}
			if c := f.snapshot().Cursors["backup_plan.hourly"]; !c.At.Equal(start.Add(1100 * time.Minute)) {
				t.Errorf("cursor %+v", c)
			}
		}
	}
}

func TestRescanOfWhatIsNotWhole(t *testing.T) {
	f := newFixture(t)
	f.init(false)
	m := f.fill(6)
	at := func(i int) string { return filepath.Join(f.path, filepath.FromSlash(m[i].Files[0].Path)) }
	s, err := f.keeper().Opener.Store(t.Context(), nas)
	f.ok(err)
	f.ok(s.Delete(t.Context(), m[0].ArtifactRef))
	f.ok(s.Close())
	manifest := func(i int) string { return strings.TrimSuffix(at(i), ".zip") + ".holdfast.json" }
	f.ok(os.Remove(manifest(1)))                                            // known by its path
	f.ok(os.WriteFile(at(2), []byte("cut"), 0o600))                         // damaged
	f.ok(errors.Join(os.Remove(manifest(3)), os.Remove(at(3))))             // missing
	f.ok(os.WriteFile(manifest(4), []byte(`{"schema": 1, "id": 7`), 0o600)) // not understood
	f.lose()
	f.init(true)
	got, err := f.rescan()
	f.ok(err)
	if got.Result.Added != 6 || len(got.Problems) != 1 || len(got.Bad) != 4 {
		t.Errorf("got %+v", got)
	}
	want := []state.ArtifactState{
		state.ArtifactDeleted, state.ArtifactUnverified, state.ArtifactQuarantined, state.ArtifactQuarantined, state.ArtifactUnverified, state.ArtifactGood,
	}
	for i, st := range want {
		all, err := f.opened.Artifacts(t.Context(), state.ArtifactFilter{ID: string(m[i].ID)})
		f.ok(err)
		switch {
		case len(all) != 1 || all[0].State != st:
			t.Errorf("artifact %d: %+v, want %s", i, all, st)
		case st != state.ArtifactGood && all[0].Error == "":
			t.Errorf("artifact %d does not say why it is %s", i, st)
		}
	}
	found, err := f.keeper().Check(t.Context(), nas)
	f.ok(err)
	for _, x := range found.Findings {
		if x.Kind == store.NotRecorded || x.Kind == store.RecordedMissing {
			t.Errorf("after a rescan the record differs: %+v", x)
		}
	}
}

func TestRescanDry(t *testing.T) {
	f := newFixture(t)
	f.init(false)
	f.fill(3)
	f.lose()
	f.init(true)
	before := f.snapshot()
	got, err := f.keeper().Rescan(t.Context(), state.Lock{}, nas, hourly, true, nil)
	f.ok(err)
	if got.Result.Added != 3 || len(got.Cursors) != 1 {
		t.Errorf("got %+v", got)
	}
	if after := f.snapshot(); len(after.Catalogue) != 0 || len(after.Cursors) != 0 || after.Meta != before.Meta {
		t.Errorf("a dry run changed the state: %+v", after)
	}
}

func TestRescanNominalTimes(t *testing.T) {
	f := newFixture(t)
	f.now = start.Add(24 * time.Hour)
	f.init(false)
	m := f.fill(30) // the last ones are of the future
	f.lose()
	f.init(true)
	got, err := f.keeper().Rescan(t.Context(), f.lock, nas, nil, false, nil)
	f.ok(err)
	if len(got.Cursors) != 0 || !slices.Equal(got.Skipped, []string{"backup_plan.hourly"}) {
		t.Errorf("without schedules: %+v", got)
	}
	if got, err = f.rescan(); err != nil || len(got.Cursors) != 1 || got.Cursors[0].Nominal != m[24].Nominal {
		t.Errorf("got %+v, %v; want the newest that is not of the future, %s", got.Cursors, err, m[24].Nominal)
	}
}

func TestSweepKeepsWhatIsWorkedOn(t *testing.T) {
	f := newFixture(t)
	f.init(false)
	s, err := f.keeper().Opener.Store(t.Context(), nas)
	f.ok(err)
	defer s.Close()
	ids := []providers.ArtifactID{"01AAAAAAAAAAAAAAAAAAAAAAAA", "01BBBBBBBBBBBBBBBBBBBBBBBB"}
	long := time.Now().Add(-2 * providers.SweepAge)
	for _, id := range ids {
		stage, err := s.Stage(t.Context(), providers.ArtifactRef{ID: id, Device: "web", Domain: "d", Action: providers.ExportDomain, Started: start})
		f.ok(err)
		w, err := stage.Create("part")
		f.ok(errors.Join(err, w.Close()))
		f.ok(filepath.WalkDir(filepath.Join(f.path, ".holdfast", "tmp", string(id)), func(p string, _ os.DirEntry, err error) error {
			return errors.Join(err, os.Chtimes(p, long, long))
		}))
	}
	runs, err := f.opened.Begin(t.Context(), state.StoredPlan{ID: "p", Body: json.RawMessage(`{}`), CreatedAt: f.now}, []state.NewRun{{
		Run: state.Run{Address: "backup_plan.hourly", Trigger: state.TriggerManual, TriggerKey: "1", CreatedAt: f.now}, Tasks: []state.TaskRun{{Kind: "backup"}},
	}})
	f.ok(err)
	c, err := f.opened.Claim(t.Context(), f.lock.Session, runs[0].ID+".1", f.now)
	f.ok(err)
	f.ok(f.opened.Journal(t.Context(), c, state.Entry{At: f.now, Begin: &state.StepRun{
		Name: "capture", Class: state.Rerun, Input: json.RawMessage(fmt.Sprintf(`{"id":%q,"started":"2026-03-01T01:00:00Z"}`, ids[0])),
	}}))
	swept, err := f.keeper().Sweep(t.Context(), nas)
	f.ok(err)
	if !slices.Equal(swept.Staged, ids[1:]) {
		t.Errorf("swept %+v, want only %s", swept, ids[1])
	}
}

// TestRescanOfTenThousand, of fewer in a sample, prints what the recovery of a lost state takes.
func TestRescanOfTenThousand(t *testing.T) {
	n := sampletest.Count(t, 2000, 10_000)
	f := newFixture(t)
	f.init(false)
	f.write(n)
	f.init(true)
	began := time.Now()
	got, err := f.rescan()
	f.ok(err)
	t.Logf("%d artifacts in %s", n, time.Since(began).Round(time.Millisecond))
	if got.Result.Added != n {
		t.Errorf("got %+v", got)
	}
	began = time.Now()
	if got, err = f.rescan(); err != nil || got.Result.Kept != n {
		t.Errorf("again: %+v, %v", got.Result, err)
	}
	t.Logf("again in %s", time.Since(began).Round(time.Millisecond))
}

// BenchmarkRescan recovers artifacts with their catalogue.
func BenchmarkRescan(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		f := newFixture(b)
		f.init(false)
		f.fill(10_000)
		f.lose()
		f.init(true)
		b.StartTimer()
		_, err := f.rescan()
		f.ok(err)
	}
}

// write puts artifacts into the store's place without its commit protocol, which flushes each file to the disk.
func (f *fixture) write(n int) {
	f.Helper()
	for i := range n {
		at := start.Add(time.Duration(i) * time.Minute)
		device, body := fmt.Sprintf("web%d", i%100), fmt.Appendf(nil, "content %d", i)
		sum := sha256.Sum256(body)
		dir := filepath.Join(f.path, device, "domain", "content")
		stem := "content-export-" + strings.ReplaceAll(at.Format("2006-01-02-15-04-05.000"), ".", "-") + "-persisted"
		m := providers.Manifest{
			Schema: 1, ArtifactRef: providers.ArtifactRef{
				ID: providers.ArtifactID(fmt.Sprintf("01A%023d", i)), Device: device, Domain: "content", Action: providers.ExportDomain,
				Variant: providers.Persisted, Started: at,
			},
			Files:      []providers.File{{Name: "export.zip", Path: device + "/domain/content/" + stem + ".zip", Size: int64(len(body)), SHA256: hex.EncodeToString(sum[:])}},
			BackupPlan: "backup_plan.hourly", Nominal: at.Format("2006-01-02T15:04"), Finished: at,
		}
		text, err := json.Marshal(m)
		f.ok(errors.Join(err, os.MkdirAll(dir, 0o700)))
		f.ok(errors.Join(os.WriteFile(filepath.Join(dir, stem+".zip"), body, 0o600), os.WriteFile(filepath.Join(dir, stem+".holdfast.json"), text, 0o600)))
	}
}

// TestStatusOfAStoreThatIsNotMounted has a store whose settings demand a mount, at a path that is none.
func TestStatusOfAStoreThatIsNotMounted(t *testing.T) {
	for _, recorded := range []bool{false, true} {
		t.Run(fmt.Sprintf("recorded %t", recorded), func(t *testing.T) {
			f := newFixture(t)
			if recorded {
				f.init(false)
				f.ok(os.RemoveAll(f.path))
				f.ok(os.Mkdir(f.path, 0o700))
			}
			k, snap := f.keeper(), f.snapshot()
			k.Opener.Lookup = func(address string) (providers.Spec, error) {
				o := snap.Objects[address]
				body := json.RawMessage(fmt.Sprintf(`{"type":"plain","path":%q,"mount":{"required":true}}`, f.path))
				return providers.Spec{Type: "plain", Body: body, Identity: o.Identity, Epoch: o.Epoch}, nil
			}
			got := k.Status(t.Context(), snap, nas)
			if len(got.Problems) == 0 || !strings.HasPrefix(got.Problems[0], "It is not mounted: ") {
				t.Errorf("the mount is not the first problem: %q", got.Problems)
			}
			for _, p := range got.Problems {
				if strings.Contains(p, "no identity") || strings.Contains(p, "now with") {
					t.Errorf("says %q of a store that is not mounted", p)
				}
			}
			if got.Place.FreeBytes != -1 || got.Place.TotalBytes != -1 {
				t.Errorf("tells the space below the mount point: %+v", got.Place)
			}
			for _, adopt := range []bool{false, true} {
				if _, err := k.Init(t.Context(), f.lock, store.Declared{Address: nas, Spec: f.spec()}, adopt); err == nil || !strings.Contains(err.Error(), "is not mounted: ") {
					t.Errorf("init with adopt %t: got %v", adopt, err)
				}
			}
		})
	}
}

// forgetful takes the catalogue away, as if its entries had never been written.
func (f *fixture) forgetful() {
	f.Helper()
	f.ok(errors.Join(os.RemoveAll(filepath.Join(f.path, ".holdfast", "catalog")), os.RemoveAll(filepath.Join(f.path, ".holdfast", "heads"))))
	found, err := f.keeper().Check(f.Context(), nas)
	f.ok(err)
	holes := slices.DeleteFunc(found.Findings, func(x providers.Finding) bool { return x.Kind != providers.NotCatalogued })
	if len(holes) != 2 {
		f.Fatalf("without a catalogue: %+v", holes)
	}
}

// TestHolesInTheCatalogueAreMended: what an older version left out of the catalogue, or an adoption found without one, is missed when it is gone.
func TestHolesInTheCatalogueAreMended(t *testing.T) {
	for name, mend := range map[string]func(*fixture) int{
		"repair": func(f *fixture) int {
			found, err := f.keeper().Check(t.Context(), nas)
			f.ok(err)
			found, err = f.keeper().Repair(t.Context(), found)
			f.ok(err)
			return len(found.Repaired)
		},
		"rescan": func(f *fixture) int {
			got, err := f.rescan()
			f.ok(err)
			return got.Catalogued
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.init(false)
			all := f.fill(2)
			f.forgetful()
			if n := mend(f); n != 2 {
				t.Errorf("%d artifacts were put into the catalogue, want 2", n)
			}
			file := filepath.Join(f.path, filepath.FromSlash(all[0].Files[0].Path))
			f.ok(errors.Join(os.Remove(file), os.Remove(strings.TrimSuffix(file, ".zip")+".holdfast.json")))
			found, err := f.keeper().Check(t.Context(), nas)
			f.ok(err)
			if !slices.ContainsFunc(found.Findings, func(x providers.Finding) bool { return x.Kind == providers.ManifestMissing && x.Artifact == all[0].ID }) {
				t.Errorf("nobody misses what is gone: %+v", found.Findings)
			}
		})
	}
}

func TestDryRescanOfHoles(t *testing.T) {
	f := newFixture(t)
	f.init(false)
	f.fill(2)
	f.forgetful()
	got, err := f.keeper().Rescan(t.Context(), state.Lock{}, nas, hourly, true, nil)
	f.ok(err)
	if got.Uncatalogued != 2 || got.Catalogued != 0 {
		t.Errorf("got %+v", got)
	}
}
