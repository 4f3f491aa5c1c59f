package files_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/files"
	"github.com/holdfast-dr/holdfast/providers/providertest"
)

const (
	archiveName = "export.tar.zst"
	listingName = "listing.jsonl.zst"
)

func capture(t *testing.T, dev providers.Device, req providers.CaptureRequest) (*providertest.Artifact, providers.CaptureResult) {
	t.Helper()
	art := new(providertest.Artifact)
	res, err := dev.Capture(t.Context(), req, art)
	if err != nil {
		t.Fatalf("Capture: %v", err)
	}
	return art, res
}

func unzip(t *testing.T, b []byte) []byte {
	t.Helper()
	dec, err := zstd.NewReader(nil)
	must(t, err)
	defer dec.Close()
	out, err := dec.DecodeAll(b, nil)
	must(t, err)
	return out
}

func zip(t *testing.T, b []byte) []byte {
	t.Helper()
	enc, err := zstd.NewWriter(nil)
	must(t, err)
	return enc.EncodeAll(b, nil)
}

// listing reads the listing back, by path.
func listing(t *testing.T, art *providertest.Artifact) (lines map[string]map[string]any, paths []string) {
	t.Helper()
	lines = map[string]map[string]any{}
	for text := range bytes.Lines(unzip(t, art.Bytes(listingName))) {
		var l map[string]any
		must(t, json.Unmarshal(text, &l))
		path := l["path"].(string)
		if l["type"] == "rules" {
			continue
		}
		lines[path] = l
		paths = append(paths, path)
	}
	return lines, paths
}

func TestListing(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "b/file", "hello")
	must(t, os.Symlink("file", filepath.Join(dir, "b", "link")))
	write(t, dir, "z", "last name, first in order")
	art, res := capture(t, openDevice(t, providers.Env{}, &files.Root{Name: "content", Path: dir}), export)
	lines, paths := listing(t, art)
	if want := []string{".", "z", "b", "b/file", "b/link"}; !slices.Equal(paths, want) {
		t.Errorf("order %q, want %q", paths, want)
	}
	l := lines["b/file"]
	const sum = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
	if l["type"] != "file" || l["size"] != 5.0 || l["mode"] != "0644" || l["sha256"] != sum {
		t.Errorf("line of a file: %v", l)
	}
	if l := lines["b/link"]; l["type"] != "symlink" || l["target"] != "file" {
		t.Errorf("line of a symbolic link: %v", l)
	}
	if res.Fingerprint["files"] != int64(2) || res.Fingerprint["bytes"] != int64(30) || len(res.Warnings) != 0 {
		t.Errorf("result %v", res)
	}
}

func TestArchiveIsReadByOthers(t *testing.T) {
	dir := t.TempDir()
	sampleTree(t, dir)
	art, _ := capture(t, openDevice(t, providers.Env{}, &files.Root{Name: "content", Path: dir}), export)
	plain := unzip(t, art.Bytes(archiveName))
	r := tar.NewReader(bytes.NewReader(plain))
	n := 0
	for ; ; n++ {
		if _, err := r.Next(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatalf("archive/tar: entry %d: %v", n, err)
		}
	}
	if _, paths := listing(t, art); n != len(paths) {
		t.Errorf("archive has %d entries, listing %d", n, len(paths))
	}
	if _, err := exec.LookPath("tar"); err != nil {
		t.Skip(err)
	}
	out := t.TempDir()
	cmd := exec.Command("tar", "-xpf", "-", "--xattrs", "--xattrs-include=*", "-C", out)
	cmd.Stdin = bytes.NewReader(plain)
	if msg, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("tar: %v: %s", err, msg)
	}
	if got, want := describe(t, out), describe(t, dir); got != want {
		t.Errorf("extracted by tar\ngot:\n%s\nwant:\n%s", got, want)
	}
}

func TestPatterns(t *testing.T) {
	tests := map[string]struct {
		root files.Root
		want []string
	}{
		"exclude directory":     {files.Root{Exclude: []string{"cache/"}}, []string{".", "a.go", "a.tmp", "src", "src/b.go", "src/x.tmp", "src/sub", "src/sub/c.go"}},
		"exclude content":       {files.Root{Exclude: []string{"cache/**", "src/sub"}}, []string{".", "a.go", "a.tmp", "cache", "src", "src/b.go", "src/x.tmp"}},
		"exclude at the top":    {files.Root{Exclude: []string{"*.tmp", "src", "cache"}}, []string{".", "a.go"}},
		"exclude everywhere":    {files.Root{Exclude: []string{"**/*.tmp", "cache"}}, []string{".", "a.go", "src", "src/b.go", "src/sub", "src/sub/c.go"}},
		"include":               {files.Root{Include: []string{"**/c.go"}}, []string{".", "src", "src/sub", "src/sub/c.go"}},
		"include a directory":   {files.Root{Include: []string{"src/sub"}}, []string{".", "src", "src/sub", "src/sub/c.go"}},
		"exclude wins":          {files.Root{Include: []string{"**/*.go"}, Exclude: []string{"src/sub", "cache"}}, []string{".", "a.go", "src", "src/b.go"}},
		"taken back":            {files.Root{Exclude: []string{"*", "!*/", "!*.go"}}, []string{".", "a.go", "cache", "src", "src/b.go", "src/sub", "src/sub/c.go"}},
		"only the top":          {files.Root{Exclude: []string{"/*.tmp", "/{cache,src}"}}, []string{".", "a.go"}},
		"include at the bottom": {files.Root{Include: []string{"cache/k"}}, []string{".", "cache", "cache/k"}},
	}
	dir := t.TempDir()
	for _, f := range []string{"a.go", "a.tmp", "cache/k", "src/b.go", "src/x.tmp", "src/sub/c.go"} {
		write(t, dir, f, f)
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tt.root.Name, tt.root.Path = "content", dir
			art, _ := capture(t, openDevice(t, providers.Env{}, &tt.root), export)
			if _, paths := listing(t, art); !slices.Equal(paths, tt.want) {
				t.Errorf("got %q\nwant %q", paths, tt.want)
			}
		})
	}
	idle := &files.Root{Name: "content", Path: dir, Include: []string{"*.go", "*.c"}, Exclude: []string{"*.old", "src/sub", "src/gone"}}
	_, res := capture(t, openDevice(t, providers.Env{}, idle), export)
	want := []string{`root content: the include pattern "*.c" matched nothing`, `root content: the exclude pattern "src/gone" matched nothing`}
	if !slices.Equal(res.Warnings, want) {
		t.Errorf("warnings %q, want %q", res.Warnings, want)
	}
}

// TestOwnFiles is about lost database locks: see state.md 0.7 in the design and
// https://sqlite.org/howtocorrupt.html, section 2.2.
func TestOwnFiles(t *testing.T) {
	dir := t.TempDir()
	for _, f := range []string{"state.db", "state.db-wal", "state.db-shm", "other.db"} {
		write(t, dir, f, "SECRET LOCKED CONTENT "+f)
	}
	must(t, os.Mkdir(filepath.Join(dir, "sub"), 0o755))
	must(t, os.Link(filepath.Join(dir, "state.db"), filepath.Join(dir, "sub", "hard link")))
	must(t, os.Symlink("../state.db", filepath.Join(dir, "sub", "alias.db")))
	for _, protected := range []string{"state.db", "sub/alias.db", "sub/../state.db"} {
		env := providers.Env{Protected: []string{dir + "/" + protected}}
		before := map[string]time.Time{}
		for _, f := range []string{"state.db", "state.db-wal", "state.db-shm"} {
			long := time.Now().Add(-1000 * time.Hour)
			must(t, os.Chtimes(filepath.Join(dir, f), long, time.Time{}))
			before[f] = accessed(t, filepath.Join(dir, f))
		}
		art, res := capture(t, openDevice(t, env, &files.Root{Name: "content", Path: dir}), export)
		lines, _ := listing(t, art)
		for _, f := range []string{"state.db", "state.db-wal", "state.db-shm", "sub/hard link"} {
			if lines[f]["type"] != "skipped" || lines[f]["note"] == "" {
				t.Errorf("protected %s: line of %s is %v", protected, f, lines[f])
			}
		}
		for f, at := range before {
			if !accessed(t, filepath.Join(dir, f)).Equal(at) {
				t.Errorf("protected %s: %s was read", protected, f)
			}
		}
		if lines["other.db"]["type"] != "file" || res.Fingerprint["files"] != int64(1) {
			t.Errorf("protected %s: captured %v", protected, res.Fingerprint)
		}
		if bytes.Count(unzip(t, art.Bytes(archiveName)), []byte("LOCKED CONTENT")) != 1 {
			t.Errorf("protected %s: content of own files is in the archive", protected)
		}
	}
}

func accessed(t *testing.T, path string) time.Time {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Stat(path, &st))
	return time.Unix(st.Atim.Unix())
}

func TestSocketIsLeftOutAloud(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir) // a socket's path has at most 108 bytes
	write(t, dir, "file", "x")
	l, err := net.Listen("unix", "socket")
	must(t, err)
	defer l.Close()
	art, res := capture(t, openDevice(t, providers.Env{}, &files.Root{Name: "content", Path: dir}), export)
	if len(res.Warnings) != 1 || !strings.Contains(res.Warnings[0], filepath.Join(dir, "socket")) {
		t.Errorf("warnings %q", res.Warnings)
	}
	must(t, openDevice(t, providers.Env{}, &files.Root{Name: "content", Path: dir}).Restore(t.Context(), providers.RestoreRequest{Dir: t.TempDir()}, art))
}

func TestUnreadableIsAnError(t *testing.T) {
	if os.Geteuid() == 0 {
		asNobody(t, "TestUnreadableIsAnError|TestContract")
		return
	}
	dir := t.TempDir()
	write(t, dir, "ok", "x")
	for _, name := range []string{"file", "dir/file"} {
		write(t, dir, name, "x")
		bad := filepath.Join(dir, strings.TrimSuffix(name, "/file"))
		must(t, os.Chmod(bad, 0))
		_, err := openDevice(t, providers.Env{}, &files.Root{Name: "content", Path: dir}).Capture(t.Context(), export, new(providertest.Artifact))
		if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), bad) {
			t.Errorf("unreadable %s: got %v", name, err)
		}
		must(t, os.Chmod(bad, 0o700))
	}
	dir = t.TempDir()
	write(t, dir, "ok", "x")
	write(t, dir, "dir/file", "x")
	must(t, os.Chmod(filepath.Join(dir, "dir"), 0))
	must(t, os.Mkdir(filepath.Join(dir, "sub"), 0o755))
	for i := range 25 {
		if path := filepath.Join(dir, "sub", fmt.Sprintf("%02d", i)); i == 1 { // another name of what cannot be read
			must(t, os.Link(filepath.Join(dir, "sub", "00"), path))
			continue
		}
		write(t, dir, fmt.Sprintf("sub/%02d", i), "x")
		must(t, os.Chmod(filepath.Join(dir, "sub", fmt.Sprintf("%02d", i)), 0))
	}
	_, err := openDevice(t, providers.Env{}, &files.Root{Name: "content", Path: dir}).Capture(t.Context(), export, new(providertest.Artifact))
	text := fmt.Sprint(err)
	if !strings.Contains(text, "26 names cannot be read") || !strings.Contains(text, "and 6 more") || strings.Count(text, dir) != 21 { // and the root itself
		t.Errorf("got %v", err)
	}
	art, res := capture(t, openDevice(t, providers.Env{}, &files.Root{Name: "content", Path: dir, OnUnreadable: "skip"}), export)
	if last := res.Warnings[len(res.Warnings)-1]; len(res.Warnings) != 27 || !strings.HasPrefix(last, "26 names could not be read") || res.Fingerprint["unreadable"] != int64(26) {
		t.Errorf("result %v", res)
	}
	lines, _ := listing(t, art)
	if lines["dir"]["type"] != "skipped" || lines["sub/01"]["type"] != "skipped" || lines["ok"]["type"] != "file" {
		t.Errorf("listing %v", lines)
	}
	out := t.TempDir()
	must(t, restore(t, art, out))
	if _, err := os.Lstat(filepath.Join(out, "ok")); err != nil {
		t.Error(err)
	}
	must(t, os.Chmod(filepath.Join(dir, "dir"), 0o700))

	dir = t.TempDir() // where nothing can be read there is no backup, whatever may be empty or skipped
	write(t, dir, "dir/file", "x")
	must(t, os.Chmod(filepath.Join(dir, "dir"), 0))
	root := &files.Root{Name: "content", Path: dir, OnUnreadable: "skip", AllowEmpty: true}
	_, err = openDevice(t, providers.Env{}, root).Capture(t.Context(), export, new(providertest.Artifact))
	if !errors.Is(err, providers.ErrTooSmall) || !strings.Contains(fmt.Sprint(err), "names left out: 1") {
		t.Errorf("nothing can be read: %v", err)
	}
	must(t, os.Chmod(filepath.Join(dir, "dir"), 0o700))
}

// asNobody runs tests of this program again without the rights of root.
func asNobody(t *testing.T, tests string) {
	t.Helper()
	const nobody = 65534
	self, err := os.ReadFile("/proc/self/exe")
	must(t, err)
	dir, err := os.MkdirTemp("/tmp", "nobody")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	program := filepath.Join(dir, "test")
	must(t, os.WriteFile(program, self, 0o755))
	must(t, errors.Join(os.Chmod(dir, 0o755), os.Chown(dir, nobody, nobody)))
	cmd := exec.Command(program, "-test.run", tests)
	cmd.Dir = dir
	cmd.Env = []string{"TMPDIR=" + dir, "PATH=" + os.Getenv("PATH")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("as nobody: %v\n%s", err, out)
	}
}

// hookSink calls back when the first byte of the archive arrives, which is
// when the first 8 MiB of the source were read.
type hookSink struct {
	providertest.Artifact
	hook func()
}

func (s *hookSink) Create(name string) (io.WriteCloser, error) {
	w, err := s.Artifact.Create(name)
	return &hookWriter{WriteCloser: w, sink: s}, err
}

type hookWriter struct {
	io.WriteCloser
	sink *hookSink
}

func (w *hookWriter) Write(b []byte) (int, error) {
	if w.sink.hook != nil {
		w.sink.hook()
		w.sink.hook = nil
	}
	return w.WriteCloser.Write(b)
}

// noise does not compress, so that what was read soon reaches the sink.
func noise(n int) string {
	b := make([]byte, n)
	x := uint64(88172645463325252)
	for i := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i] = byte(x)
	}
	return string(b)
}

func TestChangeWhileReading(t *testing.T) {
	const size = 32 << 20
	tests := map[string]func(t *testing.T, path string){
		"shrinks": func(t *testing.T, path string) { must(t, os.Truncate(path, 3000)) },
		"grows": func(t *testing.T, path string) {
			f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
			must(t, err)
			_, err = f.WriteString("more")
			must(t, errors.Join(err, f.Close()))
		},
		"is overwritten": func(t *testing.T, path string) {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			must(t, err)
			_, err = f.WriteAt([]byte("other"), size-5)
			must(t, errors.Join(err, f.Close()))
		},
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			big := filepath.Join(dir, "big")
			must(t, os.WriteFile(big, []byte(noise(size)), 0o644))
			dev := openDevice(t, providers.Env{}, &files.Root{Name: "content", Path: dir})
			sink := &hookSink{hook: func() { change(t, big) }}
			res, err := dev.Capture(t.Context(), export, sink)
			if err != nil {
				t.Fatal(err)
			}
			if len(res.Warnings) != 1 || !strings.HasPrefix(res.Warnings[0], "changed while it was read") || !strings.Contains(res.Warnings[0], big) {
				t.Errorf("warnings %q", res.Warnings)
			}
			lines, _ := listing(t, &sink.Artifact)
			if l := lines["big"]; l["size"] != float64(size) || l["note"] == nil {
				t.Errorf("line %v", l)
			}
			must(t, dev.Restore(t.Context(), providers.RestoreRequest{Dir: t.TempDir()}, &sink.Artifact))
		})
	}
}

func TestVanishedIsAWarning(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "a"), []byte(noise(16<<20)), 0o644))
	write(t, dir, "d2/y", "y")
	// The walker is at most as far ahead as it has batches, so that d2 is still unread.
	for i := range 2000 {
		write(t, dir, fmt.Sprintf("d1/%04d", i), "")
	}
	dev := openDevice(t, providers.Env{}, &files.Root{Name: "content", Path: dir})
	sink := &hookSink{hook: func() { must(t, os.RemoveAll(filepath.Join(dir, "d2"))) }}
	res, err := dev.Capture(t.Context(), export, sink)
	if err != nil {
		t.Fatal(err)
	}
	if want := "vanished before it was read: " + dir + "/d2"; !slices.Equal(res.Warnings, []string{want}) {
		t.Errorf("warnings %q, want %q", res.Warnings, want)
	}
	must(t, dev.Restore(t.Context(), providers.RestoreRequest{Dir: t.TempDir()}, &sink.Artifact))
}

func TestCancelStopsALargeFile(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "large"), make([]byte, 64<<20), 0o644))
	ctx, cancel := context.WithCancel(t.Context())
	sink := &hookSink{hook: cancel}
	_, err := openDevice(t, providers.Env{}, &files.Root{Name: "content", Path: dir}).Capture(ctx, export, sink)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

func TestDirectoryLinksAreNotFollowed(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	write(t, other, "secret", "x")
	write(t, dir, "file", "x")
	must(t, os.Symlink(other, filepath.Join(dir, "out")))
	must(t, os.Symlink(".", filepath.Join(dir, "loop")))
	art, _ := capture(t, openDevice(t, providers.Env{}, &files.Root{Name: "content", Path: dir}), export)
	if _, paths := listing(t, art); !slices.Equal(paths, []string{".", "file", "loop", "out"}) {
		t.Errorf("captured %q", paths)
	}
	alias := filepath.Join(t.TempDir(), "alias")
	must(t, os.Symlink(dir, alias))
	art, _ = capture(t, openDevice(t, providers.Env{}, &files.Root{Name: "content", Path: alias}), export)
	if _, paths := listing(t, art); len(paths) != 4 {
		t.Errorf("a root that is a link to a directory gave %q", paths)
	}
	_, err := openDevice(t, providers.Env{}, &files.Root{Name: "content", Path: filepath.Join(dir, "file")}).Capture(t.Context(), export, new(providertest.Artifact))
	if !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("a root that is a file: got %v", err)
	}
}
