package view

import (
	"fmt"
	"io"
	"slices"

	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/state"
)

// PlanJSON prints a plan with the exit code of the command.
func PlanJSON(w io.Writer, p *reconcile.Plan, code int) error {
	type exit struct {
		Code   int    `json:"code"`
		Reason string `json:"reason"`
	}
	return writeJSON(w, struct {
		*reconcile.Plan
		Exit exit `json:"exit"`
	}{p, exit{code, summary(p)}})
}

// ResultJSON is how an execution ended, for programs.
type ResultJSON struct {
	Runs        []state.Run `json:"runs"`
	Recorded    int         `json:"recorded"` // changes, also those that runs recorded
	ByRuns      int         `json:"by_runs"`  // of them
	Generation  int64       `json:"generation"`
	Interrupted bool        `json:"interrupted"` // work is left
	Stopped     bool        `json:"stopped"`     // because of a signal
	Left        []Left      `json:"left"`        // otherwise: of which runs, and why
	Error       string      `json:"error,omitempty"`
	Exit        int         `json:"exit"`
}

// Left is a run that has not ended although nobody stopped it.
type Left struct {
	Run  string `json:"run"`
	Task string `json:"task,omitempty"` // of the run; what is left of it is in the way of the others
	Why  string `json:"why"`            // what it waits for, and what to do about that
	Idle bool   `json:"idle"`           // nothing of it was done
}

// Summary is the line that says what a plan amounts to.
func Summary(p *reconcile.Plan) string { return summary(p) }

// Result prints how an execution ended.
func Result(w io.Writer, r ResultJSON, s Style) error {
	if len(r.Runs) > 0 || r.Recorded > 0 {
		fmt.Fprintln(w)
	}
	if r.Recorded > 0 {
		which := ""
		switch {
		case r.Recorded == 1 && r.ByRuns == 1:
			which = ", by its run"
		case r.ByRuns == 1:
			which = ", 1 of them by its run"
		case r.ByRuns > 1:
			which = fmt.Sprintf(", %d of them by their runs", r.ByRuns)
		}
		fmt.Fprintf(w, "Recorded %s%s.\n", Count(r.Recorded, "change", "changes"), which)
	}
	for _, run := range r.Runs {
		fmt.Fprintf(w, "Run %s  %s  %s", run.ID, Line(run.Address), s.verdict(string(run.Status)))
		if run.Total > 0 {
			fmt.Fprintf(w, "  (%d ok, %d failed, %d skipped, %s)", run.Succeeded, run.Failed, run.Skipped, length(run.StartedAt, run.EndedAt))
		}
		if text := Protected(run.SourceFiles, run.SourceBytes); text != "" {
			fmt.Fprintf(w, ": %s protected", text)
		}
		fmt.Fprintln(w)
		if run.Error != "" {
			fmt.Fprintf(w, "  why: %s\n", Line(run.Error))
		}
		i := slices.IndexFunc(r.Left, func(l Left) bool { return l.Run == run.ID })
		switch {
		case i >= 0 && r.Left[i].Task != "":
			fmt.Fprintf(w, "  waits: task %s: %s\n", r.Left[i].Task, Line(r.Left[i].Why))
		case i >= 0:
			fmt.Fprintf(w, "  waits: %s\n", Line(r.Left[i].Why))
		case run.Status == state.Attention:
			fmt.Fprintf(w, "  needs a decision; see: holdfast history %s, then: holdfast task resolve TASK\n", run.ID)
		case run.Status == state.Failed || run.Status == state.Partial || run.Status == state.Skipped:
			fmt.Fprintf(w, "  see: holdfast history %s\n", run.ID)
		case !run.Status.Terminal():
			fmt.Fprintf(w, "  continue: holdfast apply --resume %s\n", run.ID)
		}
	}
	switch {
	case r.Stopped:
		fmt.Fprintln(w, s.yellow("Stopped. What was done is recorded; continue with: holdfast apply --resume"))
	case r.Interrupted:
		fmt.Fprintln(w, s.yellow("Not all is done. What was done is recorded; when nothing is in the way any more, continue with: holdfast apply --resume"))
	}
	return nil
}
