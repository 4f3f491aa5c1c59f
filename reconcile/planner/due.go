package planner

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
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
}

// due says whether a backup plan's time came, and why, in words.
func (b *builder) due(bp *config.BackupPlan) (dueWork, bool) {
	cron := b.cron(bp)
	latest := cron.latest
	if latest.IsZero() {
		return dueWork{}, false
	}
	work := dueWork{nominal: latest.Nominal, at: latest.At}
	cursor, followed := b.cursor(bp.Address)
	if !followed {
		work.reason = b.unscheduled(bp.Address, cron.loc)
		return work, true
	}
	if !latest.At.After(cursor) {
		return dueWork{}, false
	}
	if b.sameSchedule(bp) { // otherwise the times that passed were not asked for when they passed
		passed, more := cron.Between(cursor, b.now, mostMissed+1)
		if more || len(passed) > mostMissed {
			work.held = true
			work.reason = fmt.Sprintf("more than %d nominal times passed since %s", mostMissed, cursor.In(cron.loc).Format("Mon 2006-01-02 15:04"))
			return work, true
		}
		for _, o := range passed {
			if o.Nominal != latest.Nominal {
				work.missed = append(work.missed, reconcile.Missed{Nominal: o.Nominal, At: o.At})
			}
		}
	}
	b.judge(bp, &work, latest.At.In(cron.loc).Format("Mon 2006-01-02 15:04"))
	return work, true
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
		work.missed = append(work.missed, reconcile.Missed{Nominal: work.nominal, At: work.at})
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

// cron reads a backup plan's schedule. Many backup plans share one.
func (b *builder) cron(bp *config.BackupPlan) cron {
	if bp.Schedule == "" {
		return cron{}
	}
	key := [2]string{bp.Schedule, b.zone(bp.Timezone)}
	if c, known := b.crons[key]; known {
		return c
	}
	loc, err := schedule.LoadZone(key[1])
	if err != nil {
		b.errorf(bp.Address, "HF-SCH-001", bp.At("timezone"), "Unknown time zone", "%v", err)
		return cron{}
	}
	parsed, err := schedule.ParseCron(bp.Schedule, loc)
	if err != nil {
		b.errorf(bp.Address, "HF-SCH-002", bp.At("schedule"), "Invalid schedule", "%v", err)
		return cron{}
	}
	c := cron{Cron: parsed, loc: loc}
	c.latest, _ = parsed.Latest(b.now)
	b.crons[key] = c
	return c
}

// sameSchedule reports whether the recorded backup plan was to run at the times of the declared one.
func (b *builder) sameSchedule(bp *config.BackupPlan) bool {
	rec := b.recorded[string(bp.Address)]
	if i, ok := b.byAddr[bp.Address]; ok && rec.Digest == b.desired[i].Digest {
		return true
	}
	var old config.BackupPlan
	if json.Unmarshal(rec.Spec, &old) != nil {
		return false
	}
	return old.Schedule == bp.Schedule && b.zone(old.Timezone) == b.zone(bp.Timezone) && old.Off() == bp.Off()
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
