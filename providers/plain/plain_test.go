package plain_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/plain"
	"github.com/holdfast-dr/holdfast/providers/providertest"
)

const identity = "2f0c9a52-6c0b-4d3f-9d0e-6b1f3f1d7a10"

// writer is what the installation that the tests run as is called in a store.
var writer = plain.WriterID("test")

func openStore(t testing.TB, set *plain.Settings, identity string) providers.Store {
	t.Helper()
	s, err := plain.StoreType().Open(t.Context(), "nas", set, providers.Env{Identity: identity, Writer: "test"})
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
	providertest.Store(t, func(t *testing.T) providertest.StorePlace {
		path := filepath.Join(t.TempDir(), "backup", "store")
		return providertest.StorePlace{
			Open: func(t *testing.T, identity string) providers.Store {
				return openStore(t, &plain.Settings{Path: path}, identity)
			},
			Litter: func(t *testing.T) {
				if err := os.MkdirAll(filepath.Join(path, "photos"), 0o700); err != nil {
					t.Fatal(err)
				}
			},
		}
	})
}
