package planner

import (
	"time"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/config/diag"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/state"
)

// runOne plans the work of one object now, whether it is due or not. Windows and freezes hold.
func (b *builder) runOne(a config.Address) {
	i, ok := b.byAddr[a]
	if !ok {
		b.errorf(a, "HF-RUN-001", diag.Range{}, "No such object", "%s is not declared.%s", a, didYouMean(string(a), b.known()))
		return
	}
	reason := "asked for"
	if b.in.Options.Operator != "" {
		reason = "asked for by " + b.in.Options.Operator
	}
	if bp, ok := b.desired[i].Object.(*config.BackupPlan); ok && b.stopped(bp, reason) {
		return
	}
	roots := []config.Address{a}
	for _, m := range b.followers[a] {
		roots = append(roots, m.Address)
	}
	b.requireApplied(roots)
	open, running := b.running(a)
	waits := "run " + open.ID + " of it, which has not ended"
	switch o := b.desired[i].Object.(type) {
	case *config.BackupPlan:
		if running {
			b.postpone(a, reconcile.ActionBackup, reason, waits, time.Time{})
		} else {
			b.runBackup(o, reason)
		}
	case *config.Mirror:
		if running {
			b.postpone(a, reconcile.ActionMirror, reason, waits, time.Time{})
		} else {
			b.runMirror(o, reason)
		}
	case *config.Failover:
		if running {
			b.postpone(a, reconcile.ActionFailover, reason, waits, time.Time{})
		} else {
			b.runFailover(o, reason)
		}
		b.failovers()
	default:
		b.errorf(a, "HF-RUN-002", o.Head().Range, "Nothing to run", "%s is a %s; only a backup_plan, a mirror or a failover can be run.", a, a.Kind())
	}
}

// runBackup plans a backup by hand. When so many nominal times passed that the schedule is held, this is the person's word that
// the clock is right: the run takes the newest of them, and the schedule goes on from there.
func (b *builder) runBackup(bp *config.BackupPlan, reason string) {
	a := reconcile.Action{Address: string(bp.Address), Kind: reconcile.ActionBackup, Class: reconcile.ClassSafe, Reason: reason, Trigger: state.TriggerManual}
	if due, ok := b.due(bp); ok && due.held {
		a.Reason += "; " + due.reason
		a.Trigger, a.TriggerKey, a.Nominal, a.DueAt = state.TriggerSchedule, due.nominal, due.nominal, due.at.UTC()
	}
	if b.mayStart(bp.Address, reconcile.ActionBackup, reason, b.window(bp.Window, workBackup)) {
		b.addBackup(bp, a)
	}
}

func (b *builder) runMirror(m *config.Mirror, reason string) {
	r := b.route(m)
	if r.waits != "" {
		b.postpone(m.Address, reconcile.ActionMirror, reason, r.waits, time.Time{})
		return
	}
	w := b.window(m.Window, workMirror)
	if b.mirrorSafe(m, r) && b.mayStart(m.Address, reconcile.ActionMirror, reason, w) {
		b.addMirror(m, r, w, reason, state.TriggerManual)
	}
}

func (b *builder) runFailover(f *config.Failover, reason string) {
	role, ok := b.role(f.Address)
	switch {
	case !ok || role.State != state.RoleSettled:
		b.postpone(f.Address, reconcile.ActionFailover, reason, "its role, which is "+roleText(role, ok), time.Time{})
	case role.Active == string(f.Preferred):
		b.errorf(f.Address, "HF-RUN-003", f.At("preferred"), "It is where it belongs",
			"%s is active at %s, the preferred side. To move it, change preferred in the configuration and apply.", f.Address, role.Active)
	default:
		b.switchover(f, role, reason)
	}
}

func roleText(r state.Role, recorded bool) string {
	if !recorded {
		return "not recorded yet"
	}
	return string(r.State)
}

// requireApplied refuses to run what was reviewed nowhere: the objects and all they refer to must be recorded as declared.
func (b *builder) requireApplied(roots []config.Address) {
	seen := map[config.Address]bool{}
	var check func(a config.Address)
	check = func(a config.Address) {
		i, ok := b.byAddr[a]
		if !ok || seen[a] {
			return
		}
		seen[a] = true
		if !b.applied(a) {
			what := "has changes that are not applied"
			if _, recorded := b.recorded[string(a)]; !recorded {
				what = "is not applied yet"
			} else if b.recordedAddress(a) != string(a) {
				what = "was " + b.recordedAddress(a) + ", and its new address is not applied yet"
			}
			b.errorf(a, "HF-RUN-004", b.desired[i].Object.Head().Range, "Not applied", "%s %s. Run holdfast apply first.", a, what)
		}
		for _, ref := range b.references(b.desired[i].Object) {
			check(ref)
		}
	}
	for _, a := range roots {
		check(a)
		b.needRecorded(a)
	}
}
