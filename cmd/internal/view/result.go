package view

import (
	"fmt"
	"io"

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
	Generation  int64       `json:"generation"`
	Interrupted bool        `json:"interrupted"`
	Error       string      `json:"error,omitempty"`
	Exit        int         `json:"exit"`
}

// Summary is the line that says what a plan amounts to.
func Summary(p *reconcile.Plan) string { return summary(p) }

// Result prints how an execution ended, with the changes that were recorded at once and those that runs recorded.
func Result(w io.Writer, runs []state.Run, recorded, byRuns int, interrupted bool, s Style) error {
	all := recorded + byRuns
	if len(runs) > 0 || all > 0 {
		fmt.Fprintln(w)
	}
	if all > 0 {
		which := ""
		switch {
		case all == 1 && byRuns == 1:
			which = ", by its run"
		case byRuns == 1:
			which = ", 1 of them by its run"
		case byRuns > 1:
			which = fmt.Sprintf(", %d of them by their runs", byRuns)
		}
		fmt.Fprintf(w, "Recorded %s%s.\n", Count(all, "change", "changes"), which)
	}
	for _, r := range runs {
		fmt.Fprintf(w, "Run %s  %s  %s", r.ID, Line(r.Address), s.verdict(string(r.Status)))
		if r.Total > 0 {
			fmt.Fprintf(w, "  (%d ok, %d failed, %d skipped, %s)", r.Succeeded, r.Failed, r.Skipped, length(r.StartedAt, r.EndedAt))
		}
		fmt.Fprintln(w)
		if r.Error != "" {
			fmt.Fprintf(w, "  why: %s\n", Line(r.Error))
		}
		switch r.Status {
		case state.Failed, state.Partial, state.Attention, state.Skipped:
			fmt.Fprintf(w, "  see: holdfast history %s\n", r.ID)
		case state.Interrupted, state.Running, state.Pending:
			fmt.Fprintf(w, "  continue: holdfast apply --resume %s\n", r.ID)
		}
	}
	if interrupted {
		_, err := fmt.Fprintln(w, s.yellow("Stopped. What was done is recorded; continue with: holdfast apply --resume"))
		return err
	}
	return nil
}
