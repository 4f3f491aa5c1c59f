package value

import "github.com/zclconf/go-cty/cty"

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
