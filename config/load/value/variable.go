package value

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"github.com/holdfast-dr/holdfast/config/diag"
	"github.com/holdfast-dr/holdfast/config/language"
	"github.com/holdfast-dr/holdfast/config/load/problem"
	"github.com/holdfast-dr/holdfast/config/load/syntax"
)

// environPrefix starts the environment variables that carry variable values.
const environPrefix = "HOLDFAST_VAR_"

// Variable is one declared variable on its way to a value.
type Variable struct {
	Name   string
	Range  hcl.Range
	Block  language.Variable
	Failed bool // the block has errors, or there is no value

	typ      cty.Type
	defaults *typeexpr.Defaults
	preset   cty.Value // NilVal: no default
	value    cty.Value
}

// Inputs are the values of variables that come from outside.
type Inputs struct {
	Environ map[string]string // by name, with the prefix
	Files   []*syntax.File
	Flags   map[string]string // by name
}

// given is one value from outside.
type given struct {
	text string // from the environment or a flag, as typed
	expr hcl.Expression
	from string // "--var region", for messages
	rng  hcl.Range
}

// Variables finds the values of variables and checks them. Each variable's block
// has been decoded.
func (e *Evaluator) Variables(all []*Variable, in Inputs) {
	for _, v := range all {
		e.vars[v.Name] = true
		e.declare(v)
	}
	values := e.givenValues(in)
	object := map[string]cty.Value{}
	for _, v := range all {
		g, has := values[v.Name]
		delete(values, v.Name)
		if !v.Failed {
			e.assign(v, g, has)
		}
		if v.Failed {
			e.failed["var."+v.Name] = true
			continue
		}
		object[v.Name] = v.value
	}
	e.strangeValues(values)
	e.Scope = e.newScope(cty.ObjectVal(object), cty.EmptyObjectVal)
	for _, v := range all {
		if !v.Failed && !e.validate(v) {
			e.failed["var."+v.Name] = true
		}
	}
}

// declare reads the type and the default of a variable.
func (e *Evaluator) declare(v *Variable) {
	rep := &problem.Report{Incomplete: v.Failed}
	v.typ = cty.DynamicPseudoType
	if x := written(v.Block.Type); x != nil {
		if kept, ok := Written(e.sources, x, rep); ok {
			x = kept
		}
		typ, defaults, diags := typeexpr.TypeConstraintWithDefaults(x)
		for _, dg := range diags {
			rep.Add(problem.BadVariable, subject(dg, x.Range()), "The type of %s is not valid: %s Write for example string, number, bool, list(string) or map(string), without quotes.", diag.Quote(v.Name), dg.Detail)
		}
		if !diags.HasErrors() {
			v.typ, v.defaults = typ, defaults
		}
	}
	if x := written(v.Block.Default); x != nil && !rep.Incomplete {
		e.readDefault(v, x, rep)
	}
	v.Failed = rep.Incomplete
	e.Take(rep)
}

func (e *Evaluator) readDefault(v *Variable, x hcl.Expression, rep *problem.Report) {
	inner := &problem.Report{}
	val, ok := e.Evaluate(x, e.Constant, inner)
	if !ok && v.Block.Sensitive {
		rep.Add(problem.BadVariable, x.Range(), "The default of %s cannot be evaluated. The reason is not shown, because it is sensitive.", diag.Quote(v.Name))
		return
	}
	if rep.Take(inner); !ok {
		return
	}
	conv, err := v.convert(val)
	switch {
	case err != nil && v.Block.Sensitive:
		rep.Add(problem.BadVariable, x.Range(), "The default of %s does not have the declared type.", diag.Quote(v.Name))
	case err != nil:
		rep.Add(problem.BadVariable, x.Range(), "The default of %s does not have the declared type: %v.", diag.Quote(v.Name), err)
	default:
		v.preset = conv
	}
}

// written is the expression of an argument that is kept as written, or nil.
func written(x language.Expression) hcl.Expression {
	expr, _ := x.(hcl.Expression)
	return expr
}

func (v *Variable) convert(val cty.Value) (cty.Value, error) {
	if v.defaults != nil && !val.IsNull() {
		val = v.defaults.Apply(val)
	}
	return convert.Convert(val, v.typ)
}

func subject(d *hcl.Diagnostic, fallback hcl.Range) hcl.Range {
	if d.Subject != nil && d.Subject.Filename != "" {
		return *d.Subject
	}
	return fallback
}

// givenValues collects the values from outside: the environment, then the
// value files in order, then flags; later ones win.
func (e *Evaluator) givenValues(in Inputs) map[string]given {
	values := map[string]given{}
	for _, name := range slices.Sorted(maps.Keys(in.Environ)) {
		if short, ok := strings.CutPrefix(name, environPrefix); ok && e.vars[short] {
			values[short] = given{text: in.Environ[name], from: name}
		}
	}
	for _, f := range in.Files {
		e.valueFile(f, values)
	}
	for _, name := range slices.Sorted(maps.Keys(in.Flags)) {
		values[name] = given{text: in.Flags[name], from: "--var " + name}
	}
	return values
}

func (e *Evaluator) valueFile(f *syntax.File, values map[string]given) {
	e.sources[f.Name] = f.Text
	f.Parse()
	rep := &f.Report
	defer e.Take(rep)
	if f.Body == nil {
		return
	}
	b := e.sources.Read(f.Body, func() syntax.Expected { return syntax.Expected{} }, rep)
	for _, nested := range b.Blocks {
		rep.Add(problem.ArgumentExpected, nested.KindRange, "A file of variable values has only arguments, such as %s = \"...\".", nested.Kind)
	}
	for _, a := range b.Args {
		values[a.Name] = given{expr: a.Expr, from: f.Name, rng: a.NameRange}
	}
}

// strangeValues reports values nobody declared a variable for.
func (e *Evaluator) strangeValues(values map[string]given) {
	if e.gaps.Partial {
		return
	}
	var rep problem.Report
	for _, name := range slices.Sorted(maps.Keys(values)) {
		rep.Add(problem.UnknownVariable, values[name].rng, "%s gives a value to %s, but there is no such variable.%s", values[name].from, diag.Quote(name),
			diag.Suggest("", name, slices.Sorted(maps.Keys(e.vars)), fmt.Sprintf(" Declare it with variable %q {}.", name)))
	}
	e.Take(&rep)
}

// assign finds the value of a variable.
func (e *Evaluator) assign(v *Variable, g given, has bool) {
	var rep problem.Report
	val := v.preset
	if has {
		val = e.readGiven(v, g, &rep)
	}
	switch {
	case rep.Incomplete:
	case val == cty.NilVal:
		rep.Add(problem.NoVariableValue, v.Range, "The variable %s has no default and no value was given. Give one with --var %s=VALUE, the environment variable %s%s or a line in a *%s file.",
			diag.Quote(v.Name), v.Name, environPrefix, v.Name, language.VarsEnding)
	case e.Budget.spend(val) != nil:
		rep.Add(problem.BadVariable, v.Range, "The value of the variable %s is too large.", diag.Quote(v.Name))
	case v.Block.Sensitive:
		v.value = val.Mark(sensitiveMark)
	default:
		v.value = val
	}
	v.Failed = rep.Incomplete
	e.Take(&rep)
}

// readGiven turns a value from outside into one of the variable's type.
func (e *Evaluator) readGiven(v *Variable, g given, rep *problem.Report) cty.Value {
	expr := g.expr
	if !utf8.ValidString(g.text) {
		rep.Add(problem.BadVariable, v.Range, "The value of the variable %s (%s) is not valid UTF-8. Give it as UTF-8.", diag.Quote(v.Name), g.from)
		return cty.NilVal
	}
	if expr == nil {
		want := v.typ
		if want == cty.DynamicPseudoType && v.preset != cty.NilVal {
			want = v.preset.Type()
		}
		if want == cty.String || want == cty.DynamicPseudoType {
			return textValue(g.text)
		}
		if expr = parseGiven(v, g, rep); expr == nil {
			return cty.NilVal
		}
	}
	at := v.Range
	if g.expr != nil {
		at = g.expr.Range()
	}
	var inner problem.Report
	val, ok := e.Evaluate(expr, e.Constant, &inner)
	if !ok {
		if g.expr != nil && !v.Block.Sensitive {
			rep.Take(&inner)
			return cty.NilVal
		}
		rep.Add(problem.BadVariable, at, "The value of the variable %s (%s) cannot be evaluated.%s", diag.Quote(v.Name), g.from, v.exampleOf())
		return cty.NilVal
	}
	conv, err := v.convert(val)
	switch {
	case err != nil && v.Block.Sensitive:
		rep.Add(problem.BadVariable, at, "The value of the variable %s (%s) does not have the declared type.", diag.Quote(v.Name), g.from)
	case err != nil:
		rep.Add(problem.BadVariable, at, "The value of the variable %s (%s) does not have the declared type: %v.%s", diag.Quote(v.Name), g.from, err, v.exampleOf())
	default:
		return conv
	}
	return cty.NilVal
}

func parseGiven(v *Variable, g given, rep *problem.Report) hcl.Expression {
	expr, ok := syntax.ParseExpression(g.text, g.from)
	if !ok {
		rep.Add(problem.BadVariable, v.Range, "The value of the variable %s (%s) is not a valid expression.%s", diag.Quote(v.Name), g.from, v.exampleOf())
		return nil
	}
	return expr
}

// exampleOf shows how a value of the variable's type is written.
func (v *Variable) exampleOf() string {
	switch t := v.typ; {
	case t == cty.Number:
		return " Write a number, such as 4."
	case t == cty.Bool:
		return " Write true or false."
	case t.IsListType() || t.IsSetType() || t.IsTupleType():
		return ` Write a list, such as ["a", "b"].`
	case t.IsMapType() || t.IsObjectType():
		return ` Write a map, such as { a = "b" }.`
	}
	return ""
}

// validate applies the variable's own rules.
func (e *Evaluator) validate(v *Variable) bool {
	var rep problem.Report
	defer func() { e.Take(&rep) }()
	for _, rule := range v.Block.Validations {
		condition := written(rule.Condition)
		result, ok := e.Evaluate(condition, e.Scope, &rep)
		if !ok {
			continue
		}
		result, _ = result.UnmarkDeep()
		switch {
		case result.IsNull() || result.Type() != cty.Bool:
			rep.Add(problem.BadVariable, condition.Range(), "The condition of a validation must be true or false.")
		case result.False():
			rep.Add(problem.ValidationFailed, v.Range, "The value of the variable %s was refused: %s", diag.Quote(v.Name), e.refusal(written(rule.ErrorMessage), &rep))
		}
	}
	return !rep.Incomplete
}

func (e *Evaluator) refusal(message hcl.Expression, rep *problem.Report) string {
	msg, ok := e.Evaluate(message, e.Scope, rep)
	if !ok {
		return "its error_message cannot be evaluated."
	}
	sensitive := Sensitive(msg)
	clean, _ := msg.UnmarkDeep()
	switch {
	case sensitive:
		return "(the message has a sensitive value in it and is not shown)."
	case clean.IsNull() || clean.Type() != cty.String:
		rep.Add(problem.BadVariable, message.Range(), "The error_message of a validation must be text.")
		return "its error_message is no text."
	}
	return Text(clean)
}
