package plain_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/plain"
	"github.com/holdfast-dr/holdfast/providers/providertest"
)

const identity = "2f0c9a52-6c0b-4d3f-9d0e-6b1f3f1d7a10"

// writer is what the installation that the tests run as is called in a store.
var writer = plain.WriterID("test")

func openStore(t testing.TB, set *plain.Settings, identity string) providers.Store {
	t.Helper()
	return openEnv(t, set, providers.Env{Identity: identity})
}

func openEnv(t testing.TB, set *plain.Settings, env providers.Env) providers.Store {
	t.Helper()
	env.Writer = "test"
	s, err := plain.StoreType().Open(t.Context(), "nas", set, env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// newStore initialises a store in a directory and opens it.
func newStore(t testing.TB, set *plain.Settings) providers.Store {
	t.Helper()
	if err := openStore(t, set, "").Init(t.Context(), identity); err != nil {
		t.Fatal(err)
	}
	return openStore(t, set, identity)
}

func TestStore(t *testing.T) {
	providertest.Store(t, placeWith(plain.Settings{}, providers.Env{}))
}

// placeWith gives fresh places for stores with these settings and surroundings.
func placeWith(set plain.Settings, env providers.Env) func(t *testing.T) providertest.StorePlace {
	return func(t *testing.T) providertest.StorePlace {
		path := filepath.Join(t.TempDir(), "backup", "store")
		open := func(t *testing.T, identity string) providers.Store {
			set, env := set, env
			set.Path, env.Identity = path, identity
			return openEnv(t, &set, env)
		}
		return providertest.StorePlace{
			Open: open,
			Dies: func(t *testing.T, identity string, n int, act func(providers.Store) error) bool {
				s := open(t, identity)
				crashAt(s, n)
				err := act(s)
				if err != nil && !errors.Is(err, errCrash) {
					t.Fatalf("died of %v", err)
				}
				return err != nil
			},
			Litter: func(t *testing.T) { check(t, os.MkdirAll(filepath.Join(path, "photos"), 0o700)) },
			Age:    func(t *testing.T) { makeOld(t, path) },
		}
	}
}

// makeOld makes everything below .holdfast look two hours old.
func makeOld(t *testing.T, path string) {
	t.Helper()
	check(t, filepath.WalkDir(filepath.Join(path, ".holdfast"), func(p string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		old := time.Now().Add(-2 * time.Hour)
		return os.Chtimes(p, old, old)
	}))
}
