package execution

import (
	"errors"
	"testing"

	"github.com/holdfast-dr/holdfast/cmd/internal/command"
	"github.com/holdfast-dr/holdfast/reconcile/execute"
	"github.com/holdfast-dr/holdfast/state"
)

// TestResultCode: 130 takes a signal. What is left without one has failed, or was blocked when nothing of it was done.
func TestResultCode(t *testing.T) {
	runs := func(all ...state.Status) (r []state.Run) {
		for _, s := range all {
			r = append(r, state.Run{Status: s})
		}
		return r
	}
	idle, begun := execute.Left{Idle: true}, execute.Left{}
	for name, c := range map[string]struct {
		res  execute.Result
		err  error
		want int
	}{
		"nothing":               {want: command.ExitDone},
		"good":                  {res: execute.Result{Runs: runs(state.Succeeded, state.Warned, state.Skipped)}, want: command.ExitDone},
		"failed":                {res: execute.Result{Runs: runs(state.Failed)}, want: command.ExitFailed},
		"a question":            {res: execute.Result{Runs: runs(state.Attention)}, want: command.ExitFailed},
		"good and a question":   {res: execute.Result{Runs: runs(state.Attention, state.Succeeded)}, want: command.ExitPartial},
		"partial":               {res: execute.Result{Runs: runs(state.Partial)}, want: command.ExitPartial},
		"stopped":               {res: execute.Result{Runs: runs(state.Interrupted), Interrupted: true, Stopped: true}, want: command.ExitInterrupted},
		"a silent store":        {res: execute.Result{Runs: runs(state.Interrupted), Interrupted: true, Left: []execute.Left{begun}}, want: command.ExitFailed},
		"behind a question":     {res: execute.Result{Runs: runs(state.Pending), Interrupted: true, Left: []execute.Left{idle}}, want: command.ExitBlocked},
		"two behind it":         {res: execute.Result{Runs: runs(state.Pending, state.Running), Interrupted: true, Left: []execute.Left{idle, begun}}, want: command.ExitFailed},
		"good and one behind":   {res: execute.Result{Runs: runs(state.Succeeded, state.Pending), Interrupted: true, Left: []execute.Left{idle}}, want: command.ExitPartial},
		"failed and one behind": {res: execute.Result{Runs: runs(state.Failed, state.Pending), Interrupted: true, Left: []execute.Left{idle}}, want: command.ExitFailed},
		"an error":              {res: execute.Result{Runs: runs(state.Succeeded)}, err: errors.New("broken"), want: command.ExitFault},
	} {
		if got := resultCode(c.res, c.err); got != c.want {
			t.Errorf("%s: exit code %d, want %d", name, got, c.want)
		}
	}
}
