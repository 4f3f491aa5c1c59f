package opened

import (
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// InodeOf names the file that a stat call told of.
func InodeOf(st *unix.Stat_t) Inode { return Inode{uint64(st.Dev), st.Ino} }

// Own are holdfast's own open files. Opening and closing one of them in
// this process would drop the POSIX locks SQLite holds on it, so they are told
// by device and inode, under any name, before anything is opened. The files
// SQLite makes beside a database come and go, so these are also told by name in their directory.
type Own struct {
	inodes map[Inode]bool
	names  map[ownName]bool
}

type ownName struct {
	dir  Inode
	name string
}

var siblings = []string{"", "-wal", "-shm", "-journal"}

// FindOwn finds the files of the databases at these paths. What is not there yet is known by its name.
func FindOwn(protected []string) (Own, error) {
	own := Own{inodes: map[Inode]bool{}, names: map[ownName]bool{}}
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
				own.names[ownName{InodeOf(&parent), base + s}] = true
				switch err := unix.Stat(p+s, &st); err {
				case nil:
					own.inodes[InodeOf(&st)] = true
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

// Has reports whether a name in a directory, or what st says of it, is one of them.
func (o Own) Has(dir Inode, name string, st *unix.Stat_t) bool {
	return o.inodes[InodeOf(st)] || o.names[ownName{dir, name}]
}
