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
	"unicode"
	"unicode/utf8"

	"pgregory.net/rapid"

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

func FuzzEscape(f *testing.F) {
	for _, name := range providertest.HostileNames {
		f.Add(name, 255)
		f.Add(name, 60)
	}
	f.Fuzz(func(t *testing.T, name string, limit int) {
		limit = 34 + max(limit, -limit)%(255-34+1)
		got := plain.Escape(name, limit)
		checkFileName(t, name, got, limit)
		for _, other := range []string{got, name + ".", "." + name, name + "%", strings.ToLower(name), strings.ToUpper(name)} {
			if other != name && plain.Escape(other, limit) == got {
				t.Errorf("%q and %q both become %q", name, other, got)
			}
		}
	})
}

func checkFileName(t interface{ Errorf(string, ...any) }, name, got string, limit int) {
	switch {
	case got == "" || len(got) > limit:
		t.Errorf("%q became %q, %d bytes", name, got, len(got))
	case !filepath.IsLocal(got) || strings.ContainsAny(got, "/\\") || !utf8.ValidString(got):
		t.Errorf("%q became %q, which is no file name", name, got)
	case got[0] == '.' || strings.HasSuffix(got, ".") || strings.HasSuffix(got, " "):
		t.Errorf("%q became %q, which some file systems change or hide", name, got)
	case strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }):
		t.Errorf("%q became %q, which does not print", name, got)
	}
}

var anyName = rapid.OneOf(
	rapid.SampledFrom(providertest.HostileNames),
	rapid.StringOfN(rapid.SampledFrom([]rune(`.%/\ a=~2F`)), 1, 8, -1),
	rapid.Map(rapid.SliceOfN(rapid.Byte(), 1, 300), func(b []byte) string { return string(b) }),
	rapid.StringN(1, 200, -1),
)

func TestDifferentNamesNeverShareAFile(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfNDistinct(anyName, 1, 12, rapid.ID).Draw(t, "names")
		ref := providers.ArtifactRef{
			ID: "01", Device: anyName.Draw(t, "device"), Domain: anyName.Draw(t, "domain"), Variant: providers.Nonpersisted,
			Action: rapid.SampledFrom([]providers.Action{providers.SecureBackup, providers.ExportDomain}).Draw(t, "action"),
		}
		var files []providers.File
		escaped := map[string]string{}
		for _, n := range names {
			files = append(files, providers.File{Name: n})
			e := plain.Escape(n, 120)
			checkFileName(t, n, e, 120)
			if other, taken := escaped[e]; taken {
				t.Errorf("%q and %q are both escaped as %q", n, other, e)
			}
			escaped[e] = n
		}
		used := map[string]bool{}
		for i, got := range plain.Names(ref, files) {
			checkFileName(t, names[i], got, 255)
			if used[got] || got == "holdfast-manifest.json" || strings.HasSuffix(got, "-nonpersisted.holdfast.json") {
				t.Errorf("file %q became %q, which is taken", names[i], got)
			}
			used[got] = true
		}
	})
}
