package attribute

import (
	"os/user"
	"strconv"
)

// Names finds the names of users and groups, as far as this machine knows them. It asks once for each, and is for one goroutine.
type Names struct{ users, groups map[uint32]string }

// NewNames knows none yet.
func NewNames() Names { return Names{users: map[uint32]string{}, groups: map[uint32]string{}} }

// User gives the name of a user; empty: there is none.
func (n Names) User(id uint32) string {
	return nameOf(n.users, id, func(text string) string {
		if u, err := user.LookupId(text); err == nil {
			return u.Username
		}
		return ""
	})
}

// Group gives the name of a group; empty: there is none.
func (n Names) Group(id uint32) string {
	return nameOf(n.groups, id, func(text string) string {
		if g, err := user.LookupGroupId(text); err == nil {
			return g.Name
		}
		return ""
	})
}

func nameOf(seen map[uint32]string, id uint32, look func(string) string) string {
	name, ok := seen[id]
	if !ok {
		name = look(strconv.FormatUint(uint64(id), 10))
		seen[id] = name
	}
	return name
}

// Listed gives the names of those that access lists among the attributes name by number.
func (n Names) Listed(xattrs []Xattr) (users, groups map[uint32]string) {
	note := func(into *map[uint32]string, name func(uint32) string) func(uint32) uint32 {
		return func(id uint32) uint32 {
			if s := name(id); s != "" {
				if *into == nil {
					*into = map[uint32]string{}
				}
				(*into)[id] = s
			}
			return id
		}
	}
	IDs(xattrs, note(&users, n.User), note(&groups, n.Group))
	return users, groups
}

// Numbers finds the numbers that users and groups have on this machine. Who has no name, or one that is not known here, keeps the number, and
// so does root, as with tar and rsync. It is for one goroutine.
type Numbers struct {
	numeric       bool
	users, groups map[string]uint32
}

// NewNumbers finds numbers by name, or with numeric leaves all as they are.
func NewNumbers(numeric bool) *Numbers {
	return &Numbers{numeric: numeric, users: map[string]uint32{}, groups: map[string]uint32{}}
}

// Translate puts the numbers of this machine into attributes: those of the owner and group of these names, and of those that access lists
// name by number and that have names.
func (n *Numbers) Translate(a *Attributes, owner, group string, users, groups map[uint32]string) {
	if n.numeric {
		return
	}
	a.UID, a.GID = n.user(a.UID, owner), n.group(a.GID, group)
	if len(users)+len(groups) > 0 {
		IDs(a.Xattrs,
			func(id uint32) uint32 { return n.user(id, users[id]) },
			func(id uint32) uint32 { return n.group(id, groups[id]) })
	}
}

func (n *Numbers) user(id uint32, name string) uint32 {
	return numberOf(n.users, id, name, func() (string, error) {
		u, err := user.Lookup(name)
		if err != nil {
			return "", err
		}
		return u.Uid, nil
	})
}

func (n *Numbers) group(id uint32, name string) uint32 {
	return numberOf(n.groups, id, name, func() (string, error) {
		g, err := user.LookupGroup(name)
		if err != nil {
			return "", err
		}
		return g.Gid, nil
	})
}

// noNumber marks a name that is not known here.
const noNumber = ^uint32(0)

func numberOf(seen map[string]uint32, id uint32, name string, look func() (string, error)) uint32 {
	if name == "" || id == 0 {
		return id
	}
	here, ok := seen[name]
	if !ok {
		here = noNumber
		if text, err := look(); err == nil {
			if n, err := strconv.ParseUint(text, 10, 32); err == nil {
				here = uint32(n)
			}
		}
		seen[name] = here
	}
	if here == noNumber {
		return id
	}
	return here
}
