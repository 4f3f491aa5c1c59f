package fault_test

import (
	"strings"
	"testing"
)

// A device that somebody else quiesced, one that refuses, and one that cannot be quiesced at all. The long waits of the seed are proved with
// a clock of the test in reconcile/execute.
func TestFaultQuiesce(t *testing.T) {
	long(t)
	t.Parallel()
	cases, captured := 0, 0
	for name, c := range map[string]struct{ box, one, two string }{
		"quiesced by somebody else": {box, "skipped SKIPPED_ALREADY_QUIESCED", "succeeded "},
		"refuses to quiesce": {strings.Replace(box, "quiesce) echo quiesced", "quiesce) [ $3 = two ] || exit 1; echo quiesced", 1),
			"failed FAILED_SOURCE_EXIT", "succeeded "},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, appliance+`
store "plain" "vault" { path = "${var.root}/vault" }
backup_plan "nightly" {
  store = store.vault
  activity "all" {
    action  = "export_domain"
    devices = ["box"]
    quiesce {}
  }
}
`)
			r.write("box", c.box)
			r.write("payload", "content")
			r.ok("init")
			r.ok("apply", "--auto-approve")
			before := "normal\n"
			if c.box == box {
				before = "quiesced\n"
			}
			r.write("state-one", before)
			r.run("run", "nightly")
			cases++
			for i, want := range []string{c.one, c.two} {
				task := r.tasks("backup_plan.nightly")[i]
				if got := task.Status + " " + task.Reason; got != want {
					t.Errorf("task %s: %s, want %s: %s", task.ID, got, want, task.Error)
				}
			}
			if r.read("state-one") != before || r.read("state-two") != "normal\n" {
				t.Errorf("the domains are left %q and %q, the first was %q", r.read("state-one"), r.read("state-two"), before)
			}
			captured += r.good()
		})
	}
	figure(t, 14, "a domain quiesced by somebody else, one that refuses: %d cases, the other domain was backed up in each (%d artifacts), 0 touched that were not ours, 0 left quiesced",
		cases, captured)
}
