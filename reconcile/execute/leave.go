package execute

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/holdfast-dr/holdfast/state"
)

// bound reports whether the task may not be left between two steps: it owes something, or a role is moving.
func (w *work) bound() bool { return len(w.duties) > 0 || w.moving() }

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
	if len(w.duties) == 0 {
		return nil
	}
	if err := w.flush(); err != nil {
		return err
	}
	return w.pay()
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
		if err := w.payOne(d); err != nil {
			if w.base.Err() != nil {
				return errInterrupted
			}
			w.end = ends(state.Attention, DutyUnpaid, "%s: %s. Do it by hand or decide: %s. Before: %s", d.Name, w.text(err), w.choices(), w.end.Message)
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

func (w *work) payOne(d state.Duty) error {
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
	rec := w.totals()
	rec.Status = state.Succeeded
	var warnings []string
	for _, s := range w.steps {
		var r report
		if len(s.Output) > 0 && json.Unmarshal(s.Output, &r) == nil {
			warnings = append(warnings, r.Warnings...)
		}
	}
	switch {
	case w.end != nil:
		rec.Status, rec.Reason, rec.Error = w.end.Status, w.end.Reason, w.end.Message
	case len(warnings) > 0:
		rec.Status, rec.Error = state.Warned, warnings[0]
		if len(warnings) > 1 {
			rec.Error += fmt.Sprintf(" (and %d more)", len(warnings)-1)
		}
	}
	rec.Ended = w.o.Now()
	err := w.conclude(rec)
	if len(w.final.Roles) > 0 && errors.Is(err, state.ErrStale) {
		w.final.Roles = nil // the role is somebody else's by now
		err = w.conclude(rec)
	}
	return err
}

// interrupt leaves the task for a later resume. An open intent stays open.
func (w *work) interrupt() error {
	rec := w.totals()
	rec.Status, rec.Reason = state.Interrupted, Interrupted
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
	rec.Files, rec.Bytes, rec.Reason, rec.Error = 0, 0, "", ""
	for i, s := range w.steps {
		var r report
		if len(s.Output) > 0 && json.Unmarshal(s.Output, &r) == nil {
			rec.Files += r.FilesDone
			rec.Bytes += r.BytesDone
		}
		rec.Errors += w.retries[i]
		if s.State == state.StepFailed {
			rec.Errors++
		}
	}
	return rec
}
