package files

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/attribute"
	"github.com/holdfast-dr/holdfast/providers/files/archive"
	"github.com/holdfast-dr/holdfast/providers/opened"
)

// old looks at a tree that is to be replaced, and finds what must not be lost with it.
type old struct {
	scopes  []archive.Scope // that of the artifact, and that of today: what is excluded now may be in no backup
	left    map[string]bool // what could not be captured
	own     opened.Own
	replace bool
	inKept  bool
	keep    []string // what is not in the artifact because its capture left it out; the uppermost of each
}

// replaceable gives what of a root stays when an artifact takes its place, or says why it cannot be replaced.
func (d *device) replaceable(ctx context.Context, r *Root, p *place, replace bool, src providers.Source) (keep []string, err error) {
	if p.path == "/" {
		return nil, refused(p.path, "the root of the whole system cannot be replaced")
	}
	fd, err := unix.Open(p.path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		return nil, nil
	}
	if err != nil {
		return nil, archive.Failed("open", p.path, err)
	}
	defer unix.Close(fd)
	mounted, err := mountRoot(unix.AT_FDCWD, p.path)
	switch {
	case err != nil:
		return nil, err
	case mounted:
		return nil, refused(p.path, "a file system is mounted there, and such a directory cannot be replaced in one step")
	case attribute.FlagsOf(fd)&locking != 0:
		return nil, refused(p.path, "it is immutable or append-only (chattr -i -a allows it)")
	}
	o := &old{replace: replace}
	if err := o.artifact(ctx, r, src); err != nil {
		return nil, err
	}
	if o.own, err = opened.FindOwn(d.protected); err != nil {
		return nil, err
	}
	err = o.look(ctx, fd, p.path, "")
	return o.keep, err
}

// artifact reads what the capture left out. An older one does not tell its rules.
func (o *old) artifact(ctx context.Context, r *Root, src providers.Source) error {
	left, err := archive.ReadLeftOut(ctx, src)
	if err != nil {
		return err
	}
	o.left = left.Paths
	today, err := r.scope()
	if err != nil {
		return err
	}
	o.scopes = []archive.Scope{today}
	if left.Rules == nil {
		return nil
	}
	then, err := archive.NewScope(*left.Rules)
	o.scopes = append(o.scopes, then)
	return err
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
	tag := o.tag(fd)
	for _, name := range names {
		var st unix.Stat_t
		if err := unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err == unix.ENOENT {
			continue
		} else if err != nil {
			return archive.Failed("stat", filepath.Join(path, name), err)
		}
		at := filepath.Join(rel, name)
		if o.own.Has(opened.InodeOf(&own), name, &st) {
			return refused(filepath.Join(path, name), "it is an open file of holdfast itself")
		}
		kept := o.inKept || tag != "" && name != tag || o.stays(fd, name, at, &st)
		if err := o.entry(ctx, fd, filepath.Join(path, name), at, &st, kept); err != nil {
			return err
		}
	}
	return nil
}

// stays reports whether the capture left an entry out.
func (o *old) stays(dir int, name, rel string, st *unix.Stat_t) bool {
	kind := st.Mode & unix.S_IFMT
	return kind == unix.S_IFSOCK || o.left[rel] || slices.ContainsFunc(o.scopes, func(s archive.Scope) bool {
		return s.LeavesOutEntry(dir, name, rel, kind == unix.S_IFDIR)
	})
}

// tag gives the file in a directory that had the rest of it left out.
func (o *old) tag(fd int) string {
	for _, s := range o.scopes {
		if tag := s.Tag(fd); tag != "" {
			return tag
		}
	}
	return ""
}

// entry goes on with an entry. Below one that stays only what cannot be moved is looked for.
func (o *old) entry(ctx context.Context, fd int, path, rel string, st *unix.Stat_t, kept bool) error {
	name := filepath.Base(path)
	top := kept && !o.inKept
	if top {
		o.keep = append(o.keep, rel)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil
	}
	mounted, err := mountRoot(fd, name)
	switch {
	case err != nil:
		return err
	case mounted && o.inKept:
		return nil // it moves with the directory it is in
	case mounted:
		return refused(path, "a file system is mounted there, and its content would be lost")
	}
	sub, err := unix.Openat(fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return archive.Failed("open", path, err)
	}
	defer unix.Close(sub)
	if top {
		o.inKept = true
		defer func() { o.inKept = false }()
	}
	if !o.inKept && name == storeMark && unix.Faccessat(sub, storeFile, unix.F_OK, unix.AT_SYMLINK_NOFOLLOW) == nil {
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
