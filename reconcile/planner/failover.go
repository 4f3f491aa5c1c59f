package planner

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/state"
)

// movement is a role that this plan writes.
type movement struct {
	from, to config.Address // sites; from is empty when nothing was active
	epoch    int64
	action   int // index of the action
}

// newFailover looks at a failover that is not recorded. A role that is remembered from before stays what it is.
func (b *builder) newFailover(f *config.Failover, c *reconcile.Change) {
	role, ok := b.role(f.Address)
	if !ok {
		c.ByAction = true
		return
	}
	if b.activeStays(f, role) {
		c.Note = fmt.Sprintf("its role is remembered: %s is active with epoch %d", role.Active, role.Epoch)
	}
}

// activeStays refuses a failover that no longer lists the side that is active.
func (b *builder) activeStays(f *config.Failover, role state.Role) bool {
	if slices.Contains(f.Sites(), config.Address(role.Active)) || role.Active == "" {
		return true
	}
	b.errorf(f.Address, "HF-ROL-001", f.At("preferred"), "The active side would be removed",
		"%s is active at %s, which this commit does not list. List that site as standby and apply; take it out when the role has moved.", f.Address, role.Active)
	return false
}

// preferenceChange looks at an update of a recorded failover: a commit that prefers another site is a planned switchover,
// one that prefers the active site ends a displacement.
func (b *builder) preferenceChange(f *config.Failover, rec state.Object, c *reconcile.Change) {
	role, ok := b.role(f.Address)
	if !ok {
		c.ByAction = true // never established: the action that establishes the role records it
		return
	}
	if !b.activeStays(f, role) || b.current(string(recordedPreference(rec.Spec))) == string(f.Preferred) {
		return
	}
	if string(f.Preferred) == role.Active {
		c.Note = "prefers the side that is active: the displacement ends"
		return
	}
	if c.Action == reconcile.Move {
		b.errorf(f.Address, "HF-MOV-003", f.At("preferred"), "Renamed and moved at once",
			"%s was %s, and it is to prefer another side. One apply can do one of the two: rename it first, and change preferred afterwards.", f.Address, rec.Address)
		return
	}
	c.ByAction = true
	c.Class = reconcile.ClassRole
	c.Note = "prefers the other side: planned switchover"
}

func recordedPreference(spec json.RawMessage) config.Address {
	var old struct {
		Preferred config.Address `json:"preferred"`
	}
	if json.Unmarshal(spec, &old) != nil {
		return ""
	}
	return old.Preferred
}

// switchRoles plans what writes roles. It runs before mirrors are planned, since their direction follows the role.
func (b *builder) switchRoles() {
	byAction := map[string]bool{}
	for _, c := range b.plan.Changes {
		byAction[c.Address] = c.ByAction
	}
	for _, f := range all[*config.Failover](b) {
		if byAction[string(f.Address)] {
			b.switchRole(f)
		}
	}
	b.plan.Changes = slices.DeleteFunc(b.plan.Changes, func(c reconcile.Change) bool { // deferred or refused: nothing will record it
		return c.ByAction && config.Address(c.Address).Kind() == config.KindFailover && !b.planned[c.Address]
	})
}

func (b *builder) switchRole(f *config.Failover) {
	role, known := b.role(f.Address)
	reason := "prefers " + string(f.Preferred)
	open, running := b.running(f.Address)
	switch {
	case running:
		b.postpone(f.Address, reconcile.ActionFailover, reason, "run "+open.ID+" of it, which has not ended", time.Time{})
	case !known:
		b.establish(f)
	case role.State != state.RoleSettled:
		b.postpone(f.Address, reconcile.ActionFailover, reason, "its role, which is "+string(role.State), time.Time{})
	default:
		b.switchover(f, role, "the commit "+reason)
	}
}

// establish plans the first role of a group: it adopts what is active, or makes the preferred side active where nothing is.
func (b *builder) establish(f *config.Failover) {
	s := b.look(f)
	switch {
	case !s.complete:
		b.plan.Complete = false
		b.postpone(f.Address, reconcile.ActionFailover, "never recorded", "an inspection of its targets"+b.targetErrors(f), time.Time{})
	case s.conflict != "":
		b.errorf(f.Address, "HF-ROL-002", f.Range, "The targets disagree about the active side",
			"%s: %s. Bring all targets of the group to one side by hand, then plan again.", f.Address, s.conflict)
	case s.site == "":
		const reason = "nothing is active yet"
		if w := b.window(f.Window, workRole); b.mayStart(f.Address, reconcile.ActionFailover, reason, w) {
			b.addMove(f, movement{to: f.Preferred, epoch: s.epoch + 1}, state.Role{}, w, reconcile.ClassSafe, reason, state.TriggerApply, nil)
		}
	case b.activeStays(f, state.Role{Active: string(s.site)}):
		b.addAdoption(f, movement{from: s.site, to: s.site, epoch: max(s.epoch, 1)})
	}
}

func (b *builder) targetErrors(f *config.Failover) string {
	var texts []string
	for _, a := range f.Targets() {
		if seen, ok := b.inv.Targets[string(a)]; ok && seen.Error != "" {
			texts = append(texts, seen.Error)
		}
	}
	if len(texts) == 0 {
		return ""
	}
	return ": " + strings.Join(texts, "; ")
}

// switchover plans a move of the role to the preferred side, after a final pass of the mirrors that follow it.
func (b *builder) switchover(f *config.Failover, role state.Role, reason string) {
	s := b.look(f)
	switch {
	case !s.complete:
		b.plan.Complete = false
		b.postpone(f.Address, reconcile.ActionFailover, reason, "an inspection of its targets"+b.targetErrors(f), time.Time{})
		return
	case s.contradicts(role):
		b.postpone(f.Address, reconcile.ActionFailover, reason, "its targets, which do not show the recorded role", time.Time{})
		return
	}
	w := b.window(f.Window, workRole)
	if !b.mayStart(f.Address, reconcile.ActionFailover, reason, w) {
		return
	}
	trigger := state.TriggerApply
	if b.plan.Mode == reconcile.ModeRun {
		trigger = state.TriggerManual
	}
	after, waits := b.finalPasses(f, w, trigger)
	if waits != "" {
		b.postpone(f.Address, reconcile.ActionFailover, reason, waits, time.Time{})
		return
	}
	b.addMove(f, movement{from: config.Address(role.Active), to: f.Preferred, epoch: role.Epoch + 1}, role, w, reconcile.ClassRole, reason, trigger, after)
}

// finalPasses adds one pass of every mirror that follows a group, within the window of the switchover that comes after them.
// When one of them cannot be made it adds none and says what the switchover waits for.
func (b *builder) finalPasses(f *config.Failover, w opening, trigger state.Trigger) (after []int, waits string) {
	routes := make([]route, len(b.followers[f.Address]))
	for i, m := range b.followers[f.Address] {
		routes[i] = b.route(m)
		open, running := b.running(m.Address)
		switch {
		case !b.wants(m.Address):
			return nil, "a final pass of " + string(m.Address) + ", which is left out of this plan"
		case running:
			return nil, "run " + open.ID + " of " + string(m.Address) + ", which has not ended"
		case routes[i].waits != "":
			return nil, routes[i].waits
		}
	}
	for i, m := range b.followers[f.Address] {
		after = append(after, b.addMirror(m, routes[i], w, "final pass before the switchover of "+string(f.Address), trigger))
	}
	return after, ""
}

// addMove adds the ordered steps of a switch: freeze, switch, verify, and the role with its epoch in one transaction.
func (b *builder) addMove(f *config.Failover, mv movement, role state.Role, w opening, class reconcile.Class, reason string, trigger state.Trigger, after []int) {
	args := func(target config.Address) reconcile.MoveArgs {
		m := reconcile.MoveArgs{
			Failover: string(f.Address), Target: string(target), FromSite: string(mv.from), ToSite: string(mv.to),
			IfEpoch: role.Epoch, Epoch: mv.epoch, Reason: reason,
		}
		if t, ok := config.Lookup[*config.FailoverTarget](b.doc, target); ok {
			if from := t.Member(mv.from); from != nil {
				m.From = from.Name
			}
			if to := t.Member(mv.to); to != nil {
				m.To = to.Name
			}
			b.use(target)
			b.needRecorded(target)
		}
		return m
	}
	steps := []reconcile.Step{w.step, reconcile.NewStep("begin", reconcile.OpRoleBegin, state.Rerun, args(""))}
	if mv.from != "" {
		for _, t := range freezeOrder(f) {
			steps = append(steps, reconcile.NewStep("freeze "+string(t), reconcile.OpTargetFreeze, state.Rerun, args(t)))
		}
	}
	for _, t := range f.Targets() {
		steps = append(steps, reconcile.NewStep("switch "+string(t), reconcile.OpTargetSwitch, state.Check, args(t)))
	}
	for _, t := range f.Targets() {
		steps = append(steps, reconcile.NewStep("verify "+string(t), reconcile.OpTargetVerify, state.Rerun, args(t)))
	}
	steps = append(steps, reconcile.NewStep("settle", reconcile.OpRoleSettle, state.Rerun, args("")))
	b.addRole(f, mv, class, reason, trigger, steps, after)
}

// addAdoption records what is active already, after marking and verifying it. The marks come first: by them a target tells that this move is done.
func (b *builder) addAdoption(f *config.Failover, mv movement) {
	var steps []reconcile.Step
	add := func(verb string, op reconcile.Op, class state.Class) {
		for _, a := range f.Targets() {
			t, ok := config.Lookup[*config.FailoverTarget](b.doc, a)
			if !ok {
				continue
			}
			m := t.Member(mv.to)
			steps = append(steps, reconcile.NewStep(verb+" "+string(a), op, class, reconcile.MoveArgs{
				Failover: string(f.Address), Target: string(a), From: m.Name, To: m.Name, FromSite: string(mv.from), ToSite: string(mv.to), Epoch: mv.epoch,
			}))
			b.use(a)
			b.needRecorded(a)
		}
	}
	add("mark", reconcile.OpTargetSwitch, state.Check)
	add("verify", reconcile.OpTargetVerify, state.Rerun)
	steps = append(steps, reconcile.NewStep("settle", reconcile.OpRoleSettle, state.Rerun, reconcile.MoveArgs{
		Failover: string(f.Address), FromSite: string(mv.from), ToSite: string(mv.to), Epoch: mv.epoch, Reason: "adopted",
	}))
	b.addRole(f, mv, reconcile.ClassSafe, "adopts "+string(mv.to)+", which is active", state.TriggerApply, steps, nil)
}

func (b *builder) addRole(f *config.Failover, mv movement, class reconcile.Class, reason string, trigger state.Trigger, steps []reconcile.Step, after []int) {
	b.use(f.Address)
	b.needRecorded(f.Address)
	role, _ := b.role(f.Address)
	b.needEpoch(f.Address, role.Epoch)
	locks := []string{lockName(f.Address)}
	for _, t := range f.Targets() {
		locks = append(locks, lockName(t))
	}
	summary := fmt.Sprintf("%s -> %s, epoch %d", orNone(mv.from), mv.to, mv.epoch)
	switch {
	case mv.from == mv.to && mv.to != f.Preferred:
		summary = fmt.Sprintf("%s stays active, epoch %d; preferred is %s", mv.to, mv.epoch, f.Preferred)
	case mv.from == mv.to:
		summary = fmt.Sprintf("%s stays active, epoch %d", mv.to, mv.epoch)
	}
	mv.action = b.add(reconcile.Action{
		Address: string(f.Address), Kind: reconcile.ActionFailover, Class: class, Reason: reason, Trigger: trigger, After: after, Summary: summary,
		Tasks: []reconcile.Task{{Kind: "failover", Stage: reconcile.StageWork, Device: string(f.Address), Action: summary, Locks: locks, Steps: steps}},
	})
	b.moves[f.Address] = mv
}

// freezeOrder gives the targets whose writers are stopped first: those of the step named freeze, or all in reverse.
func freezeOrder(f *config.Failover) []config.Address {
	for _, s := range f.Steps {
		if s.Name == config.StepFreeze {
			return s.Targets
		}
	}
	all := slices.Clone(f.Targets())
	slices.Reverse(all)
	return all
}
