package sqlstore_test

import (
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dr/holdfast/state"
	"github.com/holdfast-dr/holdfast/state/sqlstore"
	"github.com/holdfast-dr/holdfast/state/statetest"
	"go.uber.org/goleak"
)

func TestCloseLeavesNothingRunning(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	s, err := sqlstore.Open(t.Context(), sqlstore.Options{Path: filepath.Join(t.TempDir(), "state.db")})
	if err != nil {
		t.Fatal(err)
	}
	workAll(t, s, session(t, s), begin(t, s, "k", 10), 4)
	if _, err := s.Snapshot(t.Context()); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// Code that uses the state is tested with fake time.
func TestFakeTime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	synctest.Test(t, func(t *testing.T) {
		s := statetest.Open(t, path)
		epoch := session(t, s)
		workAll(t, s, epoch, begin(t, s, "a", 10), 4)
		time.Sleep(24 * time.Hour)
		workAll(t, s, epoch, begin(t, s, "b", 10), 4)
		runs, err := s.Runs(t.Context(), state.RunFilter{})
		if err != nil || len(runs) != 2 || runs[0].Succeeded != 10 {
			t.Errorf("got %+v, %v", runs, err)
		}
	})
}
