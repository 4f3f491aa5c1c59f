package config

import "strings"

// MatchPattern reports whether a name matches a pattern in IBM DPOD's form: *
// stands for any characters, also none, and may be anywhere; everything else,
// upper and lower case included, stands for itself.
func MatchPattern(pattern, name string) bool {
	head, rest, wild := strings.Cut(pattern, "*")
	if !wild {
		return pattern == name
	}
	if !strings.HasPrefix(name, head) {
		return false
	}
	name = name[len(head):]
	for {
		part, more, wild := strings.Cut(rest, "*")
		if !wild {
			return strings.HasSuffix(name, part)
		}
		i := strings.Index(name, part)
		if i < 0 {
			return false
		}
		name, rest = name[i+len(part):], more
	}
}
