package load

import (
	"cmp"
	"fmt"
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

// refPath is a reference as written: store.nas["eu"].
type refPath struct {
	kind, name string
	key        string
	keyed      bool
	rest       []string // attributes after it
	badKey     bool     // the index is no text
	rng        hcl.Range
}

func (p refPath) address() config.Address { return config.NewAddress(p.kind, p.name, p.key) }

func (p refPath) String() string {
	s := p.kind
	if p.name != "" {
		s = string(config.NewAddress(p.kind, p.name, p.key))
	}
	return strings.Join(append([]string{s}, p.rest...), ".")
}

// reference decodes a reference to an object or a secret.
func (d *decoder) reference(f *language.Field, expr hcl.Expression) (string, bool) {
	want := f.Refs
	if f.Form == language.FormSecret {
		want = []string{config.KindSecret}
	}
	p, ok := d.static(expr, f)
	if !ok {
		return "", false
	}
	if f.Meaning == "address" {
		return d.formerAddress(f, p)
	}
	return d.resolve(p, want, f)
}

// static reads a reference without evaluating it; only the key of a for_each
// instance is computed. It reports everything that is not a reference.
func (d *decoder) static(expr hcl.Expression, f *language.Field) (refPath, bool) {
	rng := expr.Range()
	expr, ok := value.Written(d.l.sources, expr, &d.Report)
	if !ok {
		return refPath{}, false
	}
	if d.isJSON {
		v, diags := expr.Value(nil)
		if diags.HasErrors() || v.Type() != cty.String || v.IsNull() {
			d.Add(problem.NotAReference, rng, "%s is a reference. Write it as text: %q.", f.Name, f.ExampleValue())
			return refPath{}, false
		}
		if p, ok := parsePath(value.Text(v)); f.Form == language.FormSecret && (!ok || p.kind != config.KindSecret) {
			d.literalCredential(f, value.Text(v), rng)
			return refPath{}, false
		}
		inner, diags := hclsyntax.ParseExpression([]byte(v.AsString()), rng.Filename, hcl.Pos{Line: rng.Start.Line, Column: rng.Start.Column + 1, Byte: rng.Start.Byte + 1})
		if diags.HasErrors() {
			d.notReference(f, value.Text(v), rng)
			return refPath{}, false
		}
		expr = inner
	}
	p, ok, shaped := d.shape(expr)
	p.rng = rng
	switch {
	case ok:
		return p, true
	case shaped: // reported
		return p, false
	}
	text, isText := literalText(expr)
	switch {
	case isText && f.Form == language.FormSecret:
		d.literalCredential(f, text, rng)
	case isText:
		d.quoted(f, text, rng)
	default:
		d.notReference(f, d.source(expr), rng)
	}
	return p, false
}

func literalText(expr hcl.Expression) (string, bool) {
	if t, ok := expr.(*hclsyntax.TemplateExpr); ok && t.IsStringLiteral() {
		v, _ := t.Value(nil)
		return value.Text(v), true
	}
	return "", false
}

func (d *decoder) literalCredential(f *language.Field, text string, rng hcl.Range) {
	if p, ok := parsePath(text); ok && p.kind == config.KindSecret {
		d.Add(problem.QuotedReference, rng, "A reference is not text. Write %s without quotes: %s = %s.", text, f.Name, text)
		return
	}
	d.Hide(rng)
	if f.Shape != language.Single {
		d.Add(problem.Credential, rng, "The values of %s are credentials, and credentials never stand in the configuration. Declare secret \"NAME\" { file = \"...\" } and write secret.NAME in place of the text.", f.Name)
		return
	}
	d.Add(problem.Credential, rng, "%s is a credential, and credentials never stand in the configuration. Declare secret \"NAME\" { file = \"...\" } and write %s = secret.NAME.", f.Name, f.Name)
}

// quoted explains a reference that was written as text.
func (d *decoder) quoted(f *language.Field, text string, rng hcl.Range) {
	kind := cmp.Or(append(slices.Clone(f.Refs), config.KindBackupPlan)...)
	if _, ok := parsePath(text); ok {
		d.Add(problem.QuotedReference, rng, "A reference is not text. Write %s without quotes: %s = %s.", text, f.Name, d.bracketed(f, text))
		return
	}
	if language.ValidName(text) {
		d.Add(problem.QuotedReference, rng, "%s refers to %s, and a reference is not text. Write %s.", f.Name, diag.Article(kind), d.bracketed(f, kind+"."+text))
		return
	}
	d.Add(problem.NotAReference, rng, "%s refers to %s. Write for example %s = %s.", f.Name, diag.Article(kind), f.Name, f.Example())
}

func (d *decoder) bracketed(f *language.Field, one string) string {
	if f.Shape == language.List {
		return "[" + one + "]"
	}
	return one
}

func (d *decoder) notReference(f *language.Field, text string, rng hcl.Range) {
	if f.Form == language.FormSecret {
		d.Add(problem.Credential, rng, "%s is a credential, so it must be a reference to a secret, written out: %s = secret.NAME. Its value is never computed or part of the configuration.", f.Name, f.Name)
		return
	}
	d.Add(problem.NotAReference, rng, "%s must be a reference, written out so that it can be checked before anything is computed, such as %s.", f.Name, f.ExampleValue())
}

// shape reads the parts of a reference. ok: it is one. shaped: it looks like
// one, but its key has a problem, which was reported.
func (d *decoder) shape(expr hcl.Expression) (p refPath, ok, shaped bool) {
	switch e := expr.(type) {
	case *hclsyntax.ParenthesesExpr:
		return d.shape(e.Expression)
	case *hclsyntax.ScopeTraversalExpr:
		p = refPath{kind: e.Traversal.RootName()}
		ok = p.extend(e.Traversal[1:])
		return p, ok, false
	case *hclsyntax.RelativeTraversalExpr:
		p, ok, shaped = d.shape(e.Source)
		return p, ok && p.extend(e.Traversal), shaped
	case *hclsyntax.IndexExpr:
		if p, ok, shaped = d.shape(e.Collection); !ok || p.name == "" || p.keyed || len(p.rest) > 0 {
			return p, false, shaped
		}
		p.key, ok = d.instanceKey(e.Key)
		p.keyed = true
		return p, ok, true
	}
	return p, false, false
}

// instanceKey computes the key in store.nas[each.key].
func (d *decoder) instanceKey(expr hcl.Expression) (string, bool) {
	v, ok := d.l.eval.Evaluate(expr, d.scope, &d.Report)
	if !ok {
		return "", false
	}
	if v, ok = value.Plain(v, expr.Range(), "a key", &d.Report); !ok {
		return "", false
	}
	if v.IsNull() || v.Type() != cty.String {
		d.Add(problem.NotAReference, expr.Range(), "The key of an instance is text, but this is %s.", value.Describe(v))
		return "", false
	}
	return value.Text(v), true
}

// extend adds the steps of a traversal.
func (p *refPath) extend(t hcl.Traversal) bool {
	for _, step := range t {
		switch s := step.(type) {
		case hcl.TraverseAttr:
			if p.name == "" {
				p.name = s.Name
			} else {
				p.rest = append(p.rest, s.Name)
			}
		case hcl.TraverseIndex:
			if p.name == "" || p.keyed || len(p.rest) > 0 {
				return false
			}
			p.keyed = true
			if s.Key.Type() == cty.String {
				p.key = value.Text(s.Key)
			} else {
				p.badKey = true
			}
		default:
			return false
		}
	}
	return true
}

// parsePath reads a reference from text.
func parsePath(text string) (refPath, bool) {
	if len(text) > syntax.MaxString {
		return refPath{}, false
	}
	t, diags := hclsyntax.ParseTraversalAbs([]byte(text), "", hcl.InitialPos)
	if diags.HasErrors() {
		return refPath{}, false
	}
	p := refPath{kind: t.RootName()}
	return p, p.extend(t[1:]) && p.name != "" && language.IsObject(p.kind)
}

// resolve checks that a reference names a declared object of a wanted kind.
func (d *decoder) resolve(p refPath, want []string, f *language.Field) (string, bool) {
	wanted := diag.Article(want[0])
	for _, w := range want[1:] {
		wanted += " or " + diag.Article(w)
	}
	switch {
	case p.kind == "var" || p.kind == "local" || p.kind == "each":
		if f.Form == language.FormSecret {
			d.notReference(f, p.String(), p.rng)
			break
		}
		d.Add(problem.NotAReference, p.rng, "%s must be a reference, written out so that it can be checked before anything is computed, such as %s. It cannot come from %s.", f.Name, f.ExampleValue(), p)
	case p.name == "" && language.KindByName(p.kind) == nil && d.l.declared[want[0]+"."+p.kind] != nil:
		d.Add(problem.NotAReference, p.rng, "A reference has a kind and a name. Did you mean %s.%s?", want[0], p.kind)
	case p.name == "":
		d.Add(problem.NotAReference, p.rng, "A reference has a kind and a name: write %s.NAME.", want[0])
	case !language.IsObject(p.kind):
		near := diag.Suggest("", p.kind, want, "")
		d.Add(problem.WrongKind, p.rng, "%s is expected here, but there is no kind of object named %s.%s", diag.Sentence(wanted), diag.Quote(p.kind), near)
	case !slices.Contains(want, p.kind) && p.kind == config.KindSecret:
		d.Add(problem.MisplacedSecret, p.rng, "%s is expected here, %s is a secret.", diag.Sentence(wanted), p)
	case !slices.Contains(want, p.kind):
		hint := ""
		if d.l.declared[want[0]+"."+p.name] != nil {
			hint = fmt.Sprintf(" Did you mean %s.%s?", want[0], p.name)
		}
		d.Add(problem.WrongKind, p.rng, "%s is expected here, %s is %s.%s", diag.Sentence(wanted), p, diag.Article(p.kind), hint)
	case len(p.rest) > 0:
		d.Add(problem.NotAReference, p.rng, "A reference names a whole object. Write %s without .%s.", p.address(), strings.Join(p.rest, "."))
	default:
		return d.existing(p)
	}
	return "", false
}

// existing checks that the object and its instance are declared.
func (d *decoder) existing(p refPath) (string, bool) {
	block := p.kind + "." + p.name
	decl := d.l.declared[block]
	switch {
	case decl == nil && d.l.gaps.MayHave(p.name):
		d.Incomplete = true
	case decl == nil:
		d.Add(problem.Undeclared, p.rng, "There is no %s.%s", block, diag.Suggest(p.kind+".", p.name, d.l.namesOf(p.kind), d.l.noneOf(p.kind, p.name)))
	case decl.broken:
		d.Incomplete = true
	case p.badKey:
		d.Add(problem.NotAReference, p.rng, "The instances of %s are named by text, not by numbers. Write for example %s[%q].", block, block, cmp.Or(append(slices.Clone(decl.keys), "KEY")...))
	case decl.each == nil && p.keyed:
		d.Add(problem.Undeclared, p.rng, "%s has no for_each, so it has no instance %s. Write %s.", block, diag.Quote(p.key), block)
	case decl.each == nil:
		return block, true
	case decl.bad:
		d.Incomplete = true
	case !p.keyed:
		d.Add(problem.Undeclared, p.rng, "%s has for_each, so one of its instances must be named. Write for example %s[%q].", block, block, cmp.Or(append(slices.Clone(decl.keys), "KEY")...))
	case !slices.Contains(decl.keys, p.key):
		hint := " It has no instances."
		if len(decl.keys) > 0 {
			hint = diag.Suggest("", p.key, decl.keys, "")
		}
		d.Add(problem.Undeclared, p.rng, "%s has no instance %s.%s", block, diag.Quote(p.key), hint)
	default:
		return string(p.address()), true
	}
	return "", false
}

// noneOf ends the message about an object that does not exist.
func (l *loader) noneOf(kind, name string) string {
	if all := l.namesOf(kind); len(all) > 0 && len(all) <= 5 {
		for i := range all {
			all[i] = kind + "." + all[i]
		}
		return " There is " + diag.Joined(all, " and ") + "."
	}
	return fmt.Sprintf(" Declare it with %s { ... }.", language.KindByName(kind).Header(name))
}

// namesOf lists the declared names of a kind, in order.
func (l *loader) namesOf(kind string) []string {
	return slices.Clone(l.names[kind])
}

// formerAddress reads an address in a moved or removed block: the object need not exist.
func (d *decoder) formerAddress(f *language.Field, p refPath) (string, bool) {
	k := language.KindByName(p.kind)
	switch {
	case p.name == "" || p.badKey || len(p.rest) > 0 || k == nil:
		d.Add(problem.NotAReference, p.rng, "%s is the address of an object. Write for example %s = backup_plan.nightly or backup_plan.qa[\"eu\"].", f.Name, f.Name)
	case !k.Object || p.kind == config.KindSecret:
		d.Add(problem.WrongKind, p.rng, "%s is not recorded, so it has no history to keep.", diag.Sentence(diag.Article(p.kind)))
	case p.keyed && language.BadKey(p.key) != "":
		d.Add(problem.NotAReference, p.rng, "%s", language.BadKey(p.key))
	default:
		return string(p.address()), true
	}
	return "", false
}

// isStaticReference reports whether an expression looks like a reference.
func (d *decoder) isStaticReference(expr hcl.Expression) bool {
	e, ok := expr.(*hclsyntax.ScopeTraversalExpr)
	return ok && language.KindByName(e.Traversal.RootName()) != nil
}

// source is the text of an expression, when it is short.
func (d *decoder) source(expr hcl.Expression) string {
	text := d.l.sources.Text(expr.Range())
	if len(text) > 80 || strings.ContainsAny(text, "\n\r") {
		return ""
	}
	return text
}
