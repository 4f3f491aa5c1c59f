package reconcile

import (
	"time"

	"github.com/holdfast-dr/holdfast/state"
)

// Restore is what a person who reviews a restore must know. The digest covers all of it but what was Seen.
type Restore struct {
	Source       RestoreSource `json:"source"`
	Target       RestoreTarget `json:"target"`
	Raw          bool          `json:"raw,omitempty"`           // the files as they were captured, without the device's own format
	Include      []string      `json:"include,omitempty"`       // only what these patterns match; none: all of it
	NumericOwner bool          `json:"numeric_owner,omitempty"` // owners by their numbers, not by their names
	Lenient      bool          `json:"lenient,omitempty"`       // what the device refuses is left out, and told
	Safety       bool          `json:"safety_backup"`           // the target is backed up first, into the store of the source
	Reason       string        `json:"reason,omitempty"`        // why something is overwritten without a safety backup
	Seen         RestoreSeen   `json:"seen"`
}

// RestoreSource is the artifact whose content is put back, as its manifest and its record describe it.
type RestoreSource struct {
	Artifact   string              `json:"artifact"`
	Store      string              `json:"store"`
	State      state.ArtifactState `json:"state"`
	BackupPlan string              `json:"backup_plan,omitempty"`
	Device     string              `json:"device"`
	DeviceType string              `json:"device_type,omitempty"`
	Domain     string              `json:"domain"`
	Action     string              `json:"action"`
	Variant    string              `json:"variant,omitempty"`
	Taken      time.Time           `json:"taken"`
	Files      int                 `json:"files"`
	Bytes      int64               `json:"bytes"`                    // as stored
	Content    int64               `json:"content_bytes"`            // as captured
	Unpacked   int64               `json:"unpacked_bytes,omitempty"` // as the device's own format is restored; 0: not known
	AtMost     bool                `json:"at_most,omitempty"`        // Unpacked may be less: files may have holes

	Consistency string `json:"consistency,omitempty"`
	Tool        string `json:"tool,omitempty"`
	Identity    string `json:"identity,omitempty"` // of the device, when it was captured
	Model       string `json:"model,omitempty"`
	Firmware    string `json:"firmware,omitempty"`
}

// RestoreTarget is where the content goes: a directory, or a domain of a device.
type RestoreTarget struct {
	Dir        string `json:"dir,omitempty"`
	Device     string `json:"device,omitempty"`
	DeviceType string `json:"device_type,omitempty"`
	Domain     string `json:"domain,omitempty"`
	Replace    bool   `json:"replace,omitempty"` // what is there is lost
}

// RestoreSeen is what was seen when the restore was planned.
type RestoreSeen struct {
	Verified     time.Time     `json:"verified,omitzero"` // last time every byte was read and matched
	FreeBytes    int64         `json:"free_bytes"`        // where the directory is; -1: not known
	Seconds      int64         `json:"seconds,omitempty"` // that this is expected to take, told by earlier restores
	Requirements []Requirement `json:"requirements"`
}

// Requirement is one thing that a restore depends on.
type Requirement struct {
	Name string `json:"name"`
	Want string `json:"want,omitempty"`
	Got  string `json:"got,omitempty"`
	Met  string `json:"met"` // yes | no | unknown
}

// What a requirement can be.
const (
	Met    = "yes"
	Unmet  = "no"
	Untold = "unknown"
)
