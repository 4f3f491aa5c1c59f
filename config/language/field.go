package language

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

// Form is how a value is written in a file.
type Form string

// The forms.
const (
	FormString     Form = "string"
	FormBool       Form = "bool"
	FormInt        Form = "int"
	FormFloat      Form = "number"
	FormDuration   Form = "duration"
	FormSize       Form = "size"
	FormText       Form = "text" // a type that reads itself from text
	FormReference  Form = "reference"
	FormSecret     Form = "secret"
	FormExpression Form = "expression" // kept as written, for variable blocks
)

// Shape is how many values an argument holds.
type Shape string

// The shapes.
const (
	Single  Shape = "single"
	List    Shape = "list"
	Mapping Shape = "map"
)

// Expression stands for an argument that is kept as written: whoever reads the
// files puts an expression of its own in it.
type Expression any

// Field is one argument, label or kind of nested block.
type Field struct {
	Name     string
	Index    []int // of the field in its struct
	Required bool
	Form     Form
	Shape    Shape
	Elem     reflect.Type // of one value
	Pointer  bool         // the struct has a pointer to the value
	Enum     []string
	Refs     []string // kinds a reference may name
	Meaning  string   // of a string; the kind tag
	Preset   string   // the default, as written
	Min, Max string   // bounds, as written
	Doc      string   // one sentence

	// Nested blocks only.
	Nested   *Table
	Repeated bool // any number, otherwise at most one
}

var (
	addressType    = reflect.TypeFor[config.Address]()
	durationType   = reflect.TypeFor[unit.Duration]()
	sizeType       = reflect.TypeFor[unit.Size]()
	expressionType = reflect.TypeFor[Expression]()
	textType       = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// classify finds out from the Go type how the value is written.
func (f *Field) classify(t reflect.Type) error {
	f.Shape = Single
	if t == expressionType {
		f.Form, f.Elem = FormExpression, t
		return nil
	}
	switch {
	case t.Kind() == reflect.Slice:
		f.Shape, t = List, t.Elem()
	case t.Kind() == reflect.Map && t.Key().Kind() == reflect.String:
		f.Shape, t = Mapping, t.Elem()
	case t.Kind() == reflect.Pointer:
		f.Pointer, t = true, t.Elem()
	}
	f.Elem = t
	switch {
	case t == addressType && f.Meaning == "address":
		f.Form = FormReference
	case t == addressType:
		f.Form = FormReference
		if len(f.Refs) == 0 {
			return errors.New("an address needs a ref tag")
		}
	case t == durationType:
		f.Form = FormDuration
	case t == sizeType:
		f.Form = FormSize
	case reflect.PointerTo(t).Implements(textType):
		f.Form = FormText
	case t.Kind() == reflect.String && t.Name() == "Secret":
		f.Form = FormSecret
	case t.Kind() == reflect.String:
		f.Form = FormString
	case t.Kind() == reflect.Bool:
		f.Form = FormBool
	case t.Kind() == reflect.Int, t.Kind() == reflect.Int64:
		f.Form = FormInt
	case t.Kind() == reflect.Float64:
		f.Form = FormFloat
	default:
		return fmt.Errorf("values of type %s cannot be written in configuration", t)
	}
	return nil
}

// verify checks that the tags of an argument make sense together.
func (f *Field) verify() error {
	if _, known := meanings[f.Meaning]; f.Meaning != "" && !known {
		return fmt.Errorf("unknown kind %q", f.Meaning)
	}
	if f.Required && f.Preset != "" {
		return errors.New("a required argument cannot have a default")
	}
	for _, text := range []string{f.Preset, f.Min, f.Max} {
		if text == "" {
			continue
		}
		if f.Shape != Single {
			return errors.New("only single values can have a default or bounds")
		}
		if err := f.set(reflect.New(f.Elem).Elem(), text); err != nil {
			return err
		}
	}
	if f.Preset != "" && f.Enum != nil && !slices.Contains(f.Enum, f.Preset) {
		return fmt.Errorf("default %q is none of the allowed words", f.Preset)
	}
	return nil
}

// set sets a value from its text in a tag.
func (f *Field) set(dst reflect.Value, text string) error {
	switch f.Form {
	case FormString:
		dst.SetString(text)
	case FormBool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return err
		}
		dst.SetBool(b)
	case FormInt:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return err
		}
		dst.SetInt(n)
	case FormFloat:
		n, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return err
		}
		dst.SetFloat(n)
	case FormDuration, FormSize, FormText:
		return dst.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(text))
	default:
		return fmt.Errorf("a %s cannot have a default or bounds", f.Form)
	}
	return nil
}

// SetPreset sets a field of a struct to its default, if it has one.
func (f *Field) SetPreset(dst reflect.Value) {
	if f.Preset == "" {
		return
	}
	if f.Pointer {
		dst.Set(reflect.New(f.Elem))
		dst = dst.Elem()
	}
	_ = f.set(dst, f.Preset) // verified with the table
}

// OutOfBounds says where a value would have to be, "at least 5", or nothing
// when it is there.
func (f *Field) OutOfBounds(v reflect.Value) string {
	for _, bound := range []struct {
		text, word string
		sign       int
	}{{f.Min, "least", -1}, {f.Max, "most", 1}} {
		if bound.text == "" {
			continue
		}
		limit := reflect.New(f.Elem).Elem()
		_ = f.set(limit, bound.text) // verified with the table
		if compare(v, limit) == bound.sign {
			return "at " + bound.word + " " + bound.text
		}
	}
	return ""
}

func compare(a, b reflect.Value) int {
	if a.CanFloat() {
		return cmp.Compare(a.Float(), b.Float())
	}
	return cmp.Compare(a.Int(), b.Int())
}

// Example is a value as it could be written, for messages and the reference.
func (f *Field) Example() string {
	one := f.ExampleValue()
	switch f.Shape {
	case List:
		return "[" + one + "]"
	case Mapping:
		return "{ name = " + one + " }"
	}
	return one
}

// ExampleValue is the example of one value of a list or map.
func (f *Field) ExampleValue() string {
	switch f.Form {
	case FormReference:
		if len(f.Refs) == 0 {
			return "backup_plan.NAME"
		}
		return f.Refs[0] + ".NAME"
	case FormSecret:
		return "secret.NAME"
	case FormBool:
		return "true"
	case FormInt, FormFloat:
		return cmp.Or(f.Preset, f.Min, "1")
	case FormDuration:
		return strconv.Quote(cmp.Or(f.Preset, longer("1h", f.Min)))
	case FormSize:
		return strconv.Quote(cmp.Or(f.Preset, "1MiB"))
	case FormExpression:
		return "..."
	}
	if f.Preset != "" {
		return strconv.Quote(f.Preset)
	}
	if f.Enum != nil {
		return strconv.Quote(f.Enum[0])
	}
	return cmp.Or(meanings[f.Meaning].example, `"..."`)
}

// longer gives the longer of two durations as written; one that cannot be read is none.
func longer(a, b string) string {
	x, _ := unit.ParseDuration(a)
	if y, err := unit.ParseDuration(b); err == nil && y > x {
		return b
	}
	return a
}

// Header shows how the header of a nested block is written.
func (f *Field) Header() string {
	out := f.Name
	for range f.Nested.Labels {
		out += ` "NAME"`
	}
	return out
}
