package files

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/attribute"
	"github.com/holdfast-dr/holdfast/providers/files/archive"
)

// place is a root that is to be replaced. The new tree is made in a workplace beside it, on the same file system:
//
//	workplace/new          being extracted
//	workplace/ready        exists when new is complete and on the medium; names its inode and the restore
//	root <-> new           exchanged in one step; where the file system cannot, by way of workplace/old
//	(what the capture left out moved from the old content to the new)
//	(old content removed, or moved aside)
//	(workplace removed)    when the restore is forgotten, or has no name
//
// Whoever finds a workplace with "ready" can tell from the inode of the root how far it came. Programs that have files of the old
// tree open go on with these.
type place struct {
	path      string // free of symbolic links; may be absent
	parent    string
	workplace string
	warn      func(format string, args ...any)
}

// ready is the file of that name.
type ready struct {
	Restore string `json:"restore"` // its ID
	Device  uint64 `json:"device"`
	Inode   uint64 `json:"inode"`

	Keep  []string        `json:"keep,omitempty"`  // what stays of the old content, relative to the root
	Flags attribute.Flags `json:"flags,omitempty"` // of the root, which cannot be exchanged when it is immutable
}

func (p *place) new() string   { return filepath.Join(p.workplace, "new") }
func (p *place) old() string   { return filepath.Join(p.workplace, "old") }
func (p *place) ready() string { return filepath.Join(p.workplace, "ready") }

// inPlace puts an export in the place of a root. At every instant the root holds the old or the new content whole; where a file
// system cannot exchange two directories, it is absent for an instant. What the artifact's capture left out, such as excluded
// content, stays as it is: it moves into the new content right after that. What would be lost without being in a backup - what is mounted
// below, a store, holdfast's own state - is refused before anything is changed.
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
	p.warn = req.Warnf
	if done, err := p.settle(req.ID); err != nil || done {
		return err
	}
	keep, err := d.replaceable(ctx, r, p, req.Replace, src)
	if err != nil {
		return err
	}
	if err := p.make(ctx, req, src, keep); err != nil {
		return errors.Join(err, p.clear(p.workplace))
	}
	if err := p.exchange(); err != nil {
		_, back := p.settle("")
		return errors.Join(err, back)
	}
	if err := syncDir(p.parent); err != nil {
		return err
	}
	_, err = p.settle(req.ID)
	return err
}

// Forget removes the workplace of a restore.
func (d *device) Forget(ctx context.Context, req providers.RestoreRequest) error {
	return d.wrap("forget the restore of", d.forget(ctx, req))
}

func (d *device) forget(ctx context.Context, req providers.RestoreRequest) error {
	if err := ctx.Err(); err != nil || req.ID == "" {
		return err
	}
	r, err := d.root(req.Domain)
	if err != nil {
		return err
	}
	p, err := findPlace(r.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	was, err := p.read()
	if err != nil || was == nil || was.Restore != req.ID {
		return err
	}
	_, err = p.settle("")
	return err
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
	p := &place{path: real, parent: filepath.Dir(real), warn: func(string, ...any) {}}
	p.workplace = filepath.Join(p.parent, ".holdfast-restore-"+filepath.Base(real))
	return p, nil
}

// read gives what a former restore has ready; nil when there is none, or it broke off while this was written.
func (p *place) read() (*ready, error) {
	var was ready
	b, err := os.ReadFile(p.ready())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case json.Unmarshal(b, &was) != nil:
		return nil, nil
	}
	return &was, nil
}

// settle brings what a former restore left to an end. Done means that it was the one with this ID and has taken place.
func (p *place) settle(id string) (done bool, err error) {
	was, err := p.read()
	if err != nil {
		return false, err
	}
	if was == nil {
		return false, p.clear(p.workplace)
	}
	same := id != "" && was.Restore == id
	here, err := p.holds(p.path, *was)
	if err != nil {
		return false, err
	}
	if _, err := os.Lstat(p.path); errors.Is(err, fs.ErrNotExist) {
		switch made, err := p.holds(p.new(), *was); {
		case err != nil:
			return false, err
		case made && same:
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
	switch {
	case here:
		if err := p.complete(*was); err != nil {
			return false, err
		}
	case len(was.Keep) > 0:
		// Somebody put another directory there. The old content, or a copy of the new, holds what is nowhere else.
		return false, p.aside(p.workplace)
	}
	if here && same {
		return true, p.tidy(id)
	}
	return false, p.tidy("")
}

// holds reports whether a path is the directory that was made.
func (p *place) holds(path string, was ready) (bool, error) {
	var st unix.Stat_t
	err := unix.Lstat(path, &st)
	if err == unix.ENOENT {
		return false, nil
	}
	return err == nil && uint64(st.Dev) == was.Device && st.Ino == was.Inode, archive.Failed("stat", path, err)
}

// make extracts the content into the workplace and declares it ready.
func (p *place) make(ctx context.Context, req providers.RestoreRequest, src providers.Source, keep []string) error {
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
	if err := p.fits(keep); err != nil {
		return err
	}
	flags, err := unlock(p.new())
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := archive.Failed("stat", p.new(), unix.Lstat(p.new(), &st)); err != nil {
		return err
	}
	b, err := json.Marshal(ready{Restore: req.ID, Device: uint64(st.Dev), Inode: st.Ino, Keep: keep, Flags: flags})
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
		err = archive.Failed("exchange", p.path, err)
	}
	return err
}

// tidy removes the old content, and the workplace with "ready" last, which stays while a restore with an ID may be repeated.
func (p *place) tidy(id string) error {
	err := errors.Join(p.clear(p.old()), p.clear(p.new()))
	if id == "" {
		err = errors.Join(err, p.clear(p.workplace))
	}
	return errors.Join(err, syncDir(p.parent))
}

// clear removes something of the workplace. What cannot be removed, such as an immutable file, must not be in the way of this restore or
// of the next: it is moved aside.
func (p *place) clear(path string) error {
	err := os.RemoveAll(path)
	if err == nil {
		return nil
	}
	if moved := p.aside(path); moved != nil {
		return errors.Join(err, moved)
	}
	return nil
}

// aside gives something of the workplace a name of its own beside the root, and says so.
func (p *place) aside(path string) error {
	for n := 1; ; n++ {
		to := filepath.Join(p.parent, fmt.Sprintf(".holdfast-leftover-%s-%d", filepath.Base(p.path), n))
		err := unix.Renameat2(unix.AT_FDCWD, path, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
		if err == unix.EINVAL || err == unix.ENOSYS { // a file system without it
			if _, there := os.Lstat(to); errors.Is(there, fs.ErrNotExist) {
				err = unix.Rename(path, to)
			} else {
				err = unix.EEXIST
			}
		}
		switch err {
		case nil:
			p.warn("content that is left over could not be removed and is in %s now; remove it by hand (chattr -R -i -a makes that possible)", to)
			return nil
		case unix.EEXIST, unix.ENOTEMPTY:
		default:
			return &os.LinkError{Op: "rename", Old: path, New: to, Err: err}
		}
	}
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
