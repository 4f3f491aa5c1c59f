package config

import (
	"fmt"
	"regexp"
	"strings"
)

// Address names one declared object: "backup_plan.nightly", or
// `backup_plan.qa["eu"]` for an instance of a for_each block.
type Address string

// Kinds of objects, as they are written in configuration.
const (
	KindSite           = "site"
	KindDevice         = "device"
	KindStore          = "store"
	KindWindow         = "maintenance_window"
	KindFreeze         = "freeze"
	KindBackupPlan     = "backup_plan"
	KindRetention      = "retention"
	KindMirror         = "mirror"
	KindFailoverTarget = "failover_target"
	KindFailover       = "failover"
	KindSecret         = "secret"
)

// NewAddress builds an address; key is empty for a block without for_each.
func NewAddress(kind, name, key string) Address {
	if key == "" {
		return Address(kind + "." + name)
	}
	return Address(fmt.Sprintf("%s.%s[%q]", kind, name, key))
}

var addressPattern = regexp.MustCompile(`^[a-z_]+\.[A-Za-z_][A-Za-z0-9_-]*(\["(?:[^"\\]|\\.)*"\])?$`)

// ParseAddress checks the form of an address a person typed. It does not check
// that the object exists.
func ParseAddress(s string) (Address, error) {
	if !addressPattern.MatchString(s) {
		return "", fmt.Errorf("%q is not an address; write for example backup_plan.nightly or backup_plan.qa[\"eu\"]", s)
	}
	return Address(s), nil
}

// Kind is the part before the first dot.
func (a Address) Kind() string {
	kind, _, _ := strings.Cut(string(a), ".")
	return kind
}

// Name is the part after the first dot, with the for_each key if there is one.
func (a Address) Name() string {
	_, name, _ := strings.Cut(string(a), ".")
	return name
}

// Block is the address of the declaring block: the address without its for_each key.
func (a Address) Block() Address {
	block, _, _ := strings.Cut(string(a), "[")
	return Address(block)
}
