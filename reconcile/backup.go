package reconcile

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/state"
)

// Reason codes of tasks that are never started. IBM DPOD's names where it has them.
const (
	SkippedNoDevices   = "SKIPPED_NO_DEVICES_MATCHING_PATTERN"
	SkippedNoDomains   = "SKIPPED_NO_DOMAINS_MATCHING_PATTERN"
	SkippedUnavailable = "SKIPPED_DEVICE_NOT_AVAILABLE"
	SkippedExcluded    = "SKIPPED_DEVICE_EXCLUDED"
)

// allDomains is the reserved domain name of a task on a whole device; the providers use the same word.
const allDomains = "all-domains"

// backups plans every backup plan that is due.
func (b *builder) backups() {
	for _, bp := range b.doc.BackupPlans {
		if !b.wants(bp.Address) {
			continue
		}
		if bp.Enabled != nil && !*bp.Enabled {
			b.diags.Warnf("HF-BKP-001", bp.At("enabled"), "A backup plan is switched off", "%s has enabled = false: it runs only by hand.", bp.Address)
			continue
		}
		due, ok := b.due(bp)
		if !ok {
			continue
		}
		if open, ok := b.running(bp.Address); ok {
			b.postpone(bp.Address, ActionBackup, due.reason, "run "+open.ID+" of it, which has not ended", time.Time{})
			continue
		}
		if due.skip {
			b.plan.Actions = append(b.plan.Actions, Action{
				Address: string(bp.Address), Kind: ActionBackup, Class: ClassSafe, Reason: due.reason, Trigger: state.TriggerSchedule,
				TriggerKey: due.nominal, Nominal: due.nominal, DueAt: due.at, Summary: "not run: missed = \"skip\"", Missed: due.missed,
			})
			continue
		}
		if !b.mayStart(bp.Address, ActionBackup, due.reason, b.window(bp.Window, workBackup)) {
			continue
		}
		b.addBackup(bp, Action{
			Address: string(bp.Address), Kind: ActionBackup, Class: ClassSafe, Reason: due.reason, Trigger: state.TriggerSchedule,
			TriggerKey: due.nominal, Nominal: due.nominal, DueAt: due.at, Missed: due.missed,
		})
	}
}

// running finds a run of an object that has not ended.
func (b *builder) running(a config.Address) (state.Run, bool) {
	i := slices.IndexFunc(b.st.OpenRuns, func(r state.Run) bool { return r.Address == string(a) })
	if i < 0 {
		return state.Run{}, false
	}
	return b.st.OpenRuns[i], true
}

// addBackup expands a backup plan into tasks and adds its action.
func (b *builder) addBackup(bp *config.BackupPlan, a Action) {
	a.Parallel = bp.Parallel
	complete := true
	var work []Task
	for _, act := range bp.Activities {
		tasks, known := b.expand(bp, act, a.Nominal)
		work = append(work, tasks...)
		complete = complete && known
	}
	if !complete {
		b.plan.Complete = false
		a.Summary = "tasks are known after inspection"
	} else {
		a.Summary = summariseTasks(bp, work)
	}
	script := func(name string, stage int, s *config.Script, t Task) Task {
		t.Kind, t.Stage, t.Activity = "script", stage, name
		t.Steps = []Step{b.scriptStep(name, s, bp)}
		return t
	}
	if bp.PreScript != nil {
		a.Tasks = append(a.Tasks, script("pre_script", StageBefore, bp.PreScript, Task{OnError: "halt"}))
	}
	a.Tasks = append(a.Tasks, work...)
	if bp.PostScript != nil {
		a.Tasks = append(a.Tasks, script("post_script", StageAfter, bp.PostScript, Task{Always: true, On: bp.PostScript.On}))
	}
	b.use(bp.Address)
	b.use(bp.Store)
	b.needRecorded(bp.Address)
	b.needRecorded(bp.Store)
	if i, ok := b.stores[bp.Store]; ok {
		a.After = append(a.After, i)
	}
	b.plan.Actions = append(b.plan.Actions, a)
}

// expand gives the tasks of one activity. Known is false when a device was never inspected.
func (b *builder) expand(bp *config.BackupPlan, act *config.Activity, nominal string) (tasks []Task, known bool) {
	known = true
	base := Task{Kind: "backup", Stage: StageWork, Activity: act.Name, Action: act.Action, OnError: cmp.Or(act.OnError, bp.OnError)}
	devices := b.matchDevices(act)
	if len(devices) == 0 {
		t := base
		t.Domain = domainPattern(act)
		t.Skip = &Skip{Code: SkippedNoDevices, Reason: "no device matches " + devicePattern(act)}
		return []Task{t}, true
	}
	for _, d := range devices {
		t := base
		t.Device = string(d.Address)
		t.Domain = domainPattern(act)
		if d.Exclude != nil {
			if until, err := time.Parse(time.RFC3339, d.Exclude.Until); err == nil && b.now.Before(until) {
				t.Skip = &Skip{Code: SkippedExcluded, Reason: "excluded until " + d.Exclude.Until + ": " + d.Exclude.Reason}
				tasks = append(tasks, t)
				continue
			}
		}
		seen, ok := b.deviceSeen(d.Address)
		switch {
		case ok && (seen.Unavailable || seen.Error != ""):
			t.Skip = &Skip{Code: SkippedUnavailable, Reason: "device unavailable (" + seen.Error + ")"}
			tasks = append(tasks, t)
		case act.Action == "secure_backup":
			tasks = append(tasks, b.backupTask(t, bp, act, allDomains, nominal))
		case !ok:
			known = false
		case len(seen.Domains) == 0 && len(act.Domains) == 0:
			tasks = append(tasks, b.backupTask(t, bp, act, allDomains, nominal))
		default:
			matched := 0
			for _, domain := range seen.Domains {
				if len(act.Domains) == 0 || slices.ContainsFunc(act.Domains, func(p string) bool { return config.MatchPattern(p, domain) }) {
					matched++
					tasks = append(tasks, b.backupTask(t, bp, act, domain, nominal))
				}
			}
			if matched == 0 {
				t.Skip = &Skip{Code: SkippedNoDomains, Reason: "no domain matches " + t.Domain}
				tasks = append(tasks, t)
			}
		}
	}
	return tasks, known
}

// backupTask lays out the steps of one task, in the seed's order. Quiescing and the second capture of unsaved changes
// have their place between the script and the capture.
func (b *builder) backupTask(t Task, bp *config.BackupPlan, act *config.Activity, domain, nominal string) Task {
	t.Domain = domain
	t.Locks = []string{lockName(config.Address(t.Device))}
	b.use(config.Address(t.Device))
	b.needRecorded(config.Address(t.Device))
	capture := CaptureArgs{
		Device: t.Device, Domain: domain, Action: act.Action, Store: string(bp.Store),
		BackupPlan: string(bp.Address), Activity: act.Name, Nominal: nominal,
	}
	if act.Action == "export_domain" {
		capture.Variant = "persisted"
	}
	t.Steps = []Step{
		newStep("window", OpWindow, state.Rerun, b.window(bp.Window, workBackup)),
		newStep("store", OpStoreCheck, state.Rerun, StoreArgs{Store: string(bp.Store)}),
		newStep("inspect", OpDeviceInspect, state.Rerun, DeviceArgs{Device: t.Device}),
	}
	if act.PreScript != nil {
		t.Steps = append(t.Steps, b.scriptStep("pre_script", act.PreScript, bp))
	}
	t.Steps = append(t.Steps,
		newStep("capture", OpDeviceCapture, state.Rerun, capture),
		newStep("verify", OpArtifactVerify, state.Rerun, capture),
		newStep("commit", OpArtifactCommit, state.Check, capture),
	)
	if act.PostScript != nil {
		post := b.scriptStep("post_script", act.PostScript, bp)
		post.Always = true
		t.Steps = append(t.Steps, post)
	}
	return t
}

func (b *builder) scriptStep(name string, s *config.Script, bp *config.BackupPlan) Step {
	class := state.Halt
	if s.Restartable {
		class = state.Rerun
	}
	return newStep(name, OpScript, class, ScriptArgs{
		Command: s.Command, Timeout: s.Timeout, On: s.On,
		Env: map[string]string{"HOLDFAST_ENVIRONMENT": b.doc.Settings.Environment, "HOLDFAST_BACKUP_PLAN": bp.Address.Name()},
	})
}

// matchDevices lists the devices an activity selects, ordered by address.
func (b *builder) matchDevices(act *config.Activity) []*config.Device {
	var found []*config.Device
	for _, d := range b.doc.Devices {
		name := d.Address.Name()
		matches := func(patterns []string) bool {
			return slices.ContainsFunc(patterns, func(p string) bool { return config.MatchPattern(p, name) })
		}
		if (matches(act.Devices) || len(act.Devices) == 0 && len(act.Labels) > 0) && hasLabels(d.Labels, act.Labels) && !matches(act.Exclude) {
			found = append(found, d)
		}
	}
	slices.SortFunc(found, func(x, y *config.Device) int { return strings.Compare(string(x.Address), string(y.Address)) })
	return found
}

func hasLabels(have, want map[string]string) bool {
	for k, v := range want {
		if got, ok := have[k]; !ok || got != v {
			return false
		}
	}
	return true
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
		return allDomains
	}
	if len(act.Domains) == 0 {
		return "*"
	}
	return strings.Join(act.Domains, ", ")
}

func summariseTasks(bp *config.BackupPlan, tasks []Task) string {
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
