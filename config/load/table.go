package load

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// table is what the body of a block may contain: what the tags of a struct say.
type table struct {
	typ    reflect.Type
	labels []*field
	args   []*field
	blocks []*field
}

// arg finds an argument by name, or nil.
func (t *table) arg(name string) *field { return find(t.args, name) }

// block finds a kind of nested block by name, or nil.
func (t *table) block(name string) *field { return find(t.blocks, name) }

func find(fields []*field, name string) *field {
	for _, f := range fields {
		if f.name == name {
			return f
		}
	}
	return nil
}

// tableOf reads the tags of a struct type. The error lists every mistake in them.
func tableOf(typ reflect.Type) (*table, error) {
	t := &table{typ: typ}
	return t, t.collect(typ, nil)
}

func (t *table) collect(typ reflect.Type, index []int) error {
	if typ.Kind() != reflect.Struct {
		return fmt.Errorf("%s is not a struct", typ)
	}
	var errs []error
	for i := range typ.NumField() {
		sf := typ.Field(i)
		at := append(slices.Clone(index), i)
		tag, tagged := sf.Tag.Lookup("hcl")
		if !tagged {
			if sf.Anonymous && sf.Type.Kind() == reflect.Struct {
				errs = append(errs, t.collect(sf.Type, at))
			}
			continue
		}
		if err := t.addField(sf, tag, at); err != nil {
			errs = append(errs, fmt.Errorf("%s.%s: %w", typ, sf.Name, err))
		}
	}
	return errors.Join(errs...)
}

func (t *table) addField(sf reflect.StructField, tag string, index []int) error {
	name, option, _ := strings.Cut(tag, ",")
	f := &field{name: name, index: index, doc: sf.Tag.Get("doc"), meaning: sf.Tag.Get("kind"),
		preset: sf.Tag.Get("default"), min: sf.Tag.Get("min"), max: sf.Tag.Get("max"), required: option == ""}
	if v := sf.Tag.Get("enum"); v != "" {
		f.enum = strings.Split(v, "|")
	}
	if v := sf.Tag.Get("ref"); v != "" {
		f.refs = strings.Split(v, "|")
	}
	switch {
	case !argumentName.MatchString(name):
		return fmt.Errorf("%q is no argument name", name)
	case t.arg(name) != nil || t.block(name) != nil:
		return fmt.Errorf("%q is there twice", name)
	case f.doc == "":
		return errors.New("has no doc tag")
	case !sf.IsExported():
		return errors.New("is not exported")
	}
	if j, _, _ := strings.Cut(sf.Tag.Get("json"), ","); j != name {
		return fmt.Errorf("json name %q differs from hcl name %q", j, name)
	}
	switch option {
	case "block", "blocks":
		return t.addBlock(f, sf.Type, option == "blocks")
	case "label":
		if sf.Type.Kind() != reflect.String {
			return errors.New("a label must be a string")
		}
		f.form, f.shape, f.elem = formString, single, sf.Type
		t.labels = append(t.labels, f)
		return nil
	case "", "optional":
		if err := f.classify(sf.Type); err != nil {
			return err
		}
		t.args = append(t.args, f)
		return f.verify()
	}
	return fmt.Errorf("unknown option %q", option)
}

func (t *table) addBlock(f *field, typ reflect.Type, repeated bool) error {
	f.repeated = repeated
	if repeated {
		if typ.Kind() != reflect.Slice {
			return errors.New("blocks must be a slice of pointers to a struct")
		}
		typ = typ.Elem()
	}
	if typ.Kind() != reflect.Pointer || typ.Elem().Kind() != reflect.Struct {
		return errors.New("a block must be a pointer to a struct")
	}
	nested, err := tableOf(typ.Elem())
	f.nested = nested
	t.blocks = append(t.blocks, f)
	return err
}
