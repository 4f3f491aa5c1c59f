package load

import (
	"cmp"
	"encoding"
	"fmt"
	"math/big"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/holdfast-dr/holdfast/config/diag"
)

const maxElements = 10_000 // of one list or map

// assign decodes one argument. It is false when the argument counts as not
// written because its value is null.
func (d *decoder) assign(f *field, expr hcl.Expression, dst reflect.Value, path string) bool {
	switch {
	case f.form == formExpression:
		dst.Set(reflect.ValueOf(expr))
		return true
	case f.shape == list:
		return d.assignList(f, expr, dst, path)
	case f.shape == mapping:
		return d.assignMap(f, expr, dst, path)
	case f.pointer:
		v := reflect.New(f.elem)
		written := d.one(f, expr, v.Elem(), path)
		if written {
			dst.Set(v)
		}
		return written
	}
	return d.one(f, expr, dst, path)
}

// one decodes a single value from an expression of its own.
func (d *decoder) one(f *field, expr hcl.Expression, dst reflect.Value, path string) bool {
	switch {
	case f.form == formReference || f.form == formSecret:
		if text, ok := d.reference(f, expr); ok {
			dst.SetString(text)
		}
		return true
	case f.kind == "endpoint":
		if text, ok := d.endpoint(f, expr); ok {
			dst.SetString(text)
		}
		return true
	}
	v, ok := d.l.value(expr, d.scope, &d.report)
	if !ok {
		return true
	}
	if v, ok = plain(v, expr.Range(), path, &d.report); !ok {
		return true
	}
	if v.IsNull() {
		return false
	}
	if f.form == formString {
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

func (d *decoder) assignList(f *field, expr hcl.Expression, dst reflect.Value, path string) bool {
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
		before := len(d.list)
		if written := d.one(f, e, out.Index(i), at); !written {
			d.add(wrongValueType, e.Range(), "%s has an element without a value (null).", f.name)
		}
		if len(d.list) == before {
			d.once(f, out.Index(i), first, e.Range())
		}
	}
	dst.Set(out)
	return true
}

// once reports references and words that stand in a list twice.
func (d *decoder) once(f *field, v reflect.Value, seen map[string]bool, rng hcl.Range) {
	if f.form != formReference && f.enum == nil {
		return
	}
	if seen[v.String()] {
		d.add(listedTwice, rng, "%s is in the list already. Remove one of the two.", v.String())
	}
	seen[v.String()] = true
}

// assignWholeList decodes a list that is computed rather than written out.
func (d *decoder) assignWholeList(f *field, expr hcl.Expression, dst reflect.Value, path string) bool {
	if f.form == formReference || f.form == formSecret {
		if d.isStaticReference(expr) {
			d.add(wrongValueType, expr.Range(), "%s is a list. Write %s = [%s].", f.name, f.name, d.source(expr))
			return true
		}
		d.add(notAReference, expr.Range(), "%s is a list of references, and references are written out, so that they can be checked before anything is computed. Write for example %s = %s.", f.name, f.name, f.example())
		return true
	}
	v, ok := d.l.value(expr, d.scope, &d.report)
	if !ok {
		return true
	}
	if v, ok = plain(v, expr.Range(), path, &d.report); !ok {
		return true
	}
	if v.IsNull() {
		return false
	}
	if t := v.Type(); !t.IsTupleType() && !t.IsListType() && !t.IsSetType() {
		d.add(wrongValueType, expr.Range(), "%s is a list, but this is %s. %s", f.name, describe(v), d.listFix(f, expr, v))
		return true
	}
	if !d.fits(v.LengthInt(), expr.Range()) {
		return true
	}
	out := reflect.MakeSlice(dst.Type(), v.LengthInt(), v.LengthInt())
	first := make(map[string]bool)
	for i, elem := range v.AsValueSlice() {
		if elem.IsNull() {
			d.add(wrongValueType, expr.Range(), "%s has an element without a value (null).", f.name)
			continue
		}
		if d.convert(f, elem, out.Index(i), expr.Range()) {
			d.once(f, out.Index(i), first, expr.Range())
		}
	}
	dst.Set(out)
	return true
}

func (d *decoder) listFix(f *field, expr hcl.Expression, v cty.Value) string {
	if v.Type() == cty.String || v.Type() == cty.Number || v.Type() == cty.Bool {
		if text := d.source(expr); text != "" {
			return fmt.Sprintf("Write %s = [%s].", f.name, text)
		}
	}
	return fmt.Sprintf("Write for example %s = %s.", f.name, f.example())
}

func (d *decoder) assignMap(f *field, expr hcl.Expression, dst reflect.Value, path string) bool {
	out := reflect.MakeMap(dst.Type())
	if f.form == formSecret || f.form == formReference {
		return d.assignReferenceMap(f, expr, dst, out, path)
	}
	v, ok := d.l.value(expr, d.scope, &d.report)
	if !ok {
		return true
	}
	if v, ok = plain(v, expr.Range(), path, &d.report); !ok {
		return true
	}
	if v.IsNull() {
		return false
	}
	if t := v.Type(); !t.IsObjectType() && !t.IsMapType() {
		d.add(wrongValueType, expr.Range(), "%s is a map, but this is %s. Write for example %s = %s.", f.name, describe(v), f.name, f.example())
		return true
	}
	if !d.fits(v.LengthInt(), expr.Range()) {
		return true
	}
	places := mapExprs(expr)
	for it := v.ElementIterator(); it.Next(); {
		k, elem := it.Element()
		key := k.AsString()
		rng := expr.Range()
		if one, known := places[key]; known {
			rng = one.Range()
			d.note(path+"."+key, rng)
			if f.form == formString {
				elem = unwrapTemplate(one, elem)
			}
		}
		one := reflect.New(f.elem).Elem()
		switch {
		case !d.goodKey(f, key, rng):
		case elem.IsNull():
			d.add(wrongValueType, rng, "%s.%s has no value (null). Leave the key out instead.", f.name, key)
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
			places[v.AsString()] = p.Value
		}
	}
	return places
}

func (d *decoder) assignReferenceMap(f *field, expr hcl.Expression, dst, out reflect.Value, path string) bool {
	pairs, diags := hcl.ExprMap(expr)
	if diags.HasErrors() {
		d.add(notAReference, expr.Range(), "%s is a map of references, and references are written out. Write for example %s = %s.", f.name, f.name, f.example())
		return true
	}
	if !d.fits(len(pairs), expr.Range()) {
		return true
	}
	for _, p := range pairs {
		k, ok := d.l.value(p.Key, d.scope, &d.report)
		if !ok {
			continue
		}
		if k, ok = plain(k, p.Key.Range(), path, &d.report); !ok {
			continue
		}
		if k.IsNull() || k.Type() != cty.String {
			d.add(wrongValueType, p.Key.Range(), "A key of %s must be text.", f.name)
			continue
		}
		d.note(path+"."+k.AsString(), p.Value.Range())
		one := reflect.New(f.elem).Elem()
		if d.goodKey(f, k.AsString(), p.Key.Range()) && d.one(f, p.Value, one, path) {
			out.SetMapIndex(reflect.ValueOf(k.AsString()).Convert(dst.Type().Key()), one)
		}
	}
	dst.Set(out)
	return true
}

func (d *decoder) goodKey(f *field, key string, rng hcl.Range) bool {
	if key == "" || len(key) > maxKey || strings.ContainsFunc(key, unicode.IsControl) {
		d.add(invalidValue, rng, "The key %s of %s cannot be used: a key has 1 to %d bytes and no control characters.", diag.Quote(key), f.name, maxKey)
		return false
	}
	return true
}

func (d *decoder) fits(n int, rng hcl.Range) bool {
	if n > maxElements {
		d.add(outOfRange, rng, "There are %d elements here; at most %d are allowed.", n, maxElements)
	}
	return n <= maxElements
}

// convert checks one known value and sets it.
func (d *decoder) convert(f *field, v cty.Value, dst reflect.Value, rng hcl.Range) bool {
	if problem := mismatch(f, v); problem != "" {
		d.add(wrongValueType, rng, "%s", problem)
		return false
	}
	switch f.form {
	case formBool:
		dst.SetBool(v.True())
	case formInt:
		n, acc := v.AsBigFloat().Int64()
		if acc != big.Exact {
			d.add(invalidValue, rng, "%s is a whole number, but this is %s.", f.name, v.AsBigFloat().Text('g', 20))
			return false
		}
		dst.SetInt(n)
	case formFloat:
		n, _ := v.AsBigFloat().Float64()
		dst.SetFloat(n)
	case formString:
		if !d.text(f, v.AsString(), rng) {
			return false
		}
		dst.SetString(v.AsString())
	default:
		if err := dst.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(v.AsString())); err != nil {
			d.add(invalidValue, rng, "%s.", diag.Sentence(err.Error()))
			return false
		}
	}
	return d.inBounds(f, dst, rng)
}

// text checks a string: its length, its characters, its meaning.
func (d *decoder) text(f *field, s string, rng hcl.Range) bool {
	if len(s) > maxString {
		d.add(invalidValue, rng, "The value of %s is %d bytes long; at most %d are allowed.", f.name, len(s), maxString)
		return false
	}
	if i := strings.IndexFunc(s, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' && r != '\r' }); i >= 0 {
		d.add(invalidValue, rng, "The value of %s has control characters: %s.", f.name, diag.Quote(s))
		return false
	}
	if f.enum != nil && !slices.Contains(f.enum, s) {
		near := nearestWord(strings.ToLower(s), f.enum)
		hint := fmt.Sprintf("It can be %s.", diag.Joined(diag.Quoted(f.enum), " or "))
		if near != "" {
			hint = fmt.Sprintf("Did you mean %q? %s", near, hint)
		}
		d.add(notAllowed, rng, "%s cannot be %s. %s", f.name, diag.Quote(s), hint)
		return false
	}
	if check := meanings[f.kind]; check != nil {
		if err := d.l.meaning(f.kind, s, check); err != nil {
			d.add(invalidValue, rng, "%s.", diag.Sentence(err.Error()))
			return false
		}
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

// inBounds checks min and max.
func (d *decoder) inBounds(f *field, v reflect.Value, rng hcl.Range) bool {
	for _, bound := range []struct {
		text, word string
		sign       int
	}{{f.min, "least", -1}, {f.max, "most", 1}} {
		if bound.text == "" {
			continue
		}
		limit := reflect.New(f.elem).Elem()
		_ = setText(limit, f.form, bound.text) // verified with the spec
		if compare(v, limit) == bound.sign {
			d.add(outOfRange, rng, "%s must be at %s %s, but it is %v.", f.name, bound.word, bound.text, v.Interface())
			return false
		}
	}
	return true
}

func compare(a, b reflect.Value) int {
	if a.CanFloat() {
		return cmp.Compare(a.Float(), b.Float())
	}
	return cmp.Compare(a.Int(), b.Int())
}

// mismatch says how a value's type is not the one the argument needs, and what to write instead.
func mismatch(f *field, v cty.Value) string {
	want, phrase := cty.String, "text"
	switch f.form {
	case formBool:
		want, phrase = cty.Bool, "true or false"
	case formInt, formFloat:
		want, phrase = cty.Number, "a number"
	case formDuration:
		phrase = "a duration with its unit, in quotes"
	case formSize:
		phrase = "a size with its unit, in quotes"
	}
	got := v.Type()
	if got == want {
		return ""
	}
	head := fmt.Sprintf("%s is %s, but this is %s.", f.name, phrase, describe(v))
	if f.shape != single {
		head = fmt.Sprintf("An element of %s is %s, but this is %s.", f.name, phrase, describe(v))
	}
	return head + " " + typeFix(f, v, want)
}

func typeFix(f *field, v cty.Value, want cty.Type) string {
	write := func(value string) string {
		if f.shape != single {
			return "Write " + value + "."
		}
		return fmt.Sprintf("Write %s = %s.", f.name, value)
	}
	switch got := v.Type(); {
	case got == cty.Number && want == cty.String:
		n := v.AsBigFloat().Text('f', -1)
		switch {
		case f.form == formDuration:
			return write(strconv.Quote(n+"s")) + " Units are ms, s, m, h, d and w."
		case f.form == formSize:
			return write(strconv.Quote(n+"MiB")) + " Units are B, KiB, MiB, GiB, TiB, kB, MB, GB and TB."
		case f.enum != nil || f.kind != "":
			return write(f.exampleValue())
		}
		return write(strconv.Quote(n))
	case got == cty.Bool && want == cty.String && f.form == formString && f.enum == nil && f.kind == "":
		return write(strconv.Quote(strconv.FormatBool(v.True())))
	case got == cty.String && want == cty.Number && isNumber(v.AsString()):
		return strings.TrimSuffix(write(v.AsString()), ".") + ", without quotes."
	case got == cty.String && want == cty.Bool && (v.AsString() == "true" || v.AsString() == "false"):
		return strings.TrimSuffix(write(v.AsString()), ".") + ", without quotes."
	case (got.IsTupleType() || got.IsListType()) && v.LengthInt() == 1 && f.shape == single:
		return fmt.Sprintf("There is one value, so leave the brackets out. Write for example %s = %s.", f.name, f.example())
	}
	return write(f.exampleValue())
}

func isNumber(s string) bool {
	_, err := strconv.ParseFloat(s, 64)
	return err == nil && strings.ContainsAny(s, "0123456789") && !strings.ContainsAny(s, "xXpP_")
}

// describe names a value's type in words.
func describe(v cty.Value) string {
	switch t := v.Type(); {
	case v.IsNull():
		return "no value (null)"
	case t == cty.String:
		return "text"
	case t == cty.Number:
		return "a number"
	case t == cty.Bool:
		return "true or false"
	case t.IsTupleType() || t.IsListType():
		return "a list"
	case t.IsSetType():
		return "a set"
	case t.IsMapType() || t.IsObjectType():
		return "a map"
	}
	return "something else"
}
