package plain

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/plain/disk"
	"github.com/holdfast-dr/holdfast/providers/plain/layout"
)

const initPrefix = "init-"

// Init makes an absent or empty directory a store with this identity.
func (s *store) Init(ctx context.Context, identity string) error {
	return s.establish(ctx, identity, s.mark)
}

// Adopt makes a directory with content a store with this identity. With a
// higher epoch than any copy of the store carries, only this one is the store from then on.
func (s *store) Adopt(ctx context.Context, identity string) error {
	return s.establish(ctx, identity, s.remark)
}

func (s *store) establish(ctx context.Context, identity string, mark func(dir *os.Root, identity string) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if identity == "" {
		return &providers.Error{Op: "initialise", Target: s.path, Err: errors.New("no identity given")}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	dir, err := s.makeRoot()
	if err != nil {
		return err
	}
	defer dir.Close()
	if problem, err := s.mountProblem(dir); err != nil {
		return s.fault("initialise", "", err)
	} else if problem != "" {
		return s.unmounted(problem)
	}
	if err := mark(dir, identity); err != nil {
		return err
	}
	m, err := s.readMarker(dir)
	switch {
	case err != nil:
		return err
	case m == nil:
		return s.stranger("initialise", "the identity just written is gone")
	case m.Identity != identity:
		return s.stranger("initialise", fmt.Sprintf("identity %q is there already, not %q", m.Identity, identity))
	}
	if s.identity == "" {
		s.identity = identity
	}
	if s.epoch > 0 {
		s.epoch = m.Epoch
	}
	return nil
}

// makeRoot opens the store's directory, creating it where nothing has to be mounted.
func (s *store) makeRoot() (*os.Root, error) {
	dir, err := openPath(s.path)
	if !errors.Is(err, fs.ErrNotExist) {
		return dir, s.fault("initialise", "", err)
	}
	if s.demandsMount() {
		return nil, s.unmounted("the directory does not exist, so nothing is mounted there")
	}
	top, err := os.OpenRoot("/")
	if err != nil {
		return nil, s.fault("initialise", "", err)
	}
	defer top.Close()
	real, err := realPath(s.path)
	if err != nil {
		return nil, s.fault("initialise", "", err)
	}
	dir, err = disk.MakeSub(top, strings.TrimPrefix(real, "/"))
	return dir, s.fault("initialise", "", err)
}

// realPath resolves the symbolic links of the part of a path that is there.
func realPath(p string) (string, error) {
	real, err := filepath.EvalSymlinks(p)
	if !errors.Is(err, fs.ErrNotExist) || p == filepath.Dir(p) {
		return real, err
	}
	if _, err := os.Lstat(p); err == nil {
		return "", &fs.PathError{Op: "open", Path: p, Err: errors.New("is a symbolic link to nothing")}
	}
	parent, err := realPath(filepath.Dir(p))
	return filepath.Join(parent, filepath.Base(p)), err
}

func (s *store) unmounted(problem string) error {
	return &providers.Error{
		Op: "initialise", Target: s.path, Err: fmt.Errorf("%w: %s", providers.ErrUnavailable, problem),
		Hint: "Mount the store's file system at exactly this path first.",
	}
}

// mark writes the marker unless one is there.
func (s *store) mark(dir *os.Root, identity string) error {
	m, err := s.readMarker(dir)
	if err != nil || m != nil {
		return err
	}
	if ok, err := empty(dir); err != nil {
		return s.fault("initialise", "", err)
	} else if !ok {
		return &providers.Error{
			Op: "initialise", Target: s.path, Err: providers.ErrNotEmpty,
			Hint: fmt.Sprintf("A new store needs an empty directory. To take over what is there: holdfast store init --adopt %s.", s.name),
		}
	}
	return s.writeMarker(dir, identity, 1, func(meta *os.Root, tmp string) error {
		err := disk.Move(meta, tmp, meta, layout.MarkerName)
		if errors.Is(err, fs.ErrExist) {
			return disk.Remove(meta, tmp) // another process was faster; the caller compares
		}
		return err
	})
}

// remark writes the marker of the next epoch. A damaged one is replaced, one of a newer holdfast is not.
func (s *store) remark(dir *os.Root, identity string) error {
	m, err := s.readMarker(dir)
	if err != nil && (!errors.Is(err, providers.ErrCorrupt) || errors.Is(err, errLayout)) {
		return err
	}
	epoch := s.epoch
	if m != nil {
		epoch = max(epoch, m.Epoch)
		if m.Identity != identity {
			return nil // the caller compares
		}
	}
	return s.writeMarker(dir, identity, epoch+1, func(meta *os.Root, tmp string) error {
		return meta.Rename(tmp, layout.MarkerName)
	})
}

func (s *store) writeMarker(dir *os.Root, identity string, epoch int64, publish func(meta *os.Root, tmp string) error) error {
	for _, d := range []string{layout.TmpDir, layout.TrashDir, layout.CatalogDir, headsDir} {
		sub, err := disk.MakeSub(dir, d)
		if err != nil {
			return s.fault("initialise", d, err)
		}
		sub.Close()
	}
	meta, err := disk.Sub(dir, layout.MetaDir)
	if err != nil {
		return s.fault("initialise", layout.MetaDir, err)
	}
	defer meta.Close()
	data, err := encodeMarker(marker{Identity: identity, Layout: layoutVersion, Epoch: epoch, Created: time.Now().UTC()})
	if err != nil {
		return s.fault("initialise", layout.MetaDir, err)
	}
	tmp := layout.Escape(initPrefix+identity, layout.NameLimit)
	if err := disk.WriteNew(meta, tmp, data); err != nil {
		return s.fault("initialise", path.Join(layout.MetaDir, tmp), err)
	}
	if err = publish(meta, tmp); err == nil {
		err = disk.SyncDir(meta)
	}
	return s.fault("initialise", path.Join(layout.MetaDir, layout.MarkerName), err)
}

// empty reports whether nothing but a broken off Init and what file systems put
// into every directory is there.
func empty(dir *os.Root) (bool, error) {
	names, err := disk.Entries(dir)
	if err != nil {
		return false, err
	}
	for _, e := range names {
		switch e.Name() {
		case layout.LostFound, ".snapshot":
		case layout.MetaDir:
			meta, err := disk.Sub(dir, layout.MetaDir)
			if err != nil {
				return false, err
			}
			bare, err := bareMeta(meta)
			meta.Close()
			if err != nil || !bare {
				return false, err
			}
		default:
			return false, nil
		}
	}
	return true, nil
}

func bareMeta(meta *os.Root) (bool, error) {
	names, err := disk.Entries(meta)
	if err != nil {
		return false, err
	}
	for _, e := range names {
		switch {
		case strings.HasPrefix(e.Name(), initPrefix):
		case e.IsDir():
			sub, err := disk.Sub(meta, e.Name())
			if err != nil {
				return false, err
			}
			inside, err := disk.Entries(sub)
			sub.Close()
			if err != nil || len(inside) > 0 {
				return false, err
			}
		default:
			return false, nil
		}
	}
	return true, nil
}
