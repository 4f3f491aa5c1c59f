package fault_test

import (
	"os"
	"strings"
	"testing"
)

// The medium of a store fails at the n-th call of a kind, once or from then on, for each n of a backup.
func TestFaultMediumErrors(t *testing.T) {
	t.Parallel()
	var cases, failed, warned, well, most int
	for _, c := range []struct {
		op    string
		times int
	}{{"write", 1}, {"fsync", 1}, {"name", 1}, {"read", always}, {"write", always}, {"fsync", always}, {"name", always}} {
		// A read that fails once is made again by the kernel.
		times := map[int]string{1: "once", always: "from then on"}[c.times]
		t.Run(c.op+" "+times, func(t *testing.T) {
			r := newRig(t, oneDevice+`store "plain" "vault" { path = "${var.root}/disk/vault" }`)
			check(t, os.Mkdir(r.path("raw"), 0o700))
			m := newMedium(t, r.path("raw"), r.path("disk"))
			r.write("source", prints)
			r.write("payload", "content")
			r.ok("init")
			r.ok("apply", "--auto-approve")
			r.ok("run", "nightly")
			good, step := 1, 1
			if testing.Short() {
				step = 5
			}
			for n := 0; ; n += step {
				m.fail(c.op, n, c.times, ".")
				got := r.want([]int{0, 10}, "run", "nightly", "--json")
				if m.heal() == 0 {
					good++
					break
				}
				cases++
				task := r.task("backup_plan.nightly")
				most = max(most, got.retries())
				switch {
				case got.code != 0 && task.Reason == "FAILED_STORE_MEDIUM":
					failed++
				case got.code != 0:
					t.Errorf("call %d: %s %s: %s", n, task.Status, task.Reason, task.Error)
				case task.Status == "succeeded_with_warnings" && strings.Contains(task.Error, "the medium failed"):
					good, warned = good+1, warned+1
				case c.op == "fsync" || c.op == "read":
					good, well = good+1, well+1
				default:
					t.Errorf("call %d: %s with a medium that failed: %s", n, task.Status, task.Error)
				}
			}
			if n := r.good(); n != good {
				t.Errorf("%d good artifacts, want %d", n, good)
			}
			// What was published before its run failed is whole, and is found again.
			r.want([]int{0, 8}, "store", "rescan", "vault")
			if n := r.good(); n != len(secureBackups(t, r.path("raw/vault"))) {
				t.Errorf("after a rescan %d good artifacts, and %d in the store", n, len(secureBackups(t, r.path("raw/vault"))))
			}
			r.ok("run", "nightly")
		})
	}
	if most > 2 {
		t.Errorf("%d retries of one step", most)
	}
	figure(t, 4, "EIO from FUSE at each write, fsync, read and change of a name in the store, once and from then on: %d cases, %d FAILED_STORE_MEDIUM, %d committed with a warning, %d unharmed, 0 false successes, at most %d attempts",
		cases, failed, warned, well, most+1)
}
