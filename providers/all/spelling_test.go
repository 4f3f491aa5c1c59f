package all_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/config/language"
	"github.com/holdfast-dr/holdfast/config/load"
	"github.com/holdfast-dr/holdfast/providers/all"
)

// Two names of different files that look the same.
const (
	decomposed = "cafe\u0301"
	composed   = "caf\u00e9"
)

// spellings are ways to write a text that has the decomposed name in it.
var spellings = map[string]func(text string) string{
	"literal":       quoted,
	"as an escape":  func(text string) string { return quoted(strings.ReplaceAll(text, "\u0301", `\u0301`)) },
	"interpolation": func(text string) string { return quoted(`${""}` + text) },
	"parts":         with("cafe${\"\u0301\"}"),
	"function":      func(text string) string { return `join("", [` + quoted(text) + `, ""])` },
	"condition":     func(text string) string { return `(1 < 2 ? ` + quoted(text) + ` : "")` },
	"map key":       func(text string) string { return `keys({ ` + quoted(text) + ` = 1 })[0]` },
	"through JSON":  func(text string) string { return `jsondecode(jsonencode(` + quoted(text) + `))` },
	"environment":   with("${var.environ}"),
	"default":       with("${var.preset}"),
	"value file":    with("${var.file}"),
	"flag":          with("${var.flag[0]}"),
	"local":         with("${local.name}"),
}

func quoted(text string) string { return `"` + text + `"` }

// with writes something else where the name is.
func with(name string) func(string) string {
	return func(text string) string { return quoted(strings.Replace(text, decomposed, name, 1)) }
}

const preamble = `variable "environ" {}
variable "file" {}
variable "flag" { type = list(string) }
variable "preset" { default = "` + decomposed + `" }
locals { name = "` + decomposed + `" }
`

func options(types language.Types) load.Options {
	return load.Options{Types: types, Version: "1.0.0",
		Environ:  map[string]string{"HOLDFAST_VAR_environ": decomposed},
		Vars:     map[string]string{"flag": `["` + decomposed + `"]`},
		VarFiles: []load.File{{Name: "v.holdvars.hcl", Data: []byte(`file = "` + decomposed + `"`)}},
	}
}

// TestTextIsBytes writes a name in decomposed Unicode into every argument that the language has and that holds text of the user's
// choice, and looks for its bytes in what was read. A new argument is covered by itself.
func TestTextIsBytes(t *testing.T) {
	types := all.Types(all.Registry())
	for how, spell := range spellings {
		t.Run(how, func(t *testing.T) {
			w := &writer{spell: spell, types: types}
			w.configuration()
			doc, list := load.Load(fstest.MapFS{"a.hold.hcl": {Data: []byte(preamble + w.text.String())}}, options(types))
			for _, d := range list {
				if d.Code == "HF-CFG-018" || d.Code == "HF-CFG-003" {
					t.Errorf("%s: %s", d.Range, d.Detail)
				}
			}
			w.check(t, doc)
		})
	}
}

func TestTextInJSONIsBytes(t *testing.T) {
	for _, text := range []string{decomposed, `cafe\u0301`, `${\"cafe\"}` + "\u0301", "${var.environ}", `${join(\"\", [\"cafe\", \"\u0301\"])}`} {
		src := `{"device": {"sqlite": {"d": {"path": "/` + text + `"}}}, "secret": {"s": {"file": "/` + text + `"}},
			"mirror": {"m": {"every": "1h", "source": "${endpoint(local.s)}", "target": "${endpoint(\"file:///y\")}", "exclude": ["` + text + `"]}},
			"locals": {"s": "file:///` + text + `"}}`
		doc, list := load.Load(fstest.MapFS{"a.hold.json": {Data: []byte(src)}, "b.hold.hcl": {Data: []byte(strings.Replace(preamble, "locals", "# ", 1))}},
			options(all.Types(all.Registry())))
		if list.HasErrors() {
			t.Errorf("%s: %v", src, list)
			continue
		}
		if m := doc.Mirrors[0]; m.Exclude[0] != decomposed || m.Source != "file:///"+decomposed || doc.Secrets[0].File != "/"+decomposed {
			t.Errorf("%s: %q %q %q", text, m.Exclude[0], m.Source, doc.Secrets[0].File)
		}
	}
}

func TestKeysAndLinesAreBytes(t *testing.T) {
	src := preamble + strings.NewReplacer("NFD", decomposed, "NFC", composed).Replace(`
device "command" "d" {
  for_each = { "NFD" = "x-NFD", "NFC" = "y" }
  command  = ["/bin/${each.key}", each.value]
}
moved {
  from = device.x
  to   = device.d["NFD"]
}
device "sqlite" "s" {
  path = <<EOT
/x/NFD\u0301
EOT
}
`)
	doc, list := load.Load(fstest.MapFS{"a.hold.hcl": {Data: []byte(src)}}, options(all.Types(all.Registry())))
	for _, d := range list {
		t.Error(d)
	}
	var commands []string
	for _, d := range doc.Devices {
		commands = append(commands, string(d.Address)+" "+string(config.Spec(d)))
	}
	got := strings.Join(commands, "\n")
	for _, want := range []string{"/bin/" + decomposed, "/bin/" + composed, "x-" + decomposed, "/x/" + decomposed + `\\u0301\n`} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in %s", want, got)
		}
	}
	if to := string(doc.Moved[0].To); to != string(config.NewAddress("device", "d", decomposed)) {
		t.Errorf("moved to %q", to)
	}
}

func TestNamesOutsideOfQuotesAreRefused(t *testing.T) {
	src := "locals { m = { " + decomposed + " = 1 } }\n"
	_, list := load.Load(fstest.MapFS{"a.hold.hcl": {Data: []byte(src)}}, load.Options{Types: all.Types(all.Registry())})
	if len(list) != 1 || !strings.Contains(list[0].Detail, "in quotes") {
		t.Errorf("%v", list)
	}
}

// writer writes a configuration with every argument that holds text.
type writer struct {
	text  strings.Builder
	types language.Types
	spell func(string) string
	want  map[string]bool // what must be found
	n     int
}

func (w *writer) configuration() {
	w.want = map[string]bool{}
	for _, k := range language.Kinds {
		types := []string{""}
		if k.Typed {
			types = w.types.Names(k.Name)
		}
		for i, typ := range types {
			if k.Name == language.KindVariable || k.Name == language.KindLocals {
				continue
			}
			w.header(k, typ, i)
			w.body(k.Table, typ)
			if settings, ok := w.types.Settings(k.Name, typ); ok && settings != nil {
				w.body(tableOf(settings), typ)
			}
			w.text.WriteString("}\n")
		}
	}
}

func (w *writer) header(k *language.Kind, typ string, i int) {
	w.text.WriteString(k.Name)
	for _, label := range k.LabelNames() {
		switch {
		case label == "type" && typ != "":
			fmt.Fprintf(&w.text, " %q", typ)
		case label == "type":
			w.text.WriteString(` "sqlite"`)
		default:
			fmt.Fprintf(&w.text, ` "n%d"`, i)
		}
	}
	w.text.WriteString(" {\n")
}

func (w *writer) body(t *language.Table, typ string) {
	for _, f := range t.Args {
		if free(f) {
			w.argument(f)
		} else if f.Required {
			fmt.Fprintf(&w.text, "%s = %s\n", f.Name, f.Example())
		}
	}
	for _, f := range t.Blocks {
		w.text.WriteString(f.Name)
		for range f.Nested.Labels {
			w.text.WriteString(` "a"`)
		}
		w.text.WriteString(" {\n")
		w.body(f.Nested, typ)
		if f.Name == "member" {
			if settings, ok := w.types.Member(typ); ok && settings != nil {
				w.body(tableOf(settings), typ)
			}
		}
		w.text.WriteString("}\n")
	}
}

// free reports whether an argument holds text of the user's choice.
func free(f *language.Field) bool {
	return f.Form == language.FormString && f.Enum == nil && (f.Meaning == "" || f.Meaning == "paths" || f.Meaning == "pattern" || f.Meaning == "endpoint")
}

func (w *writer) argument(f *language.Field) {
	w.n++
	value := fmt.Sprintf("/a%d/%s", w.n, decomposed)
	w.want[value] = true
	expr := w.spell(value)
	if f.Meaning == "endpoint" {
		expr = "endpoint(" + w.spell("file://"+value) + ")"
	}
	switch f.Shape {
	case language.List:
		expr = "[" + expr + "]"
	case language.Mapping:
		expr = "{ " + f.Name + " = " + expr + " }"
	}
	fmt.Fprintf(&w.text, "%s = %s\n", f.Name, expr)
}

func (w *writer) check(t *testing.T, doc *config.Document) {
	got := recorded(doc)
	if len(w.want) < 20 {
		t.Errorf("only %d arguments hold text:\n%s", len(w.want), w.text.String())
	}
	for text := range w.want {
		if !strings.Contains(got, text) {
			i := strings.Index(w.text.String(), strings.SplitAfter(text, "/")[1])
			t.Errorf("%q was not read as written: %q", text, w.text.String()[max(0, i-40):i+40])
		}
	}
	if strings.Contains(got, composed) {
		t.Errorf("something was composed: %s", got)
	}
}

func recorded(doc *config.Document) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", config.Spec(&doc.Settings))
	if doc.State != nil {
		fmt.Fprintf(&b, "%s\n", config.Spec(doc.State))
	}
	for _, s := range doc.Secrets {
		fmt.Fprintf(&b, "%s\n", config.Spec(s))
	}
	for _, m := range doc.Removed {
		fmt.Fprintf(&b, "%+v\n", m)
	}
	for _, o := range doc.Objects() {
		fmt.Fprintf(&b, "%s %s\n", o.Head().Address, config.Spec(o))
	}
	return b.String()
}

func tableOf(settings any) *language.Table {
	t, err := language.TableOf(reflect.TypeOf(settings).Elem())
	if err != nil {
		panic(err)
	}
	return t
}

func TestAValueThatIsNotUTF8IsRefused(t *testing.T) {
	_, list := load.Load(fstest.MapFS{"a.hold.hcl": {Data: []byte("variable \"a\" {}\n")}},
		load.Options{Types: all.Types(all.Registry()), Environ: map[string]string{"HOLDFAST_VAR_a": "caf\xe9"}})
	if len(list) != 1 || !strings.Contains(list[0].Detail, "not valid UTF-8") {
		t.Errorf("%v", list)
	}
}
