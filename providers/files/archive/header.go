package archive

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// Limits of the fixed fields of a ustar header; larger values go into PAX records.
const (
	block        = 512
	maxUstarName = 100
	maxUstarUser = 31
	maxUstarID   = 1<<21 - 1
	maxUstarSize = 1<<33 - 1
)

// Keys of PAX records that star and libarchive read, too.
const (
	recordXattr = "SCHILY.xattr."
	recordFlags = "SCHILY.fflags"
)

// tarWriter appends tar headers to byte slices (POSIX.1-2001 pax format). It is
// not archive/tar because headers are made by several readers at once, each into its own buffer.
type tarWriter struct {
	records []byte
	digits  []byte
}

// header appends the entry's header, with a PAX header before it where the fixed fields are too small.
func (t *tarWriter) header(b []byte, e *entry) []byte {
	name, target := e.path, e.target
	if e.kind == kindDir {
		name += "/"
	}
	t.records = t.records[:0]
	if !fits(name, maxUstarName) {
		t.record("path", name)
		name = cutASCII(name, maxUstarName)
	}
	if !fits(target, maxUstarName) {
		t.record("linkpath", target)
		target = cutASCII(target, maxUstarName)
	}
	user, group := e.user, e.group
	if !fits(user, maxUstarUser) {
		t.record("uname", user)
		user = ""
	}
	if !fits(group, maxUstarUser) {
		t.record("gname", group)
		group = ""
	}
	if e.data != nil { // GNU tar's format 1.0
		t.record("GNU.sparse.major", "1")
		t.record("GNU.sparse.minor", "0")
		t.record("GNU.sparse.name", e.path)
		t.number("GNU.sparse.realsize", e.size)
	}
	uid, gid, size, sec := uint64(e.uid), uint64(e.gid), uint64(e.stored()), e.mtime.Sec
	if uid > maxUstarID {
		t.number("uid", int64(uid))
		uid = 0
	}
	if gid > maxUstarID {
		t.number("gid", int64(gid))
		gid = 0
	}
	if size > maxUstarSize {
		t.number("size", int64(size))
		size = 0
	}
	if e.mtime.Nsec != 0 || sec < 0 || sec > maxUstarSize {
		t.mtime(e.mtime)
		sec = min(max(sec, 0), maxUstarSize)
	}
	for _, x := range e.xattrs {
		t.record(recordXattr+x.Name, x.Value)
	}
	if e.flags != 0 {
		t.record(recordFlags, e.flags.String())
	}
	if len(t.records) > 0 {
		b = fixed(b, "PaxHeaders/entry", 'x', 0o644, 0, 0, uint64(len(t.records)), 0, "", "", "", 0)
		b = append(b, t.records...)
		b = pad(b, int64(len(t.records)))
	}
	return fixed(b, name, typeFlag(e.kind), uint64(e.mode), uid, gid, size, uint64(sec), target, user, group, e.rdev)
}

func typeFlag(kind string) byte {
	switch kind {
	case kindHardlink:
		return '1'
	case kindSymlink:
		return '2'
	case kindChar:
		return '3'
	case kindBlock:
		return '4'
	case kindDir:
		return '5'
	case kindFIFO:
		return '6'
	}
	return '0'
}

// record appends "LENGTH KEY=VALUE\n", where LENGTH counts itself.
func (t *tarWriter) record(key, value string) {
	size := len(key) + len(value) + 3
	total := size + digits(size)
	if digits(total) != digits(size) {
		total = size + digits(total)
	}
	t.records = strconv.AppendInt(t.records, int64(total), 10)
	t.records = append(t.records, ' ')
	t.records = append(t.records, key...)
	t.records = append(t.records, '=')
	t.records = append(t.records, value...)
	t.records = append(t.records, '\n')
}

func (t *tarWriter) number(key string, n int64) {
	t.digits = strconv.AppendInt(t.digits[:0], n, 10)
	t.record(key, string(t.digits))
}

// mtime writes seconds and nanoseconds as one decimal number. Before 1970 the
// fraction counts towards zero: -1.25 is 250 ms before -1.
func (t *tarWriter) mtime(ts unix.Timespec) {
	sec, nsec := ts.Sec, ts.Nsec
	t.digits = t.digits[:0]
	if sec < 0 && nsec > 0 {
		sec, nsec = sec+1, 1e9-nsec
		if sec == 0 {
			t.digits = append(t.digits, '-')
		}
	}
	t.digits = strconv.AppendInt(t.digits, sec, 10)
	t.digits = append(t.digits, '.')
	frac := strconv.AppendInt(nil, 1e9+nsec, 10)
	t.digits = append(t.digits, frac[1:]...)
	t.record("mtime", string(t.digits))
}

func digits(n int) int {
	d := 1
	for ; n >= 10; n /= 10 {
		d++
	}
	return d
}

func fits(s string, most int) bool {
	if len(s) > most {
		return false
	}
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// cutASCII is what a reader without PAX support sees.
func cutASCII(s string, most int) string {
	b := make([]byte, 0, most)
	for i := 0; i < len(s) && len(b) < most; i++ {
		if s[i] < 0x80 {
			b = append(b, s[i])
		} else {
			b = append(b, '_')
		}
	}
	return string(b)
}

// fixed appends one ustar header block.
func fixed(b []byte, name string, flag byte, mode, uid, gid, size, mtime uint64, target, user, group string, rdev uint64) []byte {
	at := len(b)
	b = append(b, make([]byte, block)...)
	h := b[at : at+block]
	copy(h[0:100], name)
	octal(h[100:108], mode)
	octal(h[108:116], uid)
	octal(h[116:124], gid)
	octal(h[124:136], size)
	octal(h[136:148], mtime)
	h[156] = flag
	copy(h[157:257], target)
	copy(h[257:265], "ustar\x0000")
	copy(h[265:297], user)
	copy(h[297:329], group)
	if flag == '3' || flag == '4' {
		octal(h[329:337], uint64(unix.Major(rdev)))
		octal(h[337:345], uint64(unix.Minor(rdev)))
	}
	sum := uint64(8 * ' ')
	for _, c := range h {
		sum += uint64(c)
	}
	octal(h[148:155], sum)
	h[155] = ' '
	return b
}

// octal fills the field but for a final NUL.
func octal(field []byte, n uint64) {
	for i := len(field) - 2; i >= 0; i-- {
		field[i] = byte('0' + n&7)
		n >>= 3
	}
}

var zeros [64 << 10]byte

// pad appends zeros up to the next block after size bytes of content.
func pad(b []byte, size int64) []byte {
	return append(b, zeros[:padding(size)]...)
}

func padding(size int64) int64 { return -size & (block - 1) }
