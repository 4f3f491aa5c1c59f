package reconcile

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/holdfast-dr/holdfast/config/unit"
	"github.com/holdfast-dr/holdfast/state"
)

// Step is one call of a task. Op names the operation in reconcile/execute; Class says how it may be restarted.
type Step struct {
	Name   string          `json:"name"`
	Op     Op              `json:"op"`
	Class  state.Class     `json:"class"`
	Always bool            `json:"always,omitempty"` // cleanup: runs also when an earlier step failed or the task was cancelled
	Args   json.RawMessage `json:"args,omitempty"`
}

// Op names what a step does.
type Op string

// Operations. The comment names the type of the step's Args.
const (
	OpWindow          Op = "window"           // WindowArgs: may work start now? Otherwise the task is cancelled with its code
	OpScript          Op = "script"           // ScriptArgs
	OpStoreInit       Op = "store.init"       // StoreArgs
	OpStoreCheck      Op = "store.check"      // StoreArgs: identity and free space
	OpDeviceInspect   Op = "device.inspect"   // DeviceArgs: identity for the manifest; an unavailable device skips the task
	OpDeviceState     Op = "device.state"     // QuiesceArgs: a domain that somebody else quiesced skips the task
	OpDeviceUnsaved   Op = "device.unsaved"   // DomainArgs: changes nobody saved? Captures with IfUnsaved depend on the answer
	OpDeviceSpace     Op = "device.space"     // SpaceArgs: is there room on the device to put the backup together?
	OpDeviceQuiesce   Op = "device.quiesce"   // QuiesceArgs; opens the duty to unquiesce
	OpDeviceWait      Op = "device.wait"      // QuiesceArgs: until it is quiesced
	OpDeviceUnquiesce Op = "device.unquiesce" // QuiesceArgs: until it is normal; pays the duty
	OpDeviceCapture   Op = "device.capture"   // CaptureArgs: stream into the store's staging area
	OpArtifactVerify  Op = "artifact.verify"  // CaptureArgs: read back what was written
	OpArtifactCommit  Op = "artifact.commit"  // CaptureArgs: publish and record it
	OpArtifactExpire  Op = "artifact.expire"  // ExpireArgs: its deletion begins, if that is still allowed; no effect outside the state
	OpArtifactDelete  Op = "artifact.delete"  // ExpireArgs: remove it from its store
	OpArtifactCheck   Op = "artifact.check"   // CheckArgs: read every stored byte back; the record says verified now, or quarantined
	OpStoreAudit      Op = "store.audit"      // StoreArgs: compare its catalogue, manifests and files; reads no content
	OpRestoreCheck    Op = "restore.check"    // RestoreArgs: every stored byte is what was recorded, and the artifact may still be restored
	OpArtifactRestore Op = "artifact.restore" // RestoreArgs
	OpMirrorCopy      Op = "mirror.copy"      // MirrorArgs
	OpMirrorPrune     Op = "mirror.prune"     // MirrorArgs
	OpMirrorRecord    Op = "mirror.record"    // MirrorArgs: position; no effect outside the state
	OpRoleBegin       Op = "role.begin"       // MoveArgs: role is moving; no effect outside the state
	OpTargetFreeze    Op = "target.freeze"    // MoveArgs; opens the duty to unfreeze
	OpTargetSwitch    Op = "target.switch"    // MoveArgs
	OpTargetVerify    Op = "target.verify"    // MoveArgs
	OpRoleSettle      Op = "role.settle"      // MoveArgs: role and epoch in one transaction, duties to unfreeze are void
)

// Ops lists every operation, for tests that each one has an implementation and a crash test.
var Ops = []Op{
	OpWindow, OpScript, OpStoreInit, OpStoreCheck, OpDeviceInspect,
	OpDeviceState, OpDeviceUnsaved, OpDeviceSpace, OpDeviceQuiesce, OpDeviceWait, OpDeviceUnquiesce, OpDeviceCapture, OpArtifactVerify, OpArtifactCommit,
	OpArtifactExpire, OpArtifactDelete, OpArtifactCheck, OpStoreAudit, OpRestoreCheck, OpArtifactRestore,
	OpMirrorCopy, OpMirrorPrune, OpMirrorRecord, OpRoleBegin, OpTargetFreeze, OpTargetSwitch, OpTargetVerify, OpRoleSettle,
}

// WindowArgs is when work may start, in a form that can be judged at run time. See WindowArgs.Check.
type WindowArgs struct {
	Window   string   `json:"window,omitempty"` // address, for messages; empty: no window
	Days     []string `json:"days,omitempty"`
	Start    string   `json:"start,omitempty"`
	End      string   `json:"end,omitempty"`
	Timezone string   `json:"timezone,omitempty"`
	AtClose  string   `json:"at_close,omitempty"`

	Freezes []FreezeArgs `json:"freezes,omitempty"`
}

// FreezeArgs is one freeze that concerns the work.
type FreezeArgs struct {
	Freeze   string `json:"freeze"` // address
	From     string `json:"from"`
	To       string `json:"to"`
	Timezone string `json:"timezone"`
	Reason   string `json:"reason,omitempty"`
}

// ScriptArgs is a script to run.
type ScriptArgs struct {
	Command []string          `json:"command"` // with placeholders; see Argv
	Timeout unit.Duration     `json:"timeout"`
	On      []string          `json:"on,omitempty"` // outcomes of the task so far after which it runs; empty: all
	Env     map[string]string `json:"env,omitempty"`
}

// StoreArgs names a store. ObjectAddress of the change to record when init ended well is the same.
type StoreArgs struct {
	Store    string `json:"store"`
	Identity string `json:"identity,omitempty"`
}

// DeviceArgs names a device.
type DeviceArgs struct {
	Device string `json:"device"`
}

// DomainArgs names a domain of a device.
type DomainArgs struct {
	Device string `json:"device"`
	Domain string `json:"domain"`
}

// SpaceArgs names a device and the bytes that must be free on it.
type SpaceArgs struct {
	Device  string    `json:"device"`
	MinFree unit.Size `json:"min_free"`
}

// QuiesceArgs names what is quiesced, and for how long at most. MaxHold counts from the request.
type QuiesceArgs struct {
	Device  string        `json:"device"`
	Domain  string        `json:"domain"`
	Timeout unit.Duration `json:"timeout"`
	MaxHold unit.Duration `json:"max_hold"`
}

// Words of plans that providers and package artifact use, too.
const (
	AllDomains     = "all-domains"  // the reserved domain name of a task on a whole device
	Persisted      = "persisted"    // the variant of an export: what is saved
	Nonpersisted   = "nonpersisted" // what runs, with changes nobody saved
	SafetyActivity = "safety"       // the activity of what a restore is about to overwrite; it is of no backup plan
)

// CaptureArgs is one capture into one store.
type CaptureArgs struct {
	Device     string    `json:"device"`
	Domain     string    `json:"domain"`
	Action     string    `json:"action"`
	Variant    string    `json:"variant,omitempty"`
	Store      string    `json:"store"`
	BackupPlan string    `json:"backup_plan"`
	Activity   string    `json:"activity"`
	Nominal    string    `json:"nominal,omitempty"`
	Bandwidth  unit.Size `json:"bandwidth,omitempty"` // bytes a second; 0: not limited
	Nice       int       `json:"nice,omitempty"`      // with IONice how it gives way; see package priority
	IONice     string    `json:"ionice,omitempty"`
	IfUnsaved  bool      `json:"if_unsaved,omitempty"` // only when device.unsaved said yes; otherwise its steps are skipped
}

// ExpireArgs is the deletion of one artifact.
type ExpireArgs struct {
	Artifact string           `json:"artifact"`
	Store    string           `json:"store"`
	Newer    int              `json:"newer"`           // good artifacts of its group that must be newer
	Objects  map[string]int64 `json:"objects"`         // generations of the objects that decided it; they must still be these
	Asked    bool             `json:"asked,omitempty"` // by a person who named it; then Newer counts for nothing. See state.Expiry
	Last     bool             `json:"last,omitempty"`  // with Asked: it may be the last good one of its device and domain
}

// CheckArgs is one artifact that is read back.
type CheckArgs struct {
	Artifact string `json:"artifact"`
	Store    string `json:"store"`
}

// RestoreArgs is the restore of one artifact, into a directory or into a device.
type RestoreArgs struct {
	Artifact     string              `json:"artifact"`
	Store        string              `json:"store"`
	State        state.ArtifactState `json:"state"`                   // it must still have
	Dir          string              `json:"dir,omitempty"`           // absolute; absent or empty
	Raw          bool                `json:"raw,omitempty"`           // with Dir: the files as they were captured
	Include      []string            `json:"include,omitempty"`       // only what these patterns match; none: all of it
	NumericOwner bool                `json:"numeric_owner,omitempty"` // owners by their numbers, not by their names

	Device  string `json:"device,omitempty"` // address of the target; without Dir
	Domain  string `json:"domain,omitempty"` // in Device
	Replace bool   `json:"replace,omitempty"`
	Lenient bool   `json:"lenient,omitempty"` // what the device refuses is left out; into a new domain only
}

// MirrorArgs is one pass of a mirror.
type MirrorArgs struct {
	Mirror           string   `json:"mirror"`
	Source           string   `json:"source"` // endpoint URLs, resolved
	Target           string   `json:"target"`
	Exclude          []string `json:"exclude,omitempty"`
	MaxDeletePercent int      `json:"max_delete_percent"`
	Failover         string   `json:"failover,omitempty"` // address of the failover whose role gives the direction
	Epoch            int64    `json:"epoch,omitempty"`    // recorded epoch of Failover; the pass is refused when it changed
}

// MoveArgs is a move of a failover's active side. Member names are those of Target; sites are addresses.
type MoveArgs struct {
	Failover string    `json:"failover"`
	Target   string    `json:"target,omitempty"` // address; empty for role.begin and role.settle
	From     string    `json:"from,omitempty"`   // member name; empty when none was active
	To       string    `json:"to,omitempty"`
	FromSite string    `json:"from_site,omitempty"`
	ToSite   string    `json:"to_site"`
	IfEpoch  int64     `json:"if_epoch"` // recorded epoch before; 0: there is no role yet
	Epoch    int64     `json:"epoch"`    // the epoch it leads to
	Reason   string    `json:"reason,omitempty"`
	NotAfter time.Time `json:"not_after,omitzero"`
}

// NewStep builds a step; args must be one of the types above.
func NewStep(name string, op Op, class state.Class, args any) Step {
	b, err := json.Marshal(args)
	if err != nil {
		panic(fmt.Sprintf("reconcile: arguments of %s: %v", op, err)) // plain structs of ours: cannot fail
	}
	return Step{Name: name, Op: op, Class: class, Args: b}
}
