package status

import (
	"slices"
	"strings"
	"time"

	"github.com/holdfast-dr/holdfast/config/unit"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/reconcile/retention"
	"github.com/holdfast-dr/holdfast/reconcile/verification"
	"github.com/holdfast-dr/holdfast/state"
)

// Store is how far the artifacts of a store are known to be good.
type Store struct {
	Address     string        `json:"address"`
	Artifacts   int           `json:"artifacts"` // good ones
	Bytes       int64         `json:"bytes"`
	Within      unit.Duration `json:"within,omitempty"`      // each is to be read back this often; zero: no verification is declared
	Oldest      time.Time     `json:"oldest_check,omitzero"` // the longest ago that one was read back; zero: one never was, or there is none
	Due         int           `json:"due,omitempty"`         // to be read back now
	Overdue     int           `json:"overdue,omitempty"`     // of them, not read within the period
	Quarantined int           `json:"quarantined,omitempty"` // damaged artifacts
	Last        *state.Run    `json:"last_verify,omitempty"` // newest run, when it was a verification
}

// Quarantined is an artifact that failed verification. It counts for nothing and stays until its retention deletes it.
type Quarantined struct {
	Artifact   string    `json:"artifact"`
	Store      string    `json:"store"`
	BackupPlan string    `json:"backup_plan"`
	Device     string    `json:"device"`
	Domain     string    `json:"domain,omitempty"`
	Started    time.Time `json:"started"`
	Since      time.Time `json:"since,omitzero"` // when the check failed; zero when that was not recorded
	Replaced   bool      `json:"replaced"`       // a newer good artifact of its kind is there; otherwise a new backup is needed
}

func storeStatus(st *state.Snapshot, addr string, stored []state.ArtifactBrief, now time.Time) Store {
	r := verification.Of(stored, verification.Period(st.Objects[addr]), now)
	s := Store{
		Address: addr, Artifacts: r.Good, Bytes: r.Bytes, Within: unit.Duration(r.Within), Oldest: r.Oldest, Due: len(r.Due), Overdue: r.Overdue,
	}
	for _, a := range stored {
		if a.State == state.ArtifactQuarantined {
			s.Quarantined++
		}
	}
	if run := lastRun(st.LastRuns, addr); run != nil && run.Kind == string(reconcile.ActionVerify) {
		s.Last = run
	}
	return s
}

// quarantined lists the damaged artifacts of all stores.
func quarantined(all []state.ArtifactBrief, now time.Time) []Quarantined {
	found := []Quarantined{}
	newest := retention.Newest(all, now)
	for _, a := range all {
		if a.State == state.ArtifactQuarantined {
			found = append(found, Quarantined{
				Artifact: a.ID, Store: a.Store, BackupPlan: a.BackupPlan, Device: a.Device, Domain: a.Domain, Started: a.Started,
				Since: a.Quarantined, Replaced: newest[retention.GroupOf(a)].After(a.Started),
			})
		}
	}
	slices.SortFunc(found, func(x, y Quarantined) int {
		if d := y.Started.Compare(x.Started); d != 0 {
			return d
		}
		return strings.Compare(x.Artifact, y.Artifact)
	})
	return found
}
