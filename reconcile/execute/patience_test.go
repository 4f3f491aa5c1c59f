package execute_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/providertest/simulator"
	"github.com/holdfast-dr/holdfast/reconcile/execute"
	"github.com/holdfast-dr/holdfast/state"
)

// wantPatience looks at what an observer was told while a device of a task did not become normal: that it takes its time, once, and how
// long at most; before a duty is paid also that it begins.
func (q *quietRig) wantPatience(task string, duty bool) {
	q.Helper()
	began, slow := 0, 0
	for _, e := range q.events {
		if e.Task != task || e.Until.IsZero() {
			continue
		}
		if left := e.Until.Sub(e.Time); left <= 0 || left > 4*time.Minute {
			q.Errorf("%s: it takes %s at most", e.Kind, left)
		}
		switch {
		case e.Kind == execute.DutyStarted && strings.HasPrefix(e.Step, "unquiesce device.box"):
			began++
		case e.Kind == execute.Waiting && strings.Contains(e.Reason, "to be normal: it is unquiescing"):
			slow++
		}
	}
	if slow != 1 || (began == 1) != duty {
		q.Errorf("told %d times that a duty begins and %d times that it takes long", began, slow)
	}
}

// A device that answers soon is no news.
func TestQuickDeviceIsNoNews(t *testing.T) {
	q := newQuietRig(t)
	q.wantTask(q.backup(q.quietTask("D1", "export_domain")), state.Succeeded, "")
	if n := q.count(execute.Waiting) + q.count(execute.DutyStarted); n != 0 {
		t.Errorf("%d events of waiting", n)
	}
	q.wantBox(providers.Normal)
}

// What is left quiesced is released by a friendly stop, or by the resume after a hard one. Both say so before they begin, and for how long.
func TestToldBeforeADutyIsPaid(t *testing.T) {
	for _, hard := range []bool{false, true} {
		q := newQuietRig(t)
		q.sim.Set(t, func(b *simulator.Behavior) { b.Capture = simulator.HangsHalfWay })
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		kill, cut := context.WithCancel(t.Context())
		defer cut()
		keep := q.o.Events
		q.o.Events = func(e execute.Event) {
			keep(e)
			if e.Step == "capturepersisted" && e.Kind == execute.StepStarted {
				if hard { // first, since a stop alone begins to pay the duty
					cut()
				}
				stop()
			}
		}
		q.o.Kill = kill
		res, err := execute.New(q.o).Apply(ctx, q.plan(manual(q.quietTask("D1", "export_domain"))))
		if !hard && (err != nil || !res.Interrupted) {
			t.Fatalf("interrupted %t, %v", res.Interrupted, err)
		}
		if hard {
			if q.count(execute.DutyStarted) != 0 {
				t.Error("a duty is begun by a process that is being killed")
			}
			q.o.Events, q.o.Kill = keep, nil
			q.sim.Set(t, func(b *simulator.Behavior) { b.Capture = "" })
			q.resume()
		}
		var told []string
		for _, e := range q.events {
			if e.Kind == execute.DutyStarted || e.Kind == execute.DutyPaid {
				told = append(told, string(e.Kind)+" "+e.Step)
			}
			if e.Kind == execute.DutyStarted && e.Until.Sub(e.Time) != 4*time.Minute {
				t.Errorf("it takes %s at most, want the timeout of 1m and three minutes", e.Until.Sub(e.Time))
			}
		}
		if want := []string{"duty_started unquiesce device.box D1", "duty_paid unquiesce device.box D1"}; !slices.Equal(told, want) {
			t.Errorf("hard %t: told %q, want %q", hard, told, want)
		}
		q.wantBox(providers.Normal)
	}
}
