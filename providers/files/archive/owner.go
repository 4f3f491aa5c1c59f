package archive

import (
	"os/user"
	"strconv"
)

// ownerNames remembers the names of users and groups; those without a name have "".
type ownerNames struct{ users, groups map[uint32]string }

func newOwnerNames() ownerNames {
	return ownerNames{users: map[uint32]string{}, groups: map[uint32]string{}}
}

func (o ownerNames) set(e *entry) {
	name, ok := o.users[e.uid]
	if !ok {
		if u, err := user.LookupId(strconv.FormatUint(uint64(e.uid), 10)); err == nil {
			name = u.Username
		}
		o.users[e.uid] = name
	}
	e.user = name
	if name, ok = o.groups[e.gid]; !ok {
		if g, err := user.LookupGroupId(strconv.FormatUint(uint64(e.gid), 10)); err == nil {
			name = g.Name
		}
		o.groups[e.gid] = name
	}
	e.group = name
}
