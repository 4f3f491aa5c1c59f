package disk

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Space is what statfs says about the file system of an open directory.
func Space(dir *os.File) (free, total, inodes int64, err error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(dir.Fd()), &st); err != nil {
		return -1, -1, -1, &fs.PathError{Op: "statfs", Path: dir.Name(), Err: err}
	}
	unit := int64(st.Frsize)
	if unit == 0 {
		unit = int64(st.Bsize)
	}
	inodes = int64(st.Ffree)
	if st.Files == 0 {
		inodes = -1
	}
	return int64(st.Bavail) * unit, int64(st.Blocks) * unit, inodes, nil
}

var remoteTypes = map[string]bool{
	"nfs": true, "nfs4": true, "cifs": true, "smb3": true, "9p": true, "ceph": true, "glusterfs": true, "lustre": true, "afs": true,
	"fuse.sshfs": true, "fuse.glusterfs": true, "fuse.ceph": true, "fuse.rclone": true, "fuse.s3fs": true,
}

// Mounted reports whether an open directory, known as path, is a mount point,
// and whether it lies on a network file system.
func Mounted(dir *os.File, path string) (own, remote bool, err error) {
	point, fstype, err := mountOf(dir)
	if err != nil {
		own, err = otherDevice(dir, path)
		return own, false, err
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return false, false, err
	}
	return point == real, remoteTypes[fstype], nil
}

// mountOf finds the mount an open directory belongs to by the kernel's own
// number for it: paths would mislead where mounts lie over one another. A mount
// that is gone from the table has the empty mount point.
func mountOf(dir *os.File) (point, fstype string, err error) {
	fdinfo, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", dir.Fd()))
	if err != nil {
		return "", "", err
	}
	_, rest, found := bytes.Cut(fdinfo, []byte("mnt_id:"))
	if !found {
		return "", "", errors.New("the kernel does not tell mount numbers")
	}
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	id := string(bytes.TrimSpace(line))

	table, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "", "", err
	}
	defer table.Close()
	lines := bufio.NewScanner(table)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		mount, fsys, ok := strings.Cut(lines.Text(), " - ")
		fields, fsFields := strings.Fields(mount), strings.Fields(fsys)
		if ok && len(fields) > 4 && len(fsFields) > 0 && fields[0] == id {
			return unescapeMount(fields[4]), fsFields[0], nil
		}
	}
	return "", "", lines.Err()
}

// unescapeMount undoes the kernel's \ooo for space, tab, newline and backslash.
func unescapeMount(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// otherDevice is the older test for a mount point, for where /proc is not to be had.
func otherDevice(dir *os.File, path string) (bool, error) {
	self, err := dir.Stat()
	if err != nil {
		return false, err
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return false, err
	}
	parent, err := os.Stat(filepath.Dir(real))
	if err != nil {
		return false, err
	}
	a, okA := self.Sys().(*syscall.Stat_t)
	b, okB := parent.Sys().(*syscall.Stat_t)
	return okA && okB && a.Dev != b.Dev, nil
}
