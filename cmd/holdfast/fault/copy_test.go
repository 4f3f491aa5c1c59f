package fault_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// A copy of the store from before stands in its place: one whose catalogue ends earlier, and one from before an adoption. It is the
// same store by its identity, so only what is recorded of the newest tells.
func TestFaultOldCopyOfAStore(t *testing.T) {
	long(t)
	t.Parallel()
	cases, refused := 0, 0
	for name, later := range map[string]func(*rig){
		"shorter catalogue": func(*rig) {},
		"lower epoch":       func(r *rig) { r.ok("store", "init", "--adopt", "vault") },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, oneDevice+`
store "plain" "vault" {
  path = "${var.root}/vault"
  verify { within = "7d" }
}
`)
			r.write("payload", "content")
			r.write("source", "#!/bin/sh\ntouch \"$1/started\"\ncat \"$1/payload\"\n")
			r.ok("init")
			r.ok("apply", "--auto-approve")
			r.ok("run", "nightly")
			copied := func(from, to string) { check(t, exec.Command("cp", "-a", r.path(from), r.path(to)).Run()) }
			copied("vault", "copy")
			later(r)
			r.ok("run", "nightly")
			inAMonth := "--now=" + time.Now().AddDate(0, 1, 0).UTC().Format(time.RFC3339)
			r.ok("plan", "--out=saved.plan", inAMonth) // reads everything back
			check(t, os.Rename(r.path("vault"), r.path("newest")))
			copied("copy", "vault")
			r.remove("started")

			before := treeOf(t, r.path("vault"))
			if got := r.want([]int{10}, "run", "nightly", "--json"); !strings.Contains(got.out, `"reason":"FAILED_STORE_IDENTITY_CHANGED"`) {
				t.Errorf("reason: %s", got.out)
			}
			for _, args := range [][]string{{"store", "rescan", "vault"}, {"store", "check", "--sweep"}, {"store", "init", "vault"}, {"verify", "--all"}} {
				if got := r.run(args...); got.code == 0 || !strings.Contains(got.out+got.err, "older copy") {
					t.Errorf("holdfast %s: %d %s%s", strings.Join(args, " "), got.code, got.out, got.err)
				} else {
					refused++
				}
			}
			if got := r.want([]int{8, 10}, "apply", "saved.plan", inAMonth); !strings.Contains(got.out, "older copy") {
				t.Errorf("verification that was planned before: %s", got.out)
			}
			cases++
			if r.exists("started") {
				t.Error("the device was captured although the store is an older copy")
			}
			if after := treeOf(t, r.path("vault")); after != before {
				t.Errorf("the copy was written to:\n%s\nbefore:\n%s", after, before)
			}

			r.remove("vault")
			check(t, os.Rename(r.path("newest"), r.path("vault")))
			if n := r.good(); n != 2 {
				t.Errorf("%d good artifacts with the newest copy back, want 2", n)
			}
			r.ok("run", "nightly")
		})
	}
	figure(t, 6, "an older copy of the store in its place, by catalogue and by epoch: %d cases, FAILED_STORE_IDENTITY_CHANGED before the capture, %d other commands refused, 0 bytes written, 0 artifacts condemned",
		cases, refused)
}
