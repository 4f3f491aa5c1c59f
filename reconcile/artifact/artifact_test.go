package artifact_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/plain"
	"github.com/holdfast-dr/holdfast/providers/providertest/simulator"
	"github.com/holdfast-dr/holdfast/reconcile/artifact"
	"github.com/holdfast-dr/holdfast/state"
)

const id = "01JD2Q7Z3V0M8Y4T6N5R1K9WXA"

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// committed makes a store with one artifact of a simulated device.
func committed(t *testing.T) (*providers.Opener, state.Artifact, string) {
	t.Helper()
	dir := t.TempDir()
	simulator.New(t, filepath.Join(dir, "box"), nil)
	o := &providers.Opener{
		Registry: &providers.Registry{Devices: []providers.DeviceType{simulator.DeviceType(nil)}, Stores: []providers.StoreType{plain.StoreType()}},
		Lookup: func(address string) (providers.Spec, error) {
			switch address {
			case "device.box":
				return providers.Spec{Type: "simulator", Body: body(t, map[string]string{"directory": filepath.Join(dir, "box")})}, nil
			case "store.nas":
				return providers.Spec{Type: "plain", Body: body(t, map[string]string{"path": filepath.Join(dir, "store")}), Identity: "nas"}, nil
			}
			return providers.Spec{}, errors.New(address + " is not recorded")
		},
	}
	ctx := t.Context()
	store, err := o.Store(ctx, "store.nas")
	must(t, err)
	defer store.Close()
	must(t, store.Init(ctx, "nas"))
	device, err := o.Device(ctx, "device.box")
	must(t, err)
	ref := providers.ArtifactRef{ID: id, Device: "box", Domain: providers.AllDomains, Action: providers.ExportDomain, Variant: providers.Persisted, Started: time.Now().UTC()}
	stage, err := store.Stage(ctx, ref)
	must(t, err)
	_, err = device.Capture(ctx, providers.CaptureRequest{Action: ref.Action, Domain: ref.Domain, Variant: ref.Variant}, stage)
	must(t, err)
	m, err := store.Commit(ctx, providers.Manifest{Schema: 1, ArtifactRef: ref, Files: stage.Files(), Finished: time.Now().UTC()})
	must(t, err)
	return o, state.Artifact{
		ID: id, Store: "store.nas", Device: "device.box", Domain: ref.Domain, Action: string(ref.Action), Variant: string(ref.Variant), Manifest: body(t, m),
	}, dir
}

func body(t *testing.T, v any) json.RawMessage {
	t.Helper()
	b, err := json.Marshal(v)
	must(t, err)
	return b
}

func TestVerify(t *testing.T) {
	o, art, dir := committed(t)
	var read int64
	must(t, artifact.Verify(t.Context(), o, art, func(n int64) { read += n }))
	m, err := artifact.Manifest(art)
	must(t, err)
	if read != m.Size() {
		t.Errorf("%d bytes read, the artifact has %d", read, m.Size())
	}
	store, err := o.Store(t.Context(), art.Store)
	must(t, err)
	must(t, artifact.Readable(t.Context(), store, m))
	must(t, store.Close())
	path := filepath.Join(dir, "store", filepath.FromSlash(m.Files[0].Path))
	must(t, os.Chmod(path, 0o600))
	must(t, os.Truncate(path, m.Files[0].Size-1))
	if err := artifact.Verify(t.Context(), o, art, nil); !errors.Is(err, providers.ErrCorrupt) {
		t.Errorf("a file that was cut: got %v, want ErrCorrupt", err)
	}
	if _, err := artifact.Restore(t.Context(), o, art, artifact.Target{Dir: filepath.Join(dir, "out"), Raw: true}, nil); !errors.Is(err, providers.ErrCorrupt) {
		t.Errorf("restore of a file that was cut: got %v, want ErrCorrupt", err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "out")); !os.IsNotExist(err) {
		t.Errorf("damaged content appeared: %v", err)
	}
	art.Manifest = json.RawMessage(`{"files":`)
	if err := artifact.Verify(t.Context(), o, art, nil); err == nil || !strings.Contains(err.Error(), id) {
		t.Errorf("a damaged record: %v", err)
	}
}

func TestDirectory(t *testing.T) {
	for name, tc := range map[string]struct {
		prepare func(t *testing.T, dir string)
		want    error // nil: it is restored
		fails   bool
	}{
		"absent":            {func(*testing.T, string) {}, nil, false},
		"below absent ones": {func(*testing.T, string) {}, nil, false},
		"empty":             {func(t *testing.T, dir string) { must(t, os.Mkdir(dir, 0o755)) }, nil, false},
		"holds something":   {func(t *testing.T, dir string) { must(t, os.MkdirAll(filepath.Join(dir, "x"), 0o755)) }, providers.ErrNotEmpty, true},
		"is a file":         {func(t *testing.T, dir string) { must(t, os.WriteFile(dir, nil, 0o644)) }, nil, true},
		"link to an empty one": {func(t *testing.T, dir string) {
			must(t, os.Mkdir(dir+".real", 0o755))
			must(t, os.Symlink(dir+".real", dir))
		}, nil, false},
		"link to nowhere": {func(t *testing.T, dir string) { must(t, os.Symlink(dir+".real", dir)) }, nil, true},
		"left by a crash": {func(t *testing.T, dir string) {
			must(t, os.MkdirAll(filepath.Join(artifact.Workplace(dir, id), "content", "half"), 0o755))
		}, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			o, art, base := committed(t)
			dir := filepath.Join(base, "out")
			if strings.HasPrefix(name, "below") {
				dir = filepath.Join(base, "a", "b")
			}
			tc.prepare(t, dir)
			_, err := artifact.Restore(t.Context(), o, art, artifact.Target{Dir: dir}, nil)
			if (err != nil) != tc.fails || tc.want != nil && !errors.Is(err, tc.want) {
				t.Fatalf("got %v, want %v", err, tc.want)
			}
			if err := artifact.Sweep(dir, id); err != nil && name != "link to nowhere" {
				t.Error(err)
			}
			if left, _ := filepath.Glob(filepath.Join(base, "*.partial-*")); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
			if tc.fails {
				return
			}
			entries, err := os.ReadDir(dir)
			if err != nil || len(entries) != 1 || entries[0].Name() != "simulated.conf" {
				t.Errorf("restored %v, %v", entries, err)
			}
		})
	}
}

// TestAppearedAlready: a restore whose outcome was not recorded is not done again, even when nothing of it can be read any more.
func TestAppearedAlready(t *testing.T) {
	o, art, base := committed(t)
	dir := filepath.Join(base, "out")
	_, err := artifact.Restore(t.Context(), o, art, artifact.Target{Dir: dir}, nil)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "since"), nil, 0o644))
	must(t, os.RemoveAll(filepath.Join(base, "store")))
	if _, err := artifact.Restore(t.Context(), o, art, artifact.Target{Dir: dir}, nil); err != nil {
		t.Errorf("again: %v", err)
	}
	must(t, artifact.Sweep(dir, id))
	if _, err := artifact.Restore(t.Context(), o, art, artifact.Target{Dir: dir}, nil); !errors.Is(err, providers.ErrNotEmpty) {
		t.Errorf("after its outcome was recorded: got %v, want ErrNotEmpty", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "since")); err != nil {
		t.Error(err)
	}
}

func TestSafety(t *testing.T) {
	for want, a := range map[bool]state.Artifact{
		true:  {Manifest: json.RawMessage(`{"activity":"safety"}`)},
		false: {BackupPlan: "backup_plan.x", Manifest: json.RawMessage(`{"activity":"safety"}`)},
	} {
		if artifact.IsSafety(a) != want {
			t.Errorf("%+v: want %t", a, want)
		}
	}
}
