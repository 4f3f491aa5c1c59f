package plain_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/plain"
	"github.com/holdfast-dr/holdfast/providers/providertest"
)

const catalog = ".holdfast/catalog/2017/06/26"

// filled is a store with n exports, an hour apart from midnight.
func filled(t *testing.T, n int) (path string, s providers.Store, all []providers.Manifest) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "store")
	s = newStore(t, &plain.Settings{Path: path})
	for i := range n {
		ref := export(i - 22)
		all = append(all, providertest.Put(t, s, ref, providertest.Content{Name: "export.zip", Data: []byte("data")}))
	}
	return path, s, all
}

func eventFile(path string, m providers.Manifest) string {
	return filepath.Join(path, catalog, string(m.ID)+"-committed.json")
}

func edit(t *testing.T, file, old, new string) {
	t.Helper()
	data, err := os.ReadFile(file)
	check(t, err)
	changed := strings.Replace(string(data), old, new, 1)
	if changed == string(data) {
		t.Fatalf("no %s in %s", old, data)
	}
	check(t, os.WriteFile(file, []byte(changed), 0o600))
}

func swap(t *testing.T, a, b string) {
	t.Helper()
	check(t, errors.Join(os.Rename(a, a+".aside"), os.Rename(b, a), os.Rename(a+".aside", b)))
}

func TestCatalogIsAChain(t *testing.T) {
	path, s, all := filled(t, 3)
	check(t, s.Delete(t.Context(), all[0].ArtifactRef))
	type link struct {
		Event, Writer, Prev string
		Seq                 int64
		ID                  providers.ArtifactID
	}
	prev := ""
	for i, file := range []string{eventFile(path, all[0]), eventFile(path, all[1]), eventFile(path, all[2]),
		strings.Replace(eventFile(path, all[0]), "committed", "deleted", 1)} {
		data, err := os.ReadFile(file)
		check(t, err)
		var l link
		check(t, json.Unmarshal(data, &l))
		if l.Seq != int64(i+1) || l.Prev != prev || l.Writer != writer || l.ID != all[i%3].ID {
			t.Errorf("entry %d: %+v, want one after %s", i+1, l, prev)
		}
		prev = plain.Sum(data)
	}
	var head struct {
		Seq    int64
		SHA256 string
	}
	data, err := os.ReadFile(filepath.Join(path, ".holdfast/heads", writer+".json"))
	check(t, err)
	check(t, json.Unmarshal(data, &head))
	if head.Seq != 4 || head.SHA256 != prev {
		t.Errorf("head %+v, want number 4, %s", head, prev)
	}
}

func TestDamagedCatalogIsFound(t *testing.T) {
	head := func(path string) string { return filepath.Join(path, ".holdfast/heads", writer+".json") }
	type store = []providers.Manifest
	for name, c := range map[string]struct {
		damage func(t *testing.T, path string, all store)
		want   []string // kind, number of the artifact or -, what the detail says
	}{
		"entry gone":        {func(t *testing.T, p string, all store) { check(t, os.Remove(eventFile(p, all[1]))) }, []string{"catalog_gap 2 number 2", "not_catalogued 1 "}},
		"last entry gone":   {func(t *testing.T, p string, all store) { check(t, os.Remove(eventFile(p, all[3]))) }, []string{"catalog_gap 3 wrote 4", "not_catalogued 3 "}},
		"catalogue gone":    {func(t *testing.T, p string, all store) { check(t, os.RemoveAll(filepath.Join(p, ".holdfast/catalog"))) }, []string{"catalog_gap 3 wrote 4", "not_catalogued 0 ", "not_catalogued 1 ", "not_catalogued 2 ", "not_catalogued 3 "}},
		"entry changed":     {func(t *testing.T, p string, all store) { edit(t, eventFile(p, all[1]), `"size": 4`, `"size": 5`) }, []string{"catalog_changed 1 changed"}},
		"link changed":      {func(t *testing.T, p string, all store) { edit(t, eventFile(p, all[2]), `"prev": "`, `"prev": "0`) }, []string{"catalog_changed 2 changed"}},
		"last changed":      {func(t *testing.T, p string, all store) { edit(t, eventFile(p, all[3]), `"size": 4`, `"size": 5`) }, []string{"catalog_changed 3 changed"}},
		"entry torn":        {func(t *testing.T, p string, all store) { check(t, os.Truncate(eventFile(p, all[1]), 20)) }, []string{"catalog_changed 1 unexpected end", "catalog_gap 2 number 2"}},
		"entries exchanged": {func(t *testing.T, p string, all store) { swap(t, eventFile(p, all[1]), eventFile(p, all[2])) }, []string{"catalog_changed 1 belongs at", "catalog_changed 2 belongs at", "catalog_gap 3 numbers 2 to 3"}},
		"entry copied": {func(t *testing.T, p string, all store) {
			data, err := os.ReadFile(eventFile(p, all[1]))
			check(t, err)
			check(t, os.WriteFile(filepath.Join(p, catalog, "01COPY-committed.json"), data, 0o600))
		}, []string{"catalog_changed - belongs at"}},
		"head gone": {func(t *testing.T, p string, all store) { check(t, os.Remove(head(p))) }, []string{"catalog_gap 3 head"}},
		"head torn": {func(t *testing.T, p string, all store) { check(t, os.Truncate(head(p), 30)) }, []string{"catalog_changed - unexpected end"}},
		"head forged": {func(t *testing.T, p string, all store) {
			edit(t, head(p), `"seq": 4`, `"seq": 3`)
			edit(t, head(p), `"sha256": "`, `"sha256": "0`)
		}, []string{"catalog_changed - hash"}},
	} {
		t.Run(name, func(t *testing.T) {
			path, s, all := filled(t, 4)
			c.damage(t, path, all)
			got := providertest.Findings(t, s)
			for _, want := range c.want {
				kind, rest, _ := strings.Cut(want, " ")
				number, says, _ := strings.Cut(rest, " ")
				i := slices.IndexFunc(got, func(f providers.Finding) bool {
					return string(f.Kind) == kind && (number == "-" || f.Artifact == all[number[0]-'0'].ID) && strings.Contains(f.Detail, says)
				})
				if i < 0 {
					t.Errorf("no %s in %+v", want, got)
					continue
				}
				if got[i].Path == "" || !strings.HasSuffix(got[i].Detail, ".") {
					t.Errorf("finding %+v", got[i])
				}
				got = slices.Delete(got, i, i+1)
			}
			if len(got) > 0 {
				t.Errorf("also found %+v", got)
			}
			next := providertest.Put(t, openStore(t, &plain.Settings{Path: path}, identity), export(0), providertest.Content{Name: "export.zip", Data: []byte("data")})
			if _, err := os.Stat(eventFile(path, next)); err != nil {
				t.Errorf("the next backup is not in the catalogue: %v", err)
			}
			for _, f := range providertest.Findings(t, s) {
				if f.Artifact == next.ID && f.Kind != providers.CatalogGap {
					t.Errorf("the next backup is blamed: %+v", f)
				}
			}
		})
	}
}

// A head that is lost is made anew from the catalogue, and the chain goes on where it ended.
func TestLostHead(t *testing.T) {
	path, s, _ := filled(t, 3)
	for _, damage := range []func(name string) error{os.Remove, func(name string) error { return os.Truncate(name, 3) }} {
		check(t, damage(filepath.Join(path, ".holdfast/heads", writer+".json")))
		providertest.Put(t, s, export(0), providertest.Content{Name: "export.zip", Data: []byte("data")})
		if found := providertest.Findings(t, s); len(found) != 0 {
			t.Errorf("found %+v", found)
		}
	}
}

// A crash between head and entry leaves the entry in the head; whoever writes next puts it in its place.
func TestCrashBetweenHeadAndEntry(t *testing.T) {
	for _, what := range []string{"commit", "delete"} {
		t.Run(what, func(t *testing.T) {
			path, s, all := filled(t, 3)
			m := providertest.PutStaged(t, s, export(0), crashFiles...)
			plain.SetFail(s, func(point string) error {
				if point == "record: write event" {
					return errCrash
				}
				return nil
			})
			if what == "commit" {
				_, err := s.Commit(t.Context(), m)
				wantCrash(t, err)
			} else {
				wantCrash(t, s.Delete(t.Context(), all[1].ArtifactRef))
			}
			found := providertest.Findings(t, s)
			if len(found) != 1 || found[0].Kind != providers.CatalogGap {
				t.Errorf("while it is open: %+v", found)
			}
			again := openStore(t, &plain.Settings{Path: path}, identity)
			providertest.Put(t, again, export(1), providertest.Content{Name: "export.zip", Data: []byte("of another")})
			if found := providertest.Findings(t, again); len(found) != 0 {
				t.Errorf("after another artifact was written: %+v", found)
			}
			if what == "commit" {
				_, err := again.Commit(t.Context(), m)
				check(t, err)
			} else {
				check(t, again.Delete(t.Context(), all[1].ArtifactRef))
			}
			if found := providertest.Findings(t, again); len(found) != 0 {
				t.Errorf("after it was finished: %+v", found)
			}
		})
	}
}

func wantCrash(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, errCrash) {
		t.Fatalf("no crash: %v", err)
	}
}

// Writers that do not know of each other, and processes of one writer, leave sound chains.
func TestManyWriters(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	set := &plain.Settings{Path: path}
	newStore(t, set)
	var wg sync.WaitGroup
	for i := range 12 {
		s, err := plain.StoreType().Open(t.Context(), "nas", set, providers.Env{Identity: identity, Writer: []string{"a", "b", ""}[i%3]})
		check(t, err)
		t.Cleanup(func() { s.Close() })
		wg.Go(func() {
			for n := range 4 {
				ref := export(i*4 + n)
				m, err := stageBytes(t.Context(), s, ref, 10)
				if err == nil {
					_, err = s.Commit(t.Context(), m)
				}
				if err == nil && n == 0 {
					err = s.Delete(t.Context(), ref)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if found := providertest.Findings(t, openStore(t, set, identity)); len(found) != 0 {
		t.Errorf("found %+v", found)
	}
	heads, err := filepath.Glob(filepath.Join(path, ".holdfast/heads/*.json"))
	if err != nil || len(heads) != 3 {
		t.Errorf("heads %v, %v", heads, err)
	}
}
