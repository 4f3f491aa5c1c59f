package config

import (
	"slices"

	"github.com/holdfast-dr/holdfast/config/diag"
)

// Near gives the addresses that were probably meant by a word that is none of them: those with that name, those close to it, or those with a
// name close to it, in that order. None: it is no slip of these.
func Near(word string, addresses []string) []string {
	if named := named(word, addresses); word != "" && len(named) > 0 {
		return named
	}
	if near := diag.Nearest(word, addresses); near != "" {
		return []string{near}
	}
	var names []string
	for _, a := range addresses {
		names = append(names, Address(a).Name())
	}
	if near := diag.Nearest(word, names); near != "" {
		return named(near, addresses)
	}
	return nil
}

// named finds the addresses with a name.
func named(name string, addresses []string) []string {
	return slices.DeleteFunc(slices.Clone(addresses), func(a string) bool { return Address(a).Name() != name })
}
