package planner_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/reconcile/planner"
	"github.com/holdfast-dr/holdfast/state"
)

func TestAsk(t *testing.T) {
	p := goldenInput(t, "tasks/seed")
	p.Inventory = nil
	q := planner.Ask(p)
	if want := []string{"device.QA1", "device.QA2", "device.QA3", "device.TEST8", "device.TEST9"}; !reflect.DeepEqual(q.Devices, want) || !reflect.DeepEqual(q.Stores, []string{"store.nas"}) {
		t.Errorf("asked for devices %q and stores %q", q.Devices, q.Stores)
	}
	in := goldenInput(t, "failovers/switchover")
	q = planner.Ask(in)
	if want := map[string]planner.Endpoints{"mirror.docs": {Source: "file:///srv/berlin", Target: "file:///srv/dublin", Epoch: 2}}; !reflect.DeepEqual(q.Mirrors, want) {
		t.Errorf("asked for mirrors %v", q.Mirrors)
	}
	in.Options.Unreviewed = true
	if q := planner.Ask(in); len(q.Mirrors) != 0 || len(q.Targets) == 0 {
		t.Errorf("a plan that is done at once asks for mirrors %v and targets %v", q.Mirrors, q.Targets)
	}
	in.Options.Unreviewed = false
	if rest := q.Unanswered(in.Inventory); rest.Empty() || len(rest.Targets) != 0 || len(rest.Mirrors) != 1 {
		t.Errorf("unanswered: %+v", rest)
	}
	seen := *in.Inventory
	seen.Mirrors = map[string]reconcile.MirrorSeen{"mirror.docs": {Source: "file:///srv/dublin", Target: "file:///srv/berlin"}}
	if rest := q.Unanswered(&seen); len(rest.Mirrors) != 1 {
		t.Error("the answer about the other direction was taken")
	}
	run := goldenInput(t, "run/mirror")
	if q := planner.Ask(run); len(q.Stores)+len(q.Devices) != 0 {
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
			change, err := planner.Adoption(in, f, "ana")
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
