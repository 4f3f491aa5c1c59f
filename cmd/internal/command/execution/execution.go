// Package execution carries plans out: a plan is announced, confirmed and done, with progress and an exit code. Every command
// that does a plan goes this way, whoever made the plan.
package execution

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-dr/holdfast/cmd/internal/app"
	"github.com/holdfast-dr/holdfast/cmd/internal/command"
	"github.com/holdfast-dr/holdfast/cmd/internal/view"
	"github.com/holdfast-dr/holdfast/cmd/internal/view/progress"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/reconcile/execute"
	"github.com/holdfast-dr/holdfast/state"
	"github.com/holdfast-dr/holdfast/state/sqlstore"
)

// Do does work with progress and prints how it ended. The error has the exit code of what became of the runs.
func Do(ctx context.Context, c *command.Call, a *app.App, st *sqlstore.Store, work func(context.Context, *execute.Executor) (execute.Result, error)) error {
	show, end := watch(c)
	res, err := work(ctx, a.Executor(st, show, c.Working()))
	end()
	code := resultCode(res, err)
	if code == command.ExitDone && unavailable(st, res.Runs) {
		code = command.ExitFailed
	}
	shown := view.ResultJSON{
		Runs: explained(st, res.Runs), Recorded: res.Recorded + res.ByRuns, ByRuns: res.ByRuns, Generation: res.Generation,
		Interrupted: res.Interrupted, Stopped: res.Stopped,
	}
	for _, l := range res.Left {
		shown.Left = append(shown.Left, view.Left(l))
	}
	if s := c.Stream(); s != nil {
		s.Result(shown)
	} else if err == nil || len(res.Runs) > 0 {
		// The exit code says how it ended, even when nobody can read this any more.
		_ = view.Result(c.Out, shown, c.Style(c.Out))
	}
	return command.Exit(code, err)
}

// Begin is Do for work that was not begun before: it is refused where what becomes of it could not be recorded.
func Begin(ctx context.Context, c *command.Call, a *app.App, st *sqlstore.Store, work func(context.Context, *execute.Executor) (execute.Result, error)) error {
	if err := st.Room(); err != nil {
		return command.Exit(command.ExitFault, err)
	}
	return Do(ctx, c, a, st, work)
}

// watch shows the events of the work; end is called after the last one.
func watch(c *command.Call) (show func(execute.Event), end func()) {
	if s := c.Stream(); s != nil {
		return func(e execute.Event) {
			s.Line(string(e.Kind), strings.ReplaceAll(string(e.Kind), "_", " "), "event", e)
		}, func() {}
	}
	d := progress.New(c.Out)
	return d.Event, d.Close
}

// unavailable reports whether a run did nothing because its devices could not be reached. A task that is skipped is no failure;
// a backup of which nothing was made must not look like one that was.
func unavailable(st *sqlstore.Store, runs []state.Run) bool {
	for _, r := range runs {
		if r.Status != state.Skipped {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), readTimeout)
		tasks, err := st.Tasks(ctx, r.ID)
		cancel()
		if err != nil || slices.ContainsFunc(tasks, func(t state.TaskRun) bool { return t.Reason == reconcile.SkippedUnavailable }) {
			return true
		}
	}
	return false
}

// readTimeout bounds a last look at the state after the work.
const readTimeout = 10 * time.Second

// resultCode is the exit code of what was executed. A run that is left although nobody stopped it has not done what it was to do: it
// counts as failed, or as blocked when nothing of it was done.
func resultCode(res execute.Result, err error) int {
	if err != nil {
		return command.CodeOf(err)
	}
	if res.Stopped {
		return command.ExitInterrupted
	}
	var good, bad, blocked int
	for _, r := range res.Runs {
		switch r.Status {
		case state.Partial:
			return command.ExitPartial
		case state.Failed, state.Cancelled, state.Attention:
			bad++
		case state.Succeeded, state.Warned:
			good++
		}
	}
	for _, l := range res.Left {
		if l.Idle {
			blocked++
		} else {
			bad++
		}
	}
	switch {
	case bad+blocked > 0 && good > 0:
		return command.ExitPartial
	case bad > 0:
		return command.ExitFailed
	case blocked > 0:
		return command.ExitBlocked
	}
	return command.ExitDone
}
