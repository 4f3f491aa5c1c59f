package archive

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"maps"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/holdfast-dr/holdfast/providers/attribute"
)

// FuzzTarReader compares the reader with archive/tar: on what the writer writes both see the same, on anything else neither more than that.
func FuzzTarReader(f *testing.F) {
	var w tarWriter
	long := strings.Repeat("long/", 50) + "ä"
	var whole []byte
	for _, e := range []entry{
		{path: "file", kind: kindFile, size: 5, mode: 0o4755, uid: 1, gid: 2, user: "root", group: "wheel", mtime: unix.Timespec{Sec: 3, Nsec: 4}},
		{path: long, kind: kindFile, size: 512, uid: 1 << 31, gid: 1<<32 - 1, user: strings.Repeat("u", 50), mtime: unix.Timespec{Sec: -1, Nsec: 250_000_000}},
		{path: "dir", kind: kindDir, mtime: unix.Timespec{Sec: 1 << 34}, xattrs: []attribute.Xattr{{Name: "user.a", Value: "\x00=\n"}}},
		{path: "link", kind: kindSymlink, target: long, mtime: unix.Timespec{Sec: -2, Nsec: 1}},
		{path: "hard", kind: kindHardlink, target: "file", flags: attribute.Immutable},
		{path: "null", kind: kindChar, rdev: unix.Mkdev(1, 3)},
	} {
		whole = w.header(whole, &e)
		whole = append(whole, make([]byte, e.size)...)
		whole = pad(whole, e.size)
	}
	whole = append(whole, make([]byte, 1024)...)
	f.Add(whole)
	f.Add(whole[:700])
	f.Fuzz(func(t *testing.T, b []byte) {
		ours, theirs := &tarReader{r: bytes.NewReader(b)}, tar.NewReader(bytes.NewReader(b))
		for {
			h, err := ours.Next()
			if err != nil {
				if bytes.Equal(b, whole) && err != io.EOF {
					t.Error(err)
				}
				if err != io.EOF && !errors.Is(err, tar.ErrHeader) && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("error %v", err)
				}
				return
			}
			want, err := theirs.Next()
			if err != nil || isSparse(h) {
				continue // archive/tar also looks at what is not read here, such as whether a name ends with a slash
			}
			switch {
			case h.Name != want.Name, h.Size != want.Size && want.Typeflag == tar.TypeReg, !h.ModTime.Equal(want.ModTime),
				!maps.Equal(h.PAXRecords, want.PAXRecords) && bytes.Equal(b, whole):
				t.Errorf("got %+v\nwant %+v", h, want)
			case h.Linkname != want.Linkname, h.Uid != want.Uid, h.Gid != want.Gid, h.Uname != want.Uname, h.Mode != want.Mode:
				t.Errorf("got %+v\nwant %+v", h, want)
			}
		}
	})
}

// FuzzSparseMap reads maps from anywhere: what is taken is what was written.
func FuzzSparseMap(f *testing.F) {
	f.Add(sparseMap([]segment{{0, 512}, {4096, 10}, {5000, 0}}), int64(5000), int64(522))
	f.Fuzz(func(t *testing.T, b []byte, size, data int64) {
		got, ok, err := readSparseMap(bytes.NewReader(b), size, int64(len(b))+data)
		if !ok || err != nil {
			return
		}
		e := entry{data: got}
		if e.dataSize() != data {
			t.Errorf("%v for %q", got, b)
		}
		for i, s := range got {
			if s.at+s.size > size || i > 0 && s.at < got[i-1].at+got[i-1].size {
				t.Errorf("%v in a file of %d bytes", got, size)
			}
		}
	})
}
