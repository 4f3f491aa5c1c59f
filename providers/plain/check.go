package plain

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/plain/chain"
	"github.com/holdfast-dr/holdfast/providers/plain/disk"
	"github.com/holdfast-dr/holdfast/providers/plain/layout"
)

// Check compares three things with each other: the catalogue, which is also
// checked in itself, the manifests, and the files. It holds the catalogue in memory.
func (s *store) Check(ctx context.Context) iter.Seq2[providers.Finding, error] {
	return func(yield func(providers.Finding, error) bool) {
		if err := ctx.Err(); err != nil {
			yield(providers.Finding{}, err)
			return
		}
		if damage := s.markerDamage(); damage != nil {
			yield(providers.Finding{Kind: providers.MarkerDamaged, Path: path.Join(layout.MetaDir, layout.MarkerName), Detail: sentence(damage)}, nil)
			return
		}
		root, err := s.root("check", same)
		if err != nil {
			yield(providers.Finding{}, err)
			return
		}
		c := checker{store: s, ctx: ctx, root: root, yield: yield, ledger: newLedger(), seen: map[providers.ArtifactID]bool{}}
		if c.files, c.deleting, err = s.underway(root); err != nil && !yield(providers.Finding{}, err) {
			return
		}
		_ = c.catalog() && c.layout() && c.rest()
	}
}

// markerDamage is nil also when there is no marker, or another store's: then this is not the store.
func (s *store) markerDamage() error {
	dir, err := openPath(s.path)
	if err != nil {
		return nil
	}
	defer dir.Close()
	if _, err := s.readMarker(dir); errors.Is(err, providers.ErrCorrupt) {
		return err
	}
	return nil
}

// checker carries one check. Its methods return false when the check ends.
type checker struct {
	ledger
	store    *store
	ctx      context.Context
	root     *os.Root
	yield    func(providers.Finding, error) bool
	files    map[string]bool // of commits and deletions under way
	deleting map[providers.ArtifactID]bool
	seen     map[providers.ArtifactID]bool // in the layout
}

func (c *checker) find(kind providers.FindingKind, id providers.ArtifactID, rel, format string, args ...any) bool {
	return c.yield(providers.Finding{Kind: kind, Artifact: id, Path: rel, Detail: fmt.Sprintf(format, args...)}, nil)
}

func (c *checker) problem(err error) bool { return c.yield(providers.Finding{}, err) }

// catalog reads the catalogue and follows its chains.
func (c *checker) catalog() bool {
	heads, damaged, err := c.store.heads(c.root)
	if err != nil && !c.problem(err) {
		return false
	}
	broken := map[string]error{}
	for e := range c.store.catalog(c.ctx, c.root) {
		switch {
		case c.ctx.Err() != nil:
			c.problem(c.ctx.Err())
			return false
		case errors.Is(e.err, providers.ErrCorrupt):
			broken[e.path] = e.err
		case e.err == nil:
			c.add(e)
		case !c.problem(e.err):
			return false
		}
	}
	c.ledger.close()
	if err := c.settle(heads); err != nil && !c.problem(err) {
		return false
	}
	for _, p := range chain.Verify(c.chains, heads) {
		kind := providers.CatalogChanged
		if p.Gap {
			kind = providers.CatalogGap
		}
		if _, told := damaged[path.Join(headsDir, p.Writer+".json")]; told && p.NoHead {
			continue
		}
		if !c.find(kind, artifactOf(p.Path), p.Path, "%s", p.Detail) {
			return false
		}
	}
	maps.Copy(broken, damaged)
	for _, rel := range slices.Sorted(maps.Keys(broken)) {
		if !c.find(providers.CatalogChanged, artifactOf(rel), rel, "%s", sentence(broken[rel])) {
			return false
		}
	}
	return true
}

// settle takes what was written during the check out of the comparison: a head is written before its entry, so
// the entries after the head that was read first are new, and its own may have come late.
func (c *checker) settle(first []chain.Head) error {
	now, _, err := c.store.heads(c.root)
	if err != nil {
		return err
	}
	from, to := map[string]int64{}, map[string]int64{}
	for _, h := range first {
		from[h.Writer] = h.Seq
		if seen := c.committed[artifactOf(h.Path)].path == h.Path || c.deleted[artifactOf(h.Path)].path == h.Path; seen {
			continue
		}
		dir, err := disk.Sub(c.root, path.Dir(h.Path))
		if err != nil {
			continue // a gap
		}
		if e := c.store.entryAt(dir, h.Path); e.err == nil {
			c.add(e)
		}
		dir.Close()
	}
	for _, h := range now {
		to[h.Writer] = h.Seq
	}
	c.chains = slices.DeleteFunc(c.chains, func(e chain.Entry) bool { return e.Seq > from[e.Writer] && e.Seq <= to[e.Writer] })
	return nil
}

// artifactOf is the artifact whose entry a path is of, by its name.
func artifactOf(rel string) providers.ArtifactID {
	name := path.Base(rel)
	for _, what := range []string{layout.Committed, layout.Deleted} {
		if id, ok := strings.CutSuffix(name, "-"+what+".json"); ok {
			return providers.ArtifactID(id)
		}
	}
	return ""
}

// sentence is what is wrong, without the place: a finding names that.
func sentence(err error) string {
	var told *providers.Error
	if errors.As(err, &told) {
		err = told.Err
	}
	return fmt.Sprintf("It cannot be used: %v.", err)
}

// layout compares manifests with the catalogue and with the files beside them.
func (c *checker) layout() bool {
	w := walker{store: c.store, ctx: c.ctx, problem: c.problem}
	w.visit = func(dir *os.Root, action providers.Action, rel string) bool {
		v, err := c.store.survey(c.ctx, dir, action, rel)
		if err != nil {
			return w.tell(rel, err) && c.ctx.Err() == nil
		}
		for _, h := range v.held {
			if !c.manifest(dir, h) {
				return false
			}
		}
		for _, e := range v.loose {
			at := path.Join(rel, e.Name())
			if c.files[at] || slices.ContainsFunc(v.held, func(h held) bool { return h.err != nil && h.Holds(at) }) {
				continue // an artifact's that is told of otherwise
			}
			if !c.find(providers.FileExtra, "", at, "No manifest lists it.") {
				return false
			}
		}
		return true
	}
	return w.run(c.root)
}

func (c *checker) manifest(dir *os.Root, h held) bool {
	rel, m := h.ManifestPath(), h.manifest
	if there, err := disk.Exists(dir, path.Base(rel)); h.err != nil && err == nil && !there {
		return true // deleted meanwhile
	}
	if h.err != nil {
		id := c.byManifest[rel]
		c.seen[id] = true
		if !errors.Is(h.err, providers.ErrCorrupt) {
			return c.problem(h.err)
		}
		return c.find(providers.ManifestChanged, id, rel, "%s", sentence(h.err))
	}
	event, known := c.committed[m.ID]
	if known && event.Manifest != rel {
		return c.find(providers.NotCatalogued, m.ID, rel, "The catalogue has this artifact at %s.", event.Manifest)
	}
	c.seen[m.ID] = true
	switch _, deleted := c.deleted[m.ID]; {
	case deleted:
		return c.find(providers.NotDeleted, m.ID, rel, "The catalogue says that the artifact was deleted.")
	case !known && c.recorded(m):
	case !known:
		if !c.find(providers.NotCatalogued, m.ID, rel, "The catalogue does not know of it.") {
			return false
		}
	case event.SHA256 != h.sum:
		if !c.find(providers.ManifestChanged, m.ID, rel, "It is not what was committed: its SHA-256 is %s, and the catalogue says %s.", h.sum, event.SHA256) {
			return false
		}
	}
	for _, p := range h.problems {
		if !c.yield(p, nil) {
			return false
		}
	}
	return true
}

// recorded reports whether an artifact came into the catalogue meanwhile, or is about to: its staging area is still there.
func (c *checker) recorded(m providers.Manifest) bool {
	for _, rel := range []string{layout.RecordPath(m.ArtifactRef, layout.Committed), stagingDir(m.ID)} {
		if there, err := c.there(rel); there || err != nil {
			return true
		}
	}
	return false
}

func (c *checker) there(rel string) (bool, error) {
	dir, err := disk.Sub(c.root, path.Dir(rel))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer dir.Close()
	return disk.Exists(dir, path.Base(rel))
}

// rest tells of artifacts that are in the catalogue and nowhere else.
func (c *checker) rest() bool {
	for _, id := range slices.Sorted(maps.Keys(c.committed)) {
		if err := c.ctx.Err(); err != nil {
			c.problem(err)
			return false
		}
		e := c.committed[id]
		if _, deleted := c.deleted[id]; deleted || c.deleting[id] || c.seen[id] {
			continue
		}
		gone, err := c.there(layout.RecordPath(e.ArtifactRef, layout.Deleted))
		if trashed, trashErr := c.there(path.Join(layout.TrashDir, trashName(id))); err == nil && trashErr == nil && (gone || trashed) {
			continue // meanwhile
		}
		if !c.find(providers.ManifestMissing, id, e.Manifest, "The artifact was committed at %s and is not there.", e.At.UTC().Format("2006-01-02 15:04:05")) {
			return false
		}
	}
	return true
}
