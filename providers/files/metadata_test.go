package files_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/attribute"
	"github.com/holdfast-dr/holdfast/providers/files"
)

func asRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root may do this")
	}
}

// attributes tells of each path of a tree what package attribute reads, and how many names it has.
func attributes(t *testing.T, dir string) map[string]string {
	t.Helper()
	d, err := os.Open(dir)
	must(t, err)
	defer d.Close()
	all := map[string]string{}
	paths, err := filepath.Glob(filepath.Join(dir, "*"))
	must(t, err)
	for _, path := range append(paths, dir) {
		var st unix.Stat_t
		must(t, unix.Lstat(path, &st))
		a := attribute.Of(&st)
		rel, _ := filepath.Rel(dir, path)
		at := attribute.Named(int(d.Fd()), rel)
		a.Xattrs, _ = attribute.Xattrs(at, make([]byte, attribute.MaxXattr), nil)
		if kind := st.Mode & unix.S_IFMT; kind == unix.S_IFREG || kind == unix.S_IFDIR {
			f, err := os.Open(path)
			must(t, err)
			a.Flags = attribute.FlagsOf(int(f.Fd()))
			f.Close()
		} else if kind == unix.S_IFLNK {
			a.Mtime = unix.Timespec{} // setting an attribute of a link through its name does not touch it, but making a hard link may
		}
		nlink := st.Nlink
		if st.Mode&unix.S_IFMT == unix.S_IFDIR {
			nlink = 0
		}
		all[rel] = fmt.Sprintf("%o %d:%d %v %q %v, %d names", a.Mode, a.UID, a.GID, a.Mtime, a.Xattrs, a.Flags, nlink)
	}
	return all
}

func run(t *testing.T, dir string, command ...string) {
	t.Helper()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("%q: %v: %s", command, err, out)
	}
}

// TestAttributes restores entries of each kind into a directory whose default access list gives a stranger rights.
func TestAttributes(t *testing.T) {
	asRoot(t)
	src, top := t.TempDir(), t.TempDir()
	for _, f := range []string{"key", "acl", "imm", "own", "d/x"} {
		write(t, src, f, f)
	}
	must(t, errors.Join(unix.Mkfifo(src+"/ctl", 0o640), unix.Mkfifo(src+"/p1", 0o600), os.Link(src+"/p1", src+"/p2")))
	must(t, errors.Join(os.Symlink("x", src+"/s1"), os.Link(src+"/s1", src+"/s2")))
	must(t, errors.Join(os.Chmod(src+"/key", 0o640), os.Chown(src+"/own", 12345, 54321), os.Chown(src+"/ctl", 12345, 54321)))
	run(t, src, "setfacl", "-m", "u:12345:r,g:54321:rw", "acl", "ctl")
	run(t, src, "setfacl", "-d", "-m", "u:12345:rx", "d")
	run(t, src, "setfattr", "-h", "-n", "trusted.k", "-v", "v", "s1", "p1", "own", "ctl")
	run(t, top, "setfacl", "-d", "-m", "u:12345:rwx", ".")
	run(t, src, "chattr", "+d", "own")
	run(t, src, "chattr", "+i", "imm")
	run(t, src, "chattr", "+a", "d")
	t.Cleanup(func() { exec.Command("chattr", "-R", "-ia", src, top).Run() })

	dev := openDevice(t, providers.Env{}, &files.Root{Name: "content", Path: src})
	art, res := capture(t, dev, export)
	if len(res.Warnings) > 0 {
		t.Errorf("warnings %q", res.Warnings)
	}
	out := filepath.Join(top, "out")
	must(t, os.Mkdir(out, 0o777))
	must(t, dev.Restore(t.Context(), providers.RestoreRequest{Dir: out, Warn: func(w string) { t.Errorf("warning %q", w) }}, art))
	want := attributes(t, src)
	for path, got := range attributes(t, out) {
		if got != want[path] {
			t.Errorf("%s: got %s\nwant %s", path, got, want[path])
		}
	}
	plain := unzip(t, art.Bytes(archiveName))
	others := t.TempDir()
	cmd := exec.Command("tar", "-xpf", "-", "--xattrs", "--xattrs-include=*", "--acls", "-C", others)
	cmd.Stdin = bytes.NewReader(plain)
	if msg, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("tar: %v: %s", err, msg)
	}
}

// TestHardLinkByInode has the content of an inode change after its first name was captured, as when the inode is freed and used again.
func TestHardLinkByInode(t *testing.T) {
	dir, out := t.TempDir(), t.TempDir()
	write(t, dir, "a1", "FIRST")
	must(t, os.WriteFile(filepath.Join(dir, "big"), []byte(noise(16<<20)), 0o644))
	must(t, os.Mkdir(filepath.Join(dir, "z"), 0o755))
	must(t, os.Link(filepath.Join(dir, "a1"), filepath.Join(dir, "z", "z1")))
	must(t, os.Link(filepath.Join(dir, "a1"), filepath.Join(dir, "z", "z2")))
	dev := openDevice(t, providers.Env{}, &files.Root{Name: "content", Path: dir})
	sink := &hookSink{hook: func() { write(t, dir, "z/z1", "OTHER") }}
	_, err := dev.Capture(t.Context(), export, sink)
	must(t, err)
	must(t, dev.Restore(t.Context(), providers.RestoreRequest{Dir: out}, &sink.Artifact))
	for path, want := range map[string]string{"a1": "FIRST", "z/z1": "OTHER", "z/z2": "OTHER"} {
		if got, err := os.ReadFile(filepath.Join(out, path)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v; want %q", path, got, err, want)
		}
	}
	one, err := os.Stat(filepath.Join(out, "z/z1"))
	must(t, err)
	two, err := os.Stat(filepath.Join(out, "z/z2"))
	must(t, err)
	if !os.SameFile(one, two) {
		t.Error("two names of one file became two files")
	}
}

// TestOwnersByName restores what belongs to users that have other numbers here.
func TestOwnersByName(t *testing.T) {
	asRoot(t)
	src := t.TempDir()
	write(t, src, "file", "x")
	run(t, src, "setfacl", "-m", "u:12345:r", "file")
	must(t, os.Chown(filepath.Join(src, "file"), 12345, 54321))
	dev := openDevice(t, providers.Env{}, &files.Root{Name: "content", Path: src})
	art, _ := capture(t, dev, export)
	// The same as if 12345 and 54321 had been called so where this was captured.
	lines := unzip(t, art.Bytes(listingName))
	named := renamed(t, unzip(t, art.Bytes(archiveName)), "nobody", "nogroup")
	lines = bytes.ReplaceAll(lines, []byte(`"gid":54321`), []byte(`"gid":54321,"acl_users":{"12345":"nobody"}`))
	art.Set(archiveName, zip(t, named))
	art.Set(listingName, zip(t, lines))
	for numeric, want := range map[bool]string{false: "65534:65534 u 65534", true: "12345:54321 u 12345"} {
		out := t.TempDir()
		must(t, dev.Restore(t.Context(), providers.RestoreRequest{Dir: out, NumericOwner: numeric}, art))
		var st unix.Stat_t
		must(t, unix.Stat(filepath.Join(out, "file"), &st))
		buf := make([]byte, 1000)
		n, err := unix.Getxattr(filepath.Join(out, "file"), attribute.AccessList, buf)
		must(t, err)
		xattrs, user := []attribute.Xattr{{Name: attribute.AccessList, Value: string(buf[:n])}}, uint32(0)
		attribute.IDs(xattrs, func(id uint32) uint32 { user = id; return id }, func(id uint32) uint32 { return id })
		if got := fmt.Sprintf("%d:%d u %d", st.Uid, st.Gid, user); got != want {
			t.Errorf("numeric %v: got %s, want %s", numeric, got, want)
		}
	}
}

// renamed gives every entry of an archive a user and a group of these names.
func renamed(t *testing.T, plain []byte, user, group string) []byte {
	t.Helper()
	for at := 0; at+512 <= len(plain); at += 512 {
		b := plain[at : at+512]
		if string(b[257:262]) != "ustar" || b[156] == 'x' {
			continue
		}
		copy(b[265:329], make([]byte, 64))
		copy(b[265:297], user)
		copy(b[297:329], group)
		sum := 8 * int(' ')
		for i, c := range b {
			if i < 148 || i >= 156 {
				sum += int(c)
			}
		}
		copy(b[148:156], fmt.Sprintf("%06o\x00 ", sum))
	}
	return plain
}

// bytesRead counts what this process ever read, holes too.
func bytesRead(t *testing.T) (n int64) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/io")
	must(t, err)
	_, err = fmt.Sscanf(string(text), "rchar: %d", &n)
	must(t, err)
	return n
}

// TestHolesCostNothing captures files that are far larger than what they hold.
func TestHolesCostNothing(t *testing.T) {
	src, out := t.TempDir(), t.TempDir()
	for name, size := range map[string]int64{"hole": 12 << 30, "small": 300 << 10, "end": 100 << 10, "data": 200 << 10} {
		f, err := os.Create(filepath.Join(src, name))
		must(t, err)
		if name != "hole" {
			_, err = f.WriteAt([]byte(strings.Repeat("x", 5000)), 90_000)
		}
		if name == "data" {
			_, err = f.WriteAt(make([]byte, size), 0)
		}
		must(t, errors.Join(err, f.Truncate(size), f.Close()))
	}
	dev := openDevice(t, providers.Env{}, &files.Root{Name: "content", Path: src})
	before := bytesRead(t)
	art, res := capture(t, dev, export)
	must(t, dev.Restore(t.Context(), providers.RestoreRequest{Dir: out}, art))
	if n := bytesRead(t) - before; n > 64<<20 {
		t.Errorf("%d bytes were read", n)
	}
	if res.Unpacked > 300<<10 {
		t.Errorf("a restore writes %d bytes", res.Unpacked)
	}
	for _, name := range []string{"hole", "small", "end", "data"} {
		var was, is unix.Stat_t
		must(t, errors.Join(unix.Stat(filepath.Join(src, name), &was), unix.Stat(filepath.Join(out, name), &is)))
		if is.Size != was.Size || is.Blocks > was.Blocks {
			t.Errorf("%s: %d bytes in %d blocks, was %d in %d", name, is.Size, is.Blocks, was.Size, was.Blocks)
		}
	}
	must(t, errors.Join(os.Remove(src+"/hole"), os.Remove(out+"/hole")))
	below := func(dir string) string {
		_, rest, _ := strings.Cut(describe(t, dir), "\n")
		return rest
	}
	if got, want := below(out), below(src); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	others := t.TempDir()
	cmd := exec.Command("tar", "-xpSf", "-", "--exclude", "hole", "-C", others)
	cmd.Stdin = bytes.NewReader(unzip(t, art.Bytes(archiveName)))
	if msg, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("tar: %v: %s", err, msg)
	}
	if got, want := below(others), below(src); got != want {
		t.Errorf("extracted by tar\ngot:\n%s\nwant:\n%s", got, want)
	}
}
