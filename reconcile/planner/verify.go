package planner

import (
	"fmt"
	"slices"
	"time"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/config/unit"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/reconcile/retention"
	"github.com/holdfast-dr/holdfast/reconcile/verification"
	"github.com/holdfast-dr/holdfast/state"
)

// checkParallel is how many artifacts of a store are read at one time: the next is opened while one is read, and a single disk need
// not seek between many.
const checkParallel = 2

// verifyStores plans what is read back of each store. Only what is applied counts, as with retention.
func (b *builder) verifyStores() {
	if len(b.st.Catalogue) == 0 {
		return
	}
	stored := verification.ByStore(b.st.Catalogue)
	for _, s := range all[*config.Store](b) {
		if s.Verify != nil && b.wants(s.Address) && b.applied(s.Address) && len(stored[string(s.Address)]) > 0 {
			b.verifyStore(s, verification.Of(stored[string(s.Address)], s.Verify.Within.Std(), b.now))
		}
	}
	b.damaged()
}

func (b *builder) verifyStore(s *config.Store, r verification.Progress) {
	since := b.recorded[string(s.Address)].AppliedAt
	if run, ok := b.st.LastGood[string(s.Address)]; ok && run.Kind == string(reconcile.ActionVerify) {
		since = run.CreatedAt
	}
	if r.Overdue > 0 {
		b.warnf(s.Address, "HF-VER-001", s.At("verify.within"), "Artifacts were not read in time",
			"%d of %s in %s were not read back within %s, the oldest %s. Each plan that is applied reads a share, oldest first; holdfast verify --due reads all of them now.",
			r.Overdue, plural(r.Good, "artifact", "artifacts"), s.Address, s.Verify.Within, b.lastRead(r.Oldest))
	}
	last, ran := b.st.LastRuns[string(s.Address)]
	ran = ran && last.Kind == string(reconcile.ActionVerify) && !last.CreatedAt.After(b.now)
	audit := b.now.Sub(since) >= r.Within/verification.AuditEvery
	if len(r.Due) == 0 && !audit || ran && b.now.Sub(last.CreatedAt) < r.Within/verification.ShareEvery {
		return
	}
	a := reconcile.Action{Address: string(s.Address), Kind: reconcile.ActionVerify, Class: reconcile.ClassSafe, Trigger: state.TriggerApply, Parallel: checkParallel}
	share := r.Share(since, b.now)
	if a.Reason = "its catalogue is due to be looked at"; len(share) > 0 {
		a.Reason = fmt.Sprintf("reads back %s, %s", plural(len(share), "artifact", "artifacts"), unit.Bytes(bytesOf(share)))
		a.Summary = "the oldest " + b.lastRead(r.Oldest)
	}
	if more := len(r.Due) - len(share); more > 0 {
		a.Summary += fmt.Sprintf("; %d more with the next plans", more)
	}
	if open, running := b.running(s.Address); running {
		b.postpone(s.Address, reconcile.ActionVerify, a.Reason, "run "+open.ID+" of it, which has not ended", time.Time{})
		return
	}
	if b.planned[string(s.Address)] {
		b.postpone(s.Address, reconcile.ActionVerify, a.Reason, "the other work on it in this plan", time.Time{})
		return
	}
	w := b.window(s.Verify.Window, workBackup)
	if !b.mayStart(s.Address, reconcile.ActionVerify, a.Reason, w) {
		return
	}
	a.Tasks = b.checkTasks(s, w, share)
	b.use(s.Address)
	b.needRecorded(s.Address)
	b.add(a)
}

// checkTasks has one task for each artifact. Each outcome is then durable by itself: a crash or a window that closes costs the reading of
// those in hand and no more, and the history names each that was bad. The catalogue is looked at first, by a task of its own.
func (b *builder) checkTasks(s *config.Store, w opening, share []state.ArtifactBrief) []reconcile.Task {
	tasks := []reconcile.Task{{
		Kind: "verify", Stage: reconcile.StageWork, Device: string(s.Address), Action: "compare catalogue, manifests and files",
		Steps: []reconcile.Step{w.step, reconcile.NewStep("catalogue", reconcile.OpStoreAudit, state.Rerun, reconcile.StoreArgs{Store: string(s.Address)})},
	}}
	for _, a := range share {
		tasks = append(tasks, reconcile.Task{
			Kind: "verify", Stage: reconcile.StageWork, Activity: config.Address(a.BackupPlan).Name(), Device: a.Device, Domain: a.Domain,
			Action: fmt.Sprintf("read %s, taken %s, %s", a.ID, a.Started.UTC().Format("2006-01-02 15:04:05"), unit.Bytes(a.Bytes)),
			Steps:  []reconcile.Step{w.step, reconcile.NewStep("check", reconcile.OpArtifactCheck, state.Rerun, reconcile.CheckArgs{Artifact: a.ID, Store: a.Store})},
		})
	}
	return tasks
}

func bytesOf(all []state.ArtifactBrief) (n int64) {
	for _, a := range all {
		n += a.Bytes
	}
	return n
}

func (b *builder) lastRead(at time.Time) string {
	if at.IsZero() {
		return "never read"
	}
	return "unread since " + b.moment(at)
}

// damaged warns of quarantined artifacts that no newer good one replaces.
func (b *builder) damaged() {
	newest := retention.Newest(b.st.Catalogue, b.now)
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
