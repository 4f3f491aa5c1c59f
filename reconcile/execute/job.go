package execute

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/secrets"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/state"
)

// job is one stored plan that this session works on. The lock "plan/ID" says that nobody else does.
type job struct {
	*life
	id       string
	plan     *reconcile.Plan
	runs     []*run
	recorded int
	byRuns   atomic.Int64 // changes that runs recorded
	active   int          // tasks in our hands
	redact   *secrets.Redactor
	resolve  func(context.Context, providers.Secret) (string, error)
	unlock   func() // gives the apply lock back; nil when it is not held
}

func (l *life) job(id string, plan *reconcile.Plan) *job {
	j := &job{life: l, id: id, plan: plan, redact: &secrets.Redactor{}}
	j.resolve = j.redact.Watch(secrets.New(j.secret))
	return j
}

func (j *job) secret(address string) (secrets.Source, error) {
	spec, ok := j.plan.Objects[address]
	if !ok {
		return secrets.Source{}, fmt.Errorf("%s is not in the plan", address)
	}
	var s secrets.Source
	if err := json.Unmarshal(spec.Spec, &s); err != nil {
		return secrets.Source{}, fmt.Errorf("read the specification of %s: %w", address, err)
	}
	return s, nil
}

// start checks the plan, stores it with its runs, and records its changes, in this order: a crash
// after the runs exist is found by a resume, which records the changes first.
func (j *job) start(locked bool) error {
	var lock state.Lock
	if locked {
		var err error
		if lock, err = j.lockApply(); err != nil {
			return err
		}
	}
	snap, err := j.o.Backend.Snapshot(j.base)
	if err != nil {
		return fmt.Errorf("read the state: %w", err)
	}
	if err := j.plan.Broken(snap, j.o.Now()); err != nil {
		return err
	}
	if len(j.plan.Actions) > 0 {
		if _, _, err := j.hold(state.PlanLock(j.id), string(j.plan.Mode)); err != nil {
			return fmt.Errorf("take the plan: %w", err)
		}
		if err := j.begin(); err != nil {
			return err
		}
	}
	if left := j.plan.Unrecorded(snap); locked && len(left) > 0 {
		if err := j.record(lock, left); err != nil {
			return j.drop(err)
		}
	}
	j.unlockApply()
	return nil
}

// drop cancels the runs of a plan whose changes were refused: an action of another plan wrote to the same objects.
func (j *job) drop(err error) error {
	if !errors.Is(err, state.ErrStale) {
		return err // unknown, or the lock was lost: a resume records and goes on
	}
	for _, r := range j.runs {
		cancelErr := j.persist(func(ctx context.Context) error {
			return j.o.Backend.Cancel(ctx, r.rec.ID, state.Cancelled, CancelledStale, err.Error(), j.o.Now())
		})
		err = errors.Join(err, cancelErr)
	}
	return err
}

func (j *job) lockApply() (state.Lock, error) {
	lock, release, err := j.hold(state.ApplyLock, "apply")
	j.unlock = release
	return lock, err
}

// unlockApply gives the apply lock back as soon as the plan's changes are recorded, also those that actions record:
// long backups do not keep the next apply waiting.
func (j *job) unlockApply() {
	if j.unlock == nil {
		return
	}
	for _, r := range j.runs {
		if _, ok := j.plan.ByAction(r.rec.Address); ok && !r.ended {
			return
		}
	}
	j.unlock()
	j.unlock = nil
}

// begin stores the plan and creates its runs.
func (j *job) begin() error {
	body, err := json.Marshal(j.plan)
	if err != nil {
		return fmt.Errorf("encode the plan: %w", err)
	}
	now := j.o.Now()
	stored := state.StoredPlan{ID: j.id, Digest: j.plan.Digest, Body: body, CreatedAt: now, CreatedBy: j.o.Actor}
	wanted := j.newRuns()
	var made []state.Run
	err = j.persist(func(ctx context.Context) (err error) {
		made, err = j.o.Backend.Begin(ctx, stored, wanted)
		if errors.Is(err, state.ErrDuplicate) {
			if own, ok := j.begun(ctx, wanted); ok {
				made, err = own, nil // the answer to an earlier attempt was lost
			}
		}
		return err
	})
	var before *state.DuplicateError
	switch {
	case j.plan.Mode == reconcile.ModeRestore && errors.As(err, &before):
		return &state.StaleError{What: fmt.Sprintf("This plan was begun already, by run %s (holdfast history %s)", before.Run, before.Run)}
	case err != nil:
		return fmt.Errorf("store the plan: %w", err)
	}
	return j.load(made)
}

// key is the occurrence of an action that names none: each time it is done is another one. The plan of a restore is done once, however often its
// file is applied, since it names what its target holds and what is kept of that.
func (j *job) key() string {
	if j.plan.Mode == reconcile.ModeRestore && !j.plan.Timestamp.IsZero() {
		return j.plan.Digest + "@" + j.plan.Timestamp.UTC().Format(time.RFC3339Nano)
	}
	return j.id
}

// begun finds the runs that an earlier attempt to begin this plan created.
func (j *job) begun(ctx context.Context, wanted []state.NewRun) ([]state.Run, bool) {
	var found []state.Run
	for _, n := range wanted {
		all, err := j.o.Backend.Runs(ctx, state.RunFilter{Address: n.Run.Address})
		i := slices.IndexFunc(all, func(r state.Run) bool { return r.Plan == j.id && r.TriggerKey == n.Run.TriggerKey })
		if err != nil || i < 0 {
			return nil, false
		}
		found = append(found, all[i])
	}
	return found, true
}

// newRuns gives a run for each action and for each nominal time that was missed.
func (j *job) newRuns() []state.NewRun {
	now := j.o.Now()
	var runs []state.NewRun
	for i := range j.plan.Actions {
		a := &j.plan.Actions[i]
		base := state.Run{
			Plan: j.id, Action: i, Address: a.Address, Kind: string(a.Kind), Trigger: a.Trigger, TriggerKey: cmp.Or(a.TriggerKey, j.key()),
			DueAt: a.DueAt, Commit: j.plan.Config.Commit, Actor: j.o.Actor, Status: state.Pending, Reason: a.Reason, CreatedAt: now,
		}
		skipped := false
		for _, m := range a.Missed {
			r := base
			r.TriggerKey, r.DueAt, r.Status, r.EndedAt, r.Reason = m.Nominal, m.At, state.Missed, now, "missed"
			runs = append(runs, state.NewRun{Run: r})
			skipped = skipped || m.Nominal == a.TriggerKey
		}
		if !skipped {
			runs = append(runs, state.NewRun{Run: base, Tasks: newTasks(a)})
		}
		if a.Trigger == state.TriggerSchedule {
			runs[len(runs)-1].Cursor = &state.Cursor{Address: a.Address, Nominal: a.Nominal, At: a.DueAt}
		}
	}
	return runs
}

// newTasks gives the task records of an action. When there is work and all of it is skipped, nothing runs, and no script either.
func newTasks(a *reconcile.Action) []state.TaskRun {
	work, skipped := 0, 0
	for _, t := range a.Tasks {
		if t.Stage == reconcile.StageWork {
			work++
			if t.Skip != nil {
				skipped++
			}
		}
	}
	tasks := make([]state.TaskRun, 0, len(a.Tasks))
	for i, t := range a.Tasks {
		rec := state.TaskRun{
			Seq: i + 1, Kind: t.Kind, Activity: t.Activity, Device: t.Device, Domain: t.Domain, Action: t.Action, Locks: t.Locks, Status: state.Pending,
		}
		switch {
		case t.Skip != nil:
			rec.Status, rec.Reason, rec.Error = state.Skipped, t.Skip.Code, t.Skip.Reason
		case work > 0 && work == skipped:
			rec.Status, rec.Reason = state.Skipped, SkippedNoTasks
		}
		tasks = append(tasks, rec)
	}
	return tasks
}

// record writes the plan's changes under the apply lock, in one transaction.
func (j *job) record(lock state.Lock, left []reconcile.Change) error {
	now := j.o.Now()
	writes := make([]state.Change, len(left))
	for i, c := range left {
		writes[i] = c.Record(j.plan.Config.Commit, j.o.Actor, now)
	}
	err := j.persist(func(ctx context.Context) error {
		_, err := j.o.Backend.Record(ctx, lock, writes, nil)
		return err
	})
	if err != nil {
		return fmt.Errorf("record the changes: %w", err)
	}
	j.recorded = len(left)
	later := int64(0)
	for _, c := range j.plan.Changes {
		if c.ByAction {
			later++
		}
	}
	j.emit(Event{Kind: PlanRecorded, Files: int64(len(left)), ByRuns: later})
	return nil
}

// load makes the runs' working copies. Missed runs have no work.
func (j *job) load(recs []state.Run) error {
	for _, rec := range recs {
		if rec.Status.Terminal() && rec.Status == state.Missed {
			continue
		}
		if rec.Action < 0 || rec.Action >= len(j.plan.Actions) {
			return fmt.Errorf("run %s is of action %d, which its stored plan does not have", rec.ID, rec.Action)
		}
		tasks, err := j.o.Backend.Tasks(j.base, rec.ID)
		if err != nil {
			return fmt.Errorf("read the tasks of run %s: %w", rec.ID, err)
		}
		r, err := newRun(j, rec, tasks)
		if err != nil {
			return err
		}
		j.runs = append(j.runs, r)
	}
	return nil
}

// lookup gives what a provider is opened with.
func (j *job) lookup(address string) (providers.Spec, error) {
	s, ok := j.plan.Objects[address]
	if !ok {
		return providers.Spec{}, fmt.Errorf("%s is not in the plan", address)
	}
	return providers.Spec{Type: s.Type, Body: s.Spec, Identity: s.Identity, Epoch: s.Epoch}, nil
}

func (j *job) opener() *providers.Opener {
	return &providers.Opener{
		Registry: j.o.Registry,
		Env:      providers.Env{Secret: j.resolve, Protected: j.o.Protected, Writer: j.plan.State.Lineage},
		Lookup:   j.lookup,
	}
}
