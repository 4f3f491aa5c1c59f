package files_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/files"
	"github.com/holdfast-dr/holdfast/providers/providertest"
)

// member is one entry of a made-up artifact.
type member struct {
	tar  tar.Header
	data string
	line map[string]any // of the listing; nil gives the right one
}

func file(name, data string) member {
	return member{tar: tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(data))}, data: data}
}

func folder(name string) member {
	return member{tar: tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755}}
}

func link(flag byte, name, target string) member {
	return member{tar: tar.Header{Typeflag: flag, Name: name, Linkname: target, Mode: 0o777}}
}

// sparseMember is a file of 4,096 bytes kept without its holes: a map, and a block of data.
func sparseMember(name, sparseMap string) member {
	stored := make([]byte, 1024)
	copy(stored, sparseMap)
	records := map[string]string{
		"GNU_sparse.major": "1", "GNU_sparse.minor": "0", "GNU_sparse.name": name, "GNU_sparse.realsize": "4096",
	}
	return member{
		tar:  tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(stored)), Format: tar.FormatPAX, PAXRecords: records},
		data: string(stored),
		line: map[string]any{"path": name, "type": "file", "size": 4096, "sparse": true, "data_sha256": fmt.Sprintf("%x", sha256.Sum256(stored))},
	}
}

func (m member) listed() map[string]any {
	if m.line != nil {
		return m.line
	}
	kinds := map[byte]string{tar.TypeReg: "file", tar.TypeDir: "dir", tar.TypeSymlink: "symlink", tar.TypeLink: "hardlink", tar.TypeChar: "char", tar.TypeFifo: "fifo"}
	l := map[string]any{"path": strings.TrimSuffix(m.tar.Name, "/"), "type": kinds[m.tar.Typeflag], "size": m.tar.Size, "target": m.tar.Linkname}
	if m.tar.Typeflag == tar.TypeReg {
		l["sha256"] = fmt.Sprintf("%x", sha256.Sum256([]byte(m.data)))
	}
	return l
}

func artifact(t *testing.T, members ...member) *providertest.Artifact {
	t.Helper()
	var archive, listing bytes.Buffer
	w := tar.NewWriter(&archive)
	for _, m := range members {
		must(t, w.WriteHeader(&m.tar))
		_, err := w.Write([]byte(m.data))
		must(t, err)
		b, err := json.Marshal(m.listed())
		must(t, err)
		listing.Write(append(b, '\n'))
	}
	must(t, w.Close())
	art := new(providertest.Artifact)
	// archive/tar does not write such records itself.
	art.Set(archiveName, zip(t, bytes.ReplaceAll(archive.Bytes(), []byte("GNU_sparse."), []byte("GNU.sparse."))))
	art.Set(listingName, zip(t, listing.Bytes()))
	return art
}

func restore(t *testing.T, art providers.Source, dir string) error {
	t.Helper()
	return openDevice(t, providers.Env{}, &files.Root{Name: "content", Path: "/nowhere"}).Restore(t.Context(), providers.RestoreRequest{Action: providers.ExportDomain, Domain: "content", Dir: dir}, art)
}

func TestHostileArtifact(t *testing.T) {
	outside := t.TempDir()
	tests := map[string][]member{
		"absolute path":                 {file(outside+"/x", "x")},
		"parent directory":              {file("../x", "x")},
		"parent directory in a path":    {folder("a"), file("a/../../x", "x")},
		"empty name":                    {folder("a"), file("a//x", "x")},
		"dot":                           {folder("a"), file("a/./x", "x")},
		"write through a symbolic link": {link(tar.TypeSymlink, "a", outside), file("a/x", "x")},
		"directory over a link":         {link(tar.TypeSymlink, "a", outside), folder("a"), file("a/x", "x")},
		"link through a link":           {link(tar.TypeSymlink, "a", outside), link(tar.TypeSymlink, "a/x", "y")},
		"hard link out":                 {link(tar.TypeLink, "x", outside+"/there")},
		"hard link up":                  {link(tar.TypeLink, "x", "../there")},
		"write through a hard link":     {link(tar.TypeSymlink, "a", outside), link(tar.TypeLink, "b", "a"), file("b/x", "x")},
		"hard link to a directory":      {folder("a"), link(tar.TypeLink, "x", "a")},
		"sparse without a map":          {sparseMember("x", "")},
		"sparse, map out of order":      {sparseMember("x", "2\n512\n512\n0\n512\n")},
		"sparse, map out of the file":   {sparseMember("x", "1\n4000\n512\n")},
		"sparse, map too long":          {sparseMember("x", "99999999\n")},
		"sparse, no number":             {sparseMember("x", "1\n-5\n512\n")},
		"sparse, less data than mapped": {sparseMember("x", "1\n0\n1024\n")},
		"sparse, more data than mapped": {sparseMember("x", "1\n0\n8\n")},
		"hard link to nothing":          {link(tar.TypeLink, "x", "gone")},
		"file twice":                    {file("x", "1"), file("x", "2")},
		"file over a directory":         {folder("x"), file("x", "2")},
		"file below a file":             {file("x", "1"), file("x/y", "2")},
		"file below a fifo":             {member{tar: tar.Header{Typeflag: tar.TypeFifo, Name: "x"}}, file("x/y", "2")},
		"no directory":                  {file("a/x", "1")},
		"wrong hash":                    {{tar: file("x", "1").tar, data: "1", line: map[string]any{"path": "x", "type": "file", "size": 1, "sha256": strings.Repeat("0", 64)}}},
		"no hash":                       {{tar: file("x", "1").tar, data: "1", line: map[string]any{"path": "x", "type": "file", "size": 1}}},
		"wrong size":                    {{tar: file("x", "1").tar, data: "1", line: map[string]any{"path": "x", "type": "file", "size": 2, "sha256": strings.Repeat("0", 64)}}},
		"other path in the listing":     {{tar: file("x", "1").tar, data: "1", line: map[string]any{"path": "y", "type": "file", "size": 1}}},
		"other type in the listing":     {{tar: folder("x").tar, line: map[string]any{"path": "x", "type": "symlink"}}},
		"other target in the listing":   {{tar: link(tar.TypeSymlink, "x", "a").tar, line: map[string]any{"path": "x", "type": "symlink", "target": "b"}}},
		"only in the archive":           {{tar: file("x", "1").tar, data: "1", line: map[string]any{"path": "x", "type": "skipped"}}},
		"unknown kind of entry":         {{tar: tar.Header{Typeflag: tar.TypeCont, Name: "x"}, line: map[string]any{"path": "x", "type": ""}}},
		"NUL in a raw path":             {{tar: file("x", "1").tar, data: "1", line: map[string]any{"path": "x", "path_raw": "AA==", "type": "file", "size": 1}}},
	}
	for name, members := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := restore(t, artifact(t, members...), dir); !errors.Is(err, providers.ErrCorrupt) {
				t.Errorf("got %v, want ErrCorrupt", err)
			}
			if left, err := os.ReadDir(outside); err != nil || len(left) > 0 {
				t.Errorf("outside the directory: %v, %v", left, err)
			}
			if _, err := os.Lstat(filepath.Join(filepath.Dir(dir), "x")); err == nil {
				t.Error("written beside the directory")
			}
		})
	}
}

var deviceNode = member{tar: tar.Header{Typeflag: tar.TypeChar, Name: "null", Devmajor: 1, Devminor: 3, Mode: 0o666}}

func TestRestoreIgnoresDeviceNodes(t *testing.T) {
	dir := t.TempDir()
	must(t, restore(t, artifact(t, deviceNode, file("x", "x")), dir))
	if _, err := os.Lstat(filepath.Join(dir, "null")); !os.IsNotExist(err) {
		t.Errorf("a device node was made: %v", err)
	}
}

func TestRestoreWantsAnEmptyDirectory(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "mine", "x")
	if err := restore(t, artifact(t, file("x", "x")), dir); !errors.Is(err, providers.ErrNotEmpty) {
		t.Errorf("got %v, want ErrNotEmpty", err)
	}
	if err := restore(t, new(providertest.Artifact), t.TempDir()); !errors.Is(err, providers.ErrCorrupt) {
		t.Errorf("no files: got %v, want ErrCorrupt", err)
	}
}

func TestBombs(t *testing.T) {
	art := artifact(t, file("x", "x"))
	long := art.Clone()
	long.Set(listingName, zip(t, bytes.Repeat([]byte(" "), 64<<20)))
	if err := restore(t, long, t.TempDir()); !errors.Is(err, providers.ErrCorrupt) {
		t.Errorf("endless line: got %v, want ErrCorrupt", err)
	}
	tail := art.Clone()
	tail.Set(archiveName, append(art.Bytes(archiveName), zip(t, make([]byte, 64<<20))...))
	if err := restore(t, tail, t.TempDir()); !errors.Is(err, providers.ErrCorrupt) {
		t.Errorf("endless tail: got %v, want ErrCorrupt", err)
	}
}

func TestSparseFilesStaySparse(t *testing.T) {
	src, dir := t.TempDir(), t.TempDir()
	f, err := os.Create(filepath.Join(src, "disk.img"))
	must(t, err)
	_, err = f.WriteAt([]byte("middle"), 32<<20)
	must(t, errors.Join(err, f.Truncate(64<<20), f.Close()))
	dev := openDevice(t, providers.Env{}, &files.Root{Name: "content", Path: src})
	art, _ := capture(t, dev, export)
	must(t, dev.Restore(t.Context(), providers.RestoreRequest{Dir: dir}, art))
	var st unix.Stat_t
	must(t, unix.Stat(filepath.Join(dir, "disk.img"), &st))
	if st.Size != 64<<20 || st.Blocks*512 > 1<<20 {
		t.Errorf("size %d on %d bytes of disk", st.Size, st.Blocks*512)
	}
	if describe(t, src) != describe(t, dir) {
		t.Error("the content differs")
	}
}

func FuzzRestore(f *testing.F) {
	dir := f.TempDir()
	must := func(err error) {
		if err != nil {
			f.Fatal(err)
		}
	}
	must(os.WriteFile(filepath.Join(dir, "file"), []byte("hello"), 0o600))
	must(os.Symlink("file", filepath.Join(dir, "link")))
	must(os.Mkdir(filepath.Join(dir, "sub"), 0o700))
	dev, err := files.DeviceType().Open(f.Context(), "web", &files.Settings{Roots: []*files.Root{{Name: "content", Path: dir}}}, providers.Env{})
	must(err)
	art := new(providertest.Artifact)
	_, err = dev.Capture(f.Context(), export, art)
	must(err)
	f.Add(art.Bytes(archiveName), art.Bytes(listingName))
	f.Fuzz(func(t *testing.T, archive, listing []byte) {
		top := t.TempDir()
		into := filepath.Join(top, "into")
		if err := os.Mkdir(into, 0o700); err != nil {
			t.Fatal(err)
		}
		bad := new(providertest.Artifact)
		bad.Set(archiveName, archive)
		bad.Set(listingName, listing)
		err := dev.Restore(t.Context(), providers.RestoreRequest{Dir: into}, bad)
		if left, e := os.ReadDir(top); e != nil || len(left) != 1 {
			t.Errorf("beside the directory: %v, %v (restore: %v)", left, e, err)
		}
	})
}

// TestOlderArtifact: files with holes were kept with their zeros, and there were no rules in the listing.
func TestOlderArtifact(t *testing.T) {
	content := string(make([]byte, 4<<20)) + "end"
	old := file("disk.img", content)
	old.line = map[string]any{
		"path": "disk.img", "type": "file", "size": len(content), "sparse": true, "sha256": fmt.Sprintf("%x", sha256.Sum256([]byte(content))),
	}
	dir := t.TempDir()
	must(t, restore(t, artifact(t, old), dir))
	var st unix.Stat_t
	must(t, unix.Stat(filepath.Join(dir, "disk.img"), &st))
	got, err := os.ReadFile(filepath.Join(dir, "disk.img"))
	if err != nil || string(got) != content || st.Blocks*512 > 1<<20 {
		t.Errorf("%d bytes in %d blocks, %v", len(got), st.Blocks, err)
	}
}

// countedSource counts the bytes that are read of an artifact.
type countedSource struct {
	providers.Source
	n atomic.Int64
}

type countedBytes struct {
	io.ReadCloser
	n *atomic.Int64
}

func (c countedBytes) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.n.Add(int64(n))
	return n, err
}

func (s *countedSource) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	r, err := s.Source.Open(ctx, name)
	return countedBytes{r, &s.n}, err
}

// TestOneFileDoesNotReadTheRest: the archive is read up to the last entry that is wanted.
func TestOneFileDoesNotReadTheRest(t *testing.T) {
	root := t.TempDir()
	write(t, root, "first", "wanted")
	noise := make([]byte, 32<<20)
	rand.NewChaCha8([32]byte{}).Read(noise)
	write(t, root, "second", string(noise))
	d := openDevice(t, providers.Env{}, &files.Root{Name: "content", Path: root})
	art := new(providertest.Artifact)
	if _, err := d.Capture(t.Context(), export, art); err != nil {
		t.Fatal(err)
	}
	src := &countedSource{Source: art}
	dir := t.TempDir()
	req := providers.RestoreRequest{Action: export.Action, Domain: export.Domain, Variant: export.Variant, Dir: dir, Include: []string{"first"}}
	if err := d.Restore(t.Context(), req, src); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "first")); err != nil || string(got) != "wanted" {
		t.Errorf("got %q, %v", got, err)
	}
	if n := src.n.Load(); n > 16<<20 {
		t.Errorf("%d bytes of an artifact of %d were read for its first file", n, len(noise))
	}
}
