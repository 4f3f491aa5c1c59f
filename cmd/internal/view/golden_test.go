package view_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dr/holdfast/cmd/internal/view"
	"github.com/holdfast-dr/holdfast/config/diag"
	"github.com/holdfast-dr/holdfast/config/unit"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/reconcile/status"
	"github.com/holdfast-dr/holdfast/state"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares with testdata/NAME, which is reviewed like code.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; look at it and run go test -update\n--- got\n%s", path, got)
	}
}

func at(hour, minute int) time.Time { return time.Date(2026, 3, 10, hour, minute, 0, 0, time.UTC) }

// full is a plan with every section.
func full() *reconcile.Plan {
	p := &reconcile.Plan{
		Environment: "production", Mode: reconcile.ModeApply, Digest: "sha256:9b1e", Timestamp: at(14, 0),
		Config:    reconcile.ConfigInfo{Commit: "3f9c1ab27d8e", Subject: "Shorten the night window", Dirty: true},
		State:     reconcile.StateInfo{Generation: 41},
		Inventory: reconcile.InventoryInfo{Source: "recorded", TakenAt: at(11, 30)},
		Changes: []reconcile.Change{
			{Address: "retention.standard", Action: reconcile.Update, Class: reconcile.ClassDestroy, Note: "keeps less than before", Paths: []string{"keep_daily"},
				Before: json.RawMessage(`{"keep_daily":365}`), After: json.RawMessage(`{"keep_daily":30}`)},
			{Address: "mirror.old", Action: reconcile.Forget, Class: reconcile.ClassDestroy, Note: "its data stays where it is"},
			{Address: "maintenance_window.night", Action: reconcile.Update, Class: reconcile.ClassSafe, Paths: []string{"days[1]", "end", "timezone"},
				Before: json.RawMessage(`{"days":["mon","tue"],"end":"06:00"}`), After: json.RawMessage(`{"days":["mon","wed"],"end":"02:00","timezone":"Europe/Berlin"}`)},
			{Address: "mirror.offsite", Action: reconcile.Create, Class: reconcile.ClassSafe},
			{Address: "backup_plan.night", Previous: "backup_plan.nightly", Action: reconcile.Move, Class: reconcile.ClassNone},
			{Address: "device.old", Action: reconcile.Delete, Class: reconcile.ClassDegrade},
			{Address: "failover.orders", Action: reconcile.Adopt, Class: reconcile.ClassSafe, Note: "the commit agrees with the role"},
		},
		Actions: []reconcile.Action{
			{Address: "backup_plan.qa", Kind: reconcile.ActionBackup, Class: reconcile.ClassSafe, Reason: "due since Tue 23:00", Summary: "2 activities, 3 tasks: 2 run, 1 skipped",
				Missed: []reconcile.Missed{{Nominal: "2026-03-08T23:00", At: at(1, 0)}},
				Tasks: []reconcile.Task{
					{Kind: "script", Activity: "pre_script"},
					{Kind: "backup", Activity: "secure", Device: "device.QA1", Domain: "all-domains", Action: "secure_backup"},
					{Kind: "backup", Activity: "domains", Device: "device.TEST9", Domain: "DOMAIN*", Skip: &reconcile.Skip{Code: "SKIPPED_DEVICE_NOT_AVAILABLE", Reason: "device unavailable (connection refused)"}},
					{Kind: "backup", Activity: "none", Domain: "*", Skip: &reconcile.Skip{Code: "SKIPPED_NO_DEVICES_MATCHING_PATTERN", Reason: "no device matches X*"}},
				}},
			{Address: "failover.crm", Kind: reconcile.ActionFailover, Class: reconcile.ClassRole, Reason: "the commit prefers site.dublin", Summary: "site.berlin -> site.dublin, epoch 8",
				Tasks: []reconcile.Task{{Kind: "failover", Steps: []reconcile.Step{{Name: "freeze"}, {Name: "switch"}, {Name: "settle"}}}}},
			{Address: "mirror.offsite", Kind: reconcile.ActionMirror, Class: reconcile.ClassSafe, Reason: "first sync", Tasks: []reconcile.Task{{Kind: "mirror"}}},
		},
		Deferred: []reconcile.Deferred{{Address: "backup_plan.weekly", Reason: "due since Sun 01:00", Waits: "maintenance_window.sunday (opens Sun 02:00)"}},
		Drift:    []reconcile.Drift{{Address: "store.vault", Summary: "is not there", Detail: "Its place carries no marker."}},
		Roles:    []reconcile.RoleStatus{{Failover: "failover.orders", Active: "site.dublin", Preferred: "site.berlin", Epoch: 7, State: "displaced", Since: at(3, 12), Note: "preferred is site.berlin"}},
		Findings: []diag.Diagnostic{{Severity: diag.Warning, Code: "HF-CFG-105", Summary: "Nothing is selected", Detail: "No device matches \"X*\" now.", Address: "backup_plan.qa",
			Range:   diag.Range{Filename: "qa.hold.hcl", Start: diag.Pos{Line: 7, Column: 15, Byte: 90}, End: diag.Pos{Line: 7, Column: 19, Byte: 94}},
			Snippet: &diag.Snippet{Code: "    devices = [\"X*\"]", StartLine: 7, HighlightStartOffset: 15, HighlightEndOffset: 19}}},
		Gates: []reconcile.Gate{
			{Allow: "--allow=destroy", Class: reconcile.ClassDestroy, Reason: "loses mirror.old"},
			{Allow: "--allow=role", Class: reconcile.ClassRole, Reason: "moves the active side of failover.crm"},
			{Allow: "--allow-delete=7", Deletes: 7, Reason: "removes 7 of 9 recorded objects"},
		},
		Summary: reconcile.Summary{Add: 1, Change: 2, Destroy: 2, Move: 1, Actions: 3, Deferred: 1, Drift: 1},
	}
	return p
}

func text(t *testing.T, show func(*bytes.Buffer) error) string {
	t.Helper()
	var b bytes.Buffer
	if err := show(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func planText(t *testing.T, p *reconcile.Plan, o view.PlanOptions) string {
	return text(t, func(b *bytes.Buffer) error { return view.Plan(b, p, o) })
}

func markdown(t *testing.T, p *reconcile.Plan, limit int) string {
	return text(t, func(b *bytes.Buffer) error { return view.Markdown(b, p, reconcile.Allowed{}, limit) })
}

func TestPlan(t *testing.T) {
	golden(t, "plan.txt", planText(t, full(), view.PlanOptions{}))
	golden(t, "plan.md", markdown(t, full(), 0))

	allowed := reconcile.Allowed{Classes: []reconcile.Class{reconcile.ClassDestroy, reconcile.ClassRole}, Deletes: 7}
	if got := planText(t, full(), view.PlanOptions{Allowed: allowed}); strings.Contains(got, "Not applied without") {
		t.Errorf("gates that are open are shown:\n%s", got)
	}
}

func TestPlanSummaries(t *testing.T) {
	for want, change := range map[string]func(*reconcile.Plan){
		"Plan: 1 to add, 2 to change, 2 to destroy, 1 to move; 3 actions now, 1 deferred, 1 drifted.": func(*reconcile.Plan) {},
		"Nothing to do: the recorded state is as declared and no work is due.":                        func(p *reconcile.Plan) { *p = reconcile.Plan{Complete: true} },
		"Plan: 0 to add, 0 to change, 0 to destroy; 0 actions now, 2 deferred.":                       func(p *reconcile.Plan) { *p = reconcile.Plan{Summary: reconcile.Summary{Deferred: 2}} },
		"Nothing differs.": func(p *reconcile.Plan) { *p = reconcile.Plan{Mode: reconcile.ModeCompare} },
		"Plan failed: 1 error. Nothing can be applied.": func(p *reconcile.Plan) {
			*p = reconcile.Plan{Errored: true, Findings: []diag.Diagnostic{{Severity: diag.Error}}, Gates: p.Gates}
		},
	} {
		p := full()
		change(p)
		if got := view.Summary(p); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if got := planText(t, p, view.PlanOptions{}); !strings.Contains(got, want) || p.Errored && strings.Contains(got, "Not applied without") {
			t.Errorf("the plan does not say %q, or offers flags in vain:\n%s", want, got)
		}
	}
}

func TestLongActions(t *testing.T) {
	p := full()
	for range 40 {
		p.Actions[0].Tasks = append(p.Actions[0].Tasks, reconcile.Task{Kind: "backup", Activity: "many", Device: "device.x", Action: "secure_backup"})
	}
	if got := planText(t, p, view.PlanOptions{}); strings.Count(got, " many ") >= 40 || !strings.Contains(got, "... and 25 more (--verbose shows all)") {
		t.Errorf("not cut:\n%s", got)
	}
	if got := planText(t, p, view.PlanOptions{Verbose: true}); strings.Count(got, " many ") != 40 {
		t.Errorf("cut although everything was asked for:\n%s", got)
	}
}

func TestColoursAreOnlyColours(t *testing.T) {
	onlyColours(t, func(b *bytes.Buffer, s view.Style) error {
		b.WriteString(planText(t, full(), view.PlanOptions{Style: s}))
		return nil
	})
}

// onlyColours draws something plain and coloured, which must be the same text, and gives the plain one.
func onlyColours(t *testing.T, draw func(*bytes.Buffer, view.Style) error) string {
	t.Helper()
	plain := text(t, func(b *bytes.Buffer) error { return draw(b, view.Style{}) })
	colour := text(t, func(b *bytes.Buffer) error { return draw(b, view.Style{Color: true}) })
	if !strings.Contains(colour, "\x1b[") || strings.Contains(plain, "\x1b") || strings.Contains(colour, `\u001b[0m`) {
		t.Error("colours are not where they belong")
	}
	if without := regexp.MustCompile("\x1b\\[[0-9]+m").ReplaceAllString(colour, ""); without != plain {
		t.Errorf("colours change the text:\n%s", without)
	}
	return plain
}

func TestDiagnostics(t *testing.T) {
	list := diag.List{
		{Severity: diag.Error, Code: "HF-CFG-006", Summary: "Unknown argument", Detail: "First line.\nSecond line.", Address: "device.web",
			Range:   diag.Range{Filename: "a.hold.hcl", Start: diag.Pos{Line: 3}},
			Snippet: &diag.Snippet{Code: "\tpth = \"/srv\"", StartLine: 3, HighlightStartOffset: 1, HighlightEndOffset: 4}},
		{Severity: diag.Warning, Code: "HF-RUN-005", Summary: "A run was interrupted", Address: "backup_plan.qa", Detail: "Continue it."},
		{Severity: diag.Error, Code: "HF-CFG-001", Summary: "No configuration files"},
		{Severity: diag.Error, Summary: "Outside", Range: diag.Range{Filename: "b.hold.hcl", Start: diag.Pos{Line: 1}},
			Snippet: &diag.Snippet{Code: "x", StartLine: 1, HighlightStartOffset: 5, HighlightEndOffset: 9}},
	}
	golden(t, "diagnostics.txt", text(t, func(b *bytes.Buffer) error { return view.Diagnostics(b, list, view.Style{}) }))

	for range 60 {
		list = append(list, list[2])
	}
	if got := text(t, func(b *bytes.Buffer) error { return view.Diagnostics(b, list, view.Style{}) }); !strings.Contains(got, "... and 14 more problems") {
		t.Errorf("the rest is not counted:\n%s", got)
	}
	var shape struct {
		FormatVersion string            `json:"format_version"`
		Valid         bool              `json:"valid"`
		Errors        int               `json:"error_count"`
		Warnings      int               `json:"warning_count"`
		Diagnostics   []diag.Diagnostic `json:"diagnostics"`
	}
	out := text(t, func(b *bytes.Buffer) error { return view.ValidateJSON(b, list) })
	if err := json.Unmarshal([]byte(out), &shape); err != nil || shape.Valid || shape.Errors != 63 || shape.Warnings != 1 || len(shape.Diagnostics) != 64 {
		t.Errorf("%v: %+v", err, shape)
	}
	if out := text(t, func(b *bytes.Buffer) error { return view.ValidateJSON(b, nil) }); !strings.Contains(out, `"diagnostics": []`) || !strings.Contains(out, `"valid": true`) {
		t.Errorf("without problems: %s", out)
	}
}

func aRun() state.Run {
	return state.Run{ID: "12", Address: "backup_plan.qa", Kind: "backup", Status: state.Partial, Reason: "due since Tue 23:00", Actor: "ana@ops1", Commit: "3f9c1ab27d8e",
		CreatedAt: at(23, 0), StartedAt: at(23, 0), EndedAt: at(23, 2), Devices: 2, Domains: 2, Succeeded: 1, Failed: 1, Total: 2, Error: "1 of 2 failed",
		SourceFiles: 12, SourceBytes: 3 << 20}
}

func detail() view.RunDetail {
	manifest := `{"device_type":"files","device_info":{"identity":"machine-1","model":"X3"},"files":[{"path":"web/content.tar.zst","size":2048,"sha256":"49d6"}]}`
	tasks := []view.TaskDetail{
		{TaskRun: state.TaskRun{ID: "12.1", Kind: "backup", Activity: "web", Device: "device.web", Domain: "content", Action: "export_domain", Status: state.Succeeded, StatusAt: at(23, 1), Files: 1},
			Artifacts: []state.Artifact{{ID: "01JD", Store: "store.nas", Device: "device.web", State: state.ArtifactGood, Manifest: json.RawMessage(manifest)}}},
		{TaskRun: state.TaskRun{ID: "12.2", Kind: "backup", Activity: "db", Device: "device.shop", Action: "secure_backup", Status: state.Failed, Reason: "FAILED_SOURCE_EXIT", Error: "exit code 3", StatusAt: at(23, 2), Errors: 3}},
		{TaskRun: state.TaskRun{ID: "12.3", Kind: "script", Activity: "post_script", Status: state.Attention, Error: "unknown", StatusAt: at(23, 2)}},
	}
	patterns := map[string]view.Patterns{"web": {Device: "web", Domain: "*"}, "db": {Device: "shop*", Domain: "*"}}
	return view.RunDetail{Run: aRun(), Tasks: tasks, Activities: view.Activities("12", tasks, patterns)}
}

func TestHistory(t *testing.T) {
	open := state.Run{ID: "13", Address: "mirror.docs", Kind: "mirror", Status: state.Running, CreatedAt: at(23, 5)}
	golden(t, "runs.txt", onlyColours(t, func(b *bytes.Buffer, s view.Style) error { return view.Runs(b, []state.Run{open, aRun()}, s) }))
	golden(t, "run.txt", onlyColours(t, func(b *bytes.Buffer, s view.Style) error { return view.Run(b, detail(), s) }))
	task := detail().Tasks[1]
	task.Steps = []state.StepRun{
		{Index: 0, Name: "window", Class: state.Rerun, State: state.StepDone, Began: at(23, 0), Ended: at(23, 0).Add(3 * time.Millisecond)},
		{Index: 1, Name: "capture", Class: state.Rerun, State: state.StepFailed, Began: at(23, 0), Ended: at(23, 1), Error: "exit code 3"},
		{Index: 2, Name: "post_script", Class: state.Halt, State: state.StepIntent, Began: at(23, 1)},
	}
	golden(t, "steps.txt", onlyColours(t, func(b *bytes.Buffer, s view.Style) error { return view.Steps(b, task, s) }))
	golden(t, "result.txt", onlyColours(t, func(b *bytes.Buffer, s view.Style) error {
		interrupted := state.Run{ID: "14", Address: "mirror.docs", Status: state.Interrupted}
		skipped := state.Run{ID: "15", Address: "backup_plan.web", Status: state.Skipped, Error: "15.1: device unavailable (\x1b[31mnot\nreachable) (and 2 more)", Skipped: 3, Total: 3}
		return view.Result(b, view.ResultJSON{Runs: []state.Run{aRun(), interrupted, skipped}, Recorded: 3, ByRuns: 2, Interrupted: true, Stopped: true}, s)
	}))
	golden(t, "left.txt", onlyColours(t, func(b *bytes.Buffer, s view.Style) error {
		asks := state.Run{ID: "14", Address: "backup_plan.qa", Status: state.Attention}
		waits := state.Run{ID: "15", Address: "backup_plan.qb", Status: state.Pending}
		after := state.Run{ID: "16", Address: "mirror.docs", Status: state.Pending}
		return view.Result(b, view.ResultJSON{Runs: []state.Run{asks, waits, after}, Interrupted: true, Left: []view.Left{
			{Run: "15", Task: "15.1", Why: "device/q, which task 14.1 keeps until somebody decides. Look: holdfast history 14"}, {Run: "16", Why: "it comes after run 15, which has not ended"},
		}}, s)
	}))
	if got := text(t, func(b *bytes.Buffer) error { return view.Runs(b, nil, view.Style{}) }); got != "No runs are recorded yet.\n" {
		t.Errorf("got %q", got)
	}
}

func TestStatus(t *testing.T) {
	run := aRun()
	st := status.Report{
		At: at(13, 0), State: state.Meta{Generation: 41, Engine: "sqlite 3.53.4"}, Commit: "3f9c1ab27d8e", Objects: 9,
		BackupPlans: []status.BackupPlan{
			{Address: "backup_plan.qa", Last: &run, Next: at(23, 0), Artifacts: state.Holdings{Count: 3, Bytes: 5 << 20}},
			{Address: "backup_plan.late", Overdue: true, Missed: make([]reconcile.Missed, 3)},
		},
		Stores: []status.Store{
			{Address: "store.nas", Artifacts: 300, Bytes: 5 << 30, Within: unit.Duration(30 * 24 * time.Hour), Oldest: at(3, 0), Due: 12, Overdue: 2, Quarantined: 2,
				Last: &state.Run{ID: "9", Status: state.Partial}},
			{Address: "store.tape", Artifacts: 1, Bytes: 10},
			{Address: "store.new", Within: unit.Duration(7 * 24 * time.Hour)},
		},
		Quarantined: []status.Quarantined{
			{Artifact: "01KEN26NC4ZX6BSME4BCWXAH77", Store: "store.nas", BackupPlan: "backup_plan.qa", Device: "device.QA1", Domain: "D1", Started: at(1, 0), Since: at(3, 0), Todo: "take a new backup: holdfast run backup_plan.qa"},
			{Artifact: "01KE0F0XBVBG0C0GKY47FBV5RS", Store: "store.nas", BackupPlan: "backup_plan.qa", Device: "device.QA2", Domain: "\x1b[31mD2", Started: at(0, 0), Replaced: true, Todo: "nothing: a newer one is good"},
		},
		Mirrors: []status.Mirror{
			{Address: "mirror.docs", Lag: 90 * time.Second, Healthy: true, Position: state.Position{Source: "file:///a", Target: "file:///b"}},
			{Address: "mirror.new", Lag: -1},
		},
		Failovers: []state.Role{{Failover: "failover.orders", Active: "site.dublin", Epoch: 7, State: state.RoleSettled, Since: at(3, 12), Reason: "the commit prefers it"}},
		OpenRuns:  []state.Run{{ID: "13", Address: "mirror.docs", Kind: "mirror", Status: state.Interrupted, CreatedAt: at(23, 5)}},
		Attention: []state.Run{{ID: "11", Address: "backup_plan.qa", Kind: "backup", Status: state.Attention, CreatedAt: at(22, 5)}},
		Locks: []state.Lock{
			{Name: "apply", Actor: "ana@ops1", Host: "ops1", PID: 7, Operation: "hold", Reason: "storage migration", Acquired: at(12, 0), Expires: at(14, 0)},
			{Name: "store/nas", Actor: "bob@ops1", Operation: "hold", Acquired: at(1, 0), Expires: at(2, 0)},
		},
	}
	golden(t, "status.txt", onlyColours(t, func(b *bytes.Buffer, s view.Style) error { return view.Status(b, st, s) }))
}
