// Package status says how things stand, from the recorded state alone. It is pure.
package status

import (
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/config/schedule"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/reconcile/verification"
	"github.com/holdfast-dr/holdfast/state"
)

// Report is how things stand at an instant.
type Report struct {
	At          time.Time     `json:"at"`
	State       state.Meta    `json:"state"`
	Commit      string        `json:"commit,omitempty"` // last applied
	Objects     int           `json:"objects"`
	BackupPlans []BackupPlan  `json:"backup_plans"`
	Stores      []Store       `json:"stores"`
	Quarantined []Quarantined `json:"quarantined"` // artifacts that failed verification, newest first
	Mirrors     []Mirror      `json:"mirrors"`
	Failovers   []state.Role  `json:"failovers"`
	Working     []state.Run   `json:"working_runs"` // somebody works on them right now
	OpenRuns    []state.Run   `json:"open_runs"`    // did not end, and nobody works on them
	Attention   []state.Run   `json:"attention"`    // runs with a task whose outcome is unknown: a person decides
	Locks       []state.Lock  `json:"locks"`
}

// BackupPlan is how a backup plan stands.
type BackupPlan struct {
	Address   string             `json:"address"`
	Last      *state.Run         `json:"last,omitempty"`      // newest run
	LastGood  *state.Run         `json:"last_good,omitempty"` // newest that backed something up, also in part
	Good      time.Time          `json:"good,omitzero"`       // the end of LastGood; or when an artifact was taken that is newer, and whose run is not recorded
	Next      time.Time          `json:"next,omitzero"`       // next nominal time; zero: no schedule
	Overdue   bool               `json:"overdue,omitempty"`   // a nominal time passed that has no run
	Stopped   bool               `json:"stopped,omitempty"`   // all backups are switched off in the settings
	Missed    []reconcile.Missed `json:"missed,omitempty"`    // those nominal times, oldest first, at most 1000; of one never run only the newest
	Artifacts state.Holdings     `json:"artifacts"`
}

// Mirror is how a mirror stands.
type Mirror struct {
	Address  string         `json:"address"`
	Position state.Position `json:"position,omitzero"`
	Lag      time.Duration  `json:"lag_ns"` // age of the copy; -1: never synced
	MaxLag   time.Duration  `json:"max_lag_ns,omitempty"`
	Healthy  bool           `json:"healthy"`
	Last     *state.Run     `json:"last,omitempty"`
}

// Of works out how things stand. It needs no configuration and contacts nothing.
func Of(st *state.Snapshot, now time.Time) Report {
	s := Report{
		Stores: []Store{}, Quarantined: quarantined(st, now),
		At: now.UTC(), State: st.Meta, Commit: st.LastCommit(), Objects: len(st.Objects),
		BackupPlans: []BackupPlan{}, Mirrors: []Mirror{}, Failovers: []state.Role{}, // JSON shows an empty list, not null
		Working: []state.Run{}, OpenRuns: []state.Run{}, Attention: append([]state.Run{}, st.Undecided...), Locks: append([]state.Lock{}, st.Locks...),
	}
	stored := verification.ByStore(st.Catalogue)
	for _, addr := range slices.Sorted(maps.Keys(st.Objects)) {
		switch config.Address(addr).Kind() {
		case config.KindStore:
			s.Stores = append(s.Stores, storeStatus(st, addr, stored[addr], now))
		case config.KindBackupPlan:
			s.BackupPlans = append(s.BackupPlans, backupPlanStatus(st, addr, now))
		case config.KindMirror:
			s.Mirrors = append(s.Mirrors, mirrorStatus(st, addr, now))
		}
	}
	for _, addr := range slices.Sorted(maps.Keys(st.Roles)) {
		s.Failovers = append(s.Failovers, st.Roles[addr])
	}
	for _, r := range st.OpenRuns {
		switch r = r.Standing(st.Locks, now); {
		case r.Status == state.Attention:
		case r.Working(st.Locks, now):
			s.Working = append(s.Working, r)
		default:
			s.OpenRuns = append(s.OpenRuns, r)
		}
	}
	return s
}

func lastRun(st *state.Snapshot, addr string, now time.Time) *state.Run {
	r, ok := st.LastRuns[addr]
	if !ok {
		return nil
	}
	r = r.Standing(st.Locks, now)
	return &r
}

func backupPlanStatus(st *state.Snapshot, addr string, now time.Time) BackupPlan {
	s := BackupPlan{Address: addr, Last: lastRun(st, addr, now), Artifacts: st.Artifacts[addr]}
	if r, ok := st.LastGood[addr]; ok {
		s.LastGood = &r
	}
	if s.Good = s.Artifacts.Found; s.LastGood != nil && s.LastGood.EndedAt.After(s.Good) {
		s.Good = s.LastGood.EndedAt
	}
	var bp config.BackupPlan
	if json.Unmarshal(st.Objects[addr].Spec, &bp) != nil {
		return s
	}
	s.Stopped = bp.Stopped()
	if bp.Schedule == "" || bp.Off() {
		return s
	}
	loc, err := schedule.LoadZone(bp.Timezone) // that of the settings when none was written: the loader fills it in
	if err != nil {
		return s
	}
	cron, err := schedule.ParseCron(bp.Schedule, loc)
	if err != nil {
		return s
	}
	s.Next = inUTC(cron.Next(now).At)
	s.Missed = passed(cron, st.Cursors[addr].At, now)
	s.Overdue = len(s.Missed) > 0
	return s
}

// inUTC is an instant as JSON has it.
func inUTC(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC()
}

// mostTold bounds the missed times that are listed.
const mostTold = 1000

// passed lists the nominal times after a cursor that have come; without a cursor only the newest.
func passed(cron *schedule.Cron, cursor, now time.Time) []reconcile.Missed {
	latest, ok := cron.Latest(now)
	if !ok || !latest.At.After(cursor) {
		return nil
	}
	occurrences := []schedule.Occurrence{latest}
	if !cursor.IsZero() {
		occurrences, _ = cron.Between(cursor, now, mostTold)
	}
	missed := make([]reconcile.Missed, len(occurrences))
	for i, o := range occurrences {
		missed[i] = reconcile.Missed{Nominal: o.Nominal, At: o.At.UTC()}
	}
	return missed
}

func mirrorStatus(st *state.Snapshot, addr string, now time.Time) Mirror {
	s := Mirror{Address: addr, Lag: -1, Last: lastRun(st, addr, now)}
	var m config.Mirror
	if json.Unmarshal(st.Objects[addr].Spec, &m) == nil {
		s.MaxLag = m.MaxLag.Std()
	}
	if pos, ok := st.Positions[addr]; ok {
		s.Position = pos
		s.Lag = max(0, now.Sub(pos.At))
	}
	broken := s.Last != nil && (s.Last.Status == state.Failed || s.Last.Status == state.Partial || s.Last.Status == state.Attention)
	s.Healthy = s.Lag >= 0 && (s.MaxLag == 0 || s.Lag <= s.MaxLag) && !broken
	return s
}
