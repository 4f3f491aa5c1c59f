package attribute

import (
	"encoding/binary"
	"strings"
)

// The attributes that hold access lists: that of the entry, and of a directory that of what is made in it.
const (
	AccessList  = "system.posix_acl_access"
	DefaultList = "system.posix_acl_default"
)

func isList(name string) bool { return strings.HasPrefix(name, "system.") }

// The form of an access list in an attribute, little-endian: a version, then entries of tag, permissions and ID
// (include/uapi/linux/posix_acl_xattr.h).
const (
	listHead  = 4
	listEntry = 8

	tagUser     = 0x02 // named
	tagGroupObj = 0x04
	tagGroup    = 0x08 // named
	tagMask     = 0x10
)

// entries calls f with the tag, permissions and ID of each entry of a list.
func entries(list []byte, f func(tag, perm uint16, id []byte)) {
	for b := list[min(listHead, len(list)):]; len(b) >= listEntry; b = b[listEntry:] {
		f(binary.LittleEndian.Uint16(b), binary.LittleEndian.Uint16(b[2:]), b[4:listEntry])
	}
}

// IDs calls user and group with the numbers that the access lists among the attributes name, and puts what they give in the place.
func IDs(xattrs []Xattr, user, group func(uint32) uint32) {
	for i := range xattrs {
		if x := &xattrs[i]; x.Name == AccessList || x.Name == DefaultList {
			list := []byte(x.Value)
			entries(list, func(tag, _ uint16, id []byte) {
				switch tag {
				case tagUser:
					binary.LittleEndian.PutUint32(id, user(binary.LittleEndian.Uint32(id)))
				case tagGroup:
					binary.LittleEndian.PutUint32(id, group(binary.LittleEndian.Uint32(id)))
				}
			})
			x.Value = string(list)
		}
	}
}

// withoutList gives the mode of an entry that cannot have its access list. With one, the group's part of the mode is the most that
// anybody named in the list has; without it that would be what the group has.
func withoutList(mode uint32, xattrs []Xattr) uint32 {
	group, mask := uint32(0o7), uint32(0o7)
	for _, x := range xattrs {
		if x.Name == AccessList {
			entries([]byte(x.Value), func(tag, perm uint16, _ []byte) {
				switch tag {
				case tagGroupObj:
					group = uint32(perm)
				case tagMask:
					mask = uint32(perm)
				}
			})
		}
	}
	return mode & (^uint32(0o070) | (group&mask)<<3)
}
