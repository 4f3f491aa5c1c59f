package load

import (
	"errors"
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
	"github.com/holdfast-dr/holdfast/config/load/value"
)

// endpoint decodes one side of a mirror: endpoint("...") or the role of a failover.
func (d *decoder) endpoint(f *language.Field, expr hcl.Expression) (string, bool) {
	rng := expr.Range()
	if p, ok := d.endpointPath(expr); ok {
		p.rng = rng
		return d.roleOrStore(f, p)
	}
	before := len(d.List)
	v, ok := d.l.eval.Evaluate(expr, d.scope, &d.Report)
	if !ok {
		isEndpoint := func(p diag.Diagnostic) bool { return p.Code == problem.BadEndpoint.Code }
		if slices.ContainsFunc(d.List[before:], isEndpoint) && strings.Contains(d.source(expr), "@") {
			d.Hide(rng) // there may be a password in it
		}
		return "", false
	}
	if v.IsNull() || v.Type() != cty.String {
		d.Add(problem.BadEndpoint, rng, "%s is a place to mirror, but this is %s. Write for example %s = %s.", f.Name, value.Describe(v), f.Name, f.ExampleValue())
		return "", false
	}
	clean, ok := value.Plain(v, rng, f.Name, &d.Report)
	if !ok {
		return "", false
	}
	text := value.Text(clean)
	if value.IsEndpoint(v) {
		if err := language.CheckEndpoint(text); err != nil { // joined to something else after endpoint()
			d.Add(problem.BadEndpoint, rng, "%s.", diag.Sentence(err.Error()))
			return "", false
		}
		return text, d.text(f, text, rng)
	}
	d.plainEndpoint(f, text, rng)
	return "", false
}

func (d *decoder) endpointPath(expr hcl.Expression) (refPath, bool) {
	expr, ok := value.Written(d.l.sources, expr, &problem.Report{})
	if !ok {
		return refPath{}, false // and reported when it is evaluated
	}
	if d.isJSON {
		v, diags := expr.Value(nil)
		if diags.HasErrors() || v.IsNull() || v.Type() != cty.String {
			return refPath{}, false
		}
		inner, diags := hclsyntax.ParseExpression([]byte(v.AsString()), expr.Range().Filename, expr.Range().Start)
		if diags.HasErrors() {
			return refPath{}, false
		}
		expr = inner
	}
	p, ok, _ := d.shape(expr)
	return p, ok && p.kind != "var" && p.kind != "local" && p.kind != "each"
}

// plainEndpoint explains text where endpoint(...) is needed.
func (d *decoder) plainEndpoint(f *language.Field, text string, rng hcl.Range) {
	if p, ok := parsePath(text); ok && p.kind == config.KindFailover {
		d.Add(problem.QuotedReference, rng, "A reference is not text. Write %s without quotes: %s = %s.", text, f.Name, text)
		return
	}
	form := fmt.Sprintf("endpoint(%q)", text)
	switch err := language.CheckEndpoint(text); {
	case errors.Is(err, language.ErrPassword):
		d.Hide(rng)
		d.Add(problem.BadEndpoint, rng, "%s.", diag.Sentence(err.Error()))
		return
	case strings.HasPrefix(text, "/"):
		form = fmt.Sprintf("endpoint(%q)", "file://"+text)
	case err != nil:
		form = f.ExampleValue()
	}
	if d.isJSON {
		form = fmt.Sprintf("%q", "${"+form+"}")
	}
	d.Add(problem.BadEndpoint, rng, "%s is a place to mirror, not text. Write %s = %s.", f.Name, f.Name, form)
}

// roleOrStore decodes failover.NAME.active and failover.NAME.standby.
func (d *decoder) roleOrStore(f *language.Field, p refPath) (string, bool) {
	switch {
	case p.kind == config.KindStore:
		d.Add(problem.BadEndpoint, p.rng, "%s names a store, but this version mirrors directory trees only, not stores. Write %s = endpoint(\"file:///...\") with the directory of the store.", p, f.Name)
	case p.kind == config.KindFailover && len(p.rest) == 1 && (p.rest[0] == config.RoleActive || p.rest[0] == config.RoleStandby):
		role := p.rest[0]
		p.rest = nil
		address, ok := d.existing(p)
		return address + "." + role, ok
	case p.kind == config.KindFailover && p.name != "" && len(p.rest) == 0:
		d.Add(problem.BadEndpoint, p.rng, "A mirror follows one role of a failover. Write %s.%s or %s.%s.", p, config.RoleActive, p, config.RoleStandby)
	case p.kind == config.KindFailover && p.name != "":
		d.Add(problem.BadEndpoint, p.rng, "A failover has the roles %s and %s. Write %s.%s or %s.%s.", config.RoleActive, config.RoleStandby, p.address(), config.RoleActive, p.address(), config.RoleStandby)
	case p.kind == config.KindSecret:
		d.Add(problem.MisplacedSecret, p.rng, "%s is a place to mirror, not a credential.", f.Name)
	default:
		d.Add(problem.BadEndpoint, p.rng, "%s is no place to mirror. Write endpoint(\"file:///...\"), or failover.NAME.%s to follow a role.", p, map[bool]string{true: config.RoleActive, false: config.RoleStandby}[f.Name == "source"])
	}
	return "", false
}
