// Package reconcile holds the plan: a document that says everything that is to be done, on which assumptions, and what each check at run
// time leads to. Apply decides nothing.
//
// reconcile/planner makes plans and reconcile/recovery those of restores; reconcile/observe looks at the world for them,
// reconcile/execute carries them out, and reconcile/status says how things stand. This package is pure, as those that decide are.
package reconcile

import (
	"encoding/json"
	"time"

	"github.com/holdfast-dr/holdfast/config/diag"
	"github.com/holdfast-dr/holdfast/state"
)

// FormatVersion is the version of the plan's JSON. It rises when a reader of the old form would misunderstand the new one.
const FormatVersion = "1.0"

// Class says how grave a change is. The order is the order of the constants.
type Class string

const (
	ClassNone    Class = "none"    // nothing a person must see
	ClassSafe    Class = "safe"    // adds protection or changes nothing that exists
	ClassDegrade Class = "degrade" // weakens protection
	ClassDestroy Class = "destroy" // loses recorded objects or data
	ClassRole    Class = "role"    // moves the active side of a failover
)

// Plan is what is to be done, and on what assumptions. It contains everything its
// execution needs, and no secret.
type Plan struct {
	FormatVersion string    `json:"format_version"`
	Version       string    `json:"holdfast_version"`
	Timestamp     time.Time `json:"timestamp"`
	Environment   string    `json:"environment"`
	Mode          Mode      `json:"mode"`
	Applyable     bool      `json:"applyable"` // there is something to do and nothing forbids it
	Complete      bool      `json:"complete"`  // false: targeted, or something could not be inspected
	Errored       bool      `json:"errored"`   // planning found errors; Findings has them
	Digest        string    `json:"digest"`    // of changes, actions, deletions and preconditions; not of times and estimates
	ExpiresAt     time.Time `json:"expires_at,omitzero"`

	Config    ConfigInfo    `json:"config"`
	Base      *ConfigInfo   `json:"base,omitempty"` // ModeCompare: what Config is compared with; its Ref is what was asked for
	State     StateInfo     `json:"state"`
	Inventory InventoryInfo `json:"inventory"`

	Changes       []Change          `json:"changes"`
	Actions       []Action          `json:"actions"`
	Deferred      []Deferred        `json:"deferred"`
	Drift         []Drift           `json:"drift"`
	Roles         []RoleStatus      `json:"roles"`
	Findings      []diag.Diagnostic `json:"findings"`
	Preconditions []Precondition    `json:"preconditions"`
	Gates         []Gate            `json:"gates"` // what must be allowed explicitly
	Deletions     []Deletion        `json:"deletions,omitempty"`
	Restore       *Restore          `json:"restore,omitempty"` // ModeRestore: what is put where
	Summary       Summary           `json:"summary"`

	// Objects are the specifications the actions' steps refer to, by address.
	Objects  map[string]Spec `json:"objects"`
	Parallel int             `json:"parallel"` // most tasks at one time
}

// Mode says what was asked for.
type Mode string

const (
	ModeApply   Mode = "apply"   // bring recorded to desired and do what is due
	ModeRun     Mode = "run"     // start one object's work now
	ModeDestroy Mode = "destroy" // remove every object
	ModeRestore Mode = "restore" // put one artifact's content back; see reconcile/recovery
	ModeDelete  Mode = "delete"  // delete one artifact that a person named; see reconcile/recovery
	ModeCompare Mode = "compare" // only the difference between two configurations; never applied
)

// ConfigInfo says which configuration was planned.
type ConfigInfo struct {
	Repo    string    `json:"repo,omitempty"` // without credentials
	Path    string    `json:"path,omitempty"`
	Ref     string    `json:"ref,omitempty"`
	Commit  string    `json:"commit,omitempty"`
	Subject string    `json:"subject,omitempty"`
	Author  string    `json:"author,omitempty"`
	Time    time.Time `json:"time,omitzero"`
	Dirty   bool      `json:"dirty,omitempty"`
	Digest  string    `json:"digest"` // of all specifications
}

// StateInfo says which recorded state was planned against.
type StateInfo struct {
	Lineage    string `json:"lineage"`
	Generation int64  `json:"generation"`
}

// InventoryInfo says how fresh the observations are.
type InventoryInfo struct {
	TakenAt time.Time `json:"taken_at,omitzero"`
	Source  string    `json:"source"` // live | recorded | none
}

// Spec is what a provider is opened with.
type Spec struct {
	Type     string          `json:"type,omitempty"`
	Spec     json.RawMessage `json:"spec"`
	Identity string          `json:"identity,omitempty"` // stores
	Epoch    int64           `json:"epoch,omitempty"`    // stores: as recorded when the plan was made
	Heads    []state.Head    `json:"heads,omitempty"`    // stores: the same; not in the digest, since every backup changes them
	Behind   string          `json:"behind,omitempty"`   // stores: why nothing may be written to it: the state is older than it
}

// ChangeAction says what happens to a record.
type ChangeAction string

const (
	Create ChangeAction = "create"
	Update ChangeAction = "update"
	Delete ChangeAction = "delete"
	Forget ChangeAction = "forget" // delete the record, keep its data
	Move   ChangeAction = "move"   // new address, same history
	Adopt  ChangeAction = "adopt"  // record what is already so
)

// Change is one difference between desired and recorded.
type Change struct {
	Address      string          `json:"address"`
	Previous     string          `json:"previous_address,omitempty"`
	Action       ChangeAction    `json:"action"`
	Class        Class           `json:"class"`
	Before       json.RawMessage `json:"before,omitempty"`
	After        json.RawMessage `json:"after,omitempty"`
	Paths        []string        `json:"paths,omitempty"` // arguments that differ, "activity[0].devices"
	Note         string          `json:"note,omitempty"`  // one line for people
	Protect      bool            `json:"protect,omitempty"`
	Identity     string          `json:"identity,omitempty"`
	IfGeneration int64           `json:"if_generation"`       // of the recorded object; 0: there is none
	ByAction     bool            `json:"by_action,omitempty"` // recorded by the action of the same address when it ended well, not at once
	Restart      bool            `json:"restart,omitempty"`   // of a backup plan: its schedule counts from when this is recorded
	Range        diag.Range      `json:"range,omitzero"`
}

// Deferred is due work that may not start now.
type Deferred struct {
	Address string    `json:"address"`
	Kind    string    `json:"kind"`
	Reason  string    `json:"reason"`         // why it is due, in words
	Code    string    `json:"code,omitempty"` // why it does not start, where IBM DPOD has a code for it
	Waits   string    `json:"waits"`          // what for, in words, with the time
	Until   time.Time `json:"until,omitzero"`
}

// Drift is a difference between recorded and observed. Nothing is done about it by itself.
type Drift struct {
	Address string `json:"address"`
	Summary string `json:"summary"`
	Detail  string `json:"detail,omitempty"`
}

// RoleStatus shows a failover whose role is worth a line.
type RoleStatus struct {
	Failover  string    `json:"failover"`
	Active    string    `json:"active,omitempty"` // site address
	Preferred string    `json:"preferred"`
	Epoch     int64     `json:"epoch"`
	State     string    `json:"state"` // settled | displaced | moving | uncertain | conflict
	Since     time.Time `json:"since,omitzero"`
	Note      string    `json:"note"`
}

// Precondition must still hold when the plan is applied. Checking is named in the message when it does not.
type Precondition struct {
	Kind    PreconditionKind `json:"kind"`
	Address string           `json:"address,omitempty"`
	Want    string           `json:"want"`
}

// PreconditionKind names what is compared.
type PreconditionKind string

const (
	NeedLineage    PreconditionKind = "lineage"
	NeedGeneration PreconditionKind = "generation" // of one object; Want 0: it must not exist
	NeedRoleEpoch  PreconditionKind = "role_epoch"
	NeedDescends   PreconditionKind = "commit_descends" // the last applied commit the plan was made against
	NeedArtifact   PreconditionKind = "artifact"        // the state of the artifact with the ID in Address
	NeedDeleteSet  PreconditionKind = "delete_set"      // the artifacts of one Deletion: none is pinned or back to life
	NeedNotAfter   PreconditionKind = "not_after"
)

// Gate is something that is done only when it was allowed explicitly.
type Gate struct {
	Allow   string `json:"allow"` // the flag that opens it: "--allow=destroy", "--allow-delete=7"
	Class   Class  `json:"class,omitempty"`
	Deletes int    `json:"deletes,omitempty"`
	Reason  string `json:"reason"`
}

// Summary counts what the plan holds.
type Summary struct {
	Add      int `json:"add"`
	Change   int `json:"change"`
	Destroy  int `json:"destroy"`
	Move     int `json:"move"`
	Actions  int `json:"actions"`
	Tasks    int `json:"tasks"`
	Skipped  int `json:"skipped"` // tasks
	Deferred int `json:"deferred"`
	Drift    int `json:"drift"`
	Deletes  int `json:"deletes,omitempty"` // artifacts
}

// Deletion is what one retention, or a person, deletes with this plan: these artifacts and no others.
type Deletion struct {
	Address        string    `json:"address"` // of the retention; of the device with ModeDelete
	Count          int       `json:"count"`
	Bytes          int64     `json:"bytes"`
	Oldest         time.Time `json:"oldest"`
	Newest         time.Time `json:"newest"`
	LookBackBefore int64     `json:"look_back_before"` // seconds from the oldest to the newest good artifact of the group with the longest look-back
	LookBackAfter  int64     `json:"look_back_after"`
	IDs            []string  `json:"ids"`
	IDsDigest      string    `json:"ids_digest"`
}

// Empty reports whether there is nothing to do.
func (p *Plan) Empty() bool { return len(p.Changes) == 0 && len(p.Actions) == 0 }

// Action is the work on one object; it becomes one run.
type Action struct {
	Address    string        `json:"address"`
	Kind       ActionKind    `json:"kind"`
	Class      Class         `json:"class"`
	Reason     string        `json:"reason"` // in words: "never run", "due since Tue 23:00"
	Trigger    state.Trigger `json:"trigger"`
	TriggerKey string        `json:"trigger_key"` // empty with TriggerApply and TriggerManual: the executor puts the plan's ID, or with ModeRestore what is the same for every copy of the plan
	Nominal    string        `json:"nominal,omitempty"`
	DueAt      time.Time     `json:"due_at,omitzero"`
	After      []int         `json:"after,omitempty"` // indexes of actions that must have ended well first
	Parallel   int           `json:"parallel,omitempty"`
	Summary    string        `json:"summary,omitempty"` // one line for people: "first sync, 12 files, 3 MiB"
	Space      *Space        `json:"space,omitempty"`   // backups: what they need and what is free
	Tasks      []Task        `json:"tasks"`
	Missed     []Missed      `json:"missed,omitempty"` // nominal times that passed and will not run; each becomes a run of status missed
}

// Missed is a nominal time that passed while nothing could run.
type Missed struct {
	Nominal string    `json:"nominal"`
	At      time.Time `json:"at"`
}

// Space is the room that the backups of an action need in their store, as far as former artifacts tell.
type Space struct {
	Store   string `json:"store"`             // address
	Needs   int64  `json:"needs"`             // bytes: the estimates of its tasks
	Unknown int    `json:"unknown,omitempty"` // tasks without an estimate: nothing of them was taken before
	Free    int64  `json:"free"`              // bytes that may be written when it was looked at; -1: not known
}

// ActionKind says what an action is.
type ActionKind string

const (
	ActionStore    ActionKind = "store"    // initialise a place
	ActionBackup   ActionKind = "backup"   //
	ActionMirror   ActionKind = "mirror"   // one pass
	ActionFailover ActionKind = "failover" // establish or move the role

	ActionRetention ActionKind = "retention" // delete what no rule keeps
	ActionVerify    ActionKind = "verify"    // read artifacts of a store back
	ActionRestore   ActionKind = "restore"   // put an artifact's content back
	ActionDelete    ActionKind = "delete"    // delete one artifact, because a person asked for it
)

// Stages order the tasks of an action: no task starts before every task of a lower stage has ended.
const (
	StageBefore = 0 // pre script
	StageWork   = 1
	StageAfter  = 2 // post script
)

// Task is an action's part on one target.
type Task struct {
	Kind     string   `json:"kind"` // script | backup | mirror | failover | store | retention | verify | restore | delete
	Stage    int      `json:"stage"`
	Activity string   `json:"activity,omitempty"`
	Device   string   `json:"device,omitempty"` // address
	Domain   string   `json:"domain,omitempty"`
	Action   string   `json:"action,omitempty"`
	Locks    []string `json:"locks,omitempty"`    // "device/QA1": two tasks with the same lock never run at the same time
	OnError  string   `json:"on_error,omitempty"` // halt: its failure cancels waiting tasks of StageWork and later, except Always
	Always   bool     `json:"always,omitempty"`   // runs also after a failure, when at least one task was started
	On       []string `json:"on,omitempty"`       // outcomes of the action so far after which it runs; empty: all
	Skip     *Skip    `json:"skip,omitempty"`     // never runs; shown with its reason
	Estimate int64    `json:"estimate,omitempty"` // bytes it will write into its store or copy, those of the whole action before the pre script; 0: not known
	Steps    []Step   `json:"steps,omitempty"`
}

// Skip is why a task is not executed.
type Skip struct {
	Code   string `json:"code"` // such as SKIPPED_DEVICE_NOT_AVAILABLE
	Reason string `json:"reason"`
}

// ShortCommit is a commit as people write it.
func ShortCommit(commit string) string { return commit[:min(len(commit), 7)] }
