package view

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/holdfast-dr/holdfast/config/diag"
)

// mostShown bounds the problems printed for people; the count of the rest follows.
const mostShown = 50

// Diagnostics prints problems for people, with the source line each one points at.
func Diagnostics(w io.Writer, list diag.List, s Style) error {
	var b strings.Builder
	for i, d := range list {
		if i == mostShown {
			fmt.Fprintf(&b, "... and %d more problems\n", len(list)-mostShown)
			break
		}
		head := s.red("Error")
		if d.Severity == diag.Warning {
			head = s.yellow("Warning")
		}
		fmt.Fprintf(&b, "%s: %s", s.bold(head), s.bold(Line(d.Summary)))
		if d.Code != "" {
			fmt.Fprintf(&b, " [%s]", d.Code)
		}
		b.WriteByte('\n')
		switch {
		case !d.Range.IsZero():
			fmt.Fprintf(&b, "  on %s line %d", Line(d.Range.Filename), d.Range.Start.Line)
			if d.Address != "" {
				fmt.Fprintf(&b, ", in %s", Line(d.Address))
			}
			b.WriteString(":\n")
			snippet(&b, d.Snippet, s)
		case d.Address != "":
			fmt.Fprintf(&b, "  in %s:\n", Line(d.Address))
		}
		if d.Detail != "" {
			fmt.Fprintf(&b, "  %s\n", strings.ReplaceAll(Clean(d.Detail), "\n", "\n  "))
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// snippet prints a source line with a mark below what is meant, and of a long one what is around the mark. The parts are cleaned one by one,
// so that the mark stays in its place when a character before it is shown as several.
func snippet(b *strings.Builder, sn *diag.Snippet, s Style) {
	if sn == nil {
		return
	}
	from, to := sn.HighlightStartOffset, sn.HighlightEndOffset
	if from < 0 || to < from || to > len(sn.Code) {
		from, to = 0, 0
	}
	before, meant, rest := excerpt(sn.Code[:from], sn.Code[from:to], sn.Code[to:])
	fmt.Fprintf(b, "  %4d: %s\n", sn.StartLine, before+meant+rest)
	if meant != "" {
		fmt.Fprintf(b, "        %s%s\n", strings.Repeat(" ", width(before)), s.red(strings.Repeat("^", width(meant))))
	}
}

func width(s string) int { return len([]rune(s)) }

// ValidateJSON prints the outcome of a validation in Terraform's shape.
func ValidateJSON(w io.Writer, list diag.List) error {
	errors, warnings := list.Count()
	if list == nil {
		list = diag.List{}
	}
	return writeJSON(w, struct {
		FormatVersion string    `json:"format_version"`
		Valid         bool      `json:"valid"`
		Errors        int       `json:"error_count"`
		Warnings      int       `json:"warning_count"`
		Diagnostics   diag.List `json:"diagnostics"`
	}{"1.0", errors == 0, errors, warnings, list})
}

// JSON prints any record in the form all --json output has.
func JSON(w io.Writer, v any) error { return writeJSON(w, v) }

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
