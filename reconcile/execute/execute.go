// Package execute runs and resumes plans. Every step is begun and ended in the
// journal, so that a process that dies at any instant leaves a state from which
// another one goes on; see DESIGN.md for the rules that make this true.
package execute

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/state"
)

// Options is what an Executor works with. Backend and Registry are required.
type Options struct {
	Backend   state.Backend
	Registry  *providers.Registry
	Protected []string // holdfast's own open files; see providers.Env
	Actor     string   // who; goes into every record
	Version   string   // of holdfast; goes into manifests

	Parallel int             // most tasks at one time over all plans; 0: what each plan says
	Events   func(Event)     // progress; called by one goroutine at a time, and must be fast
	Kill     context.Context // done: stop now. What runs is cut off and resumed later. nil: never

	Now   func() time.Time                           // nil: time.Now
	NewID func() string                              // nil: a ULID
	Sleep func(context.Context, time.Duration) error // between attempts; nil: really sleeps
}

// Executor runs plans. It is safe for concurrent use.
type Executor struct {
	o     Options
	mu    sync.Mutex // serialises events
	space reservations
}

// New gives an Executor.
func New(o Options) *Executor {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.NewID == nil {
		o.NewID = func() string { return ulid.MustNew(ulid.Timestamp(o.Now()), rand.Reader).String() }
	}
	if o.Sleep == nil {
		o.Sleep = sleep
	}
	if o.Events == nil {
		o.Events = func(Event) {}
	}
	if o.Kill == nil {
		o.Kill = context.Background()
	}
	return &Executor{o: o}
}

// Result says what an execution did. Failed tasks are in the runs, not in an error.
type Result struct {
	Runs        []state.Run // as they ended, or were left
	Recorded    int         // changes written to the recorded objects at once
	ByRuns      int         // changes that runs wrote when what they do was done: a store is recorded once it is marked
	Generation  int64       // of the state afterwards
	Interrupted bool        // work is left for a resume
	Stopped     bool        // it is left because of a signal: the context ended, or Kill did
	Left        []Left      // the runs that it is left of, unless it was stopped
}

// Left is a run that has not ended although nobody stopped it.
type Left struct {
	Run  string
	Task string // of the run; what is left of it is in the way of the others
	Why  string // what it waits for, and what to do about that
	Idle bool   // nothing of it was done
}

// ErrNotApplyable says that a plan has errors or nothing to do.
var ErrNotApplyable = errors.New("the plan is not applyable")

// Apply records the plan's changes under the apply lock and does its work. A plan with a broken
// precondition is a *state.StaleError and a held lock a *state.LockedError; then nothing was done.
//
// When ctx is done, nothing new begins, what is safe to repeat is cut off, the rest finishes,
// and the result is Interrupted.
func (x *Executor) Apply(ctx context.Context, plan *reconcile.Plan) (Result, error) {
	return x.run(ctx, plan, true)
}

// Run does the work of a plan of mode run, without the apply lock: it never waits for an apply.
func (x *Executor) Run(ctx context.Context, plan *reconcile.Plan) (Result, error) {
	if len(plan.Changes) > 0 {
		return Result{}, fmt.Errorf("%w: it changes recorded objects, which takes an apply", ErrNotApplyable)
	}
	return x.run(ctx, plan, false)
}

func (x *Executor) run(ctx context.Context, plan *reconcile.Plan, locked bool) (res Result, err error) {
	if plan.Errored || !plan.Applyable {
		return Result{}, ErrNotApplyable
	}
	l, err := x.open(ctx)
	if err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, l.close()) }()

	j := l.job(x.o.NewID(), plan)
	if err := j.start(locked); err != nil {
		return Result{}, err
	}
	err = l.work([]*job{j})
	return l.result([]*job{j}, err)
}

// Resume goes on with a run that has not ended, or with all of them. A run that a live process
// works on is left alone; asked for by name it is a *state.LockedError.
func (x *Executor) Resume(ctx context.Context, runID string) (res Result, err error) {
	l, err := x.open(ctx)
	if err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, l.close()) }()

	jobs, err := l.reopen(runID)
	if err != nil {
		return Result{}, err
	}
	err = l.work(jobs)
	return l.result(jobs, err)
}

// result reads back how the runs stand.
func (l *life) result(jobs []*job, err error) (Result, error) {
	var res Result
	stopped := errors.Is(context.Cause(l.soft), errStopped) || l.o.Kill.Err() != nil
	ctx, cancel := context.WithTimeout(l.journal, journalTimeout)
	defer cancel()
	for _, j := range jobs {
		res.Recorded += j.recorded
		res.ByRuns += int(j.byRuns.Load())
		for _, r := range j.runs {
			now, readErr := l.o.Backend.Run(ctx, r.rec.ID)
			if readErr != nil {
				return res, errors.Join(err, fmt.Errorf("read run %s: %w", r.rec.ID, readErr))
			}
			res.Runs = append(res.Runs, now)
			if now.Status.Terminal() {
				continue
			}
			res.Interrupted, res.Stopped = true, stopped
			if !stopped {
				res.Left = append(res.Left, r.leftover())
			}
		}
	}
	meta, readErr := l.o.Backend.Meta(ctx)
	res.Generation = meta.Generation
	return res, errors.Join(err, readErr)
}

func host() string {
	name, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return name
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
