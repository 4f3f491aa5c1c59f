package planner

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/state"
)

// backups plans every backup plan that is due.
func (b *builder) backups() {
	for _, bp := range all[*config.BackupPlan](b) {
		if !b.wants(bp.Address) {
			continue
		}
		if bp.Off() {
			b.warnf(bp.Address, "HF-BKP-001", bp.At("enabled"), "A backup plan is switched off", "%s has enabled = false: it runs only by hand.", bp.Address)
		} else {
			b.warnAhead(bp)
		}
		due, ok := b.due(bp)
		switch {
		case !ok:
		case due.former && !bp.Stopped() && !b.starts(bp, due):
			b.keepMissed(bp, due)
		default:
			b.backup(bp, due)
		}
	}
}

// backup plans a backup plan that is due, or says what it waits for.
func (b *builder) backup(bp *config.BackupPlan, due dueWork) {
	if b.stopped(bp, due.reason) {
		return
	}
	if waits := b.backupWaits(bp, due); waits != "" {
		b.postpone(bp.Address, reconcile.ActionBackup, due.reason, waits, time.Time{})
		return
	}
	a := scheduled(bp, due)
	switch {
	case due.skip:
		a.Summary = "not run: missed = \"skip\""
		b.needRecorded(bp.Address)
		b.add(a)
	case b.mayStart(bp.Address, reconcile.ActionBackup, due.reason, b.window(bp.Window, workBackup)):
		b.addBackup(bp, a)
	}
}

// scheduled is the action of a nominal time that came.
func scheduled(bp *config.BackupPlan, due dueWork) reconcile.Action {
	return reconcile.Action{
		Address: string(bp.Address), Kind: reconcile.ActionBackup, Class: reconcile.ClassSafe, Reason: due.reason, Trigger: state.TriggerSchedule,
		TriggerKey: due.nominal, Nominal: due.nominal, DueAt: due.at.UTC(), Missed: due.missed,
	}
}

// starts reports whether what is due runs with this plan.
func (b *builder) starts(bp *config.BackupPlan, due dueWork) bool {
	return !bp.Off() && b.backupWaits(bp, due) == "" && b.window(bp.Window, workBackup).now.Open
}

// keepMissed keeps a record of the nominal times that a schedule leaves when it changes: with the next plan nobody knows of them.
func (b *builder) keepMissed(bp *config.BackupPlan, due dueWork) {
	_, running := b.running(bp.Address)
	if due.held || running || b.recordedAddress(bp.Address) != string(bp.Address) {
		b.warnf(bp.Address, "HF-SCH-005", bp.At("schedule"), "Times that passed are not recorded",
			"%s was not run at times of the schedule that this plan changes: %s. They cannot be recorded as missed now. Change the schedule in a later apply if they should be.",
			bp.Address, due.reason)
		return
	}
	if !due.skip {
		due.missed = append(due.missed, reconcile.Missed{Nominal: due.nominal, At: due.at.UTC()})
	}
	a := scheduled(bp, due)
	a.Summary = "not run: its schedule changes"
	if bp.Off() {
		a.Summary = "not run: its schedule is switched off"
	}
	b.needRecorded(bp.Address)
	b.add(a)
}

// stopped puts a backup under Deferred when all backups are switched off.
func (b *builder) stopped(bp *config.BackupPlan, reason string) bool {
	if !bp.Stopped() {
		return false
	}
	b.postpone(bp.Address, reconcile.ActionBackup, reason, "backups to be switched on again: settings has backups_enabled = false", time.Time{})
	b.plan.Deferred[len(b.plan.Deferred)-1].Code = reconcile.BackupsDisabled
	return true
}

// backupWaits says what a due backup plan waits for, besides its window; empty: nothing.
func (b *builder) backupWaits(bp *config.BackupPlan, due dueWork) string {
	open, running := b.running(bp.Address)
	switch {
	case due.held:
		b.warnf(bp.Address, "HF-SCH-003", bp.At("schedule"), "The clock may be wrong",
			"%s was not run at its times: %s. That is more often a wrong clock than a long pause. When the clock is right, go on with: holdfast run %s",
			bp.Address, due.reason, bp.Address)
		return "a person who looks at the clock and runs it"
	case running:
		return "run " + open.ID + " of it, which has not ended"
	case b.recordedAddress(bp.Address) != string(bp.Address):
		return "its new address, which this plan records: plan again afterwards"
	case !b.wants(bp.Store) && !b.applied(bp.Store):
		return string(bp.Store) + ", which has changes that are left out of this plan"
	}
	return ""
}

// running finds a run of an object that has not ended.
func (b *builder) running(a config.Address) (state.Run, bool) {
	if r, ok := b.open[string(a)]; ok {
		return r, true
	}
	r, ok := b.open[b.recordedAddress(a)]
	return r, ok
}

// addBackup expands a backup plan into tasks and adds its action.
func (b *builder) addBackup(bp *config.BackupPlan, a reconcile.Action) {
	a.Parallel = bp.Parallel
	var work []reconcile.Task
	for _, act := range bp.Activities {
		work = append(work, b.expand(bp, act, a.Nominal)...)
	}
	a.Summary = summariseTasks(bp, work)
	idle := !slices.ContainsFunc(work, func(t reconcile.Task) bool { return t.Skip == nil })
	script := func(name string, stage int, s *config.Script, t reconcile.Task) reconcile.Task {
		t.Kind, t.Stage, t.Activity = state.KindScript, stage, name
		if idle {
			t.Skip = &reconcile.Skip{Code: reconcile.SkippedNoTasks, Reason: "every task is skipped"}
			return t
		}
		if stage == reconcile.StageBefore { // the seed's checks of the backup plan come before anything is run
			t.Steps = b.checks(bp)
		}
		t.Steps = append(t.Steps, b.scriptStep(name, s, bp))
		return t
	}
	if bp.PreScript != nil {
		a.Tasks = append(a.Tasks, script("pre_script", reconcile.StageBefore, bp.PreScript, reconcile.Task{OnError: "halt"}))
	}
	a.Tasks = append(a.Tasks, work...)
	if bp.PostScript != nil {
		a.Tasks = append(a.Tasks, script("post_script", reconcile.StageAfter, bp.PostScript, reconcile.Task{Always: true, On: bp.PostScript.On}))
	}
	b.use(bp.Address)
	b.use(bp.Store)
	b.needRecorded(bp.Address)
	b.needRecorded(bp.Store)
	if i, ok := b.stores[bp.Store]; ok {
		a.After = append(a.After, i)
	}
	b.weigh(bp, &a)
	b.add(a)
}

// checks are the first steps of every task that may be the first of a backup plan.
func (b *builder) checks(bp *config.BackupPlan) []reconcile.Step {
	return append(make([]reconcile.Step, 0, 16),
		b.window(bp.Window, workBackup).step,
		reconcile.NewStep("store", reconcile.OpStoreCheck, state.Rerun, reconcile.StoreArgs{Store: string(bp.Store)}),
	)
}

// expand gives the tasks of one activity.
func (b *builder) expand(bp *config.BackupPlan, act *config.Activity, nominal string) []reconcile.Task {
	base := reconcile.Task{
		Kind: "backup", Stage: reconcile.StageWork, Activity: act.Name, Action: act.Action, Domain: domainPattern(act), OnError: cmp.Or(act.OnError, bp.OnError),
	}
	devices := b.devices.match(act)
	if len(devices) == 0 {
		base.Skip = &reconcile.Skip{Code: reconcile.SkippedNoDevices, Reason: "no device matches " + devicePattern(act)}
		return []reconcile.Task{base}
	}
	tasks := make([]reconcile.Task, 0, len(devices))
	for _, d := range devices {
		t := base
		t.Device = string(d.Address)
		domains, skip := b.domains(d, act)
		if skip != nil {
			t.Skip = skip
			tasks = append(tasks, t)
		}
		if b.asking {
			continue
		}
		for _, domain := range domains {
			b.refuseCovered(bp, d, domain)
			tasks = append(tasks, b.backupTask(t, bp, act, domain, nominal))
		}
	}
	return tasks
}

// refuseCovered refuses a backup that would hold all former ones: its store lies in what it reads.
func (b *builder) refuseCovered(bp *config.BackupPlan, d *config.Device, domain string) {
	seen, _ := b.deviceSeen(d.Address)
	for _, c := range seen.Covers {
		if c.Store == string(bp.Store) && (domain == reconcile.AllDomains || domain == c.Domain) {
			b.errorf(bp.Address, "HF-BKP-002", bp.At("store"), "The store lies in what is backed up into it",
				"%s is at %s, in %s, which %s backs up from %s: every backup would hold all those before it. Put the store somewhere else, or leave its directory out with exclude.",
				c.Store, c.Place, c.Root, bp.Address, d.Address)
		}
	}
}

// domains gives what an activity takes of a device, or why it takes nothing.
func (b *builder) domains(d *config.Device, act *config.Activity) ([]string, *reconcile.Skip) {
	if d.Exclude != nil {
		if until, err := time.Parse(time.RFC3339, d.Exclude.Until); err == nil && b.now.Before(until) {
			return nil, &reconcile.Skip{Code: reconcile.SkippedExcluded, Reason: "excluded until " + d.Exclude.Until + ": " + d.Exclude.Reason}
		}
	}
	seen, inspected := b.deviceSeen(d.Address)
	switch {
	case inspected && (seen.Unavailable || seen.Error != ""):
		return nil, &reconcile.Skip{Code: reconcile.SkippedUnavailable, Reason: "device unavailable (" + cmp.Or(seen.Error, "no reason given") + ")"}
	case act.Action == "secure_backup", inspected && len(seen.Domains) == 0 && len(act.Domains) == 0:
		return []string{reconcile.AllDomains}, nil
	case !inspected:
		b.plan.Complete = false
		return nil, &reconcile.Skip{Code: reconcile.SkippedUninspected, Reason: "never inspected: its domains are not known"}
	}
	var domains []string
	for _, domain := range seen.Domains {
		if len(act.Domains) == 0 || slices.ContainsFunc(act.Domains, func(p string) bool { return config.MatchPattern(p, domain) }) {
			domains = append(domains, strings.ToValidUTF8(domain, "\uFFFD")) // a saved plan reads back as it was written
		}
	}
	if len(domains) == 0 {
		return nil, &reconcile.Skip{Code: reconcile.SkippedNoDomains, Reason: "no domain matches " + domainPattern(act)}
	}
	slices.Sort(domains)
	return slices.Compact(domains), nil
}

// backupTask lays out the steps of one task, in the seed's order. Whether a domain has unsaved changes is known only when
// its task runs, so where the device can tell, the second capture of an export is planned, and skipped when there are none.
// The device takes work again as soon as the captures ended: what follows needs only the store.
func (b *builder) backupTask(t reconcile.Task, bp *config.BackupPlan, act *config.Activity, domain, nominal string) reconcile.Task {
	t.Domain = domain
	t.Locks = []string{lockName(config.Address(t.Device))}
	b.use(config.Address(t.Device))
	b.needRecorded(config.Address(t.Device))
	args := reconcile.CaptureArgs{
		Device: t.Device, Domain: domain, Action: act.Action, Store: string(bp.Store),
		BackupPlan: string(bp.Address), Activity: act.Name, Nominal: nominal,
	}
	if d, ok := config.Lookup[*config.Device](b.doc, config.Address(t.Device)); ok {
		args.Bandwidth, args.Nice, args.IONice = d.Bandwidth, d.Nice, d.IONice
	}
	if act.Action == "export_domain" {
		args.Variant = reconcile.Persisted
	}
	captures := []reconcile.CaptureArgs{args}
	t.Steps = append(b.checks(bp), reconcile.NewStep("inspect", reconcile.OpDeviceInspect, state.Rerun, reconcile.DeviceArgs{Device: t.Device}))
	var hold reconcile.QuiesceArgs
	if q := act.Quiesce; q != nil {
		hold = reconcile.QuiesceArgs{Device: t.Device, Domain: domain, Timeout: q.Timeout, MaxHold: q.MaxHold}
		t.Steps = append(t.Steps, reconcile.NewStep("state", reconcile.OpDeviceState, state.Rerun, hold))
	}
	if seen, _ := b.deviceSeen(config.Address(t.Device)); act.Action == "export_domain" && seen.CanTellUnsaved {
		t.Steps = append(t.Steps, reconcile.NewStep("unsaved", reconcile.OpDeviceUnsaved, state.Rerun, reconcile.DomainArgs{Device: t.Device, Domain: domain}))
		args.Variant, args.IfUnsaved = reconcile.Nonpersisted, true
		captures = append(captures, args)
	}
	if d, ok := config.Lookup[*config.Device](b.doc, config.Address(t.Device)); ok && d.MinFree > 0 && act.Action == "secure_backup" {
		t.Steps = append(t.Steps, reconcile.NewStep("space", reconcile.OpDeviceSpace, state.Rerun, reconcile.SpaceArgs{Device: t.Device, MinFree: d.MinFree}))
	}
	for _, c := range captures {
		t.Estimate += b.estimate(c)
	}
	if act.PreScript != nil {
		t.Steps = append(t.Steps, b.scriptStep("pre_script", act.PreScript, bp))
	}
	if act.Quiesce != nil {
		t.Steps = append(t.Steps, reconcile.NewStep("quiesce", reconcile.OpDeviceQuiesce, state.Rerun, hold), reconcile.NewStep("wait", reconcile.OpDeviceWait, state.Rerun, hold))
	}
	each := func(name string, op reconcile.Op, class state.Class) {
		for _, a := range captures {
			n := name
			if a.IfUnsaved {
				n += "_" + a.Variant
			}
			t.Steps = append(t.Steps, reconcile.NewStep(n, op, class, a))
		}
	}
	each("capture", reconcile.OpDeviceCapture, state.Rerun)
	if act.Quiesce != nil {
		release := reconcile.NewStep("unquiesce", reconcile.OpDeviceUnquiesce, state.Rerun, hold)
		release.Always = true
		t.Steps = append(t.Steps, release)
	}
	each("verify", reconcile.OpArtifactVerify, state.Rerun)
	each("commit", reconcile.OpArtifactCommit, state.Check)
	if act.PostScript != nil {
		post := b.scriptStep("post_script", act.PostScript, bp)
		post.Always = true
		t.Steps = append(t.Steps, post)
	}
	return t
}

func (b *builder) scriptStep(name string, s *config.Script, bp *config.BackupPlan) reconcile.Step {
	class := state.Halt
	if s.Restartable {
		class = state.Rerun
	}
	return reconcile.NewStep(name, reconcile.OpScript, class, reconcile.ScriptArgs{
		Command: s.Command, Timeout: s.Timeout, On: s.On,
		Env: map[string]string{"HOLDFAST_ENVIRONMENT": b.doc.Settings.Environment, "HOLDFAST_BACKUP_PLAN": bp.Address.Name()},
	})
}

func devicePattern(act *config.Activity) string {
	parts := slices.Clone(act.Devices)
	for _, k := range sortedKeys(act.Labels) {
		parts = append(parts, k+"="+act.Labels[k])
	}
	return strings.Join(parts, ", ")
}

func domainPattern(act *config.Activity) string {
	if act.Action == "secure_backup" {
		return reconcile.AllDomains
	}
	if len(act.Domains) == 0 {
		return "*"
	}
	return strings.Join(act.Domains, ", ")
}

func summariseTasks(bp *config.BackupPlan, tasks []reconcile.Task) string {
	skipped := 0
	for _, t := range tasks {
		if t.Skip != nil {
			skipped++
		}
	}
	s := fmt.Sprintf("%s, %s: %d run", plural(len(bp.Activities), "activity", "activities"), plural(len(tasks), "task", "tasks"), len(tasks)-skipped)
	if skipped > 0 {
		s += fmt.Sprintf(", %d skipped", skipped)
	}
	return s
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
