package archive

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/holdfast-dr/holdfast/providers/attribute"
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
	kindRules    = "rules"   // in the listing only
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
	xattrs      []attribute.Xattr
	flags       attribute.Flags
	sparse      bool
	data        []segment // of a sparse file kept without its holes
	note        string
	incomplete  bool
	stat        unix.Stat_t
	linked      bool // has more names

	listUsers, listGroups map[uint32]string // names of those in access lists
}

// fromStat fills what a stat call tells.
func (e *entry) fromStat(st *unix.Stat_t) {
	*e = entry{
		path: e.path, xattrs: e.xattrs[:0],
		mode: st.Mode & 0o7777, uid: st.Uid, gid: st.Gid,
		mtime: st.Mtim, stat: *st,
	}
	e.linked = st.Nlink > 1 && st.Mode&unix.S_IFMT != unix.S_IFDIR
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		e.kind, e.size = kindFile, st.Size
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
	DataSum   string   `json:"data_sha256,omitempty"` // of a file kept without its holes: SHA-256 of its map and data in the archive
	Target    string   `json:"target,omitempty"`
	TargetRaw []byte   `json:"target_raw,omitempty"`
	Xattrs    []string `json:"xattrs,omitempty"`
	Flags     string   `json:"flags,omitempty"`
	Sparse    bool     `json:"sparse,omitempty"`
	Note      string   `json:"note,omitempty"`

	Incomplete bool   `json:"incomplete,omitempty"` // the file could not be read to its end, and is not put back
	Rules      *Rules `json:"rules,omitempty"`

	// Names of those that access lists name by number.
	ListUsers  map[uint32]string `json:"acl_users,omitempty"`
	ListGroups map[uint32]string `json:"acl_groups,omitempty"`
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
func (l *line) inArchive() bool {
	return l.Type != kindSocket && l.Type != kindSkipped && l.Type != kindRules
}

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
		key := `,"sha256":"`
		if e.data != nil {
			key = `,"data_sha256":"`
		}
		b = append(b, key...)
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
		b = appendString(b, x.Name)
		if i == len(e.xattrs)-1 {
			b = append(b, ']')
		}
	}
	if e.flags != 0 {
		b = append(b, `,"flags":`...)
		b = appendString(b, e.flags.String())
	}
	if e.sparse {
		b = append(b, `,"sparse":true`...)
	}
	if e.incomplete {
		b = append(b, `,"incomplete":true`...)
	}
	b = appendNames(b, `,"acl_users":`, e.listUsers)
	b = appendNames(b, `,"acl_groups":`, e.listGroups)
	if e.note != "" {
		b = append(b, `,"note":`...)
		b = appendString(b, e.note)
	}
	return append(b, "}\n"...)
}

func appendNames(b []byte, key string, names map[uint32]string) []byte {
	if len(names) == 0 {
		return b
	}
	text, err := json.Marshal(names)
	if err != nil { // it does not fail for such a map
		return b
	}
	return append(append(b, key...), text...)
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
