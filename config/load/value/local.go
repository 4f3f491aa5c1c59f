package value

import (
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"github.com/holdfast-dr/holdfast/config/diag"
	"github.com/holdfast-dr/holdfast/config/language"
	"github.com/holdfast-dr/holdfast/config/load/problem"
	"github.com/holdfast-dr/holdfast/config/load/syntax"
)

// local is one name for a value.
type local struct {
	name  string
	rng   hcl.Range
	expr  hcl.Expression
	uses  []string // other locals
	state int
	value cty.Value
}

const (
	untouched = iota
	open      // being evaluated: meeting it again is a circle
	done
)

// LocalsBlock is one block of locals.
type LocalsBlock struct {
	Block  syntax.Block
	Broken bool // its file has syntax errors
}

// Locals collects the arguments of all blocks of locals and evaluates them in the
// order they need each other. The variables have their values.
func (e *Evaluator) Locals(blocks []LocalsBlock) {
	all := map[string]*local{}
	var order []*local
	for _, b := range blocks {
		order = append(order, e.collectLocals(b, all)...)
	}
	for _, lc := range order {
		lc.findUses(all)
	}
	vars := e.Scope.ctx.Variables["var"]
	object := map[string]cty.Value{}
	for _, lc := range order {
		e.evaluateLocal(lc, all, nil, vars)
		if !e.failed["local."+lc.name] {
			object[lc.name] = lc.value
		}
	}
	e.Scope = e.newScope(vars, cty.ObjectVal(object))
}

func (e *Evaluator) collectLocals(b LocalsBlock, all map[string]*local) []*local {
	var rep problem.Report
	defer func() { e.Take(&rep) }()
	var found []*local
	for _, a := range syntax.Arguments(b.Block.Body, b.Block.Header(), &rep) {
		first, twice := all[a.Name]
		switch {
		case !language.ValidName(a.Name):
			rep.Add(problem.InvalidName, a.NameRange, "%s", language.BadName("The name of a local", a.Name))
			continue
		case twice:
			rep.Add(problem.DeclaredTwice, a.NameRange, "The local %s is declared at %s already.", diag.Quote(a.Name), problem.Place(first.rng))
			continue
		}
		lc := &local{name: a.Name, rng: a.NameRange, expr: a.Expr}
		all[a.Name], e.locals[a.Name] = lc, true
		if b.Broken {
			e.failed["local."+a.Name], lc.state = true, done
		}
		found = append(found, lc)
	}
	return found
}

// findUses notes which other locals the expression needs.
func (lc *local) findUses(all map[string]*local) {
	for _, t := range lc.expr.Variables() {
		if t.RootName() != "local" || len(t) < 2 {
			continue
		}
		if a, ok := t[1].(hcl.TraverseAttr); ok && all[a.Name] != nil {
			lc.uses = append(lc.uses, a.Name)
		}
	}
}

// evaluateLocal evaluates a local after the ones it uses. trail is the way
// that led here, for the message about a circle.
func (e *Evaluator) evaluateLocal(lc *local, all map[string]*local, trail []string, vars cty.Value) {
	if lc.state == done {
		return
	}
	trail = append(trail, lc.name)
	if lc.state == open {
		e.reportCycle(lc, trail, all)
		return
	}
	lc.state = open
	visible := map[string]cty.Value{}
	for _, name := range lc.uses {
		e.evaluateLocal(all[name], all, trail, vars)
		if !e.failed["local."+name] {
			visible[name] = all[name].value
		}
	}
	lc.state = done
	if e.failed["local."+lc.name] {
		return
	}
	var rep problem.Report
	v, ok := e.Evaluate(lc.expr, e.newScope(vars, cty.ObjectVal(visible)), &rep)
	if weight, _ := weigh(v); ok && weight > maxWeight {
		rep.Add(problem.InvalidExpr, lc.rng, "The value of the local %s is too large.", diag.Quote(lc.name))
		ok = false
	}
	if !ok {
		e.failed["local."+lc.name] = true
	}
	lc.value = v
	e.Take(&rep)
}

func (e *Evaluator) reportCycle(lc *local, trail []string, all map[string]*local) {
	var rep problem.Report
	start := 0
	for trail[start] != lc.name {
		start++
	}
	for _, name := range trail[start:] {
		e.failed["local."+name] = true
	}
	rep.Add(problem.LocalCycle, all[lc.name].rng, "The locals %s need each other, so none of them has a value. Give one of them a value of its own.",
		strings.Join(trail[start:], " -> "))
	e.Take(&rep)
}
