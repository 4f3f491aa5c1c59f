package tree_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/plain/layout"
)

// pair is a source and a target with a request between them.
type pair struct {
	src, dst string
	req      providers.MirrorRequest
}

func newPair(t *testing.T, files ...string) pair {
	t.Helper()
	dir := t.TempDir()
	p := pair{src: filepath.Join(dir, "src"), dst: filepath.Join(dir, "dst")}
	must(t, os.Mkdir(p.src, 0o755))
	for _, name := range files {
		p.write(t, name, "content of "+name)
	}
	p.req = providers.MirrorRequest{Mirror: "mirror.test", Source: fileURL(p.src), Target: fileURL(p.dst), MaxDeletePercent: 100}
	return p
}

func (p pair) write(t *testing.T, name, content string) {
	t.Helper()
	path := filepath.Join(p.src, name)
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte(content), 0o644))
	old := time.Now().Add(-time.Hour)
	must(t, os.Chtimes(path, old, old))
}

func (p pair) copy(t *testing.T) providers.MirrorResult {
	t.Helper()
	res, err := open(t).Copy(t.Context(), p.req, nil)
	must(t, err)
	return res
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestEndpoints(t *testing.T) {
	p := newPair(t, "a")
	for name, change := range map[string]func(*providers.MirrorRequest){
		"host":            func(r *providers.MirrorRequest) { r.Target = "file://host" + p.dst },
		"localhost":       func(r *providers.MirrorRequest) { r.Target = "file://localhost" + p.dst },
		"two slashes":     func(r *providers.MirrorRequest) { r.Target = "file:/" + p.dst[1:] + "/../x" },
		"relative":        func(r *providers.MirrorRequest) { r.Target = "file:dst" },
		"other scheme":    func(r *providers.MirrorRequest) { r.Target = "sftp://host/dst" },
		"dots":            func(r *providers.MirrorRequest) { r.Target = "file://" + p.src + "/../dst" },
		"encoded dots":    func(r *providers.MirrorRequest) { r.Target = "file://" + p.src + "/%2e%2E/dst" },
		"encoded slash":   func(r *providers.MirrorRequest) { r.Target = "file://" + p.src + "/..%2fdst" },
		"NUL":             func(r *providers.MirrorRequest) { r.Target = "file://" + p.dst + "%00x" },
		"query":           func(r *providers.MirrorRequest) { r.Target = "file://" + p.dst + "?x" },
		"fragment":        func(r *providers.MirrorRequest) { r.Target = "file://" + p.dst + "#" },
		"bad escape":      func(r *providers.MirrorRequest) { r.Target = "file://" + p.dst + "%zz" },
		"empty":           func(r *providers.MirrorRequest) { r.Target = "" },
		"same":            func(r *providers.MirrorRequest) { r.Target = r.Source },
		"same with slash": func(r *providers.MirrorRequest) { r.Target = r.Source + "//./" },
		"inside":          func(r *providers.MirrorRequest) { r.Target = fileURL(p.src + "/copy") },
		"around":          func(r *providers.MirrorRequest) { r.Target = fileURL(filepath.Dir(p.src)) },
		"root":            func(r *providers.MirrorRequest) { r.Target = "file:///" },
		"no parent":       func(r *providers.MirrorRequest) { r.Target = fileURL(p.dst + "/no/parent") },
		"source a file":   func(r *providers.MirrorRequest) { r.Source = fileURL(p.src + "/a") },
		"bad pattern":     func(r *providers.MirrorRequest) { r.Exclude = []string{"//a"} },
		"no source":       func(r *providers.MirrorRequest) { r.Source = fileURL(p.src + "2") },
	} {
		t.Run(name, func(t *testing.T) {
			req := p.req
			change(&req)
			if _, err := open(t).Copy(t.Context(), req, nil); err == nil {
				t.Errorf("copy from %s to %s: no error", req.Source, req.Target)
			}
			if _, err := os.Lstat(p.dst); err == nil {
				t.Fatal("the target was made")
			}
			if names, err := os.ReadDir(p.src); err != nil || len(names) != 1 {
				t.Fatalf("the source has %v, %v", names, err)
			}
		})
	}
}

func TestNestedThroughALink(t *testing.T) {
	p := newPair(t, "a", "sub/b")
	alias := filepath.Join(t.TempDir(), "alias")
	must(t, os.Symlink(filepath.Join(p.src, "sub"), alias))
	p.req.Target = fileURL(alias + "/copy")
	if _, err := open(t).Copy(t.Context(), p.req, nil); err == nil || !strings.Contains(err.Error(), "inside the source") {
		t.Errorf("error = %v", err)
	}
}

func TestChangedWhileCopied(t *testing.T) {
	p := newPair(t)
	path := filepath.Join(p.src, "log")
	must(t, os.WriteFile(path, make([]byte, 1<<20), 0o644))
	grow := func(int64, int64) {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			t.Error(err)
			return
		}
		_, err = f.WriteString("more")
		if err := errors.Join(err, f.Close()); err != nil {
			t.Error(err)
		}
	}
	_, err := open(t).Copy(t.Context(), p.req, grow)
	if !errors.Is(err, providers.ErrChanged) || !providers.Retryable(err) || !strings.Contains(err.Error(), `"log"`) {
		t.Fatalf("a file that always grows: %v", err)
	}
	if _, err := os.Lstat(filepath.Join(p.dst, "log")); err == nil {
		t.Error("a torn copy is at the target")
	}

	once := false
	_, err = open(t).Copy(t.Context(), p.req, func(files, bytes int64) {
		if !once {
			once = true
			grow(files, bytes)
		}
	})
	must(t, err)
	sameFile(t, path, filepath.Join(p.dst, "log"))
}

func sameFile(t *testing.T, a, b string) {
	t.Helper()
	x, err := os.ReadFile(a)
	must(t, err)
	y, err := os.ReadFile(b)
	must(t, err)
	if string(x) != string(y) {
		t.Errorf("%s and %s differ", a, b)
	}
}

// A write in the same tick of the kernel's clock as the one before it does not
// show in the file's time, so a file is read only when its last change is older than that.
func TestAFreshFileIsCopiedOnlyWhenItsTimeIsSettled(t *testing.T) {
	const tick = 10 * time.Millisecond
	p := newPair(t, "hot")
	p.copy(t)
	now := time.Now()
	must(t, os.Chtimes(filepath.Join(p.src, "hot"), now, now))
	_, err := open(t).Copy(t.Context(), p.req, func(_, bytes int64) {
		if age := time.Since(now); bytes > 0 && age < tick {
			t.Errorf("the file was read %v after its last change", age)
		}
	})
	must(t, err)
}

func TestDirectoriesReplacedByLinksInMidPass(t *testing.T) {
	for _, side := range []string{"source", "target"} {
		t.Run(side, func(t *testing.T) {
			p := newPair(t, "sub/a", "z")
			p.copy(t)
			outside := t.TempDir()
			must(t, os.WriteFile(filepath.Join(outside, "a"), []byte("precious"), 0o600))
			must(t, os.WriteFile(filepath.Join(outside, "b"), []byte("precious"), 0o600))
			p.write(t, "sub/a", "changed")
			p.write(t, "sub/c", "new")
			p.write(t, "z", "changed")
			sub := filepath.Join(map[string]string{"source": p.src, "target": p.dst}[side], "sub")
			swapped := false
			// The copy of z ends after sub was looked at and before it is entered.
			_, err := open(t).Copy(t.Context(), p.req, func(files, _ int64) {
				if files > 0 && !swapped {
					swapped = true
					if err := errors.Join(os.Rename(sub, sub+".away"), os.Symlink(outside, sub)); err != nil {
						t.Error(err)
					}
				}
			})
			if side == "target" && err == nil {
				t.Error("no error")
			}
			names, err := os.ReadDir(outside)
			must(t, err)
			if b, err := os.ReadFile(filepath.Join(outside, "a")); len(names) != 2 || err != nil || string(b) != "precious" {
				t.Errorf("the directory outside has %v, a is %q, %v", names, b, err)
			}
			if b, err := os.ReadFile(filepath.Join(p.dst, "sub.away", "a")); side == "target" && (err != nil || string(b) != "content of sub/a") {
				t.Errorf("the real directory has %q, %v", b, err)
			}
			if _, err := os.Lstat(filepath.Join(p.dst, "sub", "b")); side == "source" && err == nil {
				t.Error("the link in the source was followed")
			}
		})
	}
}

func TestAnotherDirectoryInPlaceOfTheSource(t *testing.T) {
	p := newPair(t, "a")
	p.copy(t)
	must(t, os.Rename(p.src, p.src+".away"))
	p.write(t, "other", "not the source")
	if _, err := open(t).Copy(t.Context(), p.req, nil); !errors.Is(err, providers.ErrIdentity) || !strings.Contains(err.Error(), "mounted") {
		t.Errorf("error = %v", err)
	}
}

func TestOneBadFileDoesNotHoldTheOthersUp(t *testing.T) {
	p := newPair(t, "a", "dir/b", "z")
	protected := filepath.Join(p.src, "dir", "holdfast.db")
	p.write(t, "dir/holdfast.db", "state")
	must(t, os.Link(protected, filepath.Join(p.src, "other-name")))
	m := open(t, protected)
	res, err := m.Copy(t.Context(), p.req, nil)
	if err == nil || !strings.Contains(err.Error(), "dir/holdfast.db") || !strings.Contains(err.Error(), "other-name") || !strings.Contains(err.Error(), "exclude it") {
		t.Errorf("error = %v", err)
	}
	if res.CopiedFiles != 3 {
		t.Errorf("result = %+v", res)
	}
	p.req.Exclude = []string{"dir/holdfast.db", "other-name"}
	if _, err := m.Copy(t.Context(), p.req, nil); err != nil {
		t.Error(err)
	}
	must(t, os.WriteFile(filepath.Join(p.dst, "extra.db"), nil, 0o600))
	if _, err := open(t, filepath.Join(p.dst, "extra.db")).Prune(t.Context(), p.req); err == nil {
		t.Error("holdfast's own file was deleted")
	}
}

func TestLeftoversAreSweptAndOwnNamesLeftAlone(t *testing.T) {
	const temp, old = ".holdfast-tmp-0123456789abcdef", ".holdfast-old-0123456789abcdef"
	p := newPair(t, "dir/a", "b", "c", "d", temp, ".holdfast-tmp-mine", "dir/lost+found")
	p.copy(t)
	must(t, os.WriteFile(filepath.Join(p.dst, "dir", temp), []byte("half"), 0o600))
	must(t, os.Mkdir(filepath.Join(p.dst, "dir", old), 0o700))
	must(t, os.WriteFile(filepath.Join(p.dst, "dir", old, "displaced"), nil, 0o600))
	must(t, os.Mkdir(filepath.Join(p.dst, "lost+found"), 0o700))
	if diff, err := open(t).Compare(t.Context(), p.req); err != nil || diff.DeleteFiles != 1 || diff.TargetFiles != 7 {
		t.Errorf("comparison: %+v, %v", diff, err)
	}
	p.copy(t)
	for name, want := range map[string]bool{"dir/" + temp: false, "dir/" + old: true, temp: false, ".holdfast-tmp-mine": true, "lost+found": true, "dir/lost+found": true} {
		if _, err := os.Lstat(filepath.Join(p.dst, name)); (err == nil) != want {
			t.Errorf("%s after a copy: %v, should be there: %v", name, err, want)
		}
	}
	if res, err := open(t).Prune(t.Context(), p.req); err != nil || res.DeletedFiles != 1 {
		t.Errorf("prune: %+v, %v", res, err)
	}
	if _, err := os.Lstat(filepath.Join(p.dst, "dir", old)); err == nil {
		t.Error("a displaced directory was not pruned")
	}
}

func TestAPatternOfAPlaceThatIsNotThereIsTold(t *testing.T) {
	p := newPair(t, "x/a", "b")
	p.req.Exclude = []string{"/gone", "*.tmp", "x/a", "x/*.old"}
	res, err := open(t).Copy(t.Context(), p.req, nil)
	want := []string{`the exclude pattern "/gone" matched nothing`, `the exclude pattern "x/*.old" matched nothing`}
	if err != nil || !slices.Equal(res.Warnings, want) {
		t.Errorf("%q, %v", res.Warnings, err)
	}
}

func TestNoPruneDeletesAStore(t *testing.T) {
	p := newPair(t, "a", "b", "copied/"+layout.MetaDir+"/"+layout.MarkerName, "copied/artifact")
	p.copy(t)
	must(t, os.RemoveAll(filepath.Join(p.src, "copied")))
	must(t, os.Remove(filepath.Join(p.src, "b")))
	p.copy(t)
	if res, err := open(t).Prune(t.Context(), p.req); err == nil || !strings.Contains(err.Error(), `"copied": holds a store`) || res.DeletedFiles != 0 {
		t.Errorf("prune: %+v, %v", res, err)
	}
	must(t, os.RemoveAll(filepath.Join(p.dst, "copied")))
	if res, err := open(t).Prune(t.Context(), p.req); err != nil || res.DeletedFiles != 1 {
		t.Errorf("prune: %+v, %v", res, err)
	}
}

func TestDisplacedDirectoryKeepsExcludedPaths(t *testing.T) {
	p := newPair(t, "x/a", "b")
	p.req.Exclude = []string{"x/cache"}
	p.copy(t)
	must(t, os.MkdirAll(filepath.Join(p.dst, "x", "cache", "deep"), 0o755))
	must(t, os.RemoveAll(filepath.Join(p.src, "x")))
	p.write(t, "x", "a file now")
	if _, err := open(t).Copy(t.Context(), p.req, nil); err == nil || !strings.Contains(err.Error(), "by hand") {
		t.Errorf("error = %v", err)
	}
	if _, err := os.Lstat(filepath.Join(p.dst, "x", "cache", "deep")); err != nil {
		t.Error(err)
	}
}

func TestSpecialFiles(t *testing.T) {
	p := newPair(t, "a", "b")
	must(t, unix.Mkfifo(filepath.Join(p.src, "fifo"), 0o640))
	must(t, os.Chmod(filepath.Join(p.src, "fifo"), 0o640))
	listener, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	must(t, err)
	defer syscall.Close(listener)
	wd, err := os.Getwd()
	must(t, err)
	t.Chdir(p.src) // socket paths are short
	must(t, syscall.Bind(listener, &syscall.SockaddrUnix{Name: "socket"}))
	t.Chdir(wd)
	for range 2 {
		p.copy(t)
		i, err := os.Lstat(filepath.Join(p.dst, "fifo"))
		if err != nil || i.Mode() != os.ModeNamedPipe|0o640 {
			t.Errorf("fifo: %v, %v", i, err)
		}
		if i, err := os.Lstat(filepath.Join(p.dst, "socket")); err != nil || i.Mode().Type() != os.ModeSocket {
			t.Errorf("socket: %v, %v", i, err)
		}
	}
	if diff, err := open(t).Compare(t.Context(), p.req); err != nil || diff.CopyFiles != 0 || diff.DeleteFiles != 0 {
		t.Errorf("comparison: %+v, %v", diff, err)
	}
}

func TestHardLinksStayTogether(t *testing.T) {
	p := newPair(t, "one", "dir/other")
	for i := range 20 {
		must(t, os.MkdirAll(filepath.Join(p.src, fmt.Sprint("d", i%3)), 0o755))
		must(t, os.Link(filepath.Join(p.src, "one"), filepath.Join(p.src, fmt.Sprintf("d%d/name%d", i%3, i))))
	}
	check := func() {
		t.Helper()
		first, err := os.Stat(filepath.Join(p.dst, "one"))
		must(t, err)
		for i := range 20 {
			name := fmt.Sprintf("d%d/name%d", i%3, i)
			other, err := os.Stat(filepath.Join(p.dst, name))
			must(t, err)
			if !os.SameFile(first, other) {
				t.Errorf("%s is a file of its own", name)
			}
		}
		sameFile(t, filepath.Join(p.src, "one"), filepath.Join(p.dst, "d0/name0"))
	}
	p.copy(t)
	check()
	f, err := os.OpenFile(filepath.Join(p.src, "one"), os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	_, err = f.WriteString(" changed")
	must(t, errors.Join(err, f.Close()))
	p.copy(t)
	check()
}

func TestSparseAndLargeFiles(t *testing.T) {
	p := newPair(t)
	path := filepath.Join(p.src, "sparse")
	f, err := os.Create(path)
	must(t, err)
	must(t, f.Truncate(64<<20))
	_, err = f.WriteAt([]byte("in the middle"), 32<<20)
	must(t, err)
	must(t, f.Close())
	big := make([]byte, 3<<20+17)
	for i := range big {
		big[i] = byte(i * i >> 3)
	}
	must(t, os.WriteFile(filepath.Join(p.src, "big"), big, 0o644))
	res := p.copy(t)
	if res.CopiedBytes != 64<<20+3<<20+17 {
		t.Errorf("result = %+v", res)
	}
	sameFile(t, path, filepath.Join(p.dst, "sparse"))
	sameFile(t, filepath.Join(p.src, "big"), filepath.Join(p.dst, "big"))
	var st unix.Stat_t
	must(t, unix.Stat(filepath.Join(p.dst, "sparse"), &st))
	if st.Blocks*512 > 8<<20 {
		t.Errorf("the copy of a sparse file takes %d bytes", st.Blocks*512)
	}
}

func TestExtendedAttributes(t *testing.T) {
	p := newPair(t, "a", "dir/b")
	path := filepath.Join(p.src, "a")
	if err := unix.Setxattr(path, "user.colour", []byte("green"), 0); err != nil {
		t.Skipf("no extended attributes here: %v", err)
	}
	must(t, unix.Setxattr(filepath.Join(p.src, "dir"), "user.kind", []byte("folder"), 0))
	p.copy(t)
	get := func(name, attr string) string {
		b := make([]byte, 100)
		n, err := unix.Getxattr(filepath.Join(p.dst, name), attr, b)
		if err != nil {
			return err.Error()
		}
		return string(b[:n])
	}
	if get("a", "user.colour") != "green" || get("dir", "user.kind") != "folder" {
		t.Errorf("attributes: %q, %q", get("a", "user.colour"), get("dir", "user.kind"))
	}
	must(t, unix.Removexattr(path, "user.colour"))
	must(t, unix.Setxattr(path, "user.size", []byte("small"), 0))
	must(t, os.Chmod(path, 0o600))
	if res := p.copy(t); res.CopiedFiles != 0 {
		t.Errorf("result = %+v", res)
	}
	if get("a", "user.size") != "small" || get("a", "user.colour") == "green" {
		t.Errorf("attributes after a change of mode: %q, %q", get("a", "user.size"), get("a", "user.colour"))
	}
}

func TestOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root may change owners")
	}
	p := newPair(t, "a", "dir/b")
	must(t, os.Symlink("a", filepath.Join(p.src, "link")))
	p.copy(t)
	for _, name := range []string{"a", "dir", "dir/b", "link"} {
		must(t, os.Lchown(filepath.Join(p.src, name), 1234, 5678))
	}
	must(t, os.Chmod(filepath.Join(p.src, "a"), 0o755|os.ModeSetuid))
	if res := p.copy(t); res.CopiedFiles != 0 {
		t.Errorf("a change of owner copied data: %+v", res)
	}
	for _, name := range []string{"a", "dir", "dir/b", "link"} {
		var st unix.Stat_t
		must(t, unix.Lstat(filepath.Join(p.dst, name), &st))
		if st.Uid != 1234 || st.Gid != 5678 {
			t.Errorf("%s belongs to %d:%d", name, st.Uid, st.Gid)
		}
	}
	if i, err := os.Stat(filepath.Join(p.dst, "a")); err != nil || i.Mode() != 0o755|os.ModeSetuid {
		t.Errorf("mode = %v, %v", i.Mode(), err)
	}
}

func TestReadOnlyDirectories(t *testing.T) {
	p := newPair(t, "locked/a", "locked/sub/b", "c", "d", "e")
	t.Cleanup(func() {
		for _, root := range []string{p.src, p.dst} {
			for _, name := range []string{"locked", "locked/sub"} {
				_ = os.Chmod(filepath.Join(root, name), 0o755)
			}
		}
	})
	lock := func(mode os.FileMode) {
		must(t, os.Chmod(filepath.Join(p.src, "locked"), 0o755))
		must(t, os.Chmod(filepath.Join(p.src, "locked", "sub"), mode))
		must(t, os.Chmod(filepath.Join(p.src, "locked"), mode))
	}
	lock(0o555)
	p.copy(t)
	lock(0o755)
	p.write(t, "locked/sub/new", "n")
	must(t, os.Remove(filepath.Join(p.src, "locked", "a")))
	must(t, os.Remove(filepath.Join(p.src, "locked", "sub", "b")))
	lock(0o555)
	if res := p.copy(t); res.CopiedFiles != 1 {
		t.Errorf("result = %+v", res)
	}
	if res, err := open(t).Prune(t.Context(), p.req); err != nil || res.DeletedFiles != 2 {
		t.Errorf("prune: %+v, %v", res, err)
	}
	for _, name := range []string{"locked", "locked/sub"} {
		want, err := os.Stat(filepath.Join(p.src, name))
		must(t, err)
		got, err := os.Stat(filepath.Join(p.dst, name))
		must(t, err)
		if got.Mode() != want.Mode() || !got.ModTime().Equal(want.ModTime()) {
			t.Errorf("%s is %v of %v, want %v of %v", name, got.Mode(), got.ModTime(), want.Mode(), want.ModTime())
		}
	}
}

func TestReplacedRootsAreNoticed(t *testing.T) {
	for _, side := range []string{"source", "target"} {
		t.Run(side, func(t *testing.T) {
			p := newPair(t, "a")
			path := map[string]string{"source": p.src, "target": p.dst}[side]
			_, err := open(t).Copy(t.Context(), p.req, func(files, _ int64) {
				if files > 0 {
					if err := errors.Join(os.Rename(path, path+".away"), os.Mkdir(path, 0o755)); err != nil {
						t.Error(err)
					}
				}
			})
			if !errors.Is(err, providers.ErrIdentity) {
				t.Errorf("error = %v", err)
			}
		})
	}
}

func TestOnePassAtATime(t *testing.T) {
	p := newPair(t, "a")
	var inner error
	_, err := open(t).Copy(t.Context(), p.req, func(files, _ int64) {
		if files > 0 {
			_, inner = open(t).Copy(context.Background(), p.req, nil)
		}
	})
	must(t, err)
	if inner == nil || !providers.Retryable(inner) {
		t.Errorf("a second pass at the same time: %v", inner)
	}
}

// A pass that changed nothing after one that ended well neither writes nor asks the file system to; one after a pass that was
// cut off makes durable what that one left.
func TestAnUnchangedPassWritesNothing(t *testing.T) {
	p := newPair(t, "a", "dir/b")
	p.copy(t)
	begun := filepath.Join(p.dst, ".holdfast-mirror.test.begun")
	if _, err := os.Lstat(begun); err == nil {
		t.Error("a pass that ended left its note")
	}
	stat := func() (st unix.Stat_t) {
		must(t, unix.Stat(p.dst, &st))
		return st
	}
	before := stat()
	p.copy(t)
	if after := stat(); after.Ctim != before.Ctim {
		t.Errorf("the target changed at %v by an unchanged pass, was %v", after.Ctim, before.Ctim)
	}

	p.write(t, "dir/c", "new")
	ctx, kill := context.WithCancel(t.Context())
	if _, err := open(t).Copy(ctx, p.req, func(int64, int64) { kill() }); !errors.Is(err, context.Canceled) {
		t.Fatalf("cancelled copy: %v", err)
	}
	if _, err := os.Lstat(begun); err != nil {
		t.Errorf("a pass that was cut off left no note: %v", err)
	}
	if diff, err := open(t).Compare(t.Context(), p.req); err != nil || diff.DeleteFiles != 0 {
		t.Errorf("comparison: %+v, %v", diff, err)
	}
	p.copy(t)
	if _, err := os.Lstat(begun); err == nil {
		t.Error("the note outlived the pass that made everything durable")
	}
	want, err := os.Stat(p.src)
	must(t, err)
	if got, err := os.Stat(p.dst); err != nil || !got.ModTime().Equal(want.ModTime()) {
		t.Errorf("the target is of %v, %v, the source of %v", got.ModTime(), err, want.ModTime())
	}
}

func TestSeveralMirrorsOfOneSource(t *testing.T) {
	p := newPair(t, "a")
	p.copy(t)
	q := p
	q.req.Mirror, q.dst = "mirror.second", p.dst+"2"
	q.req.Target = fileURL(q.dst)
	q.copy(t)
	chained := p
	chained.req.Mirror = "mirror.chained"
	chained.req.Source, chained.req.Target = p.req.Target, fileURL(p.dst+"3")
	chained.copy(t)
	p.copy(t)
	names, err := os.ReadDir(p.dst + "3")
	must(t, err)
	if len(names) != 2 || names[1].Name() != "a" {
		t.Errorf("the chained copy has %v", names)
	}
}

func TestDamagedMarkerIsRefused(t *testing.T) {
	p := newPair(t, "a")
	p.copy(t)
	must(t, os.WriteFile(filepath.Join(p.dst, ".holdfast-mirror.test.json"), []byte("{"), 0o600))
	if _, err := open(t).Copy(t.Context(), p.req, nil); !errors.Is(err, providers.ErrIdentity) {
		t.Errorf("error = %v", err)
	}
}
