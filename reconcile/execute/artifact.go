package execute

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/state"
)

// VerifyArtifact reads every stored byte of an artifact in its store, which takes no key, and compares it with the manifest that was recorded. It changes
// nothing. Content that differs is providers.ErrCorrupt, an absent artifact providers.ErrNotFound. Read is called with the bytes read.
func VerifyArtifact(ctx context.Context, opener *providers.Opener, a state.Artifact, read func(int64)) (err error) {
	m, err := manifestOf(a)
	if err != nil {
		return err
	}
	store, err := opener.Store(ctx, a.Store)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	stored, err := store.Get(ctx, m.ArtifactRef)
	if errors.Is(err, providers.ErrNotFound) {
		return fmt.Errorf("its manifest in %s is gone: %w", manifestPlace(m), err)
	}
	if err != nil {
		return err
	}
	if string(encode(stored)) != string(encode(m)) {
		return &providers.Error{Op: "verify", Target: manifestPlace(m), Err: fmt.Errorf("%w: the manifest in the store is not the one that was recorded", providers.ErrCorrupt)}
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

// manifestPlace is where a manifest lies: with the files, by the layout of its store.
func manifestPlace(m providers.Manifest) string {
	if len(m.Files) == 0 {
		return "artifact " + string(m.ID)
	}
	return path.Dir(m.Files[0].Path)
}

func manifestOf(a state.Artifact) (providers.Manifest, error) {
	var m providers.Manifest
	if err := json.Unmarshal(a.Manifest, &m); err != nil {
		return m, fmt.Errorf("read the recorded manifest of artifact %s: %w", a.ID, err)
	}
	return m, nil
}

// copyChecked copies a file and fails when size or hash are not those of its manifest.
func copyChecked(ctx context.Context, w io.Writer, r io.Reader, f providers.File, read func(int64)) error {
	sum := sha256.New()
	buf := make([]byte, 1<<20)
	var size int64
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := r.Read(buf)
		size += int64(n)
		sum.Write(buf[:n])
		if _, werr := w.Write(buf[:n]); werr != nil {
			return werr
		}
		if read != nil {
			read(int64(n))
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	if got := hex.EncodeToString(sum.Sum(nil)); size != f.Size || got != f.SHA256 {
		return &providers.Error{Op: "read", Target: f.Path, Err: fmt.Errorf("%w: %d bytes with SHA-256 %s, recorded are %d bytes with %s", providers.ErrCorrupt, size, got, f.Size, f.SHA256)}
	}
	return nil
}

// RestoreArtifact puts an artifact's content into a directory, which must be absent or empty and is
// complete or absent afterwards. With raw, or when the device is no longer recorded, the files are written as they are stored.
func RestoreArtifact(ctx context.Context, opener *providers.Opener, a state.Artifact, dir string, raw bool, read func(int64)) (err error) {
	m, err := manifestOf(a)
	if err != nil {
		return err
	}
	partial, err := restoreInto(dir, a.ID)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(partial))
		}
	}()
	store, err := opener.Store(ctx, a.Store)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	src := &artifactSource{store: store, manifest: m, read: read}
	if raw {
		err = restoreRaw(ctx, src, partial)
	} else {
		err = restoreByDevice(ctx, opener, a, src, partial)
	}
	if err != nil {
		return err
	}
	return publish(partial, dir)
}

// restoreInto makes the directory the content is written into before it gets its name.
func restoreInto(dir, id string) (string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("restore into %s: %w", dir, err)
	}
	if len(entries) > 0 {
		return "", &providers.Error{Op: "restore into", Target: dir, Err: providers.ErrNotEmpty, Hint: "Name a directory that is absent or empty."}
	}
	partial := filepath.Clean(dir) + ".partial-" + id
	if err := os.RemoveAll(partial); err != nil {
		return "", err
	}
	return partial, os.MkdirAll(partial, 0o700)
}

// publish gives a complete directory its name.
func publish(partial, dir string) error {
	if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("restore into %s: %w", dir, err)
	}
	return os.Rename(partial, dir)
}

func restoreByDevice(ctx context.Context, opener *providers.Opener, a state.Artifact, src *artifactSource, dir string) (err error) {
	device, err := opener.Device(ctx, a.Device)
	if err != nil {
		return fmt.Errorf("%w; with --raw the stored files are written as they are", err)
	}
	defer func() { err = errors.Join(err, device.Close()) }()
	req := providers.RestoreRequest{Action: providers.Action(a.Action), Domain: a.Domain, Variant: providers.Variant(a.Variant), Dir: dir}
	return device.Restore(ctx, req, src)
}

func restoreRaw(ctx context.Context, src *artifactSource, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, f := range src.Files() {
		r, err := src.Open(ctx, f.Name)
		if err != nil {
			return err
		}
		w, err := root.OpenFile(f.Name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return errors.Join(err, r.Close())
		}
		err = copyChecked(ctx, w, r, f, src.read)
		if err = errors.Join(err, w.Sync(), w.Close(), r.Close()); err != nil {
			return err
		}
	}
	return nil
}

// artifactSource gives a device the files of a committed artifact.
type artifactSource struct {
	store    providers.Store
	manifest providers.Manifest
	read     func(int64)
}

// Files describes the content, which is what Open gives.
func (s *artifactSource) Files() []providers.File {
	files := make([]providers.File, len(s.manifest.Files))
	for i, f := range s.manifest.Files {
		files[i] = f.Content()
	}
	return files
}

func (s *artifactSource) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	return s.store.Open(ctx, s.manifest, name)
}
