package providertest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-dr/holdfast/providers"
)

// StorePlace is a fresh place for a store, used by one test.
type StorePlace struct {
	// Open opens the place as a process with this recorded identity does. A
	// test calls it several times, also while earlier ones are open.
	Open func(t *testing.T, identity string) providers.Store
	// Litter puts something at the place that is no store.
	Litter func(t *testing.T)
	// Age makes everything that is staged at the place look older than providers.SweepAge.
	Age func(t *testing.T)
	// Dies opens the place as Open does and lets a process act that dies before its n-th change to the medium, counted from 1. It reports
	// whether it came so far.
	Dies func(t *testing.T, identity string, n int, act func(providers.Store) error) bool
}

// Store holds an implementation to the contract of providers.Store. fresh gives
// a place that is absent or empty; what it leaves behind is its own to clean up.
func Store(t *testing.T, fresh func(t *testing.T) StorePlace) {
	for _, c := range []struct {
		name string
		test func(*testing.T, StorePlace)
	}{
		{"init", storeInit},
		{"init keeps what is there", storeInitNotEmpty},
		{"uninitialised", storeUninitialised},
		{"wrong identity", storeWrongIdentity},
		{"round trip", storeRoundTrip},
		{"manifest survives", storeManifestSurvives},
		{"invisible until commit", storeInvisible},
		{"stage", storeStage},
		{"restage", storeRestage},
		{"discard", storeDiscard},
		{"commit refuses", storeCommitRefuses},
		{"commit again", storeCommitAgain},
		{"resume in another process", storeResume},
		{"not there", storeNotThere},
		{"hostile names", storeHostileNames},
		{"same time", storeSameTime},
		{"concurrent", storeConcurrent},
		{"delete", storeDelete},
		{"cancelled", storeCancelled},
		{"memory", storeMemory},
		{"closed", storeClosed},
		{"adopt", storeAdopt},
		{"heads", storeHeads},
		{"stored", storeStored},
		{"sweep", storeSweep},
		{"check", storeCheck},
		{"recover", storeRecover},
		{"dies in init", storeDiesInInit},
		{"dies in commit", storeDiesInCommit},
		{"dies in delete", storeDiesInDelete},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, fresh(t)) })
	}
}

const storeIdentity = "2f0c9a52-6c0b-4d3f-9d0e-6b1f3f1d7a10"

// started is the time of the seed's example.
var started = time.Date(2017, 6, 26, 22, 48, 0, 0, time.UTC)

func openNew(t *testing.T, at StorePlace) providers.Store {
	t.Helper()
	must(t, at.Open(t, "").Init(t.Context(), storeIdentity))
	return at.Open(t, storeIdentity)
}

func storeInit(t *testing.T, at StorePlace) {
	s := at.Open(t, "")
	info, err := s.Stat(t.Context())
	must(t, err)
	if info.Initialised || !info.Empty || info.Identity != "" {
		t.Fatalf("fresh place: %+v", info)
	}
	must(t, s.Init(t.Context(), storeIdentity))
	must(t, s.Init(t.Context(), storeIdentity))
	wantIs(t, "init with another identity", at.Open(t, "").Init(t.Context(), "another"), providers.ErrIdentity)
	for _, s := range []providers.Store{s, at.Open(t, storeIdentity)} {
		info, err = s.Stat(t.Context())
		must(t, err)
		if !info.Initialised || info.Empty || info.Identity != storeIdentity || info.FreeBytes == 0 || info.TotalBytes == 0 {
			t.Errorf("initialised store: %+v", info)
		}
		if ids := ListIDs(t, s); len(ids) != 0 {
			t.Errorf("a new store lists %v", ids)
		}
	}
}

func storeInitNotEmpty(t *testing.T, at StorePlace) {
	at.Litter(t)
	s := at.Open(t, "")
	info, err := s.Stat(t.Context())
	must(t, err)
	if info.Initialised || info.Empty {
		t.Errorf("littered place: %+v", info)
	}
	wantIs(t, "init", s.Init(t.Context(), storeIdentity), providers.ErrNotEmpty)
	after, err := s.Stat(t.Context())
	must(t, err)
	if after.Initialised {
		t.Error("a refused Init initialised the store")
	}
}

// everyCall makes each call that needs the right store, and gives their errors.
func everyCall(ctx context.Context, s providers.Store, m providers.Manifest) map[string]error {
	errs := map[string]error{}
	_, errs["Stage"] = s.Stage(ctx, m.ArtifactRef)
	_, errs["Staged"] = s.Staged(ctx, m.ID, m.Files[0].Name)
	_, errs["Commit"] = s.Commit(ctx, m)
	errs["Discard"] = s.Discard(ctx, m.ID)
	_, errs["Get"] = s.Get(ctx, m.ArtifactRef)
	_, errs["Open"] = s.Open(ctx, m, m.Files[0].Name)
	for _, err := range s.List(ctx) {
		errs["List"] = err
	}
	if _, listed := errs["List"]; !listed {
		errs["List"] = nil
	}
	errs["Delete"] = s.Delete(ctx, m.ArtifactRef)
	_, errs["Stored"] = s.Stored(ctx, m, m.Files[0].Name)
	_, errs["Sweep"] = s.Sweep(ctx, func(providers.ArtifactID) bool { return false })
	errs["Check"], errs["Recover"] = nil, nil
	for _, err := range s.Check(ctx) {
		errs["Check"] = err
	}
	for _, err := range s.Recover(ctx) {
		errs["Recover"] = err
	}
	return errs
}

func exampleManifest() providers.Manifest {
	return providers.Manifest{
		Schema: 1, ArtifactRef: NewRef("d", "a", providers.ExportDomain),
		Files: []providers.File{{Name: "export.zip", Size: 1, SHA256: fmt.Sprintf("%064x", 1)}},
	}
}

func storeUninitialised(t *testing.T, at StorePlace) {
	for _, identity := range []string{"", storeIdentity} {
		for call, err := range everyCall(t.Context(), at.Open(t, identity), exampleManifest()) {
			wantIs(t, fmt.Sprintf("%s with identity %q", call, identity), err, providers.ErrIdentity)
		}
	}
	info, err := at.Open(t, "").Stat(t.Context())
	must(t, err)
	if info.Initialised || !info.Empty {
		t.Errorf("refused calls changed the place: %+v", info)
	}
}

func storeWrongIdentity(t *testing.T, at StorePlace) {
	good := openNew(t, at)
	m := Put(t, good, NewRef("d", "a", providers.ExportDomain), Content{"export.zip", []byte("x")})
	stranger := at.Open(t, "6f2b6d1e-0000-4000-8000-000000000000")
	for call, err := range everyCall(t.Context(), stranger, m) {
		wantIs(t, call, err, providers.ErrIdentity)
	}
	CheckArtifact(t, good, m.ArtifactRef, Content{"export.zip", []byte("x")})
}

func storeRoundTrip(t *testing.T, at StorePlace) {
	s := openNew(t, at)
	want := map[providers.ArtifactID]bool{}
	for _, ref := range []providers.ArtifactRef{
		NewRef("QA-device1", providers.AllDomains, providers.SecureBackup),
		NewRef("QA-device1", "Domain1", providers.ExportDomain),
		NewRef("QA-device1", providers.AllDomains, providers.ExportDomain),
		NewRef("TEST8", "Domain1", providers.ExportDomain),
	} {
		files := []Content{{"export.tar.zst", []byte("main " + ref.ID)}, {"listing.jsonl.zst", []byte("list")}, {"empty", nil}}
		m := Put(t, s, ref, files...)
		var stored, content int64
		for _, f := range m.Files {
			stored += f.Size
			content += f.Content().Size
		}
		if m.Size() != stored || content != int64(len("main ")+len(ref.ID)+len("list")) {
			t.Errorf("size is %d, of the files %d, of their content %d", m.Size(), stored, content)
		}
		want[ref.ID] = true
		CheckArtifact(t, s, ref, files...)
		CheckArtifact(t, at.Open(t, storeIdentity), ref, files...)
	}
	nonpersisted := NewRef("QA-device1", "Domain1", providers.ExportDomain)
	nonpersisted.Variant = providers.Nonpersisted
	Put(t, s, nonpersisted, Content{"export.tar.zst", []byte("other")})
	want[nonpersisted.ID] = true
	CheckArtifact(t, s, nonpersisted, Content{"export.tar.zst", []byte("other")})

	listed := ListIDs(t, s)
	if len(listed) != len(want) {
		t.Errorf("listed %v, want %d artifacts", listed, len(want))
	}
	for _, id := range listed {
		if !want[id] {
			t.Errorf("listed the unknown %s", id)
		}
	}
}

func storeManifestSurvives(t *testing.T, at StorePlace) {
	s := openNew(t, at)
	m := PutStaged(t, s, NewRef("d", "a", providers.ExportDomain), Content{"export.zip", []byte("data")})
	m.BackupPlan, m.Activity, m.Run, m.Task = "nightly", "domains", "01RUN", "01TASK"
	m.Nominal, m.Commit, m.Version, m.DeviceType = "2017-06-26T22:48:00Z", "c0ffee", "0.1", "datapower"
	m.DeviceInfo = providers.DeviceInfo{Identity: "serial <1>", Model: "X2", Domains: []string{"a", "b"}}
	m.Result = providers.CaptureResult{Consistency: "quiesced", Fingerprint: map[string]any{"objects": 12.0}, Warnings: []string{"a & b"}}
	m.Annotations = json.RawMessage(`{"why":["<test>"]}`)
	stored, err := s.Commit(t.Context(), m)
	must(t, err)
	want := m
	want.Files = stored.Files
	if !reflect.DeepEqual(stored, want) {
		t.Errorf("Commit returned\n%+v, want\n%+v", stored, want)
	}
	if len(stored.Files) != 1 || stored.Files[0].Path == "" || m.Files[0].Path != "" {
		t.Errorf("paths: stored %+v, given %+v", stored.Files, m.Files)
	}
	got, err := s.Get(t.Context(), m.ArtifactRef)
	must(t, err)
	if !reflect.DeepEqual(got, stored) {
		t.Errorf("Get gives\n%+v, Commit gave\n%+v", got, stored)
	}
	for listed, err := range s.List(t.Context()) {
		must(t, err)
		if !reflect.DeepEqual(listed, stored) {
			t.Errorf("List gives\n%+v, Commit gave\n%+v", listed, stored)
		}
	}
}

func storeInvisible(t *testing.T, at StorePlace) {
	s := openNew(t, at)
	for _, action := range []providers.Action{providers.SecureBackup, providers.ExportDomain} {
		m := PutStaged(t, s, NewRef("d", providers.AllDomains, action), Content{"export.zip", []byte("data")})
		if ids := ListIDs(t, s); len(ids) != 0 {
			t.Errorf("listed before commit: %v", ids)
		}
		_, err := s.Get(t.Context(), m.ArtifactRef)
		wantIs(t, "get before commit", err, providers.ErrNotFound)
	}
}

func storeStage(t *testing.T, at StorePlace) {
	s := openNew(t, at)
	ref := NewRef("d", "a", providers.ExportDomain)
	stage, err := s.Stage(t.Context(), ref)
	must(t, err)
	w, err := stage.Create("export.zip")
	must(t, err)
	h := sha256.New()
	total := 0
	rng := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{0, 1, 511, 16 << 10, 70_000, 3, 1 << 20} {
		p := make([]byte, n)
		for i := range p {
			p[i] = byte(rng.Uint32())
		}
		h.Write(p)
		total += n
		if got, err := w.Write(p); got != n || err != nil {
			t.Fatalf("wrote %d of %d: %v", got, n, err)
		}
		clear(p) // a writer must not keep what it was given
	}
	if staged := stage.Files(); len(staged) != 0 {
		t.Errorf("listed before it was closed: %v", staged)
	}
	if _, err := stage.Create("second"); err == nil {
		t.Error("a second file was created while the first was open")
	}
	must(t, w.Close())
	want := providers.File{Name: "export.zip", Size: int64(total), SHA256: hex.EncodeToString(h.Sum(nil))}
	files := stage.Files()
	if len(files) != 1 || files[0].Content() != want {
		t.Fatalf("staged %+v, want %+v", files, want)
	}
	if got := stage.Written(); got != files[0].Size {
		t.Errorf("%d bytes are said to be written, stored are %d", got, files[0].Size)
	}
	if _, err := w.Write([]byte("late")); err == nil {
		t.Error("a closed file took more")
	}
	if _, err := stage.Create("export.zip"); err == nil {
		t.Error("the same name was created twice")
	}
	r, err := s.Staged(t.Context(), ref.ID, "export.zip")
	must(t, err)
	if sum := sha256.Sum256(readAll(t, r)); hex.EncodeToString(sum[:]) != files[0].SHA256 {
		t.Error("the staged file reads back differently")
	}
	_, err = s.Staged(t.Context(), ref.ID, "other")
	wantIs(t, "a file nobody staged", err, providers.ErrNotFound)
}

func storeRestage(t *testing.T, at StorePlace) {
	s := openNew(t, at)
	ref := NewRef("d", providers.AllDomains, providers.SecureBackup)
	PutStaged(t, s, ref, Content{"old.tgz", []byte("old")}, Content{"export.zip", []byte("older and longer")})
	stage, err := s.Stage(t.Context(), ref)
	must(t, err)
	if _, err = stage.Create("unfinished"); err != nil {
		t.Fatal(err)
	}
	again := at.Open(t, storeIdentity)
	m := PutStaged(t, again, ref, Content{"export.zip", []byte("new")})
	if len(m.Files) != 1 {
		t.Errorf("a new staging area lists %v", m.Files)
	}
	for _, name := range []string{"old.tgz", "unfinished"} {
		_, err := again.Staged(t.Context(), ref.ID, name)
		wantIs(t, name+" of the earlier attempt", err, providers.ErrNotFound)
	}
	_, err = again.Commit(t.Context(), m)
	must(t, err)
	CheckArtifact(t, again, ref, Content{"export.zip", []byte("new")})
}

func storeDiscard(t *testing.T, at StorePlace) {
	s := openNew(t, at)
	m := PutStaged(t, s, NewRef("d", "a", providers.ExportDomain), Content{"export.zip", []byte("x")})
	must(t, s.Discard(t.Context(), m.ID))
	must(t, s.Discard(t.Context(), m.ID))
	_, err := s.Staged(t.Context(), m.ID, "export.zip")
	wantIs(t, "a discarded file", err, providers.ErrNotFound)
	if _, err := s.Commit(t.Context(), m); err == nil {
		t.Error("committed what was discarded")
	}
	kept := Put(t, s, NewRef("d", "a", providers.ExportDomain), Content{"export.zip", []byte("kept")})
	must(t, s.Discard(t.Context(), kept.ID))
	CheckArtifact(t, s, kept.ArtifactRef, Content{"export.zip", []byte("kept")})
}

func storeCommitRefuses(t *testing.T, at StorePlace) {
	s := openNew(t, at)
	for _, action := range []providers.Action{providers.SecureBackup, providers.ExportDomain} {
		for name, change := range map[string]func(*providers.Manifest){
			"a file nobody staged": func(m *providers.Manifest) {
				m.Files = append(m.Files, providers.File{Name: "ghost", Size: 1, SHA256: m.Files[0].SHA256})
			},
			"another size":      func(m *providers.Manifest) { m.Files[0].Size++ },
			"a file twice":      func(m *providers.Manifest) { m.Files = append(m.Files, m.Files[0]) },
			"no files":          func(m *providers.Manifest) { m.Files = nil },
			"no checksum":       func(m *providers.Manifest) { m.Files[0].SHA256 = "" },
			"an unlisted file":  func(m *providers.Manifest) { m.Files = m.Files[:1] },
			"no id":             func(m *providers.Manifest) { m.ID = "" },
			"an id with a path": func(m *providers.Manifest) { m.ID = "../../etc" },
			"an unknown action": func(m *providers.Manifest) { m.Action = "explode" },
		} {
			m := PutStaged(t, s, NewRef("d", "a", action), Content{"export.zip", []byte("x")}, Content{"second", []byte("y")})
			bad := m
			bad.Files = slices.Clone(m.Files)
			change(&bad)
			if _, err := s.Commit(t.Context(), bad); err == nil {
				t.Errorf("%s: a manifest with %s was committed", action, name)
			}
			_, err := s.Get(t.Context(), m.ArtifactRef)
			wantIs(t, "get after "+name, err, providers.ErrNotFound)
			must(t, s.Discard(t.Context(), m.ID))
		}
	}
	if ids := ListIDs(t, s); len(ids) != 0 {
		t.Errorf("refused artifacts are listed: %v", ids)
	}
}

func storeCommitAgain(t *testing.T, at StorePlace) {
	s := openNew(t, at)
	for _, action := range []providers.Action{providers.SecureBackup, providers.ExportDomain} {
		m := PutStaged(t, s, NewRef("d", "a", action), Content{"export.zip", []byte("x")})
		first, err := s.Commit(t.Context(), m)
		must(t, err)
		for _, again := range []providers.Store{s, at.Open(t, storeIdentity)} {
			m.Version = "of a later process"
			second, err := again.Commit(t.Context(), m)
			must(t, err)
			if !reflect.DeepEqual(first, second) {
				t.Errorf("%s: committing again gave\n%+v, first\n%+v", action, second, first)
			}
		}
		PutStaged(t, s, m.ArtifactRef, Content{"export.zip", []byte("a second life")})
		second, err := s.Commit(t.Context(), m)
		must(t, err)
		if !reflect.DeepEqual(first, second) {
			t.Errorf("%s: committing what was staged again gave\n%+v, first\n%+v", action, second, first)
		}
		CheckArtifact(t, s, m.ArtifactRef, Content{"export.zip", []byte("x")})
	}
	if ids := ListIDs(t, s); len(ids) != 2 {
		t.Errorf("two artifacts, %v listed", ids)
	}
}

func storeResume(t *testing.T, at StorePlace) {
	for _, action := range []providers.Action{providers.SecureBackup, providers.ExportDomain} {
		before := at.Open(t, "")
		must(t, before.Init(t.Context(), storeIdentity))
		m := PutStaged(t, before, NewRef("d", "a", action), Content{"export.zip", []byte("x")})
		must(t, before.Close())
		after := at.Open(t, storeIdentity)
		r, err := after.Staged(t.Context(), m.ID, "export.zip")
		must(t, err)
		if sum := sha256.Sum256(readAll(t, r)); hex.EncodeToString(sum[:]) != m.Files[0].SHA256 {
			t.Error("the staged file reads back differently")
		}
		_, err = after.Commit(t.Context(), m)
		must(t, err)
		CheckArtifact(t, after, m.ArtifactRef, Content{"export.zip", []byte("x")})
	}
}

func storeNotThere(t *testing.T, at StorePlace) {
	s := openNew(t, at)
	m := Put(t, s, NewRef("d", "a", providers.ExportDomain), Content{"export.zip", []byte("x")})
	_, err := s.Open(t.Context(), m, "other")
	wantIs(t, "open of a file it does not have", err, providers.ErrNotFound)
	other := NewRef("d", "a", providers.ExportDomain)
	_, err = s.Get(t.Context(), other)
	wantIs(t, "get of another id at the same place", err, providers.ErrNotFound)
	_, err = s.Get(t.Context(), NewRef("nobody", "a", providers.SecureBackup))
	wantIs(t, "get of an unknown device", err, providers.ErrNotFound)
	must(t, s.Delete(t.Context(), other))
	must(t, s.Discard(t.Context(), other.ID))
	CheckArtifact(t, s, m.ArtifactRef, Content{"export.zip", []byte("x")})

	m.Files[0].Path = "../../../../etc/passwd"
	if r, err := s.Open(t.Context(), m, "export.zip"); err == nil {
		r.Close()
		t.Error("a path out of the store was opened")
	}
}

func storeHostileNames(t *testing.T, at StorePlace) {
	s := openNew(t, at)
	var files []Content
	for i, name := range HostileNames {
		files = append(files, Content{name, fmt.Appendf(nil, "file %d", i)})
	}
	var refs []providers.ArtifactRef
	for _, action := range []providers.Action{providers.SecureBackup, providers.ExportDomain} {
		for _, name := range HostileNames {
			ref := NewRef(name, name, action)
			Put(t, s, ref, Content{name, []byte("content of " + name)})
			refs = append(refs, ref)
		}
		ref := NewRef("all names at once", "d", action)
		Put(t, s, ref, files...)
		CheckArtifact(t, s, ref, files...)
		must(t, s.Delete(t.Context(), ref))
	}
	for _, ref := range refs {
		CheckArtifact(t, at.Open(t, storeIdentity), ref, Content{ref.Device, []byte("content of " + ref.Device)})
	}
	if ids := ListIDs(t, s); len(ids) != len(refs) {
		t.Errorf("%d artifacts listed of %d", len(ids), len(refs))
	}
	for _, ref := range refs {
		must(t, s.Delete(t.Context(), ref))
	}
	if ids := ListIDs(t, s); len(ids) != 0 {
		t.Errorf("%d artifacts listed after all were deleted", len(ids))
	}
}

func storeSameTime(t *testing.T, at StorePlace) {
	s := openNew(t, at)
	for _, action := range []providers.Action{providers.SecureBackup, providers.ExportDomain} {
		var refs []providers.ArtifactRef
		for i := range 5 {
			ref := NewRef("d", "a", action)
			ref.Started = started.Add(time.Duration(i) * 300 * time.Microsecond)
			refs = append(refs, ref)
			Put(t, s, ref, Content{"export.zip", []byte(ref.ID)})
		}
		must(t, s.Delete(t.Context(), refs[1]))
		must(t, s.Delete(t.Context(), refs[0]))
		_, err := s.Get(t.Context(), refs[0])
		wantIs(t, "get of the deleted one", err, providers.ErrNotFound)
		for _, ref := range refs[2:] {
			CheckArtifact(t, s, ref, Content{"export.zip", []byte(ref.ID)})
		}
	}
}

func storeConcurrent(t *testing.T, at StorePlace) {
	openNew(t, at)
	handles := []providers.Store{at.Open(t, storeIdentity), at.Open(t, storeIdentity)}
	var wg sync.WaitGroup
	refs := make([]providers.ArtifactRef, 24)
	for i := range refs {
		action := []providers.Action{providers.SecureBackup, providers.ExportDomain}[i%2]
		refs[i] = NewRef("d", "a", action)
		wg.Go(func() {
			s := handles[i/2%2]
			m, err := stageBytes(t.Context(), s, refs[i], []byte(refs[i].ID))
			if err == nil {
				_, err = s.Commit(t.Context(), m)
			}
			if err != nil {
				t.Errorf("artifact %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	paths := map[string]bool{}
	for _, ref := range refs {
		CheckArtifact(t, handles[0], ref, Content{"export.zip", []byte(ref.ID)})
		m, err := handles[0].Get(t.Context(), ref)
		must(t, err)
		if paths[m.Files[0].Path] {
			t.Errorf("two artifacts lie at %s", m.Files[0].Path)
		}
		paths[m.Files[0].Path] = true
	}
	if ids := ListIDs(t, handles[1]); len(ids) != len(refs) {
		t.Errorf("%d listed of %d", len(ids), len(refs))
	}
}

func storeDelete(t *testing.T, at StorePlace) {
	s := openNew(t, at)
	for _, action := range []providers.Action{providers.SecureBackup, providers.ExportDomain} {
		gone := Put(t, s, NewRef("d", "a", action), Content{"export.zip", []byte("x")}, Content{"second", []byte("y")})
		later := NewRef("d", "a", action)
		later.Started = started.Add(time.Hour)
		Put(t, s, later, Content{"export.zip", []byte("kept")})
		must(t, s.Delete(t.Context(), gone.ArtifactRef))
		must(t, s.Delete(t.Context(), gone.ArtifactRef))
		_, err := s.Get(t.Context(), gone.ArtifactRef)
		wantIs(t, "get", err, providers.ErrNotFound)
		if r, err := s.Open(t.Context(), gone, "export.zip"); err == nil {
			r.Close()
			t.Error("a file of a deleted artifact can be opened")
		}
		CheckArtifact(t, s, later, Content{"export.zip", []byte("kept")})
		if ids := ListIDs(t, s); !slices.Equal(ids, []providers.ArtifactID{later.ID}) {
			t.Errorf("listed %v, want only %s", ids, later.ID)
		}
		must(t, s.Delete(t.Context(), later))
	}
}

func storeCancelled(t *testing.T, at StorePlace) {
	s := openNew(t, at)
	committed := Put(t, s, NewRef("d", "a", providers.ExportDomain), Content{"export.zip", []byte("x")})
	staged := PutStaged(t, s, NewRef("d", "a", providers.ExportDomain), Content{"export.zip", []byte("y")})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, m := range []providers.Manifest{committed, staged} {
		for call, err := range everyCall(ctx, s, m) {
			wantIs(t, call, err, context.Canceled)
		}
	}
	_, err := s.Stat(ctx)
	wantIs(t, "Stat", err, context.Canceled)
	wantIs(t, "Init", s.Init(ctx, storeIdentity), context.Canceled)
	CheckArtifact(t, s, committed.ArtifactRef, Content{"export.zip", []byte("x")})
	_, err = s.Commit(t.Context(), staged)
	must(t, err)
}

func storeMemory(t *testing.T, at StorePlace) {
	const size, limit = 64 << 20, 16 << 20
	s := openNew(t, at)
	ref := NewRef("d", "a", providers.ExportDomain)
	block := bytes.Repeat([]byte("0123456789abcdef"), 4096)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	stage, err := s.Stage(t.Context(), ref)
	must(t, err)
	w, err := stage.Create("export.tar")
	must(t, err)
	for n := 0; n < size; n += len(block) {
		_, err := w.Write(block)
		must(t, err)
	}
	must(t, w.Close())
	r, err := s.Staged(t.Context(), ref.ID, "export.tar")
	must(t, err)
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{r}, make([]byte, 1<<16))
	must(t, err)
	must(t, r.Close())
	m, err := s.Commit(t.Context(), providers.Manifest{Schema: 1, ArtifactRef: ref, Files: stage.Files()})
	must(t, err)
	runtime.ReadMemStats(&after)
	if n != m.Size() || m.Files[0].Content().Size != size {
		t.Errorf("staged %d bytes, committed %d with a content of %d, want %d", n, m.Size(), m.Files[0].Content().Size, size)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > limit {
		t.Errorf("a file of %d bytes allocated %d", size, used)
	}
}

func storeClosed(t *testing.T, at StorePlace) {
	s := openNew(t, at)
	m := Put(t, s, NewRef("d", "a", providers.ExportDomain), Content{"export.zip", []byte("x")})
	must(t, s.Close())
	must(t, s.Close())
	for call, err := range everyCall(t.Context(), s, m) {
		if err == nil {
			t.Errorf("%s worked on a closed store", call)
		}
	}
}
