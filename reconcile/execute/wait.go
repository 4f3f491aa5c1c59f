package execute

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-dr/holdfast/state"
)

// tellEvery is how often a task that waits says again what for.
const tellEvery = time.Minute

// wait tells what a task waits for, at once and then again and again. When nobody is left who could end the waiting, the task is left to a
// later resume.
func (d *dispatcher) wait(t *task) {
	k := d.keeper(t)
	if k.gone {
		t.stuck, t.behind, d.again = true, k.asks, true
		t.why = k.what + ". " + k.then
	} else {
		for _, l := range t.rec.Locks {
			d.busy[l] = true
		}
	}
	now := d.o.Now()
	if t.since.IsZero() {
		t.since = now
	}
	if !k.gone && !t.told.IsZero() && now.Sub(t.told) < tellEvery {
		return
	}
	t.told = now
	e := t.event(Waiting)
	e.Reason, e.Since = k.what, t.since
	d.emit(e)
}

// keeper is who keeps a task waiting.
type keeper struct {
	what string // which lock, and who has it
	gone bool   // nobody works on the task that has it
	then string // what a person has to type, then
	asks string // that task, when it waits for a decision
}

// keeper looks who has a lock that a task needs. What cannot be read is not known, and the task goes on waiting.
func (d *dispatcher) keeper(t *task) keeper {
	locks, err := d.o.Backend.Locks(d.base)
	if err != nil {
		return keeper{what: strings.Join(t.rec.Locks, ", ")}
	}
	i := slices.IndexFunc(locks, func(l state.Lock) bool { return slices.Contains(t.rec.Locks, l.Name) && l.Task != t.rec.ID })
	if i < 0 {
		return keeper{what: strings.Join(t.rec.Locks, ", ")}
	}
	l := locks[i]
	k := keeper{what: l.Name + ", which " + holder(l) + " holds"}
	run, _, _ := strings.Cut(l.Task, ".")
	switch d.statusOf(run, l.Task) {
	case state.Attention: // a decision may take days
		k.gone, k.asks, k.what = true, l.Task, fmt.Sprintf("%s, which task %s keeps until somebody decides", l.Name, l.Task)
		k.then = fmt.Sprintf("Look: holdfast history %s, then: holdfast task resolve %s --done | --failed | --retry", run, l.Task)
	case state.Interrupted:
		k.what = fmt.Sprintf("%s, which task %s keeps, that was interrupted", l.Name, l.Task)
		k.gone, k.then = !d.resumed(run, l.Task, locks), "Go on with that: holdfast apply --resume"
	}
	return k
}

// statusOf reads the status of a task; empty when it is not known.
func (d *dispatcher) statusOf(run, task string) state.Status {
	if task == "" {
		return ""
	}
	recs, err := d.o.Backend.Tasks(d.base, run)
	i := slices.IndexFunc(recs, func(r state.TaskRun) bool { return r.ID == task })
	if err != nil || i < 0 {
		return ""
	}
	return recs[i].Status
}

// resumed reports whether somebody is there who goes on with an interrupted task: whoever has taken its stored plan, unless that is this
// session, and has left the task.
func (d *dispatcher) resumed(run, task string, locks []state.Lock) bool {
	r, err := d.o.Backend.Run(d.base, run)
	if err != nil {
		return true // not known
	}
	i := slices.IndexFunc(locks, func(l state.Lock) bool { return l.Name == state.PlanLock(r.Plan) && !l.Expired(d.o.Now()) })
	return i >= 0 && (locks[i].Session != d.session.Epoch || !d.left(task))
}

// left reports whether a task of ours was left to a later resume.
func (d *dispatcher) left(task string) bool {
	for _, j := range d.jobs {
		for _, r := range j.runs {
			for _, t := range r.tasks {
				if t.rec.ID == task {
					return t.stuck
				}
			}
		}
	}
	return false
}

// holder names who holds a lock.
func holder(l state.Lock) string {
	who := l.Actor
	if who == "" {
		who = "somebody"
	}
	if l.PID != 0 {
		who += fmt.Sprintf(" (process %d)", l.PID)
	}
	if l.Task != "" {
		return "task " + l.Task + " of " + who
	}
	return who
}
