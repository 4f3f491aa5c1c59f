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

// File is one file of an artifact. Where the store compresses or encrypts it,
// the bytes as stored are others than the content, and both are described.
type File struct {
	Name   string `json:"name"`           // as the device called it
	Path   string `json:"path,omitempty"` // in the store, slash separated; set by Commit
	Size   int64  `json:"size"`           // bytes as stored
	SHA256 string `json:"sha256"`         // of the bytes as stored, 64 hex digits

	ContentSize   int64       `json:"content_size,omitempty"`   // bytes as captured, when stored otherwise
	ContentSHA256 string      `json:"content_sha256,omitempty"` // of the bytes as captured, when stored otherwise
	Compression   string      `json:"compression,omitempty"`    // "zstd"
	Encryption    *Encryption `json:"encryption,omitempty"`     // applied after compression
}

// Encryption says how a file is encrypted and who can read it.
type Encryption struct {
	Scheme     string   `json:"scheme"`               // "age"
	Recipients []string `json:"recipients,omitempty"` // public keys
}

// Transformed reports whether the bytes as stored are others than the content.
func (f File) Transformed() bool { return f.Compression != "" || f.Encryption != nil }

// Content is the file as it was captured and as Store.Open gives it: its size and hash are those of the content.
func (f File) Content() File {
	if f.Transformed() {
		f.Size, f.SHA256 = f.ContentSize, f.ContentSHA256
		f.ContentSize, f.ContentSHA256, f.Compression, f.Encryption = 0, "", "", nil
	}
	return f
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
	Quiesced    *Span           `json:"quiesced,omitempty"` // with consistency "quiesced": when the device took no work
	Finished    time.Time       `json:"finished"`
	Annotations json.RawMessage `json:"annotations,omitempty"`
}

// Span is a stretch of time.
type Span struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// Unpacked is how many bytes a restore writes by the device's own format, as the capture told; zero when it did not. Unless it is exact, it
// may be less: files with holes of older artifacts count as long as they are.
func (m Manifest) Unpacked() (n int64, exact bool) {
	if m.Result.Unpacked > 0 {
		return m.Result.Unpacked, true
	}
	if counted, ok := m.Result.Fingerprint["bytes"].(float64); ok && counted > 0 && counted < 1<<62 {
		return int64(counted), false
	}
	return 0, false
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
	Epoch       int64  `json:"epoch,omitempty"`    // rises with each Adopt, so that an older copy of the store is told apart
	Empty       bool   `json:"empty,omitempty"`    // nothing there yet: may be initialised
	Mounted     bool   `json:"mounted,omitempty"`  // on a file system of its own
	Remote      bool   `json:"remote,omitempty"`
	FreeBytes   int64  `json:"free_bytes"` // available to us, not to root; -1 unknown
	TotalBytes  int64  `json:"total_bytes"`
	FreeInodes  int64  `json:"free_inodes"` // -1 unknown

	// Unmounted says what the settings demand of the mount and do not find, as part of a sentence; empty: it is as demanded.
	Unmounted string `json:"unmounted,omitempty"`
	// MinFreeBytes and MinFreeInodes stay free by the settings: nothing is written below them.
	MinFreeBytes  int64 `json:"min_free_bytes,omitempty"`
	MinFreeInodes int64 `json:"min_free_inodes,omitempty"`

	// Heads say how far the catalogue goes, one for each writer that can be told. They only grow, unless the store goes back in time.
	Heads []Head `json:"heads,omitempty"`
	// Last is the last entry that this installation added to the catalogue; nil: there is none, or it cannot be told.
	Last *Event `json:"last,omitempty"`
}

// Head is the end of what one writer added to a store's catalogue.
type Head struct {
	Writer string `json:"writer"`
	Seq    int64  `json:"seq"`    // grows with every entry
	SHA256 string `json:"sha256"` // of the last entry
}

// Event is an entry of a store's catalogue.
type Event struct {
	Writer   string     `json:"writer"`
	Seq      int64      `json:"seq"`
	Artifact ArtifactID `json:"artifact"`
	Named    time.Time  `json:"named,omitzero"`    // when the ID of the artifact was made
	Deleted  bool       `json:"deleted,omitempty"` // the artifact was; else it was committed
}

// Store is where artifacts live. An artifact is invisible until Commit
// returned nil, and complete from then on. The staging area of an artifact is
// named by its ID, so a resumed task finds what its former life wrote.
//
// A store opened with an identity (Env.Identity) refuses every call but Stat, Init and Adopt with
// ErrIdentity while the place does not carry that identity, or carries a lower epoch than
// Env.Epoch, and checks it again at Commit: a backup never lands under a bare mount point.
// With a higher epoch somebody else took the store over: it can be read, and what changes it is ErrIdentity.
type Store interface {
	// Stat reads identity and space. It changes nothing.
	Stat(ctx context.Context) (StoreInfo, error)
	// Init makes an absent or empty place a store with this identity. With the same
	// identity there already, it does nothing; anything else there is ErrNotEmpty or ErrIdentity.
	Init(ctx context.Context, identity string) error
	// Adopt makes a place with content a store with this identity and leaves the content as it is.
	// A store with this identity gets the next epoch. Another store there is ErrIdentity.
	Adopt(ctx context.Context, identity string) error
	// Stage gives an empty staging area, removing what an earlier attempt left.
	Stage(ctx context.Context, ref ArtifactRef) (Stage, error)
	// Staged opens a staged file for reading what is really on the medium, as stored.
	Staged(ctx context.Context, id ArtifactID, name string) (io.ReadCloser, error)
	// Commit publishes the staged files under their final names and then the
	// manifest, the commit point. It sets the files' paths and returns the manifest as stored. Committing again
	// what is committed returns the stored manifest. What a crash or a lack of room after the commit point left undone, the next
	// Commit finishes, of whatever artifact.
	Commit(ctx context.Context, m Manifest) (Manifest, error)
	// Discard removes a staging area; none is no error. An artifact that came to its commit point stays, and is in the catalogue.
	Discard(ctx context.Context, id ArtifactID) error
	// Get reads one manifest; ErrNotFound when it is not committed.
	Get(ctx context.Context, ref ArtifactRef) (Manifest, error)
	// Open reads the content of one file of a committed artifact. Content that is not
	// that of the manifest ends in ErrCorrupt instead of io.EOF. Where it cannot be decrypted the
	// error is ErrNoKey and names the recipients; where its key is a secret that cannot be read it is ErrSecret.
	Open(ctx context.Context, m Manifest, name string) (io.ReadCloser, error)
	// Stored reads the bytes of the file as stored, those File.Size and File.SHA256 are of. It needs no key.
	Stored(ctx context.Context, m Manifest, name string) (io.ReadCloser, error)
	// List yields the committed artifacts, in no particular order. An unreadable manifest is
	// yielded as an error and does not end the listing.
	List(ctx context.Context) iter.Seq2[Manifest, error]
	// Delete removes a committed artifact, manifest first; none is no error.
	Delete(ctx context.Context, ref ArtifactRef) error
	// Sweep removes what crashes left of artifacts that keep does not want: staging areas that nobody
	// wrote to for SweepAge, and it finishes commits and deletions that broke off, at any age. Committed artifacts stay. What cannot be
	// removed is told when the rest is done.
	Sweep(ctx context.Context, keep func(ArtifactID) bool) (Swept, error)
	// Check compares catalogue, manifests and files without reading the files' content, and yields what does not
	// fit. It changes nothing. What cannot be looked at is yielded as an error and does not end the check.
	Check(ctx context.Context) iter.Seq2[Finding, error]
	// Recover yields every artifact the store knows of, from what lies in the store alone, in no particular order.
	// It changes nothing and gives an artifact the same ID each time. What cannot be understood is yielded as an error.
	Recover(ctx context.Context) iter.Seq2[Recovered, error]
	Close() error
}

// SweepAge is how long nothing was written to a leftover before Sweep removes it, by the store's own clock.
const SweepAge = time.Hour

// Swept says what Sweep removed.
type Swept struct {
	Staged  []ArtifactID `json:"staged,omitempty"`  // whose staging areas are gone
	Deleted []ArtifactID `json:"deleted,omitempty"` // whose broken off deletion is finished
	Files   int          `json:"files"`             // removed, of any kind
	Bytes   int64        `json:"bytes"`             // that they took
}

// FindingKind is what a check can find.
type FindingKind string

const (
	MarkerDamaged   FindingKind = "marker_damaged"   // the store's identity cannot be read
	CatalogGap      FindingKind = "catalog_gap"      // an entry of the catalogue is gone
	CatalogChanged  FindingKind = "catalog_changed"  // an entry of the catalogue is not what was written
	ManifestMissing FindingKind = "manifest_missing" // the catalogue says committed, and there is no manifest
	ManifestChanged FindingKind = "manifest_changed" // a manifest is unreadable or not what was committed
	NotCatalogued   FindingKind = "not_catalogued"   // a manifest without an entry in the catalogue
	NotDeleted      FindingKind = "not_deleted"      // the catalogue says deleted, and the artifact is there
	FileMissing     FindingKind = "file_missing"     // a manifest lists a file that is not there
	FileSize        FindingKind = "file_size"        // a file has another size than the manifest says
	FileExtra       FindingKind = "file_extra"       // a file no manifest lists
)

// Finding is one thing that does not fit.
type Finding struct {
	Kind     FindingKind `json:"kind"`
	Artifact ArtifactID  `json:"artifact,omitempty"` // when it is known
	Path     string      `json:"path"`               // in the store
	Detail   string      `json:"detail"`             // for people, a full sentence
}

// Condition is what became of an artifact that was recovered.
type Condition string

const (
	Intact     Condition = "intact"     // manifest and files are there, with their sizes
	Damaged    Condition = "damaged"    // the manifest is there, and files are missing or have other sizes
	Unverified Condition = "unverified" // known by its path alone; sizes and hashes are those of now
	Missing    Condition = "missing"    // the catalogue says committed, and there is nothing
	Deleted    Condition = "deleted"    // the catalogue says deleted
)

// Recovered is one artifact a store knows of. Of a missing or deleted one, only what the catalogue
// keeps is known: the reference, backup plan and nominal time, and no files.
type Recovered struct {
	Manifest  Manifest
	Condition Condition
	Detail    string // of what is wrong, for people

	// Uncatalogued says that the manifest is there and the catalogue does not know of it, so that nobody would miss it: Commit makes up for that.
	Uncatalogued bool
}

// Stage takes the files of one artifact. Closing a file makes it durable.
type Stage interface {
	Sink
	// Files lists what was created and closed, with sizes and hashes of the bytes written, in order.
	Files() []File
	// Written counts the bytes that are on the medium so far. It may be called while a file is written.
	Written() int64
}
