package load

import (
	"cmp"
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/hashicorp/hcl/v2"

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

// field is one argument, label or kind of nested block: what the struct tags say.
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
	kind     string   // meaning of a string
	preset   string   // the default, as written
	min, max string
	doc      string

	// Nested blocks only.
	nested   *structSpec
	repeated bool
}

// structSpec is the table of one block body.
type structSpec struct {
	typ    reflect.Type
	labels []*field
	args   []*field
	blocks []*field
}

func (s *structSpec) arg(name string) *field {
	for _, f := range s.args {
		if f.name == name {
			return f
		}
	}
	return nil
}

func (s *structSpec) block(name string) *field {
	for _, f := range s.blocks {
		if f.name == name {
			return f
		}
	}
	return nil
}

var (
	addressType    = reflect.TypeFor[config.Address]()
	durationType   = reflect.TypeFor[unit.Duration]()
	sizeType       = reflect.TypeFor[unit.Size]()
	expressionType = reflect.TypeFor[hcl.Expression]()
	memberType     = reflect.TypeFor[config.Member]()
	textType       = reflect.TypeFor[encoding.TextUnmarshaler]()
)

var kinds = []string{"address", "clock", "cron", "date", "endpoint", "pattern", "time", "timezone", "version"}

type specResult struct {
	spec *structSpec
	err  error
}

var specs sync.Map // reflect.Type -> specResult

// specOf reads the tags of a struct type. The error lists every mistake in them.
func specOf(t reflect.Type) (*structSpec, error) {
	if r, ok := specs.Load(t); ok {
		return r.(specResult).spec, r.(specResult).err
	}
	s := &structSpec{typ: t}
	err := s.collect(t, nil)
	specs.Store(t, specResult{s, err})
	return s, err
}

func (s *structSpec) collect(t reflect.Type, index []int) error {
	if t.Kind() != reflect.Struct {
		return fmt.Errorf("%s is not a struct", t)
	}
	var errs []error
	for i := range t.NumField() {
		sf := t.Field(i)
		at := append(slices.Clone(index), i)
		tag, tagged := sf.Tag.Lookup("hcl")
		if !tagged {
			if sf.Anonymous && sf.Type.Kind() == reflect.Struct {
				errs = append(errs, s.collect(sf.Type, at))
			}
			continue
		}
		if err := s.addField(sf, tag, at); err != nil {
			errs = append(errs, fmt.Errorf("%s.%s: %w", t, sf.Name, err))
		}
	}
	return errors.Join(errs...)
}

func (s *structSpec) addField(sf reflect.StructField, tag string, index []int) error {
	name, option, _ := strings.Cut(tag, ",")
	f := &field{name: name, index: index, doc: sf.Tag.Get("doc"), kind: sf.Tag.Get("kind"),
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
	case s.arg(name) != nil || s.block(name) != nil:
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
		return s.addBlock(f, sf.Type, option == "blocks")
	case "label":
		if sf.Type.Kind() != reflect.String {
			return errors.New("a label must be a string")
		}
		f.form, f.shape, f.elem = formString, single, sf.Type
		s.labels = append(s.labels, f)
		return nil
	case "", "optional":
		if err := f.classify(sf.Type); err != nil {
			return err
		}
		s.args = append(s.args, f)
		return f.verify()
	}
	return fmt.Errorf("unknown option %q", option)
}

func (s *structSpec) addBlock(f *field, t reflect.Type, repeated bool) error {
	f.repeated = repeated
	if repeated {
		if t.Kind() != reflect.Slice {
			return errors.New("blocks must be a slice of pointers to a struct")
		}
		t = t.Elem()
	}
	if t.Kind() != reflect.Pointer || t.Elem().Kind() != reflect.Struct {
		return errors.New("a block must be a pointer to a struct")
	}
	nested, err := specOf(t.Elem())
	f.nested = nested
	s.blocks = append(s.blocks, f)
	return err
}

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
	case t == addressType && f.kind == "address":
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
	if f.kind != "" && !slices.Contains(kinds, f.kind) {
		return fmt.Errorf("unknown kind %q", f.kind)
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

// preset sets a field's default.
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
	if text, ok := kindExamples[f.kind]; ok {
		return text
	}
	return `"..."`
}

var kindExamples = map[string]string{
	"clock": `"22:00"`, "cron": `"0 23 * * 1-5"`, "date": `"2026-12-24"`, "endpoint": `endpoint("file:///srv/data")`,
	"pattern": `"QA*"`, "time": `"2026-12-24T06:00:00Z"`, "timezone": `"Europe/Berlin"`, "version": `">= 0.1"`,
}
