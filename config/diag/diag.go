// Package diag holds the problems holdfast tells its user about: what is
// wrong, where, why, and what to do. It decides nothing and prints nothing.
package diag

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Severity says whether a problem stops the run.
type Severity string

const (
	Error   Severity = "error"
	Warning Severity = "warning"
)

// Pos is a place in a source file. Line and Column count from 1 (columns in
// Unicode characters), Byte counts from 0.
type Pos struct {
	Line   int `json:"line"`
	Column int `json:"column"`
	Byte   int `json:"byte"`
}

// Range is a half-open stretch of one source file. The zero Range means
// "nowhere in particular".
type Range struct {
	Filename string `json:"filename"`
	Start    Pos    `json:"start"`
	End      Pos    `json:"end"`
}

// IsZero reports whether the range names no place.
func (r Range) IsZero() bool { return r.Filename == "" }

// String gives "file:line,column", the form editors understand.
func (r Range) String() string {
	if r.IsZero() {
		return ""
	}
	return fmt.Sprintf("%s:%d,%d", r.Filename, r.Start.Line, r.Start.Column)
}

// Diagnostic is one problem. Summary is short and constant for its Code;
// Detail says in full sentences what, why and what to do.
type Diagnostic struct {
	Severity Severity `json:"severity"`
	Code     string   `json:"code"`
	Summary  string   `json:"summary"`
	Detail   string   `json:"detail,omitempty"`
	Address  string   `json:"address,omitempty"`
	Range    Range    `json:"range,omitzero"`
	Snippet  *Snippet `json:"snippet,omitempty"`
}

// Snippet is the source text a diagnostic points at, in the shape of
// Terraform's `validate -json`: Code is the line the range starts on, or of a
// very long line the part around the highlight; the highlight offsets are bytes
// into Code.
type Snippet struct {
	Code                 string `json:"code"`
	StartLine            int    `json:"start_line"`
	HighlightStartOffset int    `json:"highlight_start_offset"`
	HighlightEndOffset   int    `json:"highlight_end_offset"`
}

// List collects the problems of one run. A nil List means none.
type List []Diagnostic

// Errorf adds an error. The detail is formatted like fmt.Sprintf.
func (l *List) Errorf(code string, rng Range, summary, detail string, args ...any) {
	*l = append(*l, Diagnostic{Severity: Error, Code: code, Summary: summary, Detail: fmt.Sprintf(detail, args...), Range: rng})
}

// Warnf adds a warning. The detail is formatted like fmt.Sprintf.
func (l *List) Warnf(code string, rng Range, summary, detail string, args ...any) {
	*l = append(*l, Diagnostic{Severity: Warning, Code: code, Summary: summary, Detail: fmt.Sprintf(detail, args...), Range: rng})
}

// HasErrors reports whether any entry stops the run.
func (l List) HasErrors() bool {
	return slices.ContainsFunc(l, func(d Diagnostic) bool { return d.Severity == Error })
}

// Count gives the number of errors and of warnings.
func (l List) Count() (errors, warnings int) {
	for _, d := range l {
		if d.Severity == Error {
			errors++
		} else {
			warnings++
		}
	}
	return errors, warnings
}

// Sort orders errors before warnings, then by file and place, then by code;
// equal entries keep their order.
func (l List) Sort() {
	slices.SortStableFunc(l, func(a, b Diagnostic) int {
		return cmp.Or(
			cmp.Compare(rank(a.Severity), rank(b.Severity)),
			strings.Compare(a.Range.Filename, b.Range.Filename),
			cmp.Compare(a.Range.Start.Byte, b.Range.Start.Byte),
			strings.Compare(a.Code, b.Code),
		)
	})
}

func rank(s Severity) int {
	if s == Error {
		return 0
	}
	return 1
}

// WithSnippets fills in the source text of every entry whose file is in
// sources (file name -> content).
func (l List) WithSnippets(sources map[string][]byte) {
	for i := range l {
		if src, ok := sources[l[i].Range.Filename]; ok {
			l[i].Snippet = snippet(src, l[i].Range)
		}
	}
}

func snippet(src []byte, r Range) *Snippet {
	if r.Start.Byte < 0 || r.Start.Byte > len(src) {
		return nil
	}
	start := bytes.LastIndexByte(src[:r.Start.Byte], '\n') + 1
	end := len(src)
	if i := bytes.IndexByte(src[r.Start.Byte:], '\n'); i >= 0 {
		end = r.Start.Byte + i
	}
	code := strings.TrimRight(string(src[start:end]), "\r")
	from := min(r.Start.Byte-start, len(code))
	to := min(max(r.End.Byte-start, from), len(code))
	if cut, rest := around(code, from); rest != code {
		code, from, to = rest, from-cut, min(to-cut, len(rest))
	}
	return &Snippet{Code: code, StartLine: r.Start.Line, HighlightStartOffset: from, HighlightEndOffset: to}
}

// around cuts a line to a length that people read and reports can hold, whole
// characters that include the place at. It also gives where the cut begins.
func around(line string, at int) (int, string) {
	const most, before = 400, 100
	if len(line) <= most {
		return 0, line
	}
	from := max(0, min(at-before, len(line)-most))
	to := min(from+most, len(line))
	for from < at && !utf8.RuneStart(line[from]) {
		from++
	}
	for to > at && to < len(line) && !utf8.RuneStart(line[to]) {
		to--
	}
	return from, line[from:to]
}

// Nearest gives the candidate closest to word, or "" when none is close enough
// to be a likely typing slip. The basis of every "Did you mean ...?".
func Nearest(word string, candidates []string) string {
	best, bestDist := "", max(1, len(word)/3)
	if word == "" || len(word) > 1000 { // no slip; and comparing takes quadratic time
		return ""
	}
	for _, c := range candidates {
		d := distance(word, c, bestDist)
		if d < bestDist || d == bestDist && (best == "" || c < best) {
			best, bestDist = c, d
		}
	}
	return best
}

// distance counts the slips between two words: a character missing, added or
// wrong, or two neighbours exchanged. Above most it gives some larger number.
func distance(a, b string, most int) int {
	if max(len(a)-len(b), len(b)-len(a)) > most {
		return most + 1
	}
	before, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		least := i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], before[j-2]+1)
			}
			least = min(least, cur[j])
		}
		if least > most+1 {
			return most + 1
		}
		before, prev, cur = prev, cur, before
	}
	return prev[len(b)]
}
