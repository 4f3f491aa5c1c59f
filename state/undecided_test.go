package state_test

import (
	"slices"
	"testing"

	"github.com/holdfast-dr/holdfast/state"
)

func TestUndecided(t *testing.T) {
	waiting, newest := state.Run{ID: "9", Address: "a", Status: state.Attention}, state.Run{ID: "10", Address: "b", Status: state.Attention}
	s := state.Snapshot{
		OpenRuns: []state.Run{waiting, {ID: "11", Address: "a", Status: state.Running}},
		LastRuns: map[string]state.Run{"a": {ID: "11", Address: "a", Status: state.Running}, "b": newest, "c": {ID: "12", Address: "c", Status: state.Failed}},
	}
	if got := s.Undecided(); !slices.Equal(got, []state.Run{waiting, newest}) {
		t.Errorf("got %+v", got)
	}
	s.LastRuns["a"] = waiting // the newest and open: once
	if got := s.Undecided(); !slices.Equal(got, []state.Run{waiting, newest}) {
		t.Errorf("got %+v", got)
	}
	if got := new(state.Snapshot).Undecided(); len(got) > 0 {
		t.Errorf("of nothing: %+v", got)
	}
}
