package planner

import (
	"slices"
	"time"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/reconcile/retention"
	"github.com/holdfast-dr/holdfast/state"
)

// A plan knows one clock and what was recorded by it. Three things in the record speak against it:
//
//	more nominal times passed than can be true   nothing of the backup plan runs or is deleted before a person ran it
//	a run of a nominal time that is yet to come  the clock went back: the backup plan waits for it, nothing is deleted
//	nominal times that were missed in a row      an outage, or the clock jumped ahead: nothing is deleted for as long again
//
// The last cannot be told from a real outage, in which waiting costs room for a while and nothing else.

const (
	// gapTimes is how many missed times in a row are a gap: one may have failed to start.
	gapTimes = 2
	// gapLimit is how long a gap is heeded at most.
	gapLimit = 7 * 24 * time.Hour
)

// ahead reports whether a backup plan ran for a time that is yet to come.
func (b *builder) ahead(bp *config.BackupPlan) (time.Time, bool) {
	cursor, followed := b.cursor(bp.Address)
	return cursor, followed && cursor.After(b.now.Add(state.FutureLimit))
}

// warnAhead tells of a backup plan that waits because the clock went back. Its schedule alone would do so in silence.
func (b *builder) warnAhead(bp *config.BackupPlan) {
	if at, ahead := b.ahead(bp); ahead && bp.Schedule != "" {
		b.warnf(bp.Address, "HF-SCH-004", bp.At("schedule"), "The clock went back",
			"%s was run for %s, which is yet to come: one clock, now or then, is wrong. It is not run by its schedule before that, and nothing of it is deleted. Until then back up with: holdfast run %s",
			bp.Address, at.In(b.location(bp)).Format("Mon 2006-01-02 15:04"), bp.Address)
	}
}

func (b *builder) location(bp *config.BackupPlan) *time.Location {
	if loc := b.cron(bp).loc; loc != nil {
		return loc
	}
	return time.UTC
}

// clockDoubted reports whether the clock may be wrong by what is recorded of a backup plan; then nothing of it is deleted.
func (b *builder) clockDoubted(bp *config.BackupPlan, r *config.Retention) bool {
	if bp.Off() {
		return false
	}
	if due, ok := b.due(bp); ok && (due.held || len(due.missed) >= gapTimes) {
		return true // the action itself says so
	}
	if _, ahead := b.ahead(bp); ahead {
		return true // HF-SCH-004 says so
	}
	gap, until := b.gap(bp)
	if !until.After(b.now) {
		return false
	}
	goes := func(d retention.Decision) bool { return !d.Keep }
	if slices.ContainsFunc(b.decide(r, []*config.BackupPlan{bp}), goes) {
		text := func(t time.Time) string { return t.In(b.location(bp)).Format("Mon 2006-01-02 15:04") }
		b.warnf(bp.Address, "HF-RET-002", bp.At("retention"), "Retention waits after a gap",
			"%s missed %s from %s to %s. After an outage that is so; but a clock that jumped ahead looks the same, and would make good artifacts look old. Nothing of it is deleted before %s.",
			bp.Address, plural(gap.Missed, "time", "times"), text(gap.From), text(gap.To), text(until))
	}
	return true
}

// gap gives the newest missed times of a backup plan, and until when they are heeded.
func (b *builder) gap(bp *config.BackupPlan) (g state.Gap, until time.Time) {
	g = b.st.Gaps[b.recordedAddress(bp.Address)]
	if g.Missed < gapTimes {
		return g, time.Time{}
	}
	return g, g.To.Add(min(g.To.Sub(g.From), gapLimit))
}
