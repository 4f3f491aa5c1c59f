package retention_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/holdfast-dr/holdfast/config/sampletest"
	"github.com/holdfast-dr/holdfast/reconcile/retention"
	"github.com/holdfast-dr/holdfast/state"
)

var start = time.Date(2026, 3, 1, 2, 30, 0, 0, time.UTC)

// series gives good artifacts named 0, 1, ... at some times after start.
func series(at ...time.Duration) []state.ArtifactBrief {
	all := make([]state.ArtifactBrief, len(at))
	for i, d := range at {
		all[i] = state.ArtifactBrief{ID: fmt.Sprint(i), State: state.ArtifactGood, Started: start.Add(d), Verified: start.Add(d)}
	}
	return all
}

func every(step time.Duration, n int) []time.Duration {
	all := make([]time.Duration, n)
	for i := range all {
		all[i] = time.Duration(i) * step
	}
	return all
}

// kept lists the kept artifacts in order of age, oldest first.
func kept(ds []retention.Decision) (ids []string) {
	for _, d := range slices.Backward(ds) {
		if d.Keep {
			ids = append(ids, d.ID)
		}
	}
	return ids
}

func TestRules(t *testing.T) {
	const day = 24 * time.Hour
	dublin, err := time.LoadLocation("Europe/Dublin")
	if err != nil {
		t.Fatal(err)
	}
	change := func(all []state.ArtifactBrief, i int, f func(*state.ArtifactBrief)) []state.ArtifactBrief {
		f(&all[i])
		return all
	}
	quarantine := func(at time.Duration) func(*state.ArtifactBrief) {
		return func(a *state.ArtifactBrief) {
			a.State, a.Quarantined = state.ArtifactQuarantined, start.Add(at)
		}
	}
	for name, test := range map[string]struct {
		p    retention.Policy
		all  []state.ArtifactBrief
		now  time.Duration
		want []string
	}{
		"no rule at all":                {retention.Policy{}, series(every(day, 4)...), 5 * day, []string{"3"}},
		"the newest":                    {retention.Policy{Last: 2}, series(every(day, 4)...), 5 * day, []string{"2", "3"}},
		"min_copies":                    {retention.Policy{Last: 1, MinCopies: 3}, series(every(day, 4)...), 5 * day, []string{"1", "2", "3"}},
		"newest of each day":            {retention.Policy{Daily: 2}, series(every(6*time.Hour, 12)...), 5 * day, []string{"7", "11"}},
		"oldest while not full":         {retention.Policy{Daily: 9}, series(every(6*time.Hour, 12)...), 5 * day, []string{"0", "3", "7", "11"}},
		"weeks begin on Monday":         {retention.Policy{Weekly: 2}, series(every(day, 10)...), 30 * day, []string{"7", "9"}},
		"months":                        {retention.Policy{Monthly: 2}, series(0, 20*day, 30*day, 31*day, 40*day), 60 * day, []string{"2", "4"}},
		"a year that was just begun":    {retention.Policy{Yearly: 2}, series(every(day, 4)...), 5 * day, []string{"0", "3"}},
		"within, from the newest":       {retention.Policy{Within: 2 * day}, series(every(day, 5)...), 900 * day, []string{"2", "3", "4"}},
		"a union":                       {retention.Policy{Last: 1, Within: day, Monthly: 1}, series(every(day, 5)...), 5 * day, []string{"3", "4"}},
		"an hour that exists twice":     {retention.Policy{Hourly: 2, Zone: dublin}, series(238*day+22*time.Hour, 238*day+23*time.Hour), 300 * day, []string{"0", "1"}},
		"days of the zone":              {retention.Policy{Daily: 2, Zone: time.FixedZone("", 22*3600)}, series(-day, -time.Hour*2, 0), day, []string{"1", "2"}},
		"a pin":                         {retention.Policy{Last: 1}, change(series(every(day, 3)...), 0, func(a *state.ArtifactBrief) { a.Pinned = true }), 5 * day, []string{"0", "2"}},
		"the future counts for nothing": {retention.Policy{Last: 1}, series(0, day, 2*day), day + 10*time.Minute, []string{"1", "2"}},
		"all in the future":             {retention.Policy{Last: 1}, series(every(day, 3)...), -day, []string{"0", "1", "2"}},
		"the newest verified": {retention.Policy{Last: 1}, change(series(every(day, 3)...), 2, func(a *state.ArtifactBrief) { a.Verified = time.Time{} }),
			5 * day, []string{"1", "2"}},
		"quarantined lately":            {retention.Policy{Last: 1}, change(series(every(day, 3)...), 0, quarantine(day)), 5 * day, []string{"0", "2"}},
		"quarantined for long":          {retention.Policy{Last: 1}, change(series(every(day, 9)...), 0, quarantine(0)), 50 * day, []string{"8"}},
		"quarantined and nothing good":  {retention.Policy{Last: 1}, change(series(0), 0, quarantine(0)), 500 * day, []string{"0"}},
		"quarantined at a time unknown": {retention.Policy{Last: 1}, change(series(0, 99*day), 0, func(a *state.ArtifactBrief) { a.State = state.ArtifactQuarantined }), 100 * day, []string{"0", "1"}},
		"a bad one holds no place":      {retention.Policy{Last: 2}, change(series(every(day, 4)...), 3, quarantine(3*day)), 5 * day, []string{"1", "2", "3"}},
		"what was begun is finished": {retention.Policy{Last: 9}, change(series(every(day, 3)...), 2, func(a *state.ArtifactBrief) { a.State, a.Pinned = state.ArtifactExpiring, true }),
			5 * day, []string{"0", "1"}},
	} {
		t.Run(name, func(t *testing.T) {
			ds := test.p.Decide(test.all, start.Add(test.now))
			if got := kept(ds); !slices.Equal(got, test.want) {
				t.Errorf("kept %v, want %v\n%+v", got, test.want, ds)
			}
			for _, d := range ds {
				if len(d.Reasons) == 0 {
					t.Errorf("%s has no reason", d.ID)
				}
			}
		})
	}
}

// TestRandomHistories holds the promises against a checker that shares no code with the decisions.
func TestRandomHistories(t *testing.T) {
	zone, err := time.LoadLocation("Australia/Lord_Howe") // half an hour of summer time
	if err != nil {
		t.Fatal(err)
	}
	seeds := sampletest.Rand(t)
	histories := sampletest.Count(t, 1000, 10_000)
	for range histories {
		seed := seeds.Uint64()
		r := rand.New(rand.NewPCG(seed, 7))
		p, all, now := draw(r, zone)
		ds := p.Decide(all, now)
		if problem := broken(p, all, ds, now); problem != "" {
			t.Fatalf("history %d: %s\npolicy %+v\nnow %s\n%+v", seed, problem, p, now, ds)
		}
		// The order of the artifacts means nothing.
		shuffled := slices.Clone(all)
		r.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		if again := p.Decide(shuffled, now); !reflect.DeepEqual(again, ds) {
			t.Fatalf("history %d: another order decides otherwise:\n%+v\n%+v", seed, ds, again)
		}
		// What is kept is kept again when the rest is gone, also at any later time.
		var left []state.ArtifactBrief
		for _, d := range ds {
			if d.Keep {
				left = append(left, d.ArtifactBrief)
			}
		}
		for _, d := range p.Decide(left, now) {
			if !d.Keep {
				t.Fatalf("history %d: a second pass deletes %s: %v\npolicy %+v\n%+v", seed, d.ID, d.Reasons, p, ds)
			}
		}
		// Artifacts of the future change nothing.
		var present []state.ArtifactBrief
		for _, a := range all {
			if !a.Started.After(now.Add(10 * time.Minute)) {
				present = append(present, a)
			}
		}
		future := slices.DeleteFunc(slices.Clone(ds), func(d retention.Decision) bool { return d.Future })
		if without := p.Decide(present, now); !slices.EqualFunc(without, future, func(x, y retention.Decision) bool { return x.ID == y.ID && x.Keep == y.Keep }) {
			t.Fatalf("history %d: artifacts of the future changed the decision", seed)
		}
	}
	t.Logf("fault 17: %d random histories: 0 below a floor, 0 pinned or newest verified gone, 0 differences by order, repetition or times to come", histories)
}

func draw(r *rand.Rand, zone *time.Location) (retention.Policy, []state.ArtifactBrief, time.Time) {
	some := func(n int) int { return max(0, r.IntN(2*n)-n) }
	p := retention.Policy{
		Last: some(6), Hourly: some(30), Daily: some(20), Weekly: some(8), Monthly: some(12), Yearly: some(4),
		Within: time.Duration(some(40)) * 24 * time.Hour, MinCopies: r.IntN(5), Zone: zone,
	}
	steps := []time.Duration{13 * time.Minute, time.Hour, 6 * time.Hour, 24 * time.Hour, 9 * 24 * time.Hour}
	step := steps[r.IntN(len(steps))]
	all := make([]state.ArtifactBrief, r.IntN(60))
	last := start
	for i := range all {
		at := start.Add(time.Duration(r.Int64N(int64(step) * 60)).Truncate(time.Minute))
		a := state.ArtifactBrief{
			ID: fmt.Sprintf("%03d", i), Device: fmt.Sprint("device.", r.IntN(3)), Store: fmt.Sprint("store.", r.IntN(2)), Started: at, Verified: at, State: state.ArtifactGood,
			Pinned: r.IntN(12) == 0,
		}
		switch r.IntN(14) {
		case 0:
			a.State, a.Quarantined = state.ArtifactQuarantined, at.Add(time.Duration(r.Int64N(int64(step)*30)))
		case 1:
			a.State = state.ArtifactExpiring
		case 2:
			a.Verified = time.Time{}
		case 3:
			a.State = state.ArtifactQuarantined
		}
		if at.After(last) {
			last = at
		}
		all[i] = a
	}
	return p, all, last.Add(time.Duration(r.Int64N(int64(step)*6)) - step*3)
}

// broken names a promise that decisions break.
func broken(p retention.Policy, all []state.ArtifactBrief, ds []retention.Decision, now time.Time) string {
	if len(ds) != len(all) {
		return "decisions are missing"
	}
	keep := map[string]bool{}
	for _, d := range ds {
		keep[d.ID] = d.Keep
	}
	counts := func(a state.ArtifactBrief) bool {
		return a.State == state.ArtifactGood && !a.Started.After(now.Add(10*time.Minute))
	}
	newer := func(x, y state.ArtifactBrief) bool {
		return x.Started.After(y.Started) || x.Started.Equal(y.Started) && x.ID > y.ID
	}
	for _, a := range all {
		var newerKept, newerVerified, newerAll int // good ones of the same group
		newerDays := map[string]bool{}
		sameDay, within, older := false, true, false
		for _, o := range all {
			if o.ID == a.ID || o.Device != a.Device || o.Store != a.Store || !counts(o) {
				continue
			}
			if !newer(o, a) {
				older = true
				continue
			}
			newerAll++
			if keep[o.ID] {
				newerKept++
			}
			if !o.Verified.IsZero() {
				newerVerified++
			}
			d := o.Started.In(p.Zone).Format("20060102")
			newerDays[d] = true
			sameDay = sameDay || d == a.Started.In(p.Zone).Format("20060102")
			within = within && o.Started.Sub(a.Started) <= p.Within
		}
		switch {
		case a.State == state.ArtifactExpiring && keep[a.ID]:
			return a.ID + " was begun to be deleted and is kept"
		case a.State == state.ArtifactExpiring:
		case a.Pinned && !keep[a.ID]:
			return a.ID + " is pinned and goes"
		case a.Started.After(now.Add(10*time.Minute)) && !keep[a.ID]:
			return a.ID + " is dated in the future and goes"
		case keep[a.ID] && counts(a):
			rules := p.Last > newerAll || p.Hourly > 0 || p.Daily > 0 || p.Weekly > 0 || p.Monthly > 0 || p.Yearly > 0 || p.Within > 0 && within
			if !rules && !a.Pinned && newerAll >= max(1, p.MinCopies) && newerVerified > 0 {
				return a.ID + " is kept by nothing"
			}
		case keep[a.ID]:
		case a.State == state.ArtifactQuarantined && (newerKept == 0 || a.Quarantined.IsZero()):
			return a.ID + " is quarantined and goes, with nothing better there"
		case a.State == state.ArtifactQuarantined:
		case newerKept < max(1, p.MinCopies):
			return a.ID + " goes below min_copies"
		case newerAll < p.Last:
			return a.ID + " goes below keep_last"
		case !a.Verified.IsZero() && newerVerified == 0:
			return a.ID + " is the newest verified and goes"
		case p.Within > 0 && within:
			return a.ID + " is within keep_within and goes"
		case !sameDay && len(newerDays) < p.Daily:
			return a.ID + " is the newest of a kept day and goes"
		case !older && len(newerDays) < p.Daily:
			return a.ID + " is the oldest, keep_daily is not full, and it goes"
		}
	}
	return ""
}

func BenchmarkDecide(b *testing.B) {
	all := make([]state.ArtifactBrief, 100_000)
	for i := range all {
		at := start.Add(time.Duration(i/1000) * 24 * time.Hour)
		all[i] = state.ArtifactBrief{ID: fmt.Sprintf("%06d", i), Device: fmt.Sprint("device.", i%1000), Started: at, Verified: at, State: state.ArtifactGood}
	}
	p := retention.Policy{Daily: 30, Weekly: 8, Monthly: 12}
	for b.Loop() {
		p.Decide(all, start.Add(200*24*time.Hour))
	}
}
