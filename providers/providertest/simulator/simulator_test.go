package simulator_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/providertest"
	"github.com/holdfast-dr/holdfast/providers/providertest/simulator"
)

var (
	secure = providers.CaptureRequest{Action: providers.SecureBackup, Domain: providers.AllDomains}
	export = providers.CaptureRequest{Action: providers.ExportDomain, Domain: "d1", Variant: providers.Persisted}
)

// appliance gives a simulated appliance with two domains.
func appliance(t *testing.T, change func(*simulator.Behavior)) (*simulator.Simulator, providers.Device) {
	t.Helper()
	s := simulator.New(t, t.TempDir(), nil)
	s.Set(t, func(b *simulator.Behavior) {
		b.Info = providers.DeviceInfo{Identity: "SIM1", Model: "simulator", Firmware: "1.2", Build: "3", Domains: []string{"d2", "d1"}}
		if change != nil {
			change(b)
		}
	})
	return s, s.Device("QA1")
}

func TestSimulatorContract(t *testing.T) {
	for name, change := range map[string]func(*simulator.Behavior){
		"at once": nil,
		"slow": func(b *simulator.Behavior) {
			b.QuiesceTime, b.UnquiesceTime = 50*time.Millisecond, 50*time.Millisecond
		},
		"without quiesce": func(b *simulator.Behavior) { b.CannotQuiesce = true },
		"without domains": func(b *simulator.Behavior) { b.Info.Domains = nil },
	} {
		t.Run(name, func(t *testing.T) {
			requests := []providers.CaptureRequest{secure}
			if name != "without domains" {
				unsaved := export
				unsaved.Variant = providers.Nonpersisted
				requests = append(requests, export, unsaved)
			}
			var sim *simulator.Simulator
			providertest.Device(t, providertest.DeviceSuite{
				New: func(t *testing.T) providertest.DeviceCase {
					var d providers.Device
					sim, d = appliance(t, change)
					return providertest.DeviceCase{Device: d, State: func(t *testing.T) string {
						return fmt.Sprintf("%q %q", sim.Content(t, "d1"), sim.Content(t, "d2"))
					}, Break: func(t *testing.T) {
						sim.Set(t, func(b *simulator.Behavior) { b.Unavailable = true })
					}, Change: func(t *testing.T, req providers.CaptureRequest) func(*testing.T) {
						want := sim.Content(t, req.Domain)
						sim.Hold(t, req.Domain, bytes.Repeat([]byte("x"), 4096))
						return func(t *testing.T) {
							if !bytes.Equal(sim.Content(t, req.Domain), want) {
								t.Error("the domain does not hold what was captured")
							}
						}
					}}
				},
				InPlace:  func(req providers.CaptureRequest) bool { return req.Action == providers.ExportDomain },
				Requests: requests,
				Restored: func(t *testing.T, req providers.CaptureRequest, dir string) {
					b, err := os.ReadFile(filepath.Join(dir, "simulated.conf"))
					if err != nil || len(b)%4096 != 0 || req.Domain == "d1" && !bytes.HasPrefix(b, []byte("d1\nd1\n")) {
						t.Errorf("restored %d bytes, %v", len(b), err)
					}
				},
			})
		})
	}
}

func TestSimulatorCaptureFaults(t *testing.T) {
	none := int64(0)
	for name, tc := range map[string]struct {
		change func(*simulator.Behavior)
		want   error
		bytes  int
	}{
		"fails at end":  {func(b *simulator.Behavior) { b.Capture = simulator.FailsAtEnd }, providers.ErrSourceExit, 8192},
		"writes little": {func(b *simulator.Behavior) { b.Capture = simulator.WritesLittle }, providers.ErrTooSmall, 4096},
		"dies":          {func(b *simulator.Behavior) { b.Capture = simulator.DiesHalfWay }, providers.ErrUnavailable, 4096},
		"hangs":         {func(b *simulator.Behavior) { b.Capture = simulator.HangsHalfWay }, context.DeadlineExceeded, 4096},
		"slow":          {func(b *simulator.Behavior) { b.CaptureTime = 8 * time.Hour }, context.DeadlineExceeded, 1024},
		"never begins":  {func(b *simulator.Behavior) { b.Hangs = []string{"capture"} }, context.DeadlineExceeded, 0},
		"fails":         {func(b *simulator.Behavior) { b.Fails = map[string]int{"capture": 1} }, providertest.ErrFault, 0},
		"full":          {func(b *simulator.Behavior) { b.FreeBytes = &none }, providers.ErrNoSpace, 0},
		"unavailable":   {func(b *simulator.Behavior) { b.Unavailable = true }, providers.ErrUnavailable, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim, d := appliance(t, tc.change)
				ctx, cancel := context.WithTimeout(t.Context(), 90*time.Minute)
				defer cancel()
				art := new(providertest.Artifact)
				if _, err := d.Capture(ctx, secure, art); !errors.Is(err, tc.want) {
					t.Errorf("Capture: %v, want %v", err, tc.want)
				}
				if got := len(art.Bytes("simulated.conf")); got != tc.bytes {
					t.Errorf("%d bytes were written, want %d", got, tc.bytes)
				}
				calls := sim.Calls(t, "capture")
				if len(calls) != 1 || calls[0].Error == "" || calls[0].Ended.IsZero() {
					t.Errorf("recorded: %+v", calls)
				}
			})
		})
	}
}

func TestSimulatorWritesNothing(t *testing.T) {
	_, d := appliance(t, func(b *simulator.Behavior) { b.Capture = simulator.WritesNothing })
	art := new(providertest.Artifact)
	if _, err := d.Capture(t.Context(), secure, art); err != nil || len(art.Files()) != 0 {
		t.Errorf("files %v, error %v", art.Files(), err)
	}
}

func TestSimulatorStaysDead(t *testing.T) {
	sim, d := appliance(t, func(b *simulator.Behavior) { b.Capture = simulator.DiesHalfWay })
	if err := d.Quiesce(t.Context(), "d1", time.Minute); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Capture(t.Context(), export, new(providertest.Artifact)); err == nil {
		t.Fatal("it did not die")
	}
	if err := d.Unquiesce(t.Context(), "d1"); !errors.Is(err, providers.ErrUnavailable) {
		t.Errorf("Unquiesce of a dead device: %v", err)
	}
	sim.Set(t, func(b *simulator.Behavior) { b.Unavailable, b.Capture = false, "" })
	if got := sim.State(t, "d1"); got != providers.Quiesced {
		t.Errorf("back again it is %s", got)
	}
	if _, err := d.Capture(t.Context(), export, new(providertest.Artifact)); err != nil {
		t.Errorf("Capture: %v", err)
	}
}

func TestSimulatorQuiesceInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim, d := appliance(t, func(b *simulator.Behavior) { b.QuiesceTime, b.UnquiesceTime = 10*time.Minute, time.Minute })
		step := func(wait time.Duration, want providers.QuiesceState) {
			t.Helper()
			time.Sleep(wait)
			st, err := d.DomainState(t.Context(), providers.AllDomains)
			if err != nil || st.Quiesce != want || sim.State(t, providers.AllDomains) != want {
				t.Errorf("the state is %v, %v, want %s", st, err, want)
			}
		}
		busy := func() {
			t.Helper()
			if _, err := d.Capture(t.Context(), export, new(providertest.Artifact)); err == nil || !providers.Retryable(err) {
				t.Errorf("Capture of a busy domain: %v", err)
			}
		}
		must(t, d.Quiesce(t.Context(), "d1", time.Minute))
		step(0, providers.Quiescing)
		busy()
		step(10*time.Minute-1, providers.Quiescing)
		must(t, d.Quiesce(t.Context(), "d1", time.Minute)) // does not begin anew
		step(1, providers.Quiesced)
		must(t, d.Unquiesce(t.Context(), "d1"))
		busy()
		step(time.Minute, providers.Normal)

		sim.Set(t, func(b *simulator.Behavior) { b.NeverQuiesces, b.NeverUnquiesces = true, true })
		must(t, d.Quiesce(t.Context(), "d1", time.Minute))
		step(1000*time.Hour, providers.Quiescing)
		must(t, d.Unquiesce(t.Context(), "d1"))
		step(1000*time.Hour, providers.Unquiescing)
	})
}

func TestSimulatorOfSomebodyElse(t *testing.T) {
	sim, d := appliance(t, nil)
	sim.Put(t, "d2", providers.Quiesced)
	for domain, want := range map[string]providers.QuiesceState{"d1": providers.Normal, "d2": providers.Quiesced, providers.AllDomains: providers.Quiesced} {
		if st, err := d.DomainState(t.Context(), domain); err != nil || st.Quiesce != want {
			t.Errorf("%s: %v, %v, want %s", domain, st, err, want)
		}
	}
	sim.Put(t, "d1", providers.Quiescing)
	if _, err := d.Capture(t.Context(), export, new(providertest.Artifact)); err == nil {
		t.Error("a domain that another is quiescing was captured")
	}
}

func TestSimulatorUnquiesceFails(t *testing.T) {
	sim, d := appliance(t, func(b *simulator.Behavior) { b.Fails = map[string]int{"unquiesce": 2} })
	must(t, d.Quiesce(t.Context(), "d1", time.Minute))
	for range 2 {
		if err := d.Unquiesce(t.Context(), "d1"); !errors.Is(err, providertest.ErrFault) {
			t.Errorf("Unquiesce: %v", err)
		}
	}
	if got := sim.State(t, "d1"); got != providers.Quiesced {
		t.Errorf("after failed calls it is %s", got)
	}
	must(t, d.Unquiesce(t.Context(), "d1"))

	sim.Set(t, func(b *simulator.Behavior) { b.Fails["unquiesce"] = -1 })
	for range 5 {
		if err := d.Unquiesce(t.Context(), "d1"); err == nil {
			t.Error("Unquiesce that always fails succeeded")
		}
	}
	var ops []string
	for _, c := range sim.Calls(t, "quiesce", "unquiesce") {
		ops = append(ops, c.Op)
	}
	if want := append([]string{"quiesce"}, slices.Repeat([]string{"unquiesce"}, 8)...); !slices.Equal(ops, want) {
		t.Errorf("recorded %q, want %q", ops, want)
	}
}

func TestSimulatorUnsaved(t *testing.T) {
	free := int64(1 << 20)
	_, d := appliance(t, func(b *simulator.Behavior) { b.Unsaved, b.FreeBytes = []string{"d1"}, &free })
	for domain, want := range map[string]providers.DomainState{
		"d1": {Quiesce: providers.Normal, Unsaved: true}, "d2": {Quiesce: providers.Normal},
		providers.AllDomains: {Quiesce: providers.Normal, Unsaved: true, FreeBytes: &free},
	} {
		got, err := d.DomainState(t.Context(), domain)
		if text(t, got) != text(t, want) || err != nil {
			t.Errorf("%s: %s, %v, want %s", domain, text(t, got), err, text(t, want))
		}
	}
	saved, running := new(providertest.Artifact), new(providertest.Artifact)
	req := export
	_, err := d.Capture(t.Context(), req, saved)
	must(t, err)
	req.Variant = providers.Nonpersisted
	_, err = d.Capture(t.Context(), req, running)
	must(t, err)
	if bytes.Equal(saved.Bytes("simulated.conf"), running.Bytes("simulated.conf")) {
		t.Error("both variants are the same")
	}
}

func TestSimulatorOneCaptureAtATime(t *testing.T) {
	_, d := appliance(t, nil)
	sink := &gate{Artifact: new(providertest.Artifact), reached: make(chan struct{}), leave: make(chan struct{})}
	var first error
	var running sync.WaitGroup
	running.Go(func() { _, first = d.Capture(t.Context(), secure, sink) })
	<-sink.reached
	if _, err := d.Capture(t.Context(), export, new(providertest.Artifact)); err == nil || !providers.Retryable(err) {
		t.Errorf("a second capture at the same time: %v", err)
	}
	close(sink.leave)
	running.Wait()
	must(t, first)
	_, err := d.Capture(t.Context(), export, new(providertest.Artifact))
	must(t, err)
}

// gate holds a capture when it creates its file.
type gate struct {
	*providertest.Artifact
	reached, leave chan struct{}
}

func (g *gate) Create(name string) (io.WriteCloser, error) {
	close(g.reached)
	<-g.leave
	return g.Artifact.Create(name)
}

const killedDir = "HOLDFAST_TEST_SIMULATOR"

// TestSimulatorSurvives kills a process in the middle of a capture of a quiesced domain.
func TestSimulatorSurvives(t *testing.T) {
	if dir := os.Getenv(killedDir); dir != "" {
		d, err := simulator.DeviceType(nil).Open(t.Context(), "QA1", &simulator.Settings{Directory: dir}, providers.Env{})
		must(t, err)
		must(t, d.Quiesce(t.Context(), "d1", time.Minute))
		_, err = d.Capture(t.Context(), export, &dying{new(providertest.Artifact)})
		t.Fatalf("not killed: %v", err)
	}
	dir := t.TempDir()
	sim := simulator.New(t, dir, nil)
	sim.Set(t, func(b *simulator.Behavior) { b.Info.Domains = []string{"d1"} })
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSimulatorSurvives$")
	cmd.Env = append(os.Environ(), killedDir+"="+dir)
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Fatalf("the child ended with %v: %s", err, out)
	}
	if got := sim.State(t, "d1"); got != providers.Quiesced {
		t.Errorf("after the kill it is %s", got)
	}
	calls := sim.Calls(t, "capture")
	if len(calls) != 1 || calls[0].Process == os.Getpid() || !calls[0].Ended.IsZero() {
		t.Errorf("recorded: %+v", calls)
	}
	_, err := sim.Device("QA1").Capture(t.Context(), export, new(providertest.Artifact))
	must(t, err)
}

// dying kills its own process when the capture creates its file.
type dying struct{ *providertest.Artifact }

func (*dying) Create(string) (io.WriteCloser, error) {
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		return nil, err
	}
	if err := self.Kill(); err != nil {
		return nil, err
	}
	select {}
}

func TestSimulatorSharedByProcesses(t *testing.T) {
	dir := t.TempDir()
	simulator.New(t, dir, nil).Set(t, func(b *simulator.Behavior) { b.Info.Domains = []string{"d1", "d2"} })
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			d := simulator.New(t, dir, nil).Device("QA1")
			for range 10 {
				if err := errors.Join(d.Quiesce(t.Context(), "d1", 0), d.Unquiesce(t.Context(), "d1")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if got := len(simulator.New(t, dir, nil).Calls(t)); got != 160 {
		t.Errorf("%d calls are recorded, want 160", got)
	}
}

func TestSimulatorTypeWantsDirectory(t *testing.T) {
	for _, settings := range []any{nil, &simulator.Settings{}, &simulator.Settings{Directory: "here"}} {
		if _, err := simulator.DeviceType(nil).Open(t.Context(), "QA1", settings, providers.Env{}); err == nil {
			t.Errorf("settings %v were accepted", settings)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func text(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	must(t, err)
	return string(b)
}
