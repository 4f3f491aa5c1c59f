package reconcile_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/state"
)

func TestDisabled(t *testing.T) {
	for _, c := range []struct {
		address, spec string
		trigger       state.Trigger
		want          string
	}{
		{"backup_plan.x", `{}`, state.TriggerSchedule, ""},
		{"backup_plan.x", `{"backups_enabled": true, "enabled": true}`, state.TriggerSchedule, ""},
		{"backup_plan.x", `{"backups_enabled": false}`, state.TriggerSchedule, "backups_enabled"},
		{"backup_plan.x", `{"backups_enabled": false}`, state.TriggerManual, "backups_enabled"},
		{"backup_plan.x", `{"enabled": false}`, state.TriggerSchedule, "backup_plan.x"},
		{"backup_plan.x", `{"enabled": false}`, state.TriggerManual, ""},
		{"mirror.x", `{"backups_enabled": false, "enabled": false}`, state.TriggerSchedule, ""},
		{"backup_plan.x", `{`, state.TriggerSchedule, ""},
		{"backup_plan.x", ``, state.TriggerSchedule, ""},
		{"", `{"backups_enabled": false}`, state.TriggerSchedule, ""}, // not recorded
	} {
		got := reconcile.Disabled(state.Object{Address: c.address, Spec: json.RawMessage(c.spec)}, c.trigger)
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s %s, %s: got %q, want %q", c.address, c.spec, c.trigger, got, c.want)
		}
	}
}
