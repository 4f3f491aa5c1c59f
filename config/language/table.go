// Package language is the table of the configuration language: the kinds of
// block, what their bodies may contain and what words mean. It is read from the
// tags of the declared model and of the providers' settings, and it is all that
// the decoder, the JSON schema and the language reference know.
package language

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Table is what the body of a block may contain: what the tags of a struct say.
type Table struct {
	Type   reflect.Type
	Labels []*Field // in order
	Args   []*Field
	Blocks []*Field // nested
}

// Arg finds an argument by name, or nil.
func (t *Table) Arg(name string) *Field { return find(t.Args, name) }

// Block finds a kind of nested block by name, or nil.
func (t *Table) Block(name string) *Field { return find(t.Blocks, name) }

func find(fields []*Field, name string) *Field {
	for _, f := range fields {
		if f.Name == name {
			return f
		}
	}
	return nil
}

// TableOf reads the tags of a struct type. The error lists every mistake in them.
func TableOf(typ reflect.Type) (*Table, error) {
	t := &Table{Type: typ}
	return t, t.collect(typ, nil)
}

func (t *Table) collect(typ reflect.Type, index []int) error {
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

func (t *Table) addField(sf reflect.StructField, tag string, index []int) error {
	name, option, _ := strings.Cut(tag, ",")
	f := &Field{Name: name, Index: index, Doc: sf.Tag.Get("doc"), Meaning: sf.Tag.Get("kind"),
		Preset: sf.Tag.Get("default"), Min: sf.Tag.Get("min"), Max: sf.Tag.Get("max"), Required: option == ""}
	if v := sf.Tag.Get("enum"); v != "" {
		f.Enum = strings.Split(v, "|")
	}
	if v := sf.Tag.Get("ref"); v != "" {
		f.Refs = strings.Split(v, "|")
	}
	switch {
	case !argumentName.MatchString(name):
		return fmt.Errorf("%q is no argument name", name)
	case t.Arg(name) != nil || t.Block(name) != nil:
		return fmt.Errorf("%q is there twice", name)
	case f.Doc == "":
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
		f.Form, f.Shape, f.Elem = FormString, Single, sf.Type
		t.Labels = append(t.Labels, f)
		return nil
	case "", "optional":
		if err := f.classify(sf.Type); err != nil {
			return err
		}
		t.Args = append(t.Args, f)
		return f.verify()
	}
	return fmt.Errorf("unknown option %q", option)
}

func (t *Table) addBlock(f *Field, typ reflect.Type, repeated bool) error {
	f.Repeated = repeated
	if repeated {
		if typ.Kind() != reflect.Slice {
			return errors.New("blocks must be a slice of pointers to a struct")
		}
		typ = typ.Elem()
	}
	if typ.Kind() != reflect.Pointer || typ.Elem().Kind() != reflect.Struct {
		return errors.New("a block must be a pointer to a struct")
	}
	nested, err := TableOf(typ.Elem())
	f.Nested = nested
	t.Blocks = append(t.Blocks, f)
	return err
}
