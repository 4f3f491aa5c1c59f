package archive

import (
	"strings"

	"golang.org/x/sys/unix"
)

// Extended attributes larger than this do not exist on Linux (XATTR_SIZE_MAX, XATTR_LIST_MAX).
const maxXattr = 64 << 10

// maxXattrs bounds all of one file's, so that readers of the archive take its PAX header.
const maxXattrs = 512 << 10

// keepXattr reports whether an attribute belongs to the file rather than to the machine.
func keepXattr(name string) bool {
	switch name {
	case "security.capability", "system.posix_acl_access", "system.posix_acl_default":
		return true
	}
	return strings.HasPrefix(name, "user.")
}

// readXattrs appends the attributes of an open file, sorted by name. A file
// system without them has none. Lost names those that could not be read.
func readXattrs(fd int, buf []byte, attrs []xattr) (found []xattr, lost []string) {
	n, err := unix.Flistxattr(fd, buf)
	if err != nil || n == 0 {
		if err != nil && err != unix.ENOTSUP {
			lost = append(lost, "all")
		}
		return attrs, lost
	}
	total := 0
	for name := range strings.SplitSeq(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00") {
		if !keepXattr(name) {
			continue
		}
		size, err := unix.Fgetxattr(fd, name, buf)
		switch {
		case err == unix.ENODATA:
		case err != nil || strings.Contains(name, "=") || total+size > maxXattrs: // a PAX key ends at the first =
			lost = append(lost, name)
		default:
			total += size
			attrs = insertXattr(attrs, xattr{name, string(buf[:size])})
		}
	}
	return attrs, lost
}

func insertXattr(attrs []xattr, x xattr) []xattr {
	attrs = append(attrs, x)
	for i := len(attrs) - 1; i > 0 && attrs[i-1].name > x.name; i-- {
		attrs[i-1], attrs[i] = attrs[i], attrs[i-1]
	}
	return attrs
}
