package tree_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/holdfast-dr/holdfast/providers/attribute"
)

// stranger is an access list that lets a user in who owns nothing.
func stranger() []byte {
	b := binary.LittleEndian.AppendUint32(nil, 2)
	for _, e := range [][3]uint32{{1, 7, ^uint32(0)}, {2, 7, 33333}, {4, 5, ^uint32(0)}, {0x10, 7, ^uint32(0)}, {0x20, 0, ^uint32(0)}} {
		b = binary.LittleEndian.AppendUint16(b, uint16(e[0]))
		b = binary.LittleEndian.AppendUint16(b, uint16(e[1]))
		b = binary.LittleEndian.AppendUint32(b, e[2])
	}
	return b
}

// kinds makes an entry of each kind in the source, with two names where that is possible.
func (p pair) kinds(t *testing.T) []string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can make device nodes and set trusted attributes")
	}
	at := func(name string) string { return filepath.Join(p.src, name) }
	must(t, os.WriteFile(at("file"), []byte("content"), 0o640))
	must(t, os.Symlink("nowhere", at("link")))
	must(t, unix.Mkfifo(at("fifo"), 0o640))
	must(t, unix.Mknod(at("device"), unix.S_IFCHR|0o640, int(unix.Mkdev(1, 3))))
	must(t, unix.Mknod(at("socket"), unix.S_IFSOCK|0o640, 0))
	names := []string{"device", "fifo", "file", "link", "socket"}
	for _, name := range names {
		must(t, os.Link(at(name), at(name+" again")))
	}
	must(t, os.Mkdir(at("dir"), 0o750))
	return append(names, "dir")
}

// carries gives all that entry has but for its content, its time of access and its number.
func carries(t *testing.T, path string) string {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Lstat(path, &st))
	a := attribute.Of(&st)
	d, err := os.Open(filepath.Dir(path))
	must(t, err)
	defer d.Close()
	a.Xattrs, _ = attribute.Xattrs(attribute.Named(int(d.Fd()), filepath.Base(path)), make([]byte, attribute.MaxXattr), nil)
	text := strings.Builder{}
	for _, x := range a.Xattrs {
		text.WriteString(" " + x.Name + "=" + x.Value)
	}
	if kind := st.Mode & unix.S_IFMT; kind == unix.S_IFREG || kind == unix.S_IFDIR {
		f, err := os.Open(path)
		must(t, err)
		defer f.Close()
		text.WriteString(" flags " + attribute.FlagsOf(int(f.Fd())).String())
	}
	links := ""
	if !strings.HasSuffix(path, "dir") {
		links = string(rune('0' + st.Nlink))
	}
	return strings.Join([]string{os.FileMode(st.Mode).String(), links, string(rune('0' + st.Uid)), text.String()}, " ")
}

func (p pair) sameEntries(t *testing.T, names []string) {
	t.Helper()
	for _, name := range names {
		if got, want := carries(t, filepath.Join(p.dst, name)), carries(t, filepath.Join(p.src, name)); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func TestEveryKindOfEntryKeepsWhatItCarries(t *testing.T) {
	p := newPair(t)
	names := p.kinds(t)
	must(t, os.Mkdir(p.dst, 0o755))
	if err := unix.Setxattr(p.dst, attribute.DefaultList, stranger(), 0); err != nil {
		t.Skipf("no access lists here: %v", err)
	}
	for _, name := range names {
		must(t, unix.Lsetxattr(filepath.Join(p.src, name), "trusted.colour", []byte("green"), 0))
	}
	must(t, unix.Setxattr(filepath.Join(p.src, "fifo"), attribute.AccessList, stranger(), 0))
	p.copy(t)
	p.sameEntries(t, names)

	// A change of nothing else: to an attribute, an access list, an owner.
	for _, name := range names {
		must(t, unix.Lsetxattr(filepath.Join(p.src, name), "trusted.colour", []byte("blue"), 0))
	}
	must(t, unix.Removexattr(filepath.Join(p.src, "fifo"), attribute.AccessList))
	must(t, unix.Setxattr(filepath.Join(p.src, "dir"), attribute.DefaultList, stranger(), 0))
	must(t, os.Lchown(filepath.Join(p.src, "socket"), 7, 8))
	if res := p.copy(t); res.CopiedFiles != 0 {
		t.Errorf("a change of attributes copied content: %+v", res)
	}
	p.sameEntries(t, names)
}

// Reproducible builds, archives and package managers put other content in place with the same size and time.
func TestOtherContentWithTheSameSizeAndTime(t *testing.T) {
	p := newPair(t, "a", "b")
	p.copy(t)
	i, err := os.Stat(filepath.Join(p.src, "a"))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(p.src, "new"), []byte("CONTENT of a"[:i.Size()]), 0o644))
	must(t, os.Chtimes(filepath.Join(p.src, "new"), i.ModTime(), i.ModTime()))
	must(t, os.Rename(filepath.Join(p.src, "new"), filepath.Join(p.src, "a")))
	if res := p.copy(t); res.CopiedFiles != 1 {
		t.Errorf("result = %+v", res)
	}
	sameFile(t, filepath.Join(p.src, "a"), filepath.Join(p.dst, "a"))
	if res := p.copy(t); res.CopiedFiles != 0 {
		t.Errorf("another pass: %+v", res)
	}
}

// A pass that was cut off between a rename and what follows it is made up for, although the target was written last.
func TestAfterAPassThatWasCutOffEverythingIsLookedAt(t *testing.T) {
	p := newPair(t, "a")
	p.copy(t)
	if err := unix.Setxattr(filepath.Join(p.dst, "a"), "user.wrong", []byte("x"), 0); err != nil {
		t.Skipf("no extended attributes here: %v", err)
	}
	must(t, os.WriteFile(filepath.Join(p.dst, ".holdfast-mirror.test.begun"), nil, 0o600))
	p.copy(t)
	p.sameEntries(t, []string{"a"})
}

func setFlags(t *testing.T, path string, flags attribute.Flags) {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	if lost, err := attribute.SetFlags(int(f.Fd()), flags); err != nil || lost {
		t.Skipf("no file flags here: lost %v, %v", lost, err)
	}
}

func TestFlagsComeAlongAndStopNoPass(t *testing.T) {
	p := newPair(t, "log", "dir/fixed", "dir/sub/deep", "plain", "gone/x")
	must(t, os.Link(filepath.Join(p.src, "dir/fixed"), filepath.Join(p.src, "other name")))
	all := map[string]attribute.Flags{
		"log": attribute.Append | attribute.NoDump, "dir/fixed": attribute.Immutable, "dir/sub": attribute.Immutable, "dir": attribute.Immutable, "gone/x": attribute.Immutable, "gone": attribute.Append,
	}
	set := func(root string, on bool) {
		for name, flags := range all {
			if !on {
				flags = 0
			}
			if path := filepath.Join(root, name); exists(path) {
				setFlags(t, path, flags)
			}
		}
	}
	t.Cleanup(func() { set(p.src, false); set(p.dst, false) })
	names := []string{"log", "dir/fixed", "dir/sub", "dir", "plain", "other name"}
	set(p.src, true)
	p.copy(t)
	p.sameEntries(t, append(names, "gone", "gone/x"))

	set(p.src, false)
	p.write(t, "dir/fixed", "changed")
	p.write(t, "dir/sub/new", "new")
	must(t, os.RemoveAll(filepath.Join(p.src, "gone")))
	must(t, os.Remove(filepath.Join(p.src, "dir/sub/deep")))
	set(p.src, true)
	p.copy(t)
	if res, err := open(t).Prune(t.Context(), p.req); err != nil || res.DeletedFiles != 2 {
		t.Errorf("prune: %+v, %v", res, err)
	}
	p.sameEntries(t, append(names, "dir/sub/new"))
	sameFile(t, filepath.Join(p.src, "dir/fixed"), filepath.Join(p.dst, "dir/fixed"))

	set(p.src, false)
	if res := p.copy(t); res.CopiedFiles != 0 {
		t.Errorf("a change of flags copied content: %+v", res)
	}
	p.sameEntries(t, names)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// Names that are one file at the source become one at the target, whenever the source made them so, and are parted when one of them
// is to carry something else.
func TestHardLinksFollowTheSource(t *testing.T) {
	p := newPair(t, "a", "m", "z", "parted")
	at := func(name string) string { return filepath.Join(p.src, name) }
	must(t, os.Link(at("parted"), at("parted too")))
	p.copy(t)
	must(t, os.Link(at("m"), at("b"))) // met before the name that the target has
	must(t, os.Link(at("m"), at("n")))
	same := func(x, y string) bool {
		a, err := os.Stat(filepath.Join(p.dst, x))
		must(t, err)
		b, err := os.Stat(filepath.Join(p.dst, y))
		must(t, err)
		return os.SameFile(a, b)
	}
	must(t, os.Remove(at("parted too")))
	p.write(t, "parted too", "content of parted")
	i, err := os.Stat(at("parted"))
	must(t, err)
	must(t, os.Chtimes(at("parted too"), i.ModTime(), i.ModTime()))
	must(t, os.Chmod(at("parted too"), 0o600))
	p.copy(t)
	if !same("m", "b") || !same("m", "n") || same("m", "a") {
		t.Errorf("m and b one file: %v, m and n: %v, m and a: %v", same("m", "b"), same("m", "n"), same("m", "a"))
	}
	p.sameEntries(t, []string{"a", "b", "m", "n", "parted", "parted too"})
	if res := p.copy(t); res.CopiedFiles != 0 {
		t.Errorf("another pass: %+v", res)
	}
}

// A number that is free is given to the next file: it does not make that one a name of the old one.
func TestANumberUsedAgainIsAnotherFile(t *testing.T) {
	p := newPair(t)
	disk, err := os.MkdirTemp("/tmp", "holdfast-") // a file system in memory does not use numbers again
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(disk)) })
	p.src = disk
	p.req.Source = fileURL(disk)
	for _, name := range []string{"a1", "b/z1"} {
		p.write(t, name, "content of a1")
		must(t, os.Link(filepath.Join(p.src, name), filepath.Join(p.src, name+" too")))
	}
	reused := false
	var wrong error
	var once sync.Once
	_, err = open(t).Copy(t.Context(), p.req, func(files, _ int64) {
		if files > 0 && exists(filepath.Join(p.dst, "a1")) && exists(filepath.Join(p.dst, "a1 too")) {
			once.Do(func() { reused, wrong = p.useAgain("a1", "b/z1") })
		}
	})
	must(t, errors.Join(err, wrong))
	if !reused {
		t.Skip("this file system does not use numbers again at once")
	}
	for _, name := range []string{"b/z1", "b/z1 too"} {
		sameFile(t, filepath.Join(p.src, name), filepath.Join(p.dst, name))
	}
}

// useAgain removes both names of one file and makes another one that looks like it, but for its content, the file of other names.
func (p pair) useAgain(gone, name string) (bool, error) {
	at := func(name string) string { return filepath.Join(p.src, name) }
	var old, st unix.Stat_t
	if err := errors.Join(unix.Stat(at(gone), &old), os.Remove(at(gone)), os.Remove(at(gone+" too"))); err != nil {
		return false, err
	}
	for i := range 200 {
		next := at(fmt.Sprint("new", i))
		if err := errors.Join(os.WriteFile(next, []byte("content of it"), 0o644), unix.Stat(next, &st)); err != nil {
			return false, err
		}
		if st.Ino == old.Ino {
			return true, errors.Join(
				unix.UtimesNanoAt(unix.AT_FDCWD, next, []unix.Timespec{old.Atim, old.Mtim}, 0),
				os.Rename(next, at(name)), os.Remove(at(name+" too")), os.Link(at(name), at(name+" too")))
		}
	}
	return false, nil
}

func TestLossesAreToldOnceAKind(t *testing.T) {
	p := newPair(t)
	for side, where := range map[*string]string{&p.src: "/dev/shm", &p.dst: "/tmp"} { // one takes larger attributes than most others
		path, err := os.MkdirTemp(where, "holdfast-")
		if err != nil {
			t.Skip(err)
		}
		t.Cleanup(func() { must(t, os.RemoveAll(path)) })
		*side = path
	}
	p.write(t, "a", "")
	p.write(t, "dir/b", "")
	large := []byte(strings.Repeat("x", 60<<10))
	for _, name := range []string{"a", "dir/b"} {
		if err := unix.Setxattr(filepath.Join(p.src, name), "user.large", large, 0); err != nil {
			t.Skipf("no large attributes here: %v", err)
		}
	}
	if err := unix.Setxattr(p.dst, "user.large", large, 0); err == nil {
		t.Skip("/tmp takes large attributes, too")
	}
	p.req.Source, p.req.Target = fileURL(p.src), fileURL(p.dst)
	res := p.copy(t)
	if want := []string{`the target does not take the attribute user.*: "a" and 1 more`}; !slices.Equal(res.Warnings, want) {
		t.Errorf("warnings %q, want %q", res.Warnings, want)
	}
}
