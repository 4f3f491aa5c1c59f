package layout

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"github.com/holdfast-dr/holdfast/providers"
)

const (
	// Schema is the version of manifests.
	Schema = 1
	// ManifestLimit is the length in bytes above which a manifest is not read.
	ManifestLimit = 64 << 20
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

// Encode gives JSON for people: indented, in field order, ending in a newline.
func Encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(v)
	return b.Bytes(), err
}

// EncodeManifest gives a manifest as it is stored.
func EncodeManifest(m providers.Manifest) ([]byte, error) {
	d := document{Manifest: m, DeviceBytes: RawBytes(m.Device), DomainBytes: RawBytes(m.Domain)}
	for _, f := range m.Files {
		d.Files = append(d.Files, documentFile{File: f, NameBytes: RawBytes(f.Name)})
	}
	return Encode(d)
}

// RawBytes is a name that JSON cannot hold, or nil.
func RawBytes(name string) []byte {
	if utf8.ValidString(name) {
		return nil
	}
	return []byte(name)
}

// DecodeManifest reads a stored manifest. What it says is not checked.
func DecodeManifest(data []byte) (providers.Manifest, error) {
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

// CheckManifest says what keeps a manifest from being committed.
func CheckManifest(m providers.Manifest) error {
	if err := CheckRef(m.ArtifactRef); err != nil {
		return err
	}
	if m.Schema != Schema {
		return fmt.Errorf("manifest schema %d is not known, only %d", m.Schema, Schema)
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
