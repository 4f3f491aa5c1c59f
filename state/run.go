package state

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Status is where a run or a task stands.
//
//	pending --> running --> succeeded | warned | failed | partial | attention
//	   |           |
//	   |           +--> interrupted --> running          (crash or friendly stop; resumed later)
//	   +--> skipped | cancelled | missed
//
// A terminal status never changes, except that attention is resolved by a person.
type Status string

const (
	Pending     Status = "pending"
	Running     Status = "running"
	Interrupted Status = "interrupted" // not ended and nobody works on it
	Succeeded   Status = "succeeded"
	Warned      Status = "succeeded_with_warnings"
	Partial     Status = "partial" // runs only: some of the work succeeded, and something failed
	Failed      Status = "failed"
	Skipped     Status = "skipped"
	Cancelled   Status = "cancelled"
	Missed      Status = "missed"    // runs only: its nominal time passed and it will not run
	Attention   Status = "attention" // outcome unknown; a person decides
)

var nextStatus = map[Status][]Status{
	Pending:     {Running, Interrupted, Skipped, Cancelled, Missed, Failed},
	Running:     {Interrupted, Succeeded, Warned, Partial, Failed, Skipped, Cancelled, Attention},
	Interrupted: {Running, Cancelled, Failed, Attention},
	Attention:   {Running, Interrupted, Succeeded, Failed, Cancelled},
}

// To checks a change of status and gives the new one.
func (s Status) To(next Status) (Status, error) {
	for _, ok := range nextStatus[s] {
		if ok == next {
			return next, nil
		}
	}
	return s, fmt.Errorf("a status cannot change from %s to %s", s, next)
}

// Terminal reports whether nothing more happens by itself.
func (s Status) Terminal() bool { return s != Pending && s != Running && s != Interrupted }

// Words says the status of something in a sentence, such as "has succeeded".
func (s Status) Words() string {
	switch s {
	case Pending:
		return "has not begun"
	case Running:
		return "is running"
	case Interrupted:
		return "was interrupted"
	case Succeeded:
		return "has succeeded"
	case Warned:
		return "has succeeded with warnings"
	case Partial:
		return "has succeeded in part"
	case Failed:
		return "has failed"
	case Missed:
		return "was missed"
	case Attention:
		return "waits for a person's decision"
	}
	return "was " + string(s) // skipped, cancelled
}

// Good reports whether the work was done.
func (s Status) Good() bool { return s == Succeeded || s == Warned }

// Trigger says why a run exists. With the address and the key it is unique: the same
// occurrence never becomes two runs.
type Trigger string

const (
	TriggerSchedule Trigger = "schedule" // key: the nominal time, "2026-10-25T02:30"
	TriggerManual   Trigger = "manual"   // key: an id of the request
	TriggerApply    Trigger = "apply"    // key: an id of the plan
)

// Run is one execution of one action of a plan on one object: IBM DPOD's plan execution.
type Run struct {
	ID         string    `json:"id"` // a number, given by the backend
	Plan       string    `json:"plan"`
	Action     int       `json:"action"`  // index into the stored plan's actions
	Address    string    `json:"address"` // the object
	Kind       string    `json:"kind"`    // backup | mirror | failover | store
	Trigger    Trigger   `json:"trigger"`
	TriggerKey string    `json:"trigger_key"`
	DueAt      time.Time `json:"due_at,omitzero"`
	Commit     string    `json:"commit,omitempty"`
	Actor      string    `json:"actor"`
	Status     Status    `json:"status"`
	Reason     string    `json:"reason,omitempty"` // code, or why it is due
	Error      string    `json:"error,omitempty"`
	CreatedAt  time.Time `json:"created_at"`
	StartedAt  time.Time `json:"started_at,omitzero"`
	EndedAt    time.Time `json:"ended_at,omitzero"`

	Devices   int `json:"devices"` // distinct, over tasks that were to back something up
	Domains   int `json:"domains"`
	Succeeded int `json:"succeeded"` // tasks
	Failed    int `json:"failed"`
	Skipped   int `json:"skipped"` // also cancelled
	Total     int `json:"total"`

	SourceFiles int64 `json:"source_files"` // what its tasks protected; see TaskRun
	SourceBytes int64 `json:"source_bytes"`
}

// Working reports whether somebody works on an open run, as the locks tell. Nobody does on one that is interrupted, or whose process has ended.
func (r Run) Working(locks []Lock, now time.Time) bool {
	return r.Status != Interrupted && slices.ContainsFunc(locks, func(l Lock) bool { return l.Name == PlanLock(r.Plan) && !l.Expired(now) })
}

// Standing is the run as it stands: one that is recorded as running, and on which nobody works, was interrupted.
func (r Run) Standing(locks []Lock, now time.Time) Run {
	if r.Status == Running && !r.Working(locks, now) {
		r.Status = Interrupted
	}
	return r
}

// TaskRun is one task of a run: one action on one target.
type TaskRun struct {
	ID       string          `json:"id"` // run "." seq, such as "12.3"
	Run      string          `json:"run"`
	Seq      int             `json:"seq"` // from 1, in order of creation
	Kind     string          `json:"kind"`
	Activity string          `json:"activity,omitempty"`
	Device   string          `json:"device,omitempty"`
	Domain   string          `json:"domain,omitempty"`
	Action   string          `json:"action,omitempty"`
	Locks    []string        `json:"locks,omitempty"`
	Status   Status          `json:"status"`
	Reason   string          `json:"reason,omitempty"` // code, such as SKIPPED_DEVICE_NOT_AVAILABLE
	Error    string          `json:"error,omitempty"`
	Owner    int64           `json:"owner,omitempty"` // session epoch while running
	Attempt  int64           `json:"attempt"`         // raised by every claim
	StatusAt time.Time       `json:"status_at"`
	Started  time.Time       `json:"started_at,omitzero"`
	Ended    time.Time       `json:"ended_at,omitzero"`
	Files    int             `json:"files"` // committed to a store, or copied by a mirror
	Bytes    int64           `json:"bytes"`
	Errors   int             `json:"errors"` // failed attempts at files
	Output   json.RawMessage `json:"output,omitempty"`

	// What is protected by what was committed or copied, as it counts at its source; 0: the source does not tell.
	SourceFiles int64 `json:"source_files"`
	SourceBytes int64 `json:"source_bytes"`
}

// Class says how a step may be restarted when its outcome is unknown.
type Class string

const (
	Rerun Class = "rerun" // idempotent: run it again
	Check Class = "check" // ask the world whether it happened, then record or run
	Halt  Class = "halt"  // never run twice; a person looks
)

// StepState is where a step stands.
type StepState string

const (
	StepIntent  StepState = "intent" // begun; whether it happened is not recorded yet
	StepDone    StepState = "done"
	StepFailed  StepState = "failed"
	StepSkipped StepState = "skipped"
	StepUnknown StepState = "unknown" // nobody knows whether it happened, and a person is asked; in an interrupted task: to be tried again
	StepTold    StepState = "told"    // a person says that it happened; what it left is still to be seen
)

// StepRun is one step of a task.
type StepRun struct {
	Task    string          `json:"task"`
	Index   int             `json:"index"` // from 0, of the plan's step list
	Name    string          `json:"name"`
	Class   Class           `json:"class"`
	State   StepState       `json:"state"`
	Session int64           `json:"session"` // epoch that wrote the intent
	Attempt int64           `json:"attempt"` // of the task
	Input   json.RawMessage `json:"input,omitempty"`
	Output  json.RawMessage `json:"output,omitempty"`
	Error   string          `json:"error,omitempty"`
	Began   time.Time       `json:"began"`
	Ended   time.Time       `json:"ended,omitzero"`
}

// Duty is something that must still be done for a task, whatever happens: it is
// written with the intent that makes it necessary and paid before anything else after a crash.
type Duty struct {
	Task string          `json:"task"`
	Name string          `json:"name"` // such as "unquiesce"
	Args json.RawMessage `json:"args,omitempty"`
	Paid bool            `json:"paid"`
}

// Why says what went wrong with tasks that did not all end well: the first bad one, with its error or code, and how many more there are. Where
// something failed, only that counts: the rest was skipped or cancelled for other reasons, or because of it.
func Why(tasks []TaskRun) string {
	failed := func(t TaskRun) bool { return t.Status == Failed || t.Status == Attention }
	any := slices.ContainsFunc(tasks, failed)
	first, more := "", 0
	for _, t := range tasks {
		switch text := cmp.Or(t.Error, t.Reason); {
		case !t.Status.Terminal() || t.Status.Good() || text == "" || any && !failed(t):
		case first == "":
			first = t.ID + ": " + text
		default:
			more++
		}
	}
	if more > 0 {
		first += fmt.Sprintf(" (and %d more)", more)
	}
	return first
}

// KindScript is the kind of a task that is a script around the work, and not work.
const KindScript = "script"

// Outcome is what counts of a task for the status of its run.
type Outcome struct {
	Status Status
	Script bool // it is not work: that it ended well does not make its run one that did something
}

// Outcome gives what counts of the task for the status of its run.
func (t TaskRun) Outcome() Outcome { return Outcome{Status: t.Status, Script: t.Kind == KindScript} }

// Summarise gives the status of a run from the outcomes of its tasks; it is the only source of a run's status. What was done is told by
// the work alone; what failed or is open, by scripts as well.
func Summarise(tasks []Outcome) Status {
	var done, warned, failed, cancelled, attention, interrupted, open int
	for _, t := range tasks {
		switch t.Status {
		case Succeeded, Warned:
			if !t.Script {
				done++
			}
			if t.Status == Warned {
				warned++
			}
		case Failed:
			failed++
		case Skipped:
		case Cancelled:
			cancelled++
		case Attention:
			attention++
		case Interrupted:
			interrupted++
		default:
			open++
		}
	}
	switch {
	case open > 0:
		return Running
	case interrupted > 0:
		return Interrupted
	case attention > 0:
		return Attention
	case failed+cancelled > 0 && done > 0:
		return Partial
	case failed > 0:
		return Failed
	case cancelled > 0:
		return Cancelled
	case done > 0 && warned > 0:
		return Warned
	case done > 0:
		return Succeeded
	default:
		return Skipped
	}
}
