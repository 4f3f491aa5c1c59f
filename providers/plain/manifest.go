package plain

import (
	"errors"
	"os"
	"path"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/plain/disk"
	"github.com/holdfast-dr/holdfast/providers/plain/layout"
)

// load reads the manifest of a place, from the open directory of the place, and
// believes nothing in it that would lead elsewhere.
func (s *store) load(dir *os.Root, p layout.Place) (providers.Manifest, error) {
	data, err := disk.Read(dir, p.Manifest, layout.ManifestLimit)
	if err != nil {
		return providers.Manifest{}, s.fault("read", p.ManifestPath(), err)
	}
	return s.parse(data, p.ManifestPath(), p)
}

func (s *store) parse(data []byte, rel string, p layout.Place) (providers.Manifest, error) {
	m, err := layout.DecodeManifest(data)
	if err == nil {
		err = layout.CheckManifest(m)
	}
	if err != nil {
		return m, s.corrupt(rel, "%w", err)
	}
	at := p.Dir
	if m.Action == providers.SecureBackup {
		at = path.Dir(p.Dir)
	}
	if layout.Home(m.ArtifactRef) != at || (p.Stem == "") != (m.Action == providers.SecureBackup) {
		return m, s.corrupt(rel, "the manifest belongs to device %q, domain %q, %s", m.Device, m.Domain, m.Action)
	}
	for _, f := range m.Files {
		if !p.Holds(f.Path) {
			return m, s.corrupt(rel, "file %q has the path %q, which is not the artifact's own", f.Name, f.Path)
		}
	}
	return m, nil
}

// checkFiles looks whether the files of an artifact are there with their sizes.
func (s *store) checkFiles(dir *os.Root, p layout.Place, m providers.Manifest) error {
	for _, f := range m.Files {
		info, err := disk.Lstat(dir, path.Base(f.Path))
		if err != nil {
			return s.corrupt(p.ManifestPath(), "file %q: %w", f.Path, cause(err))
		}
		if info.Size() != f.Size {
			return s.corrupt(p.ManifestPath(), "file %q has %d bytes and should have %d", f.Path, info.Size(), f.Size)
		}
	}
	return nil
}

var errNotCommitted = errors.New("no such artifact")
