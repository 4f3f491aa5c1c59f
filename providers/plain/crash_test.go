package plain_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/plain"
	"github.com/holdfast-dr/holdfast/providers/providertest"
)

var errCrash = errors.New("crash")

// crashAt makes the n-th change to the medium, counted from 1, the one before which the process dies.
func crashAt(s providers.Store, n int) {
	plain.SetFail(s, func(string) error {
		if n--; n == 0 {
			return errCrash
		}
		return nil
	})
}

var crashFiles = []providertest.Content{{Name: "export.zip", Data: []byte("main")}, {Name: "listing", Data: []byte("second")}, {Name: "third", Data: nil}}

// scene is a store with one artifact staged.
type scene struct {
	path     string
	manifest providers.Manifest
	before   []string // files of the store beside .holdfast
}

type scenario struct {
	name   string
	action providers.Action
	// prepare fills the place where the artifact would go
	prepare func(t testing.TB, s providers.Store, path string)
}

var scenarios = []scenario{
	{"secure backup", providers.SecureBackup, nil},
	{"export", providers.ExportDomain, nil},
	{"secure backup, time taken", providers.SecureBackup, func(t testing.TB, s providers.Store, _ string) {
		providertest.Put(t, s, providertest.NewRef("d", "a", providers.SecureBackup), providertest.Content{Name: "export.zip", Data: []byte("main")})
	}},
	{"export, time taken", providers.ExportDomain, func(t testing.TB, s providers.Store, _ string) {
		providertest.Put(t, s, providertest.NewRef("d", "a", providers.ExportDomain), providertest.Content{Name: "export.zip", Data: []byte("main")})
	}},
	{"export, last name taken by a stranger", providers.ExportDomain, func(t testing.TB, _ providers.Store, path string) {
		dir := filepath.Join(path, "d/domain/a")
		check(t, os.MkdirAll(dir, 0o700))
		check(t, os.WriteFile(filepath.Join(dir, "a-export-2017-06-26-22-48-00-000-persisted.third"), nil, 0o600))
	}},
}

func (c scenario) set(t testing.TB) scene {
	path := filepath.Join(t.TempDir(), "store")
	s := newStore(t, &plain.Settings{Path: path})
	if c.prepare != nil {
		c.prepare(t, s, path)
	}
	before := artifactFiles(t, path)
	ref := providertest.NewRef("d", "a", c.action)
	return scene{path, providertest.PutStaged(t, s, ref, crashFiles...), before}
}

func (c scene) reopen(t testing.TB) providers.Store {
	return openStore(t, &plain.Settings{Path: c.path}, identity)
}

func artifactFiles(t testing.TB, path string) []string {
	return slices.DeleteFunc(tree(t, path), func(p string) bool { return strings.HasPrefix(p, ".holdfast/") })
}

// crashes runs act on a fresh scene once for every point at which it can die, and then check.
// It returns how many points there are.
func (c scenario) crashes(t *testing.T, act func(*testing.T, providers.Store, scene) error, after func(*testing.T, scene)) int {
	t.Helper()
	for n := 1; ; n++ {
		survived := false
		ok := t.Run(fmt.Sprintf("%s/%d", c.name, n), func(t *testing.T) {
			at := c.set(t)
			s := at.reopen(t)
			crashAt(s, n)
			err := act(t, s, at)
			if survived = err == nil; !survived && !errors.Is(err, errCrash) {
				t.Fatalf("died of %v", err)
			}
			after(t, at)
		})
		if survived || !ok {
			return n - 1
		}
	}
}

func commit(t *testing.T, s providers.Store, at scene) error { return finish(t, s, at) }

// finish is commit for whatever tells of problems.
func finish(t testing.TB, s providers.Store, at scene) error {
	_, err := s.Commit(t.Context(), at.manifest)
	return err
}

// crashedCommit runs a Commit that dies at a point, if it has that many.
func crashedCommit(t *testing.T, at scene, point int) {
	s := at.reopen(t)
	crashAt(s, point)
	if err := commit(t, s, at); err != nil && !errors.Is(err, errCrash) {
		t.Fatal(err)
	}
}

// checkCommitted checks that the artifact is there whole and that nothing else is left over.
func checkCommitted(t *testing.T, at scene) {
	t.Helper()
	s := at.reopen(t)
	providertest.CheckArtifact(t, s, at.manifest.ArtifactRef, crashFiles...)
	m, err := s.Get(t.Context(), at.manifest.ArtifactRef)
	check(t, err)
	want := len(at.before) + len(crashFiles) + 1
	if got := artifactFiles(t, at.path); len(got) != want {
		t.Errorf("%d files, want %d: %v", len(got), want, got)
	}
	if left, err := os.ReadDir(filepath.Join(at.path, ".holdfast/tmp")); err != nil || len(left) != 0 {
		t.Errorf("staging holds %v, %v", left, err)
	}
	event := filepath.Join(at.path, ".holdfast/catalog/2017/06/26", string(m.ID)+"-committed.json")
	if _, err := os.Stat(event); err != nil {
		t.Error(err)
	}
	providertest.ListIDs(t, s)
}

// checkGone checks that only what was there before is left.
func checkGone(t *testing.T, at scene) {
	t.Helper()
	if got := artifactFiles(t, at.path); !slices.Equal(got, at.before) {
		t.Errorf("left over: %v, there before: %v", got, at.before)
	}
	for _, dir := range []string{"tmp", "trash"} {
		left, err := os.ReadDir(filepath.Join(at.path, ".holdfast", dir))
		if err != nil && !errors.Is(err, fs.ErrNotExist) || len(left) != 0 {
			t.Errorf("%s holds %v, %v", dir, left, err)
		}
	}
	providertest.ListIDs(t, at.reopen(t))
}

func TestCrashInCommit(t *testing.T) {
	for _, c := range scenarios {
		points := c.crashes(t, commit, func(t *testing.T, at scene) {
			providertest.ListIDs(t, at.reopen(t)) // whatever is listed is whole
			check(t, commit(t, at.reopen(t), at))
			checkCommitted(t, at)
		})
		if points < 7 {
			t.Errorf("%s: only %d points to die at", c.name, points)
		}
	}
}

func TestCrashWhileResumingCommit(t *testing.T) {
	c := scenarios[len(scenarios)-1]
	for first := 2; first < 20; first += 3 {
		c.crashes(t, func(t *testing.T, s providers.Store, at scene) error {
			crashedCommit(t, at, first)
			return commit(t, s, at)
		}, func(t *testing.T, at scene) {
			check(t, commit(t, at.reopen(t), at))
			checkCommitted(t, at)
		})
	}
}

func TestStageAfterCrashInCommit(t *testing.T) {
	for _, c := range scenarios {
		c.crashes(t, commit, func(t *testing.T, at scene) {
			s := at.reopen(t)
			at.manifest = providertest.PutStaged(t, s, at.manifest.ArtifactRef, crashFiles...)
			check(t, commit(t, s, at))
			checkCommitted(t, at)
		})
	}
}

// Discard after a crash in Commit leaves all of an artifact or nothing, also when it dies itself.
func TestCrashInDiscard(t *testing.T) {
	for _, c := range []scenario{scenarios[1], scenarios[len(scenarios)-1]} {
		for point := 2; point < 20; point += 3 {
			c.crashes(t, func(t *testing.T, s providers.Store, at scene) error {
				crashedCommit(t, at, point)
				return s.Discard(t.Context(), at.manifest.ID)
			}, func(t *testing.T, at scene) {
				s := at.reopen(t)
				check(t, s.Discard(t.Context(), at.manifest.ID))
				_, err := s.Get(t.Context(), at.manifest.ArtifactRef)
				if errors.Is(err, providers.ErrNotFound) {
					checkGone(t, at)
					return
				}
				check(t, err)
				providertest.CheckArtifact(t, s, at.manifest.ArtifactRef, crashFiles...)
			})
		}
	}
}

func TestCrashInDelete(t *testing.T) {
	for _, c := range scenarios[:4] {
		points := c.crashes(t, func(t *testing.T, s providers.Store, at scene) error {
			check(t, commit(t, at.reopen(t), at))
			return s.Delete(t.Context(), at.manifest.ArtifactRef)
		}, func(t *testing.T, at scene) {
			s := at.reopen(t)
			providertest.ListIDs(t, s)
			check(t, s.Delete(t.Context(), at.manifest.ArtifactRef))
			checkGone(t, at)
		})
		if points < 6 {
			t.Errorf("%s: only %d points to die at", c.name, points)
		}
	}
}

// crashBefore runs a Commit that dies at a named point.
func crashBefore(t testing.TB, at scene, point string) {
	t.Helper()
	s := at.reopen(t)
	plain.SetFail(s, func(p string) error {
		if p == point {
			return errCrash
		}
		return nil
	})
	if err := finish(t, s, at); !errors.Is(err, errCrash) {
		t.Fatalf("no crash at %q: %v", point, err)
	}
}

// After a crash another artifact may take the time, under file names that do not
// meet, or even leave a file like ours there: each keeps what is its own.
func TestTimeTakenDuringCrash(t *testing.T) {
	other := providertest.NewRef("d", "a", providers.ExportDomain)
	content := providertest.Content{Name: "export.tar", Data: []byte("of another")}
	take := func(t *testing.T) scene {
		at := scenarios[1].set(t)
		crashBefore(t, at, "commit: publish manifest")
		providertest.Put(t, at.reopen(t), other, content)
		at.before = []string{"d/domain/a/a-export-2017-06-26-22-48-00-000-persisted.holdfast.json", "d/domain/a/a-export-2017-06-26-22-48-00-000-persisted.tar"}
		return at
	}
	t.Run("commit", func(t *testing.T) {
		at := take(t)
		check(t, commit(t, at.reopen(t), at))
		checkCommitted(t, at)
		providertest.CheckArtifact(t, at.reopen(t), other, content)
	})
	t.Run("discard", func(t *testing.T) {
		at := take(t)
		check(t, at.reopen(t).Discard(t.Context(), at.manifest.ID))
		checkGone(t, at)
		providertest.CheckArtifact(t, at.reopen(t), other, content)
	})
	t.Run("discard after moving", func(t *testing.T) {
		at := scenarios[1].set(t)
		crashBefore(t, at, "commit: publish manifest")
		moved := filepath.Join(at.path, "d/domain/a/a-export-2017-06-26-22-48-00-000-persisted.zip")
		check(t, os.WriteFile(moved, []byte("changed"), 0o600))
		check(t, at.reopen(t).Discard(t.Context(), at.manifest.ID))
		if got := artifactFiles(t, at.path); len(got) != 1 || filepath.Join(at.path, got[0]) != moved {
			t.Errorf("left: %v, want only the file somebody changed", got)
		}
	})
	t.Run("commit of a changed file", func(t *testing.T) {
		at := scenarios[1].set(t)
		crashBefore(t, at, "commit: publish manifest")
		check(t, os.WriteFile(filepath.Join(at.path, "d/domain/a/a-export-2017-06-26-22-48-00-000-persisted.zip"), []byte("niam"), 0o600))
		if err := commit(t, at.reopen(t), at); !errors.Is(err, providers.ErrCorrupt) {
			t.Errorf("commit of what changed since it was moved: %v", err)
		}
	})
}

// A staging area that goes away file by file is never read as one whose files were moved.
func TestIntentGoesBeforeStagedFiles(t *testing.T) {
	at := scenarios[1].set(t)
	crashBefore(t, at, "wipe: remove staging")
	if _, err := os.Stat(filepath.Join(at.path, ".holdfast/tmp", string(at.manifest.ID), "commit.json")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the intent is still there: %v", err)
	}
}

// What a crash between link and unlink leaves is recognised and finished.
func TestCrashBetweenLinkAndUnlink(t *testing.T) {
	finish := map[string]func(*testing.T, providers.Store, scene){
		"commit": func(t *testing.T, s providers.Store, at scene) {
			check(t, commit(t, s, at))
			checkCommitted(t, at)
		},
		"discard": func(t *testing.T, s providers.Store, at scene) {
			check(t, s.Discard(t.Context(), at.manifest.ID))
			checkGone(t, at)
		},
	}
	for name, finish := range finish {
		t.Run(name, func(t *testing.T) {
			at := scenarios[1].set(t)
			crashBefore(t, at, "commit: move export.zip")
			staged := filepath.Join(at.path, ".holdfast/tmp", string(at.manifest.ID), "files/export.zip")
			check(t, os.Link(staged, filepath.Join(at.path, "d/domain/a/a-export-2017-06-26-22-48-00-000-persisted.zip")))
			finish(t, at.reopen(t), at)
		})
	}
}
