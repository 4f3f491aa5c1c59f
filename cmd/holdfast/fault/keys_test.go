package fault_test

import (
	"os/exec"
	"strings"
	"testing"
)

// Keys of age, made once for these tests.
const (
	oldPublic  = "age1n27ew9zd4e64lnv3fej6fh7auds2fg8lkc04wykgeg54uqjlyqcqe8tk33"
	oldPrivate = "AGE-SECRET-KEY-1WW52RTAF0TEAXUTJQDKYDRWWHQ3KC5DEL4RC6GKHX3CD4582HFQQWJJ836"
	newPublic  = "age1hghzhc642v65v5wkyza7xmwuxal4unlxprvqvk4v005g6svvnq8sgwak8h"
	newPrivate = "AGE-SECRET-KEY-1Y3LUG76545NVLZAUVE5QHRAS9FD5AG2DQZTVH3TWE2N0UR6XVDZSJPT4L5"
)

// Artifacts outlive keys: what was encrypted for the old one needs the old one, and the error says which that is.
func TestFaultKeys(t *testing.T) {
	t.Parallel()
	config := func(recipient string) string {
		return "variable \"root\" { type = string }\n" + oneDevice + `
secret "key" { file = "${var.root}/key" }
store "plain" "vault" {
  path = "${var.root}/vault"
  encrypt { recipients = ["` + recipient + `"] }
  decrypt { identity = secret.key }
}
`
	}
	r := newRig(t, "")
	r.write("source", prints)
	r.write("payload", "precious")
	r.write("a.hold.hcl", config(oldPublic))
	key := func(lines ...string) {
		r.remove("key")
		if len(lines) > 0 {
			r.write("key", strings.Join(lines, "\n")+"\n")
			check(t, exec.Command("chmod", "600", r.path("key")).Run())
		}
	}
	key(oldPrivate)
	r.ok("init")
	r.ok("apply", "--auto-approve")
	r.ok("run", "nightly")
	var first struct{ Artifacts []struct{ ID string } }
	r.json(&first, "verify", "--list")
	old := first.Artifacts[0].ID

	r.write("a.hold.hcl", config(newPublic))
	r.ok("apply", "--auto-approve")
	key(newPrivate)
	r.ok("run", "nightly")
	if n := r.good(); n != 2 {
		t.Errorf("%d artifacts verify without the old key, want 2", n)
	}
	cases, named := 0, 0
	restore := func(artifact, dir string, want int, says ...string) {
		t.Helper()
		got := r.run("restore", artifact, "--dir="+dir)
		cases++
		if (got.code == 0) != (want == 0) {
			t.Errorf("restore of %s: %d\n%s", artifact, got.code, got.err)
		}
		for _, text := range says {
			if strings.Contains(got.out+got.err, text) {
				named++
			} else {
				t.Errorf("restore of %s does not say %s: %s", artifact, text, got.err)
			}
		}
		for _, secret := range []string{oldPrivate, newPrivate} {
			if strings.Contains(got.out+got.err, secret) {
				t.Errorf("restore prints a private key")
			}
		}
	}
	restore(old, "wrong", 10, oldPublic, newPublic)
	key()
	restore(old, "lost", 10, "secret.key")
	key("this is no key")
	restore(old, "garbage", 10, "secret.key")
	key(newPrivate, oldPrivate)
	restore(old, "both", 0)
	key(oldPrivate)
	restore(old, "escrow", 0)
	if r.exists("wrong") || r.exists("lost") || r.exists("garbage") || r.read("both/export.out") != "precious" || r.read("escrow/export.out") != "precious" {
		t.Error("a restore without its key left something, or one with it did not")
	}

	// What can be known before a capture is refused before it: a recipient that is none.
	r.write("a.hold.hcl", config("age1wrong"))
	r.write("source", "#!/bin/sh\ntouch \"$1/captured\"\n")
	got := r.want([]int{1}, "apply", "--auto-approve")
	if !strings.Contains(got.err, "recipient") || r.exists("captured") {
		t.Errorf("a recipient that is none: %s", got.err)
	}
	figure(t, 9, "keys: %d restores with the wrong, no, a damaged, both and the old key: %d keys and secrets named, 0 half restores, 0 private keys printed; a wrong recipient captures nothing", cases, named)
}
