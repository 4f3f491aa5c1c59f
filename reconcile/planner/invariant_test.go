package planner_test

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/config/diag"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/reconcile/planner"
)

// failer is what *testing.T and *rapid.T have in common.
type failer interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// checkInvariants checks what must be true of every plan.
func checkInvariants(t failer, in planner.Input, p *reconcile.Plan, diags diag.List) {
	t.Helper()
	checkShape(t, p, diags)
	checkOpen(t, in, p)
	checkRoundTrip(t, p)
	again, _ := planner.Build(reversed(in))
	if p.Digest != again.Digest || asJSON(t, p) != asJSON(t, again) {
		t.Errorf("the plan depends on the order of declaration:\n%s\n%s", asJSON(t, p), asJSON(t, again))
	}
	if q, r := planner.Ask(in), planner.Ask(reversed(in)); !reflect.DeepEqual(q, r) {
		t.Errorf("the questions depend on the order of declaration: %v and %v", q, r)
	}
}

// checkShape checks what execution relies on.
func checkShape(t failer, p *reconcile.Plan, diags diag.List) {
	t.Helper()
	if p.Errored != diags.HasErrors() || p.Applyable && (p.Errored || p.Empty()) {
		t.Errorf("applyable %v, errored %v, empty %v with %d findings", p.Applyable, p.Errored, p.Empty(), len(diags))
	}
	seen := map[string]bool{}
	for i, a := range p.Actions {
		if seen[a.Address] {
			t.Errorf("%s has two actions", a.Address)
		}
		seen[a.Address] = true
		for _, j := range a.After {
			if j < 0 || j >= i {
				t.Errorf("action %d of %s waits for action %d", i, a.Address, j)
			}
		}
		for _, task := range a.Tasks {
			if (task.Skip == nil) == (len(task.Steps) == 0) {
				t.Errorf("a task of %s has %d steps and skip %v", a.Address, len(task.Steps), task.Skip)
			}
			for _, s := range task.Steps {
				for _, address := range addressesOf(t, s) {
					if _, ok := p.Objects[address]; !ok {
						t.Errorf("step %s of %s needs %s, which is not in the plan", s.Name, a.Address, address)
					}
				}
			}
		}
	}
	for _, c := range p.Changes {
		if c.ByAction && !seen[c.Address] && p.Mode == reconcile.ModeApply && !p.Errored {
			t.Errorf("%s is to be recorded by its action, but has none", c.Address)
		}
	}
}

// addressesOf lists the objects whose specification a step's provider is opened with.
func addressesOf(t failer, s reconcile.Step) []string {
	t.Helper()
	var args struct{ Device, Store, Mirror, Target, Failover string }
	if s.Op == reconcile.OpWindow || s.Op == reconcile.OpScript {
		return nil
	}
	if s.Op == reconcile.OpMirrorCopy || s.Op == reconcile.OpMirrorPrune || s.Op == reconcile.OpMirrorRecord {
		var m reconcile.MirrorArgs
		if err := json.Unmarshal(s.Args, &m); err != nil {
			t.Fatalf("arguments of %s: %v", s.Name, err)
		}
		return []string{m.Mirror}
	}
	if err := json.Unmarshal(s.Args, &args); err != nil {
		t.Fatalf("arguments of %s: %v", s.Name, err)
	}
	all := []string{args.Device, args.Store, args.Target, args.Failover}
	return slices.DeleteFunc(all, func(a string) bool { return a == "" })
}

// checkOpen checks that nothing starts outside its window or in a freeze.
func checkOpen(t failer, in planner.Input, p *reconcile.Plan) {
	t.Helper()
	for _, a := range p.Actions {
		for _, task := range a.Tasks {
			for _, s := range task.Steps {
				if s.Op != reconcile.OpWindow {
					continue
				}
				var w reconcile.WindowArgs
				if err := json.Unmarshal(s.Args, &w); err != nil {
					t.Fatalf("arguments of %s: %v", s.Name, err)
				}
				if o, err := w.Check(in.Now); err != nil || !o.Open {
					t.Errorf("%s starts although it waits for %s (%v)", a.Address, o.Waits, err)
				}
			}
		}
		if needsWindow(a) && !slices.ContainsFunc(a.Tasks, func(task reconcile.Task) bool {
			return slices.ContainsFunc(task.Steps, func(s reconcile.Step) bool { return s.Op == reconcile.OpWindow })
		}) {
			t.Errorf("%s never asks for its window", a.Address)
		}
	}
}

// needsWindow reports whether an action acts on things that windows and freezes protect.
func needsWindow(a reconcile.Action) bool {
	switch a.Kind {
	case reconcile.ActionMirror:
		return true
	case reconcile.ActionFailover:
		return !strings.HasPrefix(a.Reason, "adopts ")
	case reconcile.ActionBackup:
		return slices.ContainsFunc(a.Tasks, func(t reconcile.Task) bool { return t.Kind == "backup" && t.Skip == nil })
	}
	return false
}

// checkRoundTrip checks that a saved plan is the plan.
func checkRoundTrip(t failer, p *reconcile.Plan) {
	t.Helper()
	body, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		t.Fatalf("encode: %v", err)
	}
	var back reconcile.Plan
	if err := json.Unmarshal(body, &back); err != nil {
		t.Fatalf("decode: %v", err)
	}
	if err := back.Intact(); err != nil {
		t.Errorf("the saved plan is not intact: %v", err)
	}
	if got, want := asJSON(t, &back), asJSON(t, p); got != want {
		t.Errorf("the saved plan differs:\n%s\n%s", got, want)
	}
}

func asJSON(t failer, v any) string {
	t.Helper()
	body, err := json.Marshal(v)
	if err != nil {
		t.Fatalf("encode: %v", err)
	}
	return string(body)
}

// reversed gives the same input, declared the other way round.
func reversed(in planner.Input) planner.Input {
	d := in.Doc
	in.Doc = &config.Document{
		Settings: d.Settings, State: d.State, Secrets: backwards(d.Secrets), Sites: backwards(d.Sites), Devices: backwards(d.Devices),
		Stores: backwards(d.Stores), Windows: backwards(d.Windows), Freezes: backwards(d.Freezes), BackupPlans: backwards(d.BackupPlans),
		Retentions: backwards(d.Retentions), Mirrors: backwards(d.Mirrors), FailoverTargets: backwards(d.FailoverTargets),
		Failovers: backwards(d.Failovers), Moved: backwards(d.Moved), Removed: backwards(d.Removed),
	}
	st := *in.State
	st.OpenRuns = slices.Clone(st.OpenRuns)
	in.State = &st
	return in
}

func backwards[T any](s []T) []T {
	s = slices.Clone(s)
	slices.Reverse(s)
	return s
}
