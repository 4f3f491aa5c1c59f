package problem

import (
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"github.com/holdfast-dr/holdfast/config/diag"
	"github.com/holdfast-dr/holdfast/config/load/spelling"
)

// Report collects the problems of one object or one phase.
type Report struct {
	List       diag.List
	Address    string      // of the object, for the diagnostics
	Incomplete bool        // something was left out, whether or not this report says why
	Hidden     []hcl.Range // credentials in the files
}

// Hide keeps the text of a credential out of the sources that snippets are made of.
func (r *Report) Hide(rng hcl.Range) { r.Hidden = append(r.Hidden, rng) }

// Add reports a mistake. The detail is formatted like fmt.Sprintf.
func (r *Report) Add(m Mistake, rng hcl.Range, detail string, args ...any) {
	r.AddAt(m, Place(rng), detail, args...)
}

// AddAt is Add for a place in the model.
func (r *Report) AddAt(m Mistake, rng diag.Range, detail string, args ...any) {
	r.Incomplete = true
	r.List = append(r.List, diag.Diagnostic{
		Severity: diag.Error, Code: m.Code, Summary: m.Summary, Detail: spelling.Restore(fmt.Sprintf(detail, args...)),
		Address: r.Address, Range: rng,
	})
}

// Doubt reports what is allowed and probably not meant.
func (r *Report) Doubt(m Mistake, rng diag.Range, detail string) {
	r.List = append(r.List, diag.Diagnostic{
		Severity: diag.Warning, Code: m.Code, Summary: m.Summary, Detail: detail, Address: r.Address, Range: rng,
	})
}

// Take adds what another report has collected.
func (r *Report) Take(o *Report) {
	r.List = append(r.List, o.List...)
	r.Hidden = append(r.Hidden, o.Hidden...)
	r.Incomplete = r.Incomplete || o.Incomplete
}

// AddSyntax takes over a problem found by the parser, at fallback when it has no
// place.
func (r *Report) AddSyntax(d *hcl.Diagnostic, fallback hcl.Range) {
	rng := fallback
	if d.Subject != nil {
		rng = *d.Subject
	}
	plain, ok := plainSyntax[d.Summary]
	if !ok {
		plain, ok = plainSyntax[d.Detail]
	}
	if ok {
		r.Add(BadSyntax, rng, "%s", plain)
		return
	}
	r.Add(BadSyntax, rng, "%s: %s", strings.TrimSuffix(d.Summary, "."), d.Detail)
}

// plainSyntax says in plain words what the parser says about the commonest slips.
var plainSyntax = map[string]string{
	"Invalid multi-line string":                                                   "A quote \" is missing: text in quotes ends on the line it starts on. Text of several lines is written between <<EOT and EOT.",
	"Invalid single-argument block definition":                                    "A block on one line holds one argument only. Write each argument on a line of its own.",
	"Expected the start of an expression, but found an invalid expression token.": "A value is expected here.",
	"Argument definition required":                                                "A block on one line holds one argument only, and no other block. Write each on a line of its own.",
}

// Place converts a range of the parser.
func Place(r hcl.Range) diag.Range {
	return diag.Range{
		Filename: r.Filename,
		Start:    diag.Pos{Line: r.Start.Line, Column: r.Start.Column, Byte: r.Start.Byte},
		End:      diag.Pos{Line: r.End.Line, Column: r.End.Column, Byte: r.End.Byte},
	}
}
