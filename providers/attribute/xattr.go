package attribute

import (
	"bytes"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Xattr is an extended attribute.
type Xattr struct{ Name, Value string }

// MaxXattr is the size of the largest extended attribute, and of the longest list of names, that there can be: XATTR_SIZE_MAX and
// XATTR_LIST_MAX of Linux.
const MaxXattr = 64 << 10

// foreign are attributes that mean nothing on another file: the seal of a machine's own key.
func foreign(name string) bool { return name == "security.evm" }

// removable reports whether an attribute that is not wanted may go. A label of a security module cannot.
func removable(name string) bool {
	for _, prefix := range []string{"user.", "trusted.", "system.posix_acl_"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return name == "security.capability"
}

// Kind is the name of an attribute as far as people tell kinds apart: "user.*", but "security.ima".
func Kind(name string) string {
	space, _, _ := strings.Cut(name, ".")
	if space == "user" || space == "trusted" {
		return space + ".*"
	}
	return name
}

// Xattrs appends the extended attributes of an entry to found, sorted by name; buf, of MaxXattr bytes, is scratch space. A file
// system without them has none. Lost has the names of those that could not be read, or "all" when the list could not.
func Xattrs(e Entry, buf []byte, found []Xattr) (_ []Xattr, lost []string) {
	n, err := e.list(buf)
	if err != nil || n == 0 {
		if err != nil && err != unix.ENOTSUP && err != unix.ENOENT {
			lost = append(lost, "all")
		}
		return found, lost
	}
	from := len(found)
	for name := range strings.SplitSeq(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00") {
		size, err := e.get(name, buf)
		switch {
		case err == unix.ENODATA:
		case err != nil || foreign(name):
			lost = append(lost, name)
		default:
			found = append(found, Xattr{name, string(buf[:size])})
		}
	}
	slices.SortFunc(found[from:], func(a, b Xattr) int { return strings.Compare(a.Name, b.Name) })
	return found, lost
}

// setXattrs makes the attributes of an entry the wanted ones, but for those it gives the names of. Access lists come last: they
// may take the right to set the others away.
func (e Entry) setXattrs(want []Xattr) (lost []string, err error) {
	if err := e.removeXattrs(want); err != nil {
		return nil, err
	}
	for _, lists := range []bool{false, true} {
		for _, x := range want {
			if lists != isList(x.Name) {
				continue
			}
			switch err := e.set(x.Name, x.Value); {
			case err == nil:
			case e.refuses(err):
				lost = append(lost, x.Name)
			default:
				return lost, os.NewSyscallError("setxattr "+x.Name, err)
			}
		}
	}
	return lost, nil
}

func (e Entry) removeXattrs(want []Xattr) error {
	var small [1024]byte
	buf := small[:]
	n, err := e.list(buf)
	if err == unix.ERANGE {
		buf = make([]byte, MaxXattr)
		n, err = e.list(buf)
	}
	if err == unix.ENOTSUP || err == nil && n == 0 {
		return nil
	}
	if err != nil {
		return os.NewSyscallError("listxattr", err)
	}
	for raw := range bytes.SplitSeq(bytes.TrimSuffix(buf[:n], []byte{0}), []byte{0}) {
		name := string(raw)
		if !removable(name) || slices.ContainsFunc(want, func(x Xattr) bool { return x.Name == name }) {
			continue
		}
		if err := e.remove(name); err != nil && err != unix.ENODATA {
			return os.NewSyscallError("removexattr "+name, err)
		}
	}
	return nil
}

// refuses reports whether an error is about the attribute rather than about the medium: not known here, not allowed, too large.
// A file system also says ENOSPC when the attributes of one file get too many.
func (e Entry) refuses(err error) bool {
	switch err {
	case unix.ENOTSUP, unix.EPERM, unix.EACCES, unix.EINVAL, unix.E2BIG, unix.ERANGE:
		return true
	case unix.ENOSPC:
		var fs unix.Statfs_t
		return unix.Fstatfs(e.fd, &fs) == nil && fs.Bavail > 0
	}
	return false
}

func (e Entry) list(buf []byte) (int, error) {
	if e.name == "" {
		return unix.Flistxattr(e.fd, buf)
	}
	return unix.Llistxattr(e.path(), buf)
}

func (e Entry) get(name string, buf []byte) (int, error) {
	if e.name == "" {
		return unix.Fgetxattr(e.fd, name, buf)
	}
	return unix.Lgetxattr(e.path(), name, buf)
}

func (e Entry) set(name, value string) error {
	if e.name == "" {
		return unix.Fsetxattr(e.fd, name, []byte(value), 0)
	}
	return unix.Lsetxattr(e.path(), name, []byte(value), 0)
}

func (e Entry) remove(name string) error {
	if e.name == "" {
		return unix.Fremovexattr(e.fd, name)
	}
	return unix.Lremovexattr(e.path(), name)
}
