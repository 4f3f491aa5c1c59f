package execute

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/state"
)

// reopen finds the runs to go on with, oldest first, and takes their plans.
func (l *life) reopen(runID string) ([]*job, error) {
	open, err := l.o.Backend.Runs(l.base, state.RunFilter{Open: true})
	if err != nil {
		return nil, fmt.Errorf("read the open runs: %w", err)
	}
	slices.Reverse(open)
	if runID == "" { // what nobody decided yet is left alone, until it has waited for too long
		open = slices.DeleteFunc(open, func(r state.Run) bool { return r.Status == state.Attention && !l.late(r) })
	} else if open, err = l.only(open, runID); err != nil {
		return nil, err
	}
	var jobs []*job
	for len(open) > 0 {
		id := open[0].Plan
		var own []state.Run
		open = slices.DeleteFunc(open, func(r state.Run) bool {
			if r.Plan == id {
				own = append(own, r)
			}
			return r.Plan == id
		})
		j, err := l.take(id, own)
		var locked *state.LockedError
		switch {
		case errors.As(err, &locked) && runID == "":
			for _, r := range own {
				l.emit(Event{Kind: TakenOver, Run: r.ID, Address: r.Address, Reason: locked.Error()})
			}
			continue
		case err != nil:
			return nil, err
		}
		jobs = append(jobs, j)
	}
	return jobs, nil
}

// only leaves the named run and the open runs that it waits for.
func (l *life) only(open []state.Run, runID string) ([]state.Run, error) {
	i := slices.IndexFunc(open, func(r state.Run) bool { return r.ID == runID })
	if i < 0 {
		r, err := l.o.Backend.Run(l.base, runID)
		switch {
		case err != nil:
			return nil, err // it names the run
		case r.Status == state.Attention: // there is nothing to do but to say so
			return []state.Run{r}, nil
		}
		return nil, fmt.Errorf("run %s has ended: it %s", runID, r.Status.Words())
	}
	plan, err := l.storedPlan(open[i].Plan)
	if err != nil {
		return nil, err
	}
	needed := map[int]bool{}
	var need func(action int)
	need = func(action int) {
		if needed[action] || action < 0 || action >= len(plan.Actions) {
			return
		}
		needed[action] = true
		for _, a := range plan.Actions[action].After {
			need(a)
		}
	}
	need(open[i].Action)
	return slices.DeleteFunc(slices.Clone(open), func(r state.Run) bool {
		return r.Plan != open[i].Plan || !needed[r.Action]
	}), nil
}

func (l *life) storedPlan(id string) (*reconcile.Plan, error) { return planOf(l.base, l.o.Backend, id) }

func planOf(ctx context.Context, b state.Backend, id string) (*reconcile.Plan, error) {
	stored, err := b.Plan(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("read the stored plan %s: %w", id, err)
	}
	var plan reconcile.Plan
	if err := json.Unmarshal(stored.Body, &plan); err != nil {
		return nil, fmt.Errorf("read the stored plan %s: %w", id, err)
	}
	return &plan, nil
}

// take takes a stored plan over. If its process died before the plan's changes were recorded, they are recorded now,
// provided the plan still holds; otherwise its waiting tasks are cancelled. Backups that are switched off by now are ended.
func (l *life) take(id string, runs []state.Run) (*job, error) {
	_, release, err := l.hold(state.PlanLock(id), "resume")
	if err != nil {
		return nil, err
	}
	plan, err := l.storedPlan(id)
	if err != nil {
		return nil, err
	}
	j := l.job(id, plan)
	if err := j.load(runs); err != nil {
		return nil, err
	}
	snap, err := l.o.Backend.Snapshot(l.base)
	if err != nil {
		return nil, fmt.Errorf("read the state: %w", err)
	}
	if len(plan.Unrecorded(snap)) == 0 {
		j.withdraw(snap)
		return j, nil
	}
	lock, err := j.lockApply()
	if err != nil {
		release()
		return nil, err
	}
	defer func() { j.unlock(); j.unlock = nil }()
	if snap, err = l.o.Backend.Snapshot(l.base); err != nil {
		return nil, fmt.Errorf("read the state: %w", err)
	}
	left := plan.Unrecorded(snap)
	if len(left) == 0 {
		j.withdraw(snap)
		return j, nil
	}
	if err := plan.Broken(snap, l.o.Now()); err != nil {
		for _, r := range j.runs {
			r.halt = &verdict{Status: state.Cancelled, Reason: CancelledStale, Message: err.Error()}
		}
		return j, nil
	}
	if err := j.record(lock, left); err != nil {
		return nil, err
	}
	if snap, err = l.o.Backend.Snapshot(l.base); err != nil {
		return nil, fmt.Errorf("read the state: %w", err)
	}
	j.withdraw(snap)
	return j, nil
}

// withdraw ends the backups that were switched off since they were planned.
func (j *job) withdraw(snap *state.Snapshot) {
	for _, r := range j.runs {
		if why := reconcile.Disabled(snap.Objects[r.rec.Address], r.rec.Trigger); why != "" && !r.ended && r.action.Kind == reconcile.ActionBackup {
			r.withdraw(why)
		}
	}
}
