package planner_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/state"
)

func TestBroken(t *testing.T) {
	now := time.Date(2026, 11, 22, 3, 12, 0, 0, time.UTC)
	snap := &state.Snapshot{
		Meta: state.Meta{Lineage: "L"},
		Objects: map[string]state.Object{
			"mirror.a":      {Address: "mirror.a", Generation: 4, Commit: "c0ffee0", AppliedBy: "ana", AppliedAt: now},
			"backup_plan.a": {Address: "backup_plan.a", Generation: 3, Spec: []byte(`{"backups_enabled":false}`), AppliedBy: "ana", AppliedAt: now},
		},
		Roles: map[string]state.Role{
			"failover.orders": {Epoch: 8, State: state.RoleSettled, Since: now, Run: "12"},
			"failover.moving": {Epoch: 3, State: state.RoleMoving, MovingTo: "site.b", Run: "13"},
		},
	}
	for _, c := range []struct {
		name string
		need reconcile.Precondition
		want string // part of the message; empty: holds
	}{
		{"lineage", reconcile.Precondition{Kind: reconcile.NeedLineage, Want: "L"}, ""},
		{"other lineage", reconcile.Precondition{Kind: reconcile.NeedLineage, Want: "M"}, "another state"},
		{"generation", reconcile.Precondition{Kind: reconcile.NeedGeneration, Address: "mirror.a", Want: "4"}, ""},
		{"changed", reconcile.Precondition{Kind: reconcile.NeedGeneration, Address: "mirror.a", Want: "3"}, "mirror.a was changed meanwhile (generation 3 -> 4, 2026-11-22 03:12 UTC by ana)"},
		{"backups stopped", reconcile.Precondition{Kind: reconcile.NeedGeneration, Address: "backup_plan.a", Want: "2"}, "All backups were switched off meanwhile (BACKUPS_ARE_DISABLED)"},
		{"backups stopped before", reconcile.Precondition{Kind: reconcile.NeedGeneration, Address: "backup_plan.a", Want: "3"}, ""},
		{"recorded meanwhile", reconcile.Precondition{Kind: reconcile.NeedGeneration, Address: "mirror.a", Want: "0"}, "mirror.a was recorded meanwhile"},
		{"absent", reconcile.Precondition{Kind: reconcile.NeedGeneration, Address: "mirror.b", Want: "0"}, ""},
		{"gone", reconcile.Precondition{Kind: reconcile.NeedGeneration, Address: "mirror.b", Want: "2"}, "no longer recorded"},
		{"no number", reconcile.Precondition{Kind: reconcile.NeedGeneration, Address: "mirror.a", Want: "x"}, "unreadable"},
		{"epoch", reconcile.Precondition{Kind: reconcile.NeedRoleEpoch, Address: "failover.orders", Want: "8"}, ""},
		{"role moved", reconcile.Precondition{Kind: reconcile.NeedRoleEpoch, Address: "failover.orders", Want: "7"}, "failover.orders changed role (epoch 7 -> 8, 2026-11-22 03:12 UTC, run 12). Make a new plan."},
		{"role moving", reconcile.Precondition{Kind: reconcile.NeedRoleEpoch, Address: "failover.moving", Want: "3"}, "is moving (to site.b, run 13)"},
		{"no role", reconcile.Precondition{Kind: reconcile.NeedRoleEpoch, Address: "failover.new", Want: "0"}, ""},
		{"commit", reconcile.Precondition{Kind: reconcile.NeedDescends, Want: "c0ffee0"}, ""},
		{"other commit", reconcile.Precondition{Kind: reconcile.NeedDescends, Want: "badc0de"}, "badc0de -> c0ffee0"},
		{"in time", reconcile.Precondition{Kind: reconcile.NeedNotAfter, Want: now.Format(time.RFC3339)}, ""},
		{"too late", reconcile.Precondition{Kind: reconcile.NeedNotAfter, Want: now.Add(-time.Second).Format(time.RFC3339)}, "not be applied after"},
		{"no time", reconcile.Precondition{Kind: reconcile.NeedNotAfter, Want: "soon"}, "not be applied after"},
		{"unknown", reconcile.Precondition{Kind: "moon_phase"}, "does not know"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := &reconcile.Plan{FormatVersion: reconcile.FormatVersion, Preconditions: []reconcile.Precondition{c.need}}
			err := p.Broken(snap, now)
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if !errors.Is(err, state.ErrStale) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
	if err := (&reconcile.Plan{FormatVersion: "2.0"}).Broken(snap, now); !errors.Is(err, state.ErrStale) {
		t.Errorf("a plan of another format: %v", err)
	}
	if err := (&reconcile.Plan{FormatVersion: "1.7", ExpiresAt: now.Add(-time.Minute)}).Broken(snap, now); !errors.Is(err, state.ErrStale) {
		t.Errorf("an expired plan: %v", err)
	}
}

func TestUnrecorded(t *testing.T) {
	spec := json.RawMessage(`{}`)
	p := &reconcile.Plan{Changes: []reconcile.Change{
		{Address: "device.new", Action: reconcile.Create, After: spec},
		{Address: "device.old", Action: reconcile.Update, After: spec, IfGeneration: 2},
		{Address: "device.b", Previous: "device.a", Action: reconcile.Move, After: spec, IfGeneration: 3},
		{Address: "device.gone", Action: reconcile.Forget, IfGeneration: 4},
		{Address: "store.nas", Action: reconcile.Create, After: spec, ByAction: true},
	}}
	before := map[string]state.Object{"device.old": {Generation: 2}, "device.a": {Generation: 3}, "device.gone": {Generation: 4}}
	if left := p.Unrecorded(&state.Snapshot{Objects: before}); len(left) != 4 {
		t.Errorf("%d changes are left before the write, want 4", len(left))
	}
	after := map[string]state.Object{"device.new": {Generation: 9}, "device.old": {Generation: 9}, "device.b": {Generation: 9}}
	if left := p.Unrecorded(&state.Snapshot{Objects: after}); len(left) != 0 {
		t.Errorf("left after the write: %v", left)
	}
	later := map[string]state.Object{"device.new": {Generation: 9}, "device.old": {Generation: 11}}
	if left := p.Unrecorded(&state.Snapshot{Objects: later}); len(left) != 0 {
		t.Errorf("left after a later plan: %v", left)
	}
	if c, ok := p.ByAction("store.nas"); !ok || c.Record("c0ffee", "ana", time.Time{}).Digest == "" {
		t.Error("the change of the store's action is lost")
	}
	if _, ok := p.ByAction("device.new"); ok {
		t.Error("a change that is recorded at once counts as an action's")
	}
	writes := map[reconcile.ChangeAction]state.ChangeOp{reconcile.Create: state.OpPut, reconcile.Update: state.OpPut, reconcile.Move: state.OpMove, reconcile.Forget: state.OpDelete}
	for _, c := range p.Changes {
		if got := c.Record("", "", time.Time{}); got.Op != writes[c.Action] || got.IfGeneration != c.IfGeneration || got.Previous != c.Previous {
			t.Errorf("%s of %s is written as %+v", c.Action, c.Address, got)
		}
	}
}
