package files

import (
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"
)

type inode struct{ dev, ino uint64 }

func inodeOf(st *unix.Stat_t) inode { return inode{uint64(st.Dev), st.Ino} }

// ownFiles are holdfast's own open files. Opening and closing one of them in
// this process would drop the POSIX locks SQLite holds on it, so they are told
// by device and inode, under any name, before anything is opened. The files
// SQLite makes beside a database come and go, so these are also told by name in their directory.
type ownFiles struct {
	inodes map[inode]bool
	names  map[ownName]bool
}

type ownName struct {
	dir  inode
	name string
}

var siblings = []string{"", "-wal", "-shm", "-journal"}

func findOwnFiles(protected []string) (ownFiles, error) {
	own := ownFiles{inodes: map[inode]bool{}, names: map[ownName]bool{}}
	for _, path := range protected {
		for _, p := range namesOf(path) {
			dir, base := filepath.Split(p)
			if dir == "" {
				dir = "."
			}
			var parent, st unix.Stat_t
			switch err := unix.Stat(dir, &parent); err {
			case nil:
			case unix.ENOENT, unix.ENOTDIR:
				continue
			default:
				return own, fmt.Errorf("find own file %s: %w", p, err)
			}
			for _, s := range siblings {
				own.names[ownName{inodeOf(&parent), base + s}] = true
				switch err := unix.Stat(p+s, &st); err {
				case nil:
					own.inodes[inodeOf(&st)] = true
				case unix.ENOENT, unix.ENOTDIR:
				default:
					return own, fmt.Errorf("find own file %s: %w", p+s, err)
				}
			}
		}
	}
	return own, nil
}

// namesOf gives the path and, for a symbolic link, what it leads to: SQLite
// puts its other files beside the real one.
func namesOf(path string) []string {
	real, err := filepath.EvalSymlinks(path)
	if err != nil || real == filepath.Clean(path) {
		return []string{path}
	}
	return []string{path, real}
}

func (o ownFiles) has(dir inode, name string, st *unix.Stat_t) bool {
	return o.inodes[inodeOf(st)] || o.names[ownName{dir, name}]
}
