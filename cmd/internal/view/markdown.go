package view

import (
	"fmt"
	"html"
	"io"
	"strings"

	"github.com/holdfast-dr/holdfast/reconcile"
)

// Markdown prints a plan for a pull request. The first line marks the comment, so that a pipeline can update it in place;
// the counts stay visible, details are folded. Output is cut to maxBytes (0: no limit), least severe sections first.
func Markdown(w io.Writer, p *reconcile.Plan, allowed reconcile.Allowed, maxBytes int) error {
	head := markdownHead(p, allowed)
	secs := sections(p)
	bodies := make([]string, len(secs))
	total := len(head)
	for i, s := range secs {
		bodies[i] = markdownSection(s, len(s.lines))
		total += len(bodies[i])
	}
	for i := len(secs) - 1; i >= 0 && maxBytes > 0 && total > maxBytes; i-- {
		total -= len(bodies[i])
		keep := len(secs[i].lines)
		for {
			keep /= 2
			bodies[i] = markdownSection(secs[i], keep)
			if keep == 0 || total+len(bodies[i]) <= maxBytes {
				break
			}
		}
		total += len(bodies[i])
	}
	_, err := io.WriteString(w, head+strings.Join(bodies, "")+fmt.Sprintf("\n<sub>Digest `%s`</sub>\n", p.Digest))
	return err
}

func markdownHead(p *reconcile.Plan, allowed reconcile.Allowed) string {
	var b strings.Builder
	fmt.Fprintf(&b, "<!-- holdfast:plan %s -->\n", markdownText(p.Environment))
	fmt.Fprintf(&b, "### holdfast plan: %s\n\n**%s**\n\n", markdownText(p.Environment), markdownText(summary(p)))
	if p.Config.Commit != "" {
		fmt.Fprintf(&b, "Commit `%s` %s  \n", p.Config.Commit[:min(7, len(p.Config.Commit))], markdownText(p.Config.Subject))
	}
	for _, d := range p.Findings {
		fmt.Fprintf(&b, "- **%s** `%s` %s: %s", d.Severity, d.Code, markdownText(d.Summary), markdownText(d.Detail))
		if !d.Range.IsZero() {
			fmt.Fprintf(&b, " (`%s`)", strings.ReplaceAll(Clean(d.Range.String()), "`", "'"))
		}
		b.WriteByte('\n')
	}
	for _, g := range p.Closed(allowed) {
		fmt.Fprintf(&b, "- Not applied without `%s`: %s\n", g.Allow, markdownText(g.Reason))
	}
	if !p.Complete {
		b.WriteString("- This plan is incomplete: it was narrowed, or something is known only after inspection.\n")
	}
	return b.String()
}

func markdownSection(s section, keep int) string {
	var b strings.Builder
	open := ""
	if s.grave {
		open = " open"
	}
	fmt.Fprintf(&b, "\n<details%s><summary>%s (%d)</summary>\n\n", open, s.title, len(s.lines))
	for _, l := range s.lines[:keep] {
		fmt.Fprintf(&b, "- `%s` **%s** %s\n", l.sign, markdownText(l.subject), markdownText(l.text))
		for i, t := range l.below {
			if i == mostTasks {
				fmt.Fprintf(&b, "  - ... and %d more\n", len(l.below)-mostTasks)
				break
			}
			fmt.Fprintf(&b, "  - %s\n", markdownText(t))
		}
	}
	if cut := len(s.lines) - keep; cut > 0 {
		fmt.Fprintf(&b, "- ... %d more cut to fit; run `holdfast plan` to see them\n", cut)
	}
	b.WriteString("\n</details>\n")
	return b.String()
}

var markdownEscape = strings.NewReplacer(
	"\\", "\\\\", "`", "\\`", "*", "\\*", "_", "\\_", "[", "\\[", "]", "\\]", "|", "\\|", "#", "\\#", "@", "@\u200b", "~", "\\~",
)

// markdownText makes a text from outside harmless in a comment: no markup, no HTML, no mentions, one line.
func markdownText(s string) string {
	return markdownEscape.Replace(html.EscapeString(oneLine(s)))
}
