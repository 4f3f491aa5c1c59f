package reconcile

import (
	"encoding/json"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/state"
)

// Disabled says in words why the work of a backup plan is no longer wanted, as it is recorded now: all backups are switched off, or its
// schedule is, by which the run was due. Empty: it is wanted, or the object is no backup plan.
func Disabled(o state.Object, trigger state.Trigger) string {
	var bp config.BackupPlan
	switch {
	case config.Address(o.Address).Kind() != config.KindBackupPlan || json.Unmarshal(o.Spec, &bp) != nil:
		return ""
	case bp.Stopped():
		return "all backups are switched off: settings has backups_enabled = false"
	case bp.Off() && trigger == state.TriggerSchedule:
		return "the schedule of " + o.Address + " is switched off: enabled = false"
	}
	return ""
}
