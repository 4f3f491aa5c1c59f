package load

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/config/diag"
)

// environPrefix starts the environment variables that carry variable values.
const environPrefix = "HOLDFAST_VAR_"

// variable is one declared variable on its way to a value.
type variable struct {
	name     string
	rng      hcl.Range
	block    variableBlock
	typ      cty.Type
	defaults *typeexpr.Defaults
	preset   cty.Value // NilVal: no default
	value    cty.Value
	failed   bool
}

// given is a value from outside.
type given struct {
	text string // from the environment or a flag, as typed
	expr hcl.Expression
	from string // "--var region", for messages
	rng  hcl.Range
}

// variables decodes the variable blocks, finds their values and checks them.
func (l *loader) variables(blocks []*declaration) cty.Value {
	var all []*variable
	for _, b := range blocks {
		v := &variable{name: b.name, rng: b.block.header(), typ: cty.DynamicPseudoType}
		l.names.vars[v.name] = true
		if v.failed = b.broken; !v.failed {
			l.declareVariable(v, b)
		}
		all = append(all, v)
	}
	values := l.givenValues()
	object := map[string]cty.Value{}
	for _, v := range all {
		g, has := values[v.name]
		delete(values, v.name)
		if !v.failed {
			l.assign(v, g, has)
		}
		if v.failed {
			l.names.failed["var."+v.name] = true
			continue
		}
		object[v.name] = v.value
	}
	l.strangeValues(values)
	vars := cty.ObjectVal(object)
	ctx := &hcl.EvalContext{Functions: functions, Variables: map[string]cty.Value{"var": vars, "local": cty.EmptyObjectVal}}
	for _, v := range all {
		if !v.failed && !l.validate(v, scope{ctx: ctx}) {
			l.names.failed["var."+v.name] = true
		}
	}
	return vars
}

// declareVariable reads one block: its type and default.
func (l *loader) declareVariable(v *variable, b *declaration) {
	d := &decoder{l: l, scope: constantScope, head: &config.Header{}, what: "The variable " + v.name}
	d.decode(b.block.body, b.block.header(), &v.block)
	rep := &d.report
	if v.block.Type != nil {
		typ, defaults, diags := typeexpr.TypeConstraintWithDefaults(v.block.Type)
		for _, dg := range diags {
			rep.add(badVariable, subject(dg, v.block.Type.Range()), "The type of %s is not valid: %s Write for example string, number, bool, list(string) or map(string), without quotes.", diag.Quote(v.name), dg.Detail)
		}
		if !diags.HasErrors() {
			v.typ, v.defaults = typ, defaults
		}
	}
	if v.block.Default != nil && !rep.incomplete {
		if val, ok := l.value(v.block.Default, constantScope, rep); ok {
			conv, err := v.convert(val)
			if err != nil {
				rep.add(badVariable, v.block.Default.Range(), "The default of %s does not have the declared type: %v.", diag.Quote(v.name), err)
			} else {
				v.preset = conv
			}
		}
	}
	v.failed = rep.incomplete
	l.take(rep)
}

func (v *variable) convert(val cty.Value) (cty.Value, error) {
	if v.defaults != nil && !val.IsNull() {
		val = v.defaults.Apply(val)
	}
	return convert.Convert(val, v.typ)
}

var constantScope = scope{ctx: &hcl.EvalContext{Functions: functions}, constant: true}

func subject(d *hcl.Diagnostic, fallback hcl.Range) hcl.Range {
	if d.Subject != nil && d.Subject.Filename != "" {
		return *d.Subject
	}
	return fallback
}

// givenValues collects the values from outside: the environment, then the
// value files in order, then flags; later ones win.
func (l *loader) givenValues() map[string]given {
	values := map[string]given{}
	for _, name := range slices.Sorted(maps.Keys(l.opts.Environ)) {
		if short, ok := strings.CutPrefix(name, environPrefix); ok && l.names.vars[short] {
			values[short] = given{text: l.opts.Environ[name], from: name}
		}
	}
	for _, f := range l.opts.VarFiles {
		l.varFile(f, values)
	}
	for _, name := range slices.Sorted(maps.Keys(l.opts.Vars)) {
		values[name] = given{text: l.opts.Vars[name], from: "--var " + name}
	}
	return values
}

func (l *loader) varFile(file File, values map[string]given) {
	f := &source{name: file.Name, text: file.Data}
	f.parse()
	l.doc.Sources[file.Name] = file.Data
	l.take(&f.rep)
	if f.body == nil {
		return
	}
	var rep report
	b := l.read(f.body, func() expected { return expected{} }, &rep)
	for _, nested := range b.blocks {
		rep.add(argumentExpected, nested.kindRange, "A file of variable values has only arguments, such as %s = \"...\".", nested.kind)
	}
	for _, a := range b.attrs {
		values[a.name] = given{expr: a.expr, from: file.Name, rng: a.nameRange}
	}
	l.take(&rep)
}

// strangeValues reports values nobody declared a variable for.
func (l *loader) strangeValues(values map[string]given) {
	if l.partial {
		return
	}
	var rep report
	for _, name := range slices.Sorted(maps.Keys(values)) {
		rep.add(unknownVariable, values[name].rng, "%s gives a value to %s, but there is no such variable.%s", values[name].from, diag.Quote(name),
			diag.Suggest("", name, slices.Sorted(maps.Keys(l.names.vars)), fmt.Sprintf(" Declare it with variable %q {}.", name)))
	}
	l.take(&rep)
}

// assign finds the value of a variable.
func (l *loader) assign(v *variable, g given, has bool) {
	var rep report
	val := v.preset
	if has {
		val = l.readGiven(v, g, &rep)
	}
	switch {
	case rep.incomplete:
	case val == cty.NilVal:
		rep.add(noVariableValue, v.rng, "The variable %s has no default and no value was given. Give one with --var %s=VALUE, the environment variable %s%s or a line in a *%s file.",
			diag.Quote(v.name), v.name, environPrefix, v.name, varsEnding)
	case weigh(val) > maxWeight:
		rep.add(badVariable, v.rng, "The value of the variable %s is too large.", diag.Quote(v.name))
	case v.block.Sensitive:
		v.value = val.Mark(sensitiveMark)
	default:
		v.value = val
	}
	v.failed = rep.incomplete
	l.take(&rep)
}

// readGiven turns a value from outside into one of the variable's type.
func (l *loader) readGiven(v *variable, g given, rep *report) cty.Value {
	expr := g.expr
	if expr == nil {
		want := v.typ
		if want == cty.DynamicPseudoType && v.preset != cty.NilVal {
			want = v.preset.Type()
		}
		if want == cty.String || want == cty.DynamicPseudoType {
			return cty.StringVal(g.text)
		}
		if expr = l.parseGiven(v, g, rep); expr == nil {
			return cty.NilVal
		}
	}
	at := v.rng
	if g.expr != nil {
		at = g.expr.Range()
	}
	var inner report
	val, ok := l.value(expr, constantScope, &inner)
	if !ok {
		if g.expr != nil && !v.block.Sensitive {
			rep.list, rep.incomplete = append(rep.list, inner.list...), true
			return cty.NilVal
		}
		rep.add(badVariable, at, "The value of the variable %s (%s) cannot be evaluated.%s", diag.Quote(v.name), g.from, v.exampleOf())
		return cty.NilVal
	}
	conv, err := v.convert(val)
	switch {
	case err != nil && v.block.Sensitive:
		rep.add(badVariable, at, "The value of the variable %s (%s) does not have the declared type.", diag.Quote(v.name), g.from)
	case err != nil:
		rep.add(badVariable, at, "The value of the variable %s (%s) does not have the declared type: %v.%s", diag.Quote(v.name), g.from, err, v.exampleOf())
	default:
		return conv
	}
	return cty.NilVal
}

func (l *loader) parseGiven(v *variable, g given, rep *report) hcl.Expression {
	if _, problem := unsafeText([]byte(g.text), g.from, false); problem == "" {
		expr, diags := hclsyntax.ParseExpression([]byte(g.text), g.from, hcl.InitialPos)
		if !diags.HasErrors() {
			return expr
		}
	}
	rep.add(badVariable, v.rng, "The value of the variable %s (%s) is not a valid expression.%s", diag.Quote(v.name), g.from, v.exampleOf())
	return nil
}

// exampleOf shows how a value of the variable's type is written.
func (v *variable) exampleOf() string {
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
func (l *loader) validate(v *variable, sc scope) bool {
	var rep report
	defer func() { l.take(&rep) }()
	for _, rule := range v.block.Validations {
		result, ok := l.value(rule.Condition, sc, &rep)
		if !ok {
			continue
		}
		result, _ = result.UnmarkDeep()
		switch {
		case result.IsNull() || result.Type() != cty.Bool:
			rep.add(badVariable, rule.Condition.Range(), "The condition of a validation must be true or false.")
		case result.False():
			rep.add(validationFailed, v.rng, "The value of the variable %s was refused: %s", diag.Quote(v.name), l.refusal(rule, sc, &rep))
		}
	}
	return !rep.incomplete
}

func (l *loader) refusal(rule *validationBlock, sc scope, rep *report) string {
	msg, ok := l.value(rule.ErrorMessage, sc, rep)
	if !ok {
		return "its error_message cannot be evaluated."
	}
	sensitive := isSensitive(msg)
	clean, _ := msg.UnmarkDeep()
	switch {
	case sensitive:
		return "(the message has a sensitive value in it and is not shown)."
	case clean.IsNull() || clean.Type() != cty.String:
		rep.add(badVariable, rule.ErrorMessage.Range(), "The error_message of a validation must be text.")
		return "its error_message is no text."
	}
	return clean.AsString()
}

const maxWeight = 4 << 20

// weigh estimates the memory of a value, so that locals that double each
// other end in an error and not in a full memory.
func weigh(v cty.Value) int {
	v, _ = v.Unmark()
	switch t := v.Type(); {
	case v.IsNull() || !v.IsKnown():
		return 1
	case t == cty.String:
		return 16 + len(v.AsString())
	case !v.CanIterateElements():
		return 16
	}
	n := 16
	for it := v.ElementIterator(); it.Next(); {
		key, val := it.Element()
		if n += weigh(key) + weigh(val); n > maxWeight {
			break
		}
	}
	return n
}
