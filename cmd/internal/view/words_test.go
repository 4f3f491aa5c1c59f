package view_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dr/holdfast/cmd/internal/view"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/state"
)

// One is singular.
func TestAgeOfWhatIsRestored(t *testing.T) {
	for age, want := range map[time.Duration]string{
		0:                  "0 seconds before",
		time.Second:        "1 second before",
		119 * time.Second:  "119 seconds before",
		2 * time.Minute:    "2 minutes before",
		3 * time.Hour:      "3 hours before",
		48 * time.Hour:     "2 days before",
		-10 * time.Second:  "",
		2500 * time.Second: "41 minutes before",
	} {
		p := full()
		p.Timestamp = at(12, 0)
		p.Restore = &reconcile.Restore{Source: reconcile.RestoreSource{Artifact: "01JD", Taken: p.Timestamp.Add(-age)}}
		got := planText(t, p, view.PlanOptions{})
		if want == "" && strings.Contains(got, "before this plan") || !strings.Contains(got, ", "+want+" this plan") && want != "" {
			t.Errorf("%s: want %q in\n%s", age, want, got)
		}
	}
}

// What is about no device names none: a script is itself, and an activity without devices has no name that looks like one.
func TestTasksWithoutDevice(t *testing.T) {
	d := view.RunDetail{Run: aRun(), Tasks: []view.TaskDetail{
		{TaskRun: state.TaskRun{ID: "12.1", Kind: "script", Activity: "pre_script", Status: state.Succeeded}},
		{TaskRun: state.TaskRun{ID: "12.2", Kind: "backup", Activity: "branch", Domain: "*", Status: state.Skipped, Reason: "SKIPPED_NO_DEVICES_MATCHING_PATTERN"}},
	}}
	got := text(t, func(b *bytes.Buffer) error { return view.Run(b, d, view.Style{}) })
	if strings.Contains(got, "backup branch") || !strings.Contains(got, "script pre_script") {
		t.Errorf("got\n%s", got)
	}
}
