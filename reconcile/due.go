package reconcile

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/config/schedule"
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
	missed  []Missed
	skip    bool // nothing runs: the occurrence is recorded as missed, too
}

// due says whether a backup plan's time came, and why, in words.
func (b *builder) due(bp *config.BackupPlan) (dueWork, bool) {
	if bp.Schedule == "" {
		return dueWork{}, false
	}
	loc, err := schedule.LoadZone(b.zone(bp.Timezone))
	if err != nil {
		b.diags.Errorf("HF-SCH-001", bp.At("timezone"), "Unknown time zone", "%v", err)
		return dueWork{}, false
	}
	cron, err := schedule.ParseCron(bp.Schedule, loc)
	if err != nil {
		b.diags.Errorf("HF-SCH-002", bp.At("schedule"), "Invalid schedule", "%v", err)
		return dueWork{}, false
	}
	latest, ok := cron.Latest(b.now)
	if !ok {
		return dueWork{}, false
	}
	work := dueWork{nominal: latest.Nominal, at: latest.At}
	when := latest.At.In(loc).Format("Mon 2006-01-02 15:04")
	cursor, followed := b.cursor(bp.Address)
	if !followed {
		work.reason = "never run"
		return work, true
	}
	if !latest.At.After(cursor) {
		return dueWork{}, false
	}
	passed, more := cron.Between(cursor, b.now, mostMissed+1)
	if more || len(passed) > mostMissed {
		b.diags.Errorf("HF-SCH-003", bp.At("schedule"), "The clock may be wrong",
			"More than %d nominal times of %s passed since %s. Check the clock. If it is right, run: holdfast run %s",
			mostMissed, bp.Address, cursor.In(loc).Format(time.RFC3339), bp.Address)
		return dueWork{}, false
	}
	for _, o := range passed {
		if o.Nominal != latest.Nominal {
			work.missed = append(work.missed, Missed{Nominal: o.Nominal, At: o.At})
		}
	}
	late := b.now.Sub(latest.At) > onTime && !b.sameOpening(bp, latest.At)
	switch {
	case late && bp.Missed == "skip":
		work.skip = true
		work.missed = append(work.missed, Missed{Nominal: latest.Nominal, At: latest.At})
		work.reason = fmt.Sprintf("missed %s", when)
	case len(work.missed) > 0:
		work.reason = fmt.Sprintf("overdue since %s; %s missed before it", when, plural(len(work.missed), "run", "runs"))
	case late:
		work.reason = "overdue since " + when
	default:
		work.reason = "due since " + when
	}
	return work, true
}

// cursor is the newest nominal time that was turned into a run.
func (b *builder) cursor(a config.Address) (time.Time, bool) {
	if rec, ok := b.recorded[string(a)]; ok {
		c, ok := b.st.Cursors[rec.Address] // a moved object keeps its cursor
		return c.At, ok
	}
	return time.Time{}, false
}

// sameOpening reports whether a nominal time and now lie in one opening of the backup plan's window.
func (b *builder) sameOpening(bp *config.BackupPlan, at time.Time) bool {
	if bp.Window == "" {
		return false
	}
	win, err := b.window(bp.Window, workBackup).schedule()
	if err != nil {
		return false
	}
	span, open := win.Open(b.now)
	return open && !at.Before(span.Start)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
