package files_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/files"
	"github.com/holdfast-dr/holdfast/providers/providertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	export = providers.CaptureRequest{Action: providers.ExportDomain, Domain: "content", Variant: providers.Persisted}
	secure = providers.CaptureRequest{Action: providers.SecureBackup, Domain: providers.AllDomains}
)

func openDevice(t *testing.T, env providers.Env, roots ...*files.Root) providers.Device {
	t.Helper()
	dev, err := files.DeviceType().Open(t.Context(), "web", &files.Settings{Roots: roots}, env)
	if err != nil {
		t.Fatal(err)
	}
	return dev
}

// sampleTree makes a tree with everything a tree can have without being root.
func sampleTree(t *testing.T, dir string) {
	t.Helper()
	write(t, dir, "a.txt", "alpha")
	write(t, dir, "empty", "")
	write(t, dir, "big", strings.Repeat("0123456789abcdef", 100_000))
	write(t, dir, "d/e/deep", "deep")
	write(t, dir, "d/"+strings.Repeat("long name ", 20), "long")
	write(t, dir, "d/"+strings.Repeat("x", 120)+"/"+strings.Repeat("y", 120)+"/z", "far down")
	write(t, dir, "umläut \"quoted\" \n newline\\", "odd")
	write(t, dir, "bytes \xff\xfe", "not UTF-8")
	must(t, os.Mkdir(filepath.Join(dir, "emptydir"), 0o750))
	must(t, os.Symlink("a.txt", filepath.Join(dir, "link")))
	must(t, os.Symlink("/etc/passwd", filepath.Join(dir, "absolute")))
	must(t, os.Symlink("nowhere \xff", filepath.Join(dir, "d", "dangling")))
	must(t, os.Link(filepath.Join(dir, "big"), filepath.Join(dir, "d", "big hard link")))
	must(t, os.Link(filepath.Join(dir, "a.txt"), filepath.Join(dir, "zz")))
	must(t, unix.Mkfifo(filepath.Join(dir, "fifo"), 0o640))
	sparse, err := os.Create(filepath.Join(dir, "sparse"))
	must(t, err)
	_, err = sparse.WriteAt([]byte("end"), 3<<20)
	must(t, errors.Join(err, sparse.Close()))
	must(t, os.Chmod(filepath.Join(dir, "a.txt"), 0o600))
	if os.Geteuid() == 0 { // only root gets it back
		must(t, os.Chmod(filepath.Join(dir, "d", "e", "deep"), 0o755|fs.ModeSetuid))
	}
	if err := unix.Setxattr(filepath.Join(dir, "a.txt"), "user.note", []byte("value\x00with = and \n"), 0); err != nil && err != unix.ENOTSUP {
		t.Fatal(err)
	}
	must(t, os.Chtimes(filepath.Join(dir, "a.txt"), time.Time{}, time.Unix(1_000_000_000, 123_456_789)))
	must(t, os.Chtimes(filepath.Join(dir, "empty"), time.Time{}, time.Unix(-2, 250_000_000)))
	must(t, os.Chtimes(filepath.Join(dir, "d", "e"), time.Time{}, time.Unix(1_100_000_000, 1)))
	must(t, os.Chmod(filepath.Join(dir, "emptydir"), 0o500))
}

func write(t *testing.T, dir, path, content string) {
	t.Helper()
	path = filepath.Join(dir, path)
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte(content), 0o644))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// describe tells all that a capture keeps of a tree.
func describe(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	inodes := map[uint64]string{}
	must(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		rel, _ := filepath.Rel(dir, path)
		fmt.Fprintf(&b, "%q %v %d:%d %d", rel, info.Mode(), st.Uid, st.Gid, info.ModTime().UnixNano())
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " -> %q", target)
		case info.Mode().IsRegular():
			if first, ok := inodes[st.Ino]; ok {
				fmt.Fprintf(&b, " same as %q", first)
				break
			}
			inodes[st.Ino] = rel
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %d bytes %x", len(content), hash(content))
			buf := make([]byte, 1000)
			if n, err := unix.Getxattr(path, "user.note", buf); err == nil {
				fmt.Fprintf(&b, " note %q", buf[:n])
			}
		}
		b.WriteByte('\n')
		return nil
	}))
	return b.String()
}

func hash(b []byte) (sum uint64) {
	for _, c := range b {
		sum = sum*1099511628211 + uint64(c) + 1
	}
	return sum
}

func TestContract(t *testing.T) {
	var content, conf string
	suite := providertest.DeviceSuite{
		Requests:    []providers.CaptureRequest{export, secure},
		Parts:       files.DeviceType().Parts,
		FindsDamage: true,
		New: func(t *testing.T) providertest.DeviceCase {
			content, conf = filepath.Join(t.TempDir(), "www"), t.TempDir()
			sampleTree(t, content)
			write(t, conf, "app.conf", "x = 1")
			return providertest.DeviceCase{
				Device: openDevice(t, providers.Env{}, &files.Root{Name: "content", Path: content}, &files.Root{Name: "conf", Path: conf}),
				State:  func(t *testing.T) string { return describe(t, content) + describe(t, conf) },
				Break:  func(t *testing.T) { must(t, os.Rename(content, content+".gone")) },
				Change: func(t *testing.T, _ providers.CaptureRequest) func(*testing.T) {
					want := describe(t, content)
					entries, err := os.ReadDir(content)
					must(t, err)
					must(t, os.RemoveAll(filepath.Join(content, entries[0].Name())))
					write(t, content, "not/captured", "new")
					return func(t *testing.T) {
						if got := describe(t, content); got != want {
							t.Errorf("the root holds\n%s\nwant\n%s", got, want)
						}
						if left, _ := filepath.Glob(filepath.Join(filepath.Dir(content), ".holdfast*")); left != nil {
							t.Errorf("left behind: %q", left)
						}
					}
				},
			}
		},
		InPlace: func(req providers.CaptureRequest) bool { return req.Action == providers.ExportDomain },
		Restored: func(t *testing.T, req providers.CaptureRequest, dir string) {
			want := map[string]string{"": content}
			if req.Action == providers.SecureBackup {
				want = map[string]string{"content": content, "conf": conf}
			}
			for sub, from := range want {
				if got, want := describe(t, filepath.Join(dir, sub)), describe(t, from); got != want {
					t.Errorf("restored %q differs\ngot:\n%s\nwant:\n%s", sub, got, want)
				}
			}
		},
	}
	providertest.Device(t, suite)
}

func TestCheck(t *testing.T) {
	tests := map[string]struct {
		settings files.Settings
		want     []string
	}{
		"good":       {files.Settings{Roots: []*files.Root{{Name: "a", Path: "/a"}, {Name: "b-2.x", Path: "/b", Include: []string{"**/*.go"}}}}, nil},
		"none":       {files.Settings{}, []string{"root"}},
		"twice":      {files.Settings{Roots: []*files.Root{{Name: "a", Path: "/a"}, {Name: "a", Path: "/b"}}}, []string{"root[1]"}},
		"relative":   {files.Settings{Roots: []*files.Root{{Name: "a", Path: "a"}}}, []string{"root[0].path"}},
		"traversal":  {files.Settings{Roots: []*files.Root{{Name: "..", Path: "/a"}, {Name: "a/b", Path: "/a"}}}, []string{"root[0]", "root[1]"}},
		"reserved":   {files.Settings{Roots: []*files.Root{{Name: "all-domains", Path: "/a"}}}, []string{"root[0]"}},
		"no pattern": {files.Settings{Roots: []*files.Root{{Name: "a", Path: "/a", Include: []string{""}, Exclude: []string{"//abs"}}}}, []string{"root[0].include", "root[0].exclude"}},
	}
	for name, tt := range tests {
		var got []string
		tt.settings.Check(func(path, problem string) {
			got = append(got, path)
			if !strings.HasSuffix(problem, ".") {
				t.Errorf("%s: problem %q is no sentence", name, problem)
			}
		})
		if fmt.Sprint(got) != fmt.Sprint(tt.want) {
			t.Errorf("%s: problems at %q, want %q", name, got, tt.want)
		}
	}
	if _, err := files.DeviceType().Open(t.Context(), "x", &files.Settings{}, providers.Env{}); err == nil {
		t.Error("Open took settings that Check refuses")
	}
}

func TestInspectWithMissingRoots(t *testing.T) {
	there, gone := t.TempDir(), filepath.Join(t.TempDir(), "gone")
	dev := openDevice(t, providers.Env{}, &files.Root{Name: "there", Path: there}, &files.Root{Name: "content", Path: gone})
	info, err := dev.Inspect(t.Context())
	if err != nil || len(info.Domains) != 2 {
		t.Errorf("one root of two is missing: got %v, %v; want both domains", info, err)
	}
	if info.Identity == "" {
		t.Error("no identity")
	}
	for _, req := range []providers.CaptureRequest{export, secure} {
		if _, err := dev.Capture(t.Context(), req, new(providertest.Artifact)); !errors.Is(err, providers.ErrNotFound) || !strings.Contains(err.Error(), gone) {
			t.Errorf("capture of %s: got %v, want ErrNotFound naming %s", req.Action, err, gone)
		}
	}
	dev = openDevice(t, providers.Env{}, &files.Root{Name: "content", Path: gone})
	if _, err := dev.Inspect(t.Context()); !errors.Is(err, providers.ErrUnavailable) || !strings.Contains(err.Error(), gone) {
		t.Errorf("every root is missing: got %v, want ErrUnavailable naming %s", err, gone)
	}
	must(t, os.WriteFile(gone, nil, 0o600))
	if _, err := dev.Inspect(t.Context()); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("a file is where the root was: got %v", err)
	}
}

func TestEmptyRoot(t *testing.T) {
	dir := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(dir, "only", "directories"), 0o755))
	_, err := openDevice(t, providers.Env{}, &files.Root{Name: "content", Path: dir}).Capture(t.Context(), export, new(providertest.Artifact))
	if !errors.Is(err, providers.ErrTooSmall) {
		t.Errorf("got %v, want ErrTooSmall", err)
	}
	_, err = openDevice(t, providers.Env{}, &files.Root{Name: "content", Path: dir, AllowEmpty: true}).Capture(t.Context(), export, new(providertest.Artifact))
	if err != nil {
		t.Errorf("with allow_empty: %v", err)
	}
}
