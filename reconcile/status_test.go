package reconcile_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/state"
)

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
	}
	s := reconcile.Standing(st, noon)
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
	if len(s.Attention) != 1 || s.Attention[0].ID != "4" || s.Failovers[0].Failover != "failover.a" || s.Objects != 10 {
		t.Errorf("attention %v, failovers %v, %d objects", s.Attention, s.Failovers, s.Objects)
	}
	if body := asJSON(t, reconcile.Standing(&state.Snapshot{}, noon)); strings.Contains(body, "null") {
		t.Errorf("an empty list is null: %s", body)
	}
}

func TestAsk(t *testing.T) {
	p := goldenInput(t, "tasks/seed")
	p.Inventory = nil
	q := reconcile.Ask(p)
	if want := []string{"device.QA1", "device.QA2", "device.QA3", "device.TEST8", "device.TEST9"}; !reflect.DeepEqual(q.Devices, want) || !reflect.DeepEqual(q.Stores, []string{"store.nas"}) {
		t.Errorf("asked for devices %q and stores %q", q.Devices, q.Stores)
	}
	in := goldenInput(t, "failovers/switchover")
	q = reconcile.Ask(in)
	if want := map[string]reconcile.Endpoints{"mirror.docs": {Source: "file:///srv/berlin", Target: "file:///srv/dublin", Epoch: 2}}; !reflect.DeepEqual(q.Mirrors, want) {
		t.Errorf("asked for mirrors %v", q.Mirrors)
	}
	if rest := q.Unanswered(in.Inventory); rest.Empty() || len(rest.Targets) != 0 || len(rest.Mirrors) != 1 {
		t.Errorf("unanswered: %+v", rest)
	}
	seen := *in.Inventory
	seen.Mirrors = map[string]reconcile.MirrorSeen{"mirror.docs": {Source: "file:///srv/dublin", Target: "file:///srv/berlin"}}
	if rest := q.Unanswered(&seen); len(rest.Mirrors) != 1 {
		t.Error("the answer about the other direction was taken")
	}
	run := goldenInput(t, "run/mirror")
	if q := reconcile.Ask(run); len(q.Stores)+len(q.Devices) != 0 {
		t.Errorf("the run of a mirror asks for %v and %v", q.Stores, q.Devices)
	}
}

func TestAdoption(t *testing.T) {
	for _, c := range []struct {
		name string
		role state.Role
		seen reconcile.TargetSeen
		want string // "site epoch after epoch", or a part of the error
	}{
		{"never recorded", state.Role{}, reconcile.TargetSeen{Active: "b"}, "site.berlin 1 after 0"},
		{"never recorded, marked", state.Role{}, reconcile.TargetSeen{Active: "b", Epoch: 7}, "site.berlin 7 after 0"},
		{"as recorded", state.Role{Active: "site.berlin", Epoch: 3, State: state.RoleSettled}, reconcile.TargetSeen{Active: "b", Epoch: 3}, "site.berlin 3 after 3"},
		{"ahead", state.Role{Active: "site.berlin", Epoch: 3, State: state.RoleSettled}, reconcile.TargetSeen{Active: "d", Epoch: 5}, "site.dublin 5 after 3"},
		{"other side", state.Role{Active: "site.berlin", Epoch: 3, State: state.RoleSettled}, reconcile.TargetSeen{Active: "d", Epoch: 3}, "site.dublin 4 after 3"},
		{"uncertain", state.Role{Active: "site.berlin", Epoch: 3, State: state.RoleUncertain}, reconcile.TargetSeen{Active: "b", Epoch: 3}, "site.berlin 4 after 3"},
		{"nothing active", state.Role{}, reconcile.TargetSeen{}, "nothing to adopt"},
		{"no member", state.Role{}, reconcile.TargetSeen{Active: "x"}, "disagree"},
		{"unreachable", state.Role{}, reconcile.TargetSeen{Seen: reconcile.Seen{Error: "timeout"}}, "can be inspected: timeout"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := goldenInput(t, "failovers/settled")
			in.Inventory.Targets = map[string]reconcile.TargetSeen{"failover_target.docs": c.seen}
			delete(in.State.Roles, "failover.docs")
			if c.role.Epoch > 0 {
				in.State.Roles["failover.docs"] = c.role
			}
			f, _ := config.Lookup[*config.Failover](in.Doc, "failover.docs")
			change, err := reconcile.Adoption(in, f, "ana")
			got := ""
			if err != nil {
				got = err.Error()
			} else {
				got = fmt.Sprintf("%s %d after %d", change.Active, change.Epoch, change.IfEpoch)
			}
			if !strings.Contains(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestClosed(t *testing.T) {
	p := &reconcile.Plan{Gates: []reconcile.Gate{{Allow: "--allow=destroy", Class: reconcile.ClassDestroy}, {Allow: "--allow-delete=7", Deletes: 7}}}
	for _, c := range []struct {
		allowed reconcile.Allowed
		closed  int
	}{
		{reconcile.Allowed{}, 2},
		{reconcile.Allowed{Classes: []reconcile.Class{reconcile.ClassRole}, Deletes: 6}, 2},
		{reconcile.Allowed{Classes: []reconcile.Class{reconcile.ClassDestroy}}, 1},
		{reconcile.Allowed{Classes: []reconcile.Class{reconcile.ClassDestroy}, Deletes: 7}, 0},
	} {
		if got := p.Closed(c.allowed); len(got) != c.closed {
			t.Errorf("%+v leaves %v closed", c.allowed, got)
		}
	}
}
