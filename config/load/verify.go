package load

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
	for _, k := range allKinds {
		if !k.typed {
			continue
		}
		for _, name := range types.Names(k.name) {
			settings, ok := types.Settings(k.name, name)
			errs = append(errs, verifySettings(k.name+" "+name, settings, ok, k.table))
			if member, ok := types.Member(name); ok && k.name == config.KindFailoverTarget {
				errs = append(errs, verifySettings(k.name+" "+name+" member", member, true, k.table.block("member").nested))
			}
		}
	}
	return errors.Join(errs...)
}

func verifySettings(what string, settings any, ok bool, own *table) error {
	t := reflect.TypeOf(settings)
	if ok && t == nil {
		return nil // nothing of its own
	}
	if !ok || t == nil || t.Kind() != reflect.Pointer {
		return fmt.Errorf("%s: the settings are a %v, not a pointer to a struct", what, t)
	}
	body, err := tableOf(t.Elem())
	errs := []error{err}
	for _, f := range slices.Concat(body.args, body.blocks) {
		_, reserved := reservedWords[f.name]
		if own.arg(f.name) != nil || own.block(f.name) != nil || f.name == "for_each" || f.name == "type" {
			errs = append(errs, fmt.Errorf("%s: %q is an argument of every such block already", what, f.name))
		} else if reserved {
			errs = append(errs, fmt.Errorf("%s: %q is a reserved word", what, f.name))
		}
	}
	return errors.Join(errs...)
}
