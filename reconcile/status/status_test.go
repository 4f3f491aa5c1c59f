package status_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dr/holdfast/reconcile/status"
	"github.com/holdfast-dr/holdfast/state"
)

var noon = time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)

func recorded(specs map[string]string) map[string]state.Object {
	objects := map[string]state.Object{}
	for a, spec := range specs {
		objects[a] = state.Object{Address: a, Spec: []byte(spec), Generation: 1}
	}
	return objects
}

func TestStanding(t *testing.T) {
	st := &state.Snapshot{
		Objects: recorded(map[string]string{
			"backup_plan.current": `{"schedule": "0 11 * * *", "timezone": "UTC"}`,
			"backup_plan.behind":  `{"schedule": "0 11 * * *", "timezone": "UTC"}`,
			"backup_plan.new":     `{"schedule": "0 11 * * *", "timezone": "UTC"}`,
			"backup_plan.off":     `{"schedule": "0 11 * * *", "timezone": "UTC", "enabled": false, "backups_enabled": false}`,
			"backup_plan.damaged": `[`,
			"mirror.fresh":        `{"every": "1h", "max_lag": "2h"}`,
			"mirror.late":         `{"every": "1h", "max_lag": "2h"}`,
			"mirror.never":        `{"every": "1h"}`,
			"mirror.unclear":      `{"every": "1h"}`,
			"site.berlin":         `{}`,
		}),
		Cursors: map[string]state.Cursor{
			"backup_plan.current": {At: time.Date(2026, 3, 10, 11, 0, 0, 0, time.UTC)},
			"backup_plan.behind":  {At: time.Date(2026, 3, 8, 11, 0, 0, 0, time.UTC)},
			"backup_plan.off":     {At: time.Date(2026, 3, 8, 11, 0, 0, 0, time.UTC)},
		},
		Positions: map[string]state.Position{
			"mirror.fresh": {At: noon.Add(time.Minute)}, "mirror.late": {At: noon.Add(-3 * time.Hour)}, "mirror.unclear": {At: noon},
		},
		Roles:    map[string]state.Role{"failover.b": {Failover: "failover.b"}, "failover.a": {Failover: "failover.a"}},
		LastRuns: map[string]state.Run{"mirror.unclear": {ID: "4", Address: "mirror.unclear", Status: state.Attention}, "backup_plan.current": {ID: "5", Status: state.Succeeded}},
		Undecided: []state.Run{
			{ID: "3", Address: "backup_plan.current", Status: state.Attention}, {ID: "4", Address: "mirror.unclear", Status: state.Attention},
		},
	}
	s := status.Of(st, noon)
	var missed []string
	for _, bp := range s.BackupPlans {
		var nominal []string
		for _, m := range bp.Missed {
			nominal = append(nominal, m.Nominal)
		}
		if bp.Overdue != (len(nominal) > 0) {
			t.Errorf("%s: overdue %v with %v", bp.Address, bp.Overdue, nominal)
		}
		if bp.Stopped != (bp.Address == "backup_plan.off") {
			t.Errorf("%s: stopped %v", bp.Address, bp.Stopped)
		}
		missed = append(missed, bp.Address+" "+strings.Join(nominal, " "))
	}
	want := []string{"backup_plan.behind 2026-03-09T11:00 2026-03-10T11:00", "backup_plan.current ", "backup_plan.damaged ", "backup_plan.new 2026-03-10T11:00", "backup_plan.off "}
	if !reflect.DeepEqual(missed, want) {
		t.Errorf("missed %q, want %q", missed, want)
	}
	healthy := map[string]bool{}
	for _, m := range s.Mirrors {
		healthy[m.Address] = m.Healthy
	}
	if !reflect.DeepEqual(healthy, map[string]bool{"mirror.fresh": true, "mirror.late": false, "mirror.never": false, "mirror.unclear": false}) {
		t.Errorf("healthy: %v", healthy)
	}
	if len(s.Attention) != 2 || s.Attention[0].ID != "3" || s.Failovers[0].Failover != "failover.a" || s.Objects != 10 {
		t.Errorf("attention %v, failovers %v, %d objects", s.Attention, s.Failovers, s.Objects)
	}
	if body, err := json.Marshal(status.Of(&state.Snapshot{}, noon)); err != nil || strings.Contains(string(body), "null") {
		t.Errorf("an empty list is null: %s, %v", body, err)
	}
}

// TestRemedies: every surface says the same of a damaged artifact, and nothing it says to type is empty.
func TestRemedies(t *testing.T) {
	now := time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)
	bad := func(id, plan string, age time.Duration) state.ArtifactBrief {
		return state.ArtifactBrief{ID: id, BackupPlan: plan, Device: "device.web", Domain: "content", Started: now.Add(-age), State: state.ArtifactQuarantined}
	}
	good := bad("g", "backup_plan.x", time.Hour)
	good.State = state.ArtifactGood
	safety := bad("s", "", time.Minute)
	safety.State = state.ArtifactGood
	st := &state.Snapshot{Objects: map[string]state.Object{"backup_plan.x": {}, "backup_plan.y": {}}, Catalogue: []state.ArtifactBrief{
		bad("old", "backup_plan.x", 2*time.Hour), good, safety,
	}}
	remedy := status.Remedies(st, now)
	for _, c := range []struct {
		of   state.ArtifactBrief
		want string
	}{
		{bad("old", "backup_plan.x", 2*time.Hour), "nothing: a newer one is good"},
		{bad("new", "backup_plan.x", time.Minute), "take a new backup: holdfast run backup_plan.x"},
		{bad("alone", "backup_plan.y", time.Hour), "take a new backup: holdfast run backup_plan.y"},
		{bad("orphan", "backup_plan.gone", time.Hour), "backup_plan.gone is no longer recorded: back up device.web with another backup plan"},
		{bad("safety", "", time.Hour), "no backup plan takes it again; to save what can be read: holdfast restore apply --allow-quarantined --dir DIRECTORY --artifact safety; to be rid of it: holdfast artifact delete safety"},
	} {
		if got := remedy(c.of); got != c.want {
			t.Errorf("%s: %q, want %q", c.of.ID, got, c.want)
		}
	}
	if r := status.Of(st, now); len(r.Quarantined) != 1 || r.Quarantined[0].Todo != remedy(bad("old", "backup_plan.x", 2*time.Hour)) {
		t.Errorf("the report says %+v", r.Quarantined)
	}
}

// TestLastGood: a run that was good counts from its end, and what a store alone knows of from when it was taken; the later one is told.
func TestLastGood(t *testing.T) {
	run := map[string]state.Run{"backup_plan.x": {ID: "5", Status: state.Succeeded, EndedAt: noon.Add(-time.Hour)}}
	for name, c := range map[string]struct {
		good  map[string]state.Run
		found time.Time
		want  time.Time
	}{
		"never":                       {},
		"a run":                       {good: run, want: noon.Add(-time.Hour)},
		"the run is gone":             {found: noon.Add(-2 * time.Hour), want: noon.Add(-2 * time.Hour)},
		"a run before what was found": {good: run, found: noon.Add(-time.Minute), want: noon.Add(-time.Minute)},
		"a run after it":              {good: run, found: noon.Add(-2 * time.Hour), want: noon.Add(-time.Hour)},
	} {
		t.Run(name, func(t *testing.T) {
			st := &state.Snapshot{
				Objects: recorded(map[string]string{"backup_plan.x": `{}`}), LastGood: c.good,
				Artifacts: map[string]state.Holdings{"backup_plan.x": {Count: 2, Newest: noon, Found: c.found}},
			}
			if got := status.Of(st, noon).BackupPlans[0].Good; !got.Equal(c.want) {
				t.Errorf("good at %s, want %s", got, c.want)
			}
		})
	}
}

// A run on which somebody works is not one that did not end, and one that is recorded as running, and whose process has ended, is none on
// which somebody works.
func TestWorking(t *testing.T) {
	run := func(id string, s state.Status) state.Run {
		return state.Run{ID: id, Plan: "p" + id, Address: "mirror.m" + id, Status: s}
	}
	lock := func(id string, l state.Lock) state.Lock {
		l.Name = state.PlanLock("p" + id)
		return l
	}
	all := []state.Run{
		run("1", state.Running), run("2", state.Pending), run("3", state.Running), run("4", state.Running),
		run("5", state.Running), run("6", state.Interrupted), run("7", state.Pending),
	}
	st := &state.Snapshot{OpenRuns: all, LastRuns: map[string]state.Run{"mirror.m3": all[2]}, Objects: recorded(map[string]string{"mirror.m3": `{}`})}
	later := noon.Add(time.Minute)
	st.Locks = []state.Lock{
		lock("1", state.Lock{Session: 1, Expires: later}), lock("2", state.Lock{Session: 1, Expires: later}), lock("3", state.Lock{Session: 2, Expires: later, Gone: true}),
		lock("4", state.Lock{Session: 3, Expires: noon}), lock("6", state.Lock{Session: 1, Expires: later}),
	}
	s := status.Of(st, noon)
	text := func(runs []state.Run) (all string) {
		for _, r := range runs {
			all += r.ID + " " + string(r.Status) + ", "
		}
		return all
	}
	if got, want := text(s.Working), "1 running, 2 pending, "; got != want {
		t.Errorf("at work: %s, want %s", got, want)
	}
	if got, want := text(s.OpenRuns), "3 interrupted, 4 interrupted, 5 interrupted, 6 interrupted, 7 pending, "; got != want {
		t.Errorf("did not end: %s, want %s", got, want)
	}
	if got := s.Mirrors[0].Last.Status; got != state.Interrupted {
		t.Errorf("the last run is %s", got)
	}
}
