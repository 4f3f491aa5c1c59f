package source

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/holdfast-dr/holdfast/config/diag"
)

// tree gives the entries of one tree object.
func (d *database) tree(id objectID) ([]object.TreeEntry, error) {
	o, err := d.read(id, plumbing.TreeObject, maxTreeSize)
	if err != nil {
		return nil, err
	}
	var t object.Tree
	if err := t.Decode(o); err != nil {
		return nil, damaged(id, err)
	}
	return t.Entries, nil
}

// notFolder is the error of a path that is no folder in the commit.
type notFolder string

func (n notFolder) Error() string { return string(n) }

// Is makes it fs.ErrNotExist: there is no such folder.
func (n notFolder) Is(target error) bool { return target == fs.ErrNotExist }

// folder walks from a root tree to the tree of a folder ("." is the root).
func (d *database) folder(root objectID, dir string) (objectID, error) {
	if dir == "." {
		return root, nil
	}
	id, walked := root, ""
	for part := range strings.SplitSeq(dir, "/") {
		entries, err := d.tree(id)
		if err != nil {
			return id, err
		}
		here := path.Join(walked, part)
		var found *object.TreeEntry
		for i := range entries {
			if entries[i].Name == part {
				found = &entries[i]
				break
			}
		}
		switch {
		case found == nil:
			return id, missingFolder(here, walked, entries)
		case found.Mode == filemode.Symlink:
			return id, notFolder("path " + here + " is a symbolic link; links are never followed, give the path of the folder itself")
		case found.Mode == filemode.Submodule:
			return id, notFolder("path " + here + " is a git submodule; name the submodule's own repository instead")
		case found.Mode != filemode.Dir:
			return id, notFolder("path " + here + " is a file; give the folder it is in")
		}
		id, walked = found.Hash, here
	}
	return id, nil
}

func missingFolder(missing, parent string, entries []object.TreeEntry) error {
	var folders []string
	for _, e := range entries {
		if e.Mode == filemode.Dir && safeName(e.Name) {
			folders = append(folders, path.Join(parent, e.Name))
		}
	}
	return notFolder("path " + missing + " is not in this commit; " + suggest(missing, "folders there", folders))
}

// suggest names the nearest candidate, or lists some. A branch of a remote is near to its name without the remote.
func suggest(word, kind string, candidates []string) string {
	if i := slices.IndexFunc(candidates, func(c string) bool { return strings.HasSuffix(c, "/"+word) }); i >= 0 {
		return fmt.Sprintf("did you mean %s?", candidates[i])
	}
	if near := diag.Nearest(word, candidates); near != "" {
		return fmt.Sprintf("did you mean %s?", near)
	}
	switch n := len(candidates); {
	case n == 0:
		return "there are no " + kind
	case n > 8:
		return fmt.Sprintf("%s: %s and %d more", kind, strings.Join(candidates[:8], ", "), n-8)
	}
	return kind + ": " + strings.Join(candidates, ", ")
}

// gitFolder is a folder inside a commit.
type gitFolder struct {
	db   *database
	root objectID
	time time.Time
}

func (g *gitFolder) modified() time.Time { return g.time }

func (g *gitFolder) list(dir string) ([]item, error) {
	id, err := g.db.folder(g.root, dir)
	if err != nil {
		return nil, err
	}
	entries, err := g.db.tree(id)
	if err != nil {
		return nil, err
	}
	items := make([]item, 0, min(len(entries), maxFiles+1))
	for _, e := range entries {
		if len(items) > maxFiles {
			break
		}
		items = append(items, item{name: e.Name, mode: modeOf(e.Mode), size: -1, id: e.Hash})
	}
	return items, nil
}

func modeOf(m filemode.FileMode) fs.FileMode {
	switch m {
	case filemode.Regular, filemode.Executable:
		return 0
	case filemode.Dir:
		return fs.ModeDir
	case filemode.Symlink:
		return fs.ModeSymlink
	}
	return submodule
}

func (g *gitFolder) size(_ string, it item) (int64, error) {
	size, err := g.db.size(it.id)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", it.name, err)
	}
	return size, nil
}

func (g *gitFolder) read(_ string, it item) ([]byte, error) {
	o, err := g.db.read(it.id, plumbing.BlobObject, maxFileSize)
	if large := (*tooLarge)(nil); errors.As(err, &large) {
		return nil, &tooLarge{it.name, large.size, large.limit}
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", it.name, err)
	}
	return readAll(o, maxFileSize)
}
