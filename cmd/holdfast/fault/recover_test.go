package fault_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// artifacts lists what is recorded: id, state, device and domain of each, in order.
func (r *rig) artifacts() []string {
	r.t.Helper()
	var got struct {
		Artifacts []struct{ ID, State, Device, Domain, Started string }
	}
	r.json(&got, "verify", "--list")
	var all []string
	for _, a := range got.Artifacts {
		all = append(all, strings.Join([]string{a.ID, a.State, a.Device, a.Domain, a.Started}, " "))
	}
	slices.Sort(all)
	return all
}

// The state is gone, and the store is all there is.
func TestFaultLostState(t *testing.T) {
	long(t)
	t.Parallel()
	const day = 24 * time.Hour
	r := clockRig(t, "0 23 * * *", "UTC")
	start := time.Date(2026, 3, 2, 23, 0, 5, 0, time.UTC)
	for i := range 3 {
		r.applyAt(start.Add(time.Duration(i) * day))
	}
	before := r.artifacts()
	files, err := filepath.Glob(r.path("holdfast.db*"))
	check(t, err)
	for _, f := range files {
		r.remove(filepath.Base(f))
	}
	r.ok("init")
	lost := start.Add(2*day + time.Hour)
	began := time.Now()
	r.ok("store", "init", "--adopt", "vault", "--now="+lost.Format(time.RFC3339))
	took := time.Since(began)
	if after := r.artifacts(); !slices.Equal(before, after) {
		t.Errorf("the list is %q, and was %q", after, before)
	}
	r.applyAt(lost.Add(time.Minute))
	if n := len(r.runs("backup_plan.nightly")); n != 0 {
		t.Errorf("%d slots ran again", n)
	}
	held := 0
	for i := 3; i < 12 && r.deletions() == 0; i++ {
		now := start.Add(time.Duration(i) * day)
		for _, at := range []time.Time{now, now.Add(time.Minute)} { // retention works by the record of the night
			r.ok("apply", "--auto-approve", "--allow-delete=20", "--now="+at.Format(time.RFC3339))
		}
		if r.deletions() == 0 {
			held++
		} else if now.Sub(lost) < 7*day {
			t.Errorf("deleted %v after the recovery", now.Sub(lost))
		}
	}
	if r.deletions() == 0 || held < 6 {
		t.Errorf("%d nights without deletions, %d deletions", held, r.deletions())
	}
	ran, _ := r.checkSlots()
	figure(t, 12, "state deleted, store adopted: the same %d artifacts in %v, 0 slots again, %d nights later %d runs and 0 deletions until 7 days were over; TestRescanOfTenThousand has the time of 10,000",
		len(before), took.Round(time.Millisecond), held, ran)
}

// The state is yesterday's, and the store is asked what came since.
func TestFaultOldStateRescanned(t *testing.T) {
	long(t)
	t.Parallel()
	const day = 24 * time.Hour
	r := clockRig(t, "0 23 * * *", "UTC")
	start := time.Date(2026, 3, 2, 23, 0, 5, 0, time.UTC)
	r.applyAt(start)
	r.applyAt(start.Add(day))
	r.ok("state", "backup", "yesterday.db")
	r.applyAt(start.Add(2 * day))
	before := r.artifacts()
	now := start.Add(2*day + time.Hour)
	r.ok("state", "restore", "yesterday.db", "--now="+now.Format(time.RFC3339))
	runs := len(r.runs("backup_plan.nightly"))
	r.ok("store", "rescan", "vault", "--now="+now.Format(time.RFC3339))
	r.applyAt(now.Add(time.Minute))
	if after := r.artifacts(); !slices.Equal(before, after) {
		t.Errorf("the list is %q, and was %q", after, before)
	}
	if n := len(r.runs("backup_plan.nightly")); n != runs {
		t.Errorf("%d slots ran again", n-runs)
	}
	r.applyAt(start.Add(3 * day))
	if n := len(r.runs("backup_plan.nightly")); n != runs+1 || r.deletions() != 0 {
		t.Errorf("the next night: %d runs more, %d deletions", n-runs, r.deletions())
	}
	figure(t, 12, "state of yesterday restored, store rescanned: the same %d artifacts, the slot that only the store knew 0 times again, 0 deletions", len(before))
}
