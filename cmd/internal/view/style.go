// Package view shows plans, runs and problems to people and to programs: text, Markdown and JSON.
// It decides nothing. Whatever came from outside is cleaned of control characters before it is printed.
package view

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/holdfast-dr/holdfast/config/unit"
)

// Style says how text is drawn.
type Style struct {
	Color bool
	Zone  *time.Location // for times; UTC when nil
}

func (s Style) paint(code, text string) string {
	if !s.Color || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (s Style) bold(text string) string   { return s.paint("1", text) }
func (s Style) dim(text string) string    { return s.paint("2", text) }
func (s Style) red(text string) string    { return s.paint("31", text) }
func (s Style) green(text string) string  { return s.paint("32", text) }
func (s Style) yellow(text string) string { return s.paint("33", text) }
func (s Style) cyan(text string) string   { return s.paint("36", text) }

// time gives an instant to the second in the style's zone, or "-" for none.
func (s Style) time(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	zone := s.Zone
	if zone == nil {
		zone = time.UTC
	}
	return t.In(zone).Format("2006-01-02 15:04:05 MST")
}

// Clean makes a text from outside safe to print: control and format characters, which could rewrite a terminal or hide
// words, become visible.
func Clean(s string) string {
	if strings.IndexFunc(s, unsafe) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if unsafe(r) {
			fmt.Fprintf(&b, "\\u%04x", r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

func unsafe(r rune) bool {
	return r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp) || r == unicode.ReplacementChar)
}

// Line is Clean for a place where a line break would pretend to be another line.
func Line(s string) string {
	return strings.Join(strings.Fields(Clean(s)), " ")
}

// length gives the time between two instants for people, "-" when it is not known.
func length(from, to time.Time) string {
	if from.IsZero() || to.IsZero() {
		return "-"
	}
	d := to.Sub(from)
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// verdicts are the columns that say how something stands.
var verdicts = []string{"STATUS", "HEALTH", "STANDING", "LAST RUN", "LAST VERIFICATION", "CONDITION", "STATE"}

// table writes aligned columns. Verdicts are painted when they have their place, because colours have no width.
func (s Style) table(w io.Writer, header []string, rows [][]string) error {
	var b strings.Builder
	widths := make([]int, len(header))
	for i, h := range header {
		widths[i] = width(h)
	}
	for _, r := range rows {
		for i := range r {
			if r[i] = Line(r[i]); r[i] == "" {
				r[i] = "-"
			}
			widths[i] = max(widths[i], width(r[i]))
		}
	}
	for n, r := range append([][]string{header}, rows...) {
		for i, cell := range r {
			pad := strings.Repeat(" ", widths[i]-width(cell)+2)
			if n > 0 && slices.Contains(verdicts, header[i]) {
				cell = s.verdict(cell)
			}
			b.WriteString(cell)
			if i < len(r)-1 {
				b.WriteString(pad)
			}
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// verdict paints the words that say how something stands: the worst of them counts.
func (s Style) verdict(text string) string {
	paint := func(text string) string { return text }
	for word := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == ' ' || r == ',' }) {
		switch word {
		case "failed", "attention", "unhealthy", "damaged", "missing", "overdue", "problem", "problems", "quarantined", "uncertain", "unknown":
			return s.red(text)
		case "succeeded", "healthy", "fits", "intact", "good", "settled", "done":
			paint = s.green
		case "succeeded_with_warnings", "partial", "skipped", "cancelled", "missed", "interrupted", "due", "unverified", "expiring", "moving":
			paint = s.yellow
		}
	}
	return paint(text)
}

// Protected says how much is protected, as it counts at its source; empty: that is not known.
func Protected(files, bytes int64) string {
	switch {
	case files == 0 && bytes == 0:
		return ""
	case files == 0:
		return unit.Bytes(bytes)
	case bytes == 0:
		return Count(int(files), "file", "files")
	}
	return Count(int(files), "file", "files") + ", " + unit.Bytes(bytes)
}

// Count gives a number with its noun.
func Count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
