package reconcile

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/reconcile/retention"
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
	shareEvery = 30 // shares in a period, at most
	shareWhole = 6  // part of the period in which shares add up to the whole store
	auditEvery = 3  // looks at the catalogue in a period, at least; every share begins with one

	// mostChecks bounds the tasks of one plan for one store.
	mostChecks = 5000
	// checkCost is what an artifact costs beside its bytes, in bytes: opening its files, writing down the outcome.
	checkCost = 1 << 20
	// checkParallel is how many artifacts of a store are read at one time: the next is opened while one is read, and a single disk need
	// not seek between many.
	checkParallel = 2
)

// readAt is when an artifact was read back last. A time in the future counts for nothing, or a wrong clock would keep it from ever being read.
func readAt(a state.ArtifactBrief, now time.Time) time.Time {
	if a.Verified.After(now.Add(state.FutureLimit)) {
		return time.Time{}
	}
	return a.Verified
}

// reading is how far the good artifacts of one store are read.
type reading struct {
	within  time.Duration
	good    int
	bytes   int64
	cost    int64
	oldest  time.Time             // the longest ago that one was read; zero: there is one that never was, or none at all
	due     []state.ArtifactBrief // longest ago first
	overdue int                   // of due
}

// readingOf looks at the artifacts of one store. With a period of zero nothing is due.
func readingOf(all []state.ArtifactBrief, within time.Duration, now time.Time) reading {
	r := reading{within: within}
	for _, a := range all {
		if a.State != state.ArtifactGood {
			continue
		}
		at := readAt(a, now)
		if r.good == 0 || at.Before(r.oldest) {
			r.oldest = at
		}
		r.good++
		r.bytes += a.Bytes
		r.cost += a.Bytes + checkCost
		if age := now.Sub(at); within > 0 && age >= within-within/3 {
			r.due = append(r.due, a)
			if age > within {
				r.overdue++
			}
		}
	}
	slices.SortFunc(r.due, func(x, y state.ArtifactBrief) int {
		return cmp.Or(readAt(x, now).Compare(readAt(y, now)), strings.Compare(x.ID, y.ID))
	})
	return r
}

// share takes the artifacts that are read now, when the last share was at some time.
func (r reading) share(last, now time.Time) []state.ArtifactBrief {
	if due := r.oldest.Add(r.within - r.within/3); due.After(last) {
		last = due
	}
	whole := r.within / shareWhole
	budget := float64(r.cost) * float64(min(max(now.Sub(last), 0), whole)) / float64(whole)
	n := 0
	for taken := int64(0); n < min(len(r.due), mostChecks) && (n == 0 || float64(taken) < budget); n++ {
		taken += r.due[n].Bytes + checkCost
	}
	return r.due[:n]
}

// DueChecks lists the artifacts that are due to be read back, by store and longest ago first, in all stores that are recorded with a verification.
func DueChecks(st *state.Snapshot, now time.Time) []state.ArtifactBrief {
	stored := byStore(st.Catalogue)
	var due []state.ArtifactBrief
	for _, addr := range sortedKeys(st.Objects) {
		if config.Address(addr).Kind() == config.KindStore {
			due = append(due, readingOf(stored[addr], recordedPeriod(st.Objects[addr]), now).due...)
		}
	}
	return due
}

func byStore(all []state.ArtifactBrief) map[string][]state.ArtifactBrief {
	stored := map[string][]state.ArtifactBrief{}
	for _, a := range all {
		stored[a.Store] = append(stored[a.Store], a)
	}
	return stored
}

// recordedPeriod is the period in which a recorded store is to be read; 0 when none is declared.
func recordedPeriod(o state.Object) time.Duration {
	var s config.Store
	if json.Unmarshal(o.Spec, &s) != nil || s.Verify == nil {
		return 0
	}
	return s.Verify.Within.Std()
}

// verifyStores plans what is read back of each store. Only what is applied counts, as with retention.
func (b *builder) verifyStores() {
	if len(b.st.Catalogue) == 0 {
		return
	}
	stored := byStore(b.st.Catalogue)
	for _, s := range all[*config.Store](b) {
		if s.Verify != nil && b.wants(s.Address) && b.applied(s.Address) && len(stored[string(s.Address)]) > 0 {
			b.verifyStore(s, readingOf(stored[string(s.Address)], s.Verify.Within.Std(), b.now))
		}
	}
	b.damaged()
}

func (b *builder) verifyStore(s *config.Store, r reading) {
	since := b.recorded[string(s.Address)].AppliedAt
	if run, ok := b.st.LastGood[string(s.Address)]; ok && run.Kind == string(ActionVerify) {
		since = run.CreatedAt
	}
	if r.overdue > 0 {
		b.warnf(s.Address, "HF-VER-001", s.At("verify.within"), "Artifacts were not read in time",
			"%d of %s in %s were not read back within %s, the oldest %s. Each plan that is applied reads a share, oldest first; holdfast verify --due reads all of them now.",
			r.overdue, plural(r.good, "artifact", "artifacts"), s.Address, s.Verify.Within, lastRead(r.oldest))
	}
	last, ran := b.st.LastRuns[string(s.Address)]
	ran = ran && last.Kind == string(ActionVerify) && !last.CreatedAt.After(b.now)
	audit := b.now.Sub(since) >= r.within/auditEvery
	if len(r.due) == 0 && !audit || ran && b.now.Sub(last.CreatedAt) < r.within/shareEvery {
		return
	}
	a := Action{Address: string(s.Address), Kind: ActionVerify, Class: ClassSafe, Trigger: state.TriggerApply, Parallel: checkParallel}
	share := r.share(since, b.now)
	if a.Reason = "its catalogue is due to be looked at"; len(share) > 0 {
		a.Reason = fmt.Sprintf("reads back %s, %s", plural(len(share), "artifact", "artifacts"), bytesText(costOf(share)-int64(len(share))*checkCost))
		a.Summary = "the oldest " + lastRead(r.oldest)
	}
	if more := len(r.due) - len(share); more > 0 {
		a.Summary += fmt.Sprintf("; %d more with the next plans", more)
	}
	if open, running := b.running(s.Address); running {
		b.postpone(s.Address, ActionVerify, a.Reason, "run "+open.ID+" of it, which has not ended", time.Time{})
		return
	}
	if b.planned[string(s.Address)] {
		b.postpone(s.Address, ActionVerify, a.Reason, "the other work on it in this plan", time.Time{})
		return
	}
	w := b.window(s.Verify.Window, workBackup)
	if !b.mayStart(s.Address, ActionVerify, a.Reason, w) {
		return
	}
	a.Tasks = b.checkTasks(s, w, share)
	b.use(s.Address)
	b.needRecorded(s.Address)
	b.add(a)
}

// checkTasks has one task for each artifact. Each outcome is then durable by itself: a crash or a window that closes costs the reading of
// those in hand and no more, and the history names each that was bad. The catalogue is looked at first, by a task of its own.
func (b *builder) checkTasks(s *config.Store, w opening, share []state.ArtifactBrief) []Task {
	tasks := []Task{{
		Kind: "verify", Stage: StageWork, Device: string(s.Address), Action: "compare catalogue, manifests and files",
		Steps: []Step{w.step, newStep("catalogue", OpStoreAudit, state.Rerun, StoreArgs{Store: string(s.Address)})},
	}}
	for _, a := range share {
		tasks = append(tasks, Task{
			Kind: "verify", Stage: StageWork, Activity: config.Address(a.BackupPlan).Name(), Device: a.Device, Domain: a.Domain,
			Action: fmt.Sprintf("read %s, taken %s, %s", a.ID, a.Started.UTC().Format("2006-01-02 15:04:05"), bytesText(a.Bytes)),
			Steps:  []Step{w.step, newStep("check", OpArtifactCheck, state.Rerun, CheckArgs{Artifact: a.ID, Store: a.Store})},
		})
	}
	return tasks
}

func costOf(all []state.ArtifactBrief) (cost int64) {
	for _, a := range all {
		cost += a.Bytes + checkCost
	}
	return cost
}

func lastRead(at time.Time) string {
	if at.IsZero() {
		return "never read"
	}
	return "unread since " + at.UTC().Format("2006-01-02 15:04 MST")
}

// newestGood gives the time of the newest good artifact of each group. One of the future counts for nothing.
func newestGood(all []state.ArtifactBrief, now time.Time) map[retention.Group]time.Time {
	newest := map[retention.Group]time.Time{}
	for _, a := range all {
		if g := retention.GroupOf(a); a.State == state.ArtifactGood && a.Started.After(newest[g]) && !a.Started.After(now.Add(state.FutureLimit)) {
			newest[g] = a.Started
		}
	}
	return newest
}

// damaged warns of quarantined artifacts that no newer good one replaces.
func (b *builder) damaged() {
	newest := newestGood(b.st.Catalogue, b.now)
	lost := map[string][]string{}
	for _, a := range b.st.Catalogue {
		if a.State == state.ArtifactQuarantined && !newest[retention.GroupOf(a)].After(a.Started) {
			lost[a.BackupPlan] = append(lost[a.BackupPlan], fmt.Sprintf("%s (%s)", a.ID, ownerText(a.Device, a.Domain)))
		}
	}
	for _, bp := range all[*config.BackupPlan](b) {
		if ids := lost[b.recordedAddress(bp.Address)]; len(ids) > 0 && b.wants(bp.Address) {
			slices.Sort(ids)
			b.warnf(bp.Address, "HF-VER-002", bp.Range, "The newest backup is damaged",
				"%s failed verification and %s for nothing, and no newer backup is good. Take a new one: holdfast run %s.",
				list(ids), map[bool]string{true: "counts", false: "count"}[len(ids) == 1], bp.Address)
		}
	}
}

// ownerText names what an artifact is of: "ldap/etc".
func ownerText(device, domain string) string {
	name := config.Address(device).Name()
	if domain != "" {
		name += "/" + domain
	}
	return name
}
