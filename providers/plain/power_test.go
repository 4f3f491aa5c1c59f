package plain_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/plain"
	"github.com/holdfast-dr/holdfast/providers/providertest"
)

// medium is what a loss of power leaves of a directory tree when the file system keeps nothing but what it was asked to
// keep: of a file the content at its last sync, of a directory the names at its last sync. Real ones keep more.
type medium struct {
	files map[uint64][]byte
	dirs  map[uint64]map[string]node
}

type node struct {
	ino uint64
	dir bool
}

func inode(info fs.FileInfo) uint64 { return info.Sys().(*syscall.Stat_t).Ino }

// synced takes a sync of a file or a directory into account.
func (m *medium) synced(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	name := fmt.Sprintf("/proc/self/fd/%d", f.Fd())
	if !info.IsDir() {
		m.files[inode(info)], err = os.ReadFile(name)
		return err
	}
	entries, err := os.ReadDir(name)
	if err != nil {
		return err
	}
	names := make(map[string]node, len(entries))
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return err
		}
		names[e.Name()] = node{inode(info), e.IsDir()}
	}
	m.dirs[inode(info)] = names
	return nil
}

// keep makes everything below a directory durable.
func (m *medium) keep(t *testing.T, path string) {
	t.Helper()
	check(t, filepath.WalkDir(path, func(p string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		f, err := os.Open(p)
		if err != nil {
			return err
		}
		defer f.Close()
		return m.synced(f)
	}))
}

// lose writes what is left after a loss of power into an empty directory. A file that has an old and a new name
// is one file, whose names are known by its number.
func (m *medium) lose(root uint64, to string, names map[uint64]string) error {
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	for name, n := range m.dirs[root] {
		name = filepath.Join(to, name)
		var err error
		switch other := names[n.ino]; {
		case n.dir:
			err = m.lose(n.ino, name, names)
		case other != "":
			err = os.Link(other, name)
		default:
			err, names[n.ino] = os.WriteFile(name, m.files[n.ino], 0o600), name
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// powerLosses runs act on a scene, and check on what a loss of power after each of its syncs leaves; done says
// that act had returned.
func powerLosses(t *testing.T, at scene, act func(), checkAfter func(t *testing.T, left scene, done bool)) {
	t.Helper()
	info, err := os.Stat(at.path)
	check(t, err)
	m := &medium{map[uint64][]byte{}, map[uint64]map[string]node{}}
	m.keep(t, at.path)
	var left []string
	var problem error
	stop := plain.WatchSync(func(f *os.File) {
		problem = errors.Join(problem, m.synced(f))
		to := filepath.Join(filepath.Dir(at.path), fmt.Sprintf("left-%d", len(left)))
		problem = errors.Join(problem, m.lose(inode(info), to, map[uint64]string{}))
		left = append(left, to)
	})
	act()
	stop()
	check(t, problem)
	if len(left) < 5 {
		t.Fatalf("only %d syncs", len(left))
	}
	for i, path := range left {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			at := at
			at.path = path
			checkAfter(t, at, i == len(left)-1)
		})
	}
}

// After a loss of power at any moment a listed artifact is whole, a finished commit is kept, and an
// unfinished one is finished or begun again.
func TestPowerLossInCommit(t *testing.T) {
	for _, c := range scenarios {
		t.Run(c.name, func(t *testing.T) {
			at := c.set(t)
			listed, before := len(providertest.ListIDs(t, at.reopen(t))), len(providertest.Findings(t, at.reopen(t)))
			powerLosses(t, at, func() { check(t, commit(t, at.reopen(t), at)) }, func(t *testing.T, at scene, done bool) {
				s := at.reopen(t)
				ids := providertest.ListIDs(t, s)
				_, err := s.Get(t.Context(), at.manifest.ArtifactRef)
				switch {
				case err == nil:
					providertest.CheckArtifact(t, s, at.manifest.ArtifactRef, crashFiles...)
				case done || !errors.Is(err, providers.ErrNotFound) || len(ids) != listed:
					t.Errorf("done %v, get %v, listed %v", done, err, ids)
				}
				if done {
					if found := providertest.Findings(t, s); len(found) > before {
						t.Errorf("found %+v", found)
					}
				}
				check(t, commit(t, at.reopen(t), at))
				providertest.CheckArtifact(t, at.reopen(t), at.manifest.ArtifactRef, crashFiles...)
				if found := providertest.Findings(t, s); len(found) > before {
					t.Errorf("after it was finished: %+v", found)
				}
			})
		})
	}
}

// What Stage said is staged can be committed after a loss of power.
func TestPowerLossAfterStaging(t *testing.T) {
	for _, set := range []plain.Settings{{}, {Compress: "zstd", Encrypt: encrypts(newKey(t))}} {
		at := scene{path: filepath.Join(t.TempDir(), "store")}
		set.Path = at.path
		newStore(t, &set)
		powerLosses(t, at, func() {
			at.manifest = providertest.PutStaged(t, openStore(t, &set, identity), export(0), crashFiles...)
		}, func(t *testing.T, left scene, done bool) {
			s := openStore(t, &plain.Settings{Path: left.path}, identity)
			if ids := providertest.ListIDs(t, s); len(ids) != 0 {
				t.Errorf("listed %v", ids)
			}
			if !done {
				providertest.Put(t, s, export(0), crashFiles...)
				return
			}
			m, err := s.Commit(t.Context(), at.manifest)
			check(t, err)
			for _, f := range m.Files {
				r, err := s.Stored(t.Context(), m, f.Name)
				check(t, err)
				check(t, r.Close())
			}
		})
	}
}

func TestPowerLossInDelete(t *testing.T) {
	for _, c := range scenarios[:4] {
		t.Run(c.name, func(t *testing.T) {
			at := c.set(t)
			check(t, commit(t, at.reopen(t), at))
			powerLosses(t, at, func() { check(t, at.reopen(t).Delete(t.Context(), at.manifest.ArtifactRef)) }, func(t *testing.T, at scene, done bool) {
				s := at.reopen(t)
				providertest.ListIDs(t, s)
				_, err := s.Get(t.Context(), at.manifest.ArtifactRef)
				if err == nil {
					providertest.CheckArtifact(t, s, at.manifest.ArtifactRef, crashFiles...)
				}
				if done && !errors.Is(err, providers.ErrNotFound) {
					t.Errorf("a deleted artifact is back: %v", err)
				}
				check(t, s.Delete(t.Context(), at.manifest.ArtifactRef))
				if found := providertest.Findings(t, s); len(found) > 0 {
					t.Errorf("after it was finished: %+v", found)
				}
			})
		})
	}
}

func TestPowerLossInInit(t *testing.T) {
	parent := t.TempDir()
	at := scene{path: filepath.Join(parent, "mounted")}
	check(t, os.Mkdir(at.path, 0o700))
	set := &plain.Settings{Path: filepath.Join(at.path, "store")}
	powerLosses(t, at, func() { check(t, openStore(t, set, "").Init(t.Context(), identity)) }, func(t *testing.T, at scene, done bool) {
		set := &plain.Settings{Path: filepath.Join(at.path, "store")}
		s := openStore(t, set, "")
		info, err := s.Stat(t.Context())
		if err != nil || done != info.Initialised && done {
			t.Errorf("done %v, %+v, %v", done, info, err)
		}
		check(t, s.Init(t.Context(), identity))
		providertest.Put(t, openStore(t, set, identity), export(0), crashFiles...)
	})
}
