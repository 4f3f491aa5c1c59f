package providertest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/holdfast-dr/holdfast/providers"
)

// inPlace tests a restore into the device itself: it replaces what is there only when it may, whole or not at all.
func (s DeviceSuite) inPlace(t *testing.T, req providers.CaptureRequest) {
	if s.InPlace == nil {
		t.Skip("not told by this suite")
	}
	if !s.InPlace(req) {
		c := s.open(t)
		art, _ := c.capture(t, req)
		check := c.unchanged(t)
		if err := c.Device.Restore(t.Context(), replacing(req), art); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("Restore into the device: got %v, want ErrUnsupported", err)
		}
		check()
		return
	}
	t.Run("replace", func(t *testing.T) { s.replace(t, req) })
	t.Run("other artifact", func(t *testing.T) { s.replaceTwice(t, req) })
	t.Run("refuse", func(t *testing.T) { s.keeps(t, req) })
}

func replacing(req providers.CaptureRequest) providers.RestoreRequest {
	to := into(req, "")
	to.Replace = true
	return to
}

func (s DeviceSuite) replace(t *testing.T, req providers.CaptureRequest) {
	c := s.open(t)
	art, first := c.capture(t, req)
	for range 2 { // what was restored can be captured and restored again
		back := c.Change(t, req)
		if err := c.Device.Restore(t.Context(), replacing(req), art); err != nil {
			t.Fatalf("Restore into the device: %v", err)
		}
		back(t)
		var again providers.CaptureResult
		if art, again = c.capture(t, req); asJSON(t, again) != asJSON(t, first) {
			t.Errorf("a capture of what was restored differs:\n%s\n%s", asJSON(t, again), asJSON(t, first))
		}
	}
	if err := c.Device.Restore(t.Context(), replacing(req), art); err != nil {
		t.Errorf("Restore of what is there already: %v", err)
	}
}

// replaceTwice puts two artifacts in place in turn: what the first leaves must not be taken for the second.
func (s DeviceSuite) replaceTwice(t *testing.T, req providers.CaptureRequest) {
	c := s.open(t)
	old, _ := c.capture(t, req)
	back := c.Change(t, req)
	changed, result := c.capture(t, req)
	for _, art := range []*Artifact{old, changed, old} {
		if err := c.Device.Restore(t.Context(), replacing(req), art); err != nil {
			t.Fatalf("Restore into the device: %v", err)
		}
		if art == changed {
			if _, got := c.capture(t, req); asJSON(t, got) != asJSON(t, result) {
				t.Errorf("after the restore of the changed content a capture gives\n%s\nwant\n%s", asJSON(t, got), asJSON(t, result))
			}
		}
	}
	back(t)
}

// keeps: whatever goes wrong, the device holds what it held.
func (s DeviceSuite) keeps(t *testing.T, req providers.CaptureRequest) {
	c := s.open(t)
	art, _ := c.capture(t, req)
	c.Change(t, req)
	check := c.unchanged(t)
	fails := func(what string, ctx context.Context, to providers.RestoreRequest, src providers.Source, want error) {
		t.Helper()
		if err := c.Device.Restore(ctx, to, src); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", what, err, want)
		}
		check()
	}
	occupied := replacing(req)
	occupied.Replace = false
	fails("without Replace", t.Context(), occupied, art, providers.ErrNotEmpty)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	fails("cancelled", cancelled, replacing(req), art, context.Canceled)
	for _, f := range art.Files() {
		places := []int64{0, f.Size / 2, f.Size - 1}
		if testing.Short() {
			places = places[1:2]
		}
		for _, after := range places {
			fails(fmt.Sprintf("fault after %d bytes", after), t.Context(), replacing(req), &FaultySource{Source: art, After: after}, ErrFault)
		}
	}
	if !s.FindsDamage || testing.Short() {
		return
	}
	for _, f := range art.Files() {
		bad := art.Clone()
		whole := art.Bytes(f.Name)
		bad.Set(f.Name, whole[:len(whole)-1])
		fails(f.Name+" cut by one", t.Context(), replacing(req), bad, providers.ErrCorrupt)
		bad.Set(f.Name, nil)
		fails(f.Name+" empty", t.Context(), replacing(req), bad, providers.ErrCorrupt)
	}
}
