// Package statetest is the test kit of the state: temporary backends, and the suite that every backend passes.
package statetest

import (
	"path/filepath"
	"testing"

	"github.com/holdfast-dr/holdfast/state/sqlstore"
)

// New gives an empty backend in a directory of the test; it is closed when the test ends.
func New(t testing.TB) *sqlstore.Store {
	t.Helper()
	return Open(t, filepath.Join(t.TempDir(), "state.db"))
}

// Open opens the backend at a path, creating it if needed; it is closed when the test ends.
func Open(t testing.TB, path string) *sqlstore.Store {
	t.Helper()
	s, err := sqlstore.Open(t.Context(), sqlstore.Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close the state: %v", err)
		}
	})
	return s
}
