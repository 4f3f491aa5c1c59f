// Package providertest holds one suite of tests for each contract of package providers - Device, Store, Mirror and Target, each a
// function to call from the test of a new provider - and the faulty and remembering counterparts that these need.
package providertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-dr/holdfast/config/sampletest"
	"github.com/holdfast-dr/holdfast/providers"
)

// DeviceSuite says how to test one implementation of providers.Device.
type DeviceSuite struct {
	// New opens a device on a new source that does not change by itself, and is normal. It is called for each test.
	New func(t *testing.T) DeviceCase
	// Requests are the captures that must succeed.
	Requests []providers.CaptureRequest
	// Restored checks what a restore put into dir. It reports a difference through t.
	Restored func(t *testing.T, req providers.CaptureRequest, dir string)
	// FindsDamage says that Restore itself finds a changed or missing byte of an artifact.
	FindsDamage bool
	// Parts and Settings are those of the device type; nil: its artifacts are put back whole.
	Parts    *providers.Parts
	Settings any
	// Slow says that every call takes long: a sample has fewer of the faults and damages.
	Slow bool
	// InPlace says which requests can be restored into the device itself; nil: that is not tested. Then DeviceCase.Change is needed.
	InPlace func(req providers.CaptureRequest) bool
}

// DeviceCase is an open device and its source.
type DeviceCase struct {
	Device providers.Device
	// State describes the source in full, to show that it was not changed; may be nil.
	State func(t *testing.T) string
	// Break takes the source away; may be nil.
	Break func(t *testing.T)
	// Change makes the content another than was captured, as those do who use the device, and gives a check that it is again what it was.
	Change func(t *testing.T, req providers.CaptureRequest) (back func(t *testing.T))
	// Secrets are values that must not be in any error or result.
	Secrets []string
}

// Device runs the contract suite of providers.Device.
func Device(t *testing.T, s DeviceSuite) {
	t.Run("inspect", s.inspect)
	t.Run("quiesce", s.quiesce)
	t.Run("refuse", s.refuse)
	for _, req := range s.Requests {
		t.Run(name(req), func(t *testing.T) {
			t.Run("twice", func(t *testing.T) { s.twice(t, req) })
			t.Run("restore", func(t *testing.T) { s.restore(t, req) })
			t.Run("cancelled", func(t *testing.T) { s.cancelled(t, req) })
			t.Run("faulty sink", func(t *testing.T) { s.faultySink(t, req) })
			t.Run("faulty source", func(t *testing.T) { s.faultySource(t, req) })
			t.Run("damage", func(t *testing.T) { s.damage(t, req) })
			t.Run("in place", func(t *testing.T) { s.inPlace(t, req) })
			t.Run("parts", func(t *testing.T) { s.parts(t, req) })
			t.Run("broken", func(t *testing.T) { s.broken(t, req) })
		})
	}
}

// few is how many of a kind are tried in a sample: of a slow device not half of those that others are tried with.
func (s DeviceSuite) few(n int) int {
	if s.Slow {
		return (n + 2) / 3
	}
	return n
}

func name(req providers.CaptureRequest) string {
	return strings.TrimSuffix(fmt.Sprintf("%s/%s/%s", req.Action, req.Domain, req.Variant), "/")
}

// open gives a case whose device is closed at the end, and whose source must by then be what it was.
func (s DeviceSuite) open(t *testing.T) DeviceCase {
	t.Helper()
	c := s.New(t)
	t.Cleanup(func() {
		if err := c.Device.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return c
}

func (c DeviceCase) unchanged(t *testing.T) func() {
	t.Helper()
	if c.State == nil {
		return func() {}
	}
	before := c.State(t)
	return func() {
		t.Helper()
		if after := c.State(t); after != before {
			t.Errorf("the source was changed\nbefore:\n%s\nafter:\n%s", before, after)
		}
	}
}

// NoSecrets fails the test when one of the values shows any of the secrets, as text or as JSON.
func NoSecrets(t *testing.T, secrets []string, values ...any) {
	t.Helper()
	for _, v := range values {
		text := fmt.Sprintf("%v %+v", v, v)
		if b, err := json.Marshal(v); err == nil {
			text += string(b)
		}
		for i, secret := range secrets {
			if strings.Contains(text, secret) {
				t.Errorf("secret %d is shown in a %T", i, v)
			}
		}
	}
}

func (s DeviceSuite) inspect(t *testing.T) {
	c := s.open(t)
	check := c.unchanged(t)
	first, err := c.Device.Inspect(t.Context())
	if err != nil {
		t.Fatalf("Inspect: %v", err)
	}
	again, err := c.Device.Inspect(t.Context())
	if err != nil {
		t.Fatalf("second Inspect: %v", err)
	}
	if asJSON(t, first) != asJSON(t, again) {
		t.Errorf("two calls of Inspect differ: %v, %v", first, again)
	}
	if !slices.IsSorted(first.Domains) {
		t.Errorf("Domains are not sorted: %q", first.Domains)
	}
	for _, req := range s.Requests {
		if req.Action == providers.ExportDomain && !slices.Contains(first.Domains, req.Domain) {
			t.Errorf("domain %q can be captured and is not in %q", req.Domain, first.Domains)
		}
	}
	for _, domain := range append(slices.Clone(first.Domains), providers.AllDomains) {
		st, err := c.Device.DomainState(t.Context(), domain)
		switch {
		case err != nil && !errors.Is(err, errors.ErrUnsupported):
			t.Errorf("DomainState of %s: %v", domain, err)
		case err != nil && first.CanTellUnsaved:
			t.Errorf("DomainState of %s: %v, but the device says that it can tell unsaved changes", domain, err)
		case st.Unsaved && !first.CanTellUnsaved:
			t.Errorf("%s has unsaved changes, but the device says that it cannot tell them", domain)
		}
	}
	check()
	NoSecrets(t, c.Secrets, first)
}

func (s DeviceSuite) refuse(t *testing.T) {
	c := s.open(t)
	for _, req := range []providers.CaptureRequest{
		{Action: "no such action", Domain: providers.AllDomains},
		{Action: providers.ExportDomain, Domain: "no such domain"},
		{Action: providers.ExportDomain, Domain: "../.."},
	} {
		art := new(Artifact)
		if _, err := c.Device.Capture(t.Context(), req, art); err == nil {
			t.Errorf("Capture of %v gave no error and %d files", req, len(art.Files()))
		}
	}
}

func (c DeviceCase) capture(t *testing.T, req providers.CaptureRequest) (*Artifact, providers.CaptureResult) {
	t.Helper()
	art := new(Artifact)
	res, err := c.Device.Capture(t.Context(), req, art)
	if err != nil {
		t.Fatalf("Capture: %v", err)
	}
	if art.open != "" {
		t.Fatalf("Capture left %s open", art.open)
	}
	if len(art.Files()) == 0 {
		t.Fatal("Capture gave no files")
	}
	return art, res
}

func (s DeviceSuite) twice(t *testing.T, req providers.CaptureRequest) {
	c := s.open(t)
	check := c.unchanged(t)
	art, first := c.capture(t, req)
	art2, second := c.capture(t, req)
	check()
	if req.Variant != providers.Nonpersisted && (first.Source.Bytes <= 0 || first.Source.Files < 0) {
		t.Errorf("the result says of what was captured at the source: %+v", first.Source)
	}
	first.Source, second.Source = providers.Content{}, providers.Content{} // a server may tidy up between the two
	if a, b := asJSON(t, first), asJSON(t, second); a != b {
		t.Errorf("two captures of one source differ:\n%s\n%s", a, b)
	}
	if first.Consistency == "" {
		t.Error("the result says nothing about consistency")
	}
	names := func(a *Artifact) (names []string) {
		for _, f := range a.Files() {
			names = append(names, f.Name)
		}
		return names
	}
	if !slices.Equal(names(art), names(art2)) {
		t.Errorf("two captures have different files: %q, %q", names(art), names(art2))
	}
	NoSecrets(t, c.Secrets, first, art.Files())
}

func (s DeviceSuite) restore(t *testing.T, req providers.CaptureRequest) {
	c := s.open(t)
	art, _ := c.capture(t, req)
	check := c.unchanged(t)
	dir := t.TempDir()
	if err := c.Device.Restore(t.Context(), into(req, dir), art); err != nil {
		t.Fatalf("Restore: %v", err)
	}
	check()
	s.Restored(t, req, dir)
}

func (s DeviceSuite) cancelled(t *testing.T, req providers.CaptureRequest) {
	c := s.open(t)
	art, _ := c.capture(t, req)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Device.Capture(ctx, req, new(Artifact)); !errors.Is(err, context.Canceled) {
		t.Errorf("Capture with a cancelled context: got %v, want context.Canceled", err)
	}
	if err := c.Device.Restore(ctx, into(req, t.TempDir()), art); !errors.Is(err, context.Canceled) {
		t.Errorf("Restore with a cancelled context: got %v, want context.Canceled", err)
	}
}

func (s DeviceSuite) faultySink(t *testing.T, req providers.CaptureRequest) {
	c := s.open(t)
	art, _ := c.capture(t, req)
	var total int64
	sinks := map[string]*FaultySink{}
	for _, f := range art.Files() {
		for _, at := range []int64{0, 1, f.Size / 2, f.Size - 1} {
			if at < f.Size {
				sinks[fmt.Sprintf("byte %d of %s", at, f.Name)] = &FaultySink{After: total + at}
			}
		}
		total += f.Size
		sinks["create "+f.Name] = &FaultySink{FailCreate: f.Name}
		sinks["close "+f.Name] = &FaultySink{FailClose: f.Name}
	}
	for _, where := range sampletest.Of(t, slices.Sorted(maps.Keys(sinks)), s.few(5)) {
		sink := sinks[where]
		sink.Sink = new(Artifact)
		_, err := c.Device.Capture(t.Context(), req, sink)
		if !errors.Is(err, ErrFault) {
			t.Errorf("fault at %s: got %v, want the fault", where, err)
		}
		NoSecrets(t, c.Secrets, err)
	}
	c.capture(t, req)
}

func (s DeviceSuite) faultySource(t *testing.T, req providers.CaptureRequest) {
	c := s.open(t)
	art, _ := c.capture(t, req)
	for _, after := range sampletest.Of(t, []int64{0, art.Files()[0].Size / 2}, s.few(2)) {
		err := c.Device.Restore(t.Context(), into(req, t.TempDir()), &FaultySource{Source: art, After: after})
		if !errors.Is(err, ErrFault) {
			t.Errorf("fault after %d bytes: got %v, want the fault", after, err)
		}
		if errors.Is(err, providers.ErrCorrupt) {
			t.Errorf("an unreadable artifact is called corrupt: %v", err)
		}
	}
}

func (s DeviceSuite) damage(t *testing.T, req providers.CaptureRequest) {
	if !s.FindsDamage {
		t.Skip("the store's checksums find it for this device")
	}
	c := s.open(t)
	art, _ := c.capture(t, req)
	for _, f := range art.Files() {
		whole := art.Bytes(f.Name)
		damaged := map[string][]byte{"empty": {}, "cut by one": whole[:len(whole)-1], "cut in half": whole[:len(whole)/2]}
		var places []int
		for i := range 16 {
			places = append(places, i*(len(whole)-1)/15)
		}
		for _, at := range sampletest.Of(t, places, 3) {
			flipped := slices.Clone(whole)
			flipped[at] ^= 0x10
			damaged[fmt.Sprintf("bit in byte %d", at)] = flipped
		}
		for _, how := range sampletest.Of(t, slices.Sorted(maps.Keys(damaged)), s.few(len(damaged))) {
			content := damaged[how]
			bad := art.Clone()
			bad.Set(f.Name, content)
			dir := t.TempDir()
			err := c.Device.Restore(t.Context(), into(req, dir), bad)
			switch {
			case err == nil && strings.HasPrefix(how, "bit"): // some bits mean nothing
				s.Restored(t, req, dir)
			case !errors.Is(err, providers.ErrCorrupt):
				t.Errorf("%s, %s: got %v, want ErrCorrupt", f.Name, how, err)
			}
		}
	}
}

func (s DeviceSuite) broken(t *testing.T, req providers.CaptureRequest) {
	c := s.open(t)
	if c.Break == nil {
		t.Skip("the source cannot be taken away")
	}
	c.Break(t)
	res, err := c.Device.Capture(t.Context(), req, new(Artifact))
	if err == nil {
		t.Fatalf("Capture of a missing source succeeded: %v", res)
	}
	NoSecrets(t, c.Secrets, err)
}

func into(req providers.CaptureRequest, dir string) providers.RestoreRequest {
	return providers.RestoreRequest{Action: req.Action, Domain: req.Domain, Variant: req.Variant, Dir: dir}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
