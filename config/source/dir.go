package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

// openDir reads a folder as it lies on disk.
func openDir(dir, inside string) (*Source, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("read directory %s: %w", dir, err)
	}
	if abs, err = filepath.EvalSymlinks(abs); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read directory: there is no directory %s: %w", dir, fs.ErrNotExist)
	} else if err != nil {
		return nil, fmt.Errorf("read directory: %w", err)
	}
	if _, ok, err := bareAt(abs); err == nil && ok {
		return nil, fmt.Errorf("%s is a bare git repository, which has no files on disk; name it as a repository, with a ref", dir)
	}
	root, err := openFolder(abs, inside)
	if err != nil {
		return nil, fmt.Errorf("read directory %s: %w", dir, err)
	}
	s := &Source{release: []func() error{root.Close}, ancestry: unknownAncestry}
	f, err := newFiles(&diskFolder{root: root, opened: time.Now()})
	if err == nil {
		s.FS = f
		err = s.describe(f, filepath.Join(abs, filepath.FromSlash(inside)))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read directory %s: %w", dir, err), s.Close())
	}
	return s, nil
}

func unknownAncestry(context.Context, string) (Descent, error) { return DescentUnknown, nil }

// openFolder opens the folder inside a directory without following links on
// the way from the one to the other.
func openFolder(dir, inside string) (*os.Root, error) {
	root, err := os.OpenRoot(dir)
	if err != nil || inside == "." {
		return root, err
	}
	sub, err := openInside(root, inside)
	return sub, errors.Join(err, root.Close())
}

func openInside(root *os.Root, inside string) (*os.Root, error) {
	walked := ""
	for part := range strings.SplitSeq(inside, "/") {
		walked = filepath.Join(walked, part)
		info, err := root.Lstat(walked)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("path %s is not there", walked)
		case err != nil:
			return nil, fmt.Errorf("look at path %s: %w", walked, cause(err))
		case info.Mode()&fs.ModeSymlink != 0:
			return nil, fmt.Errorf("path %s is a symbolic link; links are never followed, give the path of the folder itself", walked)
		case !info.IsDir():
			return nil, fmt.Errorf("path %s is not a folder", walked)
		}
	}
	return root.OpenRoot(walked)
}

// describe fills Info from the repository around a directory, if there is one
// that can be read: the files are good without it.
func (s *Source) describe(f *files, dir string) error {
	err := s.record(f, dir)
	if stranger := (*strangerError)(nil); errors.As(err, &stranger) {
		return err
	}
	if s.Unknown = err; err != nil {
		s.Info = Info{Repo: s.Info.Repo, Dirty: true}
		s.ancestry = unknownAncestry
	}
	return nil
}

func (s *Source) record(f *files, dir string) (err error) {
	defer guard(&err)
	s.Info = Info{Dirty: true}
	top, g, ok, err := enclosing(dir)
	if err != nil || !ok {
		return err
	}
	s.Info.Repo = top
	r, err := openGitDir(top, g)
	if err != nil {
		return err
	}
	s.release = append(s.release, r.db.Close)
	inside, err := filepath.Rel(top, dir)
	if err != nil {
		return err
	}
	inside = filepath.ToSlash(inside)
	branch, id, err := r.refs.Head()
	if err != nil {
		return fmt.Errorf("read the commit of %s: %w", top, err)
	}
	if !id.IsZero() {
		if err := s.compare(r, f, id, inside); err != nil {
			return fmt.Errorf("compare with the commit of %s: %w", top, err)
		}
	}
	s.Info.Repo, s.Info.Ref, s.Info.Path = top, shortName(branch), shownPath(inside)
	return nil
}

// compare describes the HEAD commit and decides Dirty. Only configuration
// files count, so that the size of the repository does not.
func (s *Source) compare(r *repository, f *files, head objectID, inside string) error {
	c, err := r.db.peel(head)
	if err != nil {
		return err
	}
	committed := map[string]objectID{}
	id, err := r.db.folder(c.TreeHash, inside)
	if fresh := notFolder(""); !errors.As(err, &fresh) {
		if err != nil {
			return err
		}
		entries, err := r.db.tree(id)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if IsConfig(e.Name) {
				committed[e.Name] = e.Hash
			}
		}
	}
	repo := s.Info.Repo
	s.Info = commitInfo(c)
	s.Info.Repo, s.Info.Dirty = repo, f.differ(committed)
	s.ancestry = func(ctx context.Context, ancestor string) (Descent, error) {
		return r.history().descent(ctx, c.Hash.String(), ancestor)
	}
	return nil
}

// differ reports whether the configuration files are others than the committed
// ones. A file that is the committed one as git writes it with core.autocrlf or
// ident is taken as it was committed.
func (f *files) differ(committed map[string]objectID) bool {
	dirty := len(committed) != len(f.data)
	for name, content := range f.data {
		want, ok := committed[name]
		if !ok || plumbing.ComputeHash(plumbing.BlobObject, content) == want {
			dirty = dirty || !ok
			continue
		}
		plain := expandedID.ReplaceAll(bytes.ReplaceAll(content, []byte("\r\n"), []byte("\n")), []byte("$$Id$$"))
		if plumbing.ComputeHash(plumbing.BlobObject, plain) == want {
			f.put(name, plain)
		} else {
			dirty = true
		}
	}
	return dirty
}

// expandedID is what git makes of the keyword $Id$ in a file with the attribute ident.
var expandedID = regexp.MustCompile(`\$Id:[^$\n]*\$`)

// strangerError refuses a repository whose owner would decide what a directory is said to be.
type strangerError struct {
	top   string
	owner uint32
}

func (e *strangerError) Error() string {
	return fmt.Sprintf("the git repository %s around it belongs to user %d, neither you nor the owner of the directory; change its owner, or name the repository explicitly", e.top, e.owner)
}

// enclosing finds the repository whose work tree contains dir. Only the files
// decide: GIT_DIR and the like are ignored. As with git itself, a repository
// of a stranger is refused: its owner would decide what this directory is
// said to be.
func enclosing(dir string) (top string, g gitDir, ok bool, err error) {
	for top = dir; ; top = filepath.Dir(top) {
		dot := filepath.Join(top, ".git")
		info, err := os.Stat(dot)
		switch {
		case err == nil:
			g, ok, err := findGitDir(top)
			if err != nil {
				return top, g, false, err
			}
			if !ok {
				break
			}
			if owner, trusted := trustedOwner(info, dir); !trusted {
				return top, g, false, &strangerError{top, owner}
			}
			return top, g, true, nil
		case !errors.Is(err, fs.ErrNotExist):
			return top, g, false, err
		}
		if top == filepath.Dir(top) {
			return "", g, false, nil
		}
	}
}

// trustedOwner says whether a .git belongs to this process's user, to root, or
// to whoever owns the directory that is read.
func trustedOwner(info fs.FileInfo, dir string) (owner uint32, ok bool) {
	st, isUnix := info.Sys().(*syscall.Stat_t)
	if !isUnix {
		return 0, true
	}
	if st.Uid == 0 || int(st.Uid) == os.Geteuid() {
		return st.Uid, true
	}
	of, err := os.Stat(dir)
	if err != nil {
		return st.Uid, false
	}
	dirStat, isUnix := of.Sys().(*syscall.Stat_t)
	return st.Uid, isUnix && dirStat.Uid == st.Uid
}

// diskFolder is a directory. os.Root keeps every access inside it.
type diskFolder struct {
	root   *os.Root
	opened time.Time
}

// cause drops from an error of os.Root the name of the system call; whoever gets it says what was done to what.
func cause(err error) error {
	if e, ok := err.(*fs.PathError); ok {
		return e.Err
	}
	return err
}

func (d *diskFolder) modified() time.Time { return d.opened }

func (d *diskFolder) list(dir string) (items []item, err error) {
	f, err := d.root.Open(dir)
	if err != nil {
		return nil, cause(err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	entries, err := f.ReadDir(maxFiles + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	items = make([]item, len(entries))
	for i, e := range entries {
		items[i] = item{name: e.Name(), mode: e.Type(), size: -1}
	}
	if dir == "." {
		d.mounted(items)
	}
	return items, nil
}

// mounted finds the files of a mounted Kubernetes ConfigMap or Secret: links to
// ..data/NAME, where ..data is a link to the folder with the files. It is
// looked up once, so that all files are of one version.
func (d *diskFolder) mounted(items []item) {
	version, err := d.root.Readlink(mountData)
	if err != nil || strings.Contains(version, "/") || version == ".." {
		return
	}
	for i, it := range items {
		if it.mode&fs.ModeSymlink == 0 {
			continue
		}
		if to, err := d.root.Readlink(it.name); err != nil || to != mountData+"/"+it.name {
			continue
		}
		at := version + "/" + it.name
		if info, err := d.root.Lstat(at); err == nil && info.Mode().IsRegular() {
			items[i].at, items[i].mode = at, 0
		}
	}
}

const mountData = "..data"

func (d *diskFolder) size(dir string, it item) (int64, error) {
	info, err := d.root.Lstat(it.place(dir))
	if err != nil {
		return 0, cause(err)
	}
	return info.Size(), nil
}

// read opens without blocking, so that a named pipe put in the file's place
// cannot hold us, and reads only the file that was judged.
func (d *diskFolder) read(dir string, it item) (content []byte, err error) {
	name := it.place(dir)
	before, err := d.root.Lstat(name)
	if err != nil {
		return nil, cause(err)
	}
	if !before.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no longer a plain file", it.name)
	}
	f, err := d.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, cause(err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	after, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !os.SameFile(before, after) {
		return nil, fmt.Errorf("%s was replaced while it was read; try again", it.name)
	}
	content, err = io.ReadAll(io.LimitReader(f, maxFileSize+1))
	if err != nil {
		return nil, err
	}
	if len(content) > maxFileSize {
		return nil, &tooLarge{it.name, max(after.Size(), int64(len(content))), maxFileSize}
	}
	return content, nil
}
