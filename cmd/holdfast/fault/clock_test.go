package fault_test

import (
	"strings"
	"testing"
	"time"
)

// clockRig is a source with a plan by schedule and a retention that only age decides.
func clockRig(t *testing.T, schedule, zone string) *rig {
	r := newRig(t, `
device "command" "web" {
  command = ["${var.root}/source", var.root]
}
store "plain" "vault" { path = "${var.root}/vault" }
retention "short" { keep_within = "2d" }
backup_plan "nightly" {
  schedule  = "`+schedule+`"
  timezone  = "`+zone+`"
  store     = store.vault
  retention = retention.short
  activity "all" {
    action  = "secure_backup"
    devices = ["web"]
  }
}
`)
	r.write("source", prints)
	r.write("payload", "content")
	r.ok("init")
	return r
}

func (r *rig) applyAt(at time.Time) answer {
	r.t.Helper()
	return r.ok("apply", "--auto-approve", "--now="+at.Format(time.RFC3339))
}

// checkSlots counts the runs that worked: each nominal time has at most one.
func (r *rig) checkSlots() (ran, missed int) {
	r.t.Helper()
	seen := map[string]bool{}
	for _, run := range r.runs("backup_plan.nightly") {
		if seen[run.TriggerKey] {
			r.t.Errorf("the slot %s has two runs", run.TriggerKey)
		}
		seen[run.TriggerKey] = true
		if run.Status == "missed" {
			missed++
		} else {
			ran++
		}
	}
	return ran, missed
}

// deleted counts artifacts whose deletion was planned and done.
func (r *rig) deletions() int {
	r.t.Helper()
	return len(r.runs("retention.short"))
}

// Clocks that jump three days ahead and back, nights in which the clock is changed, a laptop that slept.
func TestFaultClock(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 3, 2, 23, 0, 5, 0, time.UTC)
	const day = 24 * time.Hour
	t.Run("jump ahead and back", func(t *testing.T) {
		t.Parallel()
		r := clockRig(t, "0 23 * * *", "UTC")
		for i := range 3 {
			r.applyAt(start.Add(time.Duration(i) * day))
		}
		now := start.Add(2*day + time.Hour)
		r.applyAt(now.Add(3 * day)) // wrong
		r.applyAt(now.Add(3*day + time.Minute))
		got := r.applyAt(now.Add(4 * day)) // and still wrong a night later
		if !strings.Contains(got.out, "Retention waits after a gap") {
			t.Errorf("the plan does not say that retention waits:\n%s", got.out)
		}
		if n := r.good(); n != 5 {
			t.Errorf("%d artifacts after a jump of 72 h, want 5", n)
		}
		back := r.ok("plan", "--now="+now.Format(time.RFC3339)) // right again
		if !strings.Contains(back.out, "The clock went back") {
			t.Errorf("the plan does not say that the clock went back:\n%s", back.out)
		}
		r.applyAt(now.Add(time.Hour))
		if n := r.good(); n != 5 {
			t.Errorf("%d artifacts after the jump back, want 5", n)
		}
		r.ok("restore", "--device=web", "--at="+now.Format(time.RFC3339), "--dir=out")
		r.ok("run", "nightly", "--now="+now.Add(day).Format(time.RFC3339)) // by hand it can always be backed up
		ran, missed := r.checkSlots()
		if ran != 6 || missed != 2 || r.deletions() != 0 {
			t.Errorf("%d runs, %d missed, %d deletions; want 6, 2, 0", ran, missed, r.deletions())
		}
	})
	t.Run("back first", func(t *testing.T) {
		t.Parallel()
		r := clockRig(t, "0 23 * * *", "UTC")
		for i := range 4 {
			r.applyAt(start.Add(time.Duration(i) * day))
		}
		before := r.deletions()
		for i := range 3 { // three nights are lived again
			r.applyAt(start.Add(time.Duration(i)*day + time.Minute))
		}
		if ran, _ := r.checkSlots(); ran != 4 {
			t.Errorf("%d runs of 4 slots", ran)
		}
		if n := r.deletions(); n != before {
			t.Errorf("%d deletions while the clock was back", n-before)
		}
	})
	t.Run("nights in which the clock is changed", func(t *testing.T) {
		t.Parallel()
		r := clockRig(t, "30 2 * * *", "Europe/Berlin")
		at := time.Date(2026, 3, 28, 2, 0, 0, 0, time.UTC)
		r.applyAt(at)
		for range 10 { // 02:30 is skipped: it runs when the clock stands at 03:00
			at = at.Add(30 * time.Minute)
			r.applyAt(time.Date(2026, 3, 29, at.Hour(), at.Minute(), 0, 0, time.UTC))
		}
		ran, _ := r.checkSlots()
		if ran != 2 {
			t.Errorf("%d runs in two nights of spring", ran)
		}
		r = clockRig(t, "30 2 * * *", "Europe/Berlin")
		r.applyAt(time.Date(2026, 10, 24, 2, 0, 0, 0, time.UTC))
		for half := range 10 { // 02:30 is shown twice: it runs once
			r.applyAt(time.Date(2026, 10, 24, 23, 0, 0, 0, time.UTC).Add(time.Duration(half) * 30 * time.Minute))
		}
		if ran, _ = r.checkSlots(); ran != 2 {
			t.Errorf("%d runs in two nights of autumn", ran)
		}
	})
	t.Run("asleep", func(t *testing.T) {
		t.Parallel()
		r := clockRig(t, "0 * * * *", "UTC")
		r.applyAt(start)
		before := r.good()
		r.applyAt(start.Add(8*time.Hour + 20*time.Minute))
		r.applyAt(start.Add(8*time.Hour + 21*time.Minute))
		ran, missed := r.checkSlots()
		if r.good() != before+1 || ran != 2 || missed != 7 {
			t.Errorf("%d new artifacts, %d runs, %d missed; want 1, 2, 7", r.good()-before, ran, missed)
		}
	})
	t.Cleanup(func() {
		figure(t, 8, "clock 72 h ahead and back, both changes of summer time, 8 h asleep: 0 slots twice, 1 run each to catch up, 0 deletions while the clock is doubted")
	})
}
