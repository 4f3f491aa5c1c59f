package plain

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/plain/disk"
	"github.com/holdfast-dr/holdfast/providers/plain/layout"
)

// intent says where an artifact goes, so that after a crash it is found, and so is each file of an export.
type intent struct {
	Shift    int            `json:"shift"`    // milliseconds after the artifact's time
	Manifest string         `json:"manifest"` // path
	Files    []intendedFile `json:"files"`    // of an export; a secure backup moves as a whole
}

type intendedFile struct {
	Staged string `json:"staged"`
	Path   string `json:"path"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// readIntent gives nil when there is none. It is replaced as a whole, so it is never torn.
func readIntent(staging *os.Root) (*intent, error) {
	data, err := disk.Read(staging, intentDoc, layout.ManifestLimit)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var in intent
	if err := json.Unmarshal(data, &in); err != nil {
		return nil, err
	}
	return &in, nil
}

func (c *committing) writeIntent(m providers.Manifest, p layout.Place, shift int) error {
	s, in := c.store, intent{Shift: shift, Manifest: p.ManifestPath()}
	for _, f := range m.Files {
		if m.Action == providers.SecureBackup {
			break
		}
		in.Files = append(in.Files, intendedFile{Staged: layout.StagedName(f.Name), Path: f.Path, Size: f.Size, SHA256: f.SHA256})
	}
	data, err := layout.Encode(in)
	if err != nil {
		return s.fault("commit", stagingDir(m.ID), err)
	}
	if err := s.step("commit: write intent"); err != nil {
		return err
	}
	if err := disk.Replace(c.staging, intentDoc, data); err != nil {
		return s.fault("commit", path.Join(stagingDir(m.ID), intentDoc), err)
	}
	c.intent = &in
	return nil
}

// complete puts an artifact into the catalogue that a Commit published without coming so far, and reports whether there was one.
func (s *store) complete(ctx context.Context, root, staging *os.Root, id providers.ArtifactID) (bool, error) {
	in, err := readIntent(staging)
	if err != nil || in == nil {
		return false, s.fault("discard", path.Join(stagingDir(id), intentDoc), err)
	}
	p := layout.Place{Dir: path.Dir(in.Manifest), Manifest: path.Base(in.Manifest)}
	if p.Manifest != layout.SecureManifest {
		var ok bool
		if p, ok = layout.PlaceOf(providers.ExportDomain, p.Dir, p.Manifest); !ok {
			return false, s.corrupt(in.Manifest, "it is not the name of a manifest")
		}
	}
	dir, err := disk.Sub(root, p.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, s.fault("discard", p.Dir, err)
	}
	defer dir.Close()
	switch m, err := s.load(dir, p); {
	case errors.Is(err, providers.ErrNotFound), errors.Is(err, providers.ErrCorrupt), err == nil && m.ID != id:
		return false, nil
	case err != nil:
		return false, err
	default:
		return true, s.recordCommitted(ctx, root, m, p)
	}
}

// finish completes the Commit of an artifact that came to its commit point and no further, and reports whether its staging area went:
// nobody needs it any more, however fresh it is.
func (s *store) finish(ctx context.Context, root *os.Root, id providers.ArtifactID) (bool, error) {
	dir, err := disk.Sub(root, stagingDir(id))
	if err != nil {
		return false, s.fault("discard", stagingDir(id), err)
	}
	defer dir.Close()
	published, err := s.complete(ctx, root, dir, id)
	if err != nil || !published {
		return false, err
	}
	return true, s.wipe(root, id)
}

// finishOthers completes the Commits for which the store had no room after the commit point, now that it had. What
// cannot be completed yet is left to the next Commit, and to Sweep, which tells why.
func (s *store) finishOthers(ctx context.Context, root *os.Root, own providers.ArtifactID) {
	_ = s.inside(root, layout.TmpDir, func(_ *os.Root, name string) error {
		if id := providers.ArtifactID(name); id != own && layout.ValidID.MatchString(name) {
			_, _ = s.finish(ctx, root, id)
		}
		return nil
	})
}

// retract removes the files that a broken off Commit published without coming
// to the manifest. A file stays when it is not what was moved, or when a manifest claims it.
func (s *store) retract(ctx context.Context, root, staging *os.Root, id providers.ArtifactID) error {
	in, err := readIntent(staging)
	if err != nil {
		return s.fault("discard", path.Join(stagingDir(id), intentDoc), err)
	}
	if in == nil || len(in.Files) == 0 {
		return nil
	}
	rel := path.Dir(in.Manifest)
	dir, err := disk.Sub(root, rel)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return s.fault("discard", rel, err)
	}
	defer dir.Close()
	claimed, err := s.claimed(dir, in.Manifest)
	if err != nil {
		return err
	}
	files, err := disk.Sub(staging, filesDir)
	if err != nil {
		return s.fault("discard", stagedDir(id), err)
	}
	defer files.Close()
	for _, f := range in.Files {
		name := path.Base(f.Path)
		staged, err := disk.Exists(files, f.Staged)
		if err != nil {
			return s.fault("discard", path.Join(stagedDir(id), f.Staged), err)
		}
		if path.Dir(f.Path) != rel || claimed[f.Path] || staged && !disk.Same(files, f.Staged, dir, name) {
			continue
		}
		same, err := holdsContent(ctx, dir, name, f.Size, f.SHA256)
		if errors.Is(err, fs.ErrNotExist) || err == nil && !same {
			continue
		}
		if err == nil {
			err = s.step("clear: remove " + f.Path)
		}
		if err == nil {
			err = dir.Remove(name)
		}
		if err != nil {
			return s.fault("discard", f.Path, err)
		}
	}
	return s.fault("discard", rel, disk.SyncDir(dir))
}

// claimed lists the files of the artifact that has a manifest at this path, if one has.
func (s *store) claimed(dir *os.Root, manifest string) (map[string]bool, error) {
	p, ok := layout.PlaceOf(providers.ExportDomain, path.Dir(manifest), path.Base(manifest))
	if !ok {
		return nil, s.corrupt(manifest, "it is not the name of a manifest")
	}
	m, err := s.load(dir, p)
	if errors.Is(err, providers.ErrNotFound) {
		return nil, nil
	}
	claimed := make(map[string]bool)
	for _, f := range m.Files {
		claimed[f.Path] = true
	}
	return claimed, err
}

// holdsContent reports whether a file has this size and checksum.
func holdsContent(ctx context.Context, dir *os.Root, name string, size int64, sum string) (bool, error) {
	f, info, err := disk.Open(dir, name)
	if err != nil {
		return false, err
	}
	defer f.Close()
	if info.Size() != size {
		return false, nil
	}
	disk.Forget(f)
	h := sha256.New()
	if _, err := io.CopyBuffer(h, contextReader{ctx, f}, make([]byte, 1<<20)); err != nil {
		return false, err
	}
	return hex.EncodeToString(h.Sum(nil)) == sum, nil
}

type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
