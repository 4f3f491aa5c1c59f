package plain

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/oklog/ulid/v2"

	"github.com/holdfast-dr/holdfast/providers"
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
			if !r.problem(r.store.corrupt(h.manifestPath(), "artifact %s is in the store twice", h.manifest.ID)) {
				return false
			}
			continue
		case len(h.problems) > 0:
			found.Condition, found.Detail = providers.Damaged, h.problems[0].Path+": "+h.problems[0].Detail
		}
		r.seen[h.manifest.ID] = true
		if !r.yield(found, nil) {
			return false
		}
	}
	return true
}

// paths gathers the files that no manifest lists into the artifacts their names stand for.
func (r *recoverer) paths(dir *os.Root, action providers.Action, rel string, v survey) bool {
	named := map[place][]string{}
	for _, e := range v.loose {
		p := place{dir: rel, manifest: secureManifest}
		ok := true
		if action != providers.SecureBackup {
			p, ok = exportOf(rel, e.Name())
		}
		if ok && e.Type().IsRegular() && !strings.HasPrefix(e.Name(), ".") && !r.files[path.Join(rel, e.Name())] {
			named[p] = append(named[p], e.Name())
		}
	}
	for _, p := range slices.SortedFunc(maps.Keys(named), func(a, b place) int { return strings.Compare(a.manifestPath(), b.manifestPath()) }) {
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

// exportOf is the place of the export that a file in a domain's directory belongs to by its name:
// <domain>-export-<time>-<variant>, and from the first dot on what it likes.
func exportOf(rel, name string) (place, bool) {
	head := path.Base(rel) + "-export-"
	rest, ok := strings.CutPrefix(name, head)
	if !ok || len(rest) < len(stampLayout)+len("-p") {
		return place{}, false
	}
	at, variant := rest[:len(stampLayout)], rest[len(stampLayout):]
	variant, _, _ = strings.Cut(variant, ".")
	_, ok = parseStamp(at)
	stem := head + at + variant
	return place{dir: rel, stem: stem, manifest: stem + exportManifest}, ok && variant[0] == '-' && validVariant.MatchString(variant[1:])
}

// read makes the manifest of an artifact that is known by its path. Its files are named as they lie in the store.
func (r *recoverer) read(dir *os.Root, action providers.Action, p place, names []string) (providers.Manifest, error) {
	m := providers.Manifest{Schema: manifestSchema}
	var err error
	if id, known := r.byManifest[p.manifestPath()]; known {
		e := r.committed[id]
		m.ArtifactRef, m.BackupPlan, m.Nominal = e.ArtifactRef, e.BackupPlan, e.Nominal
	} else if m.ArtifactRef, err = refOf(action, p); err != nil {
		return m, r.store.fault("recover", p.dir, err)
	}
	for _, name := range names {
		f, err := r.measure(dir, name)
		if err != nil {
			return m, r.store.fault("recover", path.Join(p.dir, name), err)
		}
		f.Path = path.Join(p.dir, name)
		m.Files = append(m.Files, f)
	}
	m.Finished = m.Started
	return m, nil
}

func (r *recoverer) measure(dir *os.Root, name string) (providers.File, error) {
	in, _, err := openRegular(dir, name)
	if err != nil {
		return providers.File{}, err
	}
	defer in.Close()
	h := sha256.New()
	n, err := io.CopyBuffer(h, contextReader{r.ctx, in}, r.buf)
	return providers.File{Name: name, Size: n, SHA256: hex.EncodeToString(h.Sum(nil))}, err
}

// refOf reads an artifact's reference from its place. The id is made of time and place, and so the same each time.
func refOf(action providers.Action, p place) (providers.ArtifactRef, error) {
	parts := strings.Split(p.dir, "/")
	ref := providers.ArtifactRef{Device: unescape(parts[0]), Domain: providers.AllDomains, Action: action}
	at := parts[len(parts)-1]
	if action == providers.ExportDomain {
		ref.Domain = unescape(at)
		at, ref.Variant = p.stem[len(parts[len(parts)-1]+"-export-"):], providers.Variant(p.stem[strings.LastIndexByte(p.stem, '-')+1:])
		at = at[:len(stampLayout)]
	}
	var ok bool
	if ref.Started, ok = parseStamp(at); !ok {
		return ref, fmt.Errorf("%q is not a time", at)
	}
	sum := sha256.Sum256([]byte(p.manifestPath()))
	id, err := ulid.New(uint64(max(0, ref.Started.UnixMilli())), bytes.NewReader(sum[:]))
	if err != nil {
		return ref, err
	}
	ref.ID = providers.ArtifactID(id.String())
	if err := checkRef(ref); err != nil {
		return ref, err
	}
	if want := shifted(ref, 0); want.dir != p.dir && olderHome(ref) != p.dir {
		return ref, errors.New("the names of its directories are cut short, so device and domain are not known")
	}
	return ref, nil
}

// unescape undoes escape, but for names that were cut short.
func unescape(name string) string {
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		if name[i] == '%' && i+3 <= len(name) {
			if c, err := strconv.ParseUint(name[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(c))
				i += 2
				continue
			}
		}
		b.WriteByte(name[i])
	}
	return b.String()
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
		found.Manifest = providers.Manifest{Schema: manifestSchema, ArtifactRef: e.ArtifactRef, BackupPlan: e.BackupPlan, Nominal: e.Nominal}
		if !r.yield(found, nil) {
			return false
		}
	}
	return true
}
