package source

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-git/go-billy/v5"
	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"github.com/go-git/go-git/v5/storage/filesystem"
	"github.com/go-git/go-git/v5/storage/filesystem/dotgit"

	"github.com/holdfast-dr/holdfast/config/diag"
	"github.com/holdfast-dr/holdfast/config/source/git"
)

// objectCache bounds the memory one repository's decoded objects may take.
const objectCache = 32 * cache.MiByte

// repository is a local repository, read in place.
type repository struct {
	where   string // for messages and Info.Repo
	refs    *localRefs
	db      *database
	shallow map[objectID]bool // commits whose parents were not fetched
}

// gitDir is where a repository keeps its data.
type gitDir struct {
	dir    string // HEAD is here
	common string // objects and refs are here; differs from dir in a linked work tree
}

// findGitDir looks for a repository rooted at path: a work tree (its .git may
// be a directory or, in linked work trees and submodules, a file) or a bare
// one. ok is false when there is none.
func findGitDir(path string) (g gitDir, ok bool, err error) {
	dot := filepath.Join(path, ".git")
	info, err := os.Stat(dot)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return bareAt(path)
	case err != nil:
		return g, false, err
	case info.IsDir():
		return bareAt(dot)
	case !info.Mode().IsRegular() || info.Size() > 4096:
		return g, false, fmt.Errorf("%s is neither a directory nor a link file of git", dot)
	}
	text, err := os.ReadFile(dot)
	if err != nil {
		return g, false, err
	}
	target, ok := strings.CutPrefix(strings.TrimSpace(string(text)), "gitdir: ")
	if !ok {
		return g, false, fmt.Errorf("%s is not a link file of git", dot)
	}
	if !filepath.IsAbs(target) {
		target = filepath.Join(path, target)
	}
	if g, ok, err = bareAt(target); err == nil && !ok {
		err = fmt.Errorf("%s names %s, which is not a git directory; run git worktree repair", dot, diag.Printable(target))
	}
	return g, ok, err
}

// bareAt judges a directory as git does: HEAD, objects and refs.
func bareAt(dir string) (g gitDir, ok bool, err error) {
	g = gitDir{dir: dir, common: dir}
	head, err := os.Lstat(filepath.Join(dir, "HEAD"))
	if errors.Is(err, fs.ErrNotExist) {
		return g, false, nil
	}
	if err != nil {
		return g, false, err
	}
	if !head.Mode().IsRegular() && head.Mode()&fs.ModeSymlink == 0 {
		return g, false, nil
	}
	if err := plainIfThere(filepath.Join(dir, "commondir")); err != nil {
		return g, false, err
	}
	text, err := os.ReadFile(filepath.Join(dir, "commondir"))
	switch {
	case err == nil:
		g.common = strings.TrimSpace(string(text))
		if !filepath.IsAbs(g.common) {
			g.common = filepath.Join(dir, g.common)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return g, false, err
	}
	for _, need := range []string{"objects", "refs"} {
		info, err := os.Stat(filepath.Join(g.common, need))
		if errors.Is(err, fs.ErrNotExist) {
			return g, false, nil
		}
		if err != nil {
			return g, false, err
		}
		if !info.IsDir() {
			return g, false, nil
		}
	}
	return g, true, nil
}

// openLocal opens the repository whose root is path.
func openLocal(path string) (*repository, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read repository: %w", err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%s is a file; name the folder of a git repository", path)
	}
	g, ok, err := findGitDir(path)
	if err != nil {
		return nil, fmt.Errorf("read repository %s: %w", path, err)
	}
	if !ok {
		return nil, notRepository(path)
	}
	return openGitDir(path, g)
}

func notRepository(path string) error {
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		if _, ok, err := findGitDir(dir); ok && err == nil {
			inside, err := filepath.Rel(dir, path)
			if err == nil {
				return fmt.Errorf("%s is not the root of a git repository; it lies inside %s: use that repository with the path %s", path, dir, filepath.ToSlash(inside))
			}
		}
		if dir == filepath.Dir(dir) {
			return fmt.Errorf("%s is not a git repository; run git init there, or read it as a directory", path)
		}
	}
}

func openGitDir(where string, g gitDir) (*repository, error) {
	r, err := openStorage(where, g)
	if err != nil {
		return nil, fmt.Errorf("read repository %s: %w", where, err)
	}
	return r, nil
}

func openStorage(where string, g gitDir) (*repository, error) {
	objects := filepath.Join(g.common, "objects")
	alternates := filepath.Join(objects, "info", "alternates")
	for _, path := range []string{filepath.Join(g.common, "config"), filepath.Join(g.common, "packed-refs"), filepath.Join(g.common, "shallow"), alternates} {
		if err := plainIfThere(path); err != nil {
			return nil, err
		}
	}
	set, err := readSettings(filepath.Join(g.common, "config"))
	if err == nil {
		err = set.check()
	}
	if err != nil {
		return nil, err
	}
	var common billy.Filesystem
	if g.common != g.dir {
		common = osfs.New(g.common)
	}
	dot := dotgit.NewRepositoryFilesystem(osfs.New(g.dir), common)
	// ExclusiveAccess lists the loose objects once instead of asking for each.
	options := filesystem.Options{ExclusiveAccess: true, MaxOpenDescriptors: 32}
	st := filesystem.NewStorageWithOptions(dot, cache.NewObjectLRU(objectCache), options)
	cut, err := st.Shallow()
	if err != nil {
		return nil, fmt.Errorf("its shallow file: %w", err)
	}
	byGit := func() (objectStore, error) { return git.Open(objects) }
	db := &database{store: &st.ObjectStorage, other: byGit}
	if _, err := os.Stat(alternates); err == nil {
		// The library knows only the plainest form of that file.
		if db.store, err = byGit(); err != nil {
			return nil, fmt.Errorf("some of its objects are in another repository (%s), and to read those %w", alternates, err)
		}
		db.other = nil
	}
	r := &repository{where: where, refs: &localRefs{st: st, dir: g.dir, remotes: set.remotes, cut: len(cut) > 0}, db: db, shallow: map[objectID]bool{}}
	for _, id := range cut {
		r.shallow[id] = true
	}
	switch {
	case set.partial:
		db.hint = " (this is a partial clone, which leaves objects out; fetch them with: git fetch --refetch --no-filter)"
	case len(cut) > 0:
		db.hint = " (this is a shallow clone; run git fetch --unshallow)"
	}
	return r, nil
}

// history is what the repository knows of its commits.
func (r *repository) history() *history { return &history{r.db, r.shallow} }

// plainIfThere refuses, for example, a named pipe that would block the reader.
func plainIfThere(path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a plain file", path)
	}
	return err
}

// check refuses repositories whose format the library would misread.
func (s settings) check() error {
	if v := s.objectFormat; v != "" && !strings.EqualFold(v, "sha1") {
		return fmt.Errorf("its object format %s cannot be read yet; use a sha1 repository", diag.Printable(v))
	}
	if v := s.refStorage; v != "" && !strings.EqualFold(v, "files") {
		return fmt.Errorf("its ref storage %s cannot be read yet; run git refs migrate --ref-format=files", diag.Printable(v))
	}
	return nil
}

// resolve finds the commit or tag object that ref names.
func (r *repository) resolve(ref string) (name string, id objectID, err error) {
	name, id, found, err := pick(r.refs, ref)
	if err != nil || found {
		return name, id, err
	}
	switch {
	case isFullID(ref):
		id = plumbing.NewHash(ref)
		if _, err := r.db.size(id); errors.Is(err, errMissing) {
			return "", id, fmt.Errorf("there is no commit %s here; fetch it first%s", ref, r.db.hint)
		} else if err != nil {
			return "", id, err
		}
		return "", id, nil
	case isPartID(ref):
		id, err = byPrefix(r.db, r.refs, ref)
		return "", id, err
	}
	return "", id, unknownRef(r.refs, ref)
}

// localRefs are the refs of a local repository.
type localRefs struct {
	st      *filesystem.Storage
	dir     string   // HEAD is here
	remotes []string // names of other repositories that it fetches from
	cut     bool     // its history was not fetched as a whole
	whole   bool     // who asks needs the whole history
}

// Absent says how to get the branch of a remote that was not fetched.
func (l *localRefs) Absent(ref string) string {
	depth := ""
	switch {
	case l.cut && l.whole:
		depth = "--unshallow "
	case l.cut:
		depth = "--depth=1 "
	}
	for _, r := range append(slices.Clone(l.remotes), "origin") {
		if branch, ok := strings.CutPrefix(strings.TrimPrefix(ref, "refs/remotes/"), r+"/"); ok {
			return fmt.Sprintf("if it is a branch of %s, fetch it: git fetch %s%s +refs/heads/%s:refs/remotes/%s/%s", r, depth, r, branch, r, branch)
		}
	}
	return ""
}

// fetched gives what git fetch left in FETCH_HEAD: its first line is what was
// asked for first.
func (l *localRefs) fetched() (id objectID, ok bool, err error) {
	path := filepath.Join(l.dir, fetchHead)
	if err := plainIfThere(path); err != nil {
		return id, false, err
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return id, false, nil
	}
	if err != nil {
		return id, false, err
	}
	defer f.Close()
	var digits [40]byte
	if _, err := io.ReadFull(f, digits[:]); err != nil || !isFullID(string(digits[:])) {
		return id, false, nil
	}
	return plumbing.NewHash(string(digits[:])), true, nil
}

func (l *localRefs) Head() (string, objectID, error) {
	h, err := l.st.Reference(plumbing.HEAD)
	if err != nil {
		return "", objectID{}, fmt.Errorf("its HEAD is damaged: %w", err)
	}
	if h.Type() == plumbing.HashReference {
		if h.Hash().IsZero() {
			return "", objectID{}, errors.New("its HEAD is damaged; run git fsck")
		}
		return "", h.Hash(), nil
	}
	branch := h.Target().String()
	id, _, err := l.Find(branch)
	return branch, id, err
}

func (l *localRefs) Find(name string) (objectID, bool, error) {
	if name == fetchHead {
		return l.fetched()
	}
	ref, err := storer.ResolveReference(l.st, plumbing.ReferenceName(name))
	switch {
	case errors.Is(err, plumbing.ErrReferenceNotFound), errors.Is(err, fs.ErrNotExist):
		return objectID{}, false, nil
	case err != nil:
		return objectID{}, false, fmt.Errorf("read ref %s: %w", name, err)
	case ref.Hash().IsZero():
		return objectID{}, false, fmt.Errorf("ref %s is damaged; run git fsck", name)
	}
	return ref.Hash(), true, nil
}

func (l *localRefs) Names() ([]string, error) {
	iter, err := l.st.IterReferences()
	if err != nil {
		return nil, fmt.Errorf("list refs: %w", err)
	}
	var names []string
	err = iter.ForEach(func(r *plumbing.Reference) error {
		names = append(names, r.Name().String())
		return nil
	})
	return names, err
}
