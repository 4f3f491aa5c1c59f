package providertest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/holdfast-dr/holdfast/config/sampletest"
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
	stories := map[string]func(*testing.T, providers.CaptureRequest){
		"replace": s.replace, "other artifact": s.replaceTwice, "refuse": s.keeps, "same restore": s.replaceOnce,
	}
	for _, name := range sampletest.Of(t, slices.Sorted(maps.Keys(stories)), len(stories)) {
		t.Run(name, func(t *testing.T) { stories[name](t, req) })
	}
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
		if art, again = c.capture(t, req); facts(t, again) != facts(t, first) {
			t.Errorf("a capture of what was restored differs:\n%s\n%s", facts(t, again), facts(t, first))
		}
	}
	if err := c.Device.Restore(t.Context(), replacing(req), art); err != nil {
		t.Errorf("Restore of what is there already: %v", err)
	}
}

// facts are a result without its size, which a restore may change: there may be room in it that nothing uses.
func facts(t *testing.T, res providers.CaptureResult) string {
	t.Helper()
	res.Unpacked, res.Source = 0, providers.Content{}
	return asJSON(t, res)
}

// replaceOnce repeats a restore as a process does that died before it recorded the outcome: what was written since stays. A restore
// of another name, or one after the outcome was recorded, is a new one.
func (s DeviceSuite) replaceOnce(t *testing.T, req providers.CaptureRequest) {
	c := s.open(t)
	art, first := c.capture(t, req)
	restore := func(id string, replace bool) {
		t.Helper()
		to := replacing(req)
		to.ID, to.Replace = id, replace
		if err := c.Device.Restore(t.Context(), to, art); err != nil {
			t.Fatalf("Restore %s into the device: %v", id, err)
		}
	}
	forget := func(id string) {
		t.Helper()
		for range 2 {
			if err := c.Device.Forget(t.Context(), providers.RestoreRequest{Domain: req.Domain, ID: id}); err != nil {
				t.Fatalf("Forget %s: %v", id, err)
			}
		}
	}
	forget("one") // before there was any
	c.Change(t, req)
	restore("one", true)
	_, marked := c.capture(t, req)
	back := c.Change(t, req)
	_, later := c.capture(t, req)
	forget("two") // which leaves the other alone
	for _, replace := range []bool{true, false} {
		check := c.unchanged(t)
		restore("one", replace)
		check()
		if _, got := c.capture(t, req); facts(t, got) != facts(t, later) {
			t.Errorf("a repeated restore was made again: a capture gives\n%s\nwant what was written since\n%s", facts(t, got), facts(t, later))
		}
	}
	restore("two", true)
	if _, got := c.capture(t, req); facts(t, got) != facts(t, marked) {
		t.Errorf("after another restore a capture gives\n%s\nwant\n%s", facts(t, got), facts(t, marked))
	}
	forget("two")
	back(t)
	if _, got := c.capture(t, req); facts(t, got) != facts(t, first) {
		t.Errorf("when the restore is forgotten a capture gives\n%s\nwant what was captured\n%s", facts(t, got), facts(t, first))
	}
	back = c.Change(t, req)
	restore("three", true)
	forget("three")
	back(t)
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
			if _, got := c.capture(t, req); facts(t, got) != facts(t, result) {
				t.Errorf("after the restore of the changed content a capture gives\n%s\nwant\n%s", facts(t, got), facts(t, result))
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
	for _, f := range sampletest.Of(t, art.Files(), s.few(len(art.Files()))) {
		for _, after := range sampletest.Of(t, []int64{0, f.Size / 2, f.Size - 1}, s.few(3)) {
			what := fmt.Sprintf("fault after %d bytes of %s", after, f.Name)
			fails(what, t.Context(), replacing(req), &FaultySource{Source: art, After: after}, ErrFault)
		}
	}
	if !s.FindsDamage {
		return
	}
	for _, f := range sampletest.Of(t, art.Files(), s.few(len(art.Files()))) {
		bad := art.Clone()
		whole := art.Bytes(f.Name)
		bad.Set(f.Name, whole[:len(whole)-1])
		fails(f.Name+" cut by one", t.Context(), replacing(req), bad, providers.ErrCorrupt)
		bad.Set(f.Name, nil)
		fails(f.Name+" empty", t.Context(), replacing(req), bad, providers.ErrCorrupt)
	}
}
