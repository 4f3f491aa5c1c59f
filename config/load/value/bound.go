package value

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"

	"github.com/holdfast-dr/holdfast/config/load/syntax"
)

// Bounds on what a configuration may compute. A unit of weight is about a byte of memory, and so is a unit of work.
const (
	maxWeight  = 4 << 20  // of one value
	maxWork    = 64 << 20 // of all values that the expressions of a configuration work with
	stepWork   = 32       // of one step, however small what it gives
	maxBits    = 1400     // of the exponent of a number: about 400 digits
	maxPairs   = 100_000  // elements that a product of lists makes
	maxCompare = 2_000    // elements that are compared each with each other
	maxMixed   = 100      // elements of different types that one type is looked for
)

var (
	errTooLarge  = errors.New("the value is too large")
	errTooMuch   = errors.New("the configuration computes too much; write the values out, or compute less")
	errHugeDigit = errors.New("a number has more than 400 digits when it is written out")
)

// Budget is what the expressions of one configuration may still compute.
type Budget struct{ spent atomic.Int64 }

// Stop lets the expression that is being computed fail at its next step, and all others.
func (b *Budget) Stop() { b.spent.Store(maxWork + 1) }

func (b *Budget) over() bool { return b.spent.Load() > maxWork }

// spend pays for working with a value.
func (b *Budget) spend(v cty.Value) error {
	weight, huge := weigh(v)
	switch {
	case b.spent.Add(int64(weight)+stepWork) > maxWork:
		return errTooMuch
	case huge:
		return errHugeDigit
	case weight > maxWeight:
		return errTooLarge
	}
	return nil
}

// weigh estimates the memory of a value, so that locals that double each
// other end in an error and not in a full memory, and looks for numbers that
// nobody can write out.
func weigh(v cty.Value) (weight int, huge bool) {
	v, _ = v.Unmark()
	switch t := v.Type(); {
	case v.IsNull() || !v.IsKnown():
		return 1, false
	case t == cty.String:
		return 16 + len(v.AsString()), false
	case t == cty.Number:
		exp := v.AsBigFloat().MantExp(nil)
		return 16, max(exp, -exp) > maxBits
	case !v.CanIterateElements():
		return 16, false
	}
	weight = 16
	for it := v.ElementIterator(); it.Next(); {
		key, val := it.Element()
		k, _ := weigh(key)
		n, isHuge := weigh(val)
		if weight, huge = weight+k+n, huge || isHuge; weight > maxWeight {
			break
		}
	}
	return weight, huge
}

var numberText = regexp.MustCompile(`^[+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?$`)

// hugeText refuses the text of a number that is too large, where text is taken for the number.
func hugeText(args []cty.Value) error {
	for _, arg := range args {
		if s := text(arg); syntax.Huge(s) && numberText.MatchString(s) {
			return errHugeDigit
		}
	}
	return nil
}

// boundFunction is what syntax.Bound calls.
func (b *Budget) boundFunction(refuse func([]cty.Value) error) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "value", Type: cty.DynamicPseudoType, AllowNull: true, AllowUnknown: true, AllowDynamicType: true, AllowMarked: true}},
		Type:   func(args []cty.Value) (cty.Type, error) { return args[0].Type(), nil },
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			if err := refuse(args); err != nil {
				return cty.NilVal, err
			}
			return args[0], b.spend(args[0])
		},
	})
}

// bounded is a function that weighs what comes out. What goes in was paid for where it was made.
func (b *Budget) bounded(name string, f function.Function) function.Function {
	refuse := refusals[name]
	return function.New(&function.Spec{
		Description: f.Description(),
		Params:      f.Params(),
		VarParam:    f.VarParam(),
		Type: func(args []cty.Value) (cty.Type, error) {
			if b.over() {
				return cty.NilType, errTooMuch
			}
			if refuse != nil && !anyMissing(args) {
				if err := refuse(args); err != nil {
					return cty.NilType, err
				}
			}
			return f.ReturnTypeForValues(args)
		},
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			v, err := f.Call(args)
			if err != nil {
				return v, err
			}
			return v, b.spend(v)
		},
	})
}

func anyMissing(args []cty.Value) bool {
	for _, arg := range args {
		if v, _ := arg.Unmark(); v.IsNull() || !v.IsKnown() {
			return true
		}
	}
	return false
}

// refusals say by their arguments which calls would make too much of them.
var refusals = map[string]func(args []cty.Value) error{
	"distinct":        eachWithEach,
	"flatten":         heavy,
	"format":          wideFormat,
	"formatlist":      wideFormat,
	"join":            longJoin,
	"jsondecode":      unsafeJSON,
	"jsonencode":      heavy,
	"replace":         longReplace,
	"setintersection": eachWithEach,
	"setproduct":      largeProduct,
	"setsubtract":     eachWithEach,
	"setunion":        eachWithEach,
	"tolist":          mixedTypes,
	"tonumber":        hugeText,
	"tomap":           mixedTypes,
	"toset":           mixedTypes,
}

var wide = regexp.MustCompile(`%[^a-zA-Z%]*[0-9]{4}`)

func wideFormat(args []cty.Value) error {
	if wide.MatchString(text(args[0])) {
		return errors.New("a width or a precision has at most three digits")
	}
	return nil
}

func unsafeJSON(args []cty.Value) error {
	if why := syntax.UnsafeJSON(text(args[0])); why != "" {
		return errors.New(strings.TrimSuffix(why, "."))
	}
	return nil
}

func longReplace(args []cty.Value) error {
	s, old, with := text(args[0]), text(args[1]), text(args[2])
	if len(s)+strings.Count(s, old)*len(with) > maxWeight {
		return errTooLarge
	}
	return nil
}

func longJoin(args []cty.Value) error {
	elements := 0
	for _, list := range args[1:] {
		elements += length(list)
	}
	if elements*len(text(args[0])) > maxWeight {
		return errTooLarge
	}
	return heavy(args)
}

// heavy refuses what is written out or copied element by element: parts that are shared grow by it.
func heavy(args []cty.Value) error {
	for _, arg := range args {
		if weight, _ := weigh(arg); weight > maxWeight {
			return errTooLarge
		}
	}
	return nil
}

func largeProduct(args []cty.Value) error {
	pairs := 1
	for _, list := range args {
		if pairs *= length(list); pairs > maxPairs {
			return fmt.Errorf("the product has more than %d elements", maxPairs)
		}
	}
	return nil
}

// eachWithEach bounds what the library does by comparing every element, or its type, with every other.
func eachWithEach(args []cty.Value) error {
	for _, list := range args {
		if length(list) > maxCompare {
			return fmt.Errorf("it compares elements with each other, and there are more than %d", maxCompare)
		}
	}
	return nil
}

// mixedTypes bounds the search for a type that all elements fit, which compares them with each other, in all their parts.
func mixedTypes(args []cty.Value) error {
	var types []cty.Type
	switch v, _ := args[0].Unmark(); {
	case v.Type().IsTupleType():
		types = v.Type().TupleElementTypes()
	case v.Type().IsObjectType():
		types = slices.Collect(maps.Values(v.Type().AttributeTypes()))
	}
	if len(types) > maxMixed && slices.ContainsFunc(types, func(t cty.Type) bool { return !t.Equals(types[0]) }) {
		return fmt.Errorf("its elements have different types, and there are more than %d", maxMixed)
	}
	return nil
}

func text(v cty.Value) string {
	if v, _ = v.Unmark(); v.Type() == cty.String && v.IsKnown() && !v.IsNull() {
		return v.AsString()
	}
	return ""
}

func length(v cty.Value) int {
	if v, _ = v.Unmark(); v.CanIterateElements() {
		return v.LengthInt()
	}
	return 0
}
