package value

import (
	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"github.com/holdfast-dr/holdfast/config/load/problem"
)

// mark is a note on a value that every value made from it carries too.
type mark string

const (
	sensitiveMark mark = "sensitive" // from a sensitive variable
	endpointMark  mark = "endpoint"  // made by endpoint()
)

// Sensitive reports whether a sensitive variable went into a value.
func Sensitive(v cty.Value) bool {
	if !v.ContainsMarked() {
		return false
	}
	_, marks := v.UnmarkDeep()
	_, found := marks[sensitiveMark]
	return found
}

// Plain removes all marks. It is false, and reported, when the value is sensitive.
func Plain(v cty.Value, rng hcl.Range, what string, rep *problem.Report) (cty.Value, bool) {
	if !v.ContainsMarked() {
		return v, true
	}
	clean, marks := v.UnmarkDeep()
	if _, found := marks[sensitiveMark]; found {
		rep.Add(problem.SensitiveValue, rng, "The value of %s comes from a sensitive variable, but everything in the configuration is recorded and shown. "+
			"Declare a credential as secret \"NAME\" { file = \"...\" } and write secret.NAME where it is needed.", what)
		return cty.NilVal, false
	}
	return clean, true
}

// IsEndpoint reports whether endpoint() made a value.
func IsEndpoint(v cty.Value) bool { return v.HasMark(endpointMark) }
