package files_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/files"
	"github.com/holdfast-dr/holdfast/providers/providertest"
)

// captured gives an artifact of a directory.
func captured(t *testing.T, dir string) *providertest.Artifact {
	t.Helper()
	art := new(providertest.Artifact)
	_, err := openDevice(t, providers.Env{}, &files.Root{Name: "content", Path: dir, AllowEmpty: true}).
		Capture(t.Context(), providers.CaptureRequest{Action: providers.ExportDomain, Domain: "content"}, art)
	must(t, err)
	return art
}

func put(t *testing.T, root *files.Root, replace bool, src providers.Source, protected ...string) error {
	t.Helper()
	root.Name = "content"
	return openDevice(t, providers.Env{Protected: protected}, root).
		Restore(t.Context(), providers.RestoreRequest{Action: providers.ExportDomain, Domain: "content", Replace: replace}, src)
}

// putAgain is put for a restore with an ID, and what follows when its outcome is recorded.
func putAgain(t *testing.T, root *files.Root, id string, src providers.Source) error {
	t.Helper()
	root.Name = "content"
	d := openDevice(t, providers.Env{}, root)
	req := providers.RestoreRequest{Action: providers.ExportDomain, Domain: "content", Replace: true, ID: id}
	if err := d.Restore(t.Context(), req, src); err != nil {
		return err
	}
	return d.Forget(t.Context(), req)
}

func clean(t *testing.T, dir string) {
	t.Helper()
	if left, _ := filepath.Glob(filepath.Join(dir, ".holdfast-restore-*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// TestInPlaceAfterACrash: whatever a process left, the root is whole before and after the next restore, the same one or another.
func TestInPlaceAfterACrash(t *testing.T) {
	for _, stage := range []string{"extracted", "torn", "ready", "exchanged", "moved", "named"} {
		for _, same := range []bool{true, false} {
			t.Run(stage+map[bool]string{true: " same", false: " other"}[same], func(t *testing.T) {
				base := t.TempDir()
				root := filepath.Join(base, "www")
				write(t, root, "page", "artifact")
				art := captured(t, root)
				write(t, root, "page", "another artifact")
				write(t, root, "more/of/it", "x")
				other := captured(t, root)
				write(t, root, "page", "before")
				must(t, files.Crash(t.Context(), root, stage, "same", art))
				content, err := os.ReadFile(filepath.Join(root, "page"))
				if took := stage == "exchanged" || stage == "named"; stage != "moved" && (err != nil || string(content) != map[bool]string{true: "artifact", false: "before"}[took]) {
					t.Fatalf("after the crash the root holds %q, %v", content, err)
				}
				if stage == "exchanged" && same {
					write(t, root, "later", "written after the crash")
				}
				id, src, want := "same", art, "artifact"
				if !same {
					id, src, want = "other", other, "another artifact"
				}
				must(t, putAgain(t, &files.Root{Path: root}, id, src))
				clean(t, base)
				if content, err := os.ReadFile(filepath.Join(root, "page")); err != nil || string(content) != want {
					t.Errorf("the root holds %q, %v; want %q", content, err, want)
				}
				if _, err := os.Stat(filepath.Join(root, "more")); os.IsNotExist(err) == !same {
					t.Errorf("the root is a mixture: %v", err)
				}
				if _, err := os.Stat(filepath.Join(root, "later")); stage == "exchanged" && same && err != nil {
					t.Errorf("a restore that had taken place was done again, and lost what was written since: %v", err)
				}
			})
		}
	}
}

func TestInPlaceRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		prepare func(t *testing.T, root string) (protected string)
		root    files.Root
		want    string
	}{
		"excluded content that the artifact has": {
			func(t *testing.T, root string) string { return "" },
			files.Root{Exclude: []string{"page"}}, "page",
		},
		"excluded content below what is a file in the artifact": {
			func(t *testing.T, root string) string {
				must(t, os.Remove(filepath.Join(root, "page")))
				write(t, root, "page/cache", "x")
				return ""
			}, files.Root{Exclude: []string{"cache"}}, "page",
		},
		"holdfast's own state in excluded content": {
			func(t *testing.T, root string) string {
				write(t, root, "state/d/holdfast.db", "x")
				return filepath.Join(root, "state", "d", "holdfast.db")
			}, files.Root{Exclude: []string{"state"}}, "holdfast itself",
		},
		"holdfast's own state": {
			func(t *testing.T, root string) string {
				write(t, root, "state/holdfast.db", "x")
				return filepath.Join(root, "state", "holdfast.db")
			}, files.Root{}, "holdfast itself",
		},
		"its own state under another name": {
			func(t *testing.T, root string) string {
				write(t, filepath.Dir(root), "holdfast.db", "x")
				must(t, os.Link(filepath.Join(filepath.Dir(root), "holdfast.db"), filepath.Join(root, "link")))
				return filepath.Join(filepath.Dir(root), "holdfast.db")
			}, files.Root{}, "holdfast itself",
		},
		"a store": {
			func(t *testing.T, root string) string { write(t, root, "backup/.holdfast/store.json", "{}"); return "" },
			files.Root{}, "store of artifacts",
		},
	} {
		t.Run(name, func(t *testing.T) {
			base := t.TempDir()
			root := filepath.Join(base, "www")
			write(t, root, "page", "artifact")
			art := captured(t, root)
			write(t, root, "page", "before")
			protected := tc.prepare(t, root)
			before := describe(t, root)
			tc.root.Path = root
			err := put(t, &tc.root, true, art, protected)
			if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want ErrUnsupported that names %q", err, tc.want)
			}
			if after := describe(t, root); after != before {
				t.Errorf("the root was changed\nbefore:\n%s\nafter:\n%s", before, after)
			}
			clean(t, base)
		})
	}
}

func TestInPlaceAcrossMounts(t *testing.T) {
	base := t.TempDir()
	root := filepath.Join(base, "www")
	write(t, root, "page", "artifact")
	art := captured(t, root)
	for _, at := range []string{filepath.Join(root, "sub"), root} {
		must(t, os.MkdirAll(at, 0o755))
		err := unix.Mount("none", at, "tmpfs", 0, "size=1m")
		if errors.Is(err, unix.EPERM) && os.Getenv("CI") == "" {
			t.Skip("mounting needs root")
		}
		must(t, err)
		t.Cleanup(func() { must(t, unix.Unmount(at, 0)) })
		write(t, at, "precious", "x")
		if err := put(t, &files.Root{Path: root}, true, art); !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "mounted") {
			t.Errorf("mounted at %s: got %v, want ErrUnsupported", at, err)
		}
		if _, err := os.Stat(filepath.Join(at, "precious")); err != nil {
			t.Error(err)
		}
	}
}

func TestInPlaceWhereNothingIs(t *testing.T) {
	base := t.TempDir()
	real := filepath.Join(base, "disk", "www")
	write(t, real, "page", "artifact")
	art := captured(t, real)
	link := filepath.Join(base, "link")
	must(t, os.Symlink(real, link))
	must(t, os.Remove(filepath.Join(real, "page")))
	for _, path := range []string{link, real} { // empty behind a link, then absent
		must(t, put(t, &files.Root{Path: path}, false, art))
		if b, err := os.ReadFile(filepath.Join(real, "page")); err != nil || string(b) != "artifact" {
			t.Errorf("restored %q, %v", b, err)
		}
		clean(t, filepath.Dir(real))
		must(t, os.RemoveAll(real))
	}
	gone := filepath.Join(base, "gone")
	must(t, os.Symlink(filepath.Join(base, "nowhere"), gone))
	if err := put(t, &files.Root{Path: gone}, true, art); err == nil {
		t.Error("a link that leads nowhere was restored into")
	}
}

func TestWarnings(t *testing.T) {
	base := t.TempDir()
	write(t, base, "page", "x")
	src := captured(t, base)
	var got []string
	req := providers.RestoreRequest{Action: providers.ExportDomain, Dir: t.TempDir(), Warn: func(text string) { got = append(got, text) }}
	must(t, openDevice(t, providers.Env{}, &files.Root{Name: "content", Path: base}).Restore(t.Context(), req, src))
	if len(got) > 0 {
		t.Errorf("warnings without a loss: %q", got)
	}
	req.Dir = t.TempDir()
	must(t, openDevice(t, providers.Env{}, &files.Root{Name: "content", Path: base}).Restore(t.Context(), req, artifact(t, deviceNode)))
	if len(got) != 1 || !strings.Contains(got[0], "1 device nodes were left out") {
		t.Errorf("warnings %q", got)
	}
}
