package load

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/config/diag"
	"github.com/holdfast-dr/holdfast/config/language"
	"github.com/holdfast-dr/holdfast/config/load/problem"
	"github.com/holdfast-dr/holdfast/config/load/syntax"
	"github.com/holdfast-dr/holdfast/config/load/value"
)

const maxObjects = 100_000

// declaration is one top-level block and the names its header gives.
type declaration struct {
	kind   *language.Kind
	block  syntax.Block
	typ    string // the type label, when the kind has one
	name   string
	each   hcl.Expression // for_each, or nil
	keys   []string       // of its instances
	bad    bool           // its instances are not known
	broken bool           // its file has syntax errors, so what is missing in it may just not have been understood
}

// instance is one object to decode.
type instance struct {
	*declaration
	key   string
	value cty.Value // each.value
}

func (i *instance) address() config.Address {
	return config.NewAddress(i.kind.Name, i.name, i.key)
}

// topLevel sorts the blocks of all files by kind and checks their headers.
func (l *loader) topLevel(files []*syntax.File) map[string][]*declaration {
	byKind := map[string][]*declaration{}
	for _, f := range files {
		if f.Body == nil {
			continue
		}
		var rep problem.Report
		b := l.sources.Read(f.Body, topLevelSchema, &rep)
		f.Body = nil
		for _, a := range b.Args {
			strayArgument(a, &rep)
		}
		for _, a := range b.Extra {
			l.gaps.Lose(nil)
			strangeBlock(a.Name, a.NameRange, &rep)
		}
		for _, blk := range b.Blocks {
			k := language.KindByName(blk.Kind)
			if k == nil {
				l.gaps.Lose(blk.Labels)
				strangeBlock(blk.Kind, blk.KindRange, &rep)
			} else if d := l.declare(k, blk, &rep); d != nil {
				d.broken = f.Report.Incomplete
				byKind[k.Name] = append(byKind[k.Name], d)
			}
		}
		l.found.Take(&rep)
	}
	return byKind
}

func topLevelSchema() syntax.Expected {
	var e syntax.Expected
	for _, k := range language.Kinds {
		e.Blocks = append(e.Blocks, syntax.ExpectedBlock{Name: k.Name, Labels: k.LabelNames()})
	}
	return e
}

func strayArgument(a syntax.Argument, rep *problem.Report) {
	if k := language.KindByName(a.Name); k != nil {
		rep.Add(problem.BlockExpected, a.NameRange, "%s is a block: write %s { ... }, without =.", a.Name, k.Header("NAME"))
		return
	}
	if language.KindByName(language.KindSettings).Table.Arg(a.Name) != nil {
		rep.Add(problem.UnknownArgument, a.NameRange, "Arguments stand inside blocks. Write settings { %s = ... }.", a.Name)
		return
	}
	rep.Add(problem.UnknownArgument, a.NameRange, "Arguments stand inside blocks, so %s cannot stand here. To give a value a name, write locals { %s = ... }.", diag.Quote(a.Name), a.Name)
}

func strangeBlock(name string, rng hcl.Range, rep *problem.Report) {
	if why, ok := language.Reserved(name); ok {
		rep.Add(problem.ReservedWord, rng, "%s is a reserved word. %s", name, why)
		return
	}
	if better, ok := language.Foreign(name); ok {
		rep.Add(problem.UnknownBlock, rng, "There is no block named %s. Did you mean %s?", diag.Quote(name), better)
		return
	}
	rep.Add(problem.UnknownBlock, rng, "There is no block named %s.%s", diag.Quote(name), diag.Suggest("", name, language.KindNames(), " The blocks are: "+strings.Join(language.KindNames(), ", ")+"."))
}

// declare checks a block's labels and notes its name.
func (l *loader) declare(k *language.Kind, b syntax.Block, rep *problem.Report) *declaration {
	d := &declaration{kind: k, block: b}
	want := k.LabelNames()
	if len(b.Labels) != len(want) {
		l.gaps.Lose(b.Labels)
		rep.Add(problem.WrongLabels, b.Header(), "%s", labelProblem(k, b, want))
		return nil
	}
	if i := slices.Index(want, "type"); i >= 0 {
		d.typ = b.Labels[i]
	}
	if k.Named {
		last := len(want) - 1
		if d.name = b.Labels[last]; !language.ValidName(d.name) {
			l.gaps.Lose(b.Labels)
			rep.Add(problem.InvalidName, b.LabelRanges[last], "%s", language.BadName("The name of "+diag.Article(k.Name), d.name))
			return nil
		}
	}
	if k.Once || k.Named {
		id := k.Name + "." + d.name
		if first, twice := l.declared[id]; twice {
			rep.AddAt(problem.DeclaredTwice, problem.Place(b.Header()), "%s", twiceProblem(k, d, problem.Place(first.block.Header())))
			return nil
		}
		l.declared[id] = d
	}
	return d
}

func labelProblem(k *language.Kind, b syntax.Block, want []string) string {
	switch {
	case len(want) == 0:
		return fmt.Sprintf("A %s block has no labels: write %s { ... }.", k.Name, k.Name)
	case len(want) == 1:
		return fmt.Sprintf("A %s block has one label, its %s: write %s { ... }.", k.Name, want[0], k.Header("NAME"))
	}
	name := "NAME"
	if len(b.Labels) > 0 && language.ValidName(b.Labels[len(b.Labels)-1]) {
		name = b.Labels[len(b.Labels)-1]
	}
	return fmt.Sprintf("%s block has two labels, its %s: write %s { ... }.", diag.Sentence(diag.Article(k.Name)), strings.Join(want, " and its "), k.Header(name))
}

func twiceProblem(k *language.Kind, d *declaration, first diag.Range) string {
	if k.Once {
		return fmt.Sprintf("There is a %s block at %s already; there can be only one.", k.Name, first)
	}
	why := ""
	if k.Typed {
		why = " Names are unique per kind of block, whatever the type."
	}
	return fmt.Sprintf("%s.%s is declared at %s already.%s", k.Name, d.name, first, why)
}

// expand gives the instances of a block: itself, or one for each key of its for_each.
func (l *loader) expand(d *declaration) []*instance {
	var rep problem.Report
	defer func() { l.found.Take(&rep) }()
	rep.Address = d.kind.Name + "." + d.name
	d.each = l.forEach(d.block.Body)
	if d.each == nil {
		return []*instance{{declaration: d}}
	}
	d.bad = true
	v, ok := l.eval.Evaluate(d.each, l.eval.Scope, &rep)
	if !ok {
		return nil
	}
	elements, ok := forEachElements(v, d.each.Range(), &rep)
	if !ok {
		return nil
	}
	d.bad = false
	var out []*instance
	for _, key := range slices.Sorted(maps.Keys(elements)) {
		if why := language.BadKey(key); why != "" {
			rep.Add(problem.BadForEach, d.each.Range(), "%s", why)
			d.bad = true
			continue
		}
		d.keys = append(d.keys, key)
		out = append(out, &instance{declaration: d, key: key, value: elements[key]})
	}
	return out
}

// forEach finds the for_each argument of a body, or nil.
func (l *loader) forEach(b hcl.Body) hcl.Expression {
	if native, ok := b.(*hclsyntax.Body); ok {
		if a := native.Attributes["for_each"]; a != nil {
			return a.Expr
		}
		return nil
	}
	content := l.sources.Read(b, func() syntax.Expected { return syntax.Expected{Args: []string{"for_each"}} }, &problem.Report{})
	if a := content.Arg("for_each"); a != nil {
		return a.Expr
	}
	return nil
}

// forEachElements gives key and value of every instance.
func forEachElements(v cty.Value, rng hcl.Range, rep *problem.Report) (map[string]cty.Value, bool) {
	if value.Sensitive(v) && v.IsMarked() {
		rep.Add(problem.BadForEach, rng, "for_each cannot use a sensitive value: its keys become names of objects, which are recorded and shown.")
		return nil, false
	}
	v, _ = v.Unmark()
	t := v.Type()
	switch {
	case v.IsNull():
		rep.Add(problem.BadForEach, rng, "for_each has no value (null). Write {} for no instances.")
	case t.IsTupleType() || t.IsListType():
		rep.Add(problem.BadForEach, rng, "for_each needs a map or a set, but this is a list. Write toset([...]): instances are named by their keys, not by their place.")
	case t.IsSetType() && t.ElementType() != cty.String && v.LengthInt() > 0:
		rep.Add(problem.BadForEach, rng, "for_each needs a set of texts, because they become names.")
	case !t.IsMapType() && !t.IsObjectType() && !t.IsSetType():
		rep.Add(problem.BadForEach, rng, "for_each needs a map or a set of texts, but this is %s.", value.Describe(v))
	case v.LengthInt() > language.MaxInstances:
		rep.Add(problem.BadForEach, rng, "for_each has %d elements; at most %d are allowed.", v.LengthInt(), language.MaxInstances)
	default:
		elements := map[string]cty.Value{}
		for it := v.ElementIterator(); it.Next(); {
			key, val := it.Element()
			if t.IsSetType() {
				key = val
			}
			if key.IsNull() {
				rep.Add(problem.BadForEach, rng, "for_each has a key without a value (null).")
				return nil, false
			}
			elements[value.Text(key)] = val
		}
		return elements, true
	}
	return nil, false
}
