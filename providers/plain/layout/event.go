package layout

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"time"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/plain/chain"
)

// What happened to an artifact.
const (
	Committed = "committed"
	Deleted   = "deleted"
)

// RecordLimit is the length in bytes above which an entry of the catalogue is not read.
const RecordLimit = 1 << 20

// Record is one entry of the store's catalogue: what happened to an artifact, kept
// after the artifact is gone.
type Record struct {
	Schema int       `json:"schema"` // 1
	Event  string    `json:"event"`
	At     time.Time `json:"at"`
	chain.Link
	Manifest string `json:"manifest"`        // path in the store
	SHA256   string `json:"manifest_sha256"` // of the manifest as stored
	Size     int64  `json:"size"`            // of all files, in bytes
	providers.ArtifactRef
	DeviceBytes []byte `json:"device_bytes,omitempty"` // as in document
	DomainBytes []byte `json:"domain_bytes,omitempty"`
	BackupPlan  string `json:"backup_plan,omitempty"`
	Nominal     string `json:"nominal,omitempty"`
}

// RecordPath is where an artifact's entry lies.
func RecordPath(ref providers.ArtifactRef, what string) string {
	return path.Join(CatalogDir, ref.Started.UTC().Format("2006/01/02"), string(ref.ID)+"-"+what+".json")
}

// DecodeRecord reads an entry and believes nothing in it that does not fit the place it was found at.
func DecodeRecord(data []byte, rel string) (Record, error) {
	var e Record
	if err := json.Unmarshal(data, &e); err != nil {
		return e, err
	}
	if e.DeviceBytes != nil {
		e.Device = string(e.DeviceBytes)
	}
	if e.DomainBytes != nil {
		e.Domain = string(e.DomainBytes)
	}
	if err := CheckRef(e.ArtifactRef); err != nil {
		return e, err
	}
	switch want := RecordPath(e.ArtifactRef, e.Event); {
	case e.Schema != 1 || e.Event != Committed && e.Event != Deleted:
		return e, fmt.Errorf("schema %d, event %q is not known to this version of holdfast", e.Schema, e.Event)
	case want != rel:
		return e, fmt.Errorf("it belongs at %s", want)
	case e.Writer == "" || e.Seq < 1:
		return e, errors.New("it has no place in a chain")
	}
	return e, nil
}
