package archive

import (
	"archive/tar"
	"bytes"
	"io"
	"strconv"
	"strings"
	"time"
)

// maxRecords bounds the PAX records of one entry.
const maxRecords = 4 << 20

// tarReader reads what tarWriter writes. It is not archive/tar because that gives the holes of sparse files as zeros, terabytes of them: here
// the content of an entry is what stands in the archive. Damage is tar.ErrHeader or io.ErrUnexpectedEOF.
type tarReader struct {
	r      io.Reader
	left   int64 // of the entry's content
	padded int64 // of zeros after it
}

// Next skips what is left of an entry and gives the next one, of which Size is that of the content in the archive; io.EOF at the end.
func (t *tarReader) Next() (*tar.Header, error) {
	if err := t.skip(t.left + t.padded); err != nil {
		return nil, err
	}
	t.left, t.padded = 0, 0
	var records map[string]string
	for {
		var b [block]byte
		if _, err := io.ReadFull(t.r, b[:]); err != nil {
			return nil, unexpected(err)
		}
		if b == [block]byte{} && records == nil {
			return nil, t.end()
		}
		h, err := parseHeader(&b)
		if err != nil {
			return nil, err
		}
		if h.Typeflag == tar.TypeXHeader {
			if records != nil || h.Size > maxRecords {
				return nil, tar.ErrHeader
			}
			if records, err = t.records(h.Size); err != nil {
				return nil, err
			}
			continue
		}
		if err := merge(h, records); err != nil {
			return nil, err
		}
		t.left, t.padded = h.Size, padding(h.Size)
		return h, nil
	}
}

// Read reads the content of the entry.
func (t *tarReader) Read(b []byte) (int, error) {
	if t.left == 0 {
		return 0, io.EOF
	}
	n, err := t.r.Read(b[:min(int64(len(b)), t.left)])
	t.left -= int64(n)
	if t.left == 0 && err == io.EOF {
		err = nil
	}
	return n, unexpected(err)
}

func (t *tarReader) skip(n int64) error {
	_, err := io.CopyN(io.Discard, t.r, n)
	return unexpected(err)
}

// end reads the second of the empty blocks that end an archive.
func (t *tarReader) end() error {
	var b [block]byte
	if _, err := io.ReadFull(t.r, b[:]); err != nil {
		return unexpected(err)
	}
	if b != [block]byte{} {
		return tar.ErrHeader
	}
	return io.EOF
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func parseHeader(b *[block]byte) (*tar.Header, error) {
	sum, stored := uint64(8*' '), b[148:156]
	for i, c := range b {
		if i < 148 || i >= 156 {
			sum += uint64(c)
		}
	}
	p := &fields{b: b}
	h := &tar.Header{
		Name: p.text(0, 100), Mode: p.number(100, 108), Uid: int(p.number(108, 116)), Gid: int(p.number(116, 124)), Size: p.number(124, 136),
		ModTime: time.Unix(p.number(136, 148), 0), Typeflag: b[156], Linkname: p.text(157, 257), Uname: p.text(265, 297), Gname: p.text(297, 329),
	}
	if p.bad || !bytes.Equal(b[257:265], []byte("ustar\x0000")) || octalOf(stored) != int64(sum) {
		return nil, tar.ErrHeader
	}
	return h, nil
}

// fields reads the fixed fields of a header.
type fields struct {
	b   *[block]byte
	bad bool
}

func (f *fields) text(from, to int) string {
	text, _, _ := bytes.Cut(f.b[from:to], []byte{0})
	return string(text)
}

func (f *fields) number(from, to int) int64 {
	n := octalOf(f.b[from:to])
	f.bad = f.bad || n < 0
	return n
}

// octalOf reads the digits before a NUL or a space; -1 when it is no number.
func octalOf(b []byte) int64 {
	text := strings.Trim(string(b), " \x00")
	if text == "" {
		return 0
	}
	n, err := strconv.ParseInt(text, 8, 64)
	if err != nil || n < 0 {
		return -1
	}
	return n
}

// records reads PAX records, "LENGTH KEY=VALUE\n" each, where LENGTH counts itself.
func (t *tarReader) records(size int64) (map[string]string, error) {
	b := make([]byte, size)
	if _, err := io.ReadFull(t.r, b); err != nil {
		return nil, unexpected(err)
	}
	if err := t.skip(padding(size)); err != nil {
		return nil, err
	}
	records := map[string]string{}
	for len(b) > 0 {
		length, _, found := bytes.Cut(b[:min(len(b), 20)], []byte{' '})
		n, err := strconv.ParseUint(string(length), 10, 31)
		if !found || err != nil || int(n) > len(b) || int(n) < len(length)+3 || b[n-1] != '\n' {
			return nil, tar.ErrHeader
		}
		key, value, found := strings.Cut(string(b[len(length)+1:n-1]), "=")
		if !found || key == "" {
			return nil, tar.ErrHeader
		}
		records[key] = value
		b = b[n:]
	}
	return records, nil
}

// merge puts PAX records in the place of the fixed fields that they are too large for.
func merge(h *tar.Header, records map[string]string) error {
	h.PAXRecords = records
	for key, value := range records {
		var err error
		switch key {
		case "path", "GNU.sparse.name":
			h.Name = value
		case "linkpath":
			h.Linkname = value
		case "uname":
			h.Uname = value
		case "gname":
			h.Gname = value
		case "uid":
			h.Uid, err = strconv.Atoi(value)
		case "gid":
			h.Gid, err = strconv.Atoi(value)
		case "size":
			h.Size, err = strconv.ParseInt(value, 10, 64)
		case "mtime":
			h.ModTime, err = parseTime(value)
		}
		if err != nil || h.Size < 0 || h.Size > 1<<62 {
			return tar.ErrHeader
		}
	}
	if name, ok := records["GNU.sparse.name"]; ok { // which "path" names otherwise
		h.Name = name
	}
	return nil
}

// parseTime reads what tarWriter.mtime writes.
func parseTime(s string) (time.Time, error) {
	whole, fraction, _ := strings.Cut(s, ".")
	sec, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || len(fraction) > 9 {
		return time.Time{}, tar.ErrHeader
	}
	nsec, err := strconv.ParseUint((fraction + "000000000")[:9], 10, 32)
	if err != nil {
		return time.Time{}, tar.ErrHeader
	}
	if strings.HasPrefix(whole, "-") {
		return time.Unix(sec, -int64(nsec)), nil
	}
	return time.Unix(sec, int64(nsec)), nil
}
