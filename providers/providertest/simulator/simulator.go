// Package simulator holds devices that do not exist, for tests of what talks to devices: a provider whose device is a directory,
// which several processes share and no kill harms, and a program that simulates an appliance for devices of type "command".
// Both take time, fail and die as a test tells them.
package simulator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-dr/holdfast/providers"
)

// DeviceType describes the device type "simulator": a device that is nothing
// but a directory, which several processes may use at once and which outlives
// them when they are killed. A nil now is time.Now.
func DeviceType(now func() time.Time) providers.DeviceType {
	return providers.DeviceType{
		Type:     "simulator",
		Doc:      "A device that does not exist, for tests.",
		Actions:  []providers.Action{providers.SecureBackup, providers.ExportDomain},
		InPlace:  providers.ExportsInPlace,
		Settings: func() any { return new(Settings) },
		Open: func(_ context.Context, name string, settings any, _ providers.Env) (providers.Device, error) {
			s, ok := settings.(*Settings)
			if !ok || !filepath.IsAbs(s.Directory) {
				return nil, fmt.Errorf("open device %s: settings %v name no directory", name, settings)
			}
			return &simulated{name: name, sim: &Simulator{dir: s.Directory, now: now}}, nil
		},
	}
}

// Settings are the arguments of a device of type "simulator".
type Settings struct {
	Directory string `hcl:"directory" json:"directory" doc:"Where the simulated device lives. Absolute."`
}

// Behavior is how a simulated device is, and what goes wrong with it. The zero
// Behavior is a healthy device without domains that does everything at once.
// Calls are named inspect, state, quiesce, unquiesce and capture.
type Behavior struct {
	Info    providers.DeviceInfo // Domains are its domains
	Unsaved []string             // domains with changes nobody saved
	Size    int                  // bytes of one domain's content; 0: 4096

	Unavailable bool           // every call ends with ErrUnavailable
	Hangs       []string       // calls that have no effect and do not return before their context is done
	Fails       map[string]int // how many of the next calls have no effect and end with providertest.ErrFault; -1: all

	CannotQuiesce   bool          // it has no quiesce at all
	QuiesceTime     time.Duration // from the request to quiesced
	UnquiesceTime   time.Duration // from the request to normal
	NeverQuiesces   bool          // it stays quiescing
	NeverUnquiesces bool          // it stays unquiescing

	FreeBytes   *int64        // room for a secure backup; nil: not told, and enough
	CaptureTime time.Duration // spread over the content
	Capture     CaptureFault
}

// CaptureFault is what goes wrong with the captures of a simulated device.
type CaptureFault string

const (
	FailsAtEnd    CaptureFault = "fails at end"   // everything is written, then ErrSourceExit
	WritesLittle  CaptureFault = "writes little"  // half is written, then ErrTooSmall
	WritesNothing CaptureFault = "writes nothing" // no file, and no error
	DiesHalfWay   CaptureFault = "dies half way"  // half is written, then the device is unavailable, until Set says otherwise
	HangsHalfWay  CaptureFault = "hangs half way" // half is written, then nothing until the context is done
)

// Call is one call that reached a simulated device.
type Call struct {
	Op      string            `json:"op"`
	Domain  string            `json:"domain,omitempty"`
	Variant providers.Variant `json:"variant,omitempty"`
	Timeout time.Duration     `json:"timeout,omitempty"` // of a quiesce
	Process int               `json:"process"`
	Began   time.Time         `json:"began"`
	Ended   time.Time         `json:"ended,omitzero"` // zero: it runs, or its process was killed
	Error   string            `json:"error,omitempty"`
}

// Simulator is the hand of a test on a simulated device. It is safe for concurrent use, in several processes too.
type Simulator struct {
	dir string
	now func() time.Time
}

// New gives the simulated device that lives in a directory, and makes
// one there with the zero Behavior when there is none. A nil now is time.Now.
func New(t testing.TB, dir string, now func() time.Time) *Simulator {
	t.Helper()
	s := &Simulator{dir: dir, now: now}
	s.change(t, func(*simulation) {})
	return s
}

// Device opens the device itself.
func (s *Simulator) Device(name string) providers.Device { return &simulated{name: name, sim: s} }

func (s *Simulator) clock() time.Time {
	if s.now == nil {
		return time.Now().UTC()
	}
	return s.now().UTC()
}

// Set changes the behavior; what goes on in the device is kept.
func (s *Simulator) Set(t testing.TB, change func(*Behavior)) {
	t.Helper()
	s.change(t, func(m *simulation) { change(&m.Behavior) })
}

// Put makes the state of a domain, or of every domain for AllDomains, what somebody else made it. It stays so until a call changes it.
func (s *Simulator) Put(t testing.TB, domain string, state providers.QuiesceState) {
	t.Helper()
	s.change(t, func(m *simulation) {
		for _, d := range m.scope(domain) {
			m.Places[d] = place{State: state}
		}
	})
}

// State is the state of a domain, or of the whole for AllDomains, without a call to the device.
func (s *Simulator) State(t testing.TB, domain string) (state providers.QuiesceState) {
	t.Helper()
	s.change(t, func(m *simulation) { state = m.state(domain, s.clock()) })
	return state
}

// Hold gives a domain other content than it has by nature; nil: that again.
func (s *Simulator) Hold(t testing.TB, domain string, content []byte) {
	t.Helper()
	s.change(t, func(m *simulation) { m.hold(domain, content) })
}

// Content is what a domain holds, without a call to the device.
func (s *Simulator) Content(t testing.TB, domain string) (content []byte) {
	t.Helper()
	s.change(t, func(m *simulation) { content = m.content(domain, providers.Persisted) })
	return content
}

// Calls lists the calls so far, in the order in which they came. With names of calls, only these.
func (s *Simulator) Calls(t testing.TB, ops ...string) (calls []Call) {
	t.Helper()
	s.change(t, func(m *simulation) {
		for _, c := range m.Calls {
			if len(ops) == 0 || slices.Contains(ops, c.Op) {
				calls = append(calls, c)
			}
		}
	})
	return calls
}

func (s *Simulator) change(t testing.TB, do func(*simulation)) {
	t.Helper()
	if err := s.update(func(m *simulation) error { do(m); return nil }); err != nil {
		t.Fatalf("simulated device: %v", err)
	}
}

// simulation is the whole of a simulated device.
type simulation struct {
	Behavior Behavior         `json:"behavior"`
	Places   map[string]place `json:"places"` // by domain; a device without domains is one place
	Calls    []Call           `json:"calls"`

	Content  map[string][]byte `json:"content,omitempty"`  // of domains that do not hold what they hold by nature
	Restored map[string]string `json:"restored,omitempty"` // by domain: the restore that its content is of, until it is forgotten
}

type place struct {
	State providers.QuiesceState `json:"state"`
	Until time.Time              `json:"until,omitzero"` // when it moves on; zero: not by itself
}

// update changes the device under its lock. An error of do changes it too: it is what the device answers.
func (s *Simulator) update(do func(*simulation) error) error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	unlock, err := lockFile(filepath.Join(s.dir, "lock"), syscall.LOCK_EX)
	if err != nil {
		return err
	}
	defer unlock()
	m := &simulation{}
	path := filepath.Join(s.dir, "simulation.json")
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, m)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if m.Places == nil {
		m.Places = map[string]place{}
	}
	answer := do(m)
	if b, err = json.MarshalIndent(m, "", "  "); err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", b, 0o600); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	return answer
}

// lockFile locks a file, which ends with its process at the latest.
func lockFile(path string, how int) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		if err = syscall.Flock(int(f.Fd()), how); err != syscall.EINTR {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return func() {
		_ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN)
		f.Close()
	}, nil
}

// scope lists the places a domain means; none for a domain there is not.
func (m *simulation) scope(domain string) []string {
	domains := m.Behavior.Info.Domains
	switch {
	case domain == providers.AllDomains && len(domains) == 0:
		return []string{providers.AllDomains}
	case domain == providers.AllDomains:
		return domains
	case slices.Contains(domains, domain):
		return []string{domain}
	}
	return nil
}

// state is the state of a domain. In a mixture, what is on its way is told first, and normal only when all are.
func (m *simulation) state(domain string, now time.Time) providers.QuiesceState {
	told := providers.Normal
	order := []providers.QuiesceState{providers.Normal, providers.Quiesced, providers.Unquiescing, providers.Quiescing}
	for _, d := range m.scope(domain) {
		if st := m.moved(d, now); slices.Index(order, st) > slices.Index(order, told) {
			told = st
		}
	}
	return told
}

// moved is the state of one place, which moves on when its time has come.
func (m *simulation) moved(domain string, now time.Time) providers.QuiesceState {
	p := m.Places[domain]
	due := !p.Until.IsZero() && !now.Before(p.Until)
	switch {
	case p.State == "":
		return providers.Normal
	case p.State == providers.Quiescing && due && !m.Behavior.NeverQuiesces:
		return providers.Quiesced
	case p.State == providers.Unquiescing && due && !m.Behavior.NeverUnquiesces:
		return providers.Normal
	}
	return p.State
}
