package load

import (
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"github.com/holdfast-dr/holdfast/config/diag"
)

// report collects the problems of one object or one phase.
type report struct {
	list       diag.List
	address    string
	incomplete bool        // something was left out, whether or not this report says why
	hidden     []hcl.Range // credentials in the files
}

// hide keeps the text of a credential out of the sources that snippets are made of.
func (r *report) hide(rng hcl.Range) { r.hidden = append(r.hidden, rng) }

// add reports a mistake. The detail is formatted like fmt.Sprintf.
func (r *report) add(m mistake, rng hcl.Range, detail string, args ...any) {
	r.addAt(m, place(rng), detail, args...)
}

// addAt is add for a place in the model.
func (r *report) addAt(m mistake, rng diag.Range, detail string, args ...any) {
	r.incomplete = true
	r.list = append(r.list, diag.Diagnostic{
		Severity: diag.Error, Code: m.code, Summary: m.summary, Detail: fmt.Sprintf(detail, args...),
		Address: r.address, Range: rng,
	})
}

// take adds what another report has found.
func (r *report) take(o *report) {
	r.list = append(r.list, o.list...)
	r.hidden = append(r.hidden, o.hidden...)
	r.incomplete = r.incomplete || o.incomplete
}

// addSyntax takes over a problem found by the parser.
func (r *report) addSyntax(d *hcl.Diagnostic, fallback hcl.Range) {
	rng := fallback
	if d.Subject != nil {
		rng = *d.Subject
	}
	plain, ok := plainSyntax[d.Summary]
	if !ok {
		plain, ok = plainSyntax[d.Detail]
	}
	if ok {
		r.add(badSyntax, rng, "%s", plain)
		return
	}
	r.add(badSyntax, rng, "%s: %s", strings.TrimSuffix(d.Summary, "."), d.Detail)
}

// plainSyntax says in plain words what the parser says about the commonest slips.
var plainSyntax = map[string]string{
	"Invalid multi-line string":                                                   "A quote \" is missing: text in quotes ends on the line it starts on. Text of several lines is written between <<EOT and EOT.",
	"Invalid single-argument block definition":                                    "A block on one line holds one argument only. Write each argument on a line of its own.",
	"Expected the start of an expression, but found an invalid expression token.": "A value is expected here.",
	"Argument definition required":                                                "A block on one line holds one argument only, and no other block. Write each on a line of its own.",
}

// place converts a range.
func place(r hcl.Range) diag.Range {
	return diag.Range{
		Filename: r.Filename,
		Start:    diag.Pos{Line: r.Start.Line, Column: r.Start.Column, Byte: r.Start.Byte},
		End:      diag.Pos{Line: r.End.Line, Column: r.End.Column, Byte: r.End.Byte},
	}
}

// gaps are what could not be read of a configuration. A name that seems
// missing may be declared there.
type gaps struct {
	partial bool            // a file, or the instances of a block
	lost    map[string]bool // labels of blocks that were left out; "" when there is one
}

// lose notes a block that is left out.
func (g *gaps) lose(labels []string) {
	if g.lost == nil {
		g.lost = map[string]bool{}
	}
	g.lost[""] = true
	for _, label := range labels {
		g.lost[label] = true
	}
}

// none reports whether everything was read.
func (g *gaps) none() bool { return !g.partial && len(g.lost) == 0 }

// mayHave reports whether a name may be declared in what was not read.
func (g *gaps) mayHave(name string) bool { return g.partial || g.lost[name] }
