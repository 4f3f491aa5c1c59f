package reconcile

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
//	a gap in the artifacts                       an outage, or the clock jumped ahead: nothing is deleted for as long again
//
// The last cannot be told from a real outage, in which waiting costs room for a while and nothing else.

const (
	// gapTimes is how many nominal times in a row have no artifact before a gap is taken for one: a night may fail.
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
	if off(bp) {
		return false
	}
	if due, ok := b.due(bp); ok && due.held {
		return true // HF-SCH-003 says so
	}
	if _, ahead := b.ahead(bp); ahead {
		return true // HF-SCH-004 says so
	}
	from, to, until, ok := b.gap(bp)
	if !ok {
		return false
	}
	goes := func(d retention.Decision) bool { return !d.Keep }
	if slices.ContainsFunc(b.decide(r, []*config.BackupPlan{bp}), goes) {
		day := func(t time.Time) string { return t.In(b.location(bp)).Format("Mon 2006-01-02 15:04") }
		b.warnf(bp.Address, "HF-RET-002", bp.At("retention"), "Retention waits after a gap",
			"%s has no artifact between %s and %s although its schedule asks for some. After an outage that is so; but a clock that jumped ahead looks the same, and would make old artifacts of good ones. Nothing of it is deleted before %s.",
			bp.Address, day(from), day(to), day(until))
	}
	return true
}

// gap finds the newest gap in the artifacts of a backup plan that is to be heeded now, and until when. Which schedule it had in
// former times is not known: one that runs more often since a few days looks like a gap, too, and waits.
func (b *builder) gap(bp *config.BackupPlan) (from, to, until time.Time, ok bool) {
	cron := b.cron(bp)
	if cron.Cron == nil {
		return from, to, until, false
	}
	var taken []time.Time
	for _, a := range b.catalogue()[b.recordedAddress(bp.Address)] {
		if a.State == state.ArtifactGood && !a.Started.After(b.now.Add(state.FutureLimit)) {
			taken = append(taken, a.Started)
		}
	}
	slices.SortFunc(taken, func(x, y time.Time) int { return y.Compare(x) })
	for i := range max(0, len(taken)-1) {
		from, to = taken[i+1], taken[i]
		if b.now.Sub(to) > gapLimit {
			break
		}
		if until = to.Add(min(to.Sub(from), gapLimit)); !until.After(b.now) {
			continue
		}
		if passed, _ := cron.Between(from, to, gapTimes+1); len(passed) > gapTimes {
			return from, to, until, true
		}
	}
	return from, to, until, false
}
