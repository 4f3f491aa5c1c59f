package plain

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/plain/disk"
	"github.com/holdfast-dr/holdfast/providers/plain/layout"
)

// Commit publishes a staged artifact. Each way through it is repeatable from
// any point at which it broke off:
//
//	secure backup  files under their final names into a directory of the
//	               staging area, manifest beside them, intent (the final
//	               name), then one rename of that directory: the commit point
//	export         intent (the final names) into the staging area, files under
//	               their final names, then the manifest: the commit point
//	both           sync, catalogue event, then the staging area goes: what clears
//	               it after a crash, and the next commit of any artifact, makes up for
//	               the event by the intent
//
// Of the two directories of a rename only the new one is synced: a name in the staging area that comes back with the power is
// a second name of the same file, which every way knows.
//
// Nothing is ever replaced: a name that is taken moves the artifact to the next millisecond.
func (s *store) Commit(ctx context.Context, m providers.Manifest) (providers.Manifest, error) {
	if err := ctx.Err(); err != nil {
		return providers.Manifest{}, err
	}
	if m.Schema == 0 {
		m.Schema = layout.Schema
	}
	m.Started, m.Finished = m.Started.UTC(), m.Finished.UTC()
	if err := layout.CheckManifest(m); err != nil {
		return providers.Manifest{}, s.fault("commit", "", err)
	}
	root, err := s.root("commit", strict)
	if err != nil {
		return providers.Manifest{}, err
	}
	s.publishing.Lock()
	defer s.publishing.Unlock()

	stored, p, err := s.find(ctx, root, m.ArtifactRef)
	if errors.Is(err, providers.ErrNotFound) || errors.Is(err, providers.ErrCorrupt) {
		stored, p, err = s.publish(ctx, root, m)
	}
	if err != nil {
		return providers.Manifest{}, err
	}
	s.finishOthers(ctx, root, m.ID) // before its own entry: whoever looks at the last one finds an artifact that is recorded
	if err := s.recordCommitted(ctx, root, stored, p); err != nil {
		return providers.Manifest{}, err
	}
	return stored, s.wipe(root, m.ID)
}

func (s *store) publish(ctx context.Context, root *os.Root, m providers.Manifest) (providers.Manifest, layout.Place, error) {
	dir, err := disk.Sub(root, stagingDir(m.ID))
	if err != nil {
		return m, layout.Place{}, s.fault("commit", stagingDir(m.ID), err)
	}
	defer dir.Close()
	files, err := disk.Sub(dir, filesDir)
	if err != nil {
		return m, layout.Place{}, s.fault("commit", stagedDir(m.ID), err)
	}
	defer files.Close()
	there, err := s.staged(files, m)
	if err != nil {
		return m, layout.Place{}, err
	}
	c := committing{store: s, root: root, m: m, staging: dir, files: files, there: there}
	if c.intent, err = readIntent(dir); err != nil {
		return m, layout.Place{}, s.fault("commit", path.Join(stagingDir(m.ID), intentDoc), err)
	}
	if c.intent == nil && m.Action != providers.SecureBackup {
		for _, f := range m.Files {
			if !there[layout.StagedName(f.Name)] {
				return m, layout.Place{}, s.fault("commit", path.Join(stagedDir(m.ID), layout.StagedName(f.Name)), fs.ErrNotExist)
			}
		}
	}
	if err := s.step("commit: make home"); err != nil {
		return m, layout.Place{}, err
	}
	if c.home, err = disk.MakeSub(root, layout.Home(m.ArtifactRef)); err != nil {
		return m, layout.Place{}, s.fault("commit", layout.Home(m.ArtifactRef), err)
	}
	defer c.home.Close()

	try := c.manifestLast
	if m.Action == providers.SecureBackup {
		try = c.wholeDirectory
	}
	start := 0
	if c.intent != nil {
		start = c.intent.Shift
	}
	for n := start; n < layout.ShiftLimit; n++ {
		p := layout.Shifted(m.ArtifactRef, n)
		stored, err := try(ctx, p, n)
		if !errors.Is(err, fs.ErrExist) {
			return stored, p, err
		}
	}
	return m, layout.Place{}, s.fault("commit", layout.Home(m.ArtifactRef), fmt.Errorf("no free time within %d ms of %s", layout.ShiftLimit, layout.Stamp(m.Started)))
}

// committing is one Commit under way.
type committing struct {
	store   *store
	root    *os.Root
	m       providers.Manifest
	staging *os.Root
	files   *os.Root // staged files
	home    *os.Root // what the artifact's place is an entry of
	there   map[string]bool
	intent  *intent // of an earlier attempt
}

// at gives the manifest with the paths of a place, as it will be read back.
func (c *committing) at(p layout.Place) (m providers.Manifest, names []string, data []byte, err error) {
	m = c.m
	names = p.Names(m.Files)
	m.Files = make([]providers.File, len(names))
	for i, f := range c.m.Files {
		f.Path = path.Join(p.Dir, names[i])
		m.Files[i] = f
	}
	if data, err = layout.EncodeManifest(m); err == nil {
		m, err = c.store.parse(data, p.ManifestPath(), p)
	}
	return m, names, data, err
}

// wholeDirectory publishes a secure backup: its directory appears complete.
func (c *committing) wholeDirectory(ctx context.Context, p layout.Place, shift int) (providers.Manifest, error) {
	s, rel, name := c.store, p.Dir, path.Base(p.Dir)
	if taken, err := disk.Exists(c.home, name); err != nil {
		return c.m, s.fault("commit", rel, err)
	} else if taken {
		return c.m, fs.ErrExist
	}
	m, names, data, err := c.at(p)
	if err != nil {
		return m, s.fault("commit", p.ManifestPath(), err)
	}
	if err := s.step("commit: make directory"); err != nil {
		return m, err
	}
	ready, err := disk.MakeSub(c.staging, readyDir)
	if err != nil {
		return m, s.fault("commit", path.Join(stagingDir(m.ID), readyDir), err)
	}
	defer ready.Close()
	for i, f := range m.Files {
		if err := c.moveFile(ctx, ready, f, names[i]); errors.Is(err, fs.ErrExist) {
			return m, s.corrupt(path.Join(stagingDir(m.ID), readyDir, names[i]), "another file is there already")
		} else if err != nil {
			return m, err
		}
	}
	if err := s.step("commit: write manifest"); err != nil {
		return m, err
	}
	if err := disk.Replace(ready, layout.SecureManifest, data); err != nil {
		return m, s.fault("commit", path.Join(stagingDir(m.ID), readyDir, layout.SecureManifest), err)
	}
	if err := c.writeIntent(m, p, shift); err != nil {
		return m, err
	}
	if err := s.step("commit: publish directory"); err != nil {
		return m, err
	}
	if err := disk.Move(c.staging, readyDir, c.home, name); errors.Is(err, fs.ErrExist) {
		return m, fs.ErrExist
	} else if err != nil {
		return m, s.fault("commit", rel, err)
	}
	return m, nil
}

// manifestLast publishes an export: its files, then its manifest beside them.
func (c *committing) manifestLast(ctx context.Context, p layout.Place, shift int) (providers.Manifest, error) {
	s, resumed := c.store, c.intent != nil && c.intent.Shift == shift
	if taken, err := disk.Exists(c.home, p.Manifest); err != nil {
		return c.m, s.fault("commit", p.ManifestPath(), err)
	} else if taken && !resumed {
		return c.m, fs.ErrExist
	}
	m, names, data, err := c.at(p)
	if err != nil {
		return m, s.fault("commit", p.ManifestPath(), err)
	}
	if !resumed {
		if err := c.writeIntent(m, p, shift); err != nil {
			return m, err
		}
	}
	for i, f := range m.Files {
		err := c.moveFile(ctx, c.home, f, names[i])
		if errors.Is(err, fs.ErrExist) {
			return m, c.takeBack(m, names)
		}
		if err != nil {
			return m, err
		}
	}
	if err := s.step("commit: sync files"); err != nil {
		return m, err
	}
	if err := disk.SyncDir(c.home); err != nil {
		return m, s.fault("commit", p.Dir, err)
	}
	if err := s.step("commit: write manifest"); err != nil {
		return m, err
	}
	if err := disk.WriteNew(c.staging, layout.SecureManifest, data); err != nil {
		return m, s.fault("commit", path.Join(stagingDir(m.ID), layout.SecureManifest), err)
	}
	if err := s.step("commit: publish manifest"); err != nil {
		return m, err
	}
	if err := disk.Move(c.staging, layout.SecureManifest, c.home, p.Manifest); errors.Is(err, fs.ErrExist) {
		return m, c.takeBack(m, names)
	} else if err != nil {
		return m, s.fault("commit", p.ManifestPath(), err)
	}
	return m, nil
}

// moveFile gives one file its final name, or finds that an earlier attempt
// did. fs.ErrExist says that the name belongs to something else.
func (c *committing) moveFile(ctx context.Context, to *os.Root, f providers.File, name string) error {
	s, staged := c.store, layout.StagedName(f.Name)
	if !c.there[staged] {
		switch same, err := holdsContent(ctx, to, name, f.Size, f.SHA256); {
		case errors.Is(err, fs.ErrNotExist):
			return s.fault("commit", path.Join(stagedDir(c.m.ID), staged), err)
		case err != nil:
			return s.fault("commit", f.Path, err)
		case !same:
			return s.corrupt(f.Path, "an earlier commit of artifact %s moved it here, and it changed since", c.m.ID)
		}
		return nil
	}
	if err := s.step("commit: move " + f.Name); err != nil {
		return err
	}
	err := disk.Move(c.files, staged, to, name)
	if errors.Is(err, fs.ErrExist) {
		if !disk.Same(c.files, staged, to, name) {
			return fs.ErrExist
		}
		err = c.files.Remove(staged)
	}
	if err != nil {
		return s.fault("commit", f.Path, err)
	}
	c.there[staged] = false
	return nil
}

// takeBack moves what was moved back into staging and reports fs.ErrExist, so that the next time is tried.
func (c *committing) takeBack(m providers.Manifest, names []string) error {
	s := c.store
	for i, f := range m.Files {
		staged := layout.StagedName(f.Name)
		if c.there[staged] {
			continue
		}
		if err := s.step("commit: take back " + f.Name); err != nil {
			return err
		}
		if err := disk.Move(c.home, names[i], c.files, staged); err != nil {
			return s.fault("commit", f.Path, err)
		}
		c.there[staged] = true
	}
	if err := errors.Join(disk.SyncDir(c.files), disk.SyncDir(c.home)); err != nil {
		return s.fault("commit", stagedDir(m.ID), err)
	}
	return fs.ErrExist
}
