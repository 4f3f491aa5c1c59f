package plain

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/plain/disk"
	"github.com/holdfast-dr/holdfast/providers/plain/layout"
)

// Sweep removes what crashes left below .holdfast: staging areas, deletions
// that broke off, and temporary files. Age is told by the clock of the store's
// file system, which is the one that stamped the files.
func (s *store) Sweep(ctx context.Context, keep func(providers.ArtifactID) bool) (providers.Swept, error) {
	var swept providers.Swept
	if err := ctx.Err(); err != nil {
		return swept, err
	}
	root, err := s.root("sweep", same)
	if err != nil {
		return swept, err
	}
	s.publishing.Lock()
	defer s.publishing.Unlock()
	tmp, err := disk.MakeSub(root, layout.TmpDir)
	if err != nil {
		return swept, s.fault("sweep", layout.TmpDir, err)
	}
	defer tmp.Close()
	now, err := s.probe(tmp, layout.TmpDir)
	if err != nil {
		return swept, err
	}
	w := sweeper{store: s, ctx: ctx, root: root, keep: keep, before: now.Add(-providers.SweepAge), swept: &swept}
	err = errors.Join(w.staging(tmp), w.trash(), w.temporary(headsDir, 0), w.temporary(layout.CatalogDir, 3))
	return swept, err
}

type sweeper struct {
	store  *store
	ctx    context.Context
	root   *os.Root
	keep   func(providers.ArtifactID) bool
	before time.Time
	swept  *providers.Swept
}

// staging clears the areas nobody wants any more. What stands there under no artifact's name is not ours.
func (w sweeper) staging(tmp *os.Root) error {
	areas, err := disk.Entries(tmp)
	if err != nil {
		return w.store.fault("sweep", layout.TmpDir, err)
	}
	var problems error
	for _, a := range areas {
		id := providers.ArtifactID(a.Name())
		if !a.IsDir() || !layout.ValidID.MatchString(a.Name()) || w.keep(id) {
			continue
		}
		if err := w.ctx.Err(); err != nil {
			return err
		}
		problems = errors.Join(problems, w.area(tmp, id))
	}
	return problems
}

func (w sweeper) area(tmp *os.Root, id providers.ArtifactID) error {
	u, err := w.usage(tmp, string(id))
	if err != nil {
		return w.store.fault("sweep", stagingDir(id), err)
	}
	finished, err := w.store.finish(w.ctx, w.root, id)
	if err != nil || !finished && u.touched.After(w.before) {
		return err
	}
	if err := w.store.clear(w.ctx, w.root, id); err != nil {
		return err
	}
	w.swept.Staged = append(w.swept.Staged, id)
	w.swept.Files += u.files
	w.swept.Bytes += u.bytes
	return nil
}

type usage struct {
	touched time.Time // last
	files   int
	bytes   int64
}

// usage looks through a directory and those in it.
func (w sweeper) usage(parent *os.Root, name string) (usage, error) {
	var u usage
	dir, err := disk.Sub(parent, name)
	if err != nil {
		return u, err
	}
	defer dir.Close()
	info, err := dir.Stat(".")
	if err != nil {
		return u, err
	}
	u.touched = info.ModTime()
	for entry, err := range disk.All(dir) {
		if err != nil {
			return u, err
		}
		var in usage
		if entry.IsDir() {
			in, err = w.usage(dir, entry.Name())
		} else if info, err = dir.Lstat(entry.Name()); err == nil {
			in = usage{info.ModTime(), 1, info.Size()}
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return u, err
		}
		u.files += in.files
		u.bytes += in.bytes
		if in.touched.After(u.touched) {
			u.touched = in.touched
		}
	}
	return u, nil
}

// trash finishes deletions. They were decided, so they need no age.
func (w sweeper) trash() error {
	dir, err := disk.Sub(w.root, layout.TrashDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return w.store.fault("sweep", layout.TrashDir, err)
	}
	defer dir.Close()
	manifests, err := disk.Entries(dir)
	if err != nil {
		return w.store.fault("sweep", layout.TrashDir, err)
	}
	var problems error
	for _, e := range manifests {
		name, ok := strings.CutSuffix(e.Name(), ".json")
		id := providers.ArtifactID(name)
		if !ok || !layout.ValidID.MatchString(name) || w.keep(id) {
			continue
		}
		if err := w.ctx.Err(); err != nil {
			return err
		}
		m, err := w.store.emptyTrash(w.ctx, w.root, dir, id)
		if err != nil {
			problems = errors.Join(problems, err)
			continue
		}
		w.swept.Deleted = append(w.swept.Deleted, id)
		w.swept.Files += len(m.Files)
		w.swept.Bytes += m.Size()
	}
	return problems
}

// temporary removes files that were never given their names.
func (w sweeper) temporary(rel string, depth int) error {
	dir, err := disk.Sub(w.root, rel)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return w.store.fault("sweep", rel, err)
	}
	defer dir.Close()
	for entry, err := range disk.All(dir) {
		if err == nil {
			err = w.ctx.Err()
		}
		if err != nil {
			return w.store.fault("sweep", rel, err)
		}
		name := entry.Name()
		if depth > 0 && entry.IsDir() {
			if err := w.temporary(path.Join(rel, name), depth-1); err != nil {
				return err
			}
		}
		if !strings.HasPrefix(name, ".") || !strings.HasSuffix(name, ".tmp") || entry.IsDir() {
			continue
		}
		info, err := dir.Lstat(name)
		if errors.Is(err, fs.ErrNotExist) || err == nil && info.ModTime().After(w.before) {
			continue
		}
		if err == nil {
			err = disk.Remove(dir, name)
		}
		if err != nil {
			return w.store.fault("sweep", path.Join(rel, name), err)
		}
		w.swept.Files++
		w.swept.Bytes += info.Size()
	}
	return nil
}
