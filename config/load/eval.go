package load

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/holdfast-dr/holdfast/config/diag"
)

// scope is what an expression can see.
type scope struct {
	ctx      *hcl.EvalContext
	each     bool // inside a block with for_each
	constant bool // no names at all: variable values and defaults
}

// names are the declared variables and locals, and those of them whose value
// could not be found out (which was reported where it happened).
type names struct {
	vars, locals map[string]bool // declared
	failed       map[string]bool // "var.x", "local.y"
}

var errSilent = errors.New("reported elsewhere")

// value evaluates an expression. It is false when there is no value; then the
// reason was reported, here or where it arose.
func (l *loader) value(expr hcl.Expression, sc scope, rep *report) (cty.Value, bool) {
	switch e := expr.(type) {
	case *hclsyntax.LiteralValueExpr:
		return e.Val, true
	case *hclsyntax.TemplateExpr:
		if e.IsStringLiteral() {
			v, diags := e.Value(nil)
			return v, !diags.HasErrors()
		}
	}
	if !l.namesKnown(expr, sc, rep) {
		rep.incomplete = true
		return cty.NilVal, false
	}
	v, err := l.compute(expr, sc, rep)
	if err != nil {
		rep.incomplete = true
		return cty.NilVal, false
	}
	return v, true
}

// compute evaluates with the HCL library and takes over its problems.
func (l *loader) compute(expr hcl.Expression, sc scope, rep *report) (v cty.Value, err error) {
	defer func() {
		if p := recover(); p != nil {
			rep.add(brokenType, expr.Range(), "The expression could not be evaluated because of an error in holdfast. Please report it with the expression.")
			err = errSilent
		}
	}()
	v, diags := expr.Value(sc.ctx)
	if diags.HasErrors() {
		hide := l.usesSensitive(expr, sc)
		for _, d := range diags {
			rep.addExpression(d, expr.Range(), hide)
		}
		return cty.NilVal, errSilent
	}
	if !v.IsWhollyKnown() {
		rep.add(invalidExpr, expr.Range(), "The value is not known. Everything in a configuration is known before a plan is made.")
		return cty.NilVal, errSilent
	}
	return v, nil
}

// addExpression takes over a problem found while evaluating.
func (r *report) addExpression(d *hcl.Diagnostic, fallback hcl.Range, hide bool) {
	rng := fallback
	if d.Subject != nil && d.Subject.Filename == fallback.Filename {
		rng = *d.Subject
	}
	if call, ok := d.Extra.(hclsyntax.FunctionCallDiagExtra); ok && call.CalledFunctionName() != "" {
		name := call.CalledFunctionName()
		switch {
		case hide:
			r.add(invalidExpr, rng, "The call of %s failed. The reason is not shown, because a sensitive value is involved.", name)
		case call.FunctionCallError() != nil && name == "endpoint":
			r.add(badEndpoint, rng, "%s.", diag.Sentence(call.FunctionCallError().Error()))
		case call.FunctionCallError() != nil:
			r.add(invalidExpr, rng, "The call of %s failed: %s.", name, strings.TrimSuffix(call.FunctionCallError().Error(), "."))
		default:
			r.add(invalidExpr, rng, "%s", d.Detail)
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
		r.add(invalidExpr, rng, "There is no function named %s. %s", diag.Quote(name), hint)
	case hide:
		r.add(invalidExpr, rng, "The expression cannot be evaluated. The reason is not shown, because a sensitive value is involved.")
	default:
		r.add(invalidExpr, rng, "%s: %s", strings.TrimSuffix(d.Summary, "."), d.Detail)
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
func (l *loader) namesKnown(expr hcl.Expression, sc scope, rep *report) bool {
	ok := true
	for _, t := range expr.Variables() {
		if !l.nameKnown(t, sc, rep) {
			ok = false
		}
	}
	return ok
}

func (l *loader) nameKnown(t hcl.Traversal, sc scope, rep *report) bool {
	root, rng := t.RootName(), t.SourceRange()
	second := ""
	if len(t) > 1 {
		if a, ok := t[1].(hcl.TraverseAttr); ok {
			second = a.Name
		}
	}
	switch {
	case sc.constant:
		rep.add(unknownName, rng, "%s cannot be used here: this value must stand by itself, without the names of other values.", written(t))
		return false
	case root == "var" || root == "local":
		return l.declaredName(root, second, rng, rep)
	case root == "each":
		return eachKnown(second, sc.each, rng, rep)
	}
	switch {
	case root == "secret":
		rep.add(misplacedSecret, rng, "%s cannot be used here: a secret is a reference to a credential, and its value is never part of the configuration. Only arguments that hold a credential accept it, alone and without quotes.", written(t))
	case kindByName[root] != nil && kindByName[root].object:
		rep.add(notAValue, rng, "%s is a reference to an object, but a value is expected here.", written(t))
	case len(t) == 1:
		rep.add(unknownName, rng, "There is nothing named %s. Text is written in quotes: %q.", diag.Quote(root), root)
	default:
		near := ""
		if n := diag.Nearest(root, []string{"var", "local", "each"}); n != "" {
			near = fmt.Sprintf(" Did you mean %s.%s?", n, second)
		}
		rep.add(unknownName, rng, "There is nothing named %s. Values come from var.NAME, local.NAME and, inside for_each, each.key and each.value.%s", diag.Quote(root), near)
	}
	return false
}

func (l *loader) declaredName(root, name string, rng hcl.Range, rep *report) bool {
	declared, what, how := l.names.vars, "variable", `variable "%s" {}`
	if root == "local" {
		declared, what, how = l.names.locals, "local", "locals { %s = ... }"
	}
	switch {
	case name == "":
		rep.add(unknownName, rng, "Write %s.NAME with the name of one %s.", root, what)
	case l.names.failed[root+"."+name]:
		rep.incomplete = true
	case declared[name]:
		return true
	case l.partial || l.lost[name]:
		rep.incomplete = true // it may be declared in the file that could not be read
	default:
		rep.add(unknownName, rng, "There is no %s named %s.%s", what, diag.Quote(name), diag.Suggest(root+".", name, slices.Sorted(maps.Keys(declared)), " Declare it with "+fmt.Sprintf(how, name)+"."))
	}
	return false
}

func eachKnown(second string, inside bool, rng hcl.Range, rep *report) bool {
	switch {
	case !inside:
		rep.add(unknownName, rng, "each.key and each.value exist only inside a block that has for_each.")
	case second != "key" && second != "value":
		rep.add(unknownName, rng, "There are only each.key and each.value.")
	default:
		return true
	}
	return false
}

// usesSensitive reports whether a sensitive value goes into an expression.
func (l *loader) usesSensitive(expr hcl.Expression, sc scope) bool {
	for _, t := range expr.Variables() {
		if len(t) > 2 {
			t = t[:2]
		}
		if v, diags := t.TraverseAbs(sc.ctx); diags.HasErrors() || isSensitive(v) {
			return true
		}
	}
	return false
}

func isSensitive(v cty.Value) bool {
	if !v.ContainsMarked() {
		return false
	}
	_, marks := v.UnmarkDeep()
	_, found := marks[sensitiveMark]
	return found
}

// plain removes all marks. It is false, and reported, when the value is sensitive.
func plain(v cty.Value, rng hcl.Range, what string, rep *report) (cty.Value, bool) {
	if !v.ContainsMarked() {
		return v, true
	}
	clean, marks := v.UnmarkDeep()
	if _, found := marks[sensitiveMark]; found {
		rep.add(sensitiveValue, rng, "The value of %s comes from a sensitive variable, but everything in the configuration is recorded and shown. "+
			"Declare a credential as secret \"NAME\" { file = \"...\" } and write secret.NAME where it is needed.", what)
		return cty.NilVal, false
	}
	return clean, true
}

// written is a traversal as it stands in the file.
func written(t hcl.Traversal) string {
	var b strings.Builder
	for _, step := range t {
		switch s := step.(type) {
		case hcl.TraverseRoot:
			b.WriteString(s.Name)
		case hcl.TraverseAttr:
			b.WriteString("." + s.Name)
		case hcl.TraverseIndex:
			if s.Key.Type() == cty.String {
				b.WriteString("[" + diag.Quote(s.Key.AsString()) + "]")
			} else {
				b.WriteString("[...]")
			}
		}
	}
	return b.String()
}
