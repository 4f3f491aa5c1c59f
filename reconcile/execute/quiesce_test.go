package execute_test

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-dr/holdfast/config/unit"
	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/providertest/faulty"
	"github.com/holdfast-dr/holdfast/providers/providertest/simulator"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/reconcile/execute"
	"github.com/holdfast-dr/holdfast/state"
)

// quietRig is a rig with a clock that moves only when somebody sleeps, for the executor and the simulated device.
type quietRig struct {
	*rig
	sim *simulator.Simulator
	mu  sync.Mutex
	at  time.Time
}

func newQuietRig(t *testing.T) *quietRig {
	q := &quietRig{rig: newRig(t), at: time.Now().UTC()}
	q.initialised()
	now := func() time.Time {
		q.mu.Lock()
		defer q.mu.Unlock()
		return q.at
	}
	r := registry()
	r.Devices = append(r.Devices[:2:2], simulator.DeviceType(now))
	q.o.Registry = faulty.Registry(r, func(p string) error {
		q.rig.mu.Lock()
		f := q.fault
		q.rig.mu.Unlock()
		return f(p)
	})
	q.o.Now = now
	q.o.Sleep = func(ctx context.Context, d time.Duration) error {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.at = q.at.Add(d)
		return context.Cause(ctx)
	}
	q.sim = simulator.New(t, q.path("box"), now)
	return q
}

// backup runs one task and gives it.
func (q *quietRig) backup(task reconcile.Task) state.TaskRun {
	q.Helper()
	res := q.apply(q.plan(manual(task)))
	return q.tasks(res.Runs[0].ID)[0]
}

func (q *quietRig) wantTask(got state.TaskRun, status state.Status, reason string) {
	q.Helper()
	if got.Status != status || got.Reason != reason {
		q.Errorf("the task is %s %s (%s), want %s %s", got.Status, got.Reason, got.Error, status, reason)
	}
}

func (q *quietRig) wantBox(want providers.QuiesceState) {
	q.Helper()
	if got := q.sim.State(q.T, providers.AllDomains); got != want {
		q.Errorf("the device is %s, want %s", got, want)
	}
}

// clean checks all but the device, whose clock is not that of the checks.
func (q *quietRig) clean() {
	q.Helper()
	q.wantBox(providers.Normal)
	for _, f := range q.check(q.Context(), q.b, q.quiet(), true) {
		if !strings.HasPrefix(f, "the box is") {
			q.Error(f)
		}
	}
}

func (q *quietRig) owes(task string) (open []string) {
	q.Helper()
	duties, err := q.b.Duties(q.Context(), task)
	if err != nil {
		q.Fatal(err)
	}
	for _, d := range duties {
		if !d.Paid {
			open = append(open, d.Name)
		}
	}
	return open
}

func (q *quietRig) variants() (all []string) {
	arts, _ := q.b.Artifacts(q.Context(), state.ArtifactFilter{Device: "device.box"})
	for _, a := range arts {
		all = append(all, a.Domain+" "+a.Variant)
	}
	slices.Sort(all)
	return all
}

func (q *quietRig) called(ops ...string) (all []string) {
	for _, c := range q.sim.Calls(q.T, ops...) {
		all = append(all, c.Op)
	}
	return all
}

func TestQuiescedForTheCapture(t *testing.T) {
	q := newQuietRig(t)
	q.sim.Set(t, func(b *simulator.Behavior) { b.QuiesceTime, b.UnquiesceTime = time.Minute, 30*time.Second })
	began := q.at
	task := q.backup(q.quietTask("D2", "export_domain"))
	q.wantTask(task, state.Succeeded, "")
	q.wantBox(providers.Normal)
	if got, want := q.called("quiesce", "capture", "unquiesce"), []string{"quiesce", "capture", "unquiesce"}; !slices.Equal(got, want) {
		t.Errorf("calls %v, want %v", got, want)
	}
	if took := q.at.Sub(began); took < 90*time.Second || took > 2*time.Minute {
		t.Errorf("it took %s", took)
	}
	arts, _ := q.b.Artifacts(t.Context(), state.ArtifactFilter{Device: "device.box"})
	var m providers.Manifest
	if len(arts) != 1 || json.Unmarshal(arts[0].Manifest, &m) != nil || m.Result.Consistency != "quiesced" || m.Quiesced.From.Sub(began) < time.Minute {
		t.Errorf("manifest %+v", m)
	}
	q.clean()
}

// TestUnsavedChangesGiveTwoArtifacts: both are counted, and a step of the second is skipped when there are none.
func TestUnsavedChangesGiveTwoArtifacts(t *testing.T) {
	q := newQuietRig(t)
	saved, unsaved := q.backup(q.quietTask("D2", "export_domain")), q.backup(q.quietTask("D1", "export_domain"))
	q.wantTask(saved, state.Succeeded, "")
	q.wantTask(unsaved, state.Succeeded, "")
	if saved.Files != 1 || unsaved.Files != 2 || unsaved.Errors != 0 || unsaved.Bytes <= saved.Bytes {
		t.Errorf("counted %d and %d files, %d errors", saved.Files, unsaved.Files, unsaved.Errors)
	}
	if got, want := q.variants(), []string{"D1 nonpersisted", "D1 persisted", "D2 persisted"}; !slices.Equal(got, want) {
		t.Errorf("artifacts %q, want %q", got, want)
	}
	steps, _ := q.b.Steps(t.Context(), saved.ID)
	for _, s := range steps {
		if skipped := strings.HasSuffix(s.Name, "nonpersisted"); skipped != (s.State == state.StepSkipped) {
			t.Errorf("step %s is %s", s.Name, s.State)
		}
	}
}

// TestTheSecondCaptureFails: what is not whole is not recorded, neither part.
func TestTheSecondCaptureFails(t *testing.T) {
	q := newQuietRig(t)
	n := 0
	q.fault = func(p string) error {
		if p == "device.Capture" {
			if n++; n > 1 {
				return errors.New("broken")
			}
		}
		return nil
	}
	q.wantTask(q.backup(q.quietTask("D1", "export_domain")), state.Failed, "FAILED")
	q.wantBox(providers.Normal)
	if got := q.variants(); len(got) > 0 {
		t.Errorf("recorded %q", got)
	}
	q.clean()
}

// TestQuiescedBySomebodyElse: such a task is skipped and leaves everything as it is (row 14, seed step 3).
func TestQuiescedBySomebodyElse(t *testing.T) {
	for _, c := range []struct {
		name, quiesced, domain, action string
		state                          providers.QuiesceState
		want                           state.Status
	}{
		{"the domain", "D1", "D1", "export_domain", providers.Quiesced, state.Skipped},
		{"another domain", "D2", "D1", "export_domain", providers.Quiesced, state.Succeeded},
		{"any domain of a whole device", "D2", providers.AllDomains, "secure_backup", providers.Quiesced, state.Skipped},
		{"on its way there", "D1", "D1", "export_domain", providers.Quiescing, state.Skipped},
		{"on its way back", "D1", "D1", "export_domain", providers.Unquiescing, state.Skipped},
	} {
		t.Run(c.name, func(t *testing.T) {
			q := newQuietRig(t)
			q.sim.Put(t, c.quiesced, c.state)
			task := q.backup(q.quietTask(c.domain, c.action))
			reason := ""
			if c.want == state.Skipped {
				reason = execute.SkippedQuiesced
			}
			q.wantTask(task, c.want, reason)
			if got := q.sim.State(t, c.quiesced); got != c.state {
				t.Errorf("%s is %s, was %s", c.quiesced, got, c.state)
			}
			if calls := q.called("quiesce", "unquiesce"); c.want == state.Skipped && len(calls) > 0 {
				t.Errorf("calls %v", calls)
			}
			if open := q.owes(task.ID); len(open) > 0 {
				t.Errorf("owes %q", open)
			}
		})
	}
}

// TestQuiescedBySomebodyElseInBetween: the last look is right before the intent.
func TestQuiescedBySomebodyElseInBetween(t *testing.T) {
	q := newQuietRig(t)
	q.o.Events = func(e execute.Event) {
		if e.Step == "unsaved" && e.Kind == execute.StepDone {
			q.sim.Put(t, "D1", providers.Quiesced)
		}
	}
	task := q.backup(q.quietTask("D1", "export_domain"))
	q.wantTask(task, state.Skipped, execute.SkippedQuiesced)
	if calls, open := q.called("quiesce", "unquiesce"), q.owes(task.ID); len(calls)+len(open) > 0 {
		t.Errorf("calls %v, owes %q", calls, open)
	}
	q.wantBox(providers.Quiesced)
}

func TestCannotQuiesce(t *testing.T) {
	q := newQuietRig(t)
	q.sim.Set(t, func(b *simulator.Behavior) { b.CannotQuiesce = true })
	q.wantTask(q.backup(q.quietTask("D1", "export_domain")), state.Failed, execute.FailedCannotQuiesce)
}

// TestQuiesceTimeout: three minutes after the timeout the request is taken back (seed step 8).
func TestQuiesceTimeout(t *testing.T) {
	q := newQuietRig(t)
	q.sim.Set(t, func(b *simulator.Behavior) { b.NeverQuiesces = true })
	began := q.at
	task := q.backup(q.quietTask(providers.AllDomains, "secure_backup"))
	q.wantTask(task, state.Failed, execute.FailedQuiesce)
	q.wantBox(providers.Normal)
	if took := q.at.Sub(began); took < 4*time.Minute || took > 4*time.Minute+10*time.Second {
		t.Errorf("gave up after %s, want the timeout of 1m and three minutes", took)
	} else {
		t.Logf("fault 14: a device that never quiesces was given up after %s, released and not captured", took)
	}
	if open, calls := q.owes(task.ID), q.called("capture"); len(open)+len(calls) > 0 {
		t.Errorf("owes %q, captured %v", open, calls)
	}
	q.clean()
}

// TestUnquiesceTimeout: three minutes after the timeout the waiting ends, a person is asked, the duty stays open
// and the device taken (seed step 11). A person's retry pays it.
func TestUnquiesceTimeout(t *testing.T) {
	for _, c := range []struct {
		name    string
		capture error
		after   string // how the task ends after the retry
	}{
		{"after a capture", nil, "succeeded"},
		{"after a failed capture", errors.New("broken"), "failed FAILED"},
	} {
		t.Run(c.name, func(t *testing.T) {
			q := newQuietRig(t)
			q.sim.Set(t, func(b *simulator.Behavior) { b.NeverUnquiesces = true })
			if c.capture != nil {
				q.failing("device.Capture", 1, c.capture)
			}
			began := q.at
			next := q.quietTask("D1", "export_domain")
			res := q.apply(q.plan(manual(q.quietTask("D2", "export_domain"), next)))
			task := q.tasks(res.Runs[0].ID)[0]
			q.wantTask(task, state.Attention, execute.FailedUnquiesce)
			q.wantPatience(task.ID, c.capture != nil)
			if n := strings.Count(task.Error, "is still quiesced"); n != 1 || strings.Count(task.Error, "holdfast task resolve") != 1 || strings.Contains(task.Error, "..") {
				t.Errorf("it is told like this: %s", task.Error)
			}
			if took := q.at.Sub(began); took < 4*time.Minute || took > 4*time.Minute+10*time.Second {
				t.Errorf("gave up after %s, want the timeout of 1m and three minutes", took)
			} else {
				t.Logf("fault 14: a device that never unquiesces is a person's after %s, its lock kept", took)
			}
			if open := q.owes(task.ID); len(open) != 1 {
				t.Errorf("owes %q", open)
			}
			locks, _ := q.b.Locks(t.Context())
			if !slices.ContainsFunc(locks, func(l state.Lock) bool { return l.Name == "device/box" && l.Task == task.ID }) {
				t.Errorf("the device is free: %v", locks)
			}
			if got := q.tasks(res.Runs[0].ID)[1].Status; got != state.Pending {
				t.Errorf("the next task on the device is %s", got)
			}
			q.healed()
			q.sim.Set(t, func(b *simulator.Behavior) { b.NeverUnquiesces = false })
			q.decide(task.ID, execute.AnswerRetry)
			q.resume()
			q.want(res.Runs[0].ID, c.after, "succeeded")
			q.wantBox(providers.Normal)
			q.clean()
		})
	}
}

// TestMaxHold: the watchdog lets the device go while the capture still runs.
func TestMaxHold(t *testing.T) {
	q := newQuietRig(t)
	q.sim.Set(t, func(b *simulator.Behavior) { b.Capture = simulator.HangsHalfWay })
	task := q.quietTask(providers.AllDomains, "secure_backup")
	for i, s := range task.Steps {
		if s.Op == reconcile.OpDeviceQuiesce || s.Op == reconcile.OpDeviceWait || s.Op == reconcile.OpDeviceUnquiesce {
			task.Steps[i].Args = raw(reconcile.QuiesceArgs{Device: "device.box", Domain: providers.AllDomains, Timeout: unit.Duration(time.Minute), MaxHold: unit.Duration(200 * time.Millisecond)})
		}
	}
	ended := q.backup(task)
	q.wantTask(ended, state.Failed, execute.FailedMaxHold)
	q.wantBox(providers.Normal)
	if open := q.owes(ended.ID); len(open) > 0 {
		t.Errorf("owes %q", open)
	}
	q.clean()
}

// TestUnquiescedOnEveryWayOut: faults of the source (row 13).
func TestUnquiescedOnEveryWayOut(t *testing.T) {
	for _, c := range []struct {
		fault  simulator.CaptureFault
		reason string
	}{
		{simulator.FailsAtEnd, execute.FailedSourceExit},
		{simulator.WritesLittle, execute.FailedTooSmall},
		{simulator.WritesNothing, execute.FailedTooSmall},
	} {
		t.Run(string(c.fault), func(t *testing.T) {
			q := newQuietRig(t)
			q.sim.Set(t, func(b *simulator.Behavior) { b.Capture = c.fault })
			task := q.backup(q.quietTask("D1", "export_domain"))
			q.wantTask(task, state.Failed, c.reason)
			q.wantBox(providers.Normal)
			if open := q.owes(task.ID); len(open)+len(q.variants()) > 0 {
				t.Errorf("owes %q, recorded %q", open, q.variants())
			}
			q.clean()
		})
	}
}

// TestUnquiesceIsAskedUntilItWorks: a device that cannot be reached for a minute is no reason to ask a person.
func TestUnquiesceIsAskedUntilItWorks(t *testing.T) {
	q := newQuietRig(t)
	q.sim.Set(t, func(b *simulator.Behavior) { b.Fails = map[string]int{"unquiesce": 30} })
	q.wantTask(q.backup(q.quietTask("D1", "export_domain")), state.Succeeded, "")
	q.wantBox(providers.Normal)
}

// TestStoppedWhileQuiesced: a friendly stop releases the device, and the resume quiesces it again.
func TestStoppedWhileQuiesced(t *testing.T) {
	for _, step := range []string{"quiesce", "wait", "capturepersisted", "unquiesce", "verifypersisted"} {
		t.Run(step, func(t *testing.T) {
			q := newQuietRig(t)
			hangs := strings.HasPrefix(step, "capture")
			if hangs {
				q.sim.Set(t, func(b *simulator.Behavior) { b.Capture = simulator.HangsHalfWay })
			}
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			q.o.Events = func(e execute.Event) {
				if e.Step == step && e.Kind == execute.StepStarted {
					stop()
				}
			}
			res, err := execute.New(q.o).Apply(ctx, q.plan(manual(q.quietTask("D1", "export_domain"))))
			if err != nil || hangs && !res.Interrupted { // elsewhere the task may be quicker than the stop
				t.Fatalf("interrupted %t, %v", res.Interrupted, err)
			}
			q.wantBox(providers.Normal)
			if open := q.owes(res.Runs[0].ID + ".1"); len(open) > 0 {
				t.Errorf("owes %q", open)
			}
			q.o.Events = func(execute.Event) {}
			q.sim.Set(t, func(b *simulator.Behavior) { b.Capture = "" })
			q.resume()
			q.want(res.Runs[0].ID, "succeeded")
			q.wantBox(providers.Normal)
			if got, want := q.variants(), []string{"D1 nonpersisted", "D1 persisted"}; !slices.Equal(got, want) {
				t.Errorf("artifacts %q, want %q", got, want)
			}
			q.clean()
		})
	}
}

// TestWindowClosesWhileQuiesced: with at_close = "stop" the capture is cut off and the device released (row 16).
func TestWindowClosesWhileQuiesced(t *testing.T) {
	q := newQuietRig(t)
	q.sim.Set(t, func(b *simulator.Behavior) { b.Capture = simulator.HangsHalfWay })
	q.at = time.Date(2026, 11, 18, 23, 30, 59, 800e6, time.UTC)
	task := q.quietTask("D1", "export_domain")
	task.Steps[0].Args = raw(reconcile.WindowArgs{Window: "maintenance_window.night", Start: "22:00", End: "23:31", Timezone: "UTC", AtClose: "stop"})
	ended := q.backup(task)
	q.wantTask(ended, state.Cancelled, execute.CancelledWindow)
	q.wantBox(providers.Normal)
	q.clean()
}

// fullBackend is a state whose disk is full from the moment that something says so.
type fullBackend struct {
	state.Backend
	full func() bool
}

func (b *fullBackend) Journal(ctx context.Context, c state.Claim, e state.Entry) error {
	if b.full() {
		return &fs.PathError{Op: "write", Path: "holdfast.db", Err: syscall.ENOSPC}
	}
	return b.Backend.Journal(ctx, c, e)
}

// TestReleasedWithoutARecord: when the state's disk is full while a device is quiesced, it is released although that cannot be recorded, and a
// resume goes on when there is room.
func TestReleasedWithoutARecord(t *testing.T) {
	for _, after := range []string{"quiesce", "capture", "unquiesce"} {
		t.Run(after, func(t *testing.T) {
			q := newQuietRig(t)
			full := true
			q.o.Backend = &fullBackend{q.b, func() bool { return full && len(q.called(after)) > 0 }}
			_, err := execute.New(q.o).Apply(t.Context(), q.plan(manual(q.quietTask("D2", "export_domain"))))
			if !errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("got %v", err)
			}
			q.wantBox(providers.Normal)
			full = false
			q.resume()
			q.clean()
		})
	}
}
