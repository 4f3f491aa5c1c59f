package load

import (
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"github.com/holdfast-dr/holdfast/config/diag"
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

// locals collects the arguments of all locals blocks and evaluates them in the
// order they need each other.
func (l *loader) locals(blocks []*declaration, vars cty.Value) cty.Value {
	all := map[string]*local{}
	var order []*local
	for _, b := range blocks {
		order = append(order, l.collectLocals(b, all)...)
	}
	for _, lc := range order {
		lc.findUses(all)
	}
	object := map[string]cty.Value{}
	for _, lc := range order {
		l.evaluateLocal(lc, all, nil, vars)
		if !l.names.failed["local."+lc.name] {
			object[lc.name] = lc.value
		}
	}
	return cty.ObjectVal(object)
}

func (l *loader) collectLocals(b *declaration, all map[string]*local) []*local {
	var rep report
	defer func() { l.take(&rep) }()
	attrs, diags := b.block.body.JustAttributes()
	for _, d := range diags {
		rep.addSyntax(d, b.block.header())
	}
	var found []*local
	for _, a := range attrsOf(attrs) {
		first, twice := all[a.name]
		switch {
		case !namePattern.MatchString(a.name) || len(a.name) > maxName:
			rep.add(invalidName, a.nameRange, "%s", badName("The name of a local", a.name))
			continue
		case twice:
			rep.add(declaredTwice, a.nameRange, "The local %s is declared at %s already.", diag.Quote(a.name), place(first.rng))
			continue
		}
		lc := &local{name: a.name, rng: a.nameRange, expr: a.expr}
		all[a.name], l.names.locals[a.name] = lc, true
		if b.broken {
			l.names.failed["local."+a.name], lc.state = true, done
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
func (l *loader) evaluateLocal(lc *local, all map[string]*local, trail []string, vars cty.Value) {
	if lc.state == done {
		return
	}
	trail = append(trail, lc.name)
	if lc.state == open {
		l.reportCycle(lc, trail, all)
		return
	}
	lc.state = open
	visible := map[string]cty.Value{}
	for _, name := range lc.uses {
		l.evaluateLocal(all[name], all, trail, vars)
		if !l.names.failed["local."+name] {
			visible[name] = all[name].value
		}
	}
	lc.state = done
	if l.names.failed["local."+lc.name] {
		return
	}
	ctx := &hcl.EvalContext{Functions: functions, Variables: map[string]cty.Value{"var": vars, "local": cty.ObjectVal(visible)}}
	var rep report
	v, ok := l.value(lc.expr, scope{ctx: ctx}, &rep)
	if ok && weigh(v) > maxWeight {
		rep.add(invalidExpr, lc.rng, "The value of the local %s is too large.", diag.Quote(lc.name))
		ok = false
	}
	if !ok {
		l.names.failed["local."+lc.name] = true
	}
	lc.value = v
	l.take(&rep)
}

func (l *loader) reportCycle(lc *local, trail []string, all map[string]*local) {
	var rep report
	start := 0
	for trail[start] != lc.name {
		start++
	}
	for _, name := range trail[start:] {
		l.names.failed["local."+name] = true
	}
	rep.add(localCycle, all[lc.name].rng, "The locals %s need each other, so none of them has a value. Give one of them a value of its own.",
		strings.Join(trail[start:], " -> "))
	l.take(&rep)
}
