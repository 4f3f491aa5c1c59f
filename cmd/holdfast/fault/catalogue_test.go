package fault_test

import (
	"os"
	"testing"
)

// A backup is killed in place of each call by which its store gives a document or a secure backup its name, so also between the commit point
// and what follows it. What resumes leaves every artifact in the catalogue: one that is not is not missed when it is gone.
func TestFaultKilledAtEachName(t *testing.T) {
	t.Parallel()
	r := newRig(t, `
device "files" "web" {
  root "content" { path = "${var.root}/www" }
}
store "plain" "vault" { path = "${var.root}/disk/vault" }
backup_plan "nightly" {
  schedule = "0 23 * * *"
  store    = store.vault
  activity "export" {
    action  = "export_domain"
    devices = ["web"]
  }
  activity "secure" {
    action  = "secure_backup"
    devices = ["web"]
  }
}
`)
	check(t, os.Mkdir(r.path("raw"), 0o700))
	m := newMedium(t, r.path("raw"), r.path("disk"))
	r.write("www/page.html", "content")
	r.ok("init")
	r.ok("apply", "--auto-approve")
	n := 0
	for ; ; n++ {
		m.kill("name", n, `(json|secure-backup/[^/]+)$`)
		a := r.run("run", "nightly")
		if m.heal() == 0 {
			break
		}
		if a.code != -1 {
			t.Fatalf("it was not killed at name %d: %d\n%s%s", n, a.code, a.out, a.err)
		}
		r.ok("apply", "--resume")
		if a := r.run("store", "check", "vault"); a.code != 0 {
			t.Errorf("killed at name %d, and resumed: %s%s", n, a.out, a.err)
		}
	}
	if n < 6 {
		t.Errorf("killed at only %d names", n)
	}
	if left := staged(t, r.path("raw/vault")); len(left) > 0 {
		t.Errorf("staging holds %v", left)
	}
}
