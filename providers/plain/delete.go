package plain

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"

	"github.com/holdfast-dr/holdfast/providers"
)

// Delete removes a committed artifact. Its manifest goes to the trash first, so
// that the artifact is gone at once and a broken off deletion is finished by the next call.
func (s *store) Delete(ctx context.Context, ref providers.ArtifactRef) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := checkRef(ref); err != nil {
		return s.fault("delete", "", err)
	}
	root, err := s.root("delete", same)
	if err != nil {
		return err
	}
	s.publishing.Lock()
	defer s.publishing.Unlock()
	trash, err := makeSubdir(root, trashDir)
	if err != nil {
		return s.fault("delete", trashDir, err)
	}
	defer trash.Close()
	if _, err := s.emptyTrash(ctx, root, trash, ref.ID); err != nil {
		return err
	}
	_, p, err := s.find(ctx, root, ref)
	if errors.Is(err, providers.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	dir, err := subdir(root, p.dir)
	if err != nil {
		return s.fault("delete", p.dir, err)
	}
	defer dir.Close()
	if err := s.step("delete: hide manifest"); err != nil {
		return err
	}
	if err := move(dir, p.manifest, trash, trashName(ref.ID)); err != nil {
		return s.fault("delete", p.manifestPath(), err)
	}
	if err := s.step("delete: sync"); err != nil {
		return err
	}
	if err := errors.Join(syncDir(trash), syncDir(dir)); err != nil {
		return s.fault("delete", p.manifestPath(), err)
	}
	_, err = s.emptyTrash(ctx, root, trash, ref.ID)
	return err
}

func trashName(id providers.ArtifactID) string { return string(id) + ".json" }

// emptyTrash deletes the files of a manifest in the trash, and then the manifest, and gives what it was.
func (s *store) emptyTrash(ctx context.Context, root, trash *os.Root, id providers.ArtifactID) (providers.Manifest, error) {
	rel := path.Join(trashDir, trashName(id))
	data, err := readRegular(trash, trashName(id), manifestLimit)
	if errors.Is(err, fs.ErrNotExist) {
		return providers.Manifest{}, nil
	}
	if err != nil {
		return providers.Manifest{}, s.fault("delete", rel, err)
	}
	m, err := decodeManifest(data)
	if err == nil {
		err = checkManifest(m)
	}
	if err != nil {
		return m, s.corrupt(rel, "%w", err)
	}
	p, ok := placeHolding(m.ArtifactRef, m.Files[0].Path)
	if !ok {
		return m, s.corrupt(rel, "%q is not a path of artifact %s", m.Files[0].Path, m.ID)
	}
	if m, err = s.parse(data, rel, p); err != nil {
		return m, err
	}
	if err := s.removeFiles(root, p, m); err != nil {
		return m, err
	}
	if err := s.record(ctx, root, eventDeleted, m, p, data); err != nil {
		return m, err
	}
	if err := s.step("delete: remove manifest"); err != nil {
		return m, err
	}
	if err := removeIfThere(trash, trashName(id)); err != nil {
		return m, s.fault("delete", rel, err)
	}
	return m, s.fault("delete", rel, syncDir(trash))
}

func (s *store) removeFiles(root *os.Root, p place, m providers.Manifest) error {
	dir, err := subdir(root, p.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return s.fault("delete", p.dir, err)
	}
	defer dir.Close()
	for _, f := range m.Files {
		if err := s.step("delete: remove " + f.Name); err != nil {
			return err
		}
		if err := removeIfThere(dir, path.Base(f.Path)); err != nil {
			return s.fault("delete", f.Path, err)
		}
	}
	if err := syncDir(dir); err != nil {
		return s.fault("delete", p.dir, err)
	}
	if m.Action != providers.SecureBackup {
		return nil
	}
	homeDir, err := subdir(root, path.Dir(p.dir))
	if err != nil {
		return s.fault("delete", path.Dir(p.dir), err)
	}
	defer homeDir.Close()
	if err := s.step("delete: remove directory"); err != nil {
		return err
	}
	left, err := entries(dir)
	if err != nil {
		return s.fault("delete", p.dir, err)
	}
	if len(left) > 0 {
		return nil // not ours
	}
	if err := removeIfThere(homeDir, path.Base(p.dir)); err != nil {
		return s.fault("delete", p.dir, err)
	}
	return s.fault("delete", path.Dir(p.dir), syncDir(homeDir))
}
