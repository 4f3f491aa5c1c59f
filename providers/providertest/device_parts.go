package providertest

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"
	"testing"

	"github.com/holdfast-dr/holdfast/providers"
)

// mostParts bounds the entries that are put back one by one.
const mostParts = 12

// parts lists an artifact and puts entries back one by one, each with nothing beside it.
func (s DeviceSuite) parts(t *testing.T, req providers.CaptureRequest) {
	switch {
	case s.Parts == nil:
		t.Skip("its artifacts are put back whole")
	case s.Parts.Refuse(s.Settings, req.Action, false) != nil:
		t.Skip("such an artifact is put back whole")
	}
	c := s.open(t)
	art, _ := c.capture(t, req)
	check := c.unchanged(t)
	entries := s.contents(t, req, art)
	single := map[string]providers.Entry{}
	for _, e := range entries {
		if e.Kind != "dir" && len(single) < mostParts {
			single[e.Path] = e
		}
	}
	if len(single) == 0 {
		t.Fatalf("nothing is inside: %v", entries)
	}
	for name := range single {
		dir := t.TempDir()
		to := into(req, dir)
		to.Include = []string{literally(name)}
		if err := c.Device.Restore(t.Context(), to, art); err != nil {
			t.Errorf("restore of %q: %v", name, err)
			continue
		}
		onlyThere(t, dir, name)
	}
	dir := t.TempDir()
	to := into(req, dir)
	to.Include = []string{"no/such/entry"}
	if err := c.Device.Restore(t.Context(), to, art); !errors.Is(err, providers.ErrNotFound) {
		t.Errorf("a pattern that matches nothing: got %v, want ErrNotFound", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("a pattern that matches nothing left %v, %v", left, err)
	}
	check()
	s.damagedParts(t, req, art)
}

// contents lists an artifact, whose names must be fit to be chosen by.
func (s DeviceSuite) contents(t *testing.T, req providers.CaptureRequest, art *Artifact) (all []providers.Entry) {
	t.Helper()
	seen := map[string]bool{}
	for e, err := range s.Parts.Contents(t.Context(), s.Settings, req.Action, art) {
		if err != nil {
			t.Fatalf("contents: %v", err)
		}
		if e.Kind == "" || e.Path == "." || path.Clean("/"+e.Path) != "/"+e.Path || strings.ContainsRune(e.Path, 0) || seen[e.Path] {
			t.Errorf("entry %+v: it has no kind, no usable path, or one that is there twice", e)
		}
		seen[e.Path] = true
		all = append(all, e)
	}
	return all
}

// damagedParts reads the contents of artifacts that are not whole.
func (s DeviceSuite) damagedParts(t *testing.T, req providers.CaptureRequest, art *Artifact) {
	list := func(src providers.Source) (err error) {
		for _, err = range s.Parts.Contents(t.Context(), s.Settings, req.Action, src) {
		}
		return err
	}
	if err := list(&FaultySource{Source: art}); err != nil && !errors.Is(err, ErrFault) {
		t.Errorf("contents of what cannot be read: got %v, want the fault", err)
	}
	for _, f := range art.Files() {
		whole := art.Bytes(f.Name)
		for _, content := range [][]byte{{}, whole[:len(whole)/2]} {
			bad := art.Clone()
			bad.Set(f.Name, content)
			if err := list(bad); err != nil && !errors.Is(err, providers.ErrCorrupt) {
				t.Errorf("contents with %d bytes of %s: got %v, want ErrCorrupt", len(content), f.Name, err)
			}
		}
	}
}

// literally is the pattern that means a name.
func literally(name string) string {
	var b strings.Builder
	for _, c := range []byte(name) {
		if strings.IndexByte(`*?\[]{},!`, c) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(c)
	}
	return b.String()
}

// onlyThere checks that a directory has an entry, and besides only the directories it is in. A pattern without a slash may mean a name
// at every depth.
func onlyThere(t *testing.T, dir, name string) {
	t.Helper()
	found := false
	err := fs.WalkDir(os.DirFS(dir), ".", func(at string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case at == name:
			found = true
		case at == "." || d.IsDir() || strings.HasPrefix(at, name+"/"):
		case !strings.Contains(name, "/") && path.Base(at) == name:
		default:
			t.Errorf("restore of %q also made %q", name, at)
		}
		return nil
	})
	if err != nil || !found {
		t.Errorf("restore of %q did not make it: %v", name, err)
	}
}
