package load

import (
	"bytes"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/holdfast-dr/holdfast/config"
)

// schemaFormat is raised when the shape of the schema changes.
const schemaFormat = 1

type schema struct {
	Format    int               `json:"format"`
	Files     []string          `json:"files"` // endings of file names
	Blocks    []schemaBlock     `json:"blocks"`
	Functions []string          `json:"functions"`
	Reserved  map[string]string `json:"reserved"`
}

type schemaBlock struct {
	Kind      string           `json:"kind"`
	Doc       string           `json:"doc"`
	Labels    []string         `json:"labels,omitempty"`
	Once      bool             `json:"once,omitempty"`
	Repeated  bool             `json:"repeated,omitempty"` // nested blocks
	ForEach   bool             `json:"for_each,omitempty"`
	Free      bool             `json:"free_arguments,omitempty"`
	Arguments []schemaArgument `json:"arguments,omitempty"`
	Blocks    []schemaBlock    `json:"blocks,omitempty"`
	Types     []schemaType     `json:"types,omitempty"` // what the type label adds
}

// schemaType is what one provider adds to a block.
type schemaType struct {
	Type      string           `json:"type"`
	Arguments []schemaArgument `json:"arguments,omitempty"`
	Blocks    []schemaBlock    `json:"blocks,omitempty"`
	Member    *schemaBlock     `json:"member,omitempty"` // what it adds to member blocks
}

type schemaArgument struct {
	Name     string   `json:"name"`
	Type     string   `json:"type"`
	Required bool     `json:"required,omitempty"`
	Default  string   `json:"default,omitempty"` // as written, without quotes
	Min      string   `json:"min,omitempty"`
	Max      string   `json:"max,omitempty"`
	Enum     []string `json:"enum,omitempty"`
	Refers   []string `json:"refers_to,omitempty"`
	Meaning  string   `json:"meaning,omitempty"`
	Example  string   `json:"example"`
	Doc      string   `json:"doc"`
}

// Schema describes the whole language as JSON, for editors and other
// programs. The same types give the same bytes.
func Schema(types Types) []byte {
	var out bytes.Buffer
	enc := stdjson.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(describeLanguage(types)); err != nil {
		return nil // strings and slices of them always encode
	}
	return out.Bytes()
}

func describeLanguage(types Types) schema {
	s := schema{Format: schemaFormat, Files: []string{nativeEnding, jsonEnding, varsEnding}, Functions: functionNames(), Reserved: reservedWords}
	for _, k := range allKinds {
		spec, _ := specOf(k.typ)
		b := describeBody(k.name, k.doc, spec)
		b.Labels, b.Once, b.ForEach, b.Free = k.labelNames(), k.once, k.object, k.name == kindLocals
		if k.typed {
			b.Types = describeTypes(k.name, types)
		}
		s.Blocks = append(s.Blocks, b)
	}
	return s
}

func describeTypes(kind string, types Types) []schemaType {
	var out []schemaType
	names := slices.Sorted(slices.Values(types.Names(kind)))
	for _, name := range names {
		t := schemaType{Type: name}
		if spec := settingsSpec(types.Settings(kind, name)); spec != nil {
			b := describeBody("", "", spec)
			t.Arguments, t.Blocks = b.Arguments, b.Blocks
		}
		if kind == config.KindFailoverTarget {
			if spec := settingsSpec(types.Member(name)); spec != nil {
				b := describeBody("member", "What a member of this type has besides its site.", spec)
				t.Member = &b
			}
		}
		out = append(out, t)
	}
	return out
}

func settingsSpec(settings any, ok bool) *structSpec {
	t := reflect.TypeOf(settings)
	if !ok || t == nil || t.Kind() != reflect.Pointer {
		return nil
	}
	spec, _ := specOf(t.Elem())
	return spec
}

func describeBody(kind, doc string, spec *structSpec) schemaBlock {
	b := schemaBlock{Kind: kind, Doc: doc}
	for _, l := range spec.labels {
		b.Labels = append(b.Labels, l.name)
	}
	for _, f := range spec.args {
		b.Arguments = append(b.Arguments, schemaArgument{
			Name: f.name, Type: f.typeName(), Required: f.required, Default: f.preset, Min: f.min, Max: f.max,
			Enum: f.enum, Refers: f.refersTo(), Meaning: f.kind, Example: f.example(), Doc: f.doc,
		})
	}
	for _, f := range spec.blocks {
		nested := describeBody(f.name, f.doc, f.nested)
		nested.Repeated = f.repeated
		b.Blocks = append(b.Blocks, nested)
	}
	return b
}

func (f *field) refersTo() []string {
	if f.form == formSecret {
		return []string{config.KindSecret}
	}
	return f.refs
}

// typeName names the type of an argument: "string", "list of reference".
func (f *field) typeName() string {
	switch f.shape {
	case list:
		return fmt.Sprintf("list of %s", f.form)
	case mapping:
		return fmt.Sprintf("map of %s", f.form)
	}
	return string(f.form)
}

// Verify reports mistakes in the declarations behind the language: settings
// structs whose tags are wrong, or whose arguments have the name of one that
// every block of the kind has. It is meant for a test of the registry.
func Verify(types Types) error {
	var errs []error
	for _, k := range allKinds {
		own, err := specOf(k.typ)
		errs = append(errs, err)
		if !k.typed {
			continue
		}
		for _, name := range types.Names(k.name) {
			settings, ok := types.Settings(k.name, name)
			errs = append(errs, verifySettings(k.name+" "+name, settings, ok, own))
			if member, ok := types.Member(name); ok && k.name == config.KindFailoverTarget {
				members, _ := specOf(memberType)
				errs = append(errs, verifySettings(k.name+" "+name+" member", member, true, members))
			}
		}
	}
	return errors.Join(errs...)
}

func verifySettings(what string, settings any, ok bool, own *structSpec) error {
	t := reflect.TypeOf(settings)
	if ok && t == nil {
		return nil // nothing of its own
	}
	if !ok || t == nil || t.Kind() != reflect.Pointer {
		return fmt.Errorf("%s: the settings are a %v, not a pointer to a struct", what, t)
	}
	spec, err := specOf(t.Elem())
	errs := []error{err}
	for _, f := range slices.Concat(spec.args, spec.blocks) {
		_, reserved := reservedWords[f.name]
		if own.arg(f.name) != nil || own.block(f.name) != nil || f.name == "for_each" || f.name == "type" {
			errs = append(errs, fmt.Errorf("%s: %q is an argument of every such block already", what, f.name))
		} else if reserved {
			errs = append(errs, fmt.Errorf("%s: %q is a reserved word", what, f.name))
		}
	}
	return errors.Join(errs...)
}
