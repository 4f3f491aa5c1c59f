package syntax

import (
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// Functions that nobody can write. The evaluator's see every value that loops,
// templates and operators work with, and end what grows too large.
const (
	BoundValue   = "bound value"
	BoundOperand = "bound operand"
)

// Bound puts calls of these functions into an expression or a body, so that
// nothing it computes in steps escapes the evaluator's bounds.
func Bound(n hclsyntax.Node) {
	_ = hclsyntax.VisitAll(n, func(n hclsyntax.Node) hcl.Diagnostics {
		switch x := n.(type) {
		case *hclsyntax.BinaryOpExpr:
			x.LHS, x.RHS = bound(x.LHS, BoundOperand), bound(x.RHS, BoundOperand)
		case *hclsyntax.UnaryOpExpr:
			x.Val = bound(x.Val, BoundOperand)
		case *hclsyntax.ForExpr:
			x.ValExpr = bound(x.ValExpr, BoundValue)
			if x.KeyExpr != nil {
				x.KeyExpr = bound(x.KeyExpr, BoundValue)
			}
		case *hclsyntax.TemplateExpr:
			for i, part := range x.Parts {
				x.Parts[i] = bound(part, BoundValue)
			}
		}
		return nil
	})
}

func bound(x hclsyntax.Expression, by string) hclsyntax.Expression {
	switch x.(type) {
	case *hclsyntax.LiteralValueExpr:
		return x // its size is that of the file
	case *hclsyntax.ScopeTraversalExpr:
		if by == BoundValue {
			return x // what has a name was seen when it was made
		}
	}
	at := x.Range()
	end := hcl.Range{Filename: at.Filename, Start: at.End, End: at.End}
	return &hclsyntax.FunctionCallExpr{Name: by, Args: []hclsyntax.Expression{x}, NameRange: at, OpenParenRange: at, CloseParenRange: end}
}
