package language

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/holdfast-dr/holdfast/config"
)

// Verify reports mistakes in the declarations behind the language: settings
// structs whose tags are wrong, or whose arguments have the name of one that
// every block of the kind has. It is meant for a test of the registry.
func Verify(types Types) error {
	var errs []error
	for _, k := range Kinds {
		if !k.Typed {
			continue
		}
		for _, name := range types.Names(k.Name) {
			settings, ok := types.Settings(k.Name, name)
			errs = append(errs, verifySettings(k.Name+" "+name, settings, ok, k.Table))
			if member, ok := types.Member(name); ok && k.Name == config.KindFailoverTarget {
				errs = append(errs, verifySettings(k.Name+" "+name+" member", member, true, k.Table.Block("member").Nested))
			}
		}
	}
	return errors.Join(errs...)
}

func verifySettings(what string, settings any, ok bool, own *Table) error {
	t := reflect.TypeOf(settings)
	if ok && t == nil {
		return nil // nothing of its own
	}
	if !ok || t == nil || t.Kind() != reflect.Pointer {
		return fmt.Errorf("%s: the settings are a %v, not a pointer to a struct", what, t)
	}
	body, err := TableOf(t.Elem())
	errs := []error{err}
	for _, f := range slices.Concat(body.Args, body.Blocks) {
		_, isReserved := Reserved(f.Name)
		if own.Arg(f.Name) != nil || own.Block(f.Name) != nil || f.Name == "for_each" || f.Name == "type" {
			errs = append(errs, fmt.Errorf("%s: %q is an argument of every such block already", what, f.Name))
		} else if isReserved {
			errs = append(errs, fmt.Errorf("%s: %q is a reserved word", what, f.Name))
		}
	}
	return errors.Join(errs...)
}
