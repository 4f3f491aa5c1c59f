package source

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/unicode"

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

// database gives the objects of one repository. Its stores are not safe for
// concurrent use, and they do not compare an object with its id; database does
// both. What the library for git cannot read is read by the git program.
type database struct {
	mu    sync.Mutex
	store objectStore
	other func() (objectStore, error) // another reader, for when the first one fails; nil: none
	hint  string                      // what to do about a missing object
}

var (
	errMissing = errors.New("object is missing") // the repository does not have it
	errDamaged = errors.New("is damaged")        // what the repository has cannot be read, or is not what its id says
)

func (d *database) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.store.Close()
}

// turn makes the other reader the one that is used, after a failure of the
// first. Its error is that failure when there is no other.
func (d *database) turn(failed error) error {
	if d.other == nil || !errors.Is(failed, errDamaged) {
		return failed
	}
	s, err := d.other()
	d.other = nil
	if err != nil {
		return fmt.Errorf("%w (git may be able to read it all the same, but %w)", failed, err)
	}
	err = d.store.Close()
	d.store = s
	return err
}

func (d *database) size(id objectID) (int64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	size, err := d.measure(id)
	if err == nil {
		return size, nil
	}
	if err := d.turn(err); err != nil {
		return 0, err
	}
	return d.measure(id)
}

func (d *database) measure(id objectID) (int64, error) {
	size, err := d.store.EncodedObjectSize(id)
	switch {
	case errors.Is(err, plumbing.ErrObjectNotFound):
		return 0, fmt.Errorf("%w: %s%s", errMissing, id, d.hint)
	case err != nil:
		return 0, damaged(id, err)
	}
	return size, nil
}

// read gives an object that has the size and the content its id promises. The
// type is checked unless want is plumbing.AnyObject.
func (d *database) read(id objectID, want plumbing.ObjectType, limit int64) (*plumbing.MemoryObject, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	o, err := d.checked(id, want, limit)
	if err == nil {
		return o, nil
	}
	if err := d.turn(err); err != nil {
		return nil, err
	}
	return d.checked(id, want, limit)
}

func (d *database) checked(id objectID, want plumbing.ObjectType, limit int64) (*plumbing.MemoryObject, error) {
	size, err := d.measure(id)
	if err != nil {
		return nil, err
	}
	if size > limit {
		return nil, &tooLarge{"object " + id.String(), size, limit}
	}
	o, err := d.store.EncodedObject(plumbing.AnyObject, id)
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
	return fmt.Errorf("object %s %w: %s; check the repository with git fsck", id, errDamaged, diag.Printable(err.Error()))
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
	ids, err := d.store.HashesWithPrefix(whole[:len(digits)/2])
	if err != nil {
		if err := d.turn(fmt.Errorf("look for commit %s: %w: %w", digits, errDamaged, err)); err != nil {
			return nil, err
		}
		if ids, err = d.store.HashesWithPrefix(whole[:len(digits)/2]); err != nil {
			return nil, fmt.Errorf("look for commit %s: %w", digits, err)
		}
	}
	var found []objectID
	for _, id := range ids {
		if !strings.HasPrefix(id.String(), digits) || slices.Contains(found, id) {
			continue
		}
		o, err := d.checked(id, plumbing.AnyObject, maxCommitSize)
		if err == nil && (o.Type() == plumbing.CommitObject || o.Type() == plumbing.TagObject) {
			found = append(found, id)
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
	subject, _, _ := strings.Cut(strings.TrimSpace(decoded(c, c.Message)), "\n")
	author := decoded(c, c.Author.Name)
	if c.Author.Email != "" {
		author = strings.TrimSpace(author + " <" + c.Author.Email + ">")
	}
	info := Info{Commit: c.Hash.String(), Subject: diag.Printable(subject), Author: diag.Printable(author)}
	// A commit may claim any time; a year of five digits has no form in JSON.
	if at := c.Committer.When.UTC().Truncate(time.Second); at.Year() >= 1 && at.Year() <= 9999 {
		info.Time = at
	}
	return info
}

// decoded gives a text of a commit in UTF-8. It is in the encoding that the
// commit names; without one, what is no UTF-8 is taken for Latin 1.
func decoded(c *object.Commit, text string) string {
	from, err := htmlindex.Get(string(c.Encoding))
	if err != nil || from == unicode.UTF8 {
		if utf8.ValidString(text) {
			return text
		}
		from = charmap.Windows1252
	}
	if out, err := from.NewDecoder().String(text); err == nil {
		return out
	}
	return text
}
