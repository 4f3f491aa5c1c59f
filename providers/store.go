package providers

import (
	"context"
	"encoding/json"
	"io"
	"iter"
	"time"
)

// ArtifactID names an artifact in every store it is copied to. It is a ULID.
type ArtifactID string

// ArtifactRef says whose artifact a capture becomes, before its files are known.
type ArtifactRef struct {
	ID      ArtifactID `json:"id"`
	Device  string     `json:"device"` // the declared name, as people know it
	Domain  string     `json:"domain"`
	Action  Action     `json:"action"`
	Variant Variant    `json:"variant,omitempty"`
	Started time.Time  `json:"started"` // UTC; part of the path
}

// File is one file of an artifact.
type File struct {
	Name   string `json:"name"`           // as the device called it
	Path   string `json:"path,omitempty"` // in the store, slash separated; set by Commit
	Size   int64  `json:"size"`           // bytes as stored
	SHA256 string `json:"sha256"`         // of the bytes as stored, 64 hex digits
}

// Manifest describes a committed artifact. It is stored beside its files.
type Manifest struct {
	Schema int `json:"schema"` // 1
	ArtifactRef
	Files []File `json:"files"`

	BackupPlan  string          `json:"backup_plan,omitempty"`
	Activity    string          `json:"activity,omitempty"`
	Run         string          `json:"run,omitempty"`
	Task        string          `json:"task,omitempty"`
	Nominal     string          `json:"nominal,omitempty"` // the nominal time it belongs to
	Commit      string          `json:"commit,omitempty"`  // of the configuration
	Version     string          `json:"version,omitempty"` // of holdfast
	DeviceType  string          `json:"device_type,omitempty"`
	DeviceInfo  DeviceInfo      `json:"device_info,omitzero"`
	Result      CaptureResult   `json:"result"`
	Finished    time.Time       `json:"finished"`
	Annotations json.RawMessage `json:"annotations,omitempty"`
}

// Size is the stored size of all files in bytes.
func (m Manifest) Size() int64 {
	var n int64
	for _, f := range m.Files {
		n += f.Size
	}
	return n
}

// StoreInfo is what a store says of itself.
type StoreInfo struct {
	Initialised bool   `json:"initialised"`
	Identity    string `json:"identity,omitempty"` // written by Init
	Empty       bool   `json:"empty,omitempty"`    // nothing there yet: may be initialised
	Mounted     bool   `json:"mounted,omitempty"`  // on a file system of its own
	Remote      bool   `json:"remote,omitempty"`
	FreeBytes   int64  `json:"free_bytes"` // available to us, not to root; -1 unknown
	TotalBytes  int64  `json:"total_bytes"`
	FreeInodes  int64  `json:"free_inodes"` // -1 unknown
}

// Store is where artifacts live. An artifact is invisible until Commit
// returned nil, and complete from then on. The staging area of an artifact is
// named by its ID, so a resumed task finds what its former life wrote.
//
// A store opened with an identity (OpenEnv.Identity) refuses every call but Stat and Init with
// ErrIdentity while the place does not carry that identity, and checks it again
// at Commit: a backup never lands under a bare mount point.
type Store interface {
	// Stat reads identity and space. It changes nothing.
	Stat(ctx context.Context) (StoreInfo, error)
	// Init makes an absent or empty place a store with this identity. With the same
	// identity there already, it does nothing; anything else there is ErrNotEmpty or ErrIdentity.
	Init(ctx context.Context, identity string) error
	// Stage gives an empty staging area, removing what an earlier attempt left.
	Stage(ctx context.Context, ref ArtifactRef) (Stage, error)
	// Staged opens a staged file for reading what is really on the medium.
	Staged(ctx context.Context, id ArtifactID, name string) (io.ReadCloser, error)
	// Commit publishes the staged files under their final names and then the
	// manifest, the commit point. It sets the files' paths and returns the manifest as stored. Committing again
	// what is committed returns the stored manifest.
	Commit(ctx context.Context, m Manifest) (Manifest, error)
	// Discard removes a staging area; none is no error.
	Discard(ctx context.Context, id ArtifactID) error
	// Get reads one manifest; ErrNotFound when it is not committed.
	Get(ctx context.Context, ref ArtifactRef) (Manifest, error)
	// Open reads one file of a committed artifact.
	Open(ctx context.Context, m Manifest, name string) (io.ReadCloser, error)
	// List yields the committed artifacts, in no particular order. An unreadable manifest is
	// yielded as an error and does not end the listing.
	List(ctx context.Context) iter.Seq2[Manifest, error]
	// Delete removes a committed artifact, manifest first; none is no error.
	Delete(ctx context.Context, ref ArtifactRef) error
	Close() error
}

// Stage takes the files of one artifact. Closing a file makes it durable.
type Stage interface {
	Sink
	// Files lists what was created and closed, with sizes and hashes of the bytes written, in order.
	Files() []File
}
