package planner_test

import (
	"slices"
	"testing"

	"github.com/holdfast-dr/holdfast/reconcile"
)

func TestArgv(t *testing.T) {
	v := reconcile.ScriptValues{
		BackupPlan: "nightly", Run: "12", Task: "12.3", Activity: "secure", Device: "QA1", Domain: "a b; rm -rf {run} $(x)", Action: "export_domain", Status: "failed",
	}
	for arg, want := range map[string]string{
		"":                            "",
		"{backup_plan}":               "nightly",
		"{run}/{task}":                "12/12.3",
		"{activity}":                  "secure",
		"--device={device}":           "--device=QA1",
		"{domain}":                    "a b; rm -rf {run} $(x)", // one argument, and not filled again
		"{action} {status}":           "export_domain failed",
		"{{device}}":                  "{device}",
		"{{{device}}}":                "{{device}}",
		"${device}":                   "${device}",
		"{unknown}":                   "{unknown}",
		"{print $1}":                  "{print $1}",
		`{"device": "{device}"}`:      `{"device": "QA1"}`,
		"{DEVICE} { device } {} {{}}": "{DEVICE} { device } {} {{}}",
	} {
		got, err := reconcile.ScriptArgs{Command: []string{"/bin/true", arg}}.Argv(v)
		if err != nil || !slices.Equal(got, []string{"/bin/true", want}) {
			t.Errorf("%q: %q, %v, want %q", arg, got, err, want)
		}
	}
	v.Domain = "--delete"
	if got, err := (reconcile.ScriptArgs{Command: []string{"/bin/true", "{domain}"}}).Argv(v); err == nil {
		t.Errorf("a value became an option: %q", got)
	}
	if _, err := (reconcile.ScriptArgs{Command: []string{"/bin/true", "--domain={domain}", "-{domain}"}}).Argv(v); err != nil {
		t.Errorf("a value within an argument: %v", err)
	}
}
