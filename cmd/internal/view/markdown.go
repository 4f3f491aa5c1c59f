package view

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-dr/holdfast/config/diag"
	"github.com/holdfast-dr/holdfast/reconcile"
)

// longestSubject bounds the part of a commit's subject that is shown, in characters.
const longestSubject = 200

// longestError bounds an error that is shown in place of a plan, in characters.
const longestError = 1000

// Markdown prints a plan for a pull request. The first line marks the comment, so that a pipeline can update it in place;
// the counts stay visible, details are folded. Output is cut to maxBytes (0: no limit), least severe parts first; what is
// above them, about 1 KiB, is never cut.
func Markdown(w io.Writer, p *reconcile.Plan, allowed reconcile.Allowed, maxBytes int) error {
	parts := []markdownPart{markdownFindings(p.Findings)}
	for _, s := range sections(p, Style{}) {
		parts = append(parts, markdownSection(s))
	}
	return markdownFit(w, markdownHead(p, allowed), parts, fmt.Sprintf("\n<sub>Digest `%s`</sub>\n", p.Digest), maxBytes)
}

// MarkdownFailure prints what keeps a plan from being made in the place of the plan: the problems of the configuration, or
// the error. Without it a comment would go on showing the plan of an earlier commit.
func MarkdownFailure(w io.Writer, environment string, problems diag.List, err error, maxBytes int) error {
	why := strings.TrimSuffix(err.Error(), ": ")
	if errors, _ := problems.Count(); errors > 0 {
		why = strings.Join(nonEmpty("The configuration has "+Count(errors, "error", "errors"), why), "; ")
	}
	head := markdownTitle(environment, "Plan failed. Nothing can be applied.") + markdownText(cut(diag.Sentence(why), longestError)) + ".\n\n"
	return markdownFit(w, head, []markdownPart{markdownFindings(problems)}, "", maxBytes)
}

func nonEmpty(all ...string) []string {
	return slices.DeleteFunc(all, func(s string) bool { return s == "" })
}

// markdownFit writes the parts, cut so that all has at most maxBytes (0: no limit).
func markdownFit(w io.Writer, head string, parts []markdownPart, tail string, maxBytes int) error {
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

// markdownTitle is the marker, the headline and what a comment amounts to.
func markdownTitle(environment, summary string) string {
	return fmt.Sprintf("<!-- holdfast:plan %s -->\n### holdfast plan: %s\n\n**%s**\n\n",
		markdownMark(environment), markdownText(environment), markdownText(summary))
}

func markdownHead(p *reconcile.Plan, allowed reconcile.Allowed) string {
	var b strings.Builder
	b.WriteString(markdownTitle(p.Environment, summary(p)))
	switch {
	case p.Restore != nil, p.Mode == reconcile.ModeDelete: // of the record alone
	case p.Config.Commit == "":
		b.WriteString("The configuration is **not from a commit**.\n\n")
	default:
		b.WriteString(markdownCommit("Commit", p.Config))
		if p.Config.Dirty {
			b.WriteString(" **+ uncommitted changes**")
		}
		b.WriteString("\n\n")
	}
	b.WriteString(diag.Sentence(markdownAgainst(p)) + ".\n\n")
	for _, g := range closed(p, allowed) {
		fmt.Fprintf(&b, "- Not applied without `%s`: %s\n", g.Allow, markdownText(g.Reason))
	}
	if !p.Complete {
		b.WriteString("- This plan is incomplete: it was narrowed, or something is known only after inspection.\n")
	}
	return b.String()
}

func markdownCommit(what string, c reconcile.ConfigInfo) string {
	return strings.TrimSpace(fmt.Sprintf("%s `%s` %s", what, reconcile.ShortCommit(c.Commit), markdownText(cut(c.Subject, longestSubject))))
}

// markdownAgainst says what the configuration is compared with, and how old what is known of the world is.
func markdownAgainst(p *reconcile.Plan) string {
	if p.Mode == reconcile.ModeCompare {
		if p.Base == nil || p.Base.Commit == "" {
			return "compared with " + markdownText(comparedWith(p.Base))
		}
		return fmt.Sprintf("%s (%s), without any state", markdownCommit("compared with commit", *p.Base), markdownText(p.Base.Ref))
	}
	seen := "devices and stores were looked at"
	switch at := p.Inventory.TakenAt; {
	case p.Inventory.Source == "live":
	case at.IsZero():
		seen = "devices and stores were never looked at"
	default:
		seen = fmt.Sprintf("devices and stores as of %s, %s before", at.UTC().Format("2006-01-02 15:04 MST"), age(p.Timestamp.Sub(at)))
	}
	return fmt.Sprintf("compared with generation %d of the state; %s", p.State.Generation, seen)
}

// age is a duration in the largest unit that it has two of.
func age(d time.Duration) string {
	for _, u := range []struct {
		name string
		unit time.Duration
	}{{"days", 24 * time.Hour}, {"hours", time.Hour}, {"minutes", time.Minute}} {
		if n := d / u.unit; n >= 2 {
			return fmt.Sprintf("%d %s", n, u.name)
		}
	}
	return "moments"
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

// markdownMark writes the name in the marker so that a pipeline can search for it as it is, no two names look the same, and
// none can end the comment: as in a URL, what is not plain is a % and two digits.
func markdownMark(name string) string {
	var b strings.Builder
	for _, c := range []byte(name) {
		if c == '_' || c == '.' || c == '-' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// markdownEscape has a dollar sign that no renderer takes for the begin of a formula: neither as it is written nor as it is shown.
var markdownEscape = strings.NewReplacer(
	"&", "&amp;", "<", "&lt;", ">", "&gt;", "\\", "\\\\", "`", "\\`", "*", "\\*", "_", "\\_", "[", "\\[", "]", "\\]", "|", "\\|", "~", "\\~",
	"#", "\\#\u200b", "@", "@\u200b", "!", "!\u200b", "$", "<span>&#36;</span>",
)

// markdownLink is where forges begin a link without being asked to: a scheme, a host, or the number of an issue.
var markdownLink = regexp.MustCompile(`(?i)[a-z][a-z0-9+.-]*:/|www\.|gh-`)

// markdownText makes a text from outside harmless in a comment: no markup, no HTML, no mentions, no links, no formulas, one line.
func markdownText(s string) string {
	return markdownEscape.Replace(markdownLink.ReplaceAllStringFunc(Line(s), func(link string) string {
		return link[:len(link)-1] + "\u200b" + link[len(link)-1:]
	}))
}
