package execute

import (
	"strconv"
	"strings"

	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/state"
)

// account is how things went up to a script: for one of the action its tasks, for one of a task its steps.
type account struct {
	status state.Status // running before the work
	reason string       // code of the first thing that went wrong
	err    string       // what went wrong, without secrets

	succeeded, failed, skipped, total int // tasks of the work

	files, bytes int64   // committed to stores
	source       content // what that protects
}

// soFar gives the account for the script of this call.
func (c *call) soFar() account {
	if c.spec.Kind == state.KindScript {
		return c.before
	}
	rec := c.totals()
	so := account{status: state.Running, files: int64(rec.Files), bytes: rec.Bytes, source: content{Files: rec.SourceFiles, Bytes: rec.SourceBytes}, total: 1}
	switch {
	case !c.step.Always: // the work is still to come
	case c.end != nil:
		so.status, so.reason, so.err = c.end.Status, c.end.Reason, c.end.Message
	case len(warningsOf(c.spec, c.steps)) > 0:
		so.status, so.err = warned(warningsOf(c.spec, c.steps))
	default:
		so.status = state.Succeeded
	}
	so.count(so.status)
	return so
}

// account sums up the tasks of the stages below one, for what runs in that stage.
func (r *run) account(stage int) account {
	var so account
	var below []state.TaskRun
	for _, t := range r.tasks {
		if t.spec.Stage >= stage {
			continue
		}
		rec := t.rec
		if r.held(t) {
			rec.Status, rec.Reason, rec.Error = r.halt.Status, r.halt.Reason, r.halt.Message
		}
		below = append(below, rec)
		so.files, so.bytes = so.files+int64(rec.Files), so.bytes+rec.Bytes
		so.source.Files, so.source.Bytes = so.source.Files+rec.SourceFiles, so.source.Bytes+rec.SourceBytes
		if rec.Kind != state.KindScript {
			so.total++
			so.count(rec.Status)
		}
		if so.reason == "" && !rec.Status.Good() {
			so.reason = rec.Reason
		}
	}
	so.status, so.err = r.outcome(stage), state.Why(below)
	if stage == reconcile.StageBefore {
		so.status, so.total = state.Running, r.work()
	}
	return so
}

// work counts the tasks of the run that are work.
func (r *run) work() (n int) {
	for _, t := range r.tasks {
		if t.rec.Kind != state.KindScript {
			n++
		}
	}
	return n
}

func (so *account) count(s state.Status) {
	switch {
	case s.Good():
		so.succeeded++
	case s == state.Failed || s == state.Attention:
		so.failed++
	case s == state.Skipped || s == state.Cancelled:
		so.skipped++
	}
}

// mostError bounds the text of an error in the environment of a program.
const mostError = 4 << 10

// env gives the account as variables of a script.
func (so account) env() map[string]string {
	text := strings.ToValidUTF8(strings.ReplaceAll(so.err, "\x00", " "), "\uFFFD")
	if len(text) > mostError {
		text = strings.ToValidUTF8(text[:mostError], "") + " ..."
	}
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	return map[string]string{
		"HOLDFAST_STATUS":          string(so.status),
		"HOLDFAST_REASON":          so.reason,
		"HOLDFAST_ERROR":           text,
		"HOLDFAST_TASKS":           strconv.Itoa(so.total),
		"HOLDFAST_TASKS_SUCCEEDED": strconv.Itoa(so.succeeded),
		"HOLDFAST_TASKS_FAILED":    strconv.Itoa(so.failed),
		"HOLDFAST_TASKS_SKIPPED":   strconv.Itoa(so.skipped),
		"HOLDFAST_FILES":           number(so.files),
		"HOLDFAST_BYTES":           number(so.bytes),
		"HOLDFAST_SOURCE_FILES":    number(so.source.Files),
		"HOLDFAST_SOURCE_BYTES":    number(so.source.Bytes),
	}
}
