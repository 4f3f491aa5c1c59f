package plain_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
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

// tree lists the files below a directory, slash separated and sorted.
func tree(t testing.TB, root string) []string {
	t.Helper()
	files := []string{}
	check(t, filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(root, p)
			files = append(files, rel)
		}
		return err
	}))
	slices.Sort(files)
	return files
}

// The paths are the examples of the seed, 001_ce157450834c85dc.txt.
func TestLayoutIsThatOfTheSeed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	s := newStore(t, &plain.Settings{Path: path})
	put := func(id, domain string, action providers.Action, variant providers.Variant, names ...string) providers.Manifest {
		ref := providers.ArtifactRef{
			ID: providers.ArtifactID(id), Device: "QA-device1", Domain: domain, Action: action, Variant: variant,
			Started: time.Date(2017, 6, 27, 0, 48, 0, 999_999, time.FixedZone("CEST", 2*60*60)),
		}
		var files []providertest.Content
		for _, n := range names {
			files = append(files, providertest.Content{Name: n, Data: []byte(n)})
		}
		return providertest.Put(t, s, ref, files...)
	}
	put("01S", providers.AllDomains, providers.SecureBackup, "", "backupmanifest.xml", "dp.tgz")
	put("01D", "Domain1", providers.ExportDomain, providers.Persisted, "export.zip")
	put("01N", "Domain1", providers.ExportDomain, providers.Nonpersisted, "export.tar.zst", "listing.jsonl.zst")
	put("01A", providers.AllDomains, providers.ExportDomain, "", "all", "zip")
	second := put("01E", "Domain1", providers.ExportDomain, providers.Persisted, "export.zip")

	want := []string{
		".holdfast/catalog/2017/06/26/01A-committed.json",
		".holdfast/catalog/2017/06/26/01D-committed.json",
		".holdfast/catalog/2017/06/26/01E-committed.json",
		".holdfast/catalog/2017/06/26/01N-committed.json",
		".holdfast/catalog/2017/06/26/01S-committed.json",
		".holdfast/heads/" + writer + ".json",
		".holdfast/heads/lock",
		".holdfast/store.json",
		"QA-device1/domain/Domain1/Domain1-export-2017-06-26-22-48-00-000-nonpersisted.holdfast.json",
		"QA-device1/domain/Domain1/Domain1-export-2017-06-26-22-48-00-000-nonpersisted.listing.jsonl.zst",
		"QA-device1/domain/Domain1/Domain1-export-2017-06-26-22-48-00-000-nonpersisted.tar.zst",
		"QA-device1/domain/Domain1/Domain1-export-2017-06-26-22-48-00-000-persisted.holdfast.json",
		"QA-device1/domain/Domain1/Domain1-export-2017-06-26-22-48-00-000-persisted.zip",
		"QA-device1/domain/Domain1/Domain1-export-2017-06-26-22-48-00-001-persisted.holdfast.json",
		"QA-device1/domain/Domain1/Domain1-export-2017-06-26-22-48-00-001-persisted.zip",
		"QA-device1/domain/all-domains/all-domains-export-2017-06-26-22-48-00-000-persisted",
		"QA-device1/domain/all-domains/all-domains-export-2017-06-26-22-48-00-000-persisted.holdfast.json",
		"QA-device1/domain/all-domains/all-domains-export-2017-06-26-22-48-00-000-persisted.zip",
		"QA-device1/secure-backup/2017-06-26-22-48-00-000/backupmanifest.xml",
		"QA-device1/secure-backup/2017-06-26-22-48-00-000/dp.tgz",
		"QA-device1/secure-backup/2017-06-26-22-48-00-000/holdfast-manifest.json",
	}
	if got := tree(t, path); !slices.Equal(got, want) {
		t.Errorf("the store holds\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if got := second.Files[0].Path; got != want[14] {
		t.Errorf("path of the later artifact is %s", got)
	}

	data, err := os.ReadFile(filepath.Join(path, want[13]))
	check(t, err)
	if !bytes.HasPrefix(data, []byte("{\n  \"schema\": 1,\n  \"id\": \"01E\",\n  \"device\": \"QA-device1\",\n")) || !bytes.HasSuffix(data, []byte("}\n")) {
		t.Errorf("manifest is not for people:\n%s", data)
	}
	var event map[string]any
	data, err = os.ReadFile(filepath.Join(path, want[2]))
	check(t, err)
	check(t, json.Unmarshal(data, &event))
	if event["event"] != "committed" || event["id"] != "01E" || event["manifest"] != want[13] {
		t.Errorf("event %s", data)
	}
}
