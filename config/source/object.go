package source

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/holdfast-dr/holdfast/config/diag"
)

type objectID = plumbing.Hash

// objectStore is the part of go-git's object storage that is used. Stores are
// asked for the size first, so that nothing large is ever read.
type objectStore interface {
	EncodedObjectSize(objectID) (int64, error)
	EncodedObject(plumbing.ObjectType, objectID) (plumbing.EncodedObject, error)
	HashesWithPrefix([]byte) ([]objectID, error)
	Close() error
}

// database gives the objects of one repository. go-git's stores are not safe
// for concurrent use, and they do not compare an object with its id; database
// does both.
type database struct {
	mu     sync.Mutex
	stores []objectStore // the repository's own, then its alternates
	hint   string        // what to do about a missing object
}

// errMissing is matched by reads of an object the repository does not have.
var errMissing = errors.New("object is missing")

func (d *database) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var errs []error
	for _, s := range d.stores {
		errs = append(errs, s.Close())
	}
	d.stores = nil
	return errors.Join(errs...)
}

// locate finds the store that has an object, and the object's size.
func (d *database) locate(id objectID) (objectStore, int64, error) {
	for _, s := range d.stores {
		size, err := s.EncodedObjectSize(id)
		switch {
		case err == nil:
			return s, size, nil
		case !errors.Is(err, plumbing.ErrObjectNotFound):
			return nil, 0, damaged(id, err)
		}
	}
	return nil, 0, fmt.Errorf("%w: %s%s", errMissing, id, d.hint)
}

func (d *database) size(id objectID) (int64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, size, err := d.locate(id)
	return size, err
}

// read gives an object that has the size and the content its id promises. The
// type is checked unless want is plumbing.AnyObject.
func (d *database) read(id objectID, want plumbing.ObjectType, limit int64) (*plumbing.MemoryObject, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s, size, err := d.locate(id)
	if err != nil {
		return nil, err
	}
	if size > limit {
		return nil, &tooLarge{"object " + id.String(), size, limit}
	}
	o, err := s.EncodedObject(plumbing.AnyObject, id)
	if err != nil {
		return nil, damaged(id, err)
	}
	content, err := readAll(o, limit)
	if err != nil {
		return nil, damaged(id, err)
	}
	if sum := plumbing.ComputeHash(o.Type(), content); sum != id {
		return nil, damaged(id, fmt.Errorf("its content has the id %s", sum))
	}
	if want != plumbing.AnyObject && o.Type() != want {
		return nil, fmt.Errorf("object %s is a %s, not a %s", id, o.Type(), want)
	}
	var checked plumbing.MemoryObject
	checked.SetType(o.Type())
	if _, err := checked.Write(content); err != nil {
		return nil, damaged(id, err)
	}
	return &checked, nil
}

func readAll(o plumbing.EncodedObject, limit int64) (content []byte, err error) {
	r, err := o.Reader()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	return io.ReadAll(io.LimitReader(r, limit+1))
}

func damaged(id objectID, err error) error {
	return fmt.Errorf("object %s is damaged: %s; check the repository with git fsck", id, diag.Printable(err.Error()))
}

func (d *database) commit(id objectID) (*object.Commit, error) {
	o, err := d.read(id, plumbing.CommitObject, maxCommitSize)
	if err != nil {
		return nil, err
	}
	c, err := object.DecodeCommit(nil, o)
	if err != nil {
		return nil, damaged(id, err)
	}
	return c, nil
}

// peel follows annotated tags to the commit they name.
func (d *database) peel(id objectID) (*object.Commit, error) {
	for range 10 {
		o, err := d.read(id, plumbing.AnyObject, maxCommitSize)
		if err != nil {
			return nil, err
		}
		switch o.Type() {
		case plumbing.CommitObject:
			return d.commit(id)
		case plumbing.TagObject:
			var tag object.Tag
			if err := tag.Decode(o); err != nil {
				return nil, damaged(id, err)
			}
			id = tag.Target
		default:
			return nil, fmt.Errorf("object %s is a %s, not a commit", id, o.Type())
		}
	}
	return nil, fmt.Errorf("tag %s names a tag that names a tag, too many times over", id)
}

// withPrefix gives the commits (and tags) whose id starts with some hex digits.
func (d *database) withPrefix(digits string) ([]objectID, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	whole := plumbing.NewHash(digits[:len(digits)/2*2] + strings.Repeat("0", 40-len(digits)/2*2))
	var found []objectID
	for _, s := range d.stores {
		ids, err := s.HashesWithPrefix(whole[:len(digits)/2])
		if err != nil {
			return nil, fmt.Errorf("look for commit %s: %w", digits, err)
		}
		for _, id := range ids {
			if !strings.HasPrefix(id.String(), digits) || slices.Contains(found, id) {
				continue
			}
			size, err := s.EncodedObjectSize(id)
			if err != nil || size > maxCommitSize {
				continue
			}
			if o, err := s.EncodedObject(plumbing.AnyObject, id); err == nil && (o.Type() == plumbing.CommitObject || o.Type() == plumbing.TagObject) {
				found = append(found, id)
			}
		}
	}
	return found, nil
}

// commitSource makes a Source of one commit's folder.
func commitSource(db *database, where, ref string, id objectID, dir string) (*Source, error) {
	c, err := db.peel(id)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", where, err)
	}
	tree, err := db.folder(c.TreeHash, dir)
	if err != nil {
		return nil, fmt.Errorf("read commit %s of %s: %w", short(c.Hash), where, err)
	}
	f, err := newFiles(&gitFolder{db: db, root: tree, time: c.Committer.When})
	if err != nil {
		return nil, fmt.Errorf("read %s at commit %s of %s: %w", folderWords(dir), short(c.Hash), where, err)
	}
	info := commitInfo(c)
	info.Repo, info.Ref, info.Path = where, ref, shownPath(dir)
	return &Source{Info: info, FS: f, release: []func() error{db.Close}}, nil
}

func folderWords(dir string) string {
	if dir == "." {
		return "the root folder"
	}
	return "folder " + dir
}

func short(id objectID) string { return id.String()[:12] }

func commitInfo(c *object.Commit) Info {
	subject, _, _ := strings.Cut(strings.TrimSpace(c.Message), "\n")
	author := c.Author.Name
	if c.Author.Email != "" {
		author = strings.TrimSpace(author + " <" + c.Author.Email + ">")
	}
	return Info{
		Commit:  c.Hash.String(),
		Subject: diag.Printable(subject),
		Author:  diag.Printable(author),
		Time:    c.Committer.When.UTC().Truncate(time.Second),
	}
}
