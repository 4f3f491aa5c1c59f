package tree_test

import (
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/providertest"
	"github.com/holdfast-dr/holdfast/providers/tree"
)

func open(t testing.TB, protected ...string) providers.Mirror {
	t.Helper()
	m, err := tree.MirrorType().Open(t.Context(), "m", providers.Env{Protected: protected})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func fileURL(path string) string { return (&url.URL{Scheme: "file", Path: path}).String() }

func TestContract(t *testing.T) {
	providertest.Mirror(t,
		func(t *testing.T) providers.Mirror { return open(t) },
		func(t *testing.T) providertest.MirrorSides {
			dir := t.TempDir()
			src, dst := filepath.Join(dir, "the source #1"), filepath.Join(dir, "target")
			if err := os.Mkdir(src, 0o750); err != nil {
				t.Fatal(err)
			}
			return providertest.MirrorSides{Source: fileURL(src), Target: fileURL(dst), SourceDir: src, TargetDir: dst}
		})
}
