package language

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/holdfast-dr/holdfast/config/diag"
)

// version is major, minor and patch.
type version [3]int

// constraint is one part of a required_version: an operator and a version.
type constraint struct {
	op    string
	v     version
	parts int // how many numbers were written
}

var (
	versionPattern    = regexp.MustCompile(`^v?(\d{1,6})(?:\.(\d{1,6}))?(?:\.(\d{1,6}))?(?:[-+].*)?$`)
	constraintPattern = regexp.MustCompile(`^(>=|<=|>|<|!=|=|~>)?\s*(\d[\d.]*)$`)
)

// parseVersion reads "1", "1.2" or "v1.2.3-rc1" (what follows - or + is not looked at).
func parseVersion(s string) (v version, parts int, ok bool) {
	m := versionPattern.FindStringSubmatch(s)
	if m == nil {
		return v, 0, false
	}
	for i, text := range m[1:] {
		if text == "" {
			break
		}
		v[i], _ = strconv.Atoi(text) // at most six digits
		parts++
	}
	return v, parts, true
}

// parseConstraints reads ">= 0.1, < 2".
func parseConstraints(s string) ([]constraint, error) {
	var all []constraint
	for part := range strings.SplitSeq(s, ",") {
		m := constraintPattern.FindStringSubmatch(strings.TrimSpace(part))
		if m == nil {
			return nil, fmt.Errorf(`%s is not a version constraint; write for example ">= 0.1" or "~> 1.2"`, diag.Quote(s))
		}
		v, parts, ok := parseVersion(m[2])
		if !ok {
			return nil, fmt.Errorf(`%s is not a version constraint: %s is not a version; write for example ">= 0.1"`, diag.Quote(s), diag.Quote(m[2]))
		}
		all = append(all, constraint{m[1], v, parts})
	}
	return all, nil
}

func (c constraint) allows(v version) bool {
	order := 0
	for i := range v {
		if v[i] != c.v[i] {
			order = map[bool]int{true: -1, false: 1}[v[i] < c.v[i]]
			break
		}
	}
	switch c.op {
	case ">=":
		return order >= 0
	case "<=":
		return order <= 0
	case ">":
		return order > 0
	case "<":
		return order < 0
	case "!=":
		return order != 0
	case "~>": // the last number written may grow
		for i := range max(1, c.parts-1) {
			if v[i] != c.v[i] {
				return false
			}
		}
		return order >= 0
	}
	return order == 0
}

// Satisfies reports whether a binary's version meets a constraint. A version
// that is no number, such as that of a development build, meets all.
func Satisfies(required, have string) bool {
	v, _, ok := parseVersion(have)
	constraints, err := parseConstraints(required)
	if !ok || err != nil {
		return true
	}
	for _, c := range constraints {
		if !c.allows(v) {
			return false
		}
	}
	return true
}
