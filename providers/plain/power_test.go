package plain_test

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-dr/holdfast/config/sampletest"
	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/plain"
	"github.com/holdfast-dr/holdfast/providers/providertest"
)

// stories are what a store does, each with what must hold of what a loss of power leaves at any moment.
func stories() map[string]func(t testing.TB) story {
	all := map[string]func(t testing.TB) story{
		"stage": func(t testing.TB) story { return stagingStory(t, plain.Settings{}) },
		"stage, encrypted": func(t testing.TB) story {
			return stagingStory(t, plain.Settings{Compress: "zstd", Encrypt: encrypts(newKey(t))})
		},
		"init":  initStory,
		"adopt": adoptStory,
	}
	for _, c := range scenarios {
		all["commit "+c.name] = c.commitStory
		all["discard "+c.name] = c.discardStory
	}
	for _, c := range scenarios[:4] {
		all["delete "+c.name] = c.deleteStory
	}
	return all
}

// A listed artifact is whole, a finished commit is kept, and an unfinished one is finished or begun again.
func (c scenario) commitStory(t testing.TB) story {
	at := c.set(t)
	listed, before := len(providertest.ListIDs(t, at.reopen(t))), len(providertest.Findings(t, at.reopen(t)))
	act := func(watched func(providers.Store) providers.Store) { check(t, finish(t, watched(at.reopen(t)), at)) }
	return story{at, act, func(t testing.TB, at scene, done bool) {
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
			if left, err := os.ReadDir(filepath.Join(at.path, ".holdfast/tmp")); err != nil || len(left) != 0 {
				t.Errorf("staging holds %v, %v", left, err)
			}
		}
		check(t, finish(t, at.reopen(t), at))
		providertest.CheckArtifact(t, at.reopen(t), at.manifest.ArtifactRef, crashFiles...)
		if found := providertest.Findings(t, s); len(found) > before {
			t.Errorf("after it was finished: %+v", found)
		}
	}}
}

// What Stage said is staged can be committed.
func stagingStory(t testing.TB, set plain.Settings) story {
	at := scene{path: filepath.Join(t.TempDir(), "store")}
	set.Path = at.path
	newStore(t, &set)
	var staged providers.Manifest
	act := func(watched func(providers.Store) providers.Store) {
		staged = providertest.PutStaged(t, watched(openStore(t, &set, identity)), export(0), crashFiles...)
	}
	return story{at, act, func(t testing.TB, left scene, done bool) {
		s := openStore(t, &plain.Settings{Path: left.path}, identity)
		if ids := providertest.ListIDs(t, s); len(ids) != 0 {
			t.Errorf("listed %v", ids)
		}
		if !done {
			providertest.Put(t, s, export(0), crashFiles...)
			return
		}
		m, err := s.Commit(t.Context(), staged)
		check(t, err)
		for _, f := range m.Files {
			r, err := s.Stored(t.Context(), m, f.Name)
			check(t, err)
			check(t, r.Close())
		}
	}}
}

// What is half committed is taken back whole, and what is committed stays.
func (c scenario) discardStory(t testing.TB) story {
	at := c.set(t)
	listed := len(providertest.ListIDs(t, at.reopen(t)))
	if c.action == providers.ExportDomain {
		crashBefore(t, at, "commit: publish manifest")
	}
	act := func(watched func(providers.Store) providers.Store) {
		check(t, watched(at.reopen(t)).Discard(t.Context(), at.manifest.ID))
	}
	return story{at, act, func(t testing.TB, at scene, done bool) {
		s := at.reopen(t)
		if ids := providertest.ListIDs(t, s); len(ids) != listed {
			t.Errorf("listed %v", ids)
		}
		if !done {
			check(t, s.Discard(t.Context(), at.manifest.ID))
		}
		if got := artifactFiles(t, at.path); !slices.Equal(got, at.before) {
			t.Errorf("left over: %v, there before: %v", got, at.before)
		}
		if left, err := os.ReadDir(filepath.Join(at.path, ".holdfast/tmp")); err != nil || len(left) != 0 {
			t.Errorf("staging holds %v, %v", left, err)
		}
	}}
}

// A deleted artifact does not come back, one that is there is whole.
func (c scenario) deleteStory(t testing.TB) story {
	at := c.set(t)
	check(t, finish(t, at.reopen(t), at))
	act := func(watched func(providers.Store) providers.Store) {
		check(t, watched(at.reopen(t)).Delete(t.Context(), at.manifest.ArtifactRef))
	}
	return story{at, act, func(t testing.TB, at scene, done bool) {
		s := at.reopen(t)
		providertest.ListIDs(t, s)
		_, err := s.Get(t.Context(), at.manifest.ArtifactRef)
		if err == nil {
			providertest.CheckArtifact(t, s, at.manifest.ArtifactRef, crashFiles...)
		}
		if done && !errors.Is(err, providers.ErrNotFound) {
			t.Errorf("a deleted artifact is back: %v", err)
		}
		if done { // a manifest that came back to the trash would delete what took its place meanwhile
			checkNothingLeft(t, at, layoutOf(c.action))
		}
		check(t, s.Delete(t.Context(), at.manifest.ArtifactRef))
		if found := providertest.Findings(t, s); len(found) > 0 {
			t.Errorf("after it was finished: %+v", found)
		}
	}}
}

func layoutOf(a providers.Action) string {
	if a == providers.SecureBackup {
		return "d/secure-backup"
	}
	return ""
}

// checkNothingLeft checks that nothing but what was there before is left, no empty directory below dir either.
func checkNothingLeft(t testing.TB, at scene, dir string) {
	t.Helper()
	if got := artifactFiles(t, at.path); !slices.Equal(got, at.before) {
		t.Errorf("left over: %v, there before: %v", got, at.before)
	}
	if left, err := os.ReadDir(filepath.Join(at.path, ".holdfast/trash")); err != nil || len(left) != 0 {
		t.Errorf("the trash holds %v, %v", left, err)
	}
	if dir == "" {
		return
	}
	places, err := os.ReadDir(filepath.Join(at.path, dir))
	check(t, err)
	for _, p := range places {
		if inside, err := os.ReadDir(filepath.Join(at.path, dir, p.Name())); err != nil || len(inside) == 0 {
			t.Errorf("the empty directory %s is left, %v", p.Name(), err)
		}
	}
}

func initStory(t testing.TB) story {
	at := scene{path: filepath.Join(t.TempDir(), "mounted")}
	check(t, os.Mkdir(at.path, 0o700))
	act := func(watched func(providers.Store) providers.Store) {
		check(t, watched(openStore(t, &plain.Settings{Path: filepath.Join(at.path, "store")}, "")).Init(t.Context(), identity))
	}
	return story{at, act, func(t testing.TB, at scene, done bool) {
		set := &plain.Settings{Path: filepath.Join(at.path, "store")}
		s := openStore(t, set, "")
		info, err := s.Stat(t.Context())
		if err != nil || done && !info.Initialised {
			t.Errorf("done %v, %+v, %v", done, info, err)
		}
		check(t, s.Init(t.Context(), identity))
		providertest.Put(t, openStore(t, set, identity), export(0), crashFiles...)
	}}
}

// An adopted store has the higher epoch from then on, or is what it was.
func adoptStory(t testing.TB) story {
	at := scene{path: filepath.Join(t.TempDir(), "store")}
	newStore(t, &plain.Settings{Path: at.path})
	act := func(watched func(providers.Store) providers.Store) {
		check(t, watched(at.reopen(t)).Adopt(t.Context(), identity))
	}
	return story{at, act, func(t testing.TB, at scene, done bool) {
		info, err := at.reopen(t).Stat(t.Context())
		if err != nil || !info.Initialised || info.Identity != identity || done && info.Epoch != 2 {
			t.Errorf("done %v, %+v, %v", done, info, err)
		}
		check(t, at.reopen(t).Adopt(t.Context(), identity))
		providertest.Put(t, at.reopen(t), export(0), crashFiles...)
	}}
}

// TestPowerLoss loses power before and after each sync of each story, with any of what is not durable on the medium or not.
func TestPowerLoss(t *testing.T) {
	images := 0
	all := stories()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		t.Run(name, func(t *testing.T) {
			out := all[name](t).tell(t, "")
			if images += out.images; out.broken != "" {
				t.Error(out.broken)
			}
			if len(out.places) < 2 && !strings.HasPrefix(name, "discard") {
				t.Errorf("only %d places with a sync", len(out.places))
			}
		})
	}
	t.Logf("fault 02: power loss: %d stories, %d images that it may leave", len(all), images)
}

// TestFaultPowerLossEverySyncMatters leaves the syncs of one place out after the other. Each time some loss of power must do harm:
// otherwise either the sync is for nothing, or TestPowerLoss does not see what it is for.
func TestFaultPowerLossEverySyncMatters(t *testing.T) {
	if testing.Short() {
		t.Skip("long: TestPowerLoss itself is the short form")
	}
	all := stories()
	at := map[string][]string{} // stories by place
	images := 0
	for _, name := range slices.Sorted(maps.Keys(all)) {
		out := all[name](t).tell(t, "")
		images += out.images
		if out.broken != "" {
			t.Errorf("%s: %s", name, out.broken)
		}
		for where := range out.places {
			at[where] = append(at[where], name)
		}
	}
	places := slices.DeleteFunc(slices.Sorted(maps.Keys(at)), func(where string) bool {
		return strings.Contains(where, "probe ") // it is written to see whether it can be, and is removed
	})
	places = sampletest.Of(t, places, 8)
	caught := 0
	for _, where := range places {
		harm := ""
		for _, name := range at[where] {
			if out := all[name](t).tell(t, where); out.broken != "" {
				harm = name + ": " + out.broken
				break
			}
		}
		if harm == "" {
			t.Errorf("without the sync at %s nothing is lost in %v", where, at[where])
			continue
		}
		caught++
		t.Logf("%s: %.200s", where, harm)
	}
	t.Logf("fault 02: power loss: %d stories, %d images that it may leave, 0 artifacts listed that are not whole; %d of %d weakened syncs caught", len(all), images, caught, len(places))
}
