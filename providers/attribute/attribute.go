// Package attribute reads and sets what an entry of a file system carries besides its name and content: owner, mode,
// times, access lists and other extended attributes (xattr(7), acl(5)), and flags (ioctl_iflags(2)).
//
// Who creates an entry calls Apply for it, which sets the whole or tells what is lost. What the kernel put there goes: a new entry
// inherits the default access list of its directory, and with it rights that the original never gave.
package attribute

import (
	"os"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Attributes is what an entry carries. Of a hard link all names carry the same.
type Attributes struct {
	Mode     uint32 // type and permissions, as stat tells them
	UID, GID uint32
	Mtime    unix.Timespec
	Xattrs   []Xattr // sorted by name
	Flags    Flags
}

// Of gives what a stat call tells.
func Of(st *unix.Stat_t) Attributes {
	return Attributes{Mode: st.Mode, UID: st.Uid, GID: st.Gid, Mtime: st.Mtim}
}

// Entry is where an entry is: an open descriptor, or a name in an open directory, which is not followed. The name reaches what
// cannot be opened, or should not be: symbolic links, fifos, sockets, devices.
type Entry struct {
	fd   int
	name string
}

// Opened is the file or directory of a descriptor that is open for reading or writing.
func Opened(fd int) Entry { return Entry{fd: fd} }

// Named is an entry of an open directory.
func Named(dir int, name string) Entry { return Entry{dir, name} }

// path names a named entry for calls that take no directory.
func (e Entry) path() string { return procPath(e.fd) + "/" + e.name }

func procPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// Lost is what Apply could not set. Xattrs has names.
type Lost struct {
	Owner  bool // only root can set it, or the file system has none
	Bits   bool // setuid and setgid, which would serve another owner than the one they were meant for
	Xattrs []string
}

// Any reports whether anything was lost.
func (l Lost) Any() bool { return l.Owner || l.Bits || len(l.Xattrs) > 0 }

const setID = unix.S_ISUID | unix.S_ISGID

// Apply sets owner, mode, extended attributes and time, and takes away the extended attributes that are there and not wanted, in
// the order in which none undoes another: a change of owner clears setuid bits and capabilities, and an access list changes the
// mode. Flags come last of all: see SetFlags. An error is one of *os.SyscallError.
func Apply(e Entry, want *Attributes) (lost Lost, err error) {
	if lost.Owner, err = e.chown(want); err != nil {
		return lost, os.NewSyscallError("chown", err)
	}
	if lost.Xattrs, err = e.setXattrs(want.Xattrs); err != nil {
		return lost, err
	}
	mode := want.Mode & 0o7777
	if lost.Owner && mode&setID != 0 {
		mode &^= setID
		lost.Bits = true
	}
	for _, name := range lost.Xattrs {
		if name == AccessList {
			mode = withoutList(mode, want.Xattrs)
		}
	}
	if want.Mode&unix.S_IFMT != unix.S_IFLNK {
		if err := e.chmod(mode); err != nil {
			return lost, os.NewSyscallError("chmod", err)
		}
	}
	return lost, SetTime(e, want.Mtime)
}

// chown reports that the owner stays another one.
func (e Entry) chown(want *Attributes) (lost bool, err error) {
	if unix.Geteuid() != 0 {
		var st unix.Stat_t
		if err := e.stat(&st); err != nil {
			return false, err
		}
		return st.Uid != want.UID || st.Gid != want.GID, nil
	}
	if e.name == "" {
		err = unix.Fchown(e.fd, int(want.UID), int(want.GID))
	} else {
		err = unix.Fchownat(e.fd, e.name, int(want.UID), int(want.GID), unix.AT_SYMLINK_NOFOLLOW)
	}
	switch err {
	case unix.EPERM, unix.EINVAL, unix.EOPNOTSUPP: // not ours to give, not known in this user namespace, no owners at all
		return true, nil
	}
	return false, err
}

func (e Entry) stat(st *unix.Stat_t) error {
	if e.name == "" {
		return unix.Fstat(e.fd, st)
	}
	return unix.Fstatat(e.fd, e.name, st, unix.AT_SYMLINK_NOFOLLOW)
}

func (e Entry) chmod(mode uint32) error {
	if e.name == "" {
		return unix.Fchmod(e.fd, mode)
	}
	fd, err := unix.Openat(e.fd, e.name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Chmod(procPath(fd), mode) // of a symbolic link that took its place: EOPNOTSUPP
}

// SetTime sets the time of the last change of the content. An error is an *os.SyscallError.
func SetTime(e Entry, mtime unix.Timespec) error {
	times := [2]unix.Timespec{{Nsec: unix.UTIME_OMIT}, mtime}
	if e.name != "" {
		return os.NewSyscallError("utimensat", unix.UtimesNanoAt(e.fd, e.name, times[:], unix.AT_SYMLINK_NOFOLLOW))
	}
	// Without a name, which the wrapper cannot pass, the call is about the descriptor: futimens(3).
	_, _, errno := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(e.fd), 0, uintptr(unsafe.Pointer(&times)), 0, 0, 0)
	if errno != 0 {
		return os.NewSyscallError("utimensat", errno)
	}
	return nil
}
