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
	"github.com/holdfast-dr/holdfast/providers/plain/disk"
	"github.com/holdfast-dr/holdfast/providers/plain/layout"
)

// Get reads one manifest.
func (s *store) Get(ctx context.Context, ref providers.ArtifactRef) (providers.Manifest, error) {
	if err := ctx.Err(); err != nil {
		return providers.Manifest{}, err
	}
	if err := layout.CheckRef(ref); err != nil {
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
func (s *store) find(ctx context.Context, root *os.Root, ref providers.ArtifactRef) (providers.Manifest, layout.Place, error) {
	homeDir, err := disk.Sub(root, layout.Home(ref))
	if errors.Is(err, fs.ErrNotExist) {
		return providers.Manifest{}, layout.Place{}, s.missing(ref)
	}
	if err != nil {
		return providers.Manifest{}, layout.Place{}, s.fault("get", layout.Home(ref), err)
	}
	defer homeDir.Close()

	var unreadable error
	try := func(p layout.Place) (providers.Manifest, bool) {
		m, err := s.loadAt(homeDir, ref.Action, p)
		if err != nil && !errors.Is(err, providers.ErrNotFound) {
			unreadable = errors.Join(unreadable, err)
		}
		return m, err == nil && m.ID == ref.ID
	}
	first := layout.Shifted(ref, 0)
	if m, ok := try(first); ok {
		return m, first, nil
	}
	unreadable = nil // the walk comes by there again
	for entry, err := range disk.All(homeDir) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return providers.Manifest{}, layout.Place{}, s.fault("get", layout.Home(ref), err)
		}
		p, ok := layout.PlaceOf(ref.Action, layout.Home(ref), entry.Name())
		if !ok || !layout.Near(ref, entry.Name()) {
			continue
		}
		if m, ok := try(p); ok {
			return m, p, nil
		}
	}
	if unreadable != nil {
		return providers.Manifest{}, layout.Place{}, unreadable
	}
	return providers.Manifest{}, layout.Place{}, s.missing(ref)
}

func (s *store) missing(ref providers.ArtifactRef) error {
	return &providers.Error{
		Op: "get", Target: path.Join(s.path, layout.Home(ref)),
		Err: fmt.Errorf("%w: %w %s", providers.ErrNotFound, errNotCommitted, ref.ID),
	}
}

// loadAt is load for a place below an open home directory.
func (s *store) loadAt(homeDir *os.Root, action providers.Action, p layout.Place) (providers.Manifest, error) {
	dir, err := enterPlace(homeDir, action, p)
	if err != nil {
		return providers.Manifest{}, s.fault("read", p.ManifestPath(), err)
	}
	defer dir.Close()
	return s.load(dir, p)
}

func enterPlace(homeDir *os.Root, action providers.Action, p layout.Place) (*os.Root, error) {
	if action == providers.SecureBackup {
		return disk.Sub(homeDir, path.Base(p.Dir))
	}
	return homeDir.OpenRoot(".")
}

// open opens the stored bytes of a file of a committed artifact.
func (s *store) open(ctx context.Context, m providers.Manifest, name string) (providers.File, *os.File, error) {
	if err := ctx.Err(); err != nil {
		return providers.File{}, nil, err
	}
	if err := layout.CheckRef(m.ArtifactRef); err != nil {
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
		if _, ok := layout.PlaceHolding(m.ArtifactRef, f.Path); !ok {
			return f, nil, s.corrupt(layout.Home(m.ArtifactRef), "file %q has the path %q, which is not the artifact's own", f.Name, f.Path)
		}
		dir, err := disk.Sub(root, path.Dir(f.Path))
		if err != nil {
			return f, nil, s.fault("open", f.Path, err)
		}
		defer dir.Close()
		r, info, err := disk.Open(dir, path.Base(f.Path))
		if err != nil {
			return f, nil, s.fault("open", f.Path, err)
		}
		if info.Size() != f.Size {
			r.Close()
			return f, nil, s.corrupt(f.Path, "it has %d bytes and should have %d", info.Size(), f.Size)
		}
		return f, r, nil
	}
	return providers.File{}, nil, s.fault("open", layout.Home(m.ArtifactRef), fmt.Errorf("%w: artifact %s has no file %q", providers.ErrNotFound, m.ID, name))
}

// storedReader reads a file of the store and says what failed as the store does.
type storedReader struct {
	file  *os.File
	store *store
	path  string
}

func (r storedReader) Read(p []byte) (int, error) {
	n, err := r.file.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = r.store.fault("read", r.path, err)
	}
	return n, err
}

func (r storedReader) Close() error { return r.file.Close() }

// forgetEvery is after how many bytes read back the page cache is told to forget them.
const forgetEvery = 8 << 20

// stagedReader leaves nothing in the page cache: what is read back once is wanted by nobody, and filling memory with it
// took three times the processor time of hashing it where a hypervisor lends the memory (measured).
type stagedReader struct {
	storedReader
	size      int64
	forgotten int64
}

func (r *stagedReader) Read(p []byte) (int, error) {
	n, err := r.storedReader.Read(p)
	r.size += int64(n)
	if r.size-r.forgotten >= forgetEvery {
		disk.ForgetBehind(r.file, r.forgotten, r.size-r.forgotten)
		r.forgotten = r.size
	}
	return n, err
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
				return w.list(dir, layout.Place{Dir: rel, Manifest: layout.SecureManifest}, yield)
			}
			for entry, err := range disk.All(dir) {
				if err == nil {
					err = ctx.Err()
				}
				if err != nil {
					return w.tell(rel, err) && ctx.Err() == nil
				}
				if p, ok := layout.PlaceOf(action, rel, entry.Name()); ok && !w.list(dir, p, yield) {
					return false
				}
			}
			return true
		}
		w.run(root)
	}
}

// list yields the artifact of a place. Without a manifest there is none.
func (w walker) list(dir *os.Root, p layout.Place, yield func(providers.Manifest, error) bool) bool {
	m, err := w.store.load(dir, p)
	if errors.Is(err, providers.ErrNotFound) {
		return true
	}
	if err == nil {
		err = w.store.checkFiles(dir, p, m)
		if there, statErr := disk.Exists(dir, p.Manifest); err != nil && statErr == nil && !there {
			return true // deleted meanwhile
		}
	}
	if err != nil {
		return yield(providers.Manifest{}, err)
	}
	return yield(m, nil)
}
