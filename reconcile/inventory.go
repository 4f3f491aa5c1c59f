package reconcile

import (
	"time"

	"github.com/holdfast-dr/holdfast/state"
)

// Inventory is what was seen of the world when the plan was made. Keys are addresses.
type Inventory struct {
	TakenAt time.Time             `json:"taken_at"`
	Source  string                `json:"source"` // live | recorded | none
	Devices map[string]DeviceSeen `json:"devices,omitempty"`
	Stores  map[string]StoreSeen  `json:"stores,omitempty"`
	Mirrors map[string]MirrorSeen `json:"mirrors,omitempty"`
	Targets map[string]TargetSeen `json:"targets,omitempty"`
}

// Seen is what every observation has. An Error means that the object could not be inspected.
type Seen struct {
	At    time.Time `json:"at"`
	Error string    `json:"error,omitempty"`
}

// DeviceSeen is a device's inventory.
type DeviceSeen struct {
	Seen
	Unavailable bool     `json:"unavailable,omitempty"`
	Identity    string   `json:"identity,omitempty"`
	Model       string   `json:"model,omitempty"`
	Firmware    string   `json:"firmware,omitempty"`
	Build       string   `json:"build,omitempty"`
	Domains     []string `json:"domains,omitempty"`

	CanTellUnsaved bool `json:"can_tell_unsaved,omitempty"` // an export asks for changes nobody saved, and takes them too

	Covers []Covered `json:"covers,omitempty"`
}

// Covered is a store whose place lies in what captures of a device read.
type Covered struct {
	Store  string `json:"store"`
	Place  string `json:"place"`
	Domain string `json:"domain"` // of the device
	Root   string `json:"root"`   // the directory that the place is in
}

// StoreSeen is a store's condition.
type StoreSeen struct {
	Seen
	Initialised bool   `json:"initialised"`
	Identity    string `json:"identity,omitempty"`
	Empty       bool   `json:"empty,omitempty"`
	Mounted     bool   `json:"mounted,omitempty"`
	Unmounted   string `json:"unmounted,omitempty"` // what its settings demand of the mount and was not there
	FreeBytes   int64  `json:"free_bytes"`
	TotalBytes  int64  `json:"total_bytes"` // not positive: space is not known
	FreeInodes  int64  `json:"free_inodes,omitempty"`

	// What stays free by its settings.
	MinFreeBytes  int64 `json:"min_free_bytes,omitempty"`
	MinFreeInodes int64 `json:"min_free_inodes,omitempty"`

	Epoch int64        `json:"epoch,omitempty"`
	Heads []state.Head `json:"heads,omitempty"`
	Last  *StoreEvent  `json:"last,omitempty"` // what this installation wrote last; nil: nothing, or it is not known
}

// StoreEvent is an entry that this installation added to the catalogue of a store.
type StoreEvent struct {
	Writer   string    `json:"writer"`
	Seq      int64     `json:"seq"`
	Artifact string    `json:"artifact"`
	Named    time.Time `json:"named,omitzero"`    // when its ID was made
	Deleted  bool      `json:"deleted,omitempty"` // the artifact was; else it was committed
}

// MirrorSeen is what a pass would do.
type MirrorSeen struct {
	Seen
	Source       string   `json:"source"` // endpoint URLs compared
	Target       string   `json:"target"`
	Nested       bool     `json:"nested,omitempty"` // one lies in the other, under whatever names
	First        bool     `json:"first,omitempty"`
	SourceFiles  int64    `json:"source_files"`
	SourceBytes  int64    `json:"source_bytes"`
	TargetFiles  int64    `json:"target_files"`
	CopyFiles    int64    `json:"copy_files"`
	CopyBytes    int64    `json:"copy_bytes"`
	DeleteFiles  int64    `json:"delete_files"`
	CopySample   []string `json:"copy_sample,omitempty"`
	DeleteSample []string `json:"delete_sample,omitempty"`
}

// TargetSeen is the role a failover target shows.
type TargetSeen struct {
	Seen
	Active string `json:"active,omitempty"` // member name
	Epoch  int64  `json:"epoch,omitempty"`
	Frozen bool   `json:"frozen,omitempty"`
	Broken string `json:"broken,omitempty"` // why the active member cannot serve
}
