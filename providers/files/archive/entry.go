package archive

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// What an entry is, as the listing calls it.
const (
	kindFile     = "file"
	kindDir      = "dir"
	kindSymlink  = "symlink"
	kindHardlink = "hardlink"
	kindFIFO     = "fifo"
	kindChar     = "char"
	kindBlock    = "block"
	kindSocket   = "socket"  // in the listing only
	kindSkipped  = "skipped" // in the listing only; the note says why
)

// entry is one name in a capture: the source of its tar header and of its line in the listing.
type entry struct {
	path        string // in the archive, without a leading or final slash; "." for the root of an export
	kind        string
	size        int64 // of regular files
	mode        uint32
	uid, gid    uint32
	user, group string
	mtime       unix.Timespec
	rdev        uint64 // of device nodes
	sum         [32]byte
	target      string // of links; of a hard link the path in the archive
	xattrs      []xattr
	sparse      bool
	note        string
	dev, ino    uint64
	linked      bool // has more names
}

type xattr struct{ name, value string }

// fromStat fills what a stat call tells.
func (e *entry) fromStat(st *unix.Stat_t) {
	*e = entry{
		path: e.path, xattrs: e.xattrs[:0],
		mode: st.Mode & 0o7777, uid: st.Uid, gid: st.Gid,
		mtime: st.Mtim, dev: uint64(st.Dev), ino: st.Ino,
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		e.kind, e.size = kindFile, st.Size
		e.linked = st.Nlink > 1
		e.sparse = st.Blocks*512 < st.Size
	case unix.S_IFDIR:
		e.kind = kindDir
	case unix.S_IFLNK:
		e.kind = kindSymlink
	case unix.S_IFIFO:
		e.kind = kindFIFO
	case unix.S_IFCHR:
		e.kind, e.rdev = kindChar, uint64(st.Rdev)
	case unix.S_IFBLK:
		e.kind, e.rdev = kindBlock, uint64(st.Rdev)
	default:
		e.kind = kindSocket
	}
}

// line is the form of an entry in the listing. Path and Target replace bytes
// that are not UTF-8; the raw fields then hold the true name.
type line struct {
	Path      string   `json:"path"`
	PathRaw   []byte   `json:"path_raw,omitempty"`
	Type      string   `json:"type"`
	Size      int64    `json:"size,omitempty"`
	Mode      string   `json:"mode,omitempty"` // octal
	UID       uint32   `json:"uid"`
	GID       uint32   `json:"gid"`
	User      string   `json:"user,omitempty"`
	Group     string   `json:"group,omitempty"`
	MTime     int64    `json:"mtime,omitempty"` // nanoseconds since 1970
	SHA256    string   `json:"sha256,omitempty"`
	Target    string   `json:"target,omitempty"`
	TargetRaw []byte   `json:"target_raw,omitempty"`
	Xattrs    []string `json:"xattrs,omitempty"`
	Sparse    bool     `json:"sparse,omitempty"`
	Note      string   `json:"note,omitempty"`
}

func (l *line) path() string {
	if l.PathRaw != nil {
		return string(l.PathRaw)
	}
	return l.Path
}

func (l *line) target() string {
	if l.TargetRaw != nil {
		return string(l.TargetRaw)
	}
	return l.Target
}

// inArchive reports whether the archive has an entry for the line.
func (l *line) inArchive() bool { return l.Type != kindSocket && l.Type != kindSkipped }

// appendLine appends the entry's line. It is written by hand because it runs once per file.
func (e *entry) appendLine(b []byte) []byte {
	b = append(b, `{"path":`...)
	b = appendString(b, e.path)
	b = appendRaw(b, `,"path_raw":"`, e.path)
	b = append(b, `,"type":"`...)
	b = append(b, e.kind...)
	b = append(b, '"')
	if e.kind == kindSkipped {
		b = append(b, `,"uid":0,"gid":0,"note":`...)
		b = appendString(b, e.note)
		return append(b, "}\n"...)
	}
	if e.size > 0 {
		b = append(b, `,"size":`...)
		b = strconv.AppendInt(b, e.size, 10)
	}
	b = append(b, `,"mode":"0`...)
	b = strconv.AppendUint(b, uint64(e.mode), 8)
	b = append(b, `","uid":`...)
	b = strconv.AppendUint(b, uint64(e.uid), 10)
	b = append(b, `,"gid":`...)
	b = strconv.AppendUint(b, uint64(e.gid), 10)
	if e.user != "" {
		b = append(b, `,"user":`...)
		b = appendString(b, e.user)
	}
	if e.group != "" {
		b = append(b, `,"group":`...)
		b = appendString(b, e.group)
	}
	b = append(b, `,"mtime":`...)
	b = strconv.AppendInt(b, time.Unix(e.mtime.Unix()).UnixNano(), 10)
	if e.kind == kindFile {
		b = append(b, `,"sha256":"`...)
		b = hex.AppendEncode(b, e.sum[:])
		b = append(b, '"')
	}
	if e.target != "" {
		b = append(b, `,"target":`...)
		b = appendString(b, e.target)
		b = appendRaw(b, `,"target_raw":"`, e.target)
	}
	for i, x := range e.xattrs {
		if i == 0 {
			b = append(b, `,"xattrs":[`...)
		} else {
			b = append(b, ',')
		}
		b = appendString(b, x.name)
		if i == len(e.xattrs)-1 {
			b = append(b, ']')
		}
	}
	if e.sparse {
		b = append(b, `,"sparse":true`...)
	}
	if e.note != "" {
		b = append(b, `,"note":`...)
		b = appendString(b, e.note)
	}
	return append(b, "}\n"...)
}

func appendRaw(b []byte, key, s string) []byte {
	if utf8.ValidString(s) {
		return b
	}
	b = append(b, key...)
	b = base64.StdEncoding.AppendEncode(b, []byte(s))
	return append(b, '"')
}

func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			quoted, err := json.Marshal(s)
			if err != nil { // json replaces what it cannot encode in a string
				return append(b, `""`...)
			}
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
