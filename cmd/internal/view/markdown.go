package view

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/holdfast-dr/holdfast/config/diag"
	"github.com/holdfast-dr/holdfast/reconcile"
)

// longestSubject bounds the part of a commit's subject that is shown, in characters.
const longestSubject = 200

// Markdown prints a plan for a pull request. The first line marks the comment, so that a pipeline can update it in place;
// the counts stay visible, details are folded. Output is cut to maxBytes (0: no limit), least severe parts first; what is
// above them, about 1 KiB, is never cut.
func Markdown(w io.Writer, p *reconcile.Plan, allowed reconcile.Allowed, maxBytes int) error {
	head := markdownHead(p, allowed)
	tail := fmt.Sprintf("\n<sub>Digest `%s`</sub>\n", p.Digest)
	parts := []markdownPart{markdownFindings(p.Findings)}
	for _, s := range sections(p, Style{}) {
		parts = append(parts, markdownSection(s))
	}
	shown := make([]string, len(parts))
	total := len(head) + len(tail)
	for i, part := range parts {
		shown[i] = part.text(part.lines)
		total += len(shown[i])
	}
	for i := len(parts) - 1; i >= 0 && maxBytes > 0 && total > maxBytes; i-- {
		total -= len(shown[i])
		for keep := parts[i].lines; keep > 0; {
			keep /= 2
			shown[i] = parts[i].text(keep)
			if total+len(shown[i]) <= maxBytes {
				break
			}
		}
		total += len(shown[i])
	}
	_, err := io.WriteString(w, head+strings.Join(shown, "")+tail)
	return err
}

// markdownPart is a part that can be cut to its first lines.
type markdownPart struct {
	lines int
	text  func(keep int) string
}

func markdownHead(p *reconcile.Plan, allowed reconcile.Allowed) string {
	var b strings.Builder
	fmt.Fprintf(&b, "<!-- holdfast:plan %s -->\n", markdownMark(p.Environment))
	fmt.Fprintf(&b, "### holdfast plan: %s\n\n**%s**\n\n", markdownText(p.Environment), markdownText(summary(p)))
	if p.Config.Commit != "" {
		fmt.Fprintf(&b, "Commit `%s` %s", p.Config.Commit[:min(7, len(p.Config.Commit))], markdownText(cut(p.Config.Subject, longestSubject)))
		if p.Config.Dirty {
			b.WriteString(" **+ uncommitted changes**")
		}
		b.WriteString("\n\n")
	}
	for _, g := range closed(p, allowed) {
		fmt.Fprintf(&b, "- Not applied without `%s`: %s\n", g.Allow, markdownText(g.Reason))
	}
	if !p.Complete {
		b.WriteString("- This plan is incomplete: it was narrowed, or something is known only after inspection.\n")
	}
	return b.String()
}

func markdownFindings(all []diag.Diagnostic) markdownPart {
	lines := make([]string, len(all))
	for i, d := range all {
		lines[i] = fmt.Sprintf("- **%s** `%s` %s: %s", d.Severity, d.Code, markdownText(d.Summary), markdownText(d.Detail))
		if !d.Range.IsZero() {
			lines[i] += " (" + markdownText(d.Range.String()) + ")"
		}
		lines[i] += "\n"
	}
	return markdownPart{len(all), func(keep int) string { return strings.Join(lines[:keep], "") + cutNote(len(lines)-keep) }}
}

func markdownSection(s section) markdownPart {
	open := ""
	if s.grave {
		open = " open"
	}
	lines := make([]string, len(s.lines))
	for i, l := range s.lines {
		var b strings.Builder
		b.WriteString(strings.TrimRight(fmt.Sprintf("- `%s` **%s** %s", l.sign, markdownText(l.subject), markdownText(l.text)), " ") + "\n")
		for j, t := range l.below {
			if j == mostTasks {
				fmt.Fprintf(&b, "  - ... and %d more\n", len(l.below)-mostTasks)
				break
			}
			fmt.Fprintf(&b, "  - %s\n", markdownText(t))
		}
		lines[i] = b.String()
	}
	return markdownPart{len(lines), func(keep int) string {
		return fmt.Sprintf("\n<details%s><summary>%s (%d)</summary>\n\n%s%s\n</details>\n",
			open, s.title, len(lines), strings.Join(lines[:keep], ""), cutNote(len(lines)-keep))
	}}
}

func cutNote(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("- ... %d more cut to fit; run `holdfast plan` to see them\n", n)
}

// markdownMark makes the name in the marker one that a pipeline can search for as it is, and that cannot end the comment.
func markdownMark(s string) string {
	return strings.Map(func(r rune) rune {
		if r < utf8.RuneSelf && (r == '_' || r == '.' || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z') {
			return r
		}
		return '-'
	}, s)
}

var markdownEscape = strings.NewReplacer(
	"&", "&amp;", "<", "&lt;", ">", "&gt;", "\\", "\\\\", "`", "\\`", "*", "\\*", "_", "\\_", "[", "\\[", "]", "\\]", "|", "\\|", "#", "\\#", "@", "@\u200b", "~", "\\~",
	"http://", "http:\u200b//", "https://", "https:\u200b//", "www.", "www\u200b.",
)

// markdownText makes a text from outside harmless in a comment: no markup, no HTML, no mentions, no links, one line.
func markdownText(s string) string {
	return markdownEscape.Replace(Line(s))
}
