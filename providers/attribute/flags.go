package attribute

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Flags are those of a file or directory that people set (chattr(1)); others say how a file system keeps it.
type Flags uint32

// As the kernel numbers them; include/uapi/linux/fs.h.
const (
	Immutable Flags = 0x10
	Append    Flags = 0x20 // writing goes on at the end only
	NoDump    Flags = 0x40 // backups leave it out
	NoAtime   Flags = 0x80

	kept = Immutable | Append | NoDump | NoAtime
)

// names are those of libarchive and star in archives.
var names = []struct {
	flag Flags
	name string
}{{Immutable, "schg"}, {Append, "sappnd"}, {NoDump, "nodump"}, {NoAtime, "noatime"}}

func (f Flags) String() string {
	var set []string
	for _, n := range names {
		if f&n.flag != 0 {
			set = append(set, n.name)
		}
	}
	return strings.Join(set, ",")
}

// ParseFlags reads the names that String gives; others are left out.
func ParseFlags(s string) (f Flags) {
	for name := range strings.SplitSeq(s, ",") {
		for _, n := range names {
			if name == n.name {
				f |= n.flag
			}
		}
	}
	return f
}

// FlagsOf reads the flags of an open file or directory; of a file system without flags, none. For anything else the call would
// go to a driver: do not ask.
func FlagsOf(fd int) Flags {
	all, err := unix.IoctlGetUint32(fd, unix.FS_IOC_GETFLAGS)
	if err != nil {
		return 0
	}
	return Flags(all) & kept
}

// SetFlags sets the flags of an open file or directory, and leaves those that say how a file system keeps it. It is the last thing
// done to an entry: an immutable file takes neither attributes nor another name, and an immutable directory no entry. Lost says
// that the file system does not know a flag, or that only root may set it. An error is an *os.SyscallError.
func SetFlags(fd int, want Flags) (lost bool, err error) {
	all, err := unix.IoctlGetUint32(fd, unix.FS_IOC_GETFLAGS)
	if err != nil {
		return want != 0, nil
	}
	if Flags(all)&kept == want {
		return false, nil
	}
	switch err := unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, int(all&^uint32(kept)|uint32(want))); err {
	case nil:
		return false, nil
	case unix.EPERM, unix.EOPNOTSUPP, unix.ENOTTY, unix.EINVAL:
		return true, nil
	default:
		return false, os.NewSyscallError("set flags", err)
	}
}
