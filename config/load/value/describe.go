package value

import "github.com/zclconf/go-cty/cty"

const maxWeight = 4 << 20

// weigh estimates the memory of a value, so that locals that double each
// other end in an error and not in a full memory.
func weigh(v cty.Value) int {
	v, _ = v.Unmark()
	switch t := v.Type(); {
	case v.IsNull() || !v.IsKnown():
		return 1
	case t == cty.String:
		return 16 + len(v.AsString())
	case !v.CanIterateElements():
		return 16
	}
	n := 16
	for it := v.ElementIterator(); it.Next(); {
		key, val := it.Element()
		if n += weigh(key) + weigh(val); n > maxWeight {
			break
		}
	}
	return n
}

// Describe names a value's type in words.
func Describe(v cty.Value) string {
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
