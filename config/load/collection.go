package load

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"github.com/holdfast-dr/holdfast/config/diag"
	"github.com/holdfast-dr/holdfast/config/language"
	"github.com/holdfast-dr/holdfast/config/load/problem"
	"github.com/holdfast-dr/holdfast/config/load/value"
)

const maxElements = 10_000 // of one list or map

func (d *decoder) assignList(f *language.Field, expr hcl.Expression, dst reflect.Value, path string) bool {
	exprs, diags := hcl.ExprList(expr)
	if diags.HasErrors() {
		return d.assignWholeList(f, expr, dst, path)
	}
	if !d.fits(len(exprs), expr.Range()) {
		return true
	}
	out := reflect.MakeSlice(dst.Type(), len(exprs), len(exprs))
	first := make(map[string]bool)
	for i, e := range exprs {
		at := path + "[" + strconv.Itoa(i) + "]"
		d.note(at, e.Range())
		before := len(d.List)
		if written := d.one(f, e, out.Index(i), at); !written {
			d.Add(problem.WrongValueType, e.Range(), "%s has an element without a value (null).", f.Name)
		}
		if len(d.List) == before {
			d.once(f, out.Index(i), first, e.Range())
		}
	}
	dst.Set(out)
	return true
}

// once reports references and words that stand in a list twice.
func (d *decoder) once(f *language.Field, v reflect.Value, seen map[string]bool, rng hcl.Range) {
	if f.Form != language.FormReference && f.Enum == nil {
		return
	}
	if seen[v.String()] {
		d.Add(problem.ListedTwice, rng, "%s is in the list already. Remove one of the two.", v.String())
	}
	seen[v.String()] = true
}

// assignWholeList decodes a list that is computed rather than written out.
func (d *decoder) assignWholeList(f *language.Field, expr hcl.Expression, dst reflect.Value, path string) bool {
	if f.Form == language.FormReference || f.Form == language.FormSecret {
		if d.isStaticReference(expr) {
			d.Add(problem.WrongValueType, expr.Range(), "%s is a list. Write %s = [%s].", f.Name, f.Name, d.source(expr))
			return true
		}
		d.Add(problem.NotAReference, expr.Range(), "%s is a list of references, and references are written out, so that they can be checked before anything is computed. Write for example %s = %s.", f.Name, f.Name, f.Example())
		return true
	}
	v, ok := d.l.eval.Evaluate(expr, d.scope, &d.Report)
	if !ok {
		return true
	}
	if v, ok = value.Plain(v, expr.Range(), path, &d.Report); !ok {
		return true
	}
	if v.IsNull() {
		return false
	}
	if t := v.Type(); !t.IsTupleType() && !t.IsListType() && !t.IsSetType() {
		d.Add(problem.WrongValueType, expr.Range(), "%s is a list, but this is %s. %s", f.Name, value.Describe(v), d.listFix(f, expr, v))
		return true
	}
	if !d.fits(v.LengthInt(), expr.Range()) {
		return true
	}
	out := reflect.MakeSlice(dst.Type(), v.LengthInt(), v.LengthInt())
	first := make(map[string]bool)
	for i, elem := range v.AsValueSlice() {
		if elem.IsNull() {
			d.Add(problem.WrongValueType, expr.Range(), "%s has an element without a value (null).", f.Name)
			continue
		}
		if d.convert(f, elem, out.Index(i), expr.Range()) {
			d.once(f, out.Index(i), first, expr.Range())
		}
	}
	dst.Set(out)
	return true
}

func (d *decoder) listFix(f *language.Field, expr hcl.Expression, v cty.Value) string {
	if v.Type() == cty.String || v.Type() == cty.Number || v.Type() == cty.Bool {
		if text := d.source(expr); text != "" {
			return fmt.Sprintf("Write %s = [%s].", f.Name, text)
		}
	}
	return fmt.Sprintf("Write for example %s = %s.", f.Name, f.Example())
}

func (d *decoder) assignMap(f *language.Field, expr hcl.Expression, dst reflect.Value, path string) bool {
	out := reflect.MakeMap(dst.Type())
	if f.Form == language.FormSecret || f.Form == language.FormReference {
		return d.assignReferenceMap(f, expr, dst, out, path)
	}
	v, ok := d.l.eval.Evaluate(expr, d.scope, &d.Report)
	if !ok {
		return true
	}
	if v, ok = value.Plain(v, expr.Range(), path, &d.Report); !ok {
		return true
	}
	if v.IsNull() {
		return false
	}
	if t := v.Type(); !t.IsObjectType() && !t.IsMapType() {
		d.Add(problem.WrongValueType, expr.Range(), "%s is a map, but this is %s. Write for example %s = %s.", f.Name, value.Describe(v), f.Name, f.Example())
		return true
	}
	if !d.fits(v.LengthInt(), expr.Range()) {
		return true
	}
	places := mapExprs(expr)
	for it := v.ElementIterator(); it.Next(); {
		k, elem := it.Element()
		key := value.Text(k)
		rng := expr.Range()
		if one, known := places[key]; known {
			rng = one.Range()
			d.note(path+"."+key, rng)
			if f.Form == language.FormString {
				elem = unwrapTemplate(one, elem)
			}
		}
		one := reflect.New(f.Elem).Elem()
		switch {
		case !d.goodKey(f, key, rng):
		case elem.IsNull():
			d.Add(problem.WrongValueType, rng, "%s.%s has no value (null). Leave the key out instead.", f.Name, key)
		case d.convert(f, elem, one, rng):
			out.SetMapIndex(reflect.ValueOf(key).Convert(dst.Type().Key()), one)
		}
	}
	dst.Set(out)
	return true
}

// mapExprs finds the values of a map that is written out.
func mapExprs(expr hcl.Expression) map[string]hcl.Expression {
	pairs, diags := hcl.ExprMap(expr)
	if diags.HasErrors() {
		return nil
	}
	places := make(map[string]hcl.Expression, len(pairs))
	for _, p := range pairs {
		if key := hcl.ExprAsKeyword(p.Key); key != "" {
			places[key] = p.Value
		} else if v, diags := p.Key.Value(nil); !diags.HasErrors() && v.Type() == cty.String && v.IsKnown() && !v.IsNull() {
			places[value.Text(v)] = p.Value
		}
	}
	return places
}

func (d *decoder) assignReferenceMap(f *language.Field, expr hcl.Expression, dst, out reflect.Value, path string) bool {
	pairs, diags := hcl.ExprMap(expr)
	if diags.HasErrors() {
		d.Add(problem.NotAReference, expr.Range(), "%s is a map of references, and references are written out. Write for example %s = %s.", f.Name, f.Name, f.Example())
		return true
	}
	if !d.fits(len(pairs), expr.Range()) {
		return true
	}
	for _, p := range pairs {
		k, ok := d.l.eval.Evaluate(p.Key, d.scope, &d.Report)
		if !ok {
			continue
		}
		if k, ok = value.Plain(k, p.Key.Range(), path, &d.Report); !ok {
			continue
		}
		if k.IsNull() || k.Type() != cty.String {
			d.Add(problem.WrongValueType, p.Key.Range(), "A key of %s must be text.", f.Name)
			continue
		}
		d.note(path+"."+value.Text(k), p.Value.Range())
		one := reflect.New(f.Elem).Elem()
		if d.goodKey(f, value.Text(k), p.Key.Range()) && d.one(f, p.Value, one, path) {
			out.SetMapIndex(reflect.ValueOf(value.Text(k)).Convert(dst.Type().Key()), one)
		}
	}
	dst.Set(out)
	return true
}

func (d *decoder) goodKey(f *language.Field, key string, rng hcl.Range) bool {
	if key == "" || len(key) > language.MaxKey || strings.ContainsFunc(key, unicode.IsControl) {
		d.Add(problem.InvalidValue, rng, "The key %s of %s cannot be used: a key has 1 to %d bytes and no control characters.", diag.Quote(key), f.Name, language.MaxKey)
		return false
	}
	return true
}

func (d *decoder) fits(n int, rng hcl.Range) bool {
	if n > maxElements {
		d.Add(problem.OutOfRange, rng, "There are %d elements here; at most %d are allowed.", n, maxElements)
	}
	return n <= maxElements
}
