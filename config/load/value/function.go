package value

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2/ext/tryfunc"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"

	"github.com/holdfast-dr/holdfast/config/language"
	"github.com/holdfast-dr/holdfast/config/load/syntax"
)

// functions are pure: same arguments, same result. There is no clock, no
// environment and no file among them, so a commit always means the same.
var functions = map[string]function.Function{
	"abs":             stdlib.AbsoluteFunc,
	"can":             tryfunc.CanFunc,
	"ceil":            stdlib.CeilFunc,
	"coalesce":        stdlib.CoalesceFunc,
	"compact":         stdlib.CompactFunc,
	"concat":          stdlib.ConcatFunc,
	"contains":        stdlib.ContainsFunc,
	"distinct":        stdlib.DistinctFunc,
	"element":         stdlib.ElementFunc,
	"endpoint":        endpointFunc,
	"flatten":         stdlib.FlattenFunc,
	"floor":           stdlib.FloorFunc,
	"format":          stdlib.FormatFunc,
	"formatlist":      stdlib.FormatListFunc,
	"join":            stdlib.JoinFunc,
	"jsondecode":      stdlib.JSONDecodeFunc,
	"jsonencode":      stdlib.JSONEncodeFunc,
	"keys":            stdlib.KeysFunc,
	"length":          lengthFunc,
	"lookup":          stdlib.LookupFunc,
	"lower":           stdlib.LowerFunc,
	"max":             stdlib.MaxFunc,
	"merge":           stdlib.MergeFunc,
	"min":             stdlib.MinFunc,
	"range":           stdlib.RangeFunc,
	"regex":           stdlib.RegexFunc,
	"regexall":        stdlib.RegexAllFunc,
	"replace":         stdlib.ReplaceFunc,
	"setintersection": stdlib.SetIntersectionFunc,
	"setproduct":      stdlib.SetProductFunc,
	"setsubtract":     stdlib.SetSubtractFunc,
	"setunion":        stdlib.SetUnionFunc,
	"slice":           stdlib.SliceFunc,
	"sort":            stdlib.SortFunc,
	"split":           stdlib.SplitFunc,
	"tolist":          collectFunc(cty.List(cty.DynamicPseudoType)),
	"tomap":           stdlib.MakeToFunc(cty.Map(cty.DynamicPseudoType)),
	"tonumber":        stdlib.MakeToFunc(cty.Number),
	"toset":           collectFunc(cty.Set(cty.DynamicPseudoType)),
	"tostring":        stdlib.MakeToFunc(cty.String),
	"trimprefix":      stdlib.TrimPrefixFunc,
	"trimspace":       stdlib.TrimSpaceFunc,
	"trimsuffix":      stdlib.TrimSuffixFunc,
	"try":             tryfunc.TryFunc,
	"upper":           stdlib.UpperFunc,
	"values":          stdlib.ValuesFunc,
	"zipmap":          stdlib.ZipmapFunc,
}

// functions are all functions, within the bounds of the budget.
func (b *Budget) functions() map[string]function.Function {
	all := make(map[string]function.Function, len(functions)+2)
	for name, f := range functions {
		if name != "can" && name != "try" { // they take expressions, not values
			f = b.bounded(name, f)
		}
		all[name] = f
	}
	all[syntax.BoundValue] = b.boundFunction(func([]cty.Value) error { return nil })
	all[syntax.BoundOperand] = b.boundFunction(hugeText)
	return all
}

// functionNames lists the functions in order.
func functionNames() []string { return slices.Sorted(maps.Keys(functions)) }

// endpointFunc marks a URL as one side of a mirror.
var endpointFunc = function.New(&function.Spec{
	Description: "One side of a mirror, by URL.",
	Params:      []function.Parameter{{Name: "url", Type: cty.String, AllowMarked: true}},
	Type:        function.StaticReturnType(cty.String),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		text, marks := args[0].Unmark()
		if !text.IsKnown() {
			return cty.UnknownVal(cty.String), nil
		}
		if _, secret := marks[sensitiveMark]; secret {
			return text.WithMarks(marks).Mark(endpointMark), nil
		}
		if err := language.CheckEndpoint(Text(text)); err != nil {
			return cty.NilVal, function.NewArgError(0, err)
		}
		return text.WithMarks(marks).Mark(endpointMark), nil
	},
})

// collectFunc is the library's conversion to a list or set, which compares
// every element's type with every other's; elements of one type need not be.
func collectFunc(want cty.Type) function.Function {
	convert := stdlib.MakeToFunc(want)
	uniform := func(v cty.Value) cty.Value {
		if v.IsMarked() || !v.IsKnown() || v.IsNull() || !v.Type().IsTupleType() || v.LengthInt() == 0 {
			return v
		}
		types := v.Type().TupleElementTypes()
		if slices.ContainsFunc(types, func(t cty.Type) bool { return !t.Equals(types[0]) || t == cty.DynamicPseudoType }) {
			return v
		}
		return cty.ListVal(v.AsValueSlice())
	}
	return function.New(&function.Spec{
		Params: convert.Params(),
		Type: func(args []cty.Value) (cty.Type, error) {
			return convert.ReturnTypeForValues([]cty.Value{uniform(args[0])})
		},
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			return convert.Call([]cty.Value{uniform(args[0])})
		},
	})
}

// lengthFunc counts characters of text and elements of everything else.
var lengthFunc = function.New(&function.Spec{
	Description: "Number of elements of a list, set or map, or of characters of a text.",
	Params:      []function.Parameter{{Name: "value", Type: cty.DynamicPseudoType, AllowDynamicType: true}},
	Type: func(args []cty.Value) (cty.Type, error) {
		t := args[0].Type()
		if t == cty.String || t.IsCollectionType() || t.IsTupleType() || t.IsObjectType() || t == cty.DynamicPseudoType {
			return cty.Number, nil
		}
		return cty.Number, function.NewArgErrorf(0, "a list, set, map or text is needed")
	},
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		v := args[0]
		switch t := v.Type(); {
		case t == cty.String:
			return stdlib.Strlen(cty.StringVal(Text(v)))
		case t.IsObjectType():
			return cty.NumberIntVal(int64(len(t.AttributeTypes()))), nil
		}
		return v.Length(), nil
	},
})

// functionDocs describes the functions that do not describe themselves.
var functionDocs = map[string]string{
	"can":      "Whether an expression can be evaluated.",
	"tolist":   "Makes a list of a set or a list of mixed things.",
	"tomap":    "Makes a map of an object.",
	"tonumber": "Makes a number of text.",
	"toset":    "Makes a set of a list; for for_each.",
	"tostring": "Makes text of a number or of true and false.",
	"try":      "The first of its arguments that can be evaluated.",
}

// Functions lists the functions for the reference, in order.
func Functions() []language.Function {
	var all []language.Function
	for _, name := range functionNames() {
		doc := cmp.Or(functions[name].Description(), functionDocs[name])
		all = append(all, language.Function{Name: name, Form: functionForm(name), Doc: strings.ReplaceAll(doc, "\n", " ")})
	}
	return all
}

func functionForm(name string) string {
	f := functions[name]
	var params []string
	for _, p := range f.Params() {
		params = append(params, p.Name)
	}
	if v := f.VarParam(); v != nil {
		params = append(params, v.Name+"...")
	}
	return name + "(" + strings.Join(params, ", ") + ")"
}
