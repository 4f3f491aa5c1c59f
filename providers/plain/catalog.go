package plain

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"os"
	"path"
	"strings"
	"time"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/plain/chain"
	"github.com/holdfast-dr/holdfast/providers/plain/disk"
	"github.com/holdfast-dr/holdfast/providers/plain/layout"
)

// recordCommitted makes durable what is published, and then puts it into the catalogue.
func (s *store) recordCommitted(ctx context.Context, root *os.Root, m providers.Manifest, p layout.Place) error {
	dir, err := disk.Sub(root, p.Dir)
	if err != nil {
		return s.fault("record", p.Dir, err)
	}
	defer dir.Close()
	stored, err := disk.Read(dir, p.Manifest, layout.ManifestLimit)
	if err != nil {
		return s.fault("record", p.ManifestPath(), err)
	}
	if err := s.syncPublished(root, p); err != nil {
		return err
	}
	return s.record(ctx, root, layout.Committed, m, p, stored)
}

// syncPublished syncs the directory with the name that the commit point of an artifact gave.
func (s *store) syncPublished(root *os.Root, p layout.Place) error {
	rel := path.Dir(p.ManifestPath())
	if p.Manifest == layout.SecureManifest {
		rel = path.Dir(rel)
	}
	if err := s.step("commit: sync home"); err != nil {
		return err
	}
	home, err := disk.Sub(root, rel)
	if err != nil {
		return s.fault("commit", rel, err)
	}
	defer home.Close()
	return s.fault("commit", rel, disk.SyncDir(home))
}

// record writes an event to the catalogue once: its name is made of the artifact's
// day and id, so that a repeated call finds it. stored is the manifest as it was on the medium.
func (s *store) record(ctx context.Context, root *os.Root, what string, m providers.Manifest, p layout.Place, stored []byte) error {
	if err := s.step("record " + what); err != nil {
		return err
	}
	return s.addEvent(ctx, root, layout.Record{
		Schema: 1, Event: what, At: time.Now().UTC(), ArtifactRef: m.ArtifactRef,
		DeviceBytes: layout.RawBytes(m.Device), DomainBytes: layout.RawBytes(m.Domain),
		Manifest: p.ManifestPath(), SHA256: chain.Sum(stored), Size: m.Size(),
		BackupPlan: m.BackupPlan, Nominal: m.Nominal,
	})
}

// entry is an event as it lies in the catalogue. err is set, and of the rest only the path,
// when it cannot be understood; it wraps providers.ErrCorrupt when its content is to blame.
type entry struct {
	layout.Record
	path string
	sum  string
	err  error
}

// catalog reads the catalogue. A store without one has no entries.
func (s *store) catalog(ctx context.Context, root *os.Root) iter.Seq[entry] {
	return func(yield func(entry) bool) {
		var descend func(parent *os.Root, name, rel string, depth int) bool
		descend = func(parent *os.Root, name, rel string, depth int) bool {
			dir, err := disk.Sub(parent, name)
			if err != nil {
				return errors.Is(err, fs.ErrNotExist) || yield(entry{path: rel, err: s.fault("read", rel, err)})
			}
			defer dir.Close()
			for found, err := range disk.All(dir) {
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
		descend(root, layout.CatalogDir, layout.CatalogDir, len("YMD"))
	}
}

func (s *store) entryAt(dir *os.Root, rel string) entry {
	e := entry{path: rel}
	data, err := disk.Read(dir, path.Base(rel), layout.RecordLimit)
	if err != nil {
		e.err = s.fault("read", rel, err)
		return e
	}
	e.sum = chain.Sum(data)
	if e.Record, err = layout.DecodeRecord(data, rel); err != nil {
		e.err = s.corrupt(rel, "%w", err)
	}
	return e
}
