package planner_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/config/diag"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/reconcile/planner"
	"github.com/holdfast-dr/holdfast/state"
)

// nightly is a configuration with one backup plan.
func nightly(t *testing.T, settings, arguments string) *config.Document {
	t.Helper()
	return loadDocument(t, fstest.MapFS{"a.hold.hcl": {Data: fmt.Appendf(nil, `
settings {
  timezone = "Europe/Berlin"
  %s
}
store "plain" "nas" { path = "/data/nas" }
device "command" "ldap" { command = ["/usr/sbin/slapcat"] }
maintenance_window "night" {
  start = "22:00"
  end   = "05:00"
}
backup_plan "nightly" {
  store = store.nas
  %s
  activity "all" {
    action  = "secure_backup"
    devices = ["ldap"]
  }
}
`, settings, arguments)}})
}

// TestTimesBeforeTheRecord: no nominal time of a schedule counts that was before the schedule was recorded, and none is forgotten that was
// missed by the one before. Now is Tuesday 2026-03-10 13:00 in Berlin.
func TestTimesBeforeTheRecord(t *testing.T) {
	const off, on, stopped = "enabled = false", "enabled = true", "backups_enabled = false"
	daily := func(hour string) string { return `schedule = "0 ` + hour + ` * * *"` }
	night := "\nmaintenance_window = maintenance_window.night"
	for _, c := range []struct {
		name         string
		was, is      [2]string // settings, arguments
		cursor       string    // empty: never followed
		ran          bool      // by hand
		open         bool      // a run of it is open
		want, missed string    // the action of the plan, and what it keeps as missed
		warns        bool
		next         string // when it is due next
		never        bool   // it has none
	}{
		{name: "moved to an hour that is past", was: [2]string{"", daily("23")}, is: [2]string{"", daily("6")}, cursor: "2026-03-09T23:00", next: "2026-03-11T06:00"},
		{name: "moved to an hour that comes", was: [2]string{"", daily("6")}, is: [2]string{"", daily("18")}, cursor: "2026-03-10T06:00", next: "2026-03-10T18:00"},
		{name: "another time zone", was: [2]string{"", daily("6")}, is: [2]string{"", daily("6") + "\n" + `timezone = "America/New_York"`}, cursor: "2026-03-10T06:00", next: "2026-03-11T11:00"},
		{name: "another time zone of all", was: [2]string{"", daily("12") + "\n" + `timezone = "Asia/Tokyo"`}, is: [2]string{"", daily("12")}, cursor: "2026-03-10T04:00", next: "2026-03-11T12:00"},
		{name: "switched on again", was: [2]string{"", daily("6") + "\n" + off}, is: [2]string{"", daily("6") + "\n" + on}, cursor: "2026-03-05T06:00", next: "2026-03-11T06:00"},
		{name: "all switched on again", was: [2]string{stopped, daily("6")}, is: [2]string{"", daily("6")}, cursor: "2026-03-08T06:00", next: "2026-03-11T06:00"},
		{
			name: "all switched on again, and it waited before", was: [2]string{stopped, daily("6")}, is: [2]string{"", daily("6")}, cursor: "2026-03-06T06:00",
			want: "overdue since Sun 2026-03-08 06:00; 1 run missed before it", missed: "2026-03-07T06:00", next: "2026-03-11T06:00",
		},
		{name: "a schedule for one that ran by hand", was: [2]string{"", ""}, is: [2]string{"", daily("6")}, ran: true, next: "2026-03-11T06:00"},
		{name: "a schedule for one that never ran", was: [2]string{"", ""}, is: [2]string{"", daily("6")}, want: "never run", next: "2026-03-11T06:00"},
		{name: "changed before the first run", was: [2]string{"", daily("23")}, is: [2]string{"", daily("6")}, want: "never run", next: "2026-03-11T06:00"},
		{name: "switched on before the first run", was: [2]string{"", daily("6") + "\n" + off}, is: [2]string{"", daily("6")}, want: "never run", next: "2026-03-11T06:00"},
		{name: "more often in a closed window", was: [2]string{"", daily("23") + night}, is: [2]string{"", `schedule = "* * * * *"` + night}, cursor: "2026-03-09T23:00", next: "2026-03-10T22:00"},
		{
			name: "missed before", was: [2]string{"", daily("23")}, is: [2]string{"", daily("6")}, cursor: "2026-03-06T23:00",
			want: "overdue since Mon 2026-03-09 23:00; 2 runs missed before it, by the schedule before this change", missed: "2026-03-07T23:00 2026-03-08T23:00", next: "2026-03-11T06:00",
		},
		{
			name: "missed before, and late ones are skipped", was: [2]string{"", daily("23")}, is: [2]string{"", daily("6") + "\n" + `missed = "skip"`}, cursor: "2026-03-08T23:00",
			want: "missed Mon 2026-03-09 23:00, by the schedule before this change", missed: "2026-03-09T23:00", next: "2026-03-11T06:00",
		},
		{
			name: "missed before, in a closed window", was: [2]string{"", daily("23") + night}, is: [2]string{"", daily("22") + night}, cursor: "2026-03-07T23:00",
			want: "overdue since Mon 2026-03-09 23:00; 1 run missed before it, by the schedule before this change", missed: "2026-03-08T23:00 2026-03-09T23:00", next: "2026-03-10T22:00",
		},
		{
			name: "missed before it is switched off", was: [2]string{"", daily("23")}, is: [2]string{"", daily("23") + "\n" + off}, cursor: "2026-03-08T23:00",
			want: "overdue since Mon 2026-03-09 23:00", missed: "2026-03-09T23:00", never: true,
		},
		{
			name: "missed before all are switched off", was: [2]string{"", daily("23")}, is: [2]string{stopped, daily("23")}, cursor: "2026-03-08T23:00",
			never: true,
		},
		{name: "changed while all are switched off", was: [2]string{stopped, daily("23")}, is: [2]string{stopped, daily("6")}, cursor: "2026-03-07T23:00", never: true},
		{
			name: "missed before its run ends", was: [2]string{"", daily("23")}, is: [2]string{"", daily("6")}, cursor: "2026-03-08T23:00", open: true,
			warns: true, never: true,
		},
		{
			name: "more missed before than can be true", was: [2]string{"", `schedule = "* * * * *"`}, is: [2]string{"", daily("6")}, cursor: "2026-03-08T23:00",
			warns: true, next: "2026-03-11T06:00",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := planner.Input{
				Doc: nightly(t, c.is[0], c.is[1]), Now: noon, Version: "0", Inventory: &reconcile.Inventory{Devices: map[string]reconcile.DeviceSeen{"device.ldap": {}}},
				State: &state.Snapshot{Meta: state.Meta{Lineage: "l"}, Objects: apply(nightly(t, c.was[0], c.was[1]), "l"), LastRuns: map[string]state.Run{}},
			}
			last := state.Run{ID: "7", Address: "backup_plan.nightly", Trigger: state.TriggerManual, Status: state.Succeeded, CreatedAt: noon.Add(-time.Hour)}
			if c.ran {
				in.State.LastRuns[last.Address] = last
			}
			if last.Status = state.Running; c.open {
				in.State.OpenRuns = []state.Run{last}
			}
			if c.cursor != "" {
				in.State.Cursors = map[string]state.Cursor{last.Address: {Address: last.Address, Nominal: c.cursor, At: berlin(t, c.cursor)}}
			}
			p, diags := planner.Build(in)
			checkInvariants(t, in, p, diags)
			want, missed := nextWork(p)
			if want != c.want || missed != c.missed {
				t.Errorf("the plan has %q with %q missed, want %q with %q", want, missed, c.want, c.missed)
			}
			warns := slices.ContainsFunc(diags, func(d diag.Diagnostic) bool { return d.Code == "HF-SCH-005" })
			if warns != c.warns {
				t.Errorf("the findings are %s", findings(diags))
			}
			if len(p.Changes) != 1 {
				t.Errorf("%d changes", len(p.Changes))
			}
			if c.open {
				return
			}
			in = simulate(t, in)
			at := noon.Add(time.Minute)
			if c.next != "" {
				at = berlin(t, c.next).Add(-time.Minute)
			}
			in.Now = at
			if p, _ := planner.Build(in); !p.Empty() {
				t.Errorf("at %s there is %+v", in.Now, p.Actions)
			}
			if in.Now = at.Add(time.Minute); c.never {
				in.Now = at.Add(48 * time.Hour)
			}
			p, _ = planner.Build(in)
			if want, missed := nextWork(p); c.never != (want == "") || missed != "" && !strings.Contains(c.name, "often") {
				t.Errorf("at %s there is %q, with %q missed", in.Now, want, missed)
			}
		})
	}
}

// A time that comes after the change is caught up on when nothing could run at it, like any other.
func TestCatchesUpAfterAChange(t *testing.T) {
	in := planner.Input{
		Doc: nightly(t, "", `schedule = "0 15 * * *"`), Now: berlin(t, "2026-03-10T13:00"), Version: "0", Inventory: &reconcile.Inventory{Devices: map[string]reconcile.DeviceSeen{"device.ldap": {}}},
		State: &state.Snapshot{
			Meta: state.Meta{Lineage: "l"}, Objects: apply(nightly(t, "", `schedule = "0 6 * * *"`), "l"),
			Cursors: map[string]state.Cursor{"backup_plan.nightly": {At: berlin(t, "2026-03-10T06:00")}},
		},
	}
	in = simulate(t, in)
	in.Now = berlin(t, "2026-03-11T18:00")
	p, _ := planner.Build(in)
	if reason, missed := nextWork(p); reason != "overdue since Wed 2026-03-11 15:00; 1 run missed before it" || missed != "2026-03-10T15:00" {
		t.Errorf("%q, with %q missed", reason, missed)
	}
}

func berlin(t *testing.T, text string) time.Time {
	t.Helper()
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	at, err := time.ParseInLocation("2006-01-02T15:04", text, zone)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// nextWork gives why the only backup of a plan is due, and the times that it keeps as missed.
func nextWork(p *reconcile.Plan) (reason, missed string) {
	var times []string
	for _, a := range p.Actions {
		if a.Kind != reconcile.ActionBackup {
			continue
		}
		reason = a.Reason
		for _, m := range a.Missed {
			times = append(times, m.Nominal)
		}
	}
	return reason, strings.Join(times, " ")
}
