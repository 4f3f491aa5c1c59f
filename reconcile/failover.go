package reconcile

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/state"
)

// movement is a role that this plan writes.
type movement struct {
	from, to config.Address // sites; from is empty when nothing was active
	epoch    int64
	action   int // index of the action
}

// newFailover looks at a failover that is not recorded. A role that is remembered from before stays what it is.
func (b *builder) newFailover(f *config.Failover, c *Change) {
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
func (b *builder) preferenceChange(f *config.Failover, rec state.Object, c *Change) {
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
	if c.Action == Move {
		b.errorf(f.Address, "HF-MOV-003", f.At("preferred"), "Renamed and moved at once",
			"%s was %s, and it is to prefer another side. One apply can do one of the two: rename it first, and change preferred afterwards.", f.Address, rec.Address)
		return
	}
	c.ByAction = true
	c.Class = ClassRole
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

// role is the recorded role of a group, under the addresses that the group and its sites have with this plan.
func (b *builder) role(a config.Address) (state.Role, bool) {
	role, ok := b.st.Roles[b.recordedAddress(a)]
	role.Active, role.MovingTo = b.current(role.Active), b.current(role.MovingTo)
	return role, ok
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
	b.plan.Changes = slices.DeleteFunc(b.plan.Changes, func(c Change) bool { // deferred or refused: nothing will record it
		return c.ByAction && config.Address(c.Address).Kind() == config.KindFailover && !b.planned[c.Address]
	})
}

func (b *builder) switchRole(f *config.Failover) {
	role, known := b.role(f.Address)
	reason := "prefers " + string(f.Preferred)
	open, running := b.running(f.Address)
	switch {
	case running:
		b.postpone(f.Address, ActionFailover, reason, "run "+open.ID+" of it, which has not ended", time.Time{})
	case !known:
		b.establish(f)
	case role.State != state.RoleSettled:
		b.postpone(f.Address, ActionFailover, reason, "its role, which is "+string(role.State), time.Time{})
	default:
		b.switchover(f, role, "the commit "+reason)
	}
}

// sight is what the targets of a group show together.
type sight struct {
	site     config.Address // where all of them that were seen are active; empty: none is
	epoch    int64          // the highest marker seen
	seen     bool           // any target was
	complete bool           // every target was
	conflict string         // they disagree, or show what no member is
}

// contradicts reports whether what was seen is not what is recorded.
func (s sight) contradicts(role state.Role) bool {
	return s.seen && (s.conflict != "" || string(s.site) != role.Active || s.epoch > role.Epoch)
}

// look puts together what the targets of a group show.
func (b *builder) look(f *config.Failover) sight {
	if s, ok := b.sights[f.Address]; ok {
		return s
	}
	s := sight{complete: true}
	for _, a := range f.Targets() {
		t, ok := config.Lookup[*config.FailoverTarget](b.doc, a)
		if !ok {
			continue
		}
		seen, ok := b.targetSeen(a)
		if !ok || seen.Error != "" {
			s.complete = false
			continue
		}
		s.epoch = max(s.epoch, seen.Epoch)
		site := siteOf(t, seen.Active)
		switch {
		case site == "" && seen.Active != "":
			s.conflict = fmt.Sprintf("%s says that %q is active, which is no member", a, seen.Active)
		case s.seen && site != s.site && s.conflict == "":
			s.conflict = fmt.Sprintf("%s is active at %s, another target of the group at %s", a, orNone(site), orNone(s.site))
		}
		s.site, s.seen = site, true
	}
	b.sights[f.Address] = s
	return s
}

// siteOf gives the site of a member, or "" when there is no such member.
func siteOf(t *config.FailoverTarget, member string) config.Address {
	for _, m := range t.Members {
		if m.Name == member {
			return m.Site
		}
	}
	return ""
}

func orNone(site config.Address) string {
	if site == "" {
		return "no site"
	}
	return string(site)
}

// establish plans the first role of a group: it adopts what is active, or makes the preferred side active where nothing is.
func (b *builder) establish(f *config.Failover) {
	s := b.look(f)
	switch {
	case !s.complete:
		b.plan.Complete = false
		b.postpone(f.Address, ActionFailover, "never recorded", "an inspection of its targets"+b.targetErrors(f), time.Time{})
	case s.conflict != "":
		b.errorf(f.Address, "HF-ROL-002", f.Range, "The targets disagree about the active side",
			"%s: %s. Bring all targets of the group to one side by hand, then plan again.", f.Address, s.conflict)
	case s.site == "":
		const reason = "nothing is active yet"
		if w := b.window(f.Window, workRole); b.mayStart(f.Address, ActionFailover, reason, w) {
			b.addMove(f, movement{to: f.Preferred, epoch: s.epoch + 1}, state.Role{}, w, ClassSafe, reason, state.TriggerApply, nil)
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
		b.postpone(f.Address, ActionFailover, reason, "an inspection of its targets"+b.targetErrors(f), time.Time{})
		return
	case s.contradicts(role):
		b.postpone(f.Address, ActionFailover, reason, "its targets, which do not show the recorded role", time.Time{})
		return
	}
	w := b.window(f.Window, workRole)
	if !b.mayStart(f.Address, ActionFailover, reason, w) {
		return
	}
	trigger := state.TriggerApply
	if b.plan.Mode == ModeRun {
		trigger = state.TriggerManual
	}
	after, waits := b.finalPasses(f, w, trigger)
	if waits != "" {
		b.postpone(f.Address, ActionFailover, reason, waits, time.Time{})
		return
	}
	b.addMove(f, movement{from: config.Address(role.Active), to: f.Preferred, epoch: role.Epoch + 1}, role, w, ClassRole, reason, trigger, after)
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
func (b *builder) addMove(f *config.Failover, mv movement, role state.Role, w opening, class Class, reason string, trigger state.Trigger, after []int) {
	args := func(target config.Address) MoveArgs {
		m := MoveArgs{
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
	steps := []Step{w.step, newStep("begin", OpRoleBegin, state.Rerun, args(""))}
	if mv.from != "" {
		for _, t := range freezeOrder(f) {
			steps = append(steps, newStep("freeze "+string(t), OpTargetFreeze, state.Rerun, args(t)))
		}
	}
	for _, t := range f.Targets() {
		steps = append(steps, newStep("switch "+string(t), OpTargetSwitch, state.Check, args(t)))
	}
	for _, t := range f.Targets() {
		steps = append(steps, newStep("verify "+string(t), OpTargetVerify, state.Rerun, args(t)))
	}
	steps = append(steps, newStep("settle", OpRoleSettle, state.Rerun, args("")))
	b.addRole(f, mv, class, reason, trigger, steps, after)
}

// addAdoption records what is active already, after verifying it.
func (b *builder) addAdoption(f *config.Failover, mv movement) {
	var steps []Step
	for _, a := range f.Targets() {
		t, ok := config.Lookup[*config.FailoverTarget](b.doc, a)
		if !ok {
			continue
		}
		b.use(a)
		b.needRecorded(a)
		m := t.Member(mv.to)
		steps = append(steps, newStep("verify "+string(a), OpTargetVerify, state.Rerun, MoveArgs{
			Failover: string(f.Address), Target: string(a), From: m.Name, To: m.Name, FromSite: string(mv.from), ToSite: string(mv.to), Epoch: mv.epoch,
		}))
	}
	steps = append(steps, newStep("settle", OpRoleSettle, state.Rerun, MoveArgs{
		Failover: string(f.Address), FromSite: string(mv.from), ToSite: string(mv.to), Epoch: mv.epoch, Reason: "adopted",
	}))
	b.addRole(f, mv, ClassSafe, "adopts "+string(mv.to)+", which is active", state.TriggerApply, steps, nil)
}

func (b *builder) addRole(f *config.Failover, mv movement, class Class, reason string, trigger state.Trigger, steps []Step, after []int) {
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
	mv.action = b.add(Action{
		Address: string(f.Address), Kind: ActionFailover, Class: class, Reason: reason, Trigger: trigger, After: after, Summary: summary,
		Tasks: []Task{{Kind: "failover", Stage: StageWork, Device: string(f.Address), Action: summary, Locks: locks, Steps: steps}},
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

// failovers reports every group whose role is worth a line, and what is wrong with it.
func (b *builder) failovers() {
	for _, f := range all[*config.Failover](b) {
		role, ok := b.role(f.Address)
		if !ok || !b.wants(f.Address) {
			continue
		}
		if line := b.roleStatus(f, role); line.Note != "" {
			b.plan.Roles = append(b.plan.Roles, line)
		}
	}
}

// roleStatus compares a recorded role with the preference and with what the targets show.
func (b *builder) roleStatus(f *config.Failover, role state.Role) RoleStatus {
	line := RoleStatus{
		Failover: string(f.Address), Active: role.Active, Preferred: string(f.Preferred), Epoch: role.Epoch, State: string(role.State), Since: role.Since,
	}
	s := b.look(f)
	switch {
	case s.epoch > role.Epoch && role.State == state.RoleSettled:
		b.errorf(f.Address, "HF-ROL-003", f.Range, "Reality is ahead of the record",
			"The targets of %s carry epoch %d, the recorded one is %d: this state is older than the last switchover, for example restored from a backup. Nothing is done until: holdfast state adopt %s",
			f.Address, s.epoch, role.Epoch, f.Address)
		line.State, line.Note = "conflict", fmt.Sprintf("the targets carry epoch %d", s.epoch)
	case role.State == state.RoleMoving:
		b.plan.Complete = false
		line.Note = fmt.Sprintf("run %s is moving it to %s", role.Run, role.MovingTo)
	case role.State == state.RoleUncertain:
		b.warnf(f.Address, "HF-ROL-004", f.Range, "The active side is uncertain",
			"A switchover of %s to %s ended with an unknown outcome (run %s: %s). Look at the targets, then either continue it with: holdfast apply --resume %s - or record what is active with: holdfast state adopt %s",
			f.Address, role.MovingTo, role.Run, role.Reason, role.Run, f.Address)
		line.Note = "a person decides"
	case s.contradicts(role):
		detail := s.conflict
		if detail == "" {
			detail = fmt.Sprintf("%s is recorded as active with epoch %d, but its targets show %s", role.Active, role.Epoch, orNone(s.site))
		}
		b.plan.Drift = append(b.plan.Drift, Drift{
			Address: string(f.Address), Summary: "its targets show another active side",
			Detail: detail + ". Nothing is done by itself: put the targets back, or record what they show with: holdfast state adopt " + string(f.Address),
		})
		line.State, line.Note = "conflict", detail
	case role.Active == string(f.Preferred) || b.planned[string(f.Address)]:
	case b.prefersAnew(f, role):
		line.Note = fmt.Sprintf("this commit prefers %s; the switchover is not part of this plan", f.Preferred)
	default:
		line.State = "displaced"
		line.Note = fmt.Sprintf("prefers %s; to return: holdfast run %s --allow=role", f.Preferred, f.Address)
	}
	return line
}

// prefersAnew reports whether the recorded configuration prefers the active side and the declared one does not.
func (b *builder) prefersAnew(f *config.Failover, role state.Role) bool {
	rec, ok := b.recorded[string(f.Address)]
	return ok && b.current(string(recordedPreference(rec.Spec))) == role.Active
}

// Adoption gives the role that a group's targets show, with an epoch above every marker and the recorded one, for an operator who
// decides to believe them.
func Adoption(in Input, f *config.Failover, reason string) (state.RoleChange, error) {
	b := newBuilder(in)
	s := b.look(f)
	switch {
	case !s.complete:
		return state.RoleChange{}, fmt.Errorf("not every target of %s can be inspected%s", f.Address, b.targetErrors(f))
	case s.conflict != "":
		return state.RoleChange{}, fmt.Errorf("the targets of %s disagree: %s", f.Address, s.conflict)
	case s.site == "":
		return state.RoleChange{}, fmt.Errorf("no side of %s is active: nothing to adopt", f.Address)
	}
	role, recorded := b.role(f.Address)
	epoch := max(role.Epoch, s.epoch)
	if !recorded || role.Active != string(s.site) || role.State != state.RoleSettled {
		epoch = max(role.Epoch+1, s.epoch)
	}
	return state.RoleChange{
		IfEpoch: role.Epoch,
		Role:    state.Role{Failover: string(f.Address), Active: string(s.site), Epoch: epoch, State: state.RoleSettled, Since: in.Now, Reason: reason},
	}, nil
}
