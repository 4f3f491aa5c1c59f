package execute

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/state"
)

// waitLimit is how long a task may wait for its start (IBM DPOD's rule).
const waitLimit = 24 * time.Hour

// run is the working copy of a state.Run. Only the dispatcher's goroutine uses it.
type run struct {
	*job
	rec     state.Run
	action  *reconcile.Action
	tasks   []*task
	halt    *verdict // set: waiting tasks do not start and end like this
	off     *verdict // set: tasks that had begun end like this, too; see withdraw
	barred  bool     // halted by a check before anything was run: no task starts, whatever it says
	active  int      // tasks in somebody's hands here
	started bool
	touches int // tasks that were started in this life
	ended   bool
	left    bool // to a person, with tasks that wait for the decision
}

// task is the working copy of a state.TaskRun.
type task struct {
	r       *run
	rec     state.TaskRun
	spec    *reconcile.Task
	active  bool      // in the hands of a goroutine of ours
	foreign bool      // somebody else has or ended it; its record is to be read again
	stuck   bool      // left for a later resume
	why     string    // it is stuck: what it waits for, and what to do about that
	behind  string    // it is stuck: the task with its locks, which waits for a person
	since   time.Time // it waits for a lock; see wait
	told    time.Time // when that was said last
}

func newRun(j *job, rec state.Run, tasks []state.TaskRun) (*run, error) {
	r := &run{job: j, rec: rec, action: &j.plan.Actions[rec.Action]}
	if len(tasks) != len(r.action.Tasks) {
		return nil, fmt.Errorf("run %s has %d tasks, its stored plan %d", rec.ID, len(tasks), len(r.action.Tasks))
	}
	slices.SortFunc(tasks, func(a, b state.TaskRun) int { return a.Seq - b.Seq })
	for i, t := range tasks {
		own := &task{r: r, rec: t, spec: &r.action.Tasks[i], foreign: t.Status == state.Running}
		r.tasks = append(r.tasks, own)
		r.started = r.started || t.Attempt > 0
		if t.Status.Terminal() {
			r.learn(own)
		}
	}
	r.ended = r.over()
	return r, nil
}

func (t *task) ended() bool { return t.rec.Status.Terminal() }

// learn draws the conclusions for the waiting tasks from one that ended.
func (r *run) learn(t *task) {
	if r.halt != nil || t.rec.Attempt == 0 {
		return
	}
	bad := t.rec.Status == state.Failed || t.rec.Status == state.Attention
	switch {
	case t.spec.Stage == reconcile.StageBefore && strings.HasPrefix(t.rec.Reason, beforePrefix):
		r.barred = true
		r.halt = ends(state.Cancelled, t.rec.Reason, "a check of the backup plan failed (task %s): %s", t.rec.ID, t.rec.Error)
	case t.spec.Stage == reconcile.StageBefore && t.rec.Status == state.Skipped:
		r.halt = ends(state.Skipped, t.rec.Reason, "skipped by the pre script (task %s)", t.rec.ID)
	case t.spec.Stage == reconcile.StageBefore && t.rec.Status == state.Attention: // see undecided
	case t.spec.Stage == reconcile.StageBefore && !t.rec.Status.Good():
		r.halt = ends(state.Cancelled, PreScriptFailed, "the pre script failed (task %s)", t.rec.ID)
	case bad && t.spec.OnError == "halt":
		r.halt = ends(state.Cancelled, CancelledPolicy, "task %s failed", t.rec.ID)
	}
}

// over reports whether every task has ended.
func (r *run) over() bool {
	return !slices.ContainsFunc(r.tasks, func(t *task) bool { return !t.ended() })
}

// undecided reports whether nobody knows yet how what comes before all other work ended. Whether that may begin is a person's decision.
func (r *run) undecided() bool {
	return slices.ContainsFunc(r.tasks, func(t *task) bool {
		return t.spec.Stage == reconcile.StageBefore && t.rec.Status == state.Attention
	})
}

// blocked reports whether what is left of the run waits for a person's decision about one of its own tasks, which keep their locks.
func (r *run) blocked() bool {
	blocked, stage := false, r.stage()
	for _, t := range r.tasks {
		owner, _, _ := strings.Cut(t.behind, ".")
		switch {
		case t.ended(), t.spec.Stage > stage:
		case t.rec.Status == state.Pending && owner == r.rec.ID:
			blocked = true
		default:
			return false
		}
	}
	return blocked
}

// leftover says why the run has not ended.
func (r *run) leftover() Left {
	left := Left{Run: r.rec.ID, Idle: r.touches == 0}
	for _, t := range r.tasks {
		if t.stuck && t.why != "" {
			left.Task, left.Why = t.rec.ID, t.why
			return left
		}
	}
	for _, after := range r.action.After {
		for _, other := range r.job.runs {
			if other.rec.Action == after && !other.ended {
				left.Why = fmt.Sprintf("it comes after run %s, which has not ended", other.rec.ID)
				return left
			}
		}
	}
	left.Why = "to go on: holdfast apply --resume " + r.rec.ID
	return left
}

// withdraw ends what is left of a run whose object is switched off: what did not begin does not, and what did pays what it owes and ends.
func (r *run) withdraw(why string) {
	r.off = ends(state.Cancelled, reconcile.BackupsDisabled, "%s", why)
	if r.halt == nil {
		r.halt = r.off
	}
}

// held reports whether a waiting task does not start because the run was halted.
func (r *run) held(t *task) bool {
	if r.halt == nil || t.rec.Status != state.Pending {
		return false
	}
	return !t.spec.Always || r.barred || !r.touched() || r.undecided()
}

// touched reports whether any task was started.
func (r *run) touched() bool {
	return slices.ContainsFunc(r.tasks, func(t *task) bool { return t.rec.Attempt > 0 || t.active })
}

// stage is the lowest stage with a task that has not ended and is not held; the tasks of higher ones wait.
func (r *run) stage() int {
	low := reconcile.StageAfter + 1
	for _, t := range r.tasks {
		if !t.ended() && !r.held(t) {
			low = min(low, t.spec.Stage)
		}
	}
	return low
}

// outcome sums up the tasks of the stages below one.
func (r *run) outcome(stage int) state.Status {
	var all []state.Outcome
	for _, t := range r.tasks {
		if t.spec.Stage < stage {
			outcome := t.rec.Outcome()
			if r.held(t) {
				outcome.Status = r.halt.Status
			}
			all = append(all, outcome)
		}
	}
	return state.Summarise(all)
}

// status sums up the whole run.
func (r *run) status() state.Status {
	all := make([]state.Outcome, len(r.tasks))
	for i, t := range r.tasks {
		all[i] = t.rec.Outcome()
	}
	return state.Summarise(all)
}

// dependencies says whether the actions this one follows have ended, and whether all of them ended well.
func (r *run) dependencies() (over, good bool, err error) {
	good = true
	for _, i := range r.action.After {
		status, err := r.of(i)
		if err != nil || !status.Terminal() {
			return false, false, err
		}
		good = good && status.Good()
	}
	return true, good, nil
}

// of gives the status of the run of another action of the same plan.
func (j *job) of(action int) (state.Status, error) {
	for _, r := range j.runs {
		if r.rec.Action == action {
			switch {
			case r.left:
				return state.Attention, nil
			case !r.ended:
				return state.Running, nil
			}
			return r.status(), nil
		}
	}
	if action < 0 || action >= len(j.plan.Actions) {
		return "", fmt.Errorf("the stored plan %s has no action %d", j.id, action)
	}
	all, err := j.o.Backend.Runs(j.base, state.RunFilter{Address: j.plan.Actions[action].Address})
	if err != nil {
		return "", fmt.Errorf("read the runs of %s: %w", j.plan.Actions[action].Address, err)
	}
	i := slices.IndexFunc(all, func(r state.Run) bool { return r.Plan == j.id && r.Action == action && r.Status != state.Missed })
	if i < 0 {
		return "", fmt.Errorf("the stored plan %s has no run of %s", j.id, j.plan.Actions[action].Address)
	}
	return all[i].Status, nil
}

func (r *run) event(kind EventKind) Event {
	return Event{Kind: kind, Run: r.rec.ID, Address: r.rec.Address}
}

func (t *task) event(kind EventKind) Event {
	e := t.r.event(kind)
	e.Task, e.Activity, e.Device, e.Domain = t.rec.ID, t.rec.Activity, t.rec.Device, t.rec.Domain
	return e
}
