package archive

import (
	"os/user"
	"strconv"

	"github.com/holdfast-dr/holdfast/providers/attribute"
)

// ownerNames remembers the names of users and groups; those without a name have "".
type ownerNames struct{ users, groups map[uint32]string }

func newOwnerNames() ownerNames {
	return ownerNames{users: map[uint32]string{}, groups: map[uint32]string{}}
}

func (o ownerNames) set(e *entry) { e.user, e.group = o.user(e.uid), o.group(e.gid) }

func (o ownerNames) user(id uint32) string {
	name, ok := o.users[id]
	if !ok {
		if u, err := user.LookupId(strconv.FormatUint(uint64(id), 10)); err == nil {
			name = u.Username
		}
		o.users[id] = name
	}
	return name
}

func (o ownerNames) group(id uint32) string {
	name, ok := o.groups[id]
	if !ok {
		if g, err := user.LookupGroupId(strconv.FormatUint(uint64(id), 10)); err == nil {
			name = g.Name
		}
		o.groups[id] = name
	}
	return name
}

// setListed names those that the entry's access lists name by number.
func (o ownerNames) setListed(e *entry) {
	note := func(into *map[uint32]string, name func(uint32) string) func(uint32) uint32 {
		return func(id uint32) uint32 {
			if n := name(id); n != "" {
				if *into == nil {
					*into = map[uint32]string{}
				}
				(*into)[id] = n
			}
			return id
		}
	}
	attribute.IDs(e.xattrs, note(&e.listUsers, o.user), note(&e.listGroups, o.group))
}

// owners finds the numbers that names have here. Who has no name in the artifact, or none here, keeps the number, and so does root, as
// with tar and rsync.
type owners struct {
	numeric       bool
	users, groups map[string]uint32 // as far as they were asked for
}

func newOwners(numeric bool) *owners {
	return &owners{numeric: numeric, users: map[string]uint32{}, groups: map[string]uint32{}}
}

// translate puts the numbers of this machine into a node.
func (o *owners) translate(n *node, user, group string, l *line) {
	if o.numeric {
		return
	}
	n.UID, n.GID = o.user(n.UID, user), o.group(n.GID, group)
	if len(l.ListUsers)+len(l.ListGroups) > 0 {
		attribute.IDs(n.Xattrs,
			func(id uint32) uint32 { return o.user(id, l.ListUsers[id]) },
			func(id uint32) uint32 { return o.group(id, l.ListGroups[id]) })
	}
}

func (o *owners) user(id uint32, name string) uint32 {
	return known(o.users, id, name, func() (string, error) {
		u, err := user.Lookup(name)
		if err != nil {
			return "", err
		}
		return u.Uid, nil
	})
}

func (o *owners) group(id uint32, name string) uint32 {
	return known(o.groups, id, name, func() (string, error) {
		g, err := user.LookupGroup(name)
		if err != nil {
			return "", err
		}
		return g.Gid, nil
	})
}

// known gives the number of a name, which it looks up once.
func known(seen map[string]uint32, id uint32, name string, look func() (string, error)) uint32 {
	if name == "" || id == 0 {
		return id
	}
	if here, ok := seen[name]; ok {
		return here
	}
	if text, err := look(); err == nil {
		if here, err := strconv.ParseUint(text, 10, 32); err == nil {
			seen[name] = uint32(here)
			return uint32(here)
		}
	}
	return id
}
