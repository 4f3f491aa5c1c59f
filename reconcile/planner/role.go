package planner

import (
	"fmt"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/state"
)

// role is the recorded role of a group, under the addresses that the group and its sites have with this plan.
func (b *builder) role(a config.Address) (state.Role, bool) {
	role, ok := b.st.Roles[b.recordedAddress(a)]
	role.Active, role.MovingTo = b.current(role.Active), b.current(role.MovingTo)
	return role, ok
}

// sight is what the targets of a group show together.
type sight struct {
	site     config.Address // where all of them that were seen are active; empty: none is
	epoch    int64          // the highest marker seen
	seen     bool           // any target was
	complete bool           // every target was
	conflict string         // they disagree, or show what no member is
	broken   string         // why the active side cannot serve
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
		if seen.Broken != "" {
			s.broken = fmt.Sprintf("%s: %s", a, seen.Broken)
		}
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
func (b *builder) roleStatus(f *config.Failover, role state.Role) reconcile.RoleStatus {
	line := reconcile.RoleStatus{
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
		b.plan.Drift = append(b.plan.Drift, reconcile.Drift{
			Address: string(f.Address), Summary: "its targets show another active side",
			Detail: detail + ". Nothing is done by itself: put the targets back, or record what they show with: holdfast state adopt " + string(f.Address),
		})
		line.State, line.Note = "conflict", detail
	case s.broken != "":
		b.plan.Drift = append(b.plan.Drift, reconcile.Drift{
			Address: string(f.Address), Summary: "its active side cannot serve",
			Detail: s.broken + ". Bring it back, or prefer another side in the configuration and apply that with --allow=role",
		})
		line.Note = s.broken
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
