package state_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dr/holdfast/state"
	"pgregory.net/rapid"
)

var statuses = []state.Status{state.Pending, state.Running, state.Interrupted, state.Succeeded, state.Warned, state.Partial, state.Failed,
	state.Skipped, state.Cancelled, state.Missed, state.Attention}

func TestStatusTo(t *testing.T) {
	allowed := map[state.Status][]state.Status{
		state.Pending:     {state.Running, state.Interrupted, state.Skipped, state.Cancelled, state.Missed, state.Failed},
		state.Running:     {state.Interrupted, state.Succeeded, state.Warned, state.Partial, state.Failed, state.Skipped, state.Cancelled, state.Attention},
		state.Interrupted: {state.Running, state.Cancelled, state.Failed, state.Attention},
		state.Attention:   {state.Running, state.Interrupted, state.Succeeded, state.Failed, state.Cancelled},
	}
	for _, from := range append(statuses, "", "unknown") {
		for _, to := range append(statuses, "", "unknown") {
			got, err := from.To(to)
			if slices.Contains(allowed[from], to) {
				if got != to || err != nil {
					t.Errorf("%s to %s: %s, %v", from, to, got, err)
				}
			} else if got != from || err == nil {
				t.Errorf("%s to %s was allowed", from, to)
			}
		}
	}
}

func TestStatusTerminal(t *testing.T) {
	for _, s := range statuses {
		open := s == state.Pending || s == state.Running || s == state.Interrupted
		if s.Terminal() == open {
			t.Errorf("%s: terminal %t", s, s.Terminal())
		}
		if s.Good() != (s == state.Succeeded || s == state.Warned) {
			t.Errorf("%s: good %t", s, s.Good())
		}
		if s.Terminal() && s != state.Attention {
			for _, to := range statuses {
				if _, err := s.To(to); err == nil {
					t.Errorf("the terminal %s can become %s", s, to)
				}
			}
		}
	}
}

func TestSummarise(t *testing.T) {
	const (
		p, r, i, a = state.Pending, state.Running, state.Interrupted, state.Attention
		g, w, f    = state.Succeeded, state.Warned, state.Failed
		s, c       = state.Skipped, state.Cancelled
	)
	for _, test := range []struct {
		tasks []state.Status
		want  state.Status
	}{
		{nil, s},
		{[]state.Status{s, s}, s},
		{[]state.Status{g}, g},
		{[]state.Status{g, s}, g},
		{[]state.Status{g, w}, w},
		{[]state.Status{f, s}, f},
		{[]state.Status{f, c}, f},
		{[]state.Status{c, s}, c},
		{[]state.Status{g, f}, state.Partial},
		{[]state.Status{w, c}, state.Partial},
		{[]state.Status{g, f, a}, a},
		{[]state.Status{g, a, i}, i},
		{[]state.Status{i, a, p}, r},
		{[]state.Status{g, r}, r},
	} {
		if got := state.Summarise(work(test.tasks)); got != test.want {
			t.Errorf("%v: got %s, want %s", test.tasks, got, test.want)
		}
	}
}

func work(all []state.Status) (outcomes []state.Outcome) {
	for _, s := range all {
		outcomes = append(outcomes, state.Outcome{Status: s})
	}
	return outcomes
}

// A script around the work says nothing of what was done, and everything of what went wrong.
func TestSummariseScripts(t *testing.T) {
	for _, c := range []struct{ work, script, want state.Status }{
		{state.Succeeded, state.Succeeded, state.Succeeded},
		{state.Succeeded, state.Skipped, state.Succeeded},
		{state.Succeeded, state.Warned, state.Warned},
		{state.Succeeded, state.Failed, state.Partial},
		{state.Failed, state.Succeeded, state.Failed},
		{state.Failed, state.Warned, state.Failed},
		{state.Cancelled, state.Succeeded, state.Cancelled},
		{state.Cancelled, state.Failed, state.Failed},
		{state.Skipped, state.Succeeded, state.Skipped},
		{state.Skipped, state.Failed, state.Failed},
		{state.Failed, state.Attention, state.Attention},
		{state.Succeeded, state.Pending, state.Running},
	} {
		if got := state.Summarise([]state.Outcome{{Status: c.work}, {Status: c.script, Script: true}}); got != c.want {
			t.Errorf("work %s, script %s: got %s, want %s", c.work, c.script, got, c.want)
		}
	}
}

func TestSummariseProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ofTask := rapid.SampledFrom([]state.Status{state.Pending, state.Running, state.Interrupted, state.Succeeded, state.Warned, state.Failed,
			state.Skipped, state.Cancelled, state.Attention})
		tasks := rapid.SliceOfN(ofTask, 1, 8).Draw(t, "tasks")
		got := state.Summarise(work(tasks))
		open := slices.ContainsFunc(tasks, func(s state.Status) bool { return !s.Terminal() })
		if got.Terminal() == open {
			t.Fatalf("%v: %s", tasks, got)
		}
		if got.Good() && slices.ContainsFunc(tasks, func(s state.Status) bool { return !s.Good() && s != state.Skipped }) {
			t.Fatalf("%v is called %s", tasks, got)
		}
		if again := state.Summarise(work(append(slices.Clone(tasks), tasks...))); again != got {
			t.Fatalf("%v: %s once, %s twice", tasks, got, again)
		}
		if turned := state.Summarise(work(rapid.Permutation(tasks).Draw(t, "permutation"))); turned != got {
			t.Fatalf("%v: %s, in another order %s", tasks, got, turned)
		}
	})
}

func TestErrorsAreWhatTheySay(t *testing.T) {
	since := time.Date(2026, 1, 14, 3, 12, 0, 0, time.UTC)
	locked := &state.LockedError{Lock: state.Lock{Name: state.ApplyLock, Actor: "ann", Host: "ops1", PID: 7, Operation: "apply", Reason: "release 12", Acquired: since}}
	for _, test := range []struct {
		err  error
		is   error
		text string
	}{
		{locked, state.ErrLocked, "the apply lock is held by ann (ops1, process 7) since 2026-01-14T03:12:00Z for apply: release 12"},
		{&state.LockedError{Lock: state.Lock{Name: state.ApplyLock, Actor: "ann", Operation: "hold", Acquired: since, Expires: since.Add(time.Hour)}},
			state.ErrLocked, "the apply lock is held by ann since 2026-01-14T03:12:00Z until 2026-01-14T04:12:00Z for hold"},
		{&state.LockedError{Lock: state.Lock{Name: "device/QA1", Actor: "bob"}}, state.ErrLocked, "the device/QA1 lock is held by bob since"},
		{&state.StaleError{What: "failover.orders changed role (epoch 7 -> 8)"}, state.ErrStale, "failover.orders changed role (epoch 7 -> 8). Make a new plan."},
		{&state.DuplicateError{Address: "backup_plan.qa", Trigger: state.TriggerSchedule, TriggerKey: "2026-10-25T02:30", Run: "12"}, state.ErrDuplicate,
			"backup_plan.qa has run 12 for schedule 2026-10-25T02:30 already"},
	} {
		if !errors.Is(test.err, test.is) || !strings.HasPrefix(test.err.Error(), test.text) {
			t.Errorf("got %q", test.err)
		}
		for _, other := range []error{state.ErrNotFound, state.ErrFenced, state.ErrBusy} {
			if errors.Is(test.err, other) {
				t.Errorf("%v is also %v", test.err, other)
			}
		}
	}
}
