package plain

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path"
	"time"

	"github.com/holdfast-dr/holdfast/providers"
)

const (
	eventCommitted = "committed"
	eventDeleted   = "deleted"
)

// event is one entry of the store's catalogue: what happened to an artifact, kept
// after the artifact is gone.
type event struct {
	Schema   int       `json:"schema"` // 1
	Event    string    `json:"event"`
	At       time.Time `json:"at"`
	Manifest string    `json:"manifest"`        // path in the store
	SHA256   string    `json:"manifest_sha256"` // of the manifest as stored
	Size     int64     `json:"size"`            // of all files, in bytes
	providers.ArtifactRef
}

func (s *store) recordCommitted(root *os.Root, m providers.Manifest, p place) error {
	dir, err := subdir(root, p.dir)
	if err != nil {
		return s.fault("record", p.dir, err)
	}
	defer dir.Close()
	stored, err := readRegular(dir, p.manifest, manifestLimit)
	if err != nil {
		return s.fault("record", p.manifestPath(), err)
	}
	return s.record(root, eventCommitted, m, p, stored)
}

// record writes an event to the catalogue once: its name is made of the artifact's
// day and id, so that a repeated call finds it. stored is the manifest as it was on the medium.
func (s *store) record(root *os.Root, what string, m providers.Manifest, p place, stored []byte) error {
	rel := path.Join(catalogDir, m.Started.UTC().Format("2006/01/02"))
	name := string(m.ID) + "-" + what + ".json"
	sum := sha256.Sum256(stored)
	data, err := encode(event{
		Schema: 1, Event: what, At: time.Now().UTC(), ArtifactRef: m.ArtifactRef,
		Manifest: p.manifestPath(), SHA256: hex.EncodeToString(sum[:]), Size: m.Size(),
	})
	if err != nil {
		return s.fault("record", rel, err)
	}
	if err := s.step("record " + what); err != nil {
		return err
	}
	dir, err := makeSubdir(root, rel)
	if err != nil {
		return s.fault("record", rel, err)
	}
	defer dir.Close()
	if there, err := exists(dir, name); there || err != nil {
		return s.fault("record", path.Join(rel, name), err)
	}
	return s.fault("record", path.Join(rel, name), replace(dir, name, data))
}
