package providertest

import (
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/holdfast-dr/holdfast/providers"
)

func storeAdopt(t *testing.T, at StorePlace) {
	at.Litter(t)
	must(t, at.Open(t, "").Adopt(t.Context(), storeIdentity))
	s := at.Open(t, storeIdentity)
	first, err := s.Stat(t.Context())
	must(t, err)
	if !first.Initialised || first.Identity != storeIdentity || first.Epoch < 1 {
		t.Fatalf("adopted place: %+v", first)
	}
	ref := NewRef("d", "a", providers.ExportDomain)
	Put(t, s, ref, Content{"export.zip", []byte("x")})

	must(t, at.Open(t, "").Init(t.Context(), storeIdentity))
	if same, err := s.Stat(t.Context()); err != nil || same.Epoch != first.Epoch {
		t.Errorf("Init of a store changed its epoch to %d: %v", same.Epoch, err)
	}
	must(t, at.Open(t, storeIdentity).Adopt(t.Context(), storeIdentity))
	again, err := s.Stat(t.Context())
	must(t, err)
	if again.Epoch <= first.Epoch || again.Identity != storeIdentity {
		t.Errorf("adopted again: %+v, first %+v", again, first)
	}
	wantIs(t, "adopt with another identity", at.Open(t, "").Adopt(t.Context(), "another"), providers.ErrIdentity)
	CheckArtifact(t, at.Open(t, storeIdentity), ref, Content{"export.zip", []byte("x")})
}

// storeHeads wants the heads to grow with every commit and deletion. A store that keeps no catalogue has none.
func storeHeads(t *testing.T, at StorePlace) {
	s := openNew(t, at)
	heads := func() map[string]providers.Head {
		info, err := s.Stat(t.Context())
		must(t, err)
		all := map[string]providers.Head{}
		for _, h := range info.Heads {
			all[h.Writer] = h
		}
		return all
	}
	before := heads()
	if len(before) > 0 {
		t.Errorf("a new store has heads: %v", before)
	}
	m := Put(t, s, NewRef("d", "a", providers.ExportDomain), Content{"export.zip", []byte("x")})
	committed := heads()
	if len(committed) == 0 {
		return
	}
	_, err := s.Commit(t.Context(), m)
	must(t, err)
	for w, h := range heads() {
		if h != committed[w] {
			t.Errorf("committing again what is committed changed the head to %v from %v", h, committed[w])
		}
	}
	must(t, s.Delete(t.Context(), m.ArtifactRef))
	for w, h := range heads() {
		if was := committed[w]; h.Seq <= was.Seq || h.SHA256 == was.SHA256 {
			t.Errorf("the head after a deletion is %v, before it %v", h, was)
		}
	}
}

func storeStored(t *testing.T, at StorePlace) {
	s := openNew(t, at)
	m := Put(t, s, NewRef("d", "a", providers.ExportDomain), Content{"export.tar", []byte("x")}, Content{"second", nil})
	_, err := s.Stored(t.Context(), m, "other")
	wantIs(t, "a file it does not have", err, providers.ErrNotFound)
	other := m
	other.Files = slices.Clone(m.Files)
	other.Files[0].SHA256, other.Files[0].ContentSHA256 = other.Files[1].SHA256, other.Files[1].Content().SHA256
	r, err := s.Open(t.Context(), other, "export.tar")
	must(t, err)
	if _, err := io.ReadAll(r); !errors.Is(err, providers.ErrCorrupt) {
		t.Errorf("content with another hash than in the manifest: %v", err)
	}
	must(t, r.Close())
	must(t, s.Delete(t.Context(), m.ArtifactRef))
	_, err = s.Stored(t.Context(), m, "export.tar")
	wantIs(t, "a file of a deleted artifact", err, providers.ErrNotFound)
}

func storeSweep(t *testing.T, at StorePlace) {
	s := openNew(t, at)
	kept := Put(t, s, NewRef("d", "a", providers.ExportDomain), Content{"export.zip", []byte("kept")})
	var stale []providers.Manifest
	for _, action := range []providers.Action{providers.SecureBackup, providers.ExportDomain} {
		stale = append(stale, PutStaged(t, s, NewRef("d", "a", action), Content{"export.zip", []byte("stale")}))
	}
	wanted := PutStaged(t, s, NewRef("d", "a", providers.ExportDomain), Content{"export.zip", []byte("wanted")})
	sweep := func() providers.Swept {
		t.Helper()
		swept, err := s.Sweep(t.Context(), func(id providers.ArtifactID) bool { return id == wanted.ID })
		must(t, err)
		return swept
	}
	if swept := sweep(); len(swept.Staged)+len(swept.Deleted)+swept.Files != 0 {
		t.Errorf("swept while it was fresh: %+v", swept)
	}
	at.Age(t)
	fresh := PutStaged(t, s, NewRef("d", "a", providers.ExportDomain), Content{"export.zip", []byte("fresh")})
	swept := sweep()
	want := []providers.ArtifactID{stale[0].ID, stale[1].ID}
	slices.Sort(want)
	if slices.Sort(swept.Staged); !slices.Equal(swept.Staged, want) || swept.Files < 2 || swept.Bytes == 0 {
		t.Errorf("swept %+v, want the staging areas of %v", swept, want)
	}
	if swept := sweep(); len(swept.Staged)+len(swept.Deleted)+swept.Files != 0 {
		t.Errorf("there was something left to sweep: %+v", swept)
	}
	for _, m := range stale {
		_, err := s.Staged(t.Context(), m.ID, "export.zip")
		wantIs(t, "a swept file", err, providers.ErrNotFound)
	}
	for _, m := range []providers.Manifest{wanted, fresh} {
		_, err := s.Commit(t.Context(), m)
		must(t, err)
	}
	CheckArtifact(t, s, kept.ArtifactRef, Content{"export.zip", []byte("kept")})
}

// Findings checks a store and fails on errors.
func Findings(t testing.TB, s providers.Store) []providers.Finding {
	t.Helper()
	var all []providers.Finding
	for f, err := range s.Check(t.Context()) {
		must(t, err)
		all = append(all, f)
	}
	return all
}

// RecoverAll recovers a store by artifact and fails on errors.
func RecoverAll(t testing.TB, s providers.Store) map[providers.ArtifactID]providers.Recovered {
	t.Helper()
	all := map[providers.ArtifactID]providers.Recovered{}
	for r, err := range s.Recover(t.Context()) {
		must(t, err)
		if _, twice := all[r.Manifest.ID]; twice {
			t.Errorf("artifact %s is recovered twice", r.Manifest.ID)
		}
		all[r.Manifest.ID] = r
	}
	return all
}

func storeCheck(t *testing.T, at StorePlace) {
	s := openNew(t, at)
	for _, action := range []providers.Action{providers.SecureBackup, providers.ExportDomain} {
		for _, name := range HostileNames {
			Put(t, s, NewRef(name, name, action), Content{name, []byte("x")}, Content{"second", []byte("y")})
		}
		gone := Put(t, s, NewRef("d", "a", action), Content{"export.zip", []byte("x")})
		must(t, s.Delete(t.Context(), gone.ArtifactRef))
		PutStaged(t, s, NewRef("d", "a", action), Content{"export.zip", []byte("x")})
	}
	for _, f := range Findings(t, at.Open(t, storeIdentity)) {
		t.Errorf("found in a store that nothing happened to: %+v", f)
	}
}

func storeRecover(t *testing.T, at StorePlace) {
	s := openNew(t, at)
	want := map[providers.ArtifactID]providers.Condition{}
	manifests := map[providers.ArtifactID]providers.Manifest{}
	for _, action := range []providers.Action{providers.SecureBackup, providers.ExportDomain} {
		for i, name := range HostileNames {
			m := PutStaged(t, s, NewRef(name, name, action), Content{name, []byte("x")}, Content{"second", []byte("y")})
			m.Started = m.Started.Add(time.Duration(i) * time.Hour)
			m.BackupPlan, m.Nominal = "nightly", "2017-06-26T22:48:00Z"
			m, err := s.Commit(t.Context(), m)
			must(t, err)
			want[m.ID], manifests[m.ID] = providers.Intact, m
			if i%5 == 0 {
				must(t, s.Delete(t.Context(), m.ArtifactRef))
				want[m.ID] = providers.Deleted
			}
		}
		PutStaged(t, s, NewRef("d", "a", action), Content{"export.zip", []byte("x")})
	}
	got := RecoverAll(t, at.Open(t, storeIdentity))
	if len(got) != len(want) {
		t.Errorf("%d recovered, want %d", len(got), len(want))
	}
	for id, condition := range want {
		r, m := got[id], manifests[id]
		if r.Condition != condition || r.Manifest.ArtifactRef != m.ArtifactRef || r.Manifest.Nominal != m.Nominal || r.Manifest.BackupPlan != m.BackupPlan {
			t.Errorf("recovered %+v, want %s with %+v", r, condition, m)
		}
		if condition == providers.Intact && !slices.EqualFunc(r.Manifest.Files, m.Files, func(a, b providers.File) bool { return a.Path == b.Path && a.SHA256 == b.SHA256 }) {
			t.Errorf("recovered files %+v, want %+v", r.Manifest.Files, m.Files)
		}
	}
}
