package reconcile

import (
	"fmt"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/config/diag"
	"github.com/holdfast-dr/holdfast/state"
)

// runOne plans the work of one object now, whether it is due or not. Windows and freezes hold.
func (b *builder) runOne(a config.Address) {
	i, ok := b.byAddr[a]
	if !ok {
		var known []string
		for _, d := range b.desired {
			known = append(known, string(d.addr))
		}
		b.diags.Errorf("HF-RUN-001", diag.Range{}, "No such object", "%s is not declared.%s", a, didYouMean(string(a), known))
		return
	}
	b.requireApplied(a)
	reason := "asked for"
	if b.in.Options.Operator != "" {
		reason = "asked for by " + b.in.Options.Operator
	}
	if open, ok := b.running(a); ok {
		b.postpone(a, "", reason, "run "+open.ID+" of it, which has not ended", b.now)
		return
	}
	switch o := b.desired[i].object.(type) {
	case *config.BackupPlan:
		if b.mayStart(a, ActionBackup, reason, b.window(o.Window, workBackup)) {
			b.addBackup(o, Action{Address: string(a), Kind: ActionBackup, Class: ClassSafe, Reason: reason, Trigger: state.TriggerManual})
		}
	case *config.Mirror:
		r := b.route(o)
		if r.waits != "" {
			b.postpone(a, ActionMirror, reason, r.waits, b.now)
		} else if b.mirrorSafe(o, r) && b.mayStart(a, ActionMirror, reason, b.window(o.Window, workMirror)) {
			b.addMirror(o, r, reason, state.TriggerManual)
		}
	case *config.Failover:
		role, ok := b.role(a)
		switch {
		case !ok || role.State != state.RoleSettled:
			b.postpone(a, ActionFailover, reason, "its role, which is "+roleText(role, ok), b.now)
		case role.Active == string(o.Preferred):
			b.diags.Errorf("HF-RUN-003", o.At("preferred"), "It is where it belongs",
				"%s is active at %s, the preferred side. To move it, change preferred in the configuration and apply.", a, role.Active)
		default:
			b.switchover(o, role, reason)
		}
		b.failovers()
	default:
		b.diags.Errorf("HF-RUN-002", o.Head().Range, "Nothing to run", "%s is a %s; only a backup_plan, a mirror or a failover can be run.", a, a.Kind())
	}
}

func roleText(r state.Role, recorded bool) string {
	if !recorded {
		return "not recorded yet"
	}
	return string(r.State)
}

// requireApplied refuses to run what was reviewed nowhere: the object and all it refers to must be recorded as declared.
func (b *builder) requireApplied(a config.Address) {
	seen := map[config.Address]bool{}
	var check func(a config.Address)
	check = func(a config.Address) {
		i, ok := b.byAddr[a]
		if !ok || seen[a] {
			return
		}
		seen[a] = true
		rec, recorded := b.recorded[string(a)]
		what := ""
		if !recorded {
			what = "is not applied yet"
		} else if rec.Digest != b.desired[i].digest {
			what = "has changes that are not applied"
		}
		if what != "" {
			b.diags.Errorf("HF-RUN-004", b.desired[i].object.Head().Range, "Not applied", "%s %s. Run holdfast apply first.", a, what)
		}
		for _, ref := range b.references(b.desired[i].object) {
			check(ref)
		}
	}
	check(a)
	b.need(Precondition{Kind: NeedGeneration, Address: string(a), Want: fmt.Sprint(b.recorded[string(a)].Generation)})
}
