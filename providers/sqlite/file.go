package sqlite

import (
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/attribute"
)

// carried is what the file of a database carries besides its content.
type carried struct {
	Mode       string            `json:"mode"` // octal
	UID        uint32            `json:"uid"`
	GID        uint32            `json:"gid"`
	User       string            `json:"user,omitempty"`
	Group      string            `json:"group,omitempty"`
	Xattrs     map[string][]byte `json:"xattrs,omitempty"`
	ListUsers  map[uint32]string `json:"acl_users,omitempty"` // names of those that access lists name by number
	ListGroups map[uint32]string `json:"acl_groups,omitempty"`
}

// look reads what a database carries, without opening it, which SQLite would not survive.
func look(path string) (*carried, error) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, err
	}
	var c *carried
	err = inDir(real, func(at attribute.Entry, st *unix.Stat_t) error {
		names := attribute.NewNames()
		c = &carried{
			Mode: "0" + strconv.FormatUint(uint64(st.Mode&0o7777), 8), UID: st.Uid, GID: st.Gid,
			User: names.User(st.Uid), Group: names.Group(st.Gid),
		}
		xattrs, _ := attribute.Xattrs(at, make([]byte, attribute.MaxXattr), nil)
		for _, x := range xattrs {
			if c.Xattrs == nil {
				c.Xattrs = map[string][]byte{}
			}
			c.Xattrs[x.Name] = []byte(x.Value)
		}
		c.ListUsers, c.ListGroups = names.Listed(xattrs)
		return nil
	})
	return c, err
}

// give makes a restored database carry the same. Older artifacts do not tell.
func (c *carried) give(path string, req providers.RestoreRequest) error {
	if c == nil {
		return nil
	}
	mode, err := strconv.ParseUint(c.Mode, 8, 12)
	if err != nil {
		return providers.ErrCorrupt
	}
	want := attribute.Attributes{Mode: uint32(mode) | unix.S_IFREG, UID: c.UID, GID: c.GID}
	for name, value := range c.Xattrs {
		want.Xattrs = append(want.Xattrs, attribute.Xattr{Name: name, Value: string(value)})
	}
	attribute.NewNumbers(req.NumericOwner).Translate(&want, c.User, c.Group, c.ListUsers, c.ListGroups)
	return inDir(path, func(at attribute.Entry, st *unix.Stat_t) error {
		want.Mtime = st.Mtim
		lost, err := attribute.Apply(at, &want)
		if lost.Owner {
			req.Warnf("%s has another owner or group than it had: only root can set it, where the file system has it", filepath.Base(path))
		}
		for _, name := range lost.Xattrs {
			req.Warnf("the extended attribute %s of %s was not restored: the file system or the kernel does not take it", name, filepath.Base(path))
		}
		return err
	})
}

// inDir does something to an entry by way of its directory.
func inDir(path string, do func(attribute.Entry, *unix.Stat_t) error) error {
	dir, err := unix.Open(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	var st unix.Stat_t
	if err := unix.Fstatat(dir, filepath.Base(path), &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	return do(attribute.Named(dir, filepath.Base(path)), &st)
}
