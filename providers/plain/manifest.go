package plain

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"unicode/utf8"

	"github.com/holdfast-dr/holdfast/providers"
)

const (
	manifestSchema = 1
	manifestLimit  = 64 << 20 // bytes; above it a manifest is not read
)

// document is a manifest as it is stored. JSON text is Unicode, names of files
// need not be: the *_bytes fields keep the names that are not.
type document struct {
	providers.Manifest
	Files       []documentFile `json:"files"`
	DeviceBytes []byte         `json:"device_bytes,omitempty"`
	DomainBytes []byte         `json:"domain_bytes,omitempty"`
}

type documentFile struct {
	providers.File
	NameBytes []byte `json:"name_bytes,omitempty"`
}

// encode gives JSON for people: indented, in field order, ending in a newline.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(v)
	return b.Bytes(), err
}

func encodeManifest(m providers.Manifest) ([]byte, error) {
	d := document{Manifest: m, DeviceBytes: rawBytes(m.Device), DomainBytes: rawBytes(m.Domain)}
	for _, f := range m.Files {
		d.Files = append(d.Files, documentFile{File: f, NameBytes: rawBytes(f.Name)})
	}
	return encode(d)
}

func rawBytes(name string) []byte {
	if utf8.ValidString(name) {
		return nil
	}
	return []byte(name)
}

func decodeManifest(data []byte) (providers.Manifest, error) {
	var d document
	if err := json.Unmarshal(data, &d); err != nil {
		return providers.Manifest{}, err
	}
	m := d.Manifest
	if d.DeviceBytes != nil {
		m.Device = string(d.DeviceBytes)
	}
	if d.DomainBytes != nil {
		m.Domain = string(d.DomainBytes)
	}
	for _, f := range d.Files {
		if f.NameBytes != nil {
			f.Name = string(f.NameBytes)
		}
		m.Files = append(m.Files, f.File)
	}
	if m.Annotations != nil {
		var b bytes.Buffer
		if err := json.Compact(&b, m.Annotations); err != nil {
			return providers.Manifest{}, err
		}
		m.Annotations = b.Bytes()
	}
	return m, nil
}

// checkManifest says what keeps a manifest from being committed.
func checkManifest(m providers.Manifest) error {
	if err := checkRef(m.ArtifactRef); err != nil {
		return err
	}
	if m.Schema != manifestSchema {
		return fmt.Errorf("manifest schema %d is not known, only %d", m.Schema, manifestSchema)
	}
	if len(m.Files) == 0 {
		return fmt.Errorf("artifact %s has no files", m.ID)
	}
	names := make(map[string]bool, len(m.Files))
	for _, f := range m.Files {
		switch {
		case f.Name == "":
			return fmt.Errorf("artifact %s has a file without a name", m.ID)
		case names[f.Name]:
			return fmt.Errorf("artifact %s lists %q twice", m.ID, f.Name)
		case f.Size < 0 || !validSHA256.MatchString(f.SHA256):
			return fmt.Errorf("artifact %s: size or checksum of %q is malformed", m.ID, f.Name)
		case f.Transformed() && (f.ContentSize < 0 || !validSHA256.MatchString(f.ContentSHA256)):
			return fmt.Errorf("artifact %s: size or checksum of the content of %q is malformed", m.ID, f.Name)
		}
		names[f.Name] = true
	}
	return nil
}

// load reads the manifest of a place, from the open directory of the place, and
// believes nothing in it that would lead elsewhere.
func (s *store) load(dir *os.Root, p place) (providers.Manifest, error) {
	data, err := readRegular(dir, p.manifest, manifestLimit)
	if err != nil {
		return providers.Manifest{}, s.fault("read", p.manifestPath(), err)
	}
	return s.parse(data, p.manifestPath(), p)
}

func (s *store) parse(data []byte, rel string, p place) (providers.Manifest, error) {
	m, err := decodeManifest(data)
	if err == nil {
		err = checkManifest(m)
	}
	if err != nil {
		return m, s.corrupt(rel, "%w", err)
	}
	at := p.dir
	if m.Action == providers.SecureBackup {
		at = path.Dir(p.dir)
	}
	if home(m.ArtifactRef) != at || (p.stem == "") != (m.Action == providers.SecureBackup) {
		return m, s.corrupt(rel, "the manifest belongs to device %q, domain %q, %s", m.Device, m.Domain, m.Action)
	}
	for _, f := range m.Files {
		if !p.holds(f.Path) {
			return m, s.corrupt(rel, "file %q has the path %q, which is not the artifact's own", f.Name, f.Path)
		}
	}
	return m, nil
}

// checkFiles looks whether the files of an artifact are there with their sizes.
func (s *store) checkFiles(dir *os.Root, p place, m providers.Manifest) error {
	for _, f := range m.Files {
		info, err := lstatRegular(dir, path.Base(f.Path))
		if err != nil {
			return s.corrupt(p.manifestPath(), "file %q: %w", f.Path, cause(err))
		}
		if info.Size() != f.Size {
			return s.corrupt(p.manifestPath(), "file %q has %d bytes and should have %d", f.Path, info.Size(), f.Size)
		}
	}
	return nil
}

var errNotCommitted = errors.New("no such artifact")
