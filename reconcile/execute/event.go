package execute

import (
	"time"

	"github.com/holdfast-dr/holdfast/state"
)

// Event tells an observer what just happened. It is no record: the journal is.
type Event struct {
	Time time.Time `json:"time"`
	Kind EventKind `json:"kind"`

	Run      string       `json:"run,omitempty"`
	Task     string       `json:"task,omitempty"`
	Step     string       `json:"step,omitempty"`
	Address  string       `json:"address,omitempty"`  // the object the run is about
	Activity string       `json:"activity,omitempty"` // of the backup plan; also its script
	Device   string       `json:"device,omitempty"`
	Domain   string       `json:"domain,omitempty"`
	Status   state.Status `json:"status,omitempty"`
	Reason   string       `json:"reason,omitempty"` // a code, or for waiting: what for
	Error    string       `json:"error,omitempty"`
	Files    int64        `json:"files,omitempty"` // so far
	Bytes    int64        `json:"bytes,omitempty"`
	Total    int64        `json:"total,omitempty"`   // of progress: bytes that are expected, from earlier runs or a look; Bytes may end below or above it
	ByRuns   int64        `json:"by_runs,omitempty"` // of a recorded plan: changes that its runs record when what they do is done
	Since    time.Time    `json:"since,omitzero"`    // of waiting for a lock: when that began
	Until    time.Time    `json:"until,omitzero"`    // of what takes its time: when it ends at the latest, one way or another
}

// EventKind says what an Event is about.
type EventKind string

const (
	PlanRecorded EventKind = "plan_recorded" // changes were written; Files counts them
	RunStarted   EventKind = "run_started"
	RunDone      EventKind = "run_done"
	TaskStarted  EventKind = "task_started"
	TaskDone     EventKind = "task_done"
	StepStarted  EventKind = "step_started"
	StepDone     EventKind = "step_done"
	StepRetry    EventKind = "step_retry"
	Progress     EventKind = "progress"
	Waiting      EventKind = "waiting"      // for a lock, whose holder Reason names, again every minute; or for a device that takes its time
	Resumed      EventKind = "resumed"      // a task goes on where it was interrupted
	DutyStarted  EventKind = "duty_started" // what a task left behind is being undone; Step names the duty
	DutyPaid     EventKind = "duty_paid"    // Step names the duty
	TakenOver    EventKind = "taken_over"   // another process has the task or run
)

func (x *Executor) emit(e Event) {
	x.mu.Lock()
	defer x.mu.Unlock()
	e.Time = x.o.Now().UTC()
	x.o.Events(e)
}
