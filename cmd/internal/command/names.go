package command

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/config/diag"
)

// Address completes a bare name of an object of one kind. An address stays, and so does an empty name.
func Address(kind, name string) string {
	if name == "" {
		return ""
	}
	if _, err := config.ParseAddress(name); err == nil {
		return name
	}
	return kind + "." + name
}

// Resolve accepts an address, or the bare name of a declared object where only one of the kinds has it.
func Resolve(doc *config.Document, name string, kinds ...string) (string, error) {
	if strings.Contains(name, ".") {
		_, err := config.ParseAddress(name)
		return name, err
	}
	var found []string
	names := map[string]bool{}
	for _, o := range doc.Objects() {
		a := o.Head().Address
		if !slices.Contains(kinds, a.Kind()) {
			continue
		}
		names[a.Name()] = true
		if a.Name() == name {
			found = append(found, string(a))
		}
	}
	switch len(found) {
	case 0:
		return "", fmt.Errorf("no %s is named %q%s", strings.Join(kinds, " or "), name, Meant(name, names))
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("%q may be %s: write the address", name, strings.Join(found, " or "))
}

// Meant is the hint for an unknown name that is close to a known one, with a space before it; empty when none is.
func Meant(name string, known map[string]bool) string {
	if near := diag.Nearest(name, slices.Sorted(maps.Keys(known))); near != "" {
		return " (did you mean " + near + "?)"
	}
	return ""
}
