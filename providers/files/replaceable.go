package files

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/files/archive"
	"github.com/holdfast-dr/holdfast/providers/glob"
	"github.com/holdfast-dr/holdfast/providers/opened"
)

// old looks at a tree that is to be replaced, and finds what must not be lost with it.
type old struct {
	root             *Root
	include, exclude glob.Matcher
	own              opened.Own
	replace          bool
}

// replaceable says why a root cannot be replaced.
func (d *device) replaceable(ctx context.Context, r *Root, p *place, replace bool) error {
	if p.path == "/" {
		return refused(p.path, "the root of the whole system cannot be replaced")
	}
	fd, err := unix.Open(p.path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		return nil
	}
	if err != nil {
		return archive.Failed("open", p.path, err)
	}
	defer unix.Close(fd)
	mounted, err := mountRoot(unix.AT_FDCWD, p.path)
	if err != nil {
		return err
	}
	if mounted {
		return refused(p.path, "a file system is mounted there, and such a directory cannot be replaced in one step")
	}
	o := &old{root: r, replace: replace}
	if o.include, err = glob.Compile(r.Include); err != nil {
		return err
	}
	if o.exclude, err = glob.Compile(r.Exclude); err != nil {
		return err
	}
	if o.own, err = opened.FindOwn(d.protected); err != nil {
		return err
	}
	return o.look(ctx, fd, p.path, "")
}

func refused(path, why string) error {
	return &providers.Error{
		Op: "restore in place of", Target: path, Err: fmt.Errorf("%s: %w", why, errors.ErrUnsupported),
		Hint: "Restore into a directory beside it, and put it in place by hand.",
	}
}

// look goes through one directory and those below it. It takes over nothing: fd stays open.
func (o *old) look(ctx context.Context, fd int, path, rel string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var own unix.Stat_t
	if err := unix.Fstat(fd, &own); err != nil {
		return archive.Failed("stat", path, err)
	}
	names, err := entries(fd, path)
	if err != nil {
		return err
	}
	if len(names) > 0 && !o.replace {
		return fmt.Errorf("%s: %w", path, providers.ErrNotEmpty)
	}
	for _, name := range names {
		var st unix.Stat_t
		if err := unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err == unix.ENOENT {
			continue
		} else if err != nil {
			return archive.Failed("stat", filepath.Join(path, name), err)
		}
		if err := o.entry(ctx, fd, opened.InodeOf(&own), filepath.Join(path, name), filepath.Join(rel, name), &st); err != nil {
			return err
		}
	}
	return nil
}

func (o *old) entry(ctx context.Context, fd int, dir opened.Inode, path, rel string, st *unix.Stat_t) error {
	name := filepath.Base(path)
	isDir := st.Mode&unix.S_IFMT == unix.S_IFDIR
	switch {
	case o.own.Has(dir, name, st):
		return refused(path, "it is an open file of holdfast itself")
	case o.exclude.Match(rel, isDir),
		!o.include.Empty() && !o.include.Match(rel, isDir) && !(isDir && o.include.MayMatchBelow(rel)):
		return refused(path, "it is not part of the root's backups, and would be lost")
	case !isDir:
		return nil
	}
	mounted, err := mountRoot(fd, name)
	if err != nil {
		return err
	}
	if mounted {
		return refused(path, "a file system is mounted there, and its content would be lost")
	}
	sub, err := unix.Openat(fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return archive.Failed("open", path, err)
	}
	defer unix.Close(sub)
	if name == storeMark && unix.Faccessat(sub, storeFile, unix.F_OK, unix.AT_SYMLINK_NOFOLLOW) == nil {
		return refused(filepath.Dir(path), "a store of artifacts is there")
	}
	return o.look(ctx, sub, path, rel)
}

// A store of this project carries this file.
const (
	storeMark = ".holdfast"
	storeFile = "store.json"
)

// mountRoot reports whether something is mounted at a name, also a directory of the same file system.
func mountRoot(fd int, name string) (bool, error) {
	var st unix.Statx_t
	if err := unix.Statx(fd, name, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, unix.STATX_INO, &st); err != nil {
		return false, archive.Failed("stat", name, err)
	}
	if st.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT != 0 {
		return st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0, nil
	}
	var own, above unix.Stat_t // an old kernel: only other file systems are told
	dir := "."
	if filepath.IsAbs(name) {
		dir = filepath.Dir(name)
	}
	if err := errors.Join(unix.Fstatat(fd, name, &own, unix.AT_SYMLINK_NOFOLLOW), unix.Fstatat(fd, dir, &above, 0)); err != nil {
		return false, archive.Failed("stat", name, err)
	}
	return own.Dev != above.Dev, nil
}

// entries lists a directory without giving its descriptor away.
func entries(fd int, path string) ([]string, error) {
	again, err := unix.Openat(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, archive.Failed("open", path, err)
	}
	f := os.NewFile(uintptr(again), path)
	defer f.Close()
	return f.Readdirnames(-1)
}
