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
	"strings"

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

// Open reads one file of a committed artifact.
func (s *store) Open(ctx context.Context, m providers.Manifest, name string) (io.ReadCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := checkRef(m.ArtifactRef); err != nil {
		return nil, s.fault("open", "", err)
	}
	root, err := s.root("open", seen)
	if err != nil {
		return nil, err
	}
	for _, f := range m.Files {
		if f.Name != name {
			continue
		}
		if _, ok := placeHolding(m.ArtifactRef, f.Path); !ok {
			return nil, s.corrupt(home(m.ArtifactRef), "file %q has the path %q, which is not the artifact's own", f.Name, f.Path)
		}
		dir, err := subdir(root, path.Dir(f.Path))
		if err != nil {
			return nil, s.fault("open", f.Path, err)
		}
		defer dir.Close()
		r, info, err := openRegular(dir, path.Base(f.Path))
		if err != nil {
			return nil, s.fault("open", f.Path, err)
		}
		if info.Size() != f.Size {
			r.Close()
			return nil, s.corrupt(f.Path, "it has %d bytes and should have %d", info.Size(), f.Size)
		}
		return r, nil
	}
	return nil, s.fault("open", home(m.ArtifactRef), fmt.Errorf("%w: artifact %s has no file %q", providers.ErrNotFound, m.ID, name))
}

// placeHolding finds which of an artifact's possible places a path belongs to.
func placeHolding(ref providers.ArtifactRef, file string) (place, bool) {
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
		l := lister{store: s, ctx: ctx, yield: yield}
		l.each(root, "", func(dir *os.Root, device string) bool {
			if strings.HasPrefix(device, ".") || device == lostFound {
				return true
			}
			return l.device(dir, device)
		})
	}
}

// lister carries one listing down the tree. Its methods return false when the listing ends.
type lister struct {
	store *store
	ctx   context.Context
	yield func(providers.Manifest, error) bool
}

// each visits the directories in a directory. A symbolic link, and a directory that
// cannot be read, is yielded as an error.
func (l lister) each(dir *os.Root, rel string, visit func(parent *os.Root, name string) bool) bool {
	for entry, err := range readDir(dir) {
		if err == nil {
			err = l.ctx.Err()
		}
		if err != nil {
			return l.problem(rel, err) && l.ctx.Err() == nil
		}
		switch entry.Type() {
		case fs.ModeDir:
			if !visit(dir, entry.Name()) {
				return false
			}
		case fs.ModeSymlink:
			if !l.problem(path.Join(rel, entry.Name()), errLink) {
				return false
			}
		}
	}
	return true
}

func (l lister) problem(rel string, err error) bool {
	return l.yield(providers.Manifest{}, l.store.fault("list", rel, err))
}

// within runs visit in a directory that may be missing.
func (l lister) within(parent *os.Root, name, rel string, visit func(dir *os.Root) bool) bool {
	dir, err := subdir(parent, name)
	if errors.Is(err, fs.ErrNotExist) {
		return true
	}
	if err != nil {
		return l.problem(rel, err)
	}
	defer dir.Close()
	return visit(dir)
}

func (l lister) device(root *os.Root, device string) bool {
	return l.within(root, device, device, func(dir *os.Root) bool {
		secure, domains := path.Join(device, secureDir), path.Join(device, domainDir)
		return l.within(dir, secureDir, secure, func(dir *os.Root) bool {
			return l.each(dir, secure, func(parent *os.Root, name string) bool {
				return l.artifact(parent, providers.SecureBackup, secure, name)
			})
		}) && l.within(dir, domainDir, domains, func(dir *os.Root) bool {
			return l.each(dir, domains, func(parent *os.Root, name string) bool {
				return l.exports(parent, name, path.Join(domains, name))
			})
		})
	})
}

func (l lister) exports(parent *os.Root, name, rel string) bool {
	return l.within(parent, name, rel, func(dir *os.Root) bool {
		for entry, err := range readDir(dir) {
			if err == nil {
				err = l.ctx.Err()
			}
			if err != nil {
				return l.problem(rel, err) && l.ctx.Err() == nil
			}
			if !l.artifact(dir, providers.ExportDomain, rel, entry.Name()) {
				return false
			}
		}
		return true
	})
}

// artifact yields the artifact a directory entry stands for. Without a manifest there is none.
func (l lister) artifact(homeDir *os.Root, action providers.Action, rel, name string) bool {
	p, ok := placeOf(action, rel, name)
	if !ok {
		return true
	}
	dir, err := enterPlace(homeDir, action, p)
	if err != nil {
		return l.problem(p.dir, err)
	}
	defer dir.Close()
	m, err := l.store.load(dir, p)
	if errors.Is(err, providers.ErrNotFound) {
		return true
	}
	if err == nil {
		err = l.store.checkFiles(dir, p, m)
		if there, statErr := exists(dir, p.manifest); err != nil && statErr == nil && !there {
			return true // deleted meanwhile
		}
	}
	if err != nil {
		return l.yield(providers.Manifest{}, err)
	}
	return l.yield(m, nil)
}
