package value

import (
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/json"
	"github.com/zclconf/go-cty/cty"

	"github.com/holdfast-dr/holdfast/config/language"
	"github.com/holdfast-dr/holdfast/config/load/problem"
	"github.com/holdfast-dr/holdfast/config/load/spelling"
	"github.com/holdfast-dr/holdfast/config/load/syntax"
)

// Text is a text value as it was written.
func Text(v cty.Value) string { return spelling.Restore(v.AsString()) }

// textValue is the way in for text from outside of the files.
func textValue(s string) cty.Value { return cty.StringVal(spelling.Keep(s)) }

// Written gives an expression whose texts are kept as they are written: nearly always the expression itself. False: that
// cannot be had, which was reported.
func Written(src syntax.Sources, expr hcl.Expression, rep *problem.Report) (hcl.Expression, bool) {
	rng := expr.Range()
	text := src.Text(rng)
	if spelling.StableSource(text) {
		return expr, true
	}
	kept, ok := parseKept(text, strings.HasSuffix(rng.Filename, language.JSONEnding))
	if !ok {
		rep.Add(problem.InvalidExpr, rng, "This expression has a name in decomposed Unicode outside of quotes. Write it in quotes, so that it means exactly what is written.")
	}
	return kept, ok
}

func parseKept(text string, isJSON bool) (hcl.Expression, bool) {
	if !isJSON {
		kept, ok := spelling.KeepNative(text)
		if !ok {
			return nil, false
		}
		expr, diags := hclsyntax.ParseExpression([]byte("("+kept+"\n)"), "", hcl.InitialPos)
		if diags.HasErrors() {
			return nil, false
		}
		syntax.Bound(expr)
		return expr, true
	}
	expr, diags := json.ParseExpression([]byte(spelling.KeepJSON(text)), "")
	return expr, !diags.HasErrors()
}
