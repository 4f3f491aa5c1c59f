package view

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-dr/holdfast/config/unit"
	"github.com/holdfast-dr/holdfast/reconcile/artifact"
	"github.com/holdfast-dr/holdfast/reconcile/status"
	"github.com/holdfast-dr/holdfast/state"
)

// Status prints how things stand.
func Status(w io.Writer, st status.Report, s Style) error {
	commit := "none"
	if st.Commit != "" {
		commit = st.Commit[:min(7, len(st.Commit))]
	}
	fmt.Fprintf(w, "%s   state gen %d (%s)   %s   applied commit %s\n", s.bold("holdfast status"), st.State.Generation, st.State.Engine, Count(st.Objects, "object", "objects"), commit)
	if st.Objects == 0 {
		fmt.Fprintln(w, "Nothing is recorded yet: holdfast plan shows what would be, holdfast apply records it.")
	}
	if hold := st.State.Hold; hold.Holds(st.At) {
		fmt.Fprintf(w, "%s\n", s.yellow(fmt.Sprintf("Nothing is deleted before %s: %s", s.time(hold.Until), Line(hold.Reason))))
	}
	for _, part := range []func(io.Writer, status.Report, Style) error{backupPlans, stores, mirrors, failovers, work} {
		if err := part(w, st, s); err != nil {
			return err
		}
	}
	return nil
}

// backupPlans prints when what was taken last, and what is next.
func backupPlans(w io.Writer, st status.Report, s Style) error {
	if len(st.BackupPlans) == 0 {
		return nil
	}
	var rows [][]string
	for _, b := range st.BackupPlans {
		next := s.time(b.Next)
		if b.Overdue {
			next = "due now"
			if len(b.Missed) > 1 {
				next = fmt.Sprintf("due now, %d passed", len(b.Missed))
			}
		}
		if b.Stopped {
			next = strings.TrimPrefix(next+", ", ", ") + "stopped: backups_enabled = false"
		}
		protected := ""
		if b.LastGood != nil {
			protected = Protected(b.LastGood.SourceFiles, b.LastGood.SourceBytes)
		}
		rows = append(rows, []string{b.Address, runText(b.Last), goodTime(b.Good, s), protected, next, strconv.Itoa(b.Artifacts.Count), unit.Bytes(b.Artifacts.Bytes)})
	}
	fmt.Fprintf(w, "\n%s\n", s.bold("Backup plans"))
	return s.table(w, []string{"OBJECT", "LAST RUN", "LAST GOOD", "PROTECTED", "NEXT", "ARTIFACTS", "SIZE"}, rows)
}

// mirrors prints how old their targets are.
func mirrors(w io.Writer, st status.Report, s Style) error {
	if len(st.Mirrors) == 0 {
		return nil
	}
	var rows [][]string
	for _, m := range st.Mirrors {
		lag, health := "never synced", "healthy"
		if m.Lag >= 0 {
			lag = m.Lag.Round(time.Second).String()
		}
		if !m.Healthy {
			health = "unhealthy"
		}
		direction := ""
		if m.Position.Source != "" {
			direction = m.Position.Source + " -> " + m.Position.Target
		}
		rows = append(rows, []string{m.Address, lag, health, runText(m.Last), direction})
	}
	fmt.Fprintf(w, "\n%s\n", s.bold("Mirrors"))
	return s.table(w, []string{"OBJECT", "LAG", "HEALTH", "LAST RUN", "DIRECTION"}, rows)
}

// failovers prints which side is active.
func failovers(w io.Writer, st status.Report, s Style) error {
	if len(st.Failovers) == 0 {
		return nil
	}
	var rows [][]string
	for _, r := range st.Failovers {
		rows = append(rows, []string{r.Failover, r.Active, strconv.FormatInt(r.Epoch, 10), string(r.State), s.time(r.Since), r.Reason})
	}
	fmt.Fprintf(w, "\n%s\n", s.bold("Failovers"))
	return s.table(w, []string{"OBJECT", "ACTIVE", "EPOCH", "STATE", "SINCE", "WHY"}, rows)
}

// work prints what is at work, what did not end, what waits for a decision, and what is locked.
func work(w io.Writer, st status.Report, s Style) error {
	if len(st.Working) > 0 {
		fmt.Fprintf(w, "\n%s\n", s.bold("Runs at work"))
		if err := Runs(w, st.Working, s); err != nil {
			return err
		}
	}
	if len(st.OpenRuns) > 0 {
		fmt.Fprintf(w, "\n%s\n", s.yellow("Runs that did not end (continue: holdfast apply --resume)"))
		if err := Runs(w, st.OpenRuns, s); err != nil {
			return err
		}
	}
	if len(st.Attention) > 0 {
		fmt.Fprintf(w, "\n%s\n", s.red("Runs that need a decision (look: holdfast history RUN, then: holdfast task resolve TASK)"))
		if err := Runs(w, st.Attention, s); err != nil {
			return err
		}
	}
	if len(st.Locks) > 0 {
		fmt.Fprintf(w, "\n%s\n", s.bold("Locks"))
		return Locks(w, st.Locks, st.At, s)
	}
	return nil
}

func runText(r *state.Run) string {
	if r == nil {
		return "never"
	}
	return r.ID + " " + string(r.Status)
}

func goodTime(at time.Time, s Style) string {
	if at.IsZero() {
		return "never"
	}
	return s.time(at)
}

// Locks prints who holds what, and what held until it expired.
func Locks(w io.Writer, locks []state.Lock, now time.Time, s Style) error {
	if len(locks) == 0 {
		_, err := fmt.Fprintln(w, "Nothing is locked.")
		return err
	}
	var rows [][]string
	for _, l := range locks {
		holder := l.Actor
		if l.PID != 0 {
			holder += fmt.Sprintf(" (process %d on %s)", l.PID, l.Host)
		}
		if l.Task != "" {
			holder = "task " + l.Task
		}
		expires := s.time(l.Expires)
		switch {
		case l.Gone:
			expires = "its process has ended"
		case l.Expired(now):
			expires += " (expired)"
		}
		rows = append(rows, []string{l.Name, holder, l.Operation, l.Reason, s.time(l.Acquired), expires})
	}
	return s.table(w, []string{"LOCK", "HOLDER", "FOR", "REASON", "SINCE", "EXPIRES"}, rows)
}

// Objects prints recorded objects.
func Objects(w io.Writer, objects []state.Object, s Style) error {
	var rows [][]string
	for _, o := range objects {
		protect := ""
		if o.Protect {
			protect = "protected"
		}
		rows = append(rows, []string{o.Address, strconv.FormatInt(o.Generation, 10), o.Commit[:min(7, len(o.Commit))], s.time(o.AppliedAt), o.AppliedBy, protect})
	}
	return s.table(w, []string{"OBJECT", "GENERATION", "COMMIT", "APPLIED", "BY", "PROTECTION"}, rows)
}

// Artifacts prints artifacts.
func Artifacts(w io.Writer, all []state.Artifact, s Style) error {
	var rows [][]string
	for _, a := range all {
		worth := string(a.State)
		if a.Pinned {
			worth += ", pinned"
		}
		rows = append(rows, []string{a.ID, s.time(a.Started), a.Device, a.Domain, a.Store, strconv.Itoa(a.Files), unit.Bytes(a.Bytes), worth, s.time(a.Verified), madeBy(a)})
	}
	return s.table(w, []string{"ARTIFACT", "TAKEN", "DEVICE", "DOMAIN", "STORE", "FILES", "SIZE", "STATE", "VERIFIED", "MADE BY"}, rows)
}

// madeBy says what an artifact is of: its backup plan, or the restore that was about to overwrite it.
func madeBy(a state.Artifact) string {
	switch {
	case a.BackupPlan != "":
		return a.BackupPlan
	case artifact.IsSafety(a) && a.Run != "":
		return "safety backup of run " + a.Run
	case artifact.IsSafety(a):
		return "safety backup"
	}
	return "-"
}
