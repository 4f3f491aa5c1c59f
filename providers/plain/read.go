package plain

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"

	"github.com/holdfast-dr/holdfast/providers"
)

// Get reads one manifest.
func (s *store) Get(ctx context.Context, ref providers.ArtifactRef) (providers.Manifest, error) {
	if err := ctx.Err(); err != nil {
		return providers.Manifest{}, err
	}
	if err := checkRef(ref); err != nil {
		return providers.Manifest{}, s.fault("get", "", err)
	}
	root, err := s.root("get", seen)
	if err != nil {
		return providers.Manifest{}, err
	}
	m, _, err := s.find(ctx, root, ref)
	return m, err
}

// find looks for a committed artifact: first under its own time, then in the
// milliseconds after it. When it is not there but a manifest that could be its
// own is unreadable, the error says so instead of ErrNotFound.
func (s *store) find(ctx context.Context, root *os.Root, ref providers.ArtifactRef) (providers.Manifest, place, error) {
	homeDir, err := subdir(root, home(ref))
	if errors.Is(err, fs.ErrNotExist) {
		return providers.Manifest{}, place{}, s.missing(ref)
	}
	if err != nil {
		return providers.Manifest{}, place{}, s.fault("get", home(ref), err)
	}
	defer homeDir.Close()

	var unreadable error
	try := func(p place) (providers.Manifest, bool) {
		m, err := s.loadAt(homeDir, ref.Action, p)
		if err != nil && !errors.Is(err, providers.ErrNotFound) {
			unreadable = errors.Join(unreadable, err)
		}
		return m, err == nil && m.ID == ref.ID
	}
	first := shifted(ref, 0)
	if m, ok := try(first); ok {
		return m, first, nil
	}
	unreadable = nil // the walk comes by there again
	for entry, err := range readDir(homeDir) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return providers.Manifest{}, place{}, s.fault("get", home(ref), err)
		}
		p, ok := placeOf(ref.Action, home(ref), entry.Name())
		if !ok || !near(ref, entry.Name()) {
			continue
		}
		if m, ok := try(p); ok {
			return m, p, nil
		}
	}
	if unreadable != nil {
		return providers.Manifest{}, place{}, unreadable
	}
	return providers.Manifest{}, place{}, s.missing(ref)
}

func (s *store) missing(ref providers.ArtifactRef) error {
	return &providers.Error{
		Op: "get", Target: path.Join(s.path, home(ref)),
		Err: fmt.Errorf("%w: %w %s", providers.ErrNotFound, errNotCommitted, ref.ID),
	}
}

// loadAt is load for a place below an open home directory.
func (s *store) loadAt(homeDir *os.Root, action providers.Action, p place) (providers.Manifest, error) {
	dir, err := enterPlace(homeDir, action, p)
	if err != nil {
		return providers.Manifest{}, s.fault("read", p.manifestPath(), err)
	}
	defer dir.Close()
	return s.load(dir, p)
}

func enterPlace(homeDir *os.Root, action providers.Action, p place) (*os.Root, error) {
	if action == providers.SecureBackup {
		return subdir(homeDir, path.Base(p.dir))
	}
	return homeDir.OpenRoot(".")
}

// readDir yields the entries of a directory without holding all of them.
func readDir(dir *os.Root) iter.Seq2[fs.DirEntry, error] {
	return func(yield func(fs.DirEntry, error) bool) {
		f, err := dir.Open(".")
		if err != nil {
			yield(nil, err)
			return
		}
		defer f.Close()
		for {
			batch, err := f.ReadDir(256)
			for _, e := range batch {
				if !yield(e, nil) {
					return
				}
			}
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield(nil, err)
				return
			}
		}
	}
}

// open opens the stored bytes of a file of a committed artifact.
func (s *store) open(ctx context.Context, m providers.Manifest, name string) (providers.File, *os.File, error) {
	if err := ctx.Err(); err != nil {
		return providers.File{}, nil, err
	}
	if err := checkRef(m.ArtifactRef); err != nil {
		return providers.File{}, nil, s.fault("open", "", err)
	}
	root, err := s.root("open", seen)
	if err != nil {
		return providers.File{}, nil, err
	}
	for _, f := range m.Files {
		if f.Name != name {
			continue
		}
		if _, ok := placeHolding(m.ArtifactRef, f.Path); !ok {
			return f, nil, s.corrupt(home(m.ArtifactRef), "file %q has the path %q, which is not the artifact's own", f.Name, f.Path)
		}
		dir, err := subdir(root, path.Dir(f.Path))
		if err != nil {
			return f, nil, s.fault("open", f.Path, err)
		}
		defer dir.Close()
		r, info, err := openRegular(dir, path.Base(f.Path))
		if err != nil {
			return f, nil, s.fault("open", f.Path, err)
		}
		if info.Size() != f.Size {
			r.Close()
			return f, nil, s.corrupt(f.Path, "it has %d bytes and should have %d", info.Size(), f.Size)
		}
		return f, r, nil
	}
	return providers.File{}, nil, s.fault("open", home(m.ArtifactRef), fmt.Errorf("%w: artifact %s has no file %q", providers.ErrNotFound, m.ID, name))
}

// placeHolding finds which of an artifact's possible places a path belongs to.
func placeHolding(ref providers.ArtifactRef, file string) (place, bool) {
	if dir, base := path.Split(file); dir == olderHome(ref)+"/" {
		file = path.Join(home(ref), base)
	}
	for n := range shiftLimit {
		if p := shifted(ref, n); p.holds(file) {
			return p, true
		}
	}
	return place{}, false
}

// List walks the layout. It reads one directory batch at a time; what is no
// artifact of the layout is passed over.
func (s *store) List(ctx context.Context) iter.Seq2[providers.Manifest, error] {
	return func(yield func(providers.Manifest, error) bool) {
		root, err := s.root("list", seen)
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			yield(providers.Manifest{}, err)
			return
		}
		w := walker{store: s, ctx: ctx, problem: func(err error) bool { return yield(providers.Manifest{}, err) }}
		w.visit = func(dir *os.Root, action providers.Action, rel string) bool {
			if action == providers.SecureBackup {
				return w.list(dir, place{dir: rel, manifest: secureManifest}, yield)
			}
			for entry, err := range readDir(dir) {
				if err == nil {
					err = ctx.Err()
				}
				if err != nil {
					return w.tell(rel, err) && ctx.Err() == nil
				}
				if p, ok := placeOf(action, rel, entry.Name()); ok && !w.list(dir, p, yield) {
					return false
				}
			}
			return true
		}
		w.run(root)
	}
}

// list yields the artifact of a place. Without a manifest there is none.
func (w walker) list(dir *os.Root, p place, yield func(providers.Manifest, error) bool) bool {
	m, err := w.store.load(dir, p)
	if errors.Is(err, providers.ErrNotFound) {
		return true
	}
	if err == nil {
		err = w.store.checkFiles(dir, p, m)
		if there, statErr := exists(dir, p.manifest); err != nil && statErr == nil && !there {
			return true // deleted meanwhile
		}
	}
	if err != nil {
		return yield(providers.Manifest{}, err)
	}
	return yield(m, nil)
}
