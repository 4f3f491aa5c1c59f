package load

import (
	"bytes"
	stdjson "encoding/json"
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

// Function is one function of the language.
type Function struct {
	Name string
	Form string // how a call is written: "join(separator, lists...)"
	Doc  string
}

// schemaText describes the whole language as JSON, for editors and other
// programs. The same types give the same bytes.
func schemaText(types Types, functions []Function) []byte {
	var out bytes.Buffer
	enc := stdjson.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(describeLanguage(types, functions)); err != nil {
		return nil // strings and slices of them always encode
	}
	return out.Bytes()
}

func describeLanguage(types Types, functions []Function) schema {
	s := schema{Format: schemaFormat, Files: []string{nativeEnding, jsonEnding, varsEnding}, Reserved: reservedWords}
	for _, f := range functions {
		s.Functions = append(s.Functions, f.Name)
	}
	for _, k := range allKinds {
		b := describeBody(k.name, k.doc, k.table)
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
		if body := settingsTable(types.Settings(kind, name)); body != nil {
			b := describeBody("", "", body)
			t.Arguments, t.Blocks = b.Arguments, b.Blocks
		}
		if kind == config.KindFailoverTarget {
			if body := settingsTable(types.Member(name)); body != nil {
				b := describeBody("member", "What a member of this type has besides its site.", body)
				t.Member = &b
			}
		}
		out = append(out, t)
	}
	return out
}

func settingsTable(settings any, ok bool) *table {
	t := reflect.TypeOf(settings)
	if !ok || t == nil || t.Kind() != reflect.Pointer {
		return nil
	}
	body, _ := tableOf(t.Elem())
	return body
}

func describeBody(kind, doc string, body *table) schemaBlock {
	b := schemaBlock{Kind: kind, Doc: doc}
	for _, l := range body.labels {
		b.Labels = append(b.Labels, l.name)
	}
	for _, f := range body.args {
		b.Arguments = append(b.Arguments, schemaArgument{
			Name: f.name, Type: f.typeName(), Required: f.required, Default: f.preset, Min: f.min, Max: f.max,
			Enum: f.enum, Refers: f.refersTo(), Meaning: f.meaning, Example: f.example(), Doc: f.doc,
		})
	}
	for _, f := range body.blocks {
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
