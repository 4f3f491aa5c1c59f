package plain

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/plain/disk"
	"github.com/holdfast-dr/holdfast/providers/plain/layout"
)

// Delete removes a committed artifact. Its manifest goes to the trash first, so
// that the artifact is gone at once and a broken off deletion is finished by the next call.
func (s *store) Delete(ctx context.Context, ref providers.ArtifactRef) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := layout.CheckRef(ref); err != nil {
		return s.fault("delete", "", err)
	}
	root, err := s.root("delete", same)
	if err != nil {
		return err
	}
	s.publishing.Lock()
	defer s.publishing.Unlock()
	trash, err := disk.MakeSub(root, layout.TrashDir)
	if err != nil {
		return s.fault("delete", layout.TrashDir, err)
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
	dir, err := disk.Sub(root, p.Dir)
	if err != nil {
		return s.fault("delete", p.Dir, err)
	}
	defer dir.Close()
	if err := s.step("delete: hide manifest"); err != nil {
		return err
	}
	if err := disk.Move(dir, p.Manifest, trash, trashName(ref.ID)); err != nil {
		return s.fault("delete", p.ManifestPath(), err)
	}
	if err := s.step("delete: sync"); err != nil {
		return err
	}
	if err := errors.Join(disk.SyncDir(trash), disk.SyncDir(dir)); err != nil {
		return s.fault("delete", p.ManifestPath(), err)
	}
	_, err = s.emptyTrash(ctx, root, trash, ref.ID)
	return err
}

func trashName(id providers.ArtifactID) string { return string(id) + ".json" }

// emptyTrash deletes the files of a manifest in the trash, and then the manifest, and gives what it was.
func (s *store) emptyTrash(ctx context.Context, root, trash *os.Root, id providers.ArtifactID) (providers.Manifest, error) {
	rel := path.Join(layout.TrashDir, trashName(id))
	data, err := disk.Read(trash, trashName(id), layout.ManifestLimit)
	if errors.Is(err, fs.ErrNotExist) {
		return providers.Manifest{}, nil
	}
	if err != nil {
		return providers.Manifest{}, s.fault("delete", rel, err)
	}
	m, err := layout.DecodeManifest(data)
	if err == nil {
		err = layout.CheckManifest(m)
	}
	if err != nil {
		return m, s.corrupt(rel, "%w", err)
	}
	p, ok := layout.PlaceHolding(m.ArtifactRef, m.Files[0].Path)
	if !ok {
		return m, s.corrupt(rel, "%q is not a path of artifact %s", m.Files[0].Path, m.ID)
	}
	if m, err = s.parse(data, rel, p); err != nil {
		return m, err
	}
	if err := s.removeFiles(root, p, m); err != nil {
		return m, err
	}
	if err := s.record(ctx, root, layout.Deleted, m, p, data); err != nil {
		return m, err
	}
	if err := s.step("delete: remove manifest"); err != nil {
		return m, err
	}
	if err := disk.Remove(trash, trashName(id)); err != nil {
		return m, s.fault("delete", rel, err)
	}
	return m, s.fault("delete", rel, disk.SyncDir(trash))
}

func (s *store) removeFiles(root *os.Root, p layout.Place, m providers.Manifest) error {
	dir, err := disk.Sub(root, p.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return s.fault("delete", p.Dir, err)
	}
	defer dir.Close()
	for _, f := range m.Files {
		if err := s.step("delete: remove " + f.Name); err != nil {
			return err
		}
		if err := disk.Remove(dir, path.Base(f.Path)); err != nil {
			return s.fault("delete", f.Path, err)
		}
	}
	if err := disk.SyncDir(dir); err != nil {
		return s.fault("delete", p.Dir, err)
	}
	if m.Action != providers.SecureBackup {
		return nil
	}
	homeDir, err := disk.Sub(root, path.Dir(p.Dir))
	if err != nil {
		return s.fault("delete", path.Dir(p.Dir), err)
	}
	defer homeDir.Close()
	if err := s.step("delete: remove directory"); err != nil {
		return err
	}
	left, err := disk.Entries(dir)
	if err != nil {
		return s.fault("delete", p.Dir, err)
	}
	if len(left) > 0 {
		return nil // not ours
	}
	if err := disk.Remove(homeDir, path.Base(p.Dir)); err != nil {
		return s.fault("delete", p.Dir, err)
	}
	return s.fault("delete", path.Dir(p.Dir), disk.SyncDir(homeDir))
}
