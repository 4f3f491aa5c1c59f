package planner

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/config/schedule"
	"github.com/holdfast-dr/holdfast/config/unit"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/reconcile/retention"
	"github.com/holdfast-dr/holdfast/state"
)

// mostDeletions bounds what one plan deletes by one retention; the oldest go first and the rest follows in the next plan.
const mostDeletions = 5000

// retain plans the deletion of what no rule keeps. Only what is applied counts: a retention or a backup plan
// that this plan changes deletes nothing before the next plan, which shows what.
func (b *builder) retain() {
	if len(b.st.Catalogue) == 0 {
		return
	}
	users := map[config.Address][]*config.BackupPlan{}
	for _, bp := range all[*config.BackupPlan](b) {
		r, ok := config.Lookup[*config.Retention](b.doc, bp.Retention)
		if ok && b.wants(bp.Address) && b.applied(bp.Address) && b.applied(bp.Store) && !b.clockDoubted(bp, r) {
			users[bp.Retention] = append(users[bp.Retention], bp)
		}
	}
	for _, r := range all[*config.Retention](b) {
		if len(users[r.Address]) > 0 && b.wants(r.Address) && b.applied(r.Address) {
			b.retention(r, users[r.Address])
		}
	}
}

// retention plans what one retention deletes.
func (b *builder) retention(r *config.Retention, users []*config.BackupPlan) {
	decided := b.decide(r, users)
	if b.doubtful(r, decided); len(decided) == 0 {
		return
	}
	gone := slices.DeleteFunc(slices.Clone(decided), func(d retention.Decision) bool { return d.Keep || !b.reachable(d.Store) })
	if len(gone) == 0 {
		return
	}
	slices.SortStableFunc(gone, func(x, y retention.Decision) int { return x.Started.Compare(y.Started) })
	more := len(gone) - mostDeletions
	gone = gone[:min(len(gone), mostDeletions)]
	del := newDeletion(r.Address, decided, gone)
	reason := "deletes " + deletionText(del)
	if open, running := b.running(r.Address); running {
		b.postpone(r.Address, reconcile.ActionRetention, reason, "run "+open.ID+" of it, which has not ended", time.Time{})
		return
	}
	if hold := b.st.Meta.Hold; hold.Holds(b.now) {
		b.postpone(r.Address, reconcile.ActionRetention, reason, b.holdText(hold), hold.Until)
		return
	}
	if !b.mayStart(r.Address, reconcile.ActionRetention, reason, b.window("", workBackup)) {
		return
	}
	a := reconcile.Action{
		Address: string(r.Address), Kind: reconcile.ActionRetention, Class: reconcile.ClassSafe, Reason: reason, Trigger: state.TriggerApply, Parallel: 1,
		Summary: deletionSpan(del),
	}
	if more > 0 {
		a.Summary += fmt.Sprintf("; %d more with the next plan", more)
	}
	plans := map[string]map[string]int64{}
	for _, bp := range users {
		plans[string(bp.Address)] = map[string]int64{
			string(bp.Address): b.recorded[string(bp.Address)].Generation, string(r.Address): b.recorded[string(r.Address)].Generation,
		}
	}
	for _, d := range gone {
		a.Tasks = append(a.Tasks, b.expireTask(r, d, plans[d.BackupPlan]))
		b.needRecorded(config.Address(d.BackupPlan))
		b.needRecorded(config.Address(d.Store))
	}
	b.needRecorded(r.Address)
	b.need(reconcile.Precondition{Kind: reconcile.NeedDeleteSet, Address: del.Address, Want: del.IDsDigest})
	b.add(a)
	b.plan.Deletions = append(b.plan.Deletions, del)
	b.brakeDeletion(r, del, countGood(decided))
}

func (b *builder) expireTask(r *config.Retention, d retention.Decision, objects map[string]int64) reconcile.Task {
	args := reconcile.ExpireArgs{Artifact: d.ID, Store: d.Store, Newer: r.MinCopies, Objects: objects}
	if d.State == state.ArtifactQuarantined {
		args.Newer = 1 // it counts for no floor
	}
	b.use(config.Address(d.Store))
	return reconcile.Task{
		Kind: "retention", Stage: reconcile.StageWork, Activity: config.Address(d.BackupPlan).Name(), Device: d.Device, Domain: d.Domain,
		Action: fmt.Sprintf("delete %s, taken %s, %s", d.ID, d.Started.UTC().Format("2006-01-02 15:04:05"), unit.Bytes(d.Bytes)),
		Steps: []reconcile.Step{
			b.window("", workBackup).step,
			reconcile.NewStep("expire", reconcile.OpArtifactExpire, state.Rerun, args),
			reconcile.NewStep("delete", reconcile.OpArtifactDelete, state.Rerun, args),
		},
	}
}

// decide judges the artifacts of some backup plans, each in its own zone.
func (b *builder) decide(r *config.Retention, users []*config.BackupPlan) []retention.Decision {
	byPlan := b.catalogue()
	var decided []retention.Decision
	for _, bp := range users {
		zone, err := schedule.LoadZone(b.zone(bp.Timezone))
		if err != nil {
			continue // it is reported with the schedule, and a zone that is not known deletes nothing
		}
		p := retention.Policy{
			Last: r.KeepLast, Hourly: r.KeepHourly, Daily: r.KeepDaily, Weekly: r.KeepWeekly, Monthly: r.KeepMonthly, Yearly: r.KeepYearly,
			Within: r.KeepWithin.Std(), MinCopies: r.MinCopies, Zone: zone,
		}
		decided = append(decided, p.Decide(byPlan[b.recordedAddress(bp.Address)], b.now)...)
	}
	return decided
}

// catalogue gives the artifacts by backup plan.
func (b *builder) catalogue() map[string][]state.ArtifactBrief {
	if b.artifacts == nil {
		b.artifacts = map[string][]state.ArtifactBrief{}
		for _, a := range b.st.Catalogue {
			b.artifacts[a.BackupPlan] = append(b.artifacts[a.BackupPlan], a)
		}
	}
	return b.artifacts
}

// reachable reports whether a store can be opened as it is recorded, and was not seen to be another or an older one.
func (b *builder) reachable(store string) bool {
	return b.applied(config.Address(store)) && b.misfit(config.Address(store)) == nil
}

// holdText says what deletions wait for during a hold.
func (b *builder) holdText(h state.Hold) string {
	return fmt.Sprintf("the end of the hold on deletions at %s (%s); to end it now: holdfast state release-hold --reason ...", b.moment(h.Until), h.Reason)
}

// doubtful warns of artifacts whose time cannot be right.
func (b *builder) doubtful(r *config.Retention, decided []retention.Decision) {
	var future []string
	for _, d := range decided {
		if d.Future {
			future = append(future, d.ID)
		}
	}
	if len(future) > 0 {
		slices.Sort(future)
		b.warnf(r.Address, "HF-RET-001", r.Range, "Artifacts are dated in the future",
			"%s is dated after now. Such artifacts are kept and count for nothing: one clock, now or then, is wrong.", list(future))
	}
}

func countGood(decided []retention.Decision) int {
	good := 0
	for _, d := range decided {
		if d.State == state.ArtifactGood {
			good++
		}
	}
	return good
}

// newDeletion sums up what goes, which is ordered by time.
func newDeletion(address config.Address, decided, gone []retention.Decision) reconcile.Deletion {
	del := reconcile.Deletion{Address: string(address), Count: len(gone), Oldest: gone[0].Started.UTC(), Newest: gone[len(gone)-1].Started.UTC()}
	out := map[string]bool{}
	for _, d := range gone {
		del.Bytes += d.Bytes
		del.IDs = append(del.IDs, d.ID)
		out[d.ID] = true
	}
	slices.Sort(del.IDs)
	del.IDsDigest = reconcile.DigestIDs(del.IDs)
	del.LookBackBefore = lookBack(decided, func(retention.Decision) bool { return true })
	del.LookBackAfter = lookBack(decided, func(d retention.Decision) bool { return !out[d.ID] })
	return del
}

// lookBack gives the seconds between the oldest and the newest good artifact, in the group where they are the most.
func lookBack(decided []retention.Decision, counts func(retention.Decision) bool) int64 {
	newest := map[retention.Group]time.Time{}
	var most time.Duration
	for _, d := range decided { // newest first in each group
		if d.State != state.ArtifactGood || d.Future || !counts(d) {
			continue
		}
		g := retention.GroupOf(d.ArtifactBrief)
		if _, ok := newest[g]; !ok {
			newest[g] = d.Started
		}
		most = max(most, newest[g].Sub(d.Started))
	}
	return int64(most / time.Second)
}

func deletionText(d reconcile.Deletion) string {
	return fmt.Sprintf("%s, %s", plural(d.Count, "artifact", "artifacts"), unit.Bytes(d.Bytes))
}

func deletionSpan(d reconcile.Deletion) string {
	return fmt.Sprintf("%s .. %s; look-back %s -> %s", d.Oldest.Format(time.DateOnly), d.Newest.Format(time.DateOnly),
		lookBackText(d.LookBackBefore), lookBackText(d.LookBackAfter))
}

func lookBackText(seconds int64) string {
	if hours := seconds / 3600; hours < 48 {
		return fmt.Sprintf("%d h", hours)
	}
	return fmt.Sprintf("%d d", (seconds+12*3600)/(24*3600))
}

// previewDeletion tells a person who shortens a retention what the next plan will delete.
func (b *builder) previewDeletion(r *config.Retention, c *reconcile.Change) {
	if c.Class != reconcile.ClassDestroy {
		return
	}
	var users []*config.BackupPlan
	for _, bp := range all[*config.BackupPlan](b) {
		if bp.Retention == r.Address {
			users = append(users, bp)
		}
	}
	if text := b.preview(r, users); text != "" {
		c.Note += ": " + text
	}
}

func (b *builder) preview(r *config.Retention, users []*config.BackupPlan) string {
	decided := b.decide(r, users)
	gone := slices.DeleteFunc(slices.Clone(decided), func(d retention.Decision) bool { return d.Keep })
	if len(gone) == 0 {
		return ""
	}
	slices.SortStableFunc(gone, func(x, y retention.Decision) int { return x.Started.Compare(y.Started) })
	del := newDeletion(r.Address, decided, gone)
	return fmt.Sprintf("the next plan deletes %s, %s", deletionText(del), deletionSpan(del))
}

// gradeRetention looks at a backup plan that is given another retention: pointing to a shorter one loses as much as
// shortening the one it has.
func (b *builder) gradeRetention(bp *config.BackupPlan, before json.RawMessage, c *reconcile.Change) {
	now, ok := config.Lookup[*config.Retention](b.doc, bp.Retention)
	if !ok || !touches(c.Paths, "retention") {
		return
	}
	var old config.BackupPlan
	if json.Unmarshal(before, &old) == nil && old.Retention != "" {
		if was, recorded := b.recorded[b.current(string(old.Retention))]; recorded && !shrinks(was.Spec, now) {
			return
		}
	}
	c.Class, c.Note = reconcile.ClassDestroy, strings.TrimPrefix(c.Note+"; its artifacts are kept only as "+string(bp.Retention)+" says", "; ")
	if text := b.preview(now, []*config.BackupPlan{bp}); text != "" {
		c.Note += ": " + text
	}
}

// inherit looks at a backup plan that is recorded anew and finds artifacts of its name.
func (b *builder) inherit(bp *config.BackupPlan, c *reconcile.Change) {
	h := b.st.Artifacts[string(bp.Address)]
	r, ok := config.Lookup[*config.Retention](b.doc, bp.Retention)
	if h.Count == 0 || !ok {
		return
	}
	c.Note = fmt.Sprintf("its %s from before fall under %s", plural(h.Count, "artifact", "artifacts"), bp.Retention)
	if hold := b.st.Meta.Hold; hold.Holds(b.now) { // the record was rebuilt: the backup plan is the one that made them
		c.Note += "; nothing is deleted before " + b.moment(hold.Until)
		return
	}
	c.Class = reconcile.ClassDestroy
	if text := b.preview(r, []*config.BackupPlan{bp}); text != "" {
		c.Note += ": " + text
	}
}
