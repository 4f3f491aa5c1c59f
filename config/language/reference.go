package language

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/holdfast-dr/holdfast/config/diag"
)

// Reference is the language reference in Markdown, made from the same table
// as the decoder.
func Reference(types Types, functions []Function) []byte {
	m := &manual{}
	m.printf("# Language reference\n\n")
	m.printf("All files of one directory whose names end in `%s` or `%s` are one configuration; order means nothing. "+
		"Subdirectories are configurations of their own. Values of variables can stand in `*%s` files.\n\n", NativeEnding, JSONEnding, VarsEnding)
	m.printf("This page is made by `holdfast schema` from the table that the program itself reads configuration with.\n\n")
	language := describeLanguage(types, functions)
	m.contents(language.Blocks)
	m.general()
	for _, b := range language.Blocks {
		m.block(b)
	}
	m.functions(functions)
	m.words(language.Reserved)
	return m.out.Bytes()
}

type manual struct{ out bytes.Buffer }

func (m *manual) printf(format string, args ...any) { fmt.Fprintf(&m.out, format, args...) }

func (m *manual) contents(blocks []schemaBlock) {
	m.printf("| block | |\n|---|---|\n")
	for _, b := range blocks {
		m.printf("| [`%s`](#%s) | %s |\n", b.Kind, b.Kind, cell(firstSentence(b.Doc)))
	}
	m.printf("\n")
}

func (m *manual) general() {
	m.printf("## What holds everywhere\n\n")
	m.printf("* **Names** have letters, digits, `_` and `-`, do not start with a digit or `-`, and are at most %d bytes long. They are unique per kind of block, whatever the type.\n", MaxName)
	m.printf("* **References** are written without quotes: `store = store.nas`. In `%s` files they are text: `\"store\": \"store.nas\"`.\n", JSONEnding)
	m.printf("* **Durations** are text with a unit: `\"90m\"`, `\"1h30m\"`, `\"7d\"`; units are `ms`, `s`, `m`, `h`, `d` (24 hours) and `w`.\n")
	m.printf("* **Sizes** are text with a unit: `\"512KiB\"`, `\"1MiB\"`, `\"2GB\"`.\n")
	m.printf("* **Credentials** are references to secret blocks and nothing else: `password = secret.NAME`.\n")
	m.printf("* **`for_each`** makes one object for each element of a map or of a set of texts. Inside, `each.key` and `each.value` are the element; "+
		"the object's address has the key: `store.nas[\"eu\"]`. At most %d.\n", MaxInstances)
	m.printf("* An argument whose value is `null` counts as not written.\n\n")
}

func (m *manual) block(b schemaBlock) {
	m.printf("## %s\n\n%s\n\n", b.Kind, b.Doc)
	m.example(b)
	switch {
	case b.Free:
		m.printf("Its arguments have names of your choice.\n\n")
	case b.ForEach:
		m.printf("`for_each` is possible.\n\n")
	}
	m.arguments(b.Arguments)
	m.nested(b.Kind, b.Blocks)
	for _, t := range b.Types {
		m.typed(b, t)
	}
}

// example shows the header and the required arguments.
func (m *manual) example(b schemaBlock) {
	header := KindByName(b.Kind).Header("NAME")
	width := 0
	for _, a := range b.Arguments {
		if a.Required {
			width = max(width, len(a.Name))
		}
	}
	if width == 0 {
		m.printf("```hcl\n%s { }\n```\n\n", header)
		return
	}
	m.printf("```hcl\n%s {\n", header)
	for _, a := range b.Arguments {
		if a.Required {
			m.printf("  %-*s = %s\n", width, a.Name, a.Example)
		}
	}
	m.printf("}\n```\n\n")
}

func (m *manual) arguments(args []schemaArgument) {
	if len(args) == 0 {
		return
	}
	m.printf("| argument | type | default | |\n|---|---|---|---|\n")
	for _, a := range args {
		preset := "–"
		switch {
		case a.Required:
			preset = "required"
		case a.Default != "":
			preset = "`" + a.Default + "`"
		}
		m.printf("| `%s` | %s | %s | %s |\n", a.Name, cell(typeText(a)), preset, cell(a.Doc+bounds(a)))
	}
	m.printf("\n")
}

func typeText(a schemaArgument) string {
	switch {
	case len(a.Enum) > 0:
		quoted := diag.Quoted(a.Enum)
		for i, w := range quoted {
			quoted[i] = "`" + w + "`"
		}
		if strings.HasPrefix(a.Type, "list") {
			return "list of " + diag.Joined(quoted, " or ")
		}
		return diag.Joined(quoted, " or ")
	case len(a.Refers) > 0:
		return strings.Replace(a.Type, "reference", "reference to "+strings.Join(a.Refers, " or "), 1)
	case a.Meaning != "":
		return strings.Replace(a.Type, "string", a.Meaning, 1)
	}
	return a.Type
}

func bounds(a schemaArgument) string {
	switch {
	case a.Min != "" && a.Max != "":
		return fmt.Sprintf(" From %s to %s.", a.Min, a.Max)
	case a.Min != "":
		return fmt.Sprintf(" At least %s.", a.Min)
	case a.Max != "":
		return fmt.Sprintf(" At most %s.", a.Max)
	}
	return ""
}

func (m *manual) nested(path string, blocks []schemaBlock) {
	for _, b := range blocks {
		header := b.Kind
		for _, l := range b.Labels {
			header += fmt.Sprintf(" %q", strings.ToUpper(l))
		}
		often := "at most once"
		if b.Repeated {
			often = "any number of times"
		}
		m.printf("**`%s` in `%s`**, %s: %s\n\n", header, path, often, b.Doc)
		m.arguments(b.Arguments)
		m.nested(path+" "+b.Kind, b.Blocks)
	}
}

func (m *manual) typed(b schemaBlock, t schemaType) {
	m.printf("### %s %q\n\n", b.Kind, t.Type)
	if len(t.Arguments)+len(t.Blocks) == 0 && t.Member == nil {
		m.printf("This type takes nothing of its own.\n\n")
	}
	m.arguments(t.Arguments)
	m.nested(b.Kind, t.Blocks)
	if t.Member != nil {
		m.printf("**in `member`**: %s\n\n", t.Member.Doc)
		m.arguments(t.Member.Arguments)
		m.nested(b.Kind+" member", t.Member.Blocks)
	}
}

func (m *manual) functions(functions []Function) {
	m.printf("## Functions\n\nThere is no clock, no environment and no file among them, so that a commit always means the same.\n\n")
	for _, f := range functions {
		m.printf("* `%s`: %s\n", f.Form, f.Doc)
	}
	m.printf("\n")
}

func (m *manual) words(words map[string]string) {
	m.printf("## Reserved words\n\n")
	for _, w := range slices.Sorted(maps.Keys(words)) {
		m.printf("* `%s`: %s\n", w, words[w])
	}
}

// cell makes text fit into a table.
func cell(s string) string { return strings.ReplaceAll(s, "|", "\\|") }

func firstSentence(s string) string {
	if i := strings.Index(s, ". "); i >= 0 {
		return s[:i+1]
	}
	return s
}
