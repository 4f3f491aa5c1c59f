package files_test

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/files"
	"github.com/holdfast-dr/holdfast/providers/providertest"
)

const cacheTag = "Signature: 8a477f597d28d172789f06886806bc55\n# made by a test"

// leftOutTree makes a tree, with content that the rules of leaves leave out.
func leftOutTree(t *testing.T, dir string) {
	t.Helper()
	for _, path := range []string{
		"page", "cache/a/b", "logs/deep/x.log", "logs/deep/x.txt", "secret/.nobackup", "secret/key", "secret/d/key", "false/x", "dump/x",
	} {
		write(t, dir, path, path)
	}
	write(t, dir, "tagged/CACHEDIR.TAG", cacheTag)
	write(t, dir, "tagged/blob", "blob")
	write(t, dir, "false/CACHEDIR.TAG", "no signature")
	must(t, os.Chtimes(filepath.Join(dir, "logs", "deep"), time.Unix(1e9, 0), time.Unix(1e9, 0)))
}

func leaves(dir string) *files.Root {
	return &files.Root{
		Name: "content", Path: dir, Exclude: []string{"cache", "**/*.log"}, ExcludeCaches: true, ExcludeIfPresent: []string{".nobackup"}, ExcludeNoDump: true,
	}
}

func TestScope(t *testing.T) {
	dir := t.TempDir()
	leftOutTree(t, dir)
	want := []string{".", "page", "dump", "dump/x", "false", "false/CACHEDIR.TAG", "false/x", "logs", "logs/deep", "logs/deep/x.txt", "secret", "secret/.nobackup", "tagged", "tagged/CACHEDIR.TAG"}
	art, _ := capture(t, openDevice(t, providers.Env{}, leaves(dir)), export)
	if _, paths := listing(t, art); !slices.Equal(paths, want) {
		t.Errorf("got %q\nwant %q", paths, want)
	}
	tagged := leaves(filepath.Join(dir, "tagged")) // the root itself
	art, res := capture(t, openDevice(t, providers.Env{}, tagged), export)
	if _, paths := listing(t, art); !slices.Equal(paths, []string{".", "CACHEDIR.TAG"}) || len(res.Warnings) == 0 ||
		!strings.Contains(res.Warnings[0], "only CACHEDIR.TAG is taken") {
		t.Errorf("a root that is a cache: %q, warnings %q", paths, res.Warnings)
	}
	run(t, dir, "chattr", "+d", "dump", "page")
	art, _ = capture(t, openDevice(t, providers.Env{}, leaves(dir)), export)
	want = slices.DeleteFunc(want, func(path string) bool { return path == "page" || strings.HasPrefix(path, "dump") })
	if _, paths := listing(t, art); !slices.Equal(paths, want) {
		t.Errorf("got %q\nwant %q without what carries nodump", paths, want)
	}
}

// TestInPlaceKeeps: what the capture left out stays as it is, whatever crashes, and whatever the configuration says by now.
func TestInPlaceKeeps(t *testing.T) {
	kept := []string{"cache", "logs/deep/x.log", "secret/key", "secret/d", "tagged/blob", "new/sub/y.log", "sock"}
	for _, stage := range []string{"", "ready", "exchanged", "moved", "named"} {
		t.Run(stage, func(t *testing.T) {
			base := t.TempDir()
			t.Chdir(base)
			root := filepath.Join(base, "www")
			leftOutTree(t, root)
			art, _ := capture(t, openDevice(t, providers.Env{}, leaves(root)), export)
			want := describe(t, root)
			write(t, root, "page", "bad")
			write(t, root, "more", "bad")
			write(t, root, "new/sub/y.log", "y")
			write(t, root, "new/sub/y", "bad")
			must(t, os.Chmod(filepath.Join(root, "new"), 0o711))
			l, err := net.Listen("unix", "www/sock")
			must(t, err)
			defer l.Close()
			if stage != "" {
				must(t, files.Crash(t.Context(), root, stage, "", art, kept...))
			}
			must(t, put(t, &files.Root{Path: root}, true, art))
			if info, err := os.Stat(filepath.Join(root, "new")); err != nil || info.Mode().Perm() != 0o711 {
				t.Errorf("new: %v, %v", info, err)
			}
			if got, err := os.ReadFile(filepath.Join(root, "new/sub/y.log")); string(got) != "y" {
				t.Errorf("a new excluded file: %q, %v", got, err)
			}
			if _, err := os.Lstat(filepath.Join(root, "sock")); err != nil {
				t.Error(err)
			}
			must(t, errors.Join(os.RemoveAll(filepath.Join(root, "new")), os.Remove(filepath.Join(root, "sock"))))
			if got := describe(t, root); after(got) != after(want) {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
			clean(t, base)
		})
	}
}

// after leaves out the root's own line, whose time changes with its entries.
func after(described string) string {
	_, rest, _ := strings.Cut(described, "\n")
	return rest
}

// TestInPlaceOverImmutableContent: what cannot be removed is in nobody's way, and what comes back is immutable again.
func TestInPlaceOverImmutableContent(t *testing.T) {
	asRoot(t)
	base := t.TempDir()
	root := filepath.Join(base, "www")
	write(t, root, "page", "artifact")
	write(t, root, "d/imm", "artifact")
	write(t, root, "d/x.log", "kept")
	run(t, root, "chattr", "+i", "d/imm", "d")
	t.Cleanup(func() { exec.Command("chattr", "-R", "-ia", base).Run() })
	device := &files.Root{Name: "content", Path: root, Exclude: []string{"*.log"}}
	art, _ := capture(t, openDevice(t, providers.Env{}, device), export)
	want := describe(t, root)
	for n := range 3 {
		write(t, root, "page", "bad")
		var warnings []string
		must(t, openDevice(t, providers.Env{}, device).Restore(t.Context(), providers.RestoreRequest{
			Action: providers.ExportDomain, Domain: "content", Replace: true, Warn: func(text string) { warnings = append(warnings, text) },
		}, art))
		if got := describe(t, root); got != want {
			t.Errorf("restore %d: got:\n%s\nwant:\n%s", n+1, got, want)
		}
		if len(warnings) != 1 || !strings.Contains(warnings[0], ".holdfast-leftover-www-") {
			t.Errorf("warnings %q", warnings)
		}
		if err := os.Remove(filepath.Join(root, "d", "imm")); !errors.Is(err, unix.EPERM) {
			t.Errorf("the file is not immutable any more: %v", err)
		}
		clean(t, base)
	}
	if left, _ := filepath.Glob(filepath.Join(base, ".holdfast-leftover-*")); len(left) != 3 {
		t.Errorf("left %q", left)
	}
}

func TestInPlaceOfAnImmutableRoot(t *testing.T) {
	asRoot(t)
	base := t.TempDir()
	root := filepath.Join(base, "www")
	write(t, root, "page", "artifact")
	run(t, root, "chattr", "+i", ".")
	t.Cleanup(func() { exec.Command("chattr", "-R", "-ia", base).Run() })
	art := captured(t, root)
	if err := put(t, &files.Root{Path: root}, true, art); !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "chattr") {
		t.Errorf("got %v", err)
	}
	run(t, root, "chattr", "-i", ".")
	must(t, put(t, &files.Root{Path: root}, true, art))
	if err := os.WriteFile(filepath.Join(root, "new"), nil, 0o600); err == nil {
		t.Error("the root is not immutable any more")
	}
	clean(t, base)
}

// TestStoreBelowTheRoot: a capture leaves the store out that it goes to.
func TestStoreBelowTheRoot(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "page", "x")
	write(t, dir, "backup/store/artifact", "x")
	req := export
	req.Leave = filepath.Join(dir, "link")
	must(t, os.Symlink("backup/store", req.Leave))
	art := new(providertest.Artifact)
	res, err := openDevice(t, providers.Env{}, &files.Root{Name: "content", Path: dir}).Capture(t.Context(), req, art)
	must(t, err)
	if _, paths := listing(t, art); !slices.Equal(paths, []string{".", "link", "page", "backup", "backup/store"}) {
		t.Errorf("captured %q", paths)
	}
	if len(res.Warnings) != 1 || !strings.Contains(res.Warnings[0], "the store that this backup goes to") {
		t.Errorf("warnings %q", res.Warnings)
	}
}
