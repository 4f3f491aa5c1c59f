package plain

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"iter"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/plain/disk"
	"github.com/holdfast-dr/holdfast/providers/plain/layout"
)

// Recover yields what manifests, catalogue and paths tell of, each artifact once:
//
//	manifest readable       intact or damaged, whatever the catalogue says
//	no manifest, files      unverified, by their paths; the catalogue lends the id when it has one
//	only in the catalogue   deleted or missing
//
// A secure backup's directory and an export's file names carry device, domain,
// time and variant, so that DPOD's own backups are found as well. Files of a
// commit or a deletion under way are no artifact.
func (s *store) Recover(ctx context.Context) iter.Seq2[providers.Recovered, error] {
	return func(yield func(providers.Recovered, error) bool) {
		root, err := s.root("recover", same)
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			yield(providers.Recovered{}, err)
			return
		}
		r := recoverer{ledger: newLedger(), store: s, ctx: ctx, yield: yield, seen: map[providers.ArtifactID]bool{}, buf: make([]byte, 256<<10)}
		if r.files, _, err = s.underway(root); err != nil && !r.problem(err) {
			return
		}
		for e := range s.catalog(ctx, root) {
			if e.err == nil {
				r.add(e)
			} else if !r.problem(e.err) || ctx.Err() != nil {
				return
			}
		}
		r.ledger.close()
		w := walker{store: s, ctx: ctx, problem: r.problem}
		w.visit = func(dir *os.Root, action providers.Action, rel string) bool {
			v, err := s.survey(ctx, dir, action, rel)
			if err != nil {
				return w.tell(rel, err) && ctx.Err() == nil
			}
			return r.manifests(v) && r.paths(dir, action, rel, v)
		}
		_ = w.run(root) && r.rest()
	}
}

// recoverer carries one recovery. Its methods return false when it ends.
type recoverer struct {
	ledger
	store *store
	ctx   context.Context
	yield func(providers.Recovered, error) bool
	files map[string]bool // of commits and deletions under way
	seen  map[providers.ArtifactID]bool
	buf   []byte // to read files with
}

func (r *recoverer) problem(err error) bool { return r.yield(providers.Recovered{}, err) }

func (r *recoverer) manifests(v survey) bool {
	for _, h := range v.held {
		found := providers.Recovered{Manifest: h.manifest, Condition: providers.Intact}
		switch {
		case h.err != nil:
			if !r.problem(h.err) {
				return false
			}
			continue
		case r.seen[h.manifest.ID]:
			if !r.problem(r.store.corrupt(h.ManifestPath(), "artifact %s is in the store twice", h.manifest.ID)) {
				return false
			}
			continue
		case len(h.problems) > 0:
			found.Condition, found.Detail = providers.Damaged, h.problems[0].Path+": "+h.problems[0].Detail
		}
		r.seen[h.manifest.ID] = true
		_, known := r.committed[h.manifest.ID]
		found.Uncatalogued = !known
		if !r.yield(found, nil) {
			return false
		}
	}
	return true
}

// paths gathers the files that no manifest lists into the artifacts their names stand for.
func (r *recoverer) paths(dir *os.Root, action providers.Action, rel string, v survey) bool {
	named := map[layout.Place][]string{}
	for _, e := range v.loose {
		p := layout.Place{Dir: rel, Manifest: layout.SecureManifest}
		ok := true
		if action != providers.SecureBackup {
			p, ok = layout.ExportOf(rel, e.Name())
		}
		if ok && e.Type().IsRegular() && !strings.HasPrefix(e.Name(), ".") && !r.files[path.Join(rel, e.Name())] {
			named[p] = append(named[p], e.Name())
		}
	}
	for _, p := range slices.SortedFunc(maps.Keys(named), func(a, b layout.Place) int { return strings.Compare(a.ManifestPath(), b.ManifestPath()) }) {
		if err := r.ctx.Err(); err != nil {
			r.problem(err)
			return false
		}
		m, err := r.read(dir, action, p, named[p])
		if err != nil {
			if !r.problem(err) {
				return false
			}
			continue
		}
		r.seen[m.ID] = true
		if !r.yield(providers.Recovered{Manifest: m, Condition: providers.Unverified, Detail: "There is no manifest to compare the files with."}, nil) {
			return false
		}
	}
	return true
}

// read makes the manifest of an artifact that is known by its path. Its files are named as they lie in the store.
func (r *recoverer) read(dir *os.Root, action providers.Action, p layout.Place, names []string) (providers.Manifest, error) {
	m := providers.Manifest{Schema: layout.Schema}
	var err error
	if id, known := r.byManifest[p.ManifestPath()]; known {
		e := r.committed[id]
		m.ArtifactRef, m.BackupPlan, m.Nominal = e.ArtifactRef, e.BackupPlan, e.Nominal
	} else if m.ArtifactRef, err = layout.RefOf(action, p); err != nil {
		return m, r.store.fault("recover", p.Dir, err)
	}
	for _, name := range names {
		f, err := r.measure(dir, name)
		if err != nil {
			return m, r.store.fault("recover", path.Join(p.Dir, name), err)
		}
		f.Path = path.Join(p.Dir, name)
		m.Files = append(m.Files, f)
	}
	m.Finished = m.Started
	return m, nil
}

func (r *recoverer) measure(dir *os.Root, name string) (providers.File, error) {
	in, _, err := disk.Open(dir, name)
	if err != nil {
		return providers.File{}, err
	}
	defer in.Close()
	h := sha256.New()
	n, err := io.CopyBuffer(h, contextReader{r.ctx, in}, r.buf)
	return providers.File{Name: name, Size: n, SHA256: hex.EncodeToString(h.Sum(nil))}, err
}

// rest yields what only the catalogue remembers.
func (r *recoverer) rest() bool {
	for _, id := range slices.Sorted(maps.Keys(r.committed)) {
		if r.seen[id] {
			continue
		}
		if err := r.ctx.Err(); err != nil {
			r.problem(err)
			return false
		}
		e := r.committed[id]
		found := providers.Recovered{Condition: providers.Missing, Detail: "Its manifest " + e.Manifest + " is gone."}
		if gone, deleted := r.deleted[id]; deleted {
			found.Condition, found.Detail = providers.Deleted, "It was deleted at "+gone.At.UTC().Format("2006-01-02 15:04:05")+"."
		}
		found.Manifest = providers.Manifest{Schema: layout.Schema, ArtifactRef: e.ArtifactRef, BackupPlan: e.BackupPlan, Nominal: e.Nominal}
		if !r.yield(found, nil) {
			return false
		}
	}
	return true
}
