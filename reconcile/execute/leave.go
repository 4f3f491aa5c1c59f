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

// bound reports whether the task may not be left between two steps: it owes something, or a role is moving. A quiesced
// device does not bind: it is released, and quiesced again by the resume.
func (w *work) bound() bool {
	return w.moving() || slices.ContainsFunc(w.duties, func(d state.Duty) bool { return !isHold(d) })
}

// fail sets how the task ends and does what that demands at once: undoing a move, paying duties.
func (w *work) fail(v *verdict) error {
	if w.end != nil {
		return nil // the first failure counts
	}
	w.end = v
	w.retreat()
	if w.end.Status == state.Attention && w.moving() {
		return nil // fail closed: what is frozen stays frozen until a person decides
	}
	if len(w.duties) == 0 || v.Reason == FailedUnquiesce {
		return nil // that one was just tried for as long as it may take
	}
	if err := w.flush(); err != nil {
		return err
	}
	return w.pay()
}

// giveUp ends a task that is no longer wanted before a step that is not done. Whether one that was cut off happened is found out first.
func (w *work) giveUp(i int) error {
	c := &call{work: w, index: i, step: w.spec.Steps[i], input: w.steps[i].Input}
	op, known := ops[c.step.Op]
	switch s := w.steps[i].State; {
	case s == "":
		return w.fail(w.off)
	case s == state.StepIntent && c.step.Class == state.Halt:
		return w.unknown(c, errCutOff)
	case (s == state.StepIntent || s == state.StepTold) && c.step.Class == state.Check && known:
		if found, err := w.find(c, op); found || err != nil {
			return err
		}
	}
	w.pending.End = c.ended(state.StepFailed, ending(nil, w.off), w.off.Message)
	return w.fail(w.off)
}

// flush writes the pending outcome before an effect that has no intent of its own.
func (w *work) flush() error {
	if w.pending.End == nil {
		return nil
	}
	e := w.pending
	w.pending = state.Entry{}
	return w.write(e)
}

// pay does what the task owes. A duty that cannot be paid is a person's.
func (w *work) pay() error {
	if mutant == mutantLostDuty {
		return nil
	}
	for _, d := range slices.Backward(slices.Clone(w.duties)) {
		begin := w.t.event(DutyStarted)
		begin.Step, begin.Until = d.Name, w.until(d)
		w.emit(begin)
		if err := w.payOne(d); err != nil {
			if w.base.Err() != nil {
				return errInterrupted
			}
			reason, message := DutyUnpaid, fmt.Sprintf("%s: %s. Do it by hand or decide: %s", d.Name, unended(w.text(err)), w.choices())
			var v *verdict
			if errors.As(err, &v) {
				reason, message = v.Reason, v.Message // it says what to do
			}
			if w.end != nil {
				message += ". Before: " + w.end.Message
			}
			w.end = &verdict{Status: state.Attention, Reason: reason, Message: message, Duty: d.Name}
			for _, r := range w.final.Roles {
				w.uncertain(r.Role, r.MovingTo)
			}
			return nil
		}
		if err := w.write(state.Entry{Paid: []string{d.Name}}); err != nil {
			return err
		}
		w.drop([]string{d.Name})
		e := w.t.event(DutyPaid)
		e.Step = d.Name
		w.emit(e)
	}
	return nil
}

// unended is a text that a sentence goes on after: without a full stop of its own.
func unended(text string) string { return strings.TrimRight(text, ". \n") }

// until is when paying a duty that was just begun ends at the latest: well, or with a person.
func (w *work) until(d state.Duty) time.Time {
	if isHold(d) {
		var a reconcile.QuiesceArgs
		if json.Unmarshal(d.Args, &a) != nil {
			return time.Time{}
		}
		return w.patience(a)
	}
	end := w.o.Now().Add(limitTarget)
	for _, pause := range retryDelays {
		end = end.Add(pause + limitTarget)
	}
	return end
}

// letGo releases what the task quiesced when that cannot be recorded any more: a device that takes no work is worse than a record that a
// resume corrects, since it releases once more. What a switchover froze stays: whether it may go on only the record says.
func (w *work) letGo() {
	for _, d := range slices.Backward(w.duties) {
		if w.base.Err() != nil || !isHold(d) || mutant == mutantLostDuty {
			continue
		}
		e := w.t.event(DutyStarted)
		e.Step, e.Until = d.Name, w.until(d)
		w.emit(e)
		e = w.t.event(DutyPaid)
		if e.Step = d.Name; w.payOne(d) == nil {
			w.emit(e)
		}
	}
}

func (w *work) payOne(d state.Duty) error {
	if isHold(d) {
		return w.payHold(w.base, d)
	}
	for n := 0; ; n++ {
		ctx, cancel := context.WithTimeout(w.base, limitTarget)
		err := w.unfreeze(ctx, d)
		cancel()
		if err == nil || n == len(retryDelays) || w.o.Sleep(w.base, retryDelays[n]) != nil {
			return err
		}
	}
}

// drop forgets duties that are paid or void.
func (w *work) drop(names []string) {
	w.duties = slices.DeleteFunc(w.duties, func(d state.Duty) bool { return slices.Contains(names, d.Name) })
}

// finish ends the task: with its verdict, or well.
func (w *work) finish() error {
	if w.end != nil && w.end.Status != state.Attention {
		w.discard()
	}
	warnings, err := w.sweep()
	if err != nil {
		return err
	}
	rec := w.totals()
	rec.Status = state.Succeeded
	warnings = append(warnings, warningsOf(w.spec, w.steps)...)
	switch {
	case w.end != nil:
		rec.Status, rec.Reason, rec.Error = w.end.Status, w.end.Reason, w.end.Message
		if w.end.Duty != "" {
			rec.Output = encode(asked{Duty: w.end.Duty})
		}
	case len(warnings) > 0:
		rec.Status, rec.Error = warned(warnings)
	}
	rec.Ended = w.o.Now()
	err = w.conclude(rec)
	if len(w.final.Roles) > 0 && errors.Is(err, state.ErrStale) {
		w.final.Roles = nil // the role is somebody else's by now
		err = w.conclude(rec)
	}
	return err
}

// warningsOf lists what went well with something to say. It names the safety backup, whose warnings could be taken for those of the restore.
func warningsOf(spec *reconcile.Task, steps []state.StepRun) (all []string) {
	for i, s := range steps {
		var r report
		if len(s.Output) == 0 || json.Unmarshal(s.Output, &r) != nil {
			continue
		}
		of := ""
		var a reconcile.CaptureArgs
		if step := spec.Steps[i]; step.Op == reconcile.OpDeviceCapture && json.Unmarshal(step.Args, &a) == nil && a.Activity == reconcile.SafetyActivity {
			of = "safety backup: "
		}
		for _, text := range r.Warnings {
			all = append(all, of+text)
		}
	}
	return all
}

// warned is how a task ends well, with warnings.
func warned(warnings []string) (state.Status, string) {
	if len(warnings) > 1 {
		return state.Warned, fmt.Sprintf("%s (and %d more)", warnings[0], len(warnings)-1)
	}
	return state.Warned, warnings[0]
}

// interrupt leaves the task for a later resume. An open intent stays open, but no device stays quiesced, unless the
// process is being killed; then the resume releases it.
func (w *work) interrupt() error {
	if w.base.Err() == nil && len(w.duties) > 0 && !w.bound() {
		if err := w.flush(); err != nil {
			return err
		}
		if err := w.pay(); err != nil && !errors.Is(err, errInterrupted) {
			return err
		}
		if w.end != nil {
			return w.finish()
		}
	}
	rec := w.totals()
	rec.Status, rec.Reason = state.Interrupted, Interrupted
	if w.left != nil {
		rec.Reason, rec.Error = w.left.Reason, w.left.Message
	}
	return w.conclude(rec)
}

func (w *work) conclude(rec state.TaskRun) error {
	e := w.pending
	e.Roles = append(e.Roles, w.final.Roles...)
	e.Finish = &rec
	if err := w.write(e); err != nil {
		return err
	}
	w.pending = state.Entry{}
	w.rec = rec
	return nil
}

// totals gives the task's record with what its steps add up to.
func (w *work) totals() state.TaskRun {
	rec := w.rec
	rec.Attempt, rec.Owner, rec.StatusAt = w.claim.Attempt, w.claim.Session, w.o.Now()
	rec.Files, rec.Bytes, rec.SourceFiles, rec.SourceBytes, rec.Reason, rec.Error, rec.Output = 0, 0, 0, 0, "", "", nil
	for i, s := range w.steps {
		var r report
		if len(s.Output) > 0 && json.Unmarshal(s.Output, &r) == nil {
			rec.Files += r.FilesDone
			rec.Bytes += r.BytesDone
			rec.SourceFiles += r.Source.Files
			rec.SourceBytes += r.Source.Bytes
		}
		rec.Errors += w.retries[i]
		if s.State == state.StepFailed {
			rec.Errors++
		}
	}
	return rec
}
