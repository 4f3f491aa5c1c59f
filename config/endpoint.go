package config

import "strings"

// Roles of a failover that a mirror can follow.
const (
	RoleActive  = "active"
	RoleStandby = "standby"
)

// RoleEndpoint reads one side of a mirror that follows a role,
// "failover.orders.active". False means that the side is a URL.
func RoleEndpoint(side string) (failover Address, role string, ok bool) {
	i := strings.LastIndexByte(side, '.')
	if i < 0 || !strings.HasPrefix(side, KindFailover+".") {
		return "", "", false
	}
	role = side[i+1:]
	return Address(side[:i]), role, role == RoleActive || role == RoleStandby
}
