package planner

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/config/schedule"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/state"
)

const (
	// onTime is how late a start may be and still count as at its nominal time, without a window.
	onTime = time.Hour
	// mostMissed bounds the nominal times that are recorded as missed at once; a longer gap
	// is more likely a wrong clock than a long outage.
	mostMissed = 1000
)

// dueWork is an occurrence whose time came.
type dueWork struct {
	reason  string
	nominal string
	at      time.Time
	missed  []reconcile.Missed
	skip    bool // nothing runs: the occurrence is recorded as missed, too
	held    bool // too many nominal times passed: a person looks first
	former  bool // it is of the schedule that this plan changes, and has no other chance
}

// due says whether a backup plan's time came, and why, in words. Until its change is recorded, what was recorded before is its schedule.
func (b *builder) due(bp *config.BackupPlan) (dueWork, bool) {
	if old, changes := b.former(bp); changes {
		return b.dueBefore(bp, old)
	}
	if bp.Off() {
		return dueWork{}, false
	}
	cron := b.cron(bp)
	if cron.latest.IsZero() {
		return dueWork{}, false
	}
	cursor, followed := b.cursor(bp.Address)
	if !followed {
		return dueWork{nominal: cron.latest.Nominal, at: cron.latest.At, reason: b.unscheduled(bp.Address, cron.loc)}, true
	}
	_, recorded := b.recorded[string(bp.Address)]
	return b.since(bp, cron, cursor, recorded)
}

// since says what of a schedule is due after a time. Without tell, only the newest is: the others may have been before it was recorded.
func (b *builder) since(bp *config.BackupPlan, c cron, cursor time.Time, tell bool) (dueWork, bool) {
	work := dueWork{nominal: c.latest.Nominal, at: c.latest.At}
	if c.latest.IsZero() || !work.at.After(cursor) {
		return dueWork{}, false
	}
	if tell {
		passed, more := c.Between(cursor, work.at, mostMissed+1)
		if more || len(passed) > mostMissed {
			work.held = true
			work.reason = fmt.Sprintf("more than %d nominal times passed since %s", mostMissed, cursor.In(c.loc).Format("Mon 2006-01-02 15:04"))
			return work, true
		}
		for _, o := range passed {
			if o.Nominal != work.nominal {
				work.missed = append(work.missed, reconcile.Missed{Nominal: o.Nominal, At: o.At.UTC()})
			}
		}
	}
	b.judge(bp, &work, work.at.In(c.loc).Format("Mon 2006-01-02 15:04"))
	return work, true
}

// former gives the recorded form of a backup plan whose schedule this plan changes, or switches on or off.
func (b *builder) former(bp *config.BackupPlan) (old config.BackupPlan, changes bool) {
	rec, recorded := b.recorded[string(bp.Address)]
	if i, ok := b.byAddr[bp.Address]; !recorded || ok && rec.Digest == b.desired[i].Digest {
		return old, false
	}
	if json.Unmarshal(rec.Spec, &old) != nil {
		return old, false
	}
	return old, !b.sameTimes(bp, old) || old.Off() != bp.Off() || old.Stopped() != bp.Stopped()
}

// sameTimes reports whether two forms of a backup plan have the same nominal times.
func (b *builder) sameTimes(bp *config.BackupPlan, old config.BackupPlan) bool {
	return old.Schedule == bp.Schedule && b.zone(old.Timezone) == b.zone(bp.Timezone)
}

// dueBefore says what is due of a backup plan whose schedule this plan changes: what the former one left, until now or until all backups were
// switched off. Of the new one nothing is due yet, unless the backup plan never ran.
func (b *builder) dueBefore(bp *config.BackupPlan, old config.BackupPlan) (dueWork, bool) {
	cursor, followed := b.cursor(bp.Address)
	if !followed {
		c := b.cron(bp)
		if c.latest.IsZero() || bp.Off() || b.ran(bp.Address) {
			return dueWork{}, false
		}
		return dueWork{nominal: c.latest.Nominal, at: c.latest.At, reason: b.unscheduled(bp.Address, c.loc)}, true
	}
	if old.Off() || old.Schedule == "" {
		return dueWork{}, false
	}
	c, err := b.readCron(old.Schedule, b.zone(old.Timezone))
	if err != nil { // it was followed by another version
		return dueWork{}, false
	}
	if old.Stopped() {
		c.latest, _ = c.Latest(b.recorded[string(bp.Address)].AppliedAt)
	}
	work, ok := b.since(bp, c, cursor, true)
	work.former = ok
	if ok && !work.held && !b.sameTimes(bp, old) {
		work.reason += ", by the schedule before this change"
	}
	return work, ok
}

// ran reports whether a run of a backup plan is recorded.
func (b *builder) ran(a config.Address) bool {
	_, ran := b.st.LastRuns[b.recordedAddress(a)]
	return ran
}

// restarts notes on the change of a backup plan that its schedule begins anew. One that never ran is due at once. While all backups are
// switched off, what was due before waits, and nothing else is due.
func (b *builder) restarts(bp *config.BackupPlan, c *reconcile.Change) {
	old, changes := b.former(bp)
	_, followed := b.cursor(bp.Address)
	switch {
	case bp.Off() || bp.Schedule == "" || !followed && !b.ran(bp.Address):
		return
	case bp.Stopped():
		_, waits := b.dueBefore(bp, old)
		c.Restart = old.Stopped() && !waits
		return
	case !changes:
		return
	}
	c.Restart = true
	if cron := b.cron(bp); cron.Cron != nil {
		c.Note = strings.TrimPrefix(c.Note+"; its times count from now, the next is "+cron.Next(b.now).At.In(cron.loc).Format("Mon 2006-01-02 15:04 MST"), "; ")
	}
}

// unscheduled says why a backup plan is due that has not run by its schedule yet.
func (b *builder) unscheduled(a config.Address, loc *time.Location) string {
	last, ran := b.st.LastRuns[b.recordedAddress(a)]
	if !ran || last.Trigger != state.TriggerManual {
		return "never run"
	}
	at := last.StartedAt
	if at.IsZero() {
		at = last.CreatedAt
	}
	return "never run by its schedule; by hand last on " + at.In(loc).Format("Mon 2006-01-02 15:04")
}

// judge says whether work that is due is late, and what becomes of it then.
func (b *builder) judge(bp *config.BackupPlan, work *dueWork, when string) {
	late := b.now.Sub(work.at) > onTime && !b.sameOpening(bp, work.at)
	before := ""
	if n := len(work.missed); n > 0 {
		before = fmt.Sprintf("; %s missed before it", plural(n, "run", "runs"))
	}
	switch {
	case late && bp.Missed == "skip":
		work.skip = true
		work.missed = append(work.missed, reconcile.Missed{Nominal: work.nominal, At: work.at.UTC()})
		work.reason = "missed " + when + before
	case late:
		work.reason = "overdue since " + when + before
	default:
		work.reason = "due since " + when + before
	}
}

// cron is a schedule in a zone, with its newest occurrence at the time of planning; none when it cannot be followed.
type cron struct {
	*schedule.Cron
	loc    *time.Location
	latest schedule.Occurrence
}

// cron reads a backup plan's schedule.
func (b *builder) cron(bp *config.BackupPlan) cron {
	if bp.Schedule == "" {
		return cron{}
	}
	zone := b.zone(bp.Timezone)
	c, err := b.readCron(bp.Schedule, zone)
	if err == nil {
		return c
	}
	if _, unknown := schedule.LoadZone(zone); unknown != nil {
		b.errorf(bp.Address, "HF-SCH-001", bp.At("timezone"), "Unknown time zone", "%v", unknown)
	} else {
		b.errorf(bp.Address, "HF-SCH-002", bp.At("schedule"), "Invalid schedule", "%v", err)
	}
	return c
}

// readCron reads a schedule. Many backup plans share one.
func (b *builder) readCron(text, zone string) (cron, error) {
	key := [2]string{text, zone}
	if c, known := b.crons[key]; known {
		return c, nil
	}
	loc, err := schedule.LoadZone(zone)
	if err != nil {
		return cron{}, err
	}
	parsed, err := schedule.ParseCron(text, loc)
	if err != nil {
		return cron{}, err
	}
	c := cron{Cron: parsed, loc: loc}
	c.latest, _ = parsed.Latest(b.now)
	b.crons[key] = c
	return c, nil
}

// cursor is the newest nominal time that was turned into a run.
func (b *builder) cursor(a config.Address) (time.Time, bool) {
	c, ok := b.st.Cursors[b.recordedAddress(a)] // a moved object keeps its cursor; one that was rescued has it before it is recorded
	return c.At, ok
}

// sameOpening reports whether a nominal time and now lie in one opening of the backup plan's window.
func (b *builder) sameOpening(bp *config.BackupPlan, at time.Time) bool {
	if bp.Window == "" {
		return false
	}
	win, err := b.window(bp.Window, workBackup).args.Schedule()
	if err != nil {
		return false
	}
	span, open := win.Open(b.now)
	return open && !at.Before(span.Start)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
