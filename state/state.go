// Package state holds the records of what happened and the contract of the
// state backend that keeps them. It decides which status may follow which; it does no I/O.
//
// Everything in it is stored: names and words here are a format.
package state

import (
	"encoding/json"
	"time"
)

// Meta identifies a recorded state.
type Meta struct {
	Lineage    string `json:"lineage"`    // made once; a plan from another lineage is refused
	Generation int64  `json:"generation"` // rises when desired objects, roles or protection are written; never for runs
	Schema     int    `json:"schema_version"`
	Engine     string `json:"engine"` // such as "sqlite 3.53.4"
	Hold       Hold   `json:"hold,omitzero"`
}

// Object is one applied block.
type Object struct {
	Address    string          `json:"address"`
	Spec       json.RawMessage `json:"spec"` // canonical JSON, see config.Spec
	Digest     string          `json:"digest"`
	Generation int64           `json:"generation"` // the state's generation when it was last written
	Protect    bool            `json:"protect,omitempty"`
	Identity   string          `json:"identity,omitempty"` // stores: what the place was initialised with
	Epoch      int64           `json:"epoch,omitempty"`    // stores: of the place; a lower one there is an older copy, 0 was never recorded
	Heads      []Head          `json:"heads,omitempty"`    // stores: how far its catalogue was seen to go, by writer
	Commit     string          `json:"commit,omitempty"`
	AppliedAt  time.Time       `json:"applied_at"`
	AppliedBy  string          `json:"applied_by"`
}

// Change is one write to the recorded objects. IfGeneration is the generation the object must still
// have, 0 for one that must not exist; otherwise the whole transaction is ErrStale.
type Change struct {
	Op           ChangeOp
	Address      string
	Previous     string // OpMove: the address it had
	IfGeneration int64
	Spec         json.RawMessage
	Digest       string
	Protect      bool
	Identity     string // kept when empty
	Epoch        int64  // kept when 0
	Heads        []Head // kept when nil
	Restart      bool   // the schedule of the object begins with this change: its cursor moves to At, if it is not later
	Commit       string
	By           string
	At           time.Time
}

// ChangeOp says what a Change does.
type ChangeOp string

const (
	OpPut    ChangeOp = "put"    // create or update
	OpMove   ChangeOp = "move"   // rename with its history, then put
	OpDelete ChangeOp = "delete" // forget the object; its runs and artifacts stay
)

// Role is who is active in a failover.
type Role struct {
	Failover string    `json:"failover"` // address
	Active   string    `json:"active"`   // site address
	Epoch    int64     `json:"epoch"`    // +1 with every role change
	State    RoleState `json:"state"`
	MovingTo string    `json:"moving_to,omitempty"` // site address while State is moving or uncertain
	Since    time.Time `json:"since"`
	Reason   string    `json:"reason,omitempty"`
	Run      string    `json:"run,omitempty"`
}

// RoleState says whether a role can be relied on.
type RoleState string

const (
	RoleSettled   RoleState = "settled"
	RoleMoving    RoleState = "moving"    // a switchover has started and not ended; mirrors of the group are suspended
	RoleUncertain RoleState = "uncertain" // a switchover ended with unknown outcome; a person decides
)

// RoleChange writes a role if its epoch is still IfEpoch (0: there is none), else ErrStale.
type RoleChange struct {
	Role
	IfEpoch int64
}

// Position is how far a mirror's target is complete.
type Position struct {
	Mirror   string    `json:"mirror"`   // address
	At       time.Time `json:"at"`       // the target holds the source at least as of then
	Finished time.Time `json:"finished"` // when the pass ended
	Files    int64     `json:"files"`
	Run      string    `json:"run"`
	Source   string    `json:"source"` // endpoint URLs of the pass
	Target   string    `json:"target"`
}

// Cursor is how far a schedule was followed: the newest nominal time for which a run exists, or when the schedule began. No time before it counts.
type Cursor struct {
	Address string    `json:"address"`
	Nominal string    `json:"nominal"` // empty: the schedule began then, and has no run yet
	At      time.Time `json:"at"`
}

// Artifact is the record of one committed artifact in one store.
type Artifact struct {
	ID         string          `json:"id"`
	Store      string          `json:"store"` // address
	BackupPlan string          `json:"backup_plan"`
	Run        string          `json:"run"`
	Task       string          `json:"task"`
	Device     string          `json:"device"` // address
	Domain     string          `json:"domain"`
	Action     string          `json:"action"`
	Variant    string          `json:"variant,omitempty"`
	Files      int             `json:"files"`
	Bytes      int64           `json:"bytes"`
	Manifest   json.RawMessage `json:"manifest"`
	State      ArtifactState   `json:"state"`
	Started    time.Time       `json:"started"`
	Verified   time.Time       `json:"verified"` // last time every byte was read back and matched
	Error      string          `json:"error,omitempty"`

	Quarantined time.Time `json:"quarantined,omitzero"` // when a check failed; zero when that was not recorded
	Pinned      bool      `json:"pinned,omitempty"`     // never deleted. Only Backend.Pin changes it
}

// ArtifactBrief is what decisions on artifacts need, without manifests.
type ArtifactBrief struct {
	ID          string        `json:"id"`
	Store       string        `json:"store"`
	BackupPlan  string        `json:"backup_plan"`
	Device      string        `json:"device"`
	Domain      string        `json:"domain"`
	Action      string        `json:"action"`
	Variant     string        `json:"variant,omitempty"`
	State       ArtifactState `json:"state"`
	Started     time.Time     `json:"started"`
	Verified    time.Time     `json:"verified"`
	Quarantined time.Time     `json:"quarantined,omitzero"`
	Bytes       int64         `json:"bytes"`
	Pinned      bool          `json:"pinned,omitempty"`
}

// Expiry begins the deletion of an artifact. It is allowed while no Hold forbids it, the artifact is not pinned, Newer good artifacts of its
// group - those of the same backup plan, store, device, domain, action and variant - are newer than it and another one of them
// was verified, and the objects are those that were planned with; otherwise the whole transaction is ErrStale. What is
// dated more than FutureLimit after the transaction counts for nothing. One whose deletion has begun or ended stays as it is.
type Expiry struct {
	Artifact string
	Newer    int              // at least 1
	Objects  map[string]int64 // generations by address

	// Asked says that a person named this artifact. Then no others of its group need be left; but if it is good, another good one of its
	// device and domain must be there, wherever it lies, unless it may be the Last.
	Asked bool
	Last  bool
}

// Reading is the outcome of reading an artifact back. A good artifact becomes verified at the time, or quarantined with the error. One that
// is quarantined, expiring or deleted stays as it is: a reading never undoes what was decided meanwhile, and it leaves the pin alone.
type Reading struct {
	Artifact string
	At       time.Time // when it was read; an earlier one than the recorded changes nothing unless it failed
	Error    string    // what was wrong; empty: every byte was there and matched
}

// FutureLimit is how far after the present an artifact may be dated before its time is taken for wrong.
const FutureLimit = 10 * time.Minute

// ArtifactState says what an artifact is worth.
type ArtifactState string

const (
	ArtifactGood        ArtifactState = "good"        // read back and matched at least once, never failed since
	ArtifactQuarantined ArtifactState = "quarantined" // a check failed; counts for nothing
	ArtifactExpiring    ArtifactState = "expiring"    // its deletion has begun and is only ever finished; counts for nothing
	ArtifactDeleted     ArtifactState = "deleted"     // removed from its store; the record stays
	ArtifactUnverified  ArtifactState = "unverified"  // found by its path alone, without a manifest; counts for nothing and is never deleted
)

// StoredPlan is a plan as it was when its first run began. Runs are resumed from it.
type StoredPlan struct {
	ID        string          `json:"id"`
	Digest    string          `json:"digest"`
	Body      json.RawMessage `json:"body"`
	CreatedAt time.Time       `json:"created_at"`
	CreatedBy string          `json:"created_by"`
}

// Observation is what was last seen of one object, as its observer wrote it.
type Observation struct {
	Address string          `json:"address"`
	At      time.Time       `json:"at"`
	Body    json.RawMessage `json:"body"`
}

// Snapshot is everything the planner reads, from one read transaction.
type Snapshot struct {
	Meta         Meta
	Objects      map[string]Object
	Roles        map[string]Role
	Positions    map[string]Position
	Cursors      map[string]Cursor
	Gaps         map[string]Gap      // the newest one of each schedule, if it is among its newest runs
	LastRuns     map[string]Run      // the newest run of each address
	LastGood     map[string]Run      // the newest run of each address that succeeded, also with warnings or in part; of a backup plan one that backed something up
	Artifacts    map[string]Holdings // by backup plan address
	Catalogue    []ArtifactBrief     // every artifact that is not deleted, in no particular order
	OpenRuns     []Run               // not ended, oldest first; also one in attention that has pending tasks
	Undecided    []Run               // with a task in attention, oldest first, whatever came after: a person decides
	Observations map[string]Observation
	Locks        []Lock
}

// Gap is a row of nominal times that passed without a run, as they were recorded together.
type Gap struct {
	From   time.Time `json:"from"` // the oldest of them
	To     time.Time `json:"to"`   // when they were recorded
	Missed int       `json:"missed"`
}

// Holdings sums up the good artifacts of one owner.
type Holdings struct {
	Count  int       `json:"count"`
	Bytes  int64     `json:"bytes"`
	Oldest time.Time `json:"oldest"`
	Newest time.Time `json:"newest"`
	Found  time.Time `json:"found,omitzero"` // the newest of them whose run is not recorded: a store told of it. Not set when a later run was good
}

// LastCommit is the commit most recently applied to any object, or "" when none is known.
func (s *Snapshot) LastCommit() string {
	var newest Object
	for _, o := range s.Objects {
		if o.Commit != "" && (o.Generation > newest.Generation || newest.Commit == "") {
			newest = o
		}
	}
	return newest.Commit
}
