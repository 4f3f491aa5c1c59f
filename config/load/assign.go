package load

import (
	"encoding"
	"fmt"
	"math/big"
	"reflect"
	"slices"
	"strings"
	"unicode"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/holdfast-dr/holdfast/config/diag"
	"github.com/holdfast-dr/holdfast/config/language"
	"github.com/holdfast-dr/holdfast/config/load/problem"
	"github.com/holdfast-dr/holdfast/config/load/syntax"
	"github.com/holdfast-dr/holdfast/config/load/value"
)

// assign decodes one argument. It is false when the argument counts as not
// written because its value is null.
func (d *decoder) assign(f *language.Field, expr hcl.Expression, dst reflect.Value, path string) bool {
	switch {
	case f.Form == language.FormExpression:
		dst.Set(reflect.ValueOf(expr))
		return true
	case f.Shape == language.List:
		return d.assignList(f, expr, dst, path)
	case f.Shape == language.Mapping:
		return d.assignMap(f, expr, dst, path)
	case f.Pointer:
		v := reflect.New(f.Elem)
		written := d.one(f, expr, v.Elem(), path)
		if written {
			dst.Set(v)
		}
		return written
	}
	return d.one(f, expr, dst, path)
}

// one decodes a single value from an expression of its own.
func (d *decoder) one(f *language.Field, expr hcl.Expression, dst reflect.Value, path string) bool {
	switch {
	case f.Form == language.FormReference || f.Form == language.FormSecret:
		if text, ok := d.reference(f, expr); ok {
			dst.SetString(text)
		}
		return true
	case f.Meaning == "endpoint":
		if text, ok := d.endpoint(f, expr); ok {
			dst.SetString(text)
		}
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
	if f.Form == language.FormString {
		v = unwrapTemplate(expr, v)
	}
	d.convert(f, v, dst, expr.Range())
	return true
}

// unwrapTemplate gives the text of "${5}": HCL makes a number of it, but who
// wrote quotes meant text.
func unwrapTemplate(expr hcl.Expression, v cty.Value) cty.Value {
	if _, ok := expr.(*hclsyntax.TemplateWrapExpr); ok && v.Type() == cty.Number && !v.IsNull() {
		return cty.StringVal(v.AsBigFloat().Text('f', -1))
	}
	return v
}

// convert checks one known value and sets it.
func (d *decoder) convert(f *language.Field, v cty.Value, dst reflect.Value, rng hcl.Range) bool {
	if why := mismatch(f, v); why != "" {
		d.Add(problem.WrongValueType, rng, "%s", why)
		return false
	}
	switch f.Form {
	case language.FormBool:
		dst.SetBool(v.True())
	case language.FormInt:
		n, acc := v.AsBigFloat().Int64()
		if acc != big.Exact {
			d.Add(problem.InvalidValue, rng, "%s is a whole number, but this is %s.", f.Name, v.AsBigFloat().Text('g', 20))
			return false
		}
		dst.SetInt(n)
	case language.FormFloat:
		n, _ := v.AsBigFloat().Float64()
		dst.SetFloat(n)
	case language.FormString:
		if !d.text(f, value.Text(v), rng) {
			return false
		}
		dst.SetString(value.Text(v))
	default:
		if err := dst.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(value.Text(v))); err != nil {
			d.Add(problem.InvalidValue, rng, "%s.", diag.Sentence(err.Error()))
			return false
		}
	}
	if must := f.OutOfBounds(dst); must != "" {
		d.Add(problem.OutOfRange, rng, "%s must be %s, but it is %v.", f.Name, must, dst.Interface())
		return false
	}
	return true
}

// text checks a string: its length, its characters, its meaning.
func (d *decoder) text(f *language.Field, s string, rng hcl.Range) bool {
	if len(s) > syntax.MaxString {
		d.Add(problem.InvalidValue, rng, "The value of %s is %d bytes long; at most %d are allowed.", f.Name, len(s), syntax.MaxString)
		return false
	}
	if i := strings.IndexFunc(s, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' && r != '\r' }); i >= 0 {
		d.Add(problem.InvalidValue, rng, "The value of %s has control characters: %s.", f.Name, diag.Quote(s))
		return false
	}
	if f.Enum != nil && !slices.Contains(f.Enum, s) {
		near := nearestWord(strings.ToLower(s), f.Enum)
		hint := fmt.Sprintf("It can be %s.", diag.Joined(diag.Quoted(f.Enum), " or "))
		if near != "" {
			hint = fmt.Sprintf("Did you mean %q? %s", near, hint)
		}
		d.Add(problem.NotAllowed, rng, "%s cannot be %s. %s", f.Name, diag.Quote(s), hint)
		return false
	}
	if err := d.l.checked.meaning(f.Meaning, s); err != nil {
		d.Add(problem.InvalidValue, rng, "%s.", diag.Sentence(err.Error()))
		return false
	}
	return true
}

// nearestWord finds the allowed word that was probably meant: "tuesday" means tue.
func nearestWord(s string, words []string) string {
	for _, w := range words {
		if len(w) > 2 && strings.HasPrefix(s, w) || len(s) > 2 && strings.HasPrefix(w, s) {
			return w
		}
	}
	return diag.Nearest(s, words)
}
