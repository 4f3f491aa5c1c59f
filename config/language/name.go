package language

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"

	"github.com/holdfast-dr/holdfast/config/diag"
)

// Limits on names.
const (
	MaxName      = 64     // bytes
	MaxKey       = 128    // bytes of a key of for_each
	MaxInstances = 10_000 // of one for_each
)

var (
	argumentName = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	namePattern  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*$`)
)

// ValidName reports whether an object, a variable or a local can have a name.
func ValidName(s string) bool { return len(s) <= MaxName && namePattern.MatchString(s) }

// BadName says why not. What names the thing at the start of a sentence.
func BadName(what, name string) string {
	switch {
	case name == "":
		return what + " is empty."
	case len(name) > MaxName:
		return fmt.Sprintf("%s is %d bytes long, but at most %d are allowed: %s.", what, len(name), MaxName, diag.Quote(name))
	}
	return fmt.Sprintf("%s cannot be %s: a name has letters, digits, _ and - only, and does not start with a digit or -.", what, diag.Quote(name))
}

// BadKey says why a key of for_each cannot be used, or nothing.
func BadKey(key string) string {
	switch {
	case strings.TrimSpace(key) == "":
		return "for_each has an empty key. Keys become names, so each needs text."
	case len(key) > MaxKey:
		return fmt.Sprintf("The for_each key %s is %d bytes long, but at most %d are allowed.", diag.Quote(key), len(key), MaxKey)
	case strings.ContainsFunc(key, func(r rune) bool { return !unicode.IsPrint(r) }):
		return fmt.Sprintf("The for_each key %s has characters that cannot be shown. Keys become names.", diag.Quote(key))
	}
	return ""
}
