package attribute_test

import (
	"bytes"
	"encoding/binary"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/holdfast-dr/holdfast/providers/attribute"
)

func root(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
}

// acl makes the value of an access list that gives one user the rights.
func acl(user uint32, rights, group, mask uint16) string {
	b := binary.LittleEndian.AppendUint32(nil, 2)
	for _, e := range []struct {
		tag, perm uint16
		id        uint32
	}{{1, 6, ^uint32(0)}, {2, rights, user}, {4, group, ^uint32(0)}, {0x10, mask, ^uint32(0)}, {0x20, 0, ^uint32(0)}} {
		b = binary.LittleEndian.AppendUint16(b, e.tag)
		b = binary.LittleEndian.AppendUint16(b, e.perm)
		b = binary.LittleEndian.AppendUint32(b, e.id)
	}
	return string(b)
}

// kinds makes one entry of each kind in a directory, with what it takes of attributes.
var kinds = []struct {
	name   string
	make   func(path string) error
	mode   uint32
	xattrs []attribute.Xattr
}{
	{"file", func(p string) error { return os.WriteFile(p, nil, 0o600) }, unix.S_IFREG | 0o4660,
		[]attribute.Xattr{{"security.capability", "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"}, {attribute.AccessList, acl(12345, 4, 0, 6)}, {"trusted.k", "t"}, {"user.k", "u"}}},
	{"read only", func(p string) error { return os.WriteFile(p, nil, 0o600) }, unix.S_IFREG | 0o400, []attribute.Xattr{{"user.k", "u"}}},
	{"dir", func(p string) error { return os.Mkdir(p, 0o700) }, unix.S_IFDIR | 0o2750,
		[]attribute.Xattr{{attribute.DefaultList, acl(54321, 7, 5, 7)}, {"user.k", "u"}}},
	{"symlink", func(p string) error { return os.Symlink("nowhere", p) }, unix.S_IFLNK | 0o777, []attribute.Xattr{{"trusted.k", "t"}}},
	{"fifo", func(p string) error { return unix.Mkfifo(p, 0o600) }, unix.S_IFIFO | 0o660,
		[]attribute.Xattr{{attribute.AccessList, acl(12345, 6, 0, 6)}, {"trusted.k", "t"}}},
	{"device", func(p string) error { return unix.Mknod(p, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))) }, unix.S_IFCHR | 0o666,
		[]attribute.Xattr{{"trusted.k", "t"}}},
	{"socket", listen, unix.S_IFSOCK | 0o620, []attribute.Xattr{{"trusted.k", "t"}}},
}

func listen(path string) error {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return err
	}
	l.SetUnlinkOnClose(false)
	return l.Close()
}

// TestWhole sets the attributes of each kind of entry, made where a default access list gives a stranger rights.
func TestWhole(t *testing.T) {
	root(t)
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := unix.Setxattr(dir, attribute.DefaultList, []byte(acl(33333, 7, 7, 7)), 0); err != nil {
				t.Skip("no access lists here:", err)
			}
			path := filepath.Join(dir, kind.name)
			if err := kind.make(path); err != nil {
				t.Fatal(err)
			}
			d, err := os.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			want := attribute.Attributes{Mode: kind.mode, UID: 1234, GID: 4321, Mtime: unix.Timespec{Sec: -5, Nsec: 123}, Xattrs: kind.xattrs}
			entry := attribute.Named(int(d.Fd()), kind.name)
			same(t, entry, path, want)
			if mode := kind.mode & unix.S_IFMT; mode == unix.S_IFREG || mode == unix.S_IFDIR {
				f, err := os.Open(path)
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				same(t, attribute.Opened(int(f.Fd())), path, want)
				want.Xattrs = nil
				same(t, attribute.Opened(int(f.Fd())), path, want)
			}
			want.Xattrs = nil
			same(t, entry, path, want)
		})
	}
}

func same(t *testing.T, e attribute.Entry, path string, want attribute.Attributes) {
	t.Helper()
	if lost, err := attribute.Apply(e, &want); err != nil || lost.Any() {
		t.Fatalf("lost %+v, error %v", lost, err)
	}
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	got := attribute.Of(&st)
	got.Xattrs, _ = attribute.Xattrs(e, make([]byte, attribute.MaxXattr), nil)
	got.Xattrs = slices.DeleteFunc(got.Xattrs, func(x attribute.Xattr) bool { return x.Name == "security.selinux" })
	wantMode := want.Mode
	if got.Mode != wantMode || got.UID != want.UID || got.GID != want.GID || got.Mtime != want.Mtime || !slices.Equal(got.Xattrs, want.Xattrs) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

func TestListsThatCannotBeSet(t *testing.T) {
	root(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	// No file system takes a list without its owner's entry, so this is as on one without lists.
	whole := acl(12345, 7, 4, 7)
	broken := whole[:4] + whole[12:]
	lost, err := attribute.Apply(attribute.Opened(int(f.Fd())), &attribute.Attributes{
		Mode: unix.S_IFREG | 0o670, Xattrs: []attribute.Xattr{{attribute.AccessList, broken}},
	})
	if err != nil || !slices.Equal(lost.Xattrs, []string{attribute.AccessList}) {
		t.Fatalf("lost %+v, error %v", lost, err)
	}
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o640 {
		t.Errorf("the group has what the list gave to others: %v", info.Mode())
	}
}

func TestIDs(t *testing.T) {
	xattrs := []attribute.Xattr{{attribute.AccessList, acl(12345, 7, 4, 7)}, {"user.k", acl(12345, 7, 4, 7)}}
	attribute.IDs(xattrs, func(id uint32) uint32 { return id + 1 }, func(uint32) uint32 { return 0 })
	if xattrs[0].Value != acl(12346, 7, 4, 7) || xattrs[1].Value != acl(12345, 7, 4, 7) {
		t.Errorf("%q", xattrs)
	}
	attribute.IDs([]attribute.Xattr{{attribute.AccessList, "\x02"}}, nil, nil)
}

func TestFlags(t *testing.T) {
	root(t)
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fd := int(f.Fd())
	if lost, err := attribute.SetFlags(fd, attribute.NoDump); err != nil || lost {
		t.Skip("no flags here:", err)
	}
	for _, want := range []attribute.Flags{attribute.Immutable | attribute.NoDump, attribute.Append | attribute.NoAtime, 0} {
		lost, err := attribute.SetFlags(fd, want)
		if got := attribute.FlagsOf(fd); err != nil || lost || got != want {
			t.Errorf("got %q, want %q, lost %v, error %v", got, want, lost, err)
		}
	}
	null, err := os.Open("/proc/self/stat")
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if lost, err := attribute.SetFlags(int(null.Fd()), attribute.Immutable); err != nil || !lost {
		t.Errorf("a file system without flags: lost %v, error %v", lost, err)
	}
	all := attribute.Immutable | attribute.Append | attribute.NoDump | attribute.NoAtime
	if got := attribute.ParseFlags(all.String() + ",uarch"); got != all {
		t.Errorf("%q became %q", all, got)
	}
	if !bytes.Contains([]byte(all.String()), []byte("schg,sappnd,nodump")) {
		t.Errorf("other names than in other archives: %q", all)
	}
}
