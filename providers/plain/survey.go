package plain

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/plain/chain"
	"github.com/holdfast-dr/holdfast/providers/plain/disk"
	"github.com/holdfast-dr/holdfast/providers/plain/layout"
)

// survey is what lies in one directory that can hold files of artifacts.
type survey struct {
	held  []held
	loose []fs.DirEntry // what no readable manifest lists, by name
}

// held is a place that has a manifest.
type held struct {
	layout.Place
	sum      string // of the manifest as stored
	manifest providers.Manifest
	err      error               // why the manifest cannot be read
	problems []providers.Finding // of its files
}

// survey looks at the directory of a secure backup or at one domain's exports. It reads manifests and no other content.
func (s *store) survey(ctx context.Context, dir *os.Root, action providers.Action, rel string) (survey, error) {
	var v survey
	found, err := disk.Entries(dir)
	if err != nil {
		return v, err
	}
	claimed := map[string]bool{}
	for _, e := range found {
		if err := ctx.Err(); err != nil {
			return v, err
		}
		p := layout.Place{Dir: rel, Manifest: layout.SecureManifest}
		ok := e.Name() == layout.SecureManifest
		if action != providers.SecureBackup {
			p, ok = layout.PlaceOf(action, rel, e.Name())
		}
		if !ok {
			continue
		}
		h := s.look(dir, p)
		claimed[e.Name()] = true
		for _, f := range h.manifest.Files {
			claimed[path.Base(f.Path)] = true
		}
		v.held = append(v.held, h)
	}
	for _, e := range found {
		if !claimed[e.Name()] {
			v.loose = append(v.loose, e)
		}
	}
	slices.SortFunc(v.loose, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	return v, nil
}

// look reads the manifest of a place and compares it with the files there.
func (s *store) look(dir *os.Root, p layout.Place) held {
	h := held{Place: p}
	data, err := disk.Read(dir, p.Manifest, layout.ManifestLimit)
	if err != nil {
		h.err = s.fault("read", p.ManifestPath(), err)
		return h
	}
	h.sum = chain.Sum(data)
	m, err := s.parse(data, p.ManifestPath(), p)
	if err != nil {
		h.err = err
		return h
	}
	h.manifest = m
	for _, f := range m.Files {
		problem := providers.Finding{Artifact: m.ID, Path: f.Path}
		info, err := disk.Lstat(dir, path.Base(f.Path))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			problem.Kind, problem.Detail = providers.FileMissing, fmt.Sprintf("The file of %d bytes is gone.", f.Size)
		case err != nil:
			problem.Kind, problem.Detail = providers.FileMissing, fmt.Sprintf("The file cannot be read: %v.", cause(err))
		case info.Size() != f.Size:
			problem.Kind, problem.Detail = providers.FileSize, fmt.Sprintf("The file has %d bytes and should have %d.", info.Size(), f.Size)
		default:
			continue
		}
		h.problems = append(h.problems, problem)
	}
	return h
}

// underway lists the paths of files that belong to a commit or a deletion that is not finished,
// and the artifacts of the deletions: of them nothing can be said yet.
func (s *store) underway(root *os.Root) (files map[string]bool, deleting map[providers.ArtifactID]bool, err error) {
	files, deleting = map[string]bool{}, map[providers.ArtifactID]bool{}
	err = s.inside(root, layout.TmpDir, func(tmp *os.Root, name string) error {
		area, err := disk.Sub(tmp, name)
		if err != nil {
			return nil // gone meanwhile, or not an artifact's
		}
		defer area.Close()
		in, err := readIntent(area)
		if err != nil || in == nil {
			return err
		}
		for _, f := range in.Files {
			files[f.Path] = true
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	return files, deleting, s.inside(root, layout.TrashDir, func(trash *os.Root, name string) error {
		data, err := disk.Read(trash, name, layout.ManifestLimit)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		m, err := layout.DecodeManifest(data)
		if err != nil {
			return err
		}
		deleting[m.ID] = true
		for _, f := range m.Files {
			files[f.Path] = true
		}
		return nil
	})
}

// inside visits the entries of a directory of ours, which may be missing.
func (s *store) inside(root *os.Root, rel string, visit func(dir *os.Root, name string) error) error {
	dir, err := disk.Sub(root, rel)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return s.fault("read", rel, err)
	}
	defer dir.Close()
	names, err := disk.Entries(dir)
	if err != nil {
		return s.fault("read", rel, err)
	}
	for _, n := range names {
		if err := visit(dir, n.Name()); err != nil {
			return s.fault("read", path.Join(rel, n.Name()), err)
		}
	}
	return nil
}
