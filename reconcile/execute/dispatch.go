package execute

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/holdfast-dr/holdfast/state"
)

const (
	defaultParallel = 4
	pollFirst       = 50 * time.Millisecond
	pollLast        = 2 * time.Second
)

// dispatcher starts tasks as their turn comes. It is the only one that decides what runs next, and
// runs in one goroutine; each task it starts has its own.
type dispatcher struct {
	*life
	jobs   []*job
	done   chan ended
	active int
	locks  map[string]bool // of our active tasks
	busy   map[string]bool // held by others at the last look
	poll   time.Duration
	again  bool // look again at once: something ended without a task's goroutine
	err    error
}

// ended is what a task's goroutine leaves.
type ended struct {
	t    *task
	rec  state.TaskRun
	err  error
	lost bool // another process took the task over
}

// work runs the jobs until nothing more can be done. Failed tasks are no error.
func (l *life) work(jobs []*job) error {
	d := &dispatcher{life: l, jobs: jobs, done: make(chan ended), locks: map[string]bool{}, poll: pollFirst}
	stop := l.soft.Done()
	for {
		waiting := false
		if !l.stopping() {
			waiting = d.advance()
		}
		if d.again && !l.stopping() {
			d.again = false
			continue
		}
		if d.active == 0 && !waiting {
			break
		}
		timer := time.NewTimer(d.poll)
		select {
		case e := <-d.done:
			d.finished(e)
			d.poll = pollFirst
		case <-stop:
			stop = nil
		case <-timer.C:
			d.poll = min(2*d.poll, pollLast)
		}
		timer.Stop()
	}
	if cause := context.Cause(l.base); errors.Is(cause, errLost) {
		return errors.Join(d.err, cause)
	}
	return d.err
}

// fail stops everything because the state cannot be worked with.
func (d *dispatcher) fail(err error) {
	if d.err == nil {
		d.err = err
		d.stop(err)
	}
}

// advance starts what may start and ends what will not. It reports whether something waits for a lock of somebody else.
func (d *dispatcher) advance() (waiting bool) {
	d.busy = map[string]bool{}
	var interrupted, pending []*task
	for _, j := range d.jobs {
		for _, r := range j.runs {
			if r.ended || r.left {
				continue
			}
			for _, t := range d.ready(r) {
				if t.rec.Status == state.Interrupted {
					interrupted = append(interrupted, t)
				} else {
					pending = append(pending, t)
				}
			}
		}
	}
	// What was interrupted goes first: it may hold locks and owe duties.
	for _, t := range append(interrupted, pending...) {
		if d.stopping() {
			break
		}
		if d.room(t) {
			d.start(t)
		}
	}
	return len(d.busy) > 0
}

// ready lists the tasks of a run whose turn it is, and settles a run in which nothing is left to start.
func (d *dispatcher) ready(r *run) (tasks []*task) {
	over, good, err := r.dependencies()
	if err != nil {
		d.fail(err)
		return nil
	}
	if !over {
		return nil
	}
	if !good && r.halt == nil {
		r.halt = ends(state.Cancelled, CancelledDependency, "an action that had to end well before did not")
	}
	d.refresh(r)
	if r.rec.Status == state.Attention && r.halt == nil && !d.late(r.rec) { // nobody decided since it was left
		d.leave(r)
		return nil
	}
	stage, waits := r.stage(), false
	for _, t := range r.tasks {
		switch {
		case t.ended() || t.active || t.stuck:
		case t.rec.Status == state.Interrupted:
			tasks = append(tasks, t)
		case r.held(t) || t.spec.Stage != stage:
		case r.halt == nil && d.late(r.rec):
			r.halt = ends(state.Cancelled, CancelledDay, "waited for its start for more than a day")
			return d.ready(r)
		case r.undecided():
			waits = true
		default:
			tasks = append(tasks, t)
		}
	}
	switch {
	case len(tasks) > 0 || r.active > 0:
	case waits, r.halt == nil && r.blocked():
		d.leave(r)
	default:
		d.settle(r)
	}
	return tasks
}

// late reports whether what has not begun of a run has waited for too long.
func (l *life) late(r state.Run) bool { return l.o.Now().Sub(r.CreatedAt) > waitLimit }

// leave gives a run to a person. A resume after the decision goes on with its waiting tasks.
func (d *dispatcher) leave(r *run) {
	at := d.o.Now()
	err := d.persist(func(ctx context.Context) error { return d.o.Backend.Await(ctx, r.rec.ID, at) })
	if err != nil && !errors.Is(err, state.ErrStale) { // then somebody decided or took it over
		d.fail(fmt.Errorf("leave run %s to a person: %w", r.rec.ID, err))
		return
	}
	r.left, d.again = true, true
	e := r.event(RunDone)
	e.Status = state.Attention
	d.emit(e)
	r.unlockApply()
}

// refresh looks once at the tasks that somebody else has or ended. What nobody ended is left to a later resume: whoever took
// it away had a reason.
func (d *dispatcher) refresh(r *run) {
	if !slices.ContainsFunc(r.tasks, func(t *task) bool { return t.foreign }) {
		return
	}
	recs, err := d.o.Backend.Tasks(d.base, r.rec.ID)
	if err != nil {
		d.fail(fmt.Errorf("read the tasks of run %s: %w", r.rec.ID, err))
		return
	}
	for _, t := range r.tasks {
		i := slices.IndexFunc(recs, func(rec state.TaskRun) bool { return rec.ID == t.rec.ID })
		if i < 0 || !t.foreign {
			continue
		}
		t.rec, t.foreign = recs[i], false
		if t.ended() {
			r.learn(t)
		} else {
			t.stuck, t.why = true, "another process works on it: holdfast history "+t.rec.ID
		}
	}
}

// settle ends the tasks that a halt left waiting, and with them the run.
func (d *dispatcher) settle(r *run) {
	if r.halt != nil && !r.over() {
		h := r.halt
		err := d.persist(func(ctx context.Context) error {
			return d.o.Backend.Cancel(ctx, r.rec.ID, h.Status, h.Reason, h.Message, d.o.Now())
		})
		if err != nil {
			d.fail(fmt.Errorf("cancel the waiting tasks of run %s: %w", r.rec.ID, err))
			return
		}
		for _, t := range r.tasks {
			if t.rec.Status == state.Pending {
				t.rec.Status, t.rec.Reason, t.rec.Error = h.Status, h.Reason, h.Message
				e := t.event(TaskDone)
				e.Status, e.Reason, e.Error = h.Status, h.Reason, h.Message
				d.emit(e)
			}
		}
	}
	if r.over() {
		d.close(r)
	}
}

func (d *dispatcher) close(r *run) {
	r.ended, d.again = true, true
	e := r.event(RunDone)
	e.Status = r.status()
	d.emit(e)
	r.unlockApply()
}

// room reports whether the limits and the locks of our own tasks allow one more.
func (d *dispatcher) room(t *task) bool {
	limit := t.r.plan.Parallel
	if limit <= 0 {
		limit = defaultParallel
	}
	switch {
	case t.r.job.active >= limit,
		d.o.Parallel > 0 && d.active >= d.o.Parallel,
		t.r.action.Parallel > 0 && t.r.active >= t.r.action.Parallel:
		return false
	}
	return !slices.ContainsFunc(t.rec.Locks, func(l string) bool { return d.locks[l] || d.busy[l] })
}

// start claims a task and hands it to a goroutine.
func (d *dispatcher) start(t *task) {
	var claim state.Claim
	at := d.o.Now() // the same in every attempt: a claim whose answer was lost is given again
	err := d.persist(func(ctx context.Context) (err error) {
		claim, err = d.o.Backend.Claim(ctx, d.session.Epoch, t.rec.ID, at)
		return err
	})
	switch {
	case errors.Is(err, state.ErrBusy):
		d.wait(t)
		return
	case errors.Is(err, state.ErrStale):
		t.foreign, d.again = true, true
		d.emit(t.event(TakenOver))
		return
	case err != nil:
		d.fail(fmt.Errorf("claim task %s: %w", t.rec.ID, err))
		return
	}
	resumed := t.rec.Status == state.Interrupted
	before := t.r.account(t.spec.Stage)
	t.active, t.rec.Status, t.rec.Attempt = true, state.Running, claim.Attempt
	t.r.active++
	t.r.touches++
	t.r.job.active++
	d.active++
	for _, l := range t.rec.Locks {
		d.locks[l] = true
	}
	if !t.r.started {
		t.r.started = true
		d.emit(t.r.event(RunStarted))
	}
	kind := TaskStarted
	if resumed {
		kind = Resumed
	}
	d.emit(t.event(kind))
	w := newWork(t, claim, before)
	go func() { d.done <- w.perform() }()
}

// finished takes a task back from its goroutine.
func (d *dispatcher) finished(e ended) {
	t := e.t
	t.active = false
	t.r.active--
	t.r.job.active--
	d.active--
	for _, l := range t.rec.Locks {
		delete(d.locks, l)
	}
	t.rec = e.rec
	switch {
	case e.lost:
		t.foreign = true
		d.emit(t.event(TakenOver))
		return
	case e.err != nil:
		t.stuck = true
		d.fail(fmt.Errorf("task %s: %w", t.rec.ID, e.err))
		return
	case !t.ended():
		t.stuck, t.why = true, t.rec.Error
		return
	}
	done := t.event(TaskDone)
	done.Status, done.Reason, done.Error = t.rec.Status, t.rec.Reason, t.rec.Error
	done.Files, done.Bytes = int64(t.rec.Files), t.rec.Bytes
	d.emit(done)
	t.r.learn(t)
	if t.r.over() {
		d.close(t.r)
	}
}
