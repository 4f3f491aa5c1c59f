package execute_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dr/holdfast/config/sampletest"
	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/reconcile/artifact"
	"github.com/holdfast-dr/holdfast/state"
)

// strangerKey is a public key of age whose private key nobody has: verification needs none.
const strangerKey = "age1ag2etv8jzg0ax45j5mr2llr5yx3vzj3vmswjae0r2vlgqskzwexq33guu0"

// vault is a small real store with the records of its artifacts.
type vault struct {
	path      string
	opener    *providers.Opener
	artifacts []state.Artifact
	owner     map[string]string // artifact of each file that belongs to one, by path in the store
}

func newVault(t *testing.T, settings map[string]any) *vault {
	t.Helper()
	v := &vault{path: filepath.Join(t.TempDir(), "store"), owner: map[string]string{}}
	settings["path"] = v.path
	v.opener = &providers.Opener{Registry: registry(), Lookup: func(string) (providers.Spec, error) {
		return providers.Spec{Type: "plain", Body: raw(settings), Identity: "vault"}, nil
	}}
	store := v.open(t)
	defer store.Close()
	if err := store.Init(t.Context(), "vault"); err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for n, ref := range []providers.ArtifactRef{
		{Device: "web", Domain: "content", Action: providers.ExportDomain, Variant: providers.Persisted},
		{Device: "web", Domain: "content", Action: providers.ExportDomain, Variant: providers.Persisted},
		{Device: "box", Domain: providers.AllDomains, Action: providers.SecureBackup},
	} {
		ref.ID = providers.ArtifactID(fmt.Sprintf("01ARTIFACT%016d", n))
		ref.Started = time.Date(2026, 3, 10+n, 1, 0, 0, 0, time.UTC)
		v.keep(t, store, ref, map[string][]byte{
			"data.txt": bytes.Repeat([]byte("all work and no play\n"), 2000), "noise.bin": noise(random, 3000), "one": {7}, "empty": {},
		})
	}
	return v
}

func noise(random *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(random.Uint32())
	}
	return b
}

func (v *vault) open(t *testing.T) providers.Store {
	t.Helper()
	store, err := v.opener.Store(t.Context(), "store.vault")
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// keep commits an artifact and makes its record.
func (v *vault) keep(t *testing.T, store providers.Store, ref providers.ArtifactRef, files map[string][]byte) {
	t.Helper()
	before := v.files(t)
	stage, err := store.Stage(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		w, err := stage.Create(name)
		if err == nil {
			_, err = w.Write(files[name])
		}
		if err == nil {
			err = w.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	m, err := store.Commit(t.Context(), providers.Manifest{
		Schema: 1, ArtifactRef: ref, Files: stage.Files(), BackupPlan: "backup_plan.nightly", Run: "1", Task: "1.1", Commit: "c0ffee", Version: "0.1",
		DeviceInfo: providers.DeviceInfo{Identity: "box-1", Model: "a model"}, Result: providers.CaptureResult{Consistency: "quiesced"}, Finished: ref.Started.Add(time.Minute),
	})
	if err != nil {
		t.Fatal(err)
	}
	v.artifacts = append(v.artifacts, state.Artifact{
		ID: string(ref.ID), Store: "store.vault", BackupPlan: m.BackupPlan, Device: "device." + ref.Device, Domain: ref.Domain, Manifest: raw(m),
		State: state.ArtifactGood, Started: ref.Started, Verified: ref.Started,
	})
	for file := range v.files(t) {
		if _, old := before[file]; !old {
			v.owner[file] = string(ref.ID)
		}
	}
}

// files gives every file of the store.
func (v *vault) files(t *testing.T) map[string][]byte {
	t.Helper()
	found := map[string][]byte{}
	err := filepath.WalkDir(v.path, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(p)
		rel, _ := filepath.Rel(v.path, p)
		found[rel] = data
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// objectKind tells what a file of a store is.
func objectKind(rel string) string {
	dir := path.Dir(rel)
	switch {
	case rel == ".holdfast/store.json":
		return "store marker"
	case rel == ".holdfast/heads/lock":
		return "lock" // it has no content
	case dir == ".holdfast/heads":
		return "head"
	case strings.HasPrefix(dir, ".holdfast/catalog"):
		return "catalogue entry"
	case strings.HasSuffix(rel, "holdfast-manifest.json"), strings.HasSuffix(rel, ".holdfast.json"):
		return "manifest"
	}
	return "data file"
}

// damage is what a file can become.
type damage struct {
	what string
	left []byte // nil: the file is gone
}

// damages gives one byte flipped, cut off, gone.
func damages(data []byte) []damage {
	all := []damage{{"removed", nil}}
	flips := min(5, len(data))
	for i := range flips {
		at := i * (len(data) - 1) / max(flips-1, 1)
		for _, mask := range []byte{0x01, 0x20, 0xff} {
			changed := bytes.Clone(data)
			changed[at] ^= mask
			all = append(all, damage{fmt.Sprintf("byte %d flipped by %#02x", at, mask), changed})
		}
	}
	for _, n := range []int{0, len(data) / 2, len(data) - 1} {
		if n >= 0 && n < len(data) {
			all = append(all, damage{fmt.Sprintf("cut to %d bytes", n), bytes.Clone(data[:n])})
		}
	}
	return all
}

// found says who finds what is wrong with the store now: reading all artifacts back, as verify --all and the scheduled check do, and the look at its
// catalogue, which the scheduled check begins with. The texts name artifacts and paths.
func (v *vault) found(t *testing.T) (reading map[string]string, audit string) {
	t.Helper()
	reading = map[string]string{}
	for _, a := range v.artifacts {
		if _, err := artifact.ReadBack(t.Context(), v.opener, a, whatever, time.Now, nil); err != nil {
			reading[a.ID] = err.Error()
		}
	}
	store := v.open(t)
	defer store.Close()
	var text strings.Builder
	for f, err := range store.Check(t.Context()) {
		if err != nil {
			fmt.Fprintf(&text, "%v\n", err)
		} else {
			fmt.Fprintf(&text, "%s %s %s: %s\n", f.Kind, f.Artifact, f.Path, f.Detail)
		}
	}
	return reading, text.String()
}

// TestFaultDamagedObjects is fault 10: whatever file of a store is damaged, and however, it is found and named. Files of artifacts must be found by
// reading alone, unless the damage is to the wording of a manifest and not to what it says.
func TestFaultDamagedObjects(t *testing.T) {
	total, foundAll := 0, 0
	byKind := map[string][3]int{} // damages, found by reading, found by the audit
	stores := map[string]map[string]any{
		"plain": {}, "zstd": {"compress": "zstd"}, "age": {"encrypt": map[string]any{"recipients": []string{strangerKey}}},
		"zstd and age": {"compress": "zstd", "encrypt": map[string]any{"recipients": []string{strangerKey}}},
	}
	for _, name := range slices.Sorted(maps.Keys(stores)) {
		v := newVault(t, stores[name])
		if reading, audit := v.found(t); len(reading) > 0 || audit != "" {
			t.Fatalf("%s: found without damage: %v %s", name, reading, audit)
		}
		files := v.files(t)
		for _, rel := range slices.Sorted(maps.Keys(files)) {
			data, kind := files[rel], objectKind(rel)
			if kind == "lock" {
				continue
			}
			for _, d := range sampletest.Of(t, damages(data), 4) {
				v.replace(t, rel, d.left)
				reading, audit := v.found(t)
				total++
				count := byKind[kind]
				count[0]++
				if len(reading) > 0 {
					count[1]++
				}
				if audit != "" {
					count[2]++
				}
				byKind[kind] = count
				if problem := v.missed(kind, rel, reading, audit); problem == "" {
					foundAll++
				} else {
					t.Errorf("%s: %s %s, %s: %s\n%v\n%s", name, kind, rel, d.what, problem, reading, audit)
				}
			}
			v.replace(t, rel, data)
		}
	}
	for _, kind := range []string{"data file", "manifest", "catalogue entry", "head", "store marker"} {
		if byKind[kind][0] == 0 {
			t.Errorf("no %s was damaged", kind)
		}
		t.Logf("fault 10: %-15s %4d damages, %4d found by reading, %4d by the look at the catalogue", kind, byKind[kind][0], byKind[kind][1], byKind[kind][2])
	}
	fmt.Printf("fault 10: %d of %d damages found\n", foundAll, total)
}

func (v *vault) replace(t *testing.T, rel string, data []byte) {
	t.Helper()
	file := filepath.Join(v.path, rel)
	err := os.WriteFile(file, data, 0o600)
	if data == nil {
		err = os.Remove(file)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// missed says what was not found, or not named.
func (v *vault) missed(kind, rel string, reading map[string]string, audit string) string {
	owner := v.owner[rel]
	switch kind {
	case "data file":
		if !strings.Contains(reading[owner], rel) {
			return "reading does not name artifact and path"
		}
		if len(reading) > 1 {
			return "reading condemns others, too"
		}
	case "manifest":
		if len(reading) > 1 || len(reading) == 1 && !strings.Contains(reading[owner], path.Dir(rel)) {
			return "reading does not name the artifact and its place alone"
		}
		if !strings.Contains(audit, owner) || !strings.Contains(audit, rel) {
			return "the look at the catalogue does not name artifact and path"
		}
	case "store marker":
		if len(reading) < len(v.artifacts) || audit == "" {
			return "not every artifact is told of"
		}
	default:
		if len(reading) > 0 {
			return "reading condemns an artifact that is well"
		}
		if audit == "" {
			return "not found"
		}
	}
	return ""
}

// TestFaultCatalogueEntriesRemoved is fault 11: entries that are gone leave a gap, and each of their artifacts is listed.
func TestFaultCatalogueEntriesRemoved(t *testing.T) {
	v := newVault(t, map[string]any{})
	var entries []string
	for rel := range v.files(t) {
		if objectKind(rel) == "catalogue entry" {
			entries = append(entries, rel)
		}
	}
	slices.Sort(entries)
	total, found := 0, 0
	for set := 1; set < 1<<len(entries); set++ { // every choice of entries
		kept := map[string][]byte{}
		for i, rel := range entries {
			if set&(1<<i) != 0 {
				kept[rel] = v.files(t)[rel]
				v.replace(t, rel, nil)
			}
		}
		reading, audit := v.found(t)
		if len(reading) > 0 {
			t.Errorf("without %v, artifacts are condemned: %v", slices.Sorted(maps.Keys(kept)), reading)
		}
		gap := strings.Contains(audit, string(providers.CatalogGap))
		for rel := range kept {
			total++
			if gap && strings.Contains(audit, string(providers.NotCatalogued)+" "+v.owner[rel]) {
				found++
			} else {
				t.Errorf("without %v, %s of artifact %s is not told of:\n%s", slices.Sorted(maps.Keys(kept)), rel, v.owner[rel], audit)
			}
		}
		for rel, data := range kept {
			v.replace(t, rel, data)
		}
	}
	fmt.Printf("fault 11: %d of %d removed entries found\n", found, total)
}

// TestFaultStoreVanishes: a store that is gone, emptied or another one makes every reading fail and condemns nothing, at whatever call it goes.
func TestFaultStoreVanishes(t *testing.T) {
	for name, vanish := range map[string]func(v *vault) error{
		"moved away":     func(v *vault) error { return os.Rename(v.path, v.path+".away") },
		"an empty place": func(v *vault) error { return errorsOf(os.Rename(v.path, v.path+".away"), os.Mkdir(v.path, 0o755)) },
		"another store": func(v *vault) error {
			marker := filepath.Join(v.path, ".holdfast", "store.json")
			data, err := os.ReadFile(marker)
			return errorsOf(err, os.RemoveAll(filepath.Join(v.path, "web")), os.RemoveAll(filepath.Join(v.path, "box")),
				os.WriteFile(marker, bytes.ReplaceAll(data, []byte(`"vault"`), []byte(`"other"`)), 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVault(t, map[string]any{})
			read := int64(0)
			first := true
			reading, _ := artifact.ReadBack(t.Context(), v.opener, v.artifacts[0], whatever, time.Now, func(n int64) {
				if read += n; first {
					first = false
					if err := vanish(v); err != nil {
						t.Error(err)
					}
				}
			})
			if reading != nil && reading.Error != "" {
				t.Errorf("condemned while the store went: %s", reading.Error)
			}
			for _, a := range v.artifacts {
				if reading, err := artifact.ReadBack(t.Context(), v.opener, a, whatever, time.Now, nil); reading != nil || err == nil {
					t.Errorf("%s: reading %+v, error %v", a.ID, reading, err)
				}
			}
		})
	}
}

func errorsOf(all ...error) error {
	for _, err := range all {
		if err != nil {
			return err
		}
	}
	return nil
}

// whatever takes each place for the recorded store.
func whatever(context.Context, string, providers.StoreInfo) error { return nil }

func TestReadBackEndsWithItsContext(t *testing.T) {
	v := newVault(t, map[string]any{})
	ctx, cancel := context.WithCancel(t.Context())
	reading, err := artifact.ReadBack(ctx, v.opener, v.artifacts[0], whatever, time.Now, func(int64) { cancel() })
	if reading != nil || err == nil {
		t.Errorf("reading %+v, error %v", reading, err)
	}
	var m providers.Manifest
	if json.Unmarshal(v.artifacts[0].Manifest, &m) != nil || len(m.Files) != 4 {
		t.Errorf("the artifact has %d files", len(m.Files))
	}
}
