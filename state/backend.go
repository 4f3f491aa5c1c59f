package state

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// Conditions a caller decides on. Match with errors.Is.
var (
	ErrNotFound  = errors.New("not recorded")
	ErrStale     = errors.New("the record changed meanwhile")
	ErrFenced    = errors.New("another process took over")
	ErrDuplicate = errors.New("there is a run for this occurrence already")
	ErrBusy      = errors.New("held by another task")
	ErrLocked    = errors.New("locked")
	ErrCorrupt   = errors.New("the state is damaged")
	ErrSchema    = errors.New("the state was written by a newer version")
)

// Session is one life of one process that acts on the state. Its epoch is unique and grows.
type Session struct {
	Epoch   int64     `json:"epoch"`
	Host    string    `json:"host"`
	PID     int       `json:"pid"`
	Actor   string    `json:"actor"`
	Started time.Time `json:"started"`
}

// Lock is a held lock. Name ApplyLock is the one that `apply` and state edits take;
// others are taken by tasks and named after a device ("device/QA1"), a group or a mirror.
type Lock struct {
	Name      string    `json:"name"`
	Token     int64     `json:"token"` // fencing number; grows with every acquisition
	Session   int64     `json:"session,omitempty"`
	Task      string    `json:"task,omitempty"` // task locks: kept through a crash until the task ends
	Actor     string    `json:"actor"`
	Host      string    `json:"host,omitempty"`
	PID       int       `json:"pid,omitempty"`
	Operation string    `json:"operation,omitempty"` // such as "apply"; "hold" for an operator's freeze
	Reason    string    `json:"reason,omitempty"`
	Acquired  time.Time `json:"acquired"`
	Expires   time.Time `json:"expires,omitzero"`
	Gone      bool      `json:"gone,omitempty"` // the process that took it has ended; told by Locks and Snapshot, never stored
}

// ByPerson reports whether a person holds the lock, and not a process or a task.
func (l Lock) ByPerson() bool { return l.Session == 0 && l.Task == "" }

// Expired reports whether the lock holds nobody back any more. One of a task is kept for it.
func (l Lock) Expired(now time.Time) bool {
	return l.Task == "" && (l.Gone || !l.Expires.IsZero() && !l.Expires.After(now))
}

// ApplyLock is the name of the one lock under which desired state is written.
const ApplyLock = "apply"

// PlanLock is the name of the lock that whoever works on the runs of a stored plan has.
func PlanLock(plan string) string { return "plan/" + plan }

// LockedError says who holds a lock. It is ErrLocked.
type LockedError struct{ Lock Lock }

func (e *LockedError) Error() string {
	msg := fmt.Sprintf("the %s lock is held by %s", e.Lock.Name, e.Lock.Actor)
	if e.Lock.Host != "" {
		msg += fmt.Sprintf(" (%s, process %d)", e.Lock.Host, e.Lock.PID)
	}
	msg += " since " + e.Lock.Acquired.UTC().Format(time.RFC3339)
	if e.Lock.ByPerson() && !e.Lock.Expires.IsZero() {
		msg += " until " + e.Lock.Expires.UTC().Format(time.RFC3339)
	}
	if e.Lock.Operation != "" {
		msg += " for " + e.Lock.Operation
	}
	if e.Lock.Reason != "" {
		msg += ": " + e.Lock.Reason
	}
	return msg
}

func (e *LockedError) Is(target error) bool { return target == ErrLocked }

// StaleError names the record that broke a precondition. It is ErrStale.
type StaleError struct{ What string }

func (e *StaleError) Error() string        { return e.What + ". Make a new plan." }
func (e *StaleError) Is(target error) bool { return target == ErrStale }

// DuplicateError names the run that an occurrence has already. It is ErrDuplicate.
type DuplicateError struct {
	Address    string
	Trigger    Trigger
	TriggerKey string
	Run        string // the run that is there
}

func (e *DuplicateError) Error() string {
	return fmt.Sprintf("%s has run %s for %s %s already", e.Address, e.Run, e.Trigger, e.TriggerKey)
}

func (e *DuplicateError) Is(target error) bool { return target == ErrDuplicate }

// NewRun is a run to be created with its tasks. IDs are given by the backend; a task born
// skipped carries its final status and reason.
type NewRun struct {
	Run    Run
	Tasks  []TaskRun
	Cursor *Cursor // moves the schedule's cursor in the same transaction
}

// Claim is the right to work on one task. Every journal write names it; after another
// session took the task over, the write is ErrFenced.
type Claim struct {
	Task    string
	Session int64
	Attempt int64
	Token   int64 // fencing number of the task's first lock, for providers that can check it
}

// Entry is one journal transaction: all of it is committed, durably, or nothing.
type Entry struct {
	End       *StepRun     // outcome of the open step
	Begin     *StepRun     // intent of the next step
	Finish    *TaskRun     // the task's terminal (or interrupted) status; releases its locks unless interrupted or in attention with an unpaid duty, and settles the run
	Duties    []Duty       // opened
	Paid      []string     // names of duties of this task
	Artifacts []Artifact   // put by ID; one that is recorded and no longer good stays as it is
	Readings  []Reading    // outcomes of reading artifacts back; one that is not recorded is ErrNotFound
	Expire    []Expiry     // artifacts whose deletion begins
	Deleted   []string     // artifacts that are gone from their stores; one whose deletion had not begun is ErrStale
	Changes   []Change     // recorded objects, such as a store that was initialised
	Sights    []StoreSight // what was seen of stores; only ever raises what is recorded
	Roles     []RoleChange //
	Positions []Position   //
	At        time.Time    // when; goes into every row of the entry
}

// Resolution is a person's decision about a task in attention, with what follows from it.
type Resolution struct {
	Task    string
	Attempt int64     // of the task as the person saw it; 0: any
	To      Status    // Succeeded, Warned or Failed; Interrupted: a resume goes on with it
	Steps   []StepRun // by index, which were begun: their new State, Output and Error. One with an intent is open again
	Paid    []string  // names of duties of the task
	Code    string    // the Reason of the task from then on
	Error   string    // its Error from then on
	Actor   string
	Reason  string // why; for the log
	At      time.Time
}

// Backend keeps the recorded state. Every write is durable when it returns nil. An error that is none of
// the above means unknown: the same call may be made again, since all are idempotent by their keys and fences.
// Writes of several goroutines may share one durable commit. Contexts must be cancellable.
type Backend interface {
	Meta(ctx context.Context) (Meta, error)
	// Snapshot reads what the planner needs, in one read transaction. It waits for no writer.
	Snapshot(ctx context.Context) (*Snapshot, error)

	// OpenSession starts a session and takes back what sessions of dead processes held: their running tasks become
	// interrupted, their apply lock is freed. A process is dead when the operating system says so, or its lock expired.
	OpenSession(ctx context.Context, s Session) (Session, error)
	// CloseSession ends it; tasks it still runs become interrupted.
	CloseSession(ctx context.Context, epoch int64) error

	// AcquireLock takes a named lock for a session, or is a *LockedError. A dead or expired holder loses it.
	AcquireLock(ctx context.Context, l Lock) (Lock, error)
	// RenewLock moves the expiry; ErrFenced when the lock was lost.
	RenewLock(ctx context.Context, l Lock) error
	// ReleaseLock gives it back; a lock already lost is no error.
	ReleaseLock(ctx context.Context, l Lock) error
	// BreakLock removes whatever holds the name (an operator's decision) and tells whom it was taken from. Reason is kept in the log of edits.
	BreakLock(ctx context.Context, name, actor, reason string, at time.Time) (Lock, error)
	Locks(ctx context.Context) ([]Lock, error)

	// Record writes desired objects and roles under the apply lock, in one transaction that
	// raises the generation by one. Nothing to write changes nothing.
	Record(ctx context.Context, l Lock, changes []Change, roles []RoleChange) (generation int64, err error)

	// Begin stores a plan and creates its runs with all tasks in one transaction, before any step. An occurrence that
	// has a run already is ErrDuplicate and nothing is created. The runs come back with their IDs.
	Begin(ctx context.Context, p StoredPlan, runs []NewRun) ([]Run, error)
	// Claim makes a pending or interrupted task running and takes its locks, or is ErrBusy (a lock is held by another
	// task) or ErrStale (the task is not waiting, or its run waits for a person; see Await). With ErrBusy, what dead processes
	// held is taken back as by OpenSession: a running task is in the hands of a living one.
	Claim(ctx context.Context, session int64, task string, at time.Time) (Claim, error)
	// Journal writes one entry for a claimed task.
	Journal(ctx context.Context, c Claim, e Entry) error
	// Cancel ends every pending task of a run with a status and reason, and settles the run.
	Cancel(ctx context.Context, run string, status Status, reason, msg string, at time.Time) error
	// Await leaves a running run to a person: its status is attention, and its pending tasks stay pending and cannot be claimed, until
	// a task of it in attention is resolved. ErrStale when no task is in attention, or one is running or interrupted.
	Await(ctx context.Context, run string, at time.Time) error
	// Resolve records what a person decided about a task in attention, and logs who did it. With an end, locks that it kept are
	// released. A task that is not in attention, or was tried again meanwhile, is ErrStale.
	Resolve(ctx context.Context, r Resolution) error

	Plan(ctx context.Context, id string) (StoredPlan, error)
	Run(ctx context.Context, id string) (Run, error)
	Runs(ctx context.Context, f RunFilter) ([]Run, error)
	Tasks(ctx context.Context, run string) ([]TaskRun, error)
	Steps(ctx context.Context, task string) ([]StepRun, error)
	Duties(ctx context.Context, task string) ([]Duty, error)
	Artifacts(ctx context.Context, f ArtifactFilter) ([]Artifact, error)
	// PutArtifact writes a whole record of an artifact; ErrStale when its deletion has begun. It leaves the pin alone.
	PutArtifact(ctx context.Context, a Artifact) error
	// PutReading writes the outcome of a reading made outside a run, and gives the state of the artifact after it; ErrNotFound when it is not recorded.
	PutReading(ctx context.Context, r Reading) (ArtifactState, error)
	// PutSight raises what is recorded of a store after it was changed outside a run, as by a sweep. A store that is not recorded is no error.
	PutSight(ctx context.Context, seen StoreSight) error
	// Pin keeps an artifact from deletion, or no longer does, and logs who did it; ErrStale when its deletion has begun.
	Pin(ctx context.Context, artifact string, pinned bool, actor, reason string, at time.Time) error
	// Recover takes in what a store alone tells of its artifacts, under the apply lock and in one transaction. What the
	// record knows better stays: see Artifact.Recovered. The same call again changes nothing more.
	Recover(ctx context.Context, l Lock, r Recovery) (RecoveryResult, error)
	// Hold sets until when nothing is deleted, or with the zero Hold ends that, and logs who did it.
	Hold(ctx context.Context, h Hold, actor, reason string, at time.Time) error
	// Observe stores what was last seen; it never raises the generation.
	Observe(ctx context.Context, o []Observation) error

	// Export writes the whole state as JSON lines without secrets; the form is versioned.
	Export(ctx context.Context, w io.Writer) error
	// Backup writes a consistent copy of the backend's own form to a new file.
	Backup(ctx context.Context, path string) error
	// Log adds one entry to the log of operator edits.
	Log(ctx context.Context, at time.Time, actor, action, object string, detail json.RawMessage) error
	Close() error
}

// RunFilter selects runs, newest first. Zero fields select all.
type RunFilter struct {
	Address string
	Open    bool // only those not ended: also one in attention that has pending tasks
	Limit   int
}

// ArtifactFilter selects artifacts, newest first. Zero fields select all.
type ArtifactFilter struct {
	ID         string
	BackupPlan string
	Device     string // address
	Domain     string
	Store      string
	Run        string
	Task       string
	State      ArtifactState
	Limit      int
}
