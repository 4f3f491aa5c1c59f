package language

import (
	"bytes"
	"encoding/json"
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

// Schema describes the whole language as JSON, for editors and other
// programs. The same types give the same bytes.
func Schema(types Types, functions []Function) []byte {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(describeLanguage(types, functions)); err != nil {
		return nil // strings and slices of them always encode
	}
	return out.Bytes()
}

func describeLanguage(types Types, functions []Function) schema {
	s := schema{Format: schemaFormat, Files: []string{NativeEnding, JSONEnding, VarsEnding}, Reserved: reservedWords}
	for _, f := range functions {
		s.Functions = append(s.Functions, f.Name)
	}
	for _, k := range Kinds {
		b := describeBody(k.Name, k.Doc, k.Table)
		b.Labels, b.Once, b.ForEach, b.Free = k.LabelNames(), k.Once, k.Object, k.Name == KindLocals
		if k.Typed {
			b.Types = describeTypes(k.Name, types)
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

func settingsTable(settings any, ok bool) *Table {
	t := reflect.TypeOf(settings)
	if !ok || t == nil || t.Kind() != reflect.Pointer {
		return nil
	}
	body, _ := TableOf(t.Elem())
	return body
}

func describeBody(kind, doc string, body *Table) schemaBlock {
	b := schemaBlock{Kind: kind, Doc: doc}
	for _, l := range body.Labels {
		b.Labels = append(b.Labels, l.Name)
	}
	for _, f := range body.Args {
		b.Arguments = append(b.Arguments, schemaArgument{
			Name: f.Name, Type: f.typeName(), Required: f.Required, Default: f.Preset, Min: f.Min, Max: f.Max,
			Enum: f.Enum, Refers: f.refersTo(), Meaning: f.Meaning, Example: f.Example(), Doc: f.Doc,
		})
	}
	for _, f := range body.Blocks {
		nested := describeBody(f.Name, f.Doc, f.Nested)
		nested.Repeated = f.Repeated
		b.Blocks = append(b.Blocks, nested)
	}
	return b
}

func (f *Field) refersTo() []string {
	if f.Form == FormSecret {
		return []string{config.KindSecret}
	}
	return f.Refs
}

// typeName names the type of an argument: "string", "list of reference".
func (f *Field) typeName() string {
	switch f.Shape {
	case List:
		return fmt.Sprintf("list of %s", f.Form)
	case Mapping:
		return fmt.Sprintf("map of %s", f.Form)
	}
	return string(f.Form)
}
