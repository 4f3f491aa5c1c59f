package load

import (
	"cmp"
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/config/unit"
)

// form is how a value is written in a file.
type form string

const (
	formString     form = "string"
	formBool       form = "bool"
	formInt        form = "int"
	formFloat      form = "number"
	formDuration   form = "duration"
	formSize       form = "size"
	formText       form = "text" // a type that reads itself from text
	formReference  form = "reference"
	formSecret     form = "secret"
	formExpression form = "expression" // kept as written, for variable blocks
)

// shape is how many values an argument holds.
type shape string

const (
	single  shape = "single"
	list    shape = "list"
	mapping shape = "map"
)

// Expression stands for an argument that is kept as written: whoever reads the
// files puts an expression of its own in it.
type Expression any

// field is one argument, label or kind of nested block.
type field struct {
	name     string
	index    []int
	required bool
	form     form
	shape    shape
	elem     reflect.Type // of one value
	pointer  bool
	enum     []string
	refs     []string // kinds a reference may name
	meaning  string   // of a string; the kind tag
	preset   string   // the default, as written
	min, max string
	doc      string

	// Nested blocks only.
	nested   *table
	repeated bool
}

var (
	addressType    = reflect.TypeFor[config.Address]()
	durationType   = reflect.TypeFor[unit.Duration]()
	sizeType       = reflect.TypeFor[unit.Size]()
	expressionType = reflect.TypeFor[Expression]()
	textType       = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// classify finds out from the Go type how the value is written.
func (f *field) classify(t reflect.Type) error {
	f.shape = single
	if t == expressionType {
		f.form, f.elem = formExpression, t
		return nil
	}
	switch {
	case t.Kind() == reflect.Slice:
		f.shape, t = list, t.Elem()
	case t.Kind() == reflect.Map && t.Key().Kind() == reflect.String:
		f.shape, t = mapping, t.Elem()
	case t.Kind() == reflect.Pointer:
		f.pointer, t = true, t.Elem()
	}
	f.elem = t
	switch {
	case t == addressType && f.meaning == "address":
		f.form = formReference
	case t == addressType:
		f.form = formReference
		if len(f.refs) == 0 {
			return errors.New("an address needs a ref tag")
		}
	case t == durationType:
		f.form = formDuration
	case t == sizeType:
		f.form = formSize
	case reflect.PointerTo(t).Implements(textType):
		f.form = formText
	case t.Kind() == reflect.String && t.Name() == "Secret":
		f.form = formSecret
	case t.Kind() == reflect.String:
		f.form = formString
	case t.Kind() == reflect.Bool:
		f.form = formBool
	case t.Kind() == reflect.Int, t.Kind() == reflect.Int64:
		f.form = formInt
	case t.Kind() == reflect.Float64:
		f.form = formFloat
	default:
		return fmt.Errorf("values of type %s cannot be written in configuration", t)
	}
	return nil
}

// verify checks that the tags of an argument make sense together.
func (f *field) verify() error {
	if _, known := meanings[f.meaning]; f.meaning != "" && !known {
		return fmt.Errorf("unknown kind %q", f.meaning)
	}
	if f.required && f.preset != "" {
		return errors.New("a required argument cannot have a default")
	}
	for _, text := range []string{f.preset, f.min, f.max} {
		if text == "" {
			continue
		}
		if f.shape != single {
			return errors.New("only single values can have a default or bounds")
		}
		if err := setText(reflect.New(f.elem).Elem(), f.form, text); err != nil {
			return err
		}
	}
	if f.preset != "" && f.enum != nil && !slices.Contains(f.enum, f.preset) {
		return fmt.Errorf("default %q is none of the allowed words", f.preset)
	}
	return nil
}

// setText sets a value from its text in a tag.
func setText(dst reflect.Value, f form, text string) error {
	switch f {
	case formString:
		dst.SetString(text)
	case formBool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return err
		}
		dst.SetBool(b)
	case formInt:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return err
		}
		dst.SetInt(n)
	case formFloat:
		n, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return err
		}
		dst.SetFloat(n)
	case formDuration, formSize, formText:
		return dst.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(text))
	default:
		return fmt.Errorf("a %s cannot have a default or bounds", f)
	}
	return nil
}

// setPreset sets a field's default.
func (f *field) setPreset(dst reflect.Value) {
	if f.preset == "" {
		return
	}
	if f.pointer {
		dst.Set(reflect.New(f.elem))
		dst = dst.Elem()
	}
	// verify has set the same text before, so it cannot fail.
	_ = setText(dst, f.form, f.preset)
}

// example is a value as it could be written, for messages and the reference.
func (f *field) example() string {
	one := f.exampleValue()
	switch f.shape {
	case list:
		return "[" + one + "]"
	case mapping:
		return "{ name = " + one + " }"
	}
	return one
}

func (f *field) exampleValue() string {
	switch f.form {
	case formReference:
		if len(f.refs) == 0 {
			return "backup_plan.NAME"
		}
		return f.refs[0] + ".NAME"
	case formSecret:
		return "secret.NAME"
	case formBool:
		return "true"
	case formInt, formFloat:
		return cmp.Or(f.preset, f.min, "1")
	case formDuration:
		return strconv.Quote(cmp.Or(f.preset, "1h"))
	case formSize:
		return strconv.Quote(cmp.Or(f.preset, "1MiB"))
	case formExpression:
		return "..."
	}
	if f.preset != "" {
		return strconv.Quote(f.preset)
	}
	if f.enum != nil {
		return strconv.Quote(f.enum[0])
	}
	return cmp.Or(meanings[f.meaning].example, `"..."`)
}

// blockForm shows how the header of a nested block is written.
func (f *field) blockForm() string {
	out := f.name
	for range f.nested.labels {
		out += ` "NAME"`
	}
	return out
}
