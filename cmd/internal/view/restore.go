package view

import (
	"fmt"
	"strings"
	"time"

	"github.com/holdfast-dr/holdfast/config/unit"
	"github.com/holdfast-dr/holdfast/reconcile"
)

// restoreSections arranges a restore: what is put back, where, and what that depends on.
func restoreSections(p *reconcile.Plan, style Style) []section {
	r := p.Restore
	var needs []line
	unmet := false
	for _, q := range r.Seen.Requirements {
		l := line{sign: "=", subject: q.Name, text: q.Got}
		switch q.Met {
		case reconcile.Unmet:
			l.sign, unmet = "!", true
			l.text = fmt.Sprintf("%s, needed: %s", q.Got, q.Want)
		case reconcile.Untold:
			l.sign, l.text = "?", "not known, needed: "+q.Want
		}
		needs = append(needs, l)
	}
	return []section{
		{"From", false, []line{sourceLine(p, style)}},
		{"Into", r.Target.Replace, []line{targetLine(p)}},
		{"Requirements", unmet, needs},
	}
}

func sourceLine(p *reconcile.Plan, style Style) line {
	s, seen := p.Restore.Source, p.Restore.Seen
	text := s.Device + "/" + s.Domain + ", " + s.Action
	if s.Variant != "" {
		text += ", " + s.Variant
	}
	size := fmt.Sprintf("%s, %s", Count(s.Files, "file", "files"), unit.Bytes(s.Bytes))
	if s.Content != s.Bytes {
		size += " stored, " + unit.Bytes(s.Content) + " as captured"
	}
	switch {
	case s.Unpacked > s.Content && s.AtMost:
		size += ", at most " + unit.Bytes(s.Unpacked) + " unpacked"
	case s.Unpacked > s.Content:
		size += ", " + unit.Bytes(s.Unpacked) + " unpacked"
	}
	verified := "never"
	if !seen.Verified.IsZero() {
		verified = style.when(seen.Verified, p.Timestamp)
	}
	l := line{sign: "=", subject: s.Artifact, text: text, below: []string{
		"taken        " + style.when(s.Taken, p.Timestamp),
		"size         " + size,
		"store        " + s.Store,
		"verified     " + verified,
	}}
	for _, fact := range []struct{ name, value string }{{"consistency", s.Consistency}, {"made with", s.Tool}, {"backup plan", s.BackupPlan}} {
		if fact.value != "" {
			l.below = append(l.below, fmt.Sprintf("%-12s %s", fact.name, Line(fact.value)))
		}
	}
	return l
}

// when is a time with its distance to the plan.
func (s Style) when(t, now time.Time) string {
	text := s.time(t)
	switch d := now.Sub(t); {
	case d < 0:
		return text
	case d < 2*time.Minute:
		return text + ", " + Count(int(d.Seconds()), "second", "seconds") + " before this plan"
	case d < 2*time.Hour:
		return text + ", " + Count(int(d.Minutes()), "minute", "minutes") + " before this plan"
	case d < 48*time.Hour:
		return text + ", " + Count(int(d.Hours()), "hour", "hours") + " before this plan"
	default:
		return text + ", " + Count(int(d.Hours()/24), "day", "days") + " before this plan"
	}
}

func targetLine(p *reconcile.Plan) line {
	r := p.Restore
	l := line{sign: ">", subject: restoreTarget(r)}
	switch {
	case r.Target.Dir != "" && r.Raw:
		l.text = "a new directory; the files as they were captured"
	case r.Target.Dir != "":
		l.text = "a new directory"
	case r.Target.DeviceType == "":
		l.text = "a device that is not recorded"
	case !r.Target.Replace:
		l.text = "is not there now; nothing is overwritten"
	default:
		l.sign, l.text = "-", "what is there is REPLACED"
		if r.Safety {
			l.below = append(l.below, "first it is backed up into "+r.Source.Store+"; when that fails, nothing is restored")
		} else {
			l.below = append(l.below, "it is NOT backed up first: "+Line(r.Reason))
		}
		l.below = append(l.below, "stop the programs that use it first: those that keep it open may go on with the old content")
	}
	if r.Lenient {
		l.below = append(l.below, "what the device refuses is left out, and listed when it is done")
	}
	if len(r.Include) > 0 {
		l.below = append(l.below, "only what matches "+Line(fmt.Sprintf("%q", r.Include)))
	}
	if r.NumericOwner {
		l.below = append(l.below, "owners by their numbers, not by their names")
	}
	if r.Seen.Seconds > 0 {
		text := "expected to take " + (time.Duration(r.Seen.Seconds) * time.Second).String()
		if r.Safety {
			text += ", and the safety backup"
		}
		l.below = append(l.below, text+"; told by earlier restores")
	}
	for _, a := range p.Actions {
		for _, t := range a.Tasks {
			l.below = append(l.below, taskText(t))
		}
	}
	return l
}

// restoreTarget names where content goes.
func restoreTarget(r *reconcile.Restore) string {
	if r.Target.Dir != "" {
		return r.Target.Dir
	}
	return strings.TrimSuffix(r.Target.Device+"/"+r.Target.Domain, "/")
}
