// Package retention decides which artifacts are kept. It is pure, and it only decides: what goes is deleted by a plan.
//
// The decision on a set of artifacts depends on the set alone, not on its order, and is final: what is kept is kept again when
// the rest is gone. Reference for every age is the newest good artifact, not the clock, so a source that died never
// loses its last copies. The clock only tells which artifacts carry a time that cannot be.
package retention

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/holdfast-dr/holdfast/state"
)

// quarantine is how long a quarantined artifact stays for people to look at, counted up to the newest good artifact.
const quarantine = 7 * 24 * time.Hour

// Policy is a union of rules above floors. A rule that is zero keeps nothing.
type Policy struct {
	Last, Hourly, Daily, Weekly, Monthly, Yearly int

	Within    time.Duration
	MinCopies int            // taken as 1 when smaller
	Zone      *time.Location // of the buckets; nil is UTC
}

// Group is what rules and floors apply to, each group for itself.
type Group struct {
	BackupPlan, Store, Device, Domain, Action, Variant string
}

// GroupOf gives the group of an artifact.
func GroupOf(a state.ArtifactBrief) Group {
	return Group{a.BackupPlan, a.Store, a.Device, a.Domain, a.Action, a.Variant}
}

// Decision says what becomes of one artifact.
type Decision struct {
	state.ArtifactBrief
	Keep    bool
	Reasons []string // why it is kept, or why it goes; at least one
	Future  bool     // its time cannot be right: it is kept and counts for nothing
}

// Decide judges artifacts at a moment. The decisions are ordered by group, newest first.
func (p Policy) Decide(artifacts []state.ArtifactBrief, now time.Time) []Decision {
	all := make([]Decision, len(artifacts))
	for i, a := range artifacts {
		all[i].ArtifactBrief = a
	}
	slices.SortFunc(all, func(x, y Decision) int {
		return cmp.Or(compareGroups(GroupOf(x.ArtifactBrief), GroupOf(y.ArtifactBrief)), y.Started.Compare(x.Started), cmp.Compare(y.ID, x.ID))
	})
	for from := 0; from < len(all); {
		group, to := GroupOf(all[from].ArtifactBrief), from+1
		for to < len(all) && GroupOf(all[to].ArtifactBrief) == group {
			to++
		}
		p.group(all[from:to], now)
		from = to
	}
	return all
}

func compareGroups(x, y Group) int {
	return cmp.Or(cmp.Compare(x.BackupPlan, y.BackupPlan), cmp.Compare(x.Store, y.Store), cmp.Compare(x.Device, y.Device),
		cmp.Compare(x.Domain, y.Domain), cmp.Compare(x.Action, y.Action), cmp.Compare(x.Variant, y.Variant))
}

func (d *Decision) keep(format string, args ...any) {
	d.Keep = true
	d.Reasons = append(d.Reasons, fmt.Sprintf(format, args...))
}

// group decides on one group, newest first.
func (p Policy) group(all []Decision, now time.Time) {
	good := make([]*Decision, 0, len(all))
	for i := range all {
		d := &all[i]
		d.Future = d.Started.After(now.Add(state.FutureLimit))
		if d.State == state.ArtifactGood && !d.Future {
			good = append(good, d)
		}
	}
	p.rules(good)
	p.floors(good)
	for i := range all {
		others(&all[i], good)
	}
}

// rules keeps what any rule names.
func (p Policy) rules(good []*Decision) {
	for i, d := range good {
		if i < p.Last {
			d.keep("last %d of %d", i+1, p.Last)
		}
		if p.Within > 0 && good[0].Started.Sub(d.Started) <= p.Within {
			d.keep("within %s of the newest", p.Within)
		}
	}
	zone := p.Zone
	if zone == nil {
		zone = time.UTC
	}
	for _, r := range []struct {
		n    int
		word string
		key  func(time.Time) bucket
	}{
		{p.Hourly, "hourly", hour}, {p.Daily, "daily", day}, {p.Weekly, "weekly", week}, {p.Monthly, "monthly", month}, {p.Yearly, "yearly", year},
	} {
		buckets(good, r.n, r.word, func(d *Decision) bucket { return r.key(d.Started.In(zone)) })
	}
}

// bucket is what artifacts of the same hour, day, week, month or year have in common.
type bucket [5]int

// An hour that exists twice in a night is two buckets.
func hour(t time.Time) bucket {
	_, offset := t.Zone()
	y, m, d := t.Date()
	return bucket{y, int(m), d, t.Hour(), offset}
}

func day(t time.Time) bucket {
	y, m, d := t.Date()
	return bucket{y, int(m), d}
}

func week(t time.Time) bucket {
	y, w := t.ISOWeek()
	return bucket{y, w}
}

func month(t time.Time) bucket { return bucket{t.Year(), int(t.Month())} }
func year(t time.Time) bucket  { return bucket{t.Year()} }

// buckets keeps the newest artifact of each of the newest n buckets. While there are fewer buckets than n, the oldest
// artifact is kept, too: otherwise a long rule that was just begun would never come to hold what is as old as it says.
func buckets(good []*Decision, n int, word string, key func(*Decision) bucket) {
	if n <= 0 || len(good) == 0 {
		return
	}
	var last bucket
	full := 0
	for _, d := range good {
		k := key(d)
		if full > 0 && k == last {
			continue
		}
		if full == n {
			return
		}
		last = k
		full++
		d.keep("%s %d of %d", word, full, n)
	}
	if oldest := good[len(good)-1]; full < n && !oldest.Keep {
		oldest.keep("oldest, %s has %d of %d", word, full, n)
	}
}

// floors keeps what no rule may give away.
func (p Policy) floors(good []*Decision) {
	for i, d := range good {
		if i < max(p.MinCopies, 1) && !d.Keep {
			d.keep("min_copies %d", max(p.MinCopies, 1))
		}
	}
	if i := slices.IndexFunc(good, func(d *Decision) bool { return !d.Verified.IsZero() }); i >= 0 && !good[i].Keep {
		good[i].keep("newest verified")
	}
}

// others decides what rules and floors do not: artifacts that count for nothing, and pins. What nothing keeps goes.
func others(d *Decision, good []*Decision) {
	switch {
	case d.State == state.ArtifactExpiring:
		d.Reasons = []string{"its deletion has begun"}
		return
	case d.State != state.ArtifactGood && d.State != state.ArtifactQuarantined:
		d.keep("%s", d.State)
	case d.Future:
		d.keep("dated in the future")
	case d.State == state.ArtifactQuarantined && (d.Quarantined.IsZero() || len(good) == 0 || good[0].Started.Sub(d.Quarantined) <= quarantine):
		d.keep("quarantined for less than 7 days before the newest good one")
	}
	if d.Pinned {
		d.keep("pinned")
	}
	switch {
	case d.Keep:
	case d.State == state.ArtifactQuarantined:
		d.Reasons = []string{"quarantined for 7 days"}
	default:
		d.Reasons = []string{"no rule keeps it"}
	}
}

// Newest gives the time of the newest good artifact of each group. One of the future counts for nothing.
func Newest(all []state.ArtifactBrief, now time.Time) map[Group]time.Time {
	newest := map[Group]time.Time{}
	for _, a := range all {
		if g := GroupOf(a); a.State == state.ArtifactGood && a.Started.After(newest[g]) && !a.Started.After(now.Add(state.FutureLimit)) {
			newest[g] = a.Started
		}
	}
	return newest
}
