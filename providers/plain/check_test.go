package plain_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/plain"
	"github.com/holdfast-dr/holdfast/providers/providertest"
)

// Whatever happens to the files of an artifact is found without reading their content, and named.
func TestCheckNamesWhatIsWrong(t *testing.T) {
	manifestOf := func(path string, m providers.Manifest) string {
		if m.Action == providers.SecureBackup {
			return filepath.Join(path, filepath.Dir(m.Files[0].Path), "holdfast-manifest.json")
		}
		return filepath.Join(path, strings.TrimSuffix(m.Files[0].Path, ".zip")+".holdfast.json")
	}
	for name, c := range map[string]struct {
		damage func(t *testing.T, path string, m providers.Manifest)
		want   []providers.FindingKind
		named  bool // the artifact
	}{
		"manifest gone": {func(t *testing.T, p string, m providers.Manifest) {
			check(t, os.Remove(manifestOf(p, m)))
		}, []providers.FindingKind{providers.FileExtra, providers.FileExtra, providers.FileExtra, providers.ManifestMissing}, false},
		"manifest torn": {func(t *testing.T, p string, m providers.Manifest) { check(t, os.Truncate(manifestOf(p, m), 9)) }, []providers.FindingKind{providers.ManifestChanged}, true},
		"manifest edited": {func(t *testing.T, p string, m providers.Manifest) {
			edit(t, manifestOf(p, m), `"finished": "2017`, `"finished": "2018`)
		}, []providers.FindingKind{providers.ManifestChanged}, true},
		"file gone": {func(t *testing.T, p string, m providers.Manifest) {
			check(t, os.Remove(filepath.Join(p, m.Files[1].Path)))
		}, []providers.FindingKind{providers.FileMissing}, true},
		"file cut": {func(t *testing.T, p string, m providers.Manifest) {
			check(t, os.Truncate(filepath.Join(p, m.Files[0].Path), 1))
		}, []providers.FindingKind{providers.FileSize}, true},
		"file is a pipe": {func(t *testing.T, p string, m providers.Manifest) {
			check(t, os.Remove(filepath.Join(p, m.Files[0].Path)))
			check(t, unix.Mkfifo(filepath.Join(p, m.Files[0].Path), 0o600))
		}, []providers.FindingKind{providers.FileMissing}, true},
		"a stranger": {func(t *testing.T, p string, m providers.Manifest) {
			check(t, os.WriteFile(filepath.Join(p, filepath.Dir(m.Files[0].Path), "stranger"), nil, 0o600))
		}, []providers.FindingKind{providers.FileExtra}, false},
		"all gone": {func(t *testing.T, p string, m providers.Manifest) { check(t, os.RemoveAll(filepath.Join(p, "d"))) }, []providers.FindingKind{providers.ManifestMissing}, true},
		"not in the catalogue": {func(t *testing.T, p string, m providers.Manifest) {
			check(t, os.Remove(eventFile(p, m)))
		}, []providers.FindingKind{providers.CatalogGap, providers.NotCatalogued}, true},
		"back from the dead": {func(t *testing.T, p string, m providers.Manifest) {
			check(t, os.CopyFS(p+".aside", os.DirFS(filepath.Join(p, "d"))))
			check(t, openStore(t, &plain.Settings{Path: p}, identity).Delete(t.Context(), m.ArtifactRef))
			check(t, os.RemoveAll(filepath.Join(p, "d")))
			check(t, os.Rename(p+".aside", filepath.Join(p, "d")))
		}, []providers.FindingKind{providers.NotDeleted}, true},
		"nothing": {func(*testing.T, string, providers.Manifest) {}, nil, false},
	} {
		for _, action := range []providers.Action{providers.SecureBackup, providers.ExportDomain} {
			t.Run(name+" "+string(action), func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "store")
				s := newStore(t, &plain.Settings{Path: path})
				m := providertest.Put(t, s, providertest.NewRef("d", "a", action), crashFiles...)
				c.damage(t, path, m)
				var kinds []providers.FindingKind
				for _, f := range providertest.Findings(t, openStore(t, &plain.Settings{Path: path}, identity)) {
					kinds = append(kinds, f.Kind)
					if f.Path == "" || !strings.HasSuffix(f.Detail, ".") || c.named && f.Artifact != m.ID {
						t.Errorf("finding %+v, artifact %s", f, m.ID)
					}
				}
				slices.Sort(kinds)
				if !slices.Equal(kinds, c.want) {
					t.Errorf("found %v, want %v", kinds, c.want)
				}
			})
		}
	}
}

func TestCheckOfADamagedMarker(t *testing.T) {
	path, s, _ := filled(t, 1)
	marker := filepath.Join(path, ".holdfast/store.json")
	check(t, os.Truncate(marker, 10))
	found := providertest.Findings(t, s)
	if len(found) != 1 || found[0].Kind != providers.MarkerDamaged || found[0].Path != ".holdfast/store.json" {
		t.Errorf("found %+v", found)
	}
	check(t, os.Remove(marker))
	for f, err := range s.Check(t.Context()) {
		if !errors.Is(err, providers.ErrIdentity) {
			t.Errorf("without a marker: %+v, %v", f, err)
		}
	}
}

// A copied artifact is not taken for the one that was committed.
func TestCopiedArtifact(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	s := newStore(t, &plain.Settings{Path: path})
	m := providertest.Put(t, s, providertest.NewRef("d", "a", providers.SecureBackup), crashFiles...)
	dir := filepath.Join(path, "d/secure-backup")
	check(t, os.Rename(filepath.Join(dir, "2017-06-26-22-48-00-000"), filepath.Join(dir, "2017-06-26-22-48-00-007")))
	edit(t, filepath.Join(dir, "2017-06-26-22-48-00-007/holdfast-manifest.json"), "48-00-000/export", "48-00-007/export")
	edit(t, filepath.Join(dir, "2017-06-26-22-48-00-007/holdfast-manifest.json"), "48-00-000/listing", "48-00-007/listing")
	edit(t, filepath.Join(dir, "2017-06-26-22-48-00-007/holdfast-manifest.json"), "48-00-000/third", "48-00-007/third")
	found := providertest.Findings(t, s)
	if len(found) != 2 || found[0].Kind != providers.NotCatalogued || found[1].Kind != providers.ManifestMissing || found[0].Artifact != m.ID || found[1].Artifact != m.ID {
		t.Errorf("found %+v", found)
	}
}

// What is under way, or broke off and waits for its next attempt, is no damage.
func TestCheckWhileSomethingIsUnderWay(t *testing.T) {
	for _, c := range scenarios[:4] {
		for _, act := range []func(*testing.T, providers.Store, scene) error{
			commit,
			func(t *testing.T, s providers.Store, at scene) error {
				check(t, commit(t, at.reopen(t), at))
				return s.Delete(t.Context(), at.manifest.ArtifactRef)
			},
		} {
			c.crashes(t, act, func(t *testing.T, at scene) {
				for _, f := range providertest.Findings(t, at.reopen(t)) {
					if f.Kind != providers.CatalogGap || !strings.Contains(f.Detail, "last entries") {
						t.Errorf("found %+v", f)
					}
				}
				for _, r := range providertest.RecoverAll(t, at.reopen(t)) {
					if r.Condition == providers.Unverified || r.Condition == providers.Damaged {
						t.Errorf("recovered %+v", r)
					}
				}
			})
		}
	}
}

func TestCheckEndsWhenAsked(t *testing.T) {
	path, s, _ := filled(t, 3)
	check(t, os.RemoveAll(filepath.Join(path, "d")))
	n := 0
	for range s.Check(t.Context()) {
		n++
		break
	}
	for range s.Recover(t.Context()) {
		n++
		break
	}
	if n != 2 {
		t.Errorf("%d findings", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last error
	for _, err := range s.Check(ctx) {
		cancel()
		last = err
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("a check that is cancelled ends with %v", last)
	}
}
