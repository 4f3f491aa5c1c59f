package execute

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/state"
)

// Why a task stops without an end.
var (
	errInterrupted  = errors.New("interrupted")
	errWindowClosed = errors.New("the maintenance window closed")
)

// errCutOff is why nobody knows the outcome of a step that is not repeated.
var errCutOff = errors.New("the process ended while it ran")

// errNotSeen is why a person's word is not enough: what a step leaves is recorded as it was seen, or not at all.
var errNotSeen = errors.New("it was said to be done, and a look does not show it")

// retryDelays are the pauses before a step is tried again after an error that may pass by itself.
var retryDelays = []time.Duration{time.Second, 4 * time.Second}

// work is a claimed task in the hands of one goroutine.
//
//	intent(k+1) and outcome(k) are one journal entry: pending collects the outcome until the next
//	intent, the next effect or the end of the task writes it.
type work struct {
	*job
	t       *task
	rec     state.TaskRun
	spec    *reconcile.Task
	claim   state.Claim
	before  account         // of the tasks in the stages below
	steps   []state.StepRun // by index; without a State: not begun
	duties  []state.Duty    // open
	pending state.Entry
	final   state.Entry // written with the end of the task
	end     *verdict    // set: how the task ends
	left    *verdict    // set: why the task is left to a resume, where it is not the end of the process
	off     *verdict    // set: the task is no longer wanted; see giveUp
	closes  time.Time   // when the window closes; zero: it does not cut work off
	retries map[int]int // by step: failed attempts of this life
}

func newWork(t *task, claim state.Claim, before account) *work {
	w := &work{
		job: t.r.job, t: t, rec: t.rec, spec: t.spec, claim: claim, before: before,
		steps: make([]state.StepRun, len(t.spec.Steps)), retries: map[int]int{},
	}
	if !t.spec.Always {
		w.off = t.r.off
	}
	return w
}

// perform does what is left of the task.
func (w *work) perform() ended {
	defer w.space.release(w.rec.ID)
	err := w.run()
	if errors.Is(err, errInterrupted) {
		err = w.interrupt()
	}
	if errors.Is(err, state.ErrFenced) {
		return ended{t: w.t, rec: w.rec, lost: true}
	}
	if err != nil {
		w.letGo()
	}
	if w.stopping() && errors.Is(err, context.Canceled) {
		err = nil // the session's end leaves the task interrupted
	}
	return ended{t: w.t, rec: w.rec, err: err}
}

func (w *work) run() error {
	if err := w.load(); err != nil {
		return err
	}
	if err := w.rehold(); err != nil {
		return err
	}
	if w.end != nil {
		return w.finish()
	}
	if skip := w.unwanted(); skip != nil {
		w.end = skip
		return w.finish()
	}
	for i := range w.spec.Steps {
		switch s := &w.steps[i]; {
		case s.State == state.StepDone || s.State == state.StepSkipped:
			continue
		case s.State == state.StepFailed:
			if err := w.fail(verdictOf(s)); err != nil {
				return err
			}
			continue
		case w.end != nil && (w.end.Status == state.Attention || !w.spec.Steps[i].Always):
			continue
		case w.end == nil && w.stopping() && !w.bound():
			return errInterrupted
		case w.end == nil && w.off != nil && !w.spec.Steps[i].Always:
			if err := w.giveUp(i); err != nil {
				return err
			}
			continue
		}
		if err := w.step(i); err != nil {
			return err
		}
	}
	return w.finish()
}

// load reads what former lives of the task did.
func (w *work) load() error {
	if w.claim.Attempt <= 1 {
		return nil
	}
	ctx, cancel := context.WithTimeout(w.journal, journalTimeout)
	defer cancel()
	var err error
	if w.steps, w.duties, err = past(ctx, w.o.Backend, w.rec.ID, len(w.spec.Steps)); err != nil {
		return err
	}
	for _, s := range w.steps {
		w.noteClosing(s.Output)
	}
	return nil
}

// past reads the steps of a task by index, those that did not begin without a State, and what it owes.
func past(ctx context.Context, b state.Backend, task string, planned int) (steps []state.StepRun, owed []state.Duty, err error) {
	begun, err := b.Steps(ctx, task)
	if err != nil {
		return nil, nil, fmt.Errorf("read the steps: %w", err)
	}
	steps = make([]state.StepRun, planned)
	for _, s := range begun {
		if s.Index < 0 || s.Index >= planned {
			return nil, nil, fmt.Errorf("step %d of the journal is not in the stored plan", s.Index)
		}
		steps[s.Index] = s
	}
	owed, err = b.Duties(ctx, task)
	if err != nil {
		return nil, nil, fmt.Errorf("read the duties: %w", err)
	}
	return steps, slices.DeleteFunc(owed, func(d state.Duty) bool { return d.Paid }), nil
}

// unwanted says when the task does not run because of how the action went so far.
func (w *work) unwanted() *verdict {
	if len(w.spec.On) == 0 || met(w.spec.On, w.before.status) {
		return nil
	}
	return ends(state.Skipped, SkippedCondition, "runs only after %v", w.spec.On)
}

// step brings one step to its outcome, which is then pending. It returns an error when the task cannot go on at all.
func (w *work) step(i int) error {
	c := &call{work: w, index: i, step: w.spec.Steps[i]}
	op, ok := ops[c.step.Op]
	if !ok {
		return w.failed(c, outcome{}, ends(state.Failed, Failed, "this version does not know the operation %q", c.step.Op))
	}
	was := w.steps[i]
	if was.State == "" {
		input, err := op.prepared(c)
		switch {
		case err != nil && w.cut(c, err):
			return errInterrupted
		case err != nil:
			return w.failed(c, outcome{}, err)
		}
		c.input = encode(input)
		return w.try(c, op)
	}
	c.input = was.Input
	retried := was.State == state.StepUnknown // a person decided so
	switch {
	case c.step.Class == state.Halt && !retried && mutant != mutantRerunHalt:
		return w.unknown(c, errCutOff)
	case c.step.Class == state.Check || op.check != nil && retried:
		if found, err := w.find(c, op); found || err != nil {
			return err
		}
	}
	if mutant == mutantFreshID {
		input, _ := op.prepared(c)
		c.input = encode(input)
	}
	return w.try(c, op)
}

// find looks whether an interrupted step happened, and brings it to its outcome if that is so or cannot be told. Found is false when it
// did not happen and nobody said so.
func (w *work) find(c *call, op *operation) (found bool, err error) {
	out, done, err := w.look(c, op)
	switch {
	case err != nil && w.cut(c, err):
		return true, errInterrupted
	case errors.Is(err, providers.ErrStoreNoAnswer):
		return true, w.later(c, err)
	case err != nil:
		return true, w.unknown(c, err)
	case done:
		return true, w.succeed(c, out)
	case w.steps[c.index].State == state.StepTold:
		return true, w.unknown(c, errNotSeen)
	}
	return false, nil
}

// look asks the world whether an interrupted step happened.
func (w *work) look(c *call, op *operation) (out outcome, done bool, err error) {
	if op.check == nil {
		return out, false, errors.New("there is no way to ask whether it happened")
	}
	ctx, cancel := w.limit(w.base, op)
	defer cancel()
	for n := 0; ; n++ {
		out, done, err = op.check(ctx, c)
		if err == nil || n == len(retryDelays) || w.o.Sleep(ctx, retryDelays[n]) != nil {
			return out, done, err
		}
	}
}

// try writes the intent, makes the effect, and again when its error may pass by itself.
func (w *work) try(c *call, op *operation) error {
	if mutant == mutantLateIntent {
		_, _ = op.do(w.base, c)
	}
	duties, late := op.duties(c), []state.Duty(nil)
	if mutant == mutantLateDuty {
		duties, late = nil, duties
	}
	if err := w.begin(c, duties); err != nil {
		return err
	}
	out, err := w.effect(c, op)
	if err == nil && !out.skipped {
		w.pending.Duties, w.duties = late, append(w.duties, late...)
	}
	switch {
	case err == nil:
		return w.succeed(c, out)
	case w.cut(c, err):
		return errInterrupted
	case c.step.Class == state.Check && errors.Is(err, providers.ErrStoreNoAnswer):
		return w.later(c, err)
	}
	return w.failed(c, out, err)
}

// later leaves the task to a resume: what was asked for may still happen, and nobody could say today whether it did.
func (w *work) later(c *call, err error) error {
	w.left = ends(state.Interrupted, InterruptedStore, "step %q: %s. To go on: holdfast apply --resume", c.step.Name, unended(w.text(err)))
	e := c.event(StepDone)
	e.Status, e.Reason, e.Error = w.left.Status, w.left.Reason, w.left.Message
	w.emit(e)
	return errInterrupted
}

// effect calls the operation.
func (w *work) effect(c *call, op *operation) (out outcome, err error) {
	parent := w.base
	if c.step.Class == state.Rerun && !w.bound() {
		parent = w.soft
		if !w.closes.IsZero() && !c.step.Always {
			var cancel context.CancelFunc
			parent, cancel = context.WithTimeoutCause(parent, w.closes.Sub(w.o.Now()), errWindowClosed)
			defer cancel()
		}
	}
	for {
		ctx, cancel := w.limit(parent, op)
		out, err = w.held(ctx, c, op)
		if err != nil && ctx.Err() != nil && !errors.Is(err, context.Cause(ctx)) {
			err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
		cancel()
		n := w.retries[c.index]
		if err == nil || n == len(retryDelays) || c.step.Class == state.Halt || !providers.Retryable(err) || parent.Err() != nil {
			return out, err
		}
		w.retries[c.index]++
		e := c.event(StepRetry)
		e.Error = w.text(err)
		w.emit(e)
		if w.o.Sleep(parent, retryDelays[n]) != nil {
			return out, err
		}
		w.pending.End = c.ended(state.StepFailed, nil, w.text(err))
		if err := w.begin(c, nil); err != nil {
			return out, err
		}
	}
}

func (w *work) limit(ctx context.Context, op *operation) (context.Context, context.CancelFunc) {
	if op.limit == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, op.limit)
}

// cut reports whether an effect ended because the process is to end, and not by itself.
func (w *work) cut(c *call, err error) bool {
	if w.base.Err() != nil {
		return true
	}
	return c.step.Class == state.Rerun && !w.bound() && w.soft.Err() != nil && !errors.Is(err, errWindowClosed)
}

// begin writes the intent of a step together with the outcome of the one before.
func (w *work) begin(c *call, duties []state.Duty) error {
	s := state.StepRun{
		Task: w.rec.ID, Index: c.index, Name: c.step.Name, Class: c.step.Class, State: state.StepIntent,
		Session: w.claim.Session, Attempt: w.claim.Attempt, Input: c.input, Began: w.o.Now(),
	}
	e := w.pending
	e.Begin, e.Duties = &s, append(e.Duties, duties...)
	if err := w.write(e); err != nil {
		return err
	}
	w.pending = state.Entry{}
	w.steps[c.index] = s
	w.duties = append(w.duties, duties...)
	w.emit(c.event(StepStarted))
	return nil
}

// succeed notes the outcome of a step that happened.
func (w *work) succeed(c *call, out outcome) error {
	s := state.StepDone
	if out.skipped {
		s = state.StepSkipped
	}
	if mutant == mutantSplitRole && len(out.entry.Roles) > 0 {
		if err := w.write(state.Entry{Roles: out.entry.Roles}); err != nil {
			return err
		}
		out.entry.Roles = nil
	}
	late := w.pending.Duties
	w.pending = out.entry
	w.pending.Duties = late
	w.pending.End = c.ended(s, out.output, "")
	if len(out.entry.Roles)+len(out.entry.Changes)+len(out.entry.Expire)+len(out.entry.Deleted) > 0 {
		// These have conditions of their own. A broken one fails this step and not what comes next.
		if err := w.flush(); errors.Is(err, state.ErrStale) {
			return w.failed(c, outcome{}, err)
		} else if err != nil {
			return err
		}
		w.byRuns.Add(int64(len(out.entry.Changes)))
	}
	w.drop(out.entry.Paid)
	w.noteClosing(w.steps[c.index].Output)
	w.emit(c.event(StepDone))
	return nil
}

// failed notes the outcome of a step that failed, and takes the task to its way out.
func (w *work) failed(c *call, out outcome, err error) error {
	if errors.Is(err, state.ErrFenced) {
		return err
	}
	v := judge(err)
	if w.spec.Stage == reconcile.StageBefore && (c.step.Op == reconcile.OpWindow || c.step.Op == reconcile.OpStoreCheck) {
		v = v.before()
	}
	v = &verdict{Status: v.Status, Reason: v.Reason, Message: w.redact.Replace(v.Message), Duty: v.Duty}
	if w.steps[c.index].State == "" { // never begun: the outcome of the one before is still pending
		if err := w.flush(); err != nil {
			return err
		}
	}
	how := state.StepFailed
	if v.Reason == FailedUnquiesce {
		how = state.StepUnknown // so that a person's retry tries it again
	}
	w.pending.End = c.ended(how, ending(out.output, v), v.Message)
	w.pending.Readings = out.entry.Readings
	e := c.event(StepDone)
	e.Status, e.Reason, e.Error = v.Status, v.Reason, v.Message
	w.emit(e)
	return w.fail(v)
}

// unknown ends the task because nobody can say whether a step happened.
func (w *work) unknown(c *call, err error) error {
	v := ends(state.Attention, Unknown, "step %q: %s. Whether it happened is not known. Look, then decide: %s",
		c.step.Name, unended(w.text(err)), w.choices())
	w.pending.End = c.ended(state.StepUnknown, ending(nil, v), v.Message)
	return w.fail(v)
}

func (w *work) choices() string {
	return fmt.Sprintf("holdfast task resolve %s --done | --failed | --retry", w.rec.ID)
}

// text is an error without secrets.
func (w *work) text(err error) string { return w.redact.Replace(err.Error()) }

// verdictOf reads back how a failed step ends its task.
func verdictOf(s *state.StepRun) *verdict {
	var r report
	if json.Unmarshal(s.Output, &r) == nil && r.End != nil {
		return r.End
	}
	return &verdict{Status: state.Failed, Reason: Failed, Message: s.Error}
}

// noteClosing takes the end of the window from the output of a window step.
func (w *work) noteClosing(output json.RawMessage) {
	var o windowOutput
	if len(output) > 0 && json.Unmarshal(output, &o) == nil && !o.Closes.IsZero() {
		w.closes = o.Closes
	}
}
