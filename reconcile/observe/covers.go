package observe

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/reconcile"
)

// covers finds the stores that lie in what captures of a device read, also by way of symbolic links and of directories that are mounted
// in two places. What cannot be looked at is not told; a capture leaves its own store out all the same.
func covers(doc *config.Document, opener *providers.Opener, device string) (found []reconcile.Covered) {
	trees, err := opener.Reads(device)
	if err != nil || len(trees) == 0 {
		return nil
	}
	for _, s := range doc.Stores {
		place, err := opener.Place(string(s.Address))
		if err != nil || place == "" {
			continue
		}
		for _, t := range trees {
			if rel, ok := below(t.Path, place); ok && !t.LeavesOut(rel) {
				found = append(found, reconcile.Covered{Store: string(s.Address), Place: place, Domain: t.Domain, Root: t.Path})
			}
		}
	}
	return found
}

// below gives the path of a place in a directory. Neither needs to be there yet.
func below(dir, place string) (path string, ok bool) {
	dir, place = followed(dir), followed(place)
	top, err := os.Stat(dir)
	for {
		here, hereErr := os.Stat(place)
		if place == dir || err == nil && hereErr == nil && os.SameFile(top, here) {
			return path, true
		}
		if place == filepath.Dir(place) {
			return "", false
		}
		path = filepath.Join(filepath.Base(place), path)
		place = filepath.Dir(place)
	}
}

// followed gives the path without symbolic links, as far as it is there.
func followed(path string) string {
	path = filepath.Clean(path)
	real, err := filepath.EvalSymlinks(path)
	switch {
	case err == nil:
		return real
	case !errors.Is(err, fs.ErrNotExist) || path == filepath.Dir(path):
		return path
	}
	return filepath.Join(followed(filepath.Dir(path)), filepath.Base(path))
}
