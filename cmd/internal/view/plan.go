package view

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/holdfast-dr/holdfast/config/diag"
	"github.com/holdfast-dr/holdfast/config/unit"
	"github.com/holdfast-dr/holdfast/reconcile"
)

// PlanOptions says how much of a plan is shown.
type PlanOptions struct {
	Style   Style
	Allowed reconcile.Allowed
	Asked   reconcile.Class // a person is asked next, whose yes also allows this class; empty: nobody is, or nothing more is allowed by it
	Verbose bool            // every task, every argument
}

// longestHeading bounds the part of a commit's subject in the first line, in characters.
const longestHeading = 60

// cut shortens a text to so many characters.
func cut(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "..."
	}
	return s
}

// mostTasks bounds the task lines of one action unless everything is asked for.
const mostTasks = 20

// Plan prints a plan for people, worst first.
func Plan(w io.Writer, p *reconcile.Plan, o PlanOptions) error {
	b := &planText{p: p, o: o, s: o.Style}
	b.header()
	for _, sec := range sections(p, o.Style) {
		b.section(sec)
	}
	b.footer()
	_, err := io.WriteString(w, b.String())
	return err
}

// section is one titled group of lines. Text and Markdown draw the same sections.
type section struct {
	title string
	grave bool
	lines []line
}

// line is one entry: a sign, a subject, what is said of it, and lines below it.
type line struct {
	sign    string
	subject string
	text    string
	below   []string
}

// sections arranges a plan: what destroys first, then changes, work, what waits, and what differs.
func sections(p *reconcile.Plan, s Style) []section {
	switch {
	case p.Restore != nil:
		return restoreSections(p, s)
	case p.Mode == reconcile.ModeDelete:
		return deletionSections(p, s)
	}
	var destroys, changes []line
	for _, c := range p.Changes {
		l := changeLine(c)
		if c.Class == reconcile.ClassDestroy {
			destroys = append(destroys, l)
		} else {
			changes = append(changes, l)
		}
	}
	var actions []line
	for _, a := range p.Actions {
		actions = append(actions, actionLine(a))
	}
	var deferred []line
	for _, d := range p.Deferred {
		l := line{sign: ".", subject: d.Address, text: fmt.Sprintf("%s, waits for %s", d.Reason, d.Waits)}
		if d.Code != "" {
			l.text += " [" + d.Code + "]"
		}
		deferred = append(deferred, l)
	}
	var drift []line
	for _, d := range p.Drift {
		l := line{sign: "!", subject: d.Address, text: d.Summary}
		if d.Detail != "" {
			l.below = []string{d.Detail}
		}
		drift = append(drift, l)
	}
	var roles []line
	for _, r := range p.Roles {
		text := fmt.Sprintf("active %s, epoch %d, %s", r.Active, r.Epoch, r.State)
		if !r.Since.IsZero() {
			text += " since " + r.Since.UTC().Format("2006-01-02 15:04 MST")
		}
		roles = append(roles, line{sign: "=", subject: r.Failover, text: text + "; " + r.Note})
	}
	all := []section{
		{"Destroys", true, destroys}, {"Changes", false, changes}, {"Actions now", false, actions},
		{"Deferred", false, deferred}, {"Drift", true, drift}, {"Roles", false, roles},
	}
	return slices.DeleteFunc(all, func(s section) bool { return len(s.lines) == 0 })
}

func changeLine(c reconcile.Change) line {
	l := line{subject: c.Address}
	switch c.Action {
	case reconcile.Create, reconcile.Adopt:
		l.sign = "+"
	case reconcile.Update:
		l.sign = "~"
	case reconcile.Move:
		l.sign = ">"
		l.text = "was " + c.Previous
	case reconcile.Delete:
		l.sign = "-"
	case reconcile.Forget:
		l.sign = "-"
		l.text = "forgotten"
	}
	if c.Note != "" {
		l.text = strings.TrimPrefix(l.text+"; "+c.Note, "; ")
	}
	for _, path := range c.Paths {
		l.below = append(l.below, fmt.Sprintf("%s  %s -> %s", path, value(c.Before, path), value(c.After, path)))
	}
	return l
}

// value gives the text of one argument of a specification, as it would be written.
func value(spec json.RawMessage, path string) string {
	var v any
	if json.Unmarshal(spec, &v) != nil {
		return "?"
	}
	for _, part := range strings.FieldsFunc(path, func(r rune) bool { return r == '.' || r == '[' || r == ']' }) {
		switch x := v.(type) {
		case map[string]any:
			v = x[part]
		case []any:
			i := -1
			if _, err := fmt.Sscanf(part, "%d", &i); err != nil || i < 0 || i >= len(x) {
				return "(absent)"
			}
			v = x[i]
		}
	}
	if v == nil {
		return "(absent)"
	}
	b, err := json.Marshal(v)
	if err != nil {
		return "?"
	}
	const most = 120
	if text := string(b); len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(string(b[:most]), "") + "..."
}

func actionLine(a reconcile.Action) line {
	l := line{sign: ">", subject: a.Address, text: a.Reason}
	if a.Summary != "" {
		l.text += " (" + a.Summary + ")"
	}
	if a.Class == reconcile.ClassRole {
		l.sign = "*"
	}
	if a.Space != nil {
		l.below = append(l.below, spaceText(a.Space))
	}
	for _, t := range a.Tasks {
		if text := taskText(t); text != "" {
			l.below = append(l.below, text)
		}
	}
	for _, m := range a.Missed {
		l.below = append(l.below, "missed  "+m.Nominal+"  recorded, not run")
	}
	return l
}

// spaceText says what backups need in their store, and what is free.
func spaceText(s *reconcile.Space) string {
	text := "needs about " + unit.Bytes(s.Needs)
	switch {
	case s.Needs == 0:
		text = "needs are not known: nothing of this was taken before"
	case s.Unknown > 0:
		text += fmt.Sprintf(" and what %s without a former artifact need", Count(s.Unknown, "task", "tasks"))
	}
	if s.Free >= 0 {
		return fmt.Sprintf("%s; %s free in %s", text, unit.Bytes(s.Free), s.Store)
	}
	return text + " in " + s.Store
}

// taskText is the line of one task; empty when its action's line says it all.
func taskText(t reconcile.Task) string {
	name := strings.TrimPrefix(t.Device, "device.")
	switch t.Kind {
	case "script":
		return t.Activity
	case "backup":
		if t.Domain != "" {
			name += "/" + t.Domain
		}
		if name == "" || strings.HasPrefix(name, "/") {
			name = "(no device)" + name
		}
		what := t.Action
		if t.Skip != nil {
			what = "skipped: " + t.Skip.Reason + " [" + t.Skip.Code + "]"
		}
		return fmt.Sprintf("%-12s %-30s %s", t.Activity, name, what)
	case "retention":
		return fmt.Sprintf("%-30s %s", name+"/"+t.Domain, t.Action)
	case "failover", "restore":
		var steps []string
		for _, s := range t.Steps {
			steps = append(steps, s.Name)
		}
		return "steps: " + strings.Join(steps, ", ")
	case "verify":
		return ""
	case "mirror":
		return "copy new and changed files, then delete what is gone from the source"
	}
	return t.Action
}

type planText struct {
	strings.Builder
	p *reconcile.Plan
	o PlanOptions
	s Style
}

func (b *planText) header() {
	p := b.p
	if p.Restore != nil {
		fmt.Fprintf(b, "%s   %s\n\n", b.s.bold("holdfast restore plan"), strings.TrimLeft(Line(p.Environment)+fmt.Sprintf("   state gen %d", p.State.Generation), " "))
		return
	}
	if p.Mode == reconcile.ModeDelete {
		fmt.Fprintf(b, "%s   state gen %d\n\n", b.s.bold("holdfast artifact delete"), p.State.Generation)
		return
	}
	fmt.Fprintf(b, "%s   %s", b.s.bold("holdfast plan"), Line(p.Environment))
	if p.Config.Commit != "" {
		fmt.Fprintf(b, "   commit %s", p.Config.Commit[:min(7, len(p.Config.Commit))])
		if p.Config.Subject != "" {
			fmt.Fprintf(b, " %q", Line(cut(p.Config.Subject, longestHeading)))
		}
	}
	switch {
	case p.Config.Commit == "":
		b.WriteString("   " + b.s.yellow("not from a commit"))
	case p.Config.Dirty:
		b.WriteString(b.s.yellow(" + uncommitted changes"))
	}
	if p.Mode == reconcile.ModeCompare {
		b.WriteString("   compared with " + comparedWith(p.Base) + "\n\n")
		return
	}
	fmt.Fprintf(b, "   state gen %d   inventory %s", p.State.Generation, p.Inventory.Source)
	if p.Inventory.Source == "recorded" && !p.Inventory.TakenAt.IsZero() {
		fmt.Fprintf(b, ", from %s", b.s.time(p.Inventory.TakenAt))
	}
	b.WriteString("\n\n")
}

// comparedWith says what a plan without a state is compared with.
func comparedWith(base *reconcile.ConfigInfo) string {
	switch {
	case base == nil:
		return "another commit, without any state"
	case base.Commit == "":
		return fmt.Sprintf("%s, which has no configuration here", Line(base.Ref))
	}
	return fmt.Sprintf("commit %s (%s), without any state", reconcile.ShortCommit(base.Commit), Line(base.Ref))
}

func (b *planText) section(sec section) {
	title := fmt.Sprintf("%s (%d)", sec.title, len(sec.lines))
	if sec.grave {
		title = b.s.red(title)
	}
	fmt.Fprintf(b, "%s\n", b.s.bold(title))
	wide := 0
	for _, l := range sec.lines {
		wide = max(wide, min(width(l.subject), 40))
	}
	for _, l := range sec.lines {
		text := fmt.Sprintf("%-*s  %s", wide, Line(l.subject), Line(l.text))
		fmt.Fprintf(b, "  %s %s\n", b.sign(l.sign), strings.TrimRight(text, " "))
		for i, t := range l.below {
			if i == mostTasks && !b.o.Verbose {
				fmt.Fprintf(b, "      %s\n", b.s.dim(fmt.Sprintf("... and %d more (--verbose shows all)", len(l.below)-mostTasks)))
				break
			}
			fmt.Fprintf(b, "      %s\n", oneLineKeepColumns(t))
		}
	}
	b.WriteByte('\n')
}

func oneLineKeepColumns(s string) string {
	return strings.NewReplacer("\n", " ", "\t", " ").Replace(Clean(s))
}

func (b *planText) sign(sign string) string {
	switch sign {
	case "+":
		return b.s.green(sign)
	case "-", "!":
		return b.s.red(sign)
	case "~", "*":
		return b.s.yellow(sign)
	case ">":
		return b.s.cyan(sign)
	}
	return sign
}

func (b *planText) footer() {
	p := b.p
	if err := Diagnostics(b, p.Findings, b.s); err != nil {
		return // a strings.Builder does not fail
	}
	b.WriteString(b.s.bold(summary(p)) + "\n")
	if !p.Complete {
		b.WriteString("This plan is incomplete: it was narrowed, or something is known only after inspection.\n")
	}
	for _, g := range closed(p, b.o.Allowed) {
		if g.Class == b.o.Asked && g.Class != "" && g.Deletes == 0 {
			fmt.Fprintf(b, "Allowed by the yes that is asked for: it %s. Where nobody is asked it takes %s.\n", Line(g.Reason), b.s.yellow(g.Allow))
			continue
		}
		fmt.Fprintf(b, "Not applied without: %s (%s)\n", b.s.yellow(g.Allow), Line(g.Reason))
	}
	fmt.Fprintf(b, "%s\n", b.s.dim("Digest "+p.Digest))
}

// closed lists the gates worth a word: what has errors cannot be applied with any flag.
func closed(p *reconcile.Plan, ok reconcile.Allowed) []reconcile.Gate {
	if p.Errored {
		return nil
	}
	return p.Closed(ok)
}

// summary is the one line that says what a plan amounts to.
func summary(p *reconcile.Plan) string {
	if p.Errored {
		errors, _ := diag.List(p.Findings).Count()
		return fmt.Sprintf("Plan failed: %s. Nothing can be applied.", Count(errors, "error", "errors"))
	}
	s := p.Summary
	if p.Restore != nil {
		return fmt.Sprintf("Plan: restore artifact %s into %s.", p.Restore.Source.Artifact, Line(restoreTarget(p.Restore)))
	}
	if p.Mode == reconcile.ModeDelete {
		return fmt.Sprintf("Plan: delete %s.", Count(s.Deletes, "artifact", "artifacts"))
	}
	if p.Empty() && p.Mode == reconcile.ModeCompare {
		return "Nothing differs."
	}
	if p.Empty() && s.Deferred == 0 && s.Drift == 0 {
		return "Nothing to do: the recorded state is as declared and no work is due."
	}
	parts := []string{fmt.Sprintf("%d to add", s.Add), fmt.Sprintf("%d to change", s.Change), fmt.Sprintf("%d to destroy", s.Destroy)}
	if s.Move > 0 {
		parts = append(parts, fmt.Sprintf("%d to move", s.Move))
	}
	text := "Plan: " + strings.Join(parts, ", ")
	if s.Deletes > 0 {
		text += ", " + Count(s.Deletes, "artifact", "artifacts") + " to delete"
	}
	if p.Mode == reconcile.ModeCompare {
		return text + "."
	}
	text += "; " + Count(s.Actions, "action", "actions") + " now"
	if s.Deferred > 0 {
		text += fmt.Sprintf(", %d deferred", s.Deferred)
	}
	if s.Drift > 0 {
		text += fmt.Sprintf(", %d drifted", s.Drift)
	}
	return text + "."
}
