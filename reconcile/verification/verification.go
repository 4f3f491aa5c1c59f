// Package verification decides which artifacts of a store are read back when, so that every one is read within the declared period. It is pure.
package verification

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/state"
)

// How the reading of a store is spread over its period. An artifact is due when two thirds of the period have passed since it was read
// last, oldest first, so that a third is left for closed windows, freezes and outages. The captures of one night, or all artifacts after
// a rescan, fall due together; reading them at once would keep a store busy for days. So the store is read in shares:
//
//   - a share comes at most every thirtieth of the period, however often plans are made;
//   - it holds what is due up to the part of the whole store that the time that something is due, since the last share, is of a sixth of
//     the period. All shares together come through everything in half of the slack, and one after an outage makes up for those that did not come;
//   - it holds at least one artifact, and at most mostChecks.
//
// What is overdue is the oldest and goes first, but is no reason for a larger share: where much of it comes at once, the store was not
// looked at for long, which makes the share large, or its verification is new, which is what shares are for. holdfast verify --due reads
// without shares.
const (
	ShareEvery = 30 // shares in a period, at most
	shareWhole = 6  // part of the period in which shares add up to the whole store
	AuditEvery = 3  // looks at the catalogue in a period, at least; every share begins with one

	// mostChecks bounds the tasks of one plan for one store.
	mostChecks = 5000
	// checkCost is what an artifact costs beside its bytes, in bytes: opening its files, writing down the outcome.
	checkCost = 1 << 20
)

// readAt is when an artifact was read back last. A time in the future counts for nothing, or a wrong clock would keep it from ever being read.
func readAt(a state.ArtifactBrief, now time.Time) time.Time {
	if a.Verified.After(now.Add(state.FutureLimit)) {
		return time.Time{}
	}
	return a.Verified
}

// Progress is how far the good artifacts of one store are read.
type Progress struct {
	Within  time.Duration
	Good    int
	Bytes   int64
	Oldest  time.Time             // the longest ago that one was read; zero: there is one that never was, or none at all
	Due     []state.ArtifactBrief // longest ago first
	Overdue int                   // of Due

	cost int64
}

// Of looks at the artifacts of one store. With a period of zero nothing is due.
func Of(all []state.ArtifactBrief, within time.Duration, now time.Time) Progress {
	r := Progress{Within: within}
	for _, a := range all {
		if a.State != state.ArtifactGood {
			continue
		}
		at := readAt(a, now)
		if r.Good == 0 || at.Before(r.Oldest) {
			r.Oldest = at
		}
		r.Good++
		r.Bytes += a.Bytes
		r.cost += a.Bytes + checkCost
		if age := now.Sub(at); within > 0 && age >= within-within/3 {
			r.Due = append(r.Due, a)
			if age > within {
				r.Overdue++
			}
		}
	}
	slices.SortFunc(r.Due, func(x, y state.ArtifactBrief) int {
		return cmp.Or(readAt(x, now).Compare(readAt(y, now)), strings.Compare(x.ID, y.ID))
	})
	return r
}

// Share takes the artifacts that are read now, when the last share was at some time.
func (r Progress) Share(last, now time.Time) []state.ArtifactBrief {
	if due := r.Oldest.Add(r.Within - r.Within/3); due.After(last) {
		last = due
	}
	whole := r.Within / shareWhole
	budget := float64(r.cost) * float64(min(max(now.Sub(last), 0), whole)) / float64(whole)
	n := 0
	for taken := int64(0); n < min(len(r.Due), mostChecks) && (n == 0 || float64(taken) < budget); n++ {
		taken += r.Due[n].Bytes + checkCost
	}
	return r.Due[:n]
}

// Due lists the artifacts that are due to be read back, by store and longest ago first, in all stores that are recorded with a verification.
func Due(st *state.Snapshot, now time.Time) []state.ArtifactBrief {
	stored := ByStore(st.Catalogue)
	var due []state.ArtifactBrief
	for _, addr := range slices.Sorted(maps.Keys(st.Objects)) {
		if config.Address(addr).Kind() == config.KindStore {
			due = append(due, Of(stored[addr], Period(st.Objects[addr]), now).Due...)
		}
	}
	return due
}

// ByStore sorts artifacts by the store they are in.
func ByStore(all []state.ArtifactBrief) map[string][]state.ArtifactBrief {
	stored := map[string][]state.ArtifactBrief{}
	for _, a := range all {
		stored[a.Store] = append(stored[a.Store], a)
	}
	return stored
}

// Period is the period in which a recorded store is to be read; 0 when none is declared.
func Period(o state.Object) time.Duration {
	var s config.Store
	if json.Unmarshal(o.Spec, &s) != nil || s.Verify == nil {
		return 0
	}
	return s.Verify.Within.Std()
}
