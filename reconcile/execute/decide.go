package execute

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/state"
)

// Answer is what a person says to the question that a task in attention asks.
type Answer string

const (
	AnswerDone   Answer = "done"   // the open step took effect, or what the task owes was done by hand
	AnswerFailed Answer = "failed" // the task failed; nothing more is done for it
	AnswerRetry  Answer = "retry"  // the open step is tried again, or what the task owes
)

// Decision is a person's answer about one task.
type Decision struct {
	Task   string
	Answer Answer
	Actor  string
	Reason string // why; kept in the record
	At     time.Time
}

// asked is the output of a task in attention whose question is not about a step.
type asked struct {
	Duty string `json:"duty,omitempty"` // that could not be paid
}

// toldOutput is the output of a step that a person says was done.
type toldOutput struct {
	report
	ToldBy string `json:"told_by"`
}

// Decide records a decision, and gives the status of the task after it: Interrupted when a resume goes on with the task. Done answers
// the one question that was asked: it ends the task only when nothing else is left of it. See DESIGN.md for each case. A task that asks
// nothing is state.ErrStale.
func Decide(ctx context.Context, b state.Backend, d Decision) (state.Status, error) {
	c, err := caseOf(ctx, b, d)
	if err != nil {
		return "", fmt.Errorf("resolve task %s: %w", d.Task, err)
	}
	r := state.Resolution{Task: d.Task, Attempt: c.rec.Attempt, To: state.Interrupted, Actor: d.Actor, Reason: d.Reason, At: d.At}
	switch {
	case d.Answer == AnswerFailed:
		r.To, r.Code, r.Error = state.Failed, c.rec.Reason, fmt.Sprintf("%s decided that it failed: %s", d.Actor, d.Reason)
	case d.Answer == AnswerDone && c.rec.Status == state.Attention:
		c.done(&r, d)
	case d.Answer != AnswerDone && d.Answer != AnswerRetry:
		return "", fmt.Errorf("resolve task %s: the answer %q is not known", d.Task, d.Answer)
	}
	return r.To, b.Resolve(ctx, r)
}

// undecided is a task in attention with what its former lives did.
type undecided struct {
	rec   state.TaskRun
	spec  *reconcile.Task
	steps []state.StepRun // by index; without a State: not begun
	owed  []state.Duty
	asked asked
}

func caseOf(ctx context.Context, b state.Backend, d Decision) (c undecided, err error) {
	id, _, _ := strings.Cut(d.Task, ".")
	recs, err := b.Tasks(ctx, id)
	if err != nil {
		return c, err
	}
	i := slices.IndexFunc(recs, func(r state.TaskRun) bool { return r.ID == d.Task })
	if i < 0 {
		return c, state.ErrNotFound
	}
	c.rec = recs[i]
	if d.Answer != AnswerDone || c.rec.Status != state.Attention {
		return c, nil
	}
	run, err := b.Run(ctx, id)
	if err != nil {
		return c, err
	}
	plan, err := planOf(ctx, b, run.Plan)
	if err != nil {
		return c, err
	}
	if run.Action < 0 || run.Action >= len(plan.Actions) || c.rec.Seq < 1 || c.rec.Seq > len(plan.Actions[run.Action].Tasks) {
		return c, errors.New("it is not in the stored plan")
	}
	c.spec = &plan.Actions[run.Action].Tasks[c.rec.Seq-1]
	if len(c.rec.Output) > 0 {
		_ = json.Unmarshal(c.rec.Output, &c.asked) // unreadable: then it asks about a step
	}
	if c.steps, c.owed, err = past(ctx, b, c.rec.ID, len(c.spec.Steps)); err != nil {
		return c, err
	}
	if c.asked.Duty == "" && (c.rec.Reason == DutyUnpaid || c.rec.Reason == FailedUnquiesce) && len(c.owed) > 0 {
		c.asked.Duty = c.owed[len(c.owed)-1].Name // an older version did not record it
	}
	return c, nil
}

// done works out what follows when the answer to the question is yes.
func (c *undecided) done(r *state.Resolution, d Decision) {
	note := encode(&toldOutput{report: report{Note: d.Reason}, ToldBy: d.Actor})
	set := func(i int, to state.StepState, output json.RawMessage) {
		c.steps[i].State, c.steps[i].Output, c.steps[i].Error = to, output, ""
		r.Steps = append(r.Steps, c.steps[i])
	}
	moving := unsettled(c.spec, c.steps)
	open := slices.IndexFunc(c.steps, func(s state.StepRun) bool { return s.State == state.StepUnknown })
	if open < 0 && moving && c.asked.Duty == "" {
		open = slices.IndexFunc(c.steps, func(s state.StepRun) bool { return s.State == state.StepFailed })
	}
	switch {
	case c.asked.Duty != "":
		r.Paid = []string{c.asked.Duty}
		c.owed = slices.DeleteFunc(c.owed, func(o state.Duty) bool { return o.Name == c.asked.Duty })
		switch {
		case open < 0:
		case c.pays(open):
			set(open, state.StepDone, note)
		default:
			set(open, state.StepIntent, nil) // a question of its own, which comes next
		}
	case open < 0:
	case c.spec.Steps[open].Class == state.Check:
		set(open, state.StepTold, nil)
	case c.spec.Steps[open].Class == state.Halt:
		set(open, state.StepDone, note)
	default:
		set(open, state.StepUnknown, nil) // it may be made again, and is
	}
	if moving || len(c.owed) > 0 || !c.complete() {
		return
	}
	r.To = state.Succeeded
	if warnings := warningsOf(c.spec, c.steps); len(warnings) > 0 {
		r.To, r.Error = warned(warnings)
	}
}

// pays reports whether a step is the one that pays the duty that is asked about.
func (c *undecided) pays(i int) bool {
	var a reconcile.QuiesceArgs
	return c.spec.Steps[i].Op == reconcile.OpDeviceUnquiesce && json.Unmarshal(c.spec.Steps[i].Args, &a) == nil && dutyUnquiesce(a) == c.asked.Duty
}

// complete reports whether every step took place and nothing of them is to be cleared away.
func (c *undecided) complete() bool {
	for i, s := range c.steps {
		if s.State != state.StepDone && s.State != state.StepSkipped || c.spec.Steps[i].Op == reconcile.OpArtifactRestore {
			return false
		}
	}
	return true
}
