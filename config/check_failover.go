package config

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-dr/holdfast/config/diag"
	"github.com/holdfast-dr/holdfast/config/schedule"
)

func (c *checker) failoverTarget(t *FailoverTarget) {
	if len(t.Members) < 2 {
		c.errorf(badMembers, &t.Header, "", "%s has %d of at least two members. Each member is one place it can run, such as member \"berlin\" { site = site.berlin }.", t.Address, len(t.Members))
	}
	bySite := map[Address]string{}
	for i, m := range t.Members {
		if first, twice := bySite[m.Site]; twice {
			c.errorf(badMembers, &t.Header, fmt.Sprintf("member[%d].site", i), "The members %q and %q of %s are both at %s. A target has one member per site.", first, m.Name, t.Address, m.Site)
			continue
		}
		bySite[m.Site] = m.Name
	}
}

func (c *checker) failover(f *Failover) {
	if len(f.Standby) == 0 {
		c.errorf(badSites, &f.Header, "standby", "%s has no standby site, so there is nowhere to go. Write standby = [site.NAME].", f.Address)
	}
	if i := slices.Index(f.Standby, f.Preferred); i >= 0 {
		c.errorf(badSites, &f.Header, fmt.Sprintf("standby[%d]", i), "%s is the preferred site of %s, so it cannot be one of the others as well. Remove it from standby.", f.Preferred, f.Address)
	}
	if f.Mode != "" && f.Mode != "manual" {
		c.warnf(modeLimited, &f.Header, "mode", "This version executes planned switchovers only, so mode = %q acts like \"manual\": nothing moves until a person asks for it.", f.Mode)
	}
	switches := 0
	inStep := map[Address]string{}
	judged := map[Address]bool{}
	for i, s := range f.Steps {
		path := fmt.Sprintf("step[%d]", i)
		if len(s.Targets) == 0 {
			c.errorf(badSteps, &f.Header, path, "The step %q has no targets. Write targets = [failover_target.NAME].", s.Name)
		}
		if s.Name != StepFreeze {
			switches++
		}
		for j, t := range s.Targets {
			at := fmt.Sprintf("%s.targets[%d]", path, j)
			c.stepTarget(f, s, t, at, inStep)
			if !judged[t] {
				judged[t] = true
				c.memberEverywhere(f, t, at)
			}
		}
	}
	if switches == 0 {
		c.errorf(badSteps, &f.Header, "", "%s switches nothing, because it has no step besides freeze. Write for example step \"data\" { targets = [failover_target.NAME] }.", f.Address)
	}
}

// stepTarget checks one target of one step. inStep holds the steps that switch a target.
func (c *checker) stepTarget(f *Failover, s *FailoverStep, t Address, path string, inStep map[Address]string) {
	if other, taken := c.groups[t]; taken && other != f {
		c.errorf(targetTwice, &f.Header, path, "%s belongs to %s already (%s). Two groups could move it to different sites.", t, other.Address, other.Range)
		return
	}
	c.groups[t] = f
	if s.Name != StepFreeze {
		if first, twice := inStep[t]; twice {
			c.errorf(targetTwice, &f.Header, path, "%s is switched by the step %q already. A switchover moves each target once.", t, first)
			return
		}
		inStep[t] = s.Name
	}
}

// memberEverywhere checks that a target can run at every site of the group.
func (c *checker) memberEverywhere(f *Failover, t Address, path string) {
	target, ok := Lookup[*FailoverTarget](c.doc, t)
	if !ok || target.Incomplete {
		return
	}
	var missing []string
	for _, site := range f.Sites() {
		if target.Member(site) == nil && !slices.Contains(missing, string(site)) {
			missing = append(missing, string(site))
		}
	}
	if len(missing) > 0 {
		c.errorf(noMember, &f.Header, path, "%s can move to %s, but %s has no member there. Add the member at %s, or take the site out of the failover.", f.Address, strings.Join(missing, " and "), t, target.Range)
	}
}

// schedule warns about a schedule whose times never lie in the window.
func (c *checker) schedule(bp *BackupPlan) {
	w, ok := Lookup[*MaintenanceWindow](c.doc, bp.Window)
	if bp.Schedule == "" || !ok || w.Incomplete || w.Start == w.End {
		return
	}
	key := [4]string{bp.Schedule, bp.Timezone, string(bp.Window)}
	never, known := c.never[key]
	if !known {
		never = c.neverInside(bp, w)
		c.never[key] = never
	}
	if never {
		c.warnf(outsideWindow, &bp.Header, "schedule", "The times of %q never lie in %s (%s to %s), so every run has to wait for the window to open. Move the schedule into the window.", bp.Schedule, w.Address, w.Start, w.End)
	}
}

// neverInside tries the times of two years. The years are fixed: the answer
// may not depend on when it is asked.
func (c *checker) neverInside(bp *BackupPlan, w *MaintenanceWindow) bool {
	zone, windowZone := c.zone(bp.Timezone), c.zone(w.Timezone)
	if zone == nil || windowZone == nil {
		return false
	}
	cron, err := schedule.ParseCron(bp.Schedule, zone)
	if err != nil {
		return false
	}
	days, err1 := schedule.ParseDays(w.Days)
	start, err2 := schedule.ParseClock(w.Start)
	end, err3 := schedule.ParseClock(w.End)
	if err1 != nil || err2 != nil || err3 != nil {
		return false
	}
	window := schedule.Window{Days: days, Start: start, End: end, Location: windowZone}
	from := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	occurrences, more := cron.Between(from, from.AddDate(2, 0, 0), 3000)
	for _, o := range occurrences {
		if _, open := window.Open(o.At); open {
			return false
		}
	}
	return len(occurrences) > 0 && !more
}

// zone finds a zone by name; the empty name is that of settings.
func (c *checker) zone(name string) *time.Location {
	if name == "" {
		name = c.doc.Settings.Timezone
	}
	loc, known := c.zones[name]
	if !known {
		loc, _ = schedule.LoadZone(name) // nil stands for a name that was reported when it was read
		c.zones[name] = loc
	}
	return loc
}

// history checks moved and removed blocks.
func (c *checker) history() {
	exists := map[Address]diag.Range{}
	movable := map[Address]diag.Range{} // also blocks with for_each: all their instances move
	for _, o := range c.doc.Objects() {
		exists[o.Head().Address] = o.Head().Range
		movable[o.Head().Address] = o.Head().Range
		movable[o.Head().Address.Block()] = o.Head().Range
	}
	moves := map[Address]Moved{}
	sources := map[Address]Address{} // to -> from
	for _, m := range c.doc.Moved {
		c.move(m, moves, sources, movable)
	}
	judged := map[Address]bool{}
	for _, m := range c.doc.Moved {
		if moves[m.From] == m && !judged[m.From] {
			c.destination(m, moves, movable, judged)
		}
	}
	for _, r := range c.doc.Removed {
		at, still := exists[r.From]
		_, moved := moves[r.From]
		switch {
		case r.From == "":
		case still:
			c.add(diag.Error, badRemoval, r.From, r.Range, "%s is declared at %s, so it is not removed. Delete that block, or this one.", r.From, at)
		case moved:
			c.add(diag.Error, badRemoval, r.From, r.Range, "%s cannot be moved and removed. Keep the moved block or the removed block.", r.From)
		}
	}
}

func (c *checker) move(m Moved, moves map[Address]Moved, sources map[Address]Address, exists map[Address]diag.Range) {
	if m.From == "" || m.To == "" {
		return // reported when it was read
	}
	at, still := exists[m.From]
	first, twice := moves[m.From]
	other, taken := sources[m.To]
	switch {
	case m.From == m.To:
		c.add(diag.Error, badMove, m.From, m.Range, "%s moves to itself.", m.From)
	case m.From.Kind() != m.To.Kind():
		c.add(diag.Error, badMove, m.From, m.Range, "%s cannot become %s: an object keeps its kind.", m.From, m.To)
	case twice:
		c.add(diag.Error, badMove, m.From, m.Range, "%s moves at %s already.", m.From, first.Range)
	case taken:
		c.add(diag.Error, badMove, m.From, m.Range, "%s and %s cannot both become %s.", other, m.From, m.To)
	case still:
		c.add(diag.Error, badMove, m.From, m.Range, "%s is still declared, at %s. A move is from an address that is no longer used; rename that block to %s.", m.From, at, m.To)
	default:
		moves[m.From], sources[m.To] = m, m.From
	}
}

// destination follows the moves from one on: they must end at a declared object.
// It adds the addresses of a circle to judged, so that each is reported once.
func (c *checker) destination(m Moved, moves map[Address]Moved, exists map[Address]diag.Range, judged map[Address]bool) {
	trail := []string{string(m.From)}
	for to := m.To; ; {
		trail = append(trail, string(to))
		if _, found := exists[to]; found {
			return
		}
		next, onward := moves[to]
		switch {
		case judged[to]:
			return
		case to == m.From || len(trail) > len(moves)+1:
			for _, a := range trail {
				judged[Address(a)] = true
			}
			c.add(diag.Error, badMove, m.From, m.Range, "The moves form a circle: %s.", strings.Join(trail, " -> "))
			return
		case !onward:
			c.add(diag.Error, badMove, m.From, m.Range, "%s moves to %s, but there is no such object. Declare it, or correct the address.", m.From, to)
			return
		}
		to = next.To
	}
}
