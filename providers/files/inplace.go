package files

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/files/archive"
)

// place is a root that is to be replaced. The new tree is made in a workplace beside it, on the same file system:
//
//	workplace/new          being extracted
//	workplace/ready        exists when new is complete and on the medium; names its inode and the artifact
//	root <-> new           exchanged in one step; where the file system cannot, by way of workplace/old
//	(workplace removed)    the old content goes last
//
// Whoever finds a workplace with "ready" can tell from the inode of the root how far it came. Programs that have files of the old
// tree open go on with these.
type place struct {
	path      string // free of symbolic links; may be absent
	parent    string
	workplace string
}

// ready is the file of that name.
type ready struct {
	Artifact string `json:"artifact"` // the digest of its files
	Device   uint64 `json:"device"`
	Inode    uint64 `json:"inode"`
}

func (p *place) new() string   { return filepath.Join(p.workplace, "new") }
func (p *place) old() string   { return filepath.Join(p.workplace, "old") }
func (p *place) ready() string { return filepath.Join(p.workplace, "ready") }

// inPlace puts an export in the place of a root. At every instant the root holds the old or the new content whole; where a file
// system cannot exchange two directories, it is absent for an instant. What would be lost without being in a backup - excluded
// content, what is mounted below, a store, holdfast's own state - is refused before anything is changed.
func (d *device) inPlace(ctx context.Context, req providers.RestoreRequest, src providers.Source) error {
	if req.Action != providers.ExportDomain {
		return fmt.Errorf("a %s in place: %w: restore it into a directory, or the exports of its roots one by one", req.Action, errors.ErrUnsupported)
	}
	r, err := d.root(req.Domain)
	if err != nil {
		return err
	}
	p, err := findPlace(r.Path)
	if err != nil {
		return err
	}
	id := digest(src)
	if done, err := p.settle(id); err != nil || done {
		return err
	}
	if err := d.replaceable(ctx, r, p, req.Replace); err != nil {
		return err
	}
	if err := p.make(ctx, req, src, id); err != nil {
		return errors.Join(err, os.RemoveAll(p.workplace))
	}
	if err := p.exchange(); err != nil {
		_, back := p.settle("")
		return errors.Join(err, back)
	}
	if err := syncDir(p.parent); err != nil {
		return err
	}
	if err := p.clear(); err != nil {
		req.Warnf("the old content could not be removed: %v", err)
	}
	return nil
}

// canReplace says why a root cannot be restored into.
func canReplace(settings any, action providers.Action, domain string) error {
	s, ok := settings.(*Settings)
	if !ok || !slices.ContainsFunc(s.Roots, func(r *Root) bool { return r.Name == domain }) {
		return fmt.Errorf("root %q: %w", domain, providers.ErrNotFound)
	}
	return providers.ExportsInPlace(settings, action, domain)
}

// findPlace follows symbolic links to where the root is. An absent one needs its parent.
func findPlace(path string) (*place, error) {
	real, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Lstat(path); err == nil {
			return nil, fmt.Errorf("%s is a symbolic link that leads nowhere", path)
		}
		var parent string
		if parent, err = filepath.EvalSymlinks(filepath.Dir(filepath.Clean(path))); err == nil {
			real = filepath.Join(parent, filepath.Base(path))
		}
	}
	if err != nil {
		return nil, err
	}
	p := &place{path: real, parent: filepath.Dir(real)}
	p.workplace = filepath.Join(p.parent, ".holdfast-restore-"+filepath.Base(real))
	return p, nil
}

// digest names the content of an artifact.
func digest(src providers.Source) string {
	sum := sha256.New()
	for _, f := range src.Files() {
		fmt.Fprintf(sum, "%q %d %s\n", f.Name, f.Size, f.SHA256)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// settle brings what a former restore left to an end. Done means that it was of the same artifact and has taken place.
func (p *place) settle(id string) (done bool, err error) {
	var was ready
	b, err := os.ReadFile(p.ready())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, os.RemoveAll(p.workplace)
	case err != nil:
		return false, err
	}
	if json.Unmarshal(b, &was) != nil { // it broke off while this was written
		return false, os.RemoveAll(p.workplace)
	}
	here, err := p.holds(p.path, was)
	if err != nil {
		return false, err
	}
	if _, err := os.Lstat(p.path); errors.Is(err, fs.ErrNotExist) {
		switch made, err := p.holds(p.new(), was); {
		case err != nil:
			return false, err
		case made && was.Artifact == id:
			if err := rename(p.new(), p.path); err != nil {
				return false, err
			}
			here = true
		default:
			if err := rename(p.old(), p.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return false, err
			}
		}
	}
	return here && was.Artifact == id, p.clear()
}

// holds reports whether a path is the directory that was made.
func (p *place) holds(path string, was ready) (bool, error) {
	var st unix.Stat_t
	err := unix.Lstat(path, &st)
	if err == unix.ENOENT {
		return false, nil
	}
	return err == nil && uint64(st.Dev) == was.Device && st.Ino == was.Inode, failed("stat", path, err)
}

// make extracts the content into the workplace and declares it ready.
func (p *place) make(ctx context.Context, req providers.RestoreRequest, src providers.Source, id string) error {
	if err := os.Mkdir(p.workplace, 0o700); err != nil {
		return err
	}
	if err := os.Mkdir(p.new(), 0o700); err != nil {
		return err
	}
	req.Dir = p.new()
	if err := archive.Extract(ctx, req, src); err != nil {
		return err
	}
	var st unix.Stat_t
	if err := failed("stat", p.new(), unix.Lstat(p.new(), &st)); err != nil {
		return err
	}
	b, err := json.Marshal(ready{Artifact: id, Device: uint64(st.Dev), Inode: st.Ino})
	if err != nil {
		return err
	}
	f, err := os.OpenFile(p.ready(), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close(), syncDir(p.workplace), syncDir(p.parent))
}

// exchange puts the new tree where the old one is. After an error, settle puts the old one back.
func (p *place) exchange() error {
	err := unix.Renameat2(unix.AT_FDCWD, p.new(), unix.AT_FDCWD, p.path, unix.RENAME_EXCHANGE)
	switch err {
	case nil:
	case unix.ENOENT: // there is no root
		err = rename(p.new(), p.path)
	case unix.EINVAL, unix.ENOSYS, unix.EOPNOTSUPP:
		if err := rename(p.path, p.old()); err != nil {
			return err
		}
		err = rename(p.new(), p.path)
	default:
		err = failed("exchange", p.path, err)
	}
	return err
}

// clear removes the workplace, with "ready" last: what is left of it must be told.
func (p *place) clear() error {
	return errors.Join(os.RemoveAll(p.old()), os.RemoveAll(p.new()), os.RemoveAll(p.workplace), syncDir(p.parent))
}

func failed(op, path string, err error) error {
	switch err {
	case nil:
		return nil
	case unix.ENOSPC, unix.EDQUOT:
		err = fmt.Errorf("%w: %w", providers.ErrNoSpace, err)
	}
	return &fs.PathError{Op: op, Path: path, Err: err}
}

func rename(from, to string) error {
	if err := unix.Rename(from, to); err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
