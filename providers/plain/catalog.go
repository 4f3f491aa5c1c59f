package plain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path"
	"strings"
	"time"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/plain/chain"
)

const (
	eventCommitted = "committed"
	eventDeleted   = "deleted"

	eventLimit = 1 << 20 // bytes; above it an entry is not read
)

// event is one entry of the store's catalogue: what happened to an artifact, kept
// after the artifact is gone.
type event struct {
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

// eventPath is where an artifact's entry lies.
func eventPath(ref providers.ArtifactRef, what string) string {
	return path.Join(catalogDir, ref.Started.UTC().Format("2006/01/02"), string(ref.ID)+"-"+what+".json")
}

func (s *store) recordCommitted(ctx context.Context, root *os.Root, m providers.Manifest, p place) error {
	dir, err := subdir(root, p.dir)
	if err != nil {
		return s.fault("record", p.dir, err)
	}
	defer dir.Close()
	stored, err := readRegular(dir, p.manifest, manifestLimit)
	if err != nil {
		return s.fault("record", p.manifestPath(), err)
	}
	return s.record(ctx, root, eventCommitted, m, p, stored)
}

// record writes an event to the catalogue once: its name is made of the artifact's
// day and id, so that a repeated call finds it. stored is the manifest as it was on the medium.
func (s *store) record(ctx context.Context, root *os.Root, what string, m providers.Manifest, p place, stored []byte) error {
	if err := s.step("record " + what); err != nil {
		return err
	}
	return s.addEvent(ctx, root, event{
		Schema: 1, Event: what, At: time.Now().UTC(), ArtifactRef: m.ArtifactRef,
		DeviceBytes: rawBytes(m.Device), DomainBytes: rawBytes(m.Domain),
		Manifest: p.manifestPath(), SHA256: chain.Sum(stored), Size: m.Size(),
		BackupPlan: m.BackupPlan, Nominal: m.Nominal,
	})
}

// decodeEvent reads an entry and believes nothing in it that does not fit the place it was found at.
func decodeEvent(data []byte, rel string) (event, error) {
	var e event
	if err := json.Unmarshal(data, &e); err != nil {
		return e, err
	}
	if e.DeviceBytes != nil {
		e.Device = string(e.DeviceBytes)
	}
	if e.DomainBytes != nil {
		e.Domain = string(e.DomainBytes)
	}
	if err := checkRef(e.ArtifactRef); err != nil {
		return e, err
	}
	switch want := eventPath(e.ArtifactRef, e.Event); {
	case e.Schema != 1 || e.Event != eventCommitted && e.Event != eventDeleted:
		return e, fmt.Errorf("schema %d, event %q is not known to this version of holdfast", e.Schema, e.Event)
	case want != rel:
		return e, fmt.Errorf("it belongs at %s", want)
	case e.Writer == "" || e.Seq < 1:
		return e, errors.New("it has no place in a chain")
	}
	return e, nil
}

// entry is an event as it lies in the catalogue. err is set, and of the rest only the path,
// when it cannot be understood; it wraps providers.ErrCorrupt when its content is to blame.
type entry struct {
	event
	path string
	sum  string
	err  error
}

// catalog reads the catalogue. A store without one has no entries.
func (s *store) catalog(ctx context.Context, root *os.Root) iter.Seq[entry] {
	return func(yield func(entry) bool) {
		var descend func(parent *os.Root, name, rel string, depth int) bool
		descend = func(parent *os.Root, name, rel string, depth int) bool {
			dir, err := subdir(parent, name)
			if err != nil {
				return errors.Is(err, fs.ErrNotExist) || yield(entry{path: rel, err: s.fault("read", rel, err)})
			}
			defer dir.Close()
			for found, err := range readDir(dir) {
				if err == nil {
					err = ctx.Err()
				}
				if err != nil {
					return yield(entry{path: rel, err: s.fault("read", rel, err)}) && ctx.Err() == nil
				}
				switch at := path.Join(rel, found.Name()); {
				case strings.HasPrefix(found.Name(), "."): // a broken off write
				case depth > 0:
					if !descend(dir, found.Name(), at, depth-1) {
						return false
					}
				case !yield(s.entryAt(dir, at)):
					return false
				}
			}
			return true
		}
		descend(root, catalogDir, catalogDir, len("YMD"))
	}
}

func (s *store) entryAt(dir *os.Root, rel string) entry {
	e := entry{path: rel}
	data, err := readRegular(dir, path.Base(rel), eventLimit)
	if err != nil {
		e.err = s.fault("read", rel, err)
		return e
	}
	e.sum = chain.Sum(data)
	if e.event, err = decodeEvent(data, rel); err != nil {
		e.err = s.corrupt(rel, "%w", err)
	}
	return e
}
