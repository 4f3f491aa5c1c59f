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
	Replaced   bool      `json:"replaced"`       // a newer good artifact of its kind is there
	Todo       string    `json:"todo"`           // what a person does about it, with what to type
}

// Remedies gives a function that says what a person does about an artifact that is damaged, when the state is this one.
func Remedies(st *state.Snapshot, now time.Time) func(state.ArtifactBrief) string {
	newest := retention.Newest(st.Catalogue, now)
	return func(a state.ArtifactBrief) string {
		_, recorded := st.Objects[a.BackupPlan]
		switch {
		case replaced(a, newest):
			return "nothing: a newer one is good"
		case a.BackupPlan == "":
			return "no backup plan takes it again; to save what can be read: holdfast restore apply --allow-quarantined --dir DIRECTORY --artifact " + a.ID + "; to be rid of it: holdfast artifact delete " + a.ID
		case !recorded:
			return a.BackupPlan + " is no longer recorded: back up " + a.Device + " with another backup plan"
		}
		return "take a new backup: holdfast run " + a.BackupPlan
	}
}

// replaced reports whether a newer good artifact can take the place of one. What a restore was about to overwrite was there only then.
func replaced(a state.ArtifactBrief, newest map[retention.Group]time.Time) bool {
	return a.BackupPlan != "" && newest[retention.GroupOf(a)].After(a.Started)
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
	if run := lastRun(st, addr, now); run != nil && run.Kind == string(reconcile.ActionVerify) {
		s.Last = run
	}
	return s
}

// quarantined lists the damaged artifacts of all stores.
func quarantined(st *state.Snapshot, now time.Time) []Quarantined {
	found := []Quarantined{}
	newest, remedy := retention.Newest(st.Catalogue, now), Remedies(st, now)
	for _, a := range st.Catalogue {
		if a.State == state.ArtifactQuarantined {
			found = append(found, Quarantined{
				Artifact: a.ID, Store: a.Store, BackupPlan: a.BackupPlan, Device: a.Device, Domain: a.Domain, Started: a.Started,
				Since: a.Quarantined, Replaced: replaced(a, newest), Todo: remedy(a),
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
