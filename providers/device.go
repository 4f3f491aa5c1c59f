package providers

import (
	"context"
	"fmt"
	"io"
	"time"
)

// Action is what a capture takes, in IBM DPOD's words.
type Action string

const (
	SecureBackup Action = "secure_backup" // everything needed to rebuild the device
	ExportDomain Action = "export_domain" // one portable part of it
)

// Variant tells two captures of one domain apart. The empty Variant is a secure backup's.
type Variant string

const (
	Persisted    Variant = "persisted"    // what is saved
	Nonpersisted Variant = "nonpersisted" // what runs, with changes nobody saved
)

// AllDomains is the reserved domain name of a task on a whole device.
const AllDomains = "all-domains"

// QuiesceState is whether a domain takes work.
type QuiesceState string

const (
	Normal            QuiesceState = "normal"
	Quiescing         QuiesceState = "quiescing"
	Quiesced          QuiesceState = "quiesced"
	Unquiescing       QuiesceState = "unquiescing"
	QuiesceImpossible QuiesceState = "unsupported" // the device cannot be quiesced
)

// DeviceInfo is what a device says of itself. Empty fields were not told.
type DeviceInfo struct {
	Identity string   `json:"identity,omitempty"` // a name the device keeps for life: serial, system identifier, host key
	Model    string   `json:"model,omitempty"`
	Firmware string   `json:"firmware,omitempty"`
	Build    string   `json:"build,omitempty"`
	Domains  []string `json:"domains,omitempty"` // sorted; empty for a device without parts

	// CanTellUnsaved says that DomainState tells about changes nobody saved. Without it an export takes one artifact.
	CanTellUnsaved bool `json:"can_tell_unsaved,omitempty"`
}

// DomainState is the state of one domain, or of a whole device for AllDomains
// (then Quiesce is not normal, and Unsaved is true, when that holds for any domain).
type DomainState struct {
	Quiesce QuiesceState `json:"quiesce"`
	Unsaved bool         `json:"unsaved,omitempty"` // there are changes nobody saved; see DeviceInfo.CanTellUnsaved
	// FreeBytes is the room on the device itself, where it puts a secure backup together.
	// It is told for AllDomains; nil: not told, or none is needed.
	FreeBytes *int64 `json:"free_bytes,omitempty"`
}

// Device is a system to protect. All methods may be called again after a
// crash; none retries by itself. An unreachable device returns an error that
// is ErrUnavailable. Methods a device does not have return errors.ErrUnsupported.
type Device interface {
	// Inspect reads identity and domains. It changes nothing.
	Inspect(ctx context.Context) (DeviceInfo, error)
	// DomainState reads one domain's state. It changes nothing.
	DomainState(ctx context.Context, domain string) (DomainState, error)
	// Quiesce asks the domain to stop taking work and to finish what it has
	// within timeout. It returns when the request was accepted; the caller
	// polls DomainState. Asking again is harmless.
	Quiesce(ctx context.Context, domain string, timeout time.Duration) error
	// Unquiesce asks the domain to take work again; the caller polls DomainState.
	// Asking again is harmless, and so is asking a domain that is normal.
	Unquiesce(ctx context.Context, domain string) error
	// Capture streams the artifact's files into the sink, one after another.
	// A source that fails half way must be an error: nothing partial may look whole.
	// Calling it again starts from the beginning.
	Capture(ctx context.Context, req CaptureRequest, sink Sink) (CaptureResult, error)
	// Restore puts an artifact's content into a directory, or into the device
	// itself where that is supported. It never writes outside the directory.
	Restore(ctx context.Context, req RestoreRequest, src Source) error
	// Forget removes what a restore into the device itself left there to know it again by the ID and domain of req. It is called when the outcome
	// is recorded, after which Restore is not called with that ID again. What another restore left stays. Asking again is harmless, and
	// so is asking where there was no restore.
	Forget(ctx context.Context, req RestoreRequest) error
	Close() error
}

// CaptureRequest says what to take.
type CaptureRequest struct {
	Action  Action
	Domain  string // AllDomains for a secure backup, and for the export of a device without domains
	Variant Variant
	// Leave is a directory that is not read, where the capture goes to; empty: none.
	Leave string
}

// CaptureResult is what only the source knows about what it gave.
type CaptureResult struct {
	Consistency string         `json:"consistency"`           // crash | application | quiesced | none
	Fingerprint map[string]any `json:"fingerprint,omitempty"` // facts to compare after a restore: counts, sums
	Tool        string         `json:"tool,omitempty"`        // name and version of what made it
	Warnings    []string       `json:"warnings,omitempty"`    // shown; the task then succeeded with warnings
	Source      Content        `json:"source,omitzero"`       // what was captured, as it counts at the source

	// Unpacked is the bytes that Restore writes, when the files hold them packed and that is known.
	Unpacked int64 `json:"unpacked_bytes,omitempty"`
}

// Content counts what a source holds, before anything is packed: files, where there are any, and bytes. Zero was not told.
type Content struct {
	Files int64 `json:"files,omitempty"`
	Bytes int64 `json:"bytes,omitempty"`
}

// RestoreRequest says what to put back, and where. Dir is an existing, empty directory;
// the empty Dir means the device itself.
type RestoreRequest struct {
	Action  Action
	Domain  string
	Variant Variant
	Dir     string
	// Replace allows a restore into the device itself to put the content in the place of what is there. The old content stays until
	// the new one is complete and checked; a crash leaves one or the other, and calling again finishes it.
	// Without Replace, a place that holds something is ErrNotEmpty.
	Replace bool
	// ID names a restore into the device itself; it is the same in every repetition. A place that this very restore has been made in is
	// left as it is, with all that was written there since, until Forget: Restore only finishes what a crash left, and returns nil.
	// Empty: nothing is known again.
	ID string
	// Include puts back only the entries (see Entry) that match these patterns of package glob, with the directories they are in; none:
	// everything. What is put back is checked as in a whole restore; what is not needed for it may be left unread. No match is ErrNotFound.
	// It is given only where Parts of the device type allows it.
	Include []string
	// NumericOwner takes owners, also in access lists, by their numbers; otherwise who has a name in the artifact and here is who has the name
	// here.
	NumericOwner bool
	// Lenient leaves out what the device refuses of the content, such as rows that violate a constraint, and tells Warn of each. It is given
	// only for a domain that is not there, and where Lenient of the device type allows it; one that is there is ErrNotEmpty.
	Lenient bool
	// Warn is told, for people, what could not be put back as it was, such as owners; may be nil. It is called before Restore returns.
	Warn func(text string)
}

// Warnf tells Warn, if there is one.
func (r RestoreRequest) Warnf(format string, args ...any) {
	if r.Warn != nil {
		r.Warn(fmt.Sprintf(format, args...))
	}
}

// Sink takes the files of one capture. Each writer is closed before the next
// Create; an error of Close is an error of the capture. Names are plain file
// names such as "export.tar.zst": the first is the artifact's main file.
type Sink interface {
	Create(name string) (io.WriteCloser, error)
}

// Source gives the files of one artifact back, in the order they were captured.
type Source interface {
	Files() []File
	Open(ctx context.Context, name string) (io.ReadCloser, error)
}
