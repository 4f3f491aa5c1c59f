// Package value works out what expressions give: it has the variables, the
// locals, the functions and what each expression may see.
package value

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"

	"github.com/holdfast-dr/holdfast/config/diag"
	"github.com/holdfast-dr/holdfast/config/language"
	"github.com/holdfast-dr/holdfast/config/load/problem"
	"github.com/holdfast-dr/holdfast/config/load/syntax"
)

// Evaluator works out the values of one configuration. After Variables and Locals
// it is safe for concurrent use.
type Evaluator struct {
	problem.Report       // what is wrong with variables and locals
	Scope          Scope // of the configuration
	Constant       Scope // has functions but no names at all: the values and defaults of variables stand by themselves
	Budget         Budget

	sources syntax.Sources
	gaps    *problem.Gaps

	functions map[string]function.Function
	vars      map[string]bool // declared variables
	locals    map[string]bool // declared locals
	failed    map[string]bool // "var.x", "local.y": there is no value, which was reported where it happened
}

// New gives an evaluator without names. Files with values of variables are added
// to the sources.
func New(src syntax.Sources, g *problem.Gaps) *Evaluator {
	e := &Evaluator{sources: src, gaps: g, vars: map[string]bool{}, locals: map[string]bool{}, failed: map[string]bool{}}
	e.functions = e.Budget.functions()
	e.Constant = Scope{ctx: &hcl.EvalContext{Functions: e.functions}, constant: true}
	e.Scope = e.newScope(cty.EmptyObjectVal, cty.EmptyObjectVal)
	return e
}

// Scope is what an expression can see.
type Scope struct {
	ctx      *hcl.EvalContext
	each     bool // inside a block with for_each
	constant bool // no names at all
}

func (e *Evaluator) newScope(vars, locals cty.Value) Scope {
	return Scope{ctx: &hcl.EvalContext{Functions: e.functions, Variables: map[string]cty.Value{"var": vars, "local": locals}}}
}

// ForEach is the scope of one instance of a block with for_each.
func (s Scope) ForEach(key string, value cty.Value) Scope {
	s.ctx = s.ctx.NewChild()
	s.ctx.Variables = map[string]cty.Value{"each": cty.ObjectVal(map[string]cty.Value{"key": textValue(key), "value": value})}
	s.each = true
	return s
}

// Evaluate gives the value of an expression. It is false when there is no value;
// then the reason was reported, here or where it arose.
func (e *Evaluator) Evaluate(expr hcl.Expression, sc Scope, rep *problem.Report) (cty.Value, bool) {
	if x, ok := expr.(*hclsyntax.LiteralValueExpr); ok {
		return x.Val, true
	}
	kept, ok := Written(e.sources, expr, rep)
	if !ok {
		return cty.NilVal, false
	}
	if x, ok := kept.(*hclsyntax.TemplateExpr); ok && x.IsStringLiteral() {
		v, diags := x.Value(nil)
		return v, !diags.HasErrors()
	}
	if !e.namesKnown(expr, sc, rep) {
		rep.Incomplete = true
		return cty.NilVal, false
	}
	return e.compute(kept, expr.Range(), sc, rep)
}

// compute evaluates with the HCL library and takes over its problems, which are at rng unless they have a better place.
func (e *Evaluator) compute(expr hcl.Expression, rng hcl.Range, sc Scope, rep *problem.Report) (v cty.Value, ok bool) {
	defer func() {
		if p := recover(); p != nil {
			rep.Add(problem.Defect, rng, "The expression could not be evaluated because of an error in holdfast. Please report it with the expression.")
			ok = false
		}
	}()
	v, diags := expr.Value(sc.ctx)
	if e.Budget.over() {
		rep.Add(problem.InvalidExpr, rng, "%s.", diag.Sentence(errTooMuch.Error()))
		return cty.NilVal, false
	}
	if diags.HasErrors() {
		hide := usesSensitive(expr, sc)
		for _, d := range diags {
			explain(d, rng, hide, rep)
		}
		return cty.NilVal, false
	}
	if err := e.Budget.spend(v); err != nil {
		rep.Add(problem.InvalidExpr, rng, "%s.", diag.Sentence(err.Error()))
		return cty.NilVal, false
	}
	if !v.IsWhollyKnown() {
		rep.Add(problem.InvalidExpr, rng, "The value is not known. Everything in a configuration is known before a plan is made.")
		return cty.NilVal, false
	}
	return v, true
}

// explain takes over a problem found while evaluating.
func explain(d *hcl.Diagnostic, fallback hcl.Range, hide bool, rep *problem.Report) {
	rng := fallback
	if d.Subject != nil && d.Subject.Filename == fallback.Filename {
		rng = *d.Subject
	}
	if call, ok := d.Extra.(hclsyntax.FunctionCallDiagExtra); ok && call.CalledFunctionName() != "" {
		name := call.CalledFunctionName()
		switch {
		case (name == syntax.BoundValue || name == syntax.BoundOperand) && call.FunctionCallError() != nil:
			rep.Add(problem.InvalidExpr, rng, "%s.", diag.Sentence(call.FunctionCallError().Error()))
		case hide:
			rep.Add(problem.InvalidExpr, rng, "The call of %s failed. The reason is not shown, because a sensitive value is involved.", name)
		case call.FunctionCallError() != nil && name == "endpoint":
			rep.Add(problem.BadEndpoint, rng, "%s.", diag.Sentence(call.FunctionCallError().Error()))
		case call.FunctionCallError() != nil:
			rep.Add(problem.InvalidExpr, rng, "The call of %s failed: %s.", name, strings.TrimSuffix(call.FunctionCallError().Error(), "."))
		default:
			rep.Add(problem.InvalidExpr, rng, "%s", d.Detail)
		}
		return
	}
	switch {
	case d.Summary == "Call to unknown function":
		name := calledName(d)
		hint := "The functions are: " + strings.Join(functionNames(), ", ") + "."
		if near := diag.Nearest(name, functionNames()); near != "" {
			hint = fmt.Sprintf("Did you mean %s?", near)
		}
		if forbiddenFunctions[name] {
			hint = "Functions have no access to the clock, the environment, files or chance, so that a commit always means the same."
		}
		rep.Add(problem.InvalidExpr, rng, "There is no function named %s. %s", diag.Quote(name), hint)
	case hide:
		rep.Add(problem.InvalidExpr, rng, "The expression cannot be evaluated. The reason is not shown, because a sensitive value is involved.")
	default:
		rep.Add(problem.InvalidExpr, rng, "%s: %s", strings.TrimSuffix(d.Summary, "."), d.Detail)
	}
}

// forbiddenFunctions are names people know from elsewhere.
var forbiddenFunctions = map[string]bool{
	"timestamp": true, "now": true, "env": true, "getenv": true, "file": true, "fileset": true, "templatefile": true, "uuid": true, "bcrypt": true, "plantimestamp": true, "pathexpand": true, "abspath": true,
}

func calledName(d *hcl.Diagnostic) string {
	if call, ok := d.Expression.(*hclsyntax.FunctionCallExpr); ok {
		return call.Name
	}
	return ""
}

// namesKnown checks every name an expression uses, before it is evaluated, so
// that each mistake gets a message of its own.
func (e *Evaluator) namesKnown(expr hcl.Expression, sc Scope, rep *problem.Report) bool {
	ok := true
	for _, t := range expr.Variables() {
		ok = e.nameKnown(t, sc, rep) && ok
	}
	return ok
}

func (e *Evaluator) nameKnown(t hcl.Traversal, sc Scope, rep *problem.Report) bool {
	root, rng := t.RootName(), t.SourceRange()
	second := ""
	if len(t) > 1 {
		if a, ok := t[1].(hcl.TraverseAttr); ok {
			second = a.Name
		}
	}
	switch {
	case sc.constant:
		rep.Add(problem.UnknownName, rng, "%s cannot be used here: this value must stand by itself, without the names of other values.", spelled(t))
		return false
	case root == "var" || root == "local":
		return e.declaredName(root, second, rng, rep)
	case root == "each":
		return eachKnown(second, sc.each, rng, rep)
	}
	switch {
	case root == "secret":
		rep.Add(problem.MisplacedSecret, rng, "%s cannot be used here: a secret is a reference to a credential, and its value is never part of the configuration. Only arguments that hold a credential accept it, alone and without quotes.", spelled(t))
	case language.IsObject(root):
		rep.Add(problem.NotAValue, rng, "%s is a reference to an object, but a value is expected here.", spelled(t))
	case len(t) == 1:
		rep.Add(problem.UnknownName, rng, "There is nothing named %s. Text is written in quotes: %q.", diag.Quote(root), root)
	default:
		near := ""
		if n := diag.Nearest(root, []string{"var", "local", "each"}); n != "" {
			near = fmt.Sprintf(" Did you mean %s.%s?", n, second)
		}
		rep.Add(problem.UnknownName, rng, "There is nothing named %s. Values come from var.NAME, local.NAME and, inside for_each, each.key and each.value.%s", diag.Quote(root), near)
	}
	return false
}

func (e *Evaluator) declaredName(root, name string, rng hcl.Range, rep *problem.Report) bool {
	declared, what, how := e.vars, "variable", `variable "%s" {}`
	if root == "local" {
		declared, what, how = e.locals, "local", "locals { %s = ... }"
	}
	switch {
	case name == "":
		rep.Add(problem.UnknownName, rng, "Write %s.NAME with the name of one %s.", root, what)
	case e.failed[root+"."+name]:
		rep.Incomplete = true
	case declared[name]:
		return true
	case e.gaps.MayHave(name):
		rep.Incomplete = true // it may be declared in the file that could not be read
	default:
		rep.Add(problem.UnknownName, rng, "There is no %s named %s.%s", what, diag.Quote(name), diag.Suggest(root+".", name, slices.Sorted(maps.Keys(declared)), " Declare it with "+fmt.Sprintf(how, name)+"."))
	}
	return false
}

func eachKnown(second string, inside bool, rng hcl.Range, rep *problem.Report) bool {
	switch {
	case !inside:
		rep.Add(problem.UnknownName, rng, "each.key and each.value exist only inside a block that has for_each.")
	case second != "key" && second != "value":
		rep.Add(problem.UnknownName, rng, "There are only each.key and each.value.")
	default:
		return true
	}
	return false
}

// usesSensitive reports whether a sensitive value goes into an expression.
func usesSensitive(expr hcl.Expression, sc Scope) bool {
	for _, t := range expr.Variables() {
		if len(t) > 2 {
			t = t[:2]
		}
		if v, diags := t.TraverseAbs(sc.ctx); diags.HasErrors() || Sensitive(v) {
			return true
		}
	}
	return false
}

// spelled is a traversal as it stands in the file.
func spelled(t hcl.Traversal) string {
	var b strings.Builder
	for _, step := range t {
		switch s := step.(type) {
		case hcl.TraverseRoot:
			b.WriteString(s.Name)
		case hcl.TraverseAttr:
			b.WriteString("." + s.Name)
		case hcl.TraverseIndex:
			if s.Key.Type() == cty.String {
				b.WriteString("[" + diag.Quote(Text(s.Key)) + "]")
			} else {
				b.WriteString("[...]")
			}
		}
	}
	return b.String()
}
