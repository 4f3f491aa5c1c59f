package load

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/config/diag"
	"github.com/holdfast-dr/holdfast/config/language"
	"github.com/holdfast-dr/holdfast/config/load/problem"
	"github.com/holdfast-dr/holdfast/config/load/syntax"
	"github.com/holdfast-dr/holdfast/config/load/value"
)

// decoder fills the structs of one object.
type decoder struct {
	problem.Report
	l       *loader
	scope   value.Scope
	head    *config.Header // takes the ranges
	what    string         // "device.web", for messages
	typ     string         // the type label of the object
	isJSON  bool
	forEach bool // the block may have for_each
}

// part is one struct whose fields stand in a body. The body of a device has
// two: the device's own and its provider's.
type part struct {
	table *language.Table
	dst   reflect.Value
}

// decode fills the structs that targets point to from one block.
func (d *decoder) decode(b hcl.Body, header hcl.Range, targets ...any) {
	parts, ok := d.parts(header, targets...)
	if ok {
		d.body(b, header, "", d.what, parts)
	}
}

func (d *decoder) parts(header hcl.Range, targets ...any) ([]part, bool) {
	var parts []part
	for _, target := range targets {
		v := reflect.ValueOf(target)
		if v.Kind() != reflect.Pointer || v.IsNil() {
			d.Add(problem.Defect, header, "The settings of %s are a %T, not a pointer to a struct. Please report this.", d.what, target)
			return nil, false
		}
		t, err := d.l.tables.of(v.Type().Elem())
		if err != nil {
			d.Add(problem.Defect, header, "The settings of %s are declared wrongly: %v. Please report this.", d.what, err)
			return nil, false
		}
		parts = append(parts, part{t, v.Elem()})
	}
	return parts, true
}

// body decodes one body into the parts. path is where it is in the object,
// what names it at the start of a sentence.
func (d *decoder) body(b hcl.Body, header hcl.Range, path, what string, parts []part) {
	content := d.l.sources.Read(b, func() syntax.Expected { return expectation(parts, d.forEach && path == "") }, &d.Report)
	d.isJSON = content.JSON
	meant := map[string]bool{} // arguments that misspelt ones stand for
	for _, a := range content.Args {
		if f := findArg(parts, a.Name); f == nil && !(a.Name == "for_each" && d.forEach && path == "") {
			meant[d.strangeArgument(a, what, parts)] = true
		}
	}
	for _, a := range content.Extra {
		meant[d.strangeArgument(a, what, parts)] = true
	}
	for _, blk := range content.Blocks {
		if findBlock(parts, blk.Kind) == nil {
			d.strangeNested(blk, what, parts)
		}
	}
	for _, p := range parts {
		for _, f := range p.table.Args {
			written := d.argument(f, content.Arg(f.Name), p.dst.FieldByIndex(f.Index), path)
			if !written && f.Required && !meant[f.Name] {
				d.Add(problem.MissingArgument, header, "%s needs the argument %s: %s Write for example %s = %s.", what, f.Name, f.Doc, f.Name, f.Example())
			}
		}
		for _, f := range p.table.Blocks {
			d.nested(f, &content, p.dst.FieldByIndex(f.Index), path)
		}
	}
}

func expectation(parts []part, forEach bool) syntax.Expected {
	var e syntax.Expected
	if forEach {
		e.Args = append(e.Args, "for_each")
	}
	for _, p := range parts {
		for _, f := range p.table.Args {
			e.Args = append(e.Args, f.Name)
		}
		for _, f := range p.table.Blocks {
			eb := syntax.ExpectedBlock{Name: f.Name}
			for _, label := range f.Nested.Labels {
				eb.Labels = append(eb.Labels, label.Name)
			}
			e.Blocks = append(e.Blocks, eb)
		}
	}
	return e
}

func findArg(parts []part, name string) *language.Field {
	for _, p := range parts {
		if f := p.table.Arg(name); f != nil {
			return f
		}
	}
	return nil
}

func findBlock(parts []part, name string) *language.Field {
	for _, p := range parts {
		if f := p.table.Block(name); f != nil {
			return f
		}
	}
	return nil
}

// allowedNames lists what a body may contain.
func allowedNames(parts []part) (args, blocks []string) {
	for _, p := range parts {
		for _, f := range p.table.Args {
			args = append(args, f.Name)
		}
		for _, f := range p.table.Blocks {
			blocks = append(blocks, f.Name)
		}
	}
	return args, blocks
}

// strangeArgument reports an argument that is not known, and gives the name
// that was probably meant.
func (d *decoder) strangeArgument(a syntax.Argument, what string, parts []part) string {
	near := nearestOf(a.Name, parts)
	why, isReserved := language.Reserved(a.Name)
	switch f := findBlock(parts, a.Name); {
	case f != nil:
		d.Add(problem.BlockExpected, a.NameRange, "%s is a block: write %s { ... }, without =.", a.Name, f.Header())
	case isReserved:
		d.Add(problem.ReservedWord, a.NameRange, "%s is a reserved word. %s", a.Name, why)
	case a.Name == "for_each":
		d.Add(problem.UnknownArgument, a.NameRange, "for_each is possible on blocks that declare objects only, not here.")
	default:
		d.Add(problem.UnknownArgument, a.NameRange, "%s has no argument %s.%s", what, diag.Quote(a.Name), hint(near, parts))
		return near
	}
	return ""
}

func (d *decoder) strangeNested(b syntax.Block, what string, parts []part) {
	if f := findArg(parts, b.Kind); f != nil {
		d.Add(problem.ArgumentExpected, b.KindRange, "%s is an argument: write %s = %s.", b.Kind, b.Kind, f.Example())
		return
	}
	if why, ok := language.Reserved(b.Kind); ok {
		d.Add(problem.ReservedWord, b.KindRange, "%s is a reserved word. %s", b.Kind, why)
		return
	}
	if language.KindByName(b.Kind) != nil {
		d.Add(problem.UnknownBlock, b.KindRange, "A %s block stands at the top level of a file, not inside another block. Is a closing brace } missing before it?", b.Kind)
		return
	}
	d.Add(problem.UnknownBlock, b.KindRange, "%s has no block %s.%s", what, diag.Quote(b.Kind), hint(nearestOf(b.Kind, parts), parts))
}

func nearestOf(name string, parts []part) string {
	args, blocks := allowedNames(parts)
	return diag.Nearest(name, append(args, blocks...))
}

// hint ends the message about a name that is not known.
func hint(near string, parts []part) string {
	if near != "" {
		return fmt.Sprintf(" Did you mean %s?", near)
	}
	args, blocks := allowedNames(parts)
	var has []string
	if len(args) > 0 {
		has = append(has, "the arguments "+diag.Joined(args, " and "))
	}
	if len(blocks) > 0 {
		has = append(has, "the blocks "+diag.Joined(blocks, " and "))
	}
	if len(has) == 0 {
		return " It takes nothing."
	}
	return " It has " + strings.Join(has, ", and ") + "."
}

// argument decodes one argument, or sets its default. It is false when the
// argument was not written.
func (d *decoder) argument(f *language.Field, a *syntax.Argument, dst reflect.Value, path string) bool {
	if a != nil {
		at := join(path, f.Name)
		d.note(at, a.Expr.Range())
		if written := d.assign(f, a.Expr, dst, at); written {
			return true
		}
	}
	f.SetPreset(dst)
	return false
}

// nested decodes the nested blocks of one kind.
func (d *decoder) nested(f *language.Field, content *syntax.Body, dst reflect.Value, path string) {
	var first hcl.Range
	labels := map[string]hcl.Range{}
	n := 0
	for _, b := range content.Blocks {
		if b.Kind != f.Name {
			continue
		}
		at := join(path, f.Name)
		if f.Repeated {
			at = fmt.Sprintf("%s[%d]", at, n)
		}
		if n > 0 && !f.Repeated {
			d.Add(problem.DeclaredTwice, b.Header(), "There is %s block at %s already, and only one is allowed.", diag.Article(f.Name), problem.Place(first))
			continue
		}
		n, first = n+1, b.Header()
		v := reflect.New(f.Nested.Type)
		d.note(at, b.Header())
		if d.labels(f, b, v.Elem(), at, labels) {
			d.inner(f, b, v, at)
		}
		if f.Repeated {
			dst.Set(reflect.Append(dst, v))
		} else {
			dst.Set(v)
		}
	}
}

// inner decodes the body of a nested block.
func (d *decoder) inner(f *language.Field, b syntax.Block, v reflect.Value, at string) {
	what := diag.Sentence(diag.Article(f.Name)) + " block"
	targets := []any{v.Interface()}
	if m, ok := v.Interface().(*config.Member); ok {
		if settings, has := d.l.opts.Types.Member(d.typ); has && settings != nil {
			m.Settings = settings
			targets = append(targets, settings)
		}
	}
	parts, ok := d.parts(b.Header(), targets...)
	if !ok {
		return
	}
	d.body(b.Body, b.Header(), at, what, parts)
	for _, t := range targets[1:] {
		d.check(t, at)
	}
}

// labels sets the labels of a nested block. seen are those of its neighbours.
func (d *decoder) labels(f *language.Field, b syntax.Block, dst reflect.Value, at string, seen map[string]hcl.Range) bool {
	want := f.Nested.Labels
	if len(b.Labels) != len(want) {
		switch len(want) {
		case 0:
			d.Add(problem.WrongLabels, b.Header(), "%s block has no labels: write %s { ... }.", diag.Sentence(diag.Article(f.Name)), f.Name)
		default:
			d.Add(problem.WrongLabels, b.Header(), "%s block has one label, its %s: write %s { ... }.", diag.Sentence(diag.Article(f.Name)), want[0].Name, f.Header())
		}
		return false
	}
	for i, label := range want {
		if !language.ValidName(b.Labels[i]) {
			d.Add(problem.InvalidName, b.LabelRanges[i], "%s", language.BadName("The "+label.Name+" of "+diag.Article(f.Name), b.Labels[i]))
			return false
		}
		dst.FieldByIndex(label.Index).SetString(b.Labels[i])
		d.note(join(at, label.Name), b.LabelRanges[i])
	}
	if len(want) == 0 {
		return true
	}
	key := strings.Join(b.Labels, "\x00")
	if first, twice := seen[key]; twice {
		d.Add(problem.DeclaredTwice, b.Header(), "%s %s is there at %s already.", f.Name, diag.Joined(diag.Quoted(b.Labels), " and "), problem.Place(first))
		return true
	}
	seen[key] = b.Header()
	return true
}

// check runs a settings struct's own rules.
func (d *decoder) check(settings any, path string) {
	c, ok := settings.(interface {
		Check(report func(path, why string))
	})
	if !ok || d.Incomplete {
		return
	}
	c.Check(func(sub, why string) {
		d.AddAt(problem.BadSettings, d.head.At(join(path, sub)), "%s.", diag.Sentence(why))
	})
}

// doubt runs the rules of a settings struct that only warn.
func (d *decoder) doubt(settings any) {
	if s, ok := settings.(interface {
		Doubt(report func(path, why string))
	}); ok && !d.Incomplete {
		s.Doubt(func(path, why string) { d.Doubt(problem.IdlePattern, d.head.At(path), why) })
	}
}

// note remembers where a value is.
func (d *decoder) note(path string, rng hcl.Range) {
	if d.head.Ranges == nil {
		d.head.Ranges = make(map[string]diag.Range, 8)
	}
	d.head.Ranges[path] = problem.Place(rng)
}

func join(path, name string) string {
	switch {
	case path == "":
		return name
	case name == "":
		return path
	}
	return path + "." + name
}
