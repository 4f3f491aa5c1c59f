// Package artifact reads committed artifacts back: it verifies what a store holds, and puts the content into a directory or a device.
// It needs the record of the artifact and its store, and no configuration.
package artifact

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/ahead"
	"github.com/holdfast-dr/holdfast/state"
)

// Manifest reads the recorded manifest of an artifact.
func Manifest(a state.Artifact) (providers.Manifest, error) {
	var m providers.Manifest
	if err := json.Unmarshal(a.Manifest, &m); err != nil {
		return m, fmt.Errorf("read the recorded manifest of artifact %s: %w", a.ID, err)
	}
	return m, nil
}

// SafetyActivity marks the artifact that a restore makes of what it is about to overwrite. Such an artifact is of no backup plan.
const SafetyActivity = "safety"

// IsSafety reports whether an artifact is what a restore was about to overwrite: the newest of a device, and rarely the one that
// is wanted back.
func IsSafety(a state.Artifact) bool {
	if a.BackupPlan != "" {
		return false
	}
	m, err := Manifest(a)
	return err == nil && m.Activity == SafetyActivity
}

// Verify reads every stored byte of an artifact in its store, which takes no key, and compares it with the manifest that was recorded. It changes
// nothing. Content that differs is providers.ErrCorrupt, an absent artifact providers.ErrNotFound. Read is called with the bytes read, and may be nil.
// An unverified artifact has no manifest in its store: it is compared with what was there when it was found, which only says that it did not change since.
func Verify(ctx context.Context, opener *providers.Opener, a state.Artifact, read func(int64)) (err error) {
	m, err := Manifest(a)
	if err != nil {
		return err
	}
	store, err := opener.Store(ctx, a.Store)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if a.State != state.ArtifactUnverified {
		if err := sameManifest(ctx, store, m); err != nil {
			return err
		}
	}
	for _, f := range m.Files {
		r, err := store.Stored(ctx, m, f.Name)
		if err != nil {
			return err
		}
		err = errors.Join(copyChecked(ctx, io.Discard, r, f, read), r.Close())
		if err != nil {
			return err
		}
	}
	return nil
}

// sameManifest compares the manifest in the store with the recorded one.
func sameManifest(ctx context.Context, store providers.Store, m providers.Manifest) error {
	stored, err := store.Get(ctx, m.ArtifactRef)
	if errors.Is(err, providers.ErrNotFound) {
		return fmt.Errorf("its manifest in %s is gone: %w", manifestPlace(m), err)
	}
	if err != nil {
		return err
	}
	if same, err := equal(stored, m); err != nil || !same {
		return errors.Join(err, &providers.Error{Op: "verify", Target: manifestPlace(m), Err: fmt.Errorf("%w: the manifest in the store is not the one that was recorded", providers.ErrCorrupt)})
	}
	return nil
}

// Readable asks a store whether it can give the content of an artifact: it opens its first file and reads a little of it.
// Without the key the error is providers.ErrNoKey.
func Readable(ctx context.Context, store providers.Store, m providers.Manifest) error {
	if len(m.Files) == 0 {
		return nil
	}
	r, err := store.Open(ctx, m, m.Files[0].Name)
	if err != nil {
		return err
	}
	_, err = r.Read(make([]byte, 1))
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return errors.Join(err, r.Close())
}

// equal compares what two manifests say.
func equal(a, b providers.Manifest) (bool, error) {
	one, err := json.Marshal(a)
	if err != nil {
		return false, err
	}
	other, err := json.Marshal(b)
	return string(one) == string(other), err
}

// manifestPlace is where a manifest lies: with the files, by the layout of its store.
func manifestPlace(m providers.Manifest) string {
	if len(m.Files) == 0 {
		return "artifact " + string(m.ID)
	}
	return path.Dir(m.Files[0].Path)
}

// copyChecked copies a file and fails when size or hash are not those of its manifest.
func copyChecked(ctx context.Context, w io.Writer, r io.Reader, f providers.File, read func(int64)) error {
	sum := sha256.New()
	content := ahead.NewReader(r, sum)
	defer content.Close()
	size, err := content.WriteTo(&checkedWriter{ctx, w, read})
	if err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); size != f.Size || got != f.SHA256 {
		return &providers.Error{Op: "read", Target: f.Path, Err: fmt.Errorf("%w: %d bytes with SHA-256 %s, recorded are %d bytes with %s", providers.ErrCorrupt, size, got, f.Size, f.SHA256)}
	}
	return nil
}

// checkedWriter ends with its context, and tells how much was written.
type checkedWriter struct {
	ctx   context.Context
	to    io.Writer
	wrote func(int64) // may be nil
}

func (w *checkedWriter) Write(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := w.to.Write(p)
	if w.wrote != nil {
		w.wrote(int64(n))
	}
	return n, err
}

// source gives a device the files of a committed artifact.
type source struct {
	store    providers.Store
	manifest providers.Manifest
	read     func(int64)
}

// Files describes the content, which is what Open gives.
func (s *source) Files() []providers.File {
	files := make([]providers.File, len(s.manifest.Files))
	for i, f := range s.manifest.Files {
		files[i] = f.Content()
	}
	return files
}

func (s *source) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	r, err := s.store.Open(ctx, s.manifest, name)
	if err != nil || s.read == nil {
		return r, err
	}
	return &counted{r, s.read}, nil
}

// counted tells how much was read.
type counted struct {
	io.ReadCloser
	read func(int64)
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.read(int64(n))
	return n, err
}
