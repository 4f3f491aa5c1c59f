package providertest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/holdfast-dr/holdfast/providers"
)

// NewRef makes a reference with a new ID.
func NewRef(device, domain string, action providers.Action) providers.ArtifactRef {
	ref := providers.ArtifactRef{
		ID: providers.ArtifactID(ulid.Make().String()), Device: device, Domain: domain, Action: action, Started: started,
	}
	if action == providers.ExportDomain {
		ref.Variant = providers.Persisted
	}
	return ref
}

// Content is one file to put into a store.
type Content struct {
	Name string
	Data []byte
}

// PutStaged stages files and gives the manifest to commit.
func PutStaged(t testing.TB, s providers.Store, ref providers.ArtifactRef, files ...Content) providers.Manifest {
	t.Helper()
	stage, err := s.Stage(t.Context(), ref)
	must(t, err)
	for _, f := range files {
		w, err := stage.Create(f.Name)
		must(t, err)
		_, err = w.Write(f.Data)
		must(t, err)
		must(t, w.Close())
	}
	return providers.Manifest{Schema: 1, ArtifactRef: ref, Files: stage.Files(), Finished: ref.Started.Add(time.Minute)}
}

// Put stages and commits files.
func Put(t testing.TB, s providers.Store, ref providers.ArtifactRef, files ...Content) providers.Manifest {
	t.Helper()
	m, err := s.Commit(t.Context(), PutStaged(t, s, ref, files...))
	must(t, err)
	return m
}

// CheckArtifact reads a committed artifact back, by its reference, and compares every byte.
func CheckArtifact(t testing.TB, s providers.Store, ref providers.ArtifactRef, files ...Content) {
	t.Helper()
	m, err := s.Get(t.Context(), ref)
	must(t, err)
	if m.ID != ref.ID || m.Device != ref.Device || m.Domain != ref.Domain || len(m.Files) != len(files) {
		t.Fatalf("Get(%v) gave %+v, want %d files", ref, m, len(files))
	}
	for i, f := range files {
		sum := sha256.Sum256(f.Data)
		got := m.Files[i].Content()
		if got.Name != f.Name || got.Size != int64(len(f.Data)) || got.SHA256 != hex.EncodeToString(sum[:]) || got.Path == "" {
			t.Errorf("file %d is %+v, want %q of %d bytes with its checksum and a path", i, got, f.Name, len(f.Data))
		}
		r, err := s.Open(t.Context(), m, f.Name)
		must(t, err)
		if data := readAll(t, r); !bytes.Equal(data, f.Data) {
			t.Errorf("file %q reads back as %d other bytes", f.Name, len(data))
		}
		r, err = s.Stored(t.Context(), m, f.Name)
		must(t, err)
		data := readAll(t, r)
		if sum := sha256.Sum256(data); int64(len(data)) != m.Files[i].Size || hex.EncodeToString(sum[:]) != m.Files[i].SHA256 {
			t.Errorf("file %q is stored as %d bytes, which are not those of the manifest", f.Name, len(data))
		}
	}
}

// ListIDs lists a store and fails on any error in it.
func ListIDs(t testing.TB, s providers.Store) []providers.ArtifactID {
	t.Helper()
	ids := []providers.ArtifactID{}
	for m, err := range s.List(t.Context()) {
		must(t, err)
		ids = append(ids, m.ID)
	}
	slices.Sort(ids)
	return ids
}

// HostileNames are names devices, domains and files may have.
var HostileNames = []string{
	"..", ".", "../../escape", "/absolute", "a/b", `a\b`, ".hidden", "-rf", "trailing.", "trailing ", " leading",
	"new\nline", "nul\x00byte", "\x1b[31mred", "bad\xff\xfeutf8", "caf\u00e9", "cafe\u0301", "\u202egnp.exe", "%2F", "%", "a%",
	"holdfast-manifest.json", "holdfast.json", "export.holdfast.json", ".holdfast", "lost+found", "secure-backup", "domain", "con", "*?<>|:",
	string(bytes.Repeat([]byte("long"), 100)), string(bytes.Repeat([]byte("long"), 100)) + "2", string(bytes.Repeat([]byte("\u00e9/"), 90)),
}

func stageBytes(ctx context.Context, s providers.Store, ref providers.ArtifactRef, data []byte) (providers.Manifest, error) {
	stage, err := s.Stage(ctx, ref)
	if err != nil {
		return providers.Manifest{}, err
	}
	w, err := stage.Create("export.zip")
	if err != nil {
		return providers.Manifest{}, err
	}
	_, err = w.Write(data)
	err = errors.Join(err, w.Close())
	return providers.Manifest{Schema: 1, ArtifactRef: ref, Files: stage.Files(), Finished: ref.Started}, err
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantIs(t testing.TB, what string, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("%s: got %v, want %v", what, err, target)
	}
}

func readAll(t testing.TB, r io.ReadCloser) []byte {
	t.Helper()
	data, err := io.ReadAll(r)
	must(t, err)
	must(t, r.Close())
	return data
}
