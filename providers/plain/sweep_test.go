package plain_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/plain"
	"github.com/holdfast-dr/holdfast/providers/providertest"
)

func nobody(providers.ArtifactID) bool { return false }

// leftovers are the files of a store that belong to no artifact and to no history.
func leftovers(t *testing.T, path string) []string {
	t.Helper()
	return slices.DeleteFunc(tree(t, path), func(p string) bool {
		history := strings.HasPrefix(p, ".holdfast/catalog/") || strings.HasPrefix(p, ".holdfast/heads/")
		return p == ".holdfast/store.json" || history && !strings.HasSuffix(p, ".tmp") || !strings.HasPrefix(p, ".holdfast/")
	})
}

// Whatever point a commit or a deletion dies at, a sweep leaves all of an artifact or nothing, and no leftovers.
func TestSweepAfterCrashes(t *testing.T) {
	for _, c := range scenarios {
		for _, act := range []func(*testing.T, providers.Store, scene) error{
			commit,
			func(t *testing.T, s providers.Store, at scene) error {
				check(t, commit(t, at.reopen(t), at))
				return s.Delete(t.Context(), at.manifest.ArtifactRef)
			},
		} {
			c.crashes(t, act, func(t *testing.T, at scene) {
				makeOld(t, at.path)
				s := at.reopen(t)
				_, err := s.Sweep(t.Context(), nobody)
				check(t, err)
				if left := leftovers(t, at.path); len(left) > 0 {
					t.Errorf("left over: %v", left)
				}
				_, err = s.Get(t.Context(), at.manifest.ArtifactRef)
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

func TestCrashInSweep(t *testing.T) {
	c := scenarios[len(scenarios)-1]
	for point := 2; point < 20; point += 5 {
		c.crashes(t, func(t *testing.T, s providers.Store, at scene) error {
			crashedCommit(t, at, point)
			makeOld(t, at.path)
			_, err := s.Sweep(t.Context(), nobody)
			return err
		}, func(t *testing.T, at scene) {
			makeOld(t, at.path)
			_, err := at.reopen(t).Sweep(t.Context(), nobody)
			check(t, err)
			if left := leftovers(t, at.path); len(left) > 0 {
				t.Errorf("left over: %v", left)
			}
		})
	}
}

// Only age and no one's wish together make a leftover; what is no artifact's is not ours.
func TestSweepIsCareful(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	s := newStore(t, &plain.Settings{Path: path})
	tmp, day := filepath.Join(path, ".holdfast/tmp"), filepath.Join(path, catalog)
	busy := providertest.PutStaged(t, s, export(0), crashFiles...)
	check(t, os.MkdirAll(filepath.Join(tmp, "not an artifact"), 0o700))
	check(t, os.WriteFile(filepath.Join(tmp, "file"), nil, 0o600))
	check(t, os.MkdirAll(day, 0o700))
	for _, name := range []string{".01-committed.json.tmp", "01.tmp", ".01"} {
		check(t, os.WriteFile(filepath.Join(day, name), []byte("12345"), 0o600))
	}
	makeOld(t, path)
	now := time.Now()
	check(t, os.Chtimes(filepath.Join(tmp, string(busy.ID), "files/listing"), now, now)) // one file is being written
	swept, err := s.Sweep(t.Context(), nobody)
	check(t, err)
	if len(swept.Staged)+len(swept.Deleted) != 0 || swept.Files != 1 || swept.Bytes != 5 {
		t.Errorf("swept %+v, want the temporary file only", swept)
	}
	if _, err := s.Commit(t.Context(), busy); err != nil {
		t.Error(err)
	}
}

// One leftover that cannot be removed does not keep the others.
func TestSweepGoesOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	s := newStore(t, &plain.Settings{Path: path})
	bad := providertest.PutStaged(t, s, export(0), crashFiles...)
	good := providertest.PutStaged(t, s, export(1), crashFiles...)
	check(t, os.WriteFile(filepath.Join(path, ".holdfast/tmp", string(bad.ID), "commit.json"), []byte("{"), 0o600))
	check(t, os.WriteFile(filepath.Join(path, ".holdfast/trash", string(bad.ID)+".json"), []byte("{"), 0o600))
	makeOld(t, path)
	swept, err := s.Sweep(t.Context(), nobody)
	if err == nil || strings.Count(err.Error(), string(bad.ID)) < 2 {
		t.Errorf("the bad ones are told as %v", err)
	}
	if !slices.Equal(swept.Staged, []providers.ArtifactID{good.ID}) {
		t.Errorf("swept %+v", swept)
	}
}

func TestEpoch(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	set := &plain.Settings{Path: path}
	s := newStore(t, set)
	info, err := s.Stat(t.Context())
	check(t, err)
	if info.Epoch != 1 {
		t.Errorf("a new store has the epoch %d", info.Epoch)
	}
	m := providertest.Put(t, s, export(0), crashFiles...)
	check(t, os.CopyFS(path+".clone", os.DirFS(path)))
	check(t, s.Adopt(t.Context(), identity))
	at := func(epoch int64) providers.Store {
		return openEnv(t, set, providers.Env{Identity: identity, Epoch: epoch})
	}
	for _, epoch := range []int64{0, 1, 2} {
		providertest.CheckArtifact(t, at(epoch), m.ArtifactRef, crashFiles...)
	}
	taken := at(1)
	_, stageErr := taken.Stage(t.Context(), export(1))
	_, sweepErr := taken.Sweep(t.Context(), func(providers.ArtifactID) bool { return true })
	for op, err := range map[string]error{"stage": stageErr, "sweep": sweepErr, "delete": taken.Delete(t.Context(), m.ArtifactRef)} {
		if !errors.Is(err, providers.ErrIdentity) || !strings.Contains(err.Error(), "epoch 1 was recorded and 2 is there") || !strings.Contains(err.Error(), "store init --adopt nas") {
			t.Errorf("%s in a store that somebody else adopted: %v", op, err)
		}
	}
	check(t, errors.Join(os.Rename(path, path+".good"), os.Rename(path+".clone", path)))
	_, err = at(2).Stage(t.Context(), export(1))
	if !errors.Is(err, providers.ErrIdentity) || !strings.Contains(err.Error(), "epoch 2 was recorded and 1 is there") || !strings.Contains(err.Error(), "store init --adopt nas") {
		t.Errorf("staging in an older copy: %v", err)
	}
	providertest.CheckArtifact(t, at(1), m.ArtifactRef, crashFiles...)
	check(t, at(2).Adopt(t.Context(), identity)) // now this one is the store
	if info, err := at(2).Stat(t.Context()); err != nil || info.Epoch != 3 {
		t.Errorf("epoch of the clone that was adopted: %d, %v", info.Epoch, err)
	}
	_, err = at(3).Stage(t.Context(), export(1))
	check(t, err)
}

func TestAdopt(t *testing.T) {
	marker := func(content string) func(t *testing.T, path string) {
		return func(t *testing.T, path string) {
			check(t, os.MkdirAll(filepath.Join(path, ".holdfast"), 0o700))
			check(t, os.WriteFile(filepath.Join(path, ".holdfast/store.json"), []byte(content), 0o600))
		}
	}
	for name, c := range map[string]struct {
		prepare func(t *testing.T, path string)
		epoch   int64 // afterwards; 0 when it is refused
	}{
		"absent":        {func(*testing.T, string) {}, 1},
		"photos":        {func(t *testing.T, p string) { check(t, os.MkdirAll(filepath.Join(p, "photos"), 0o700)) }, 1},
		"torn marker":   {marker(`{"identity": "2f`), 1},
		"same store":    {marker(`{"identity": "` + identity + `", "layout": 1, "epoch": 4}`), 5},
		"another store": {marker(`{"identity": "6f2b", "layout": 1, "epoch": 1}`), 0},
		"newer layout":  {marker(`{"identity": "` + identity + `", "layout": 2, "epoch": 1}`), 0},
		"a file":        {func(t *testing.T, p string) { check(t, os.WriteFile(p, nil, 0o600)) }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "store")
			c.prepare(t, path)
			before, _ := os.ReadFile(filepath.Join(path, ".holdfast/store.json"))
			s := openStore(t, &plain.Settings{Path: path}, "")
			err := s.Adopt(t.Context(), identity)
			if c.epoch == 0 {
				after, _ := os.ReadFile(filepath.Join(path, ".holdfast/store.json"))
				if err == nil || string(before) != string(after) {
					t.Errorf("adopted with %v, marker %s", err, after)
				}
				return
			}
			check(t, err)
			info, err := s.Stat(t.Context())
			if err != nil || info.Epoch != c.epoch || info.Identity != identity {
				t.Errorf("%+v, %v, want epoch %d", info, err, c.epoch)
			}
			providertest.Put(t, s, export(0), crashFiles...)
		})
	}
	s := openStore(t, &plain.Settings{Path: filepath.Join(t.TempDir(), "absent", "store"), Mount: &plain.Mount{Required: true}}, "")
	if err := s.Adopt(t.Context(), identity); !errors.Is(err, providers.ErrUnavailable) {
		t.Errorf("adopting what is not mounted: %v", err)
	}
}

// A place that cannot keep what is written to it is found when staging begins.
func TestStageTriesTheMedium(t *testing.T) {
	s := newStore(t, &plain.Settings{Path: filepath.Join(t.TempDir(), "store")})
	var points []string
	plain.SetFail(s, func(point string) error {
		points = append(points, point)
		return nil
	})
	_, err := s.Stage(t.Context(), export(0))
	check(t, err)
	if !slices.Contains(points, "probe") {
		t.Errorf("points %v", points)
	}
	plain.SetFail(s, func(point string) error {
		if point == "probe" {
			return errCrash
		}
		return nil
	})
	_, err = s.Stage(t.Context(), export(0))
	wantCrash(t, err)
}

// What a store had no room for after the commit point, the next commit or a sweep makes up for, however fresh it is.
func TestPublishedIsFinished(t *testing.T) {
	for name, next := range map[string]func(providers.Store){
		"commit": func(s providers.Store) {
			providertest.Put(t, s, providertest.NewRef("d", "b", providers.SecureBackup), crashFiles...)
		},
		"sweep": func(s providers.Store) {
			_, err := s.Sweep(t.Context(), nobody)
			check(t, err)
		},
	} {
		for _, c := range scenarios {
			at := c.set(t)
			s := at.reopen(t)
			plain.SetFail(s, func(point string) error {
				if point == "record: write head" {
					return errCrash
				}
				return nil
			})
			if err := commit(t, s, at); !errors.Is(err, errCrash) {
				t.Fatalf("%s, %s: %v", name, c.name, err)
			}
			s = at.reopen(t)
			next(s)
			if left := leftovers(t, at.path); len(left) > 0 {
				t.Errorf("%s, %s: left over: %v", name, c.name, left)
			}
			for _, found := range providertest.RecoverAll(t, s) {
				if found.Uncatalogued {
					t.Errorf("%s, %s: not in the catalogue: %s", name, c.name, found.Manifest.ID)
				}
			}
		}
	}
}
