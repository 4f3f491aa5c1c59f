package providers

import "context"

// MirrorRequest is one pass of a mirror.
type MirrorRequest struct {
	Mirror           string   // address; with Source and Target it is the identity on both sides' markers
	Source, Target   string   // endpoint URLs
	Exclude          []string // paths left alone on both sides
	MaxDeletePercent int      // of the target's files; more deletes none and is ErrTooManyDeletes; 0 never deletes
	Epoch            int64    // of the failover it follows, else 0; a marker with a higher epoch is ErrStaleEpoch
}

// MirrorDiff is what a pass would do.
type MirrorDiff struct {
	First        bool     `json:"first,omitempty"` // the target was never synced
	SourceFiles  int64    `json:"source_files"`
	SourceBytes  int64    `json:"source_bytes"`
	TargetFiles  int64    `json:"target_files"`
	CopyFiles    int64    `json:"copy_files"`
	CopyBytes    int64    `json:"copy_bytes"`
	DeleteFiles  int64    `json:"delete_files"`
	CopySample   []string `json:"copy_sample,omitempty"`   // the first 20 paths, sorted
	DeleteSample []string `json:"delete_sample,omitempty"` // the first 20 paths, sorted
}

// MirrorResult is what a pass did.
type MirrorResult struct {
	Files        int64    `json:"files"`
	CopiedFiles  int64    `json:"copied_files"`
	CopiedBytes  int64    `json:"copied_bytes"`
	DeletedFiles int64    `json:"deleted_files"`
	Warnings     []string `json:"warnings,omitempty"` // what of the copied entries the target could not take, one line a kind
	// Clean: a complete copy saw nothing at the target that the source does not have, so that a prune has nothing to do.
	Clean bool `json:"clean,omitempty"`
}

// Mirror copies one kind of endpoint to another. A killed pass may be run
// again: what arrived is not copied again, and half-written files are swept.
type Mirror interface {
	// Compare says what a pass would do. It changes nothing. A missing or unreadable source is an error.
	Compare(ctx context.Context, req MirrorRequest) (MirrorDiff, error)
	// Copy brings new and changed files to the target and deletes nothing. It ends with an error if any
	// file could not be copied; what it copied stays. When it ends without one, the target holds the source
	// at least as of when it was called.
	Copy(ctx context.Context, req MirrorRequest, progress Progress) (MirrorResult, error)
	// Prune deletes from the target what the source no longer has. It is called
	// only after a Copy without errors, compares both sides afresh, and never deletes when the source is empty.
	Prune(ctx context.Context, req MirrorRequest) (MirrorResult, error)
	Close() error
}

// Progress is called with what was done since the last call. It must be fast and safe for concurrent use.
type Progress func(files, bytes int64)
