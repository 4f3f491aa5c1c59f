package plain_test

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/plain"
	"github.com/holdfast-dr/holdfast/providers/providertest"
)

// history is a store with one artifact of each kind, one of which was deleted.
func history(t *testing.T) (path string, live []providers.Manifest, deleted providers.Manifest) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "store")
	s := newStore(t, &plain.Settings{Path: path})
	for i, ref := range []providers.ArtifactRef{
		providertest.NewRef("QA-device1", providers.AllDomains, providers.SecureBackup),
		providertest.NewRef("QA-device1", "Domain1", providers.ExportDomain),
		providertest.NewRef("QA-device1", providers.AllDomains, providers.ExportDomain),
		providertest.NewRef("caf\u00e9 / 50%", "../x", providers.ExportDomain),
	} {
		ref.Started = ref.Started.Add(time.Duration(i) * time.Hour)
		if i == 2 {
			ref.Variant = providers.Nonpersisted
		}
		live = append(live, providertest.Put(t, s, ref, crashFiles...))
	}
	ref := export(9)
	m := providertest.PutStaged(t, s, ref, crashFiles...)
	m.BackupPlan, m.Nominal = "nightly", "2017-06-26T22:48:00Z"
	deleted, err := s.Commit(t.Context(), m)
	check(t, err)
	check(t, s.Delete(t.Context(), ref))
	return path, live, deleted
}

func TestRecoverWithoutTheCatalogue(t *testing.T) {
	path, live, _ := history(t)
	check(t, os.RemoveAll(filepath.Join(path, ".holdfast")))
	check(t, openStore(t, &plain.Settings{Path: path}, "").Adopt(t.Context(), identity))
	s := openStore(t, &plain.Settings{Path: path}, identity)
	got := providertest.RecoverAll(t, s)
	if len(got) != len(live) {
		t.Errorf("%d recovered of %d", len(got), len(live))
	}
	for _, m := range live {
		if r := got[m.ID]; r.Condition != providers.Intact || r.Manifest.Files[0].Path != m.Files[0].Path {
			t.Errorf("recovered %+v, want %+v", r, m)
		}
		providertest.CheckArtifact(t, s, m.ArtifactRef, crashFiles...)
	}
}

func TestRecoverByPathsAlone(t *testing.T) {
	path, live, _ := history(t)
	check(t, os.RemoveAll(filepath.Join(path, ".holdfast")))
	for _, f := range artifactFiles(t, path) {
		if strings.HasSuffix(f, ".json") {
			check(t, os.Remove(filepath.Join(path, f)))
		}
	}
	check(t, openStore(t, &plain.Settings{Path: path}, "").Adopt(t.Context(), identity))
	s := openStore(t, &plain.Settings{Path: path}, identity)
	got := providertest.RecoverAll(t, s)
	if len(got) != len(live) {
		t.Errorf("%d recovered of %d: %+v", len(got), len(live), got)
	}
	for _, m := range live {
		var r providers.Recovered
		for _, found := range got {
			if slices.ContainsFunc(found.Manifest.Files, func(f providers.File) bool { return f.Path == m.Files[0].Path }) {
				r = found
			}
		}
		ref := r.Manifest.ArtifactRef
		ref.ID = m.ID
		if r.Condition != providers.Unverified || r.Detail == "" || ref != m.ArtifactRef || len(r.Manifest.Files) != len(crashFiles) {
			t.Errorf("recovered %+v, want %+v", r, m)
			continue
		}
		for _, f := range r.Manifest.Files {
			readsAs(t, s, r.Manifest, f)
		}
	}
	if again := providertest.RecoverAll(t, s); !slices.Equal(slices.Sorted(maps.Keys(again)), slices.Sorted(maps.Keys(got))) {
		t.Errorf("recovered again under other ids")
	}
}

// readsAs checks that a recovered file can be read and is what its entry says.
func readsAs(t *testing.T, s providers.Store, m providers.Manifest, f providers.File) {
	t.Helper()
	r, err := s.Open(t.Context(), m, f.Name)
	check(t, err)
	data, err := io.ReadAll(r)
	check(t, err)
	check(t, r.Close())
	if sum := sha256.Sum256(data); int64(len(data)) != f.Size || hex.EncodeToString(sum[:]) != f.SHA256 {
		t.Errorf("%+v reads as %q", f, data)
	}
}

// What the catalogue still knows of an artifact helps where its manifest is gone.
func TestRecoverWithoutManifests(t *testing.T) {
	path, live, deleted := history(t)
	s := openStore(t, &plain.Settings{Path: path}, identity)
	check(t, os.Remove(filepath.Join(path, filepath.Dir(live[0].Files[0].Path), "holdfast-manifest.json")))
	check(t, os.RemoveAll(filepath.Join(path, filepath.Dir(live[1].Files[0].Path))))
	check(t, os.Remove(filepath.Join(path, live[2].Files[1].Path)))
	check(t, os.Truncate(filepath.Join(path, strings.TrimSuffix(live[3].Files[0].Path, ".zip")+".holdfast.json"), 5))
	got := map[providers.ArtifactID]providers.Recovered{}
	problems := 0
	for r, err := range s.Recover(t.Context()) {
		if err != nil {
			if problems++; !strings.Contains(err.Error(), "holdfast.json") {
				t.Error(err)
			}
			continue
		}
		got[r.Manifest.ID] = r
	}
	if problems != 1 || len(got) != 5 {
		t.Errorf("%d problems, recovered %+v", problems, got)
	}
	for i, want := range []providers.Condition{providers.Unverified, providers.Missing, providers.Damaged, providers.Unverified} {
		if r := got[live[i].ID]; r.Condition != want || r.Manifest.ArtifactRef != live[i].ArtifactRef || r.Detail == "" {
			t.Errorf("recovered %+v, want %s", r, want)
		}
	}
	if r := got[deleted.ID]; r.Condition != providers.Deleted || r.Manifest.BackupPlan != "nightly" || r.Manifest.Nominal != deleted.Nominal || r.Detail == "" {
		t.Errorf("of the deleted one: %+v", r)
	}
}

// The examples of the seed, 001_ce157450834c85dc.txt, as DPOD leaves them.
func TestRecoverDPOD(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	for _, f := range []string{
		"QA-device1/secure-backup/2017-06-26-22-48-00-000/backupmanifest.xml",
		"QA-device1/secure-backup/2017-06-26-22-48-00-000/config.tgz",
		"QA-device1/domain/Domain1/Domain1-export-2017-06-26-22-48-00-000-persisted.zip",
		"QA-device1/domain/Domain1/Domain1-export-2017-06-26-22-48-00-000-nonpersisted.zip",
		"QA-device1/domain/Domain1/.hidden",
		"QA-device1/domain/Domain1/notes.txt",
		"QA-device1/all-domains/all-domains-export-2017-06-26-22-48-00-000-nonpersisted.zip",
		"QA-device1/domain/all-domains/all-domains-export-2017-06-26-22-48-00-000-persisted.zip",
		"README",
	} {
		check(t, os.MkdirAll(filepath.Join(path, filepath.Dir(f)), 0o700))
		check(t, os.WriteFile(filepath.Join(path, f), []byte(f), 0o600))
	}
	before := artifactFiles(t, path)
	check(t, openStore(t, &plain.Settings{Path: path}, "").Adopt(t.Context(), identity))
	s := openStore(t, &plain.Settings{Path: path}, identity)
	var got []string
	for _, r := range providertest.RecoverAll(t, s) {
		m := r.Manifest
		got = append(got, strings.Join([]string{m.Device, m.Domain, string(m.Action), string(m.Variant), m.Started.Format(time.RFC3339), string(r.Condition)}, " "))
		for _, f := range m.Files {
			readsAs(t, s, m, f)
		}
		if m.Action == providers.SecureBackup && len(m.Files) != 2 {
			t.Errorf("files of the secure backup: %+v", m.Files)
		}
	}
	slices.Sort(got)
	want := []string{
		"QA-device1 Domain1 export_domain nonpersisted 2017-06-26T22:48:00Z unverified",
		"QA-device1 Domain1 export_domain persisted 2017-06-26T22:48:00Z unverified",
		"QA-device1 all-domains export_domain nonpersisted 2017-06-26T22:48:00Z unverified",
		"QA-device1 all-domains export_domain persisted 2017-06-26T22:48:00Z unverified",
		"QA-device1 all-domains secure_backup  2017-06-26T22:48:00Z unverified",
	}
	if !slices.Equal(got, want) {
		t.Errorf("recovered\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if after := artifactFiles(t, path); !slices.Equal(before, after) {
		t.Errorf("the store holds %v, held %v", after, before)
	}
}

// Names that cannot be told from the path are told as a problem, not guessed.
func TestRecoverWhatCannotBeNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	long := providertest.NewRef(strings.Repeat("long", 100), "a", providers.SecureBackup)
	providertest.Put(t, newStore(t, &plain.Settings{Path: path}), long, crashFiles...)
	check(t, os.RemoveAll(filepath.Join(path, ".holdfast/catalog")))
	for _, f := range artifactFiles(t, path) {
		if strings.HasSuffix(f, "holdfast-manifest.json") {
			check(t, os.Remove(filepath.Join(path, f)))
		}
	}
	for _, f := range []string{"d/secure-backup/yesterday/x", "100%/secure-backup/2017-06-26-22-48-00-000/x"} {
		check(t, os.MkdirAll(filepath.Join(path, filepath.Dir(f)), 0o700))
		check(t, os.WriteFile(filepath.Join(path, f), nil, 0o600))
	}
	problems := 0
	for r, err := range openStore(t, &plain.Settings{Path: path}, identity).Recover(t.Context()) {
		if problems++; err == nil {
			t.Errorf("recovered %+v", r)
		}
	}
	if problems != 3 {
		t.Errorf("%d problems told, want 3", problems)
	}
}
