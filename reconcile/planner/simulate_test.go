package planner_test

import (
	"encoding/json"
	"maps"

	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/reconcile/planner"
	"github.com/holdfast-dr/holdfast/state"
)

// simulate gives the input that follows when the plan of an input is applied and everything goes well: a small model of
// what reconcile/execute records and of what providers would show afterwards.
func simulate(t failer, in planner.Input) planner.Input {
	t.Helper()
	p, _ := planner.Build(in)
	if p.Errored {
		t.Fatalf("the plan has errors: %s", findings(p.Findings))
	}
	m := newModel(in)
	for _, c := range p.Changes {
		if !c.ByAction {
			m.record(c, p.Config.Commit)
		}
	}
	for _, a := range p.Actions {
		m.act(t, a)
		if c, ok := p.ByAction(a.Address); ok {
			m.record(c, p.Config.Commit)
		}
	}
	in.State, in.Inventory = m.st, m.inv
	return in
}

type model struct {
	in  planner.Input
	st  *state.Snapshot
	inv *reconcile.Inventory
}

func newModel(in planner.Input) *model {
	st := *in.State
	st.Objects, st.Roles, st.Positions, st.Cursors = clone(st.Objects), clone(st.Roles), clone(st.Positions), clone(st.Cursors)
	inv := reconcile.Inventory{}
	if in.Inventory != nil {
		inv = *in.Inventory
	}
	inv.Devices, inv.Stores, inv.Mirrors, inv.Targets = clone(inv.Devices), clone(inv.Stores), clone(inv.Mirrors), clone(inv.Targets)
	return &model{in: in, st: &st, inv: &inv}
}

func clone[V any](m map[string]V) map[string]V {
	if m == nil {
		return map[string]V{}
	}
	return maps.Clone(m)
}

func (m *model) record(c reconcile.Change, commit string) {
	m.st.Meta.Generation++
	w := c.Record(commit, "ana", m.in.Now)
	old := m.st.Objects[w.Address]
	switch w.Op {
	case state.OpDelete:
		delete(m.st.Objects, w.Address)
		delete(m.st.Cursors, w.Address)
		delete(m.st.Positions, w.Address)
		return
	case state.OpMove:
		old = m.st.Objects[w.Previous]
		m.rename(w.Previous, w.Address)
	}
	o := recordOf(w, m.st.Meta.Generation)
	if o.Identity == "" {
		o.Identity = old.Identity
	}
	m.st.Objects[w.Address] = o
	if c := m.st.Cursors[w.Address]; w.Restart && !c.At.After(w.At) {
		m.st.Cursors[w.Address] = state.Cursor{Address: w.Address, At: w.At}
	}
}

func (m *model) rename(from, to string) {
	move(m.st.Objects, from, to)
	move(m.st.Cursors, from, to)
	move(m.st.Positions, from, to)
	move(m.st.Roles, from, to)
	for a, r := range m.st.Roles {
		if r.Active == from {
			r.Active = to
		}
		m.st.Roles[a] = r
	}
}

func move[V any](all map[string]V, from, to string) {
	delete(all, to)
	if v, ok := all[from]; ok {
		all[to] = v
		delete(all, from)
	}
}

func (m *model) act(t failer, a reconcile.Action) {
	if a.Trigger == state.TriggerSchedule && !a.DueAt.Before(m.st.Cursors[a.Address].At) {
		m.st.Cursors[a.Address] = state.Cursor{Address: a.Address, Nominal: a.Nominal, At: a.DueAt}
	}
	for _, task := range a.Tasks {
		for _, s := range task.Steps {
			m.step(t, s)
		}
	}
}

func (m *model) step(t failer, s reconcile.Step) {
	switch s.Op {
	case reconcile.OpStoreInit:
		args := read[reconcile.StoreArgs](t, s)
		m.inv.Stores[args.Store] = reconcile.StoreSeen{Initialised: true, Identity: args.Identity}
	case reconcile.OpMirrorRecord:
		args := read[reconcile.MirrorArgs](t, s)
		if role := m.st.Roles[args.Failover]; args.Failover != "" && (role.Epoch != args.Epoch || role.State != state.RoleSettled) {
			t.Fatalf("a pass of %s with epoch %d, the role has %d (%s)", args.Mirror, args.Epoch, role.Epoch, role.State)
		}
		m.st.Positions[args.Mirror] = state.Position{Mirror: args.Mirror, At: m.in.Now, Source: args.Source, Target: args.Target}
	case reconcile.OpTargetSwitch:
		args := read[reconcile.MoveArgs](t, s)
		seen := m.inv.Targets[args.Target]
		seen.Active, seen.Epoch = args.To, args.Epoch
		m.inv.Targets[args.Target] = seen
	case reconcile.OpRoleSettle:
		args := read[reconcile.MoveArgs](t, s)
		if role := m.st.Roles[args.Failover]; role.Epoch != args.IfEpoch || role.Epoch != 0 && role.Active != args.FromSite {
			t.Fatalf("%s moves from %s with epoch %d, recorded are %s and %d", args.Failover, args.FromSite, args.IfEpoch, role.Active, role.Epoch)
		}
		m.st.Roles[args.Failover] = state.Role{Failover: args.Failover, Active: args.ToSite, Epoch: args.Epoch, State: state.RoleSettled, Since: m.in.Now}
	}
}

func read[T any](t failer, s reconcile.Step) T {
	t.Helper()
	var args T
	if err := json.Unmarshal(s.Args, &args); err != nil {
		t.Fatalf("arguments of %s: %v", s.Name, err)
	}
	return args
}
