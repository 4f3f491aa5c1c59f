package fault_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/holdfast-dr/holdfast/config/sampletest"
)

// appliance is a command device that can be quiesced: what it is lies in a file beside it.
const appliance = `
device "command" "box" {
  command   = ["${var.root}/box", var.root, "capture", "{domain}"]
  domains   = ["one", "two"]
  state     = ["${var.root}/box", var.root, "state", "{domain}"]
  quiesce   = ["${var.root}/box", var.root, "quiesce", "{domain}", "{timeout}"]
  unquiesce = ["${var.root}/box", var.root, "unquiesce", "{domain}"]
}
`

const box = `#!/bin/sh
cd "$1" || exit 1
case $2 in
capture) cat payload ;;
state) cat "state-$3" 2>/dev/null || echo normal ;;
quiesce) echo quiesced >"state-$3" ;;
unquiesce) echo normal >"state-$3" ;;
esac
`

// Apply is killed at random moments, night after night; what was left is resumed, and the next night goes well by itself.
func TestFaultRandomKills(t *testing.T) {
	t.Parallel()
	r := newRig(t, appliance+`
store "plain" "vault" { path = "${var.root}/vault" }
retention "few" { keep_last = 2 }
backup_plan "nightly" {
  schedule  = "0 23 * * *"
  store     = store.vault
  retention = retention.few
  activity "all" {
    action  = "export_domain"
    devices = ["box"]
    quiesce {}
  }
}
`)
	r.write("box", box)
	r.write("payload", string(make([]byte, 300_000)))
	night := time.Date(2026, 3, 1, 23, 0, 1, 0, time.UTC)
	apply := func(more ...string) []string {
		return append([]string{"apply", "--auto-approve", "--now=" + night.Format(time.RFC3339)}, more...)
	}
	r.ok("init")
	began := time.Now()
	r.ok(apply()...)
	usual := time.Since(began)

	kills, cut := 0, 0
	for range sampletest.Count(t, 8, 300) {
		night = night.Add(24 * time.Hour)
		began := time.Now()
		p := r.start(apply()...)
		timer := time.AfterFunc(rand.N(usual), func() { _ = p.cmd.Process.Kill() })
		if got := p.ended(); got.code == -1 {
			kills++
		} else {
			usual = min(usual, time.Since(began))
		}
		timer.Stop()
		var open struct{ Runs []runRecord }
		r.json(&open, "history", "--open")
		if len(open.Runs) > 0 {
			cut++
		}
		r.ok(apply("--resume")...)
		r.ok(apply("--allow-delete=100")...) // the night, when the kill came before it was begun: too many missed ones hold retention back
		for _, domain := range []string{"one", "two"} {
			if state, err := os.ReadFile(r.path("state-" + domain)); err == nil && string(state) != "normal\n" {
				t.Errorf("domain %s was left %s", domain, state)
			}
		}
		if n := r.good(); n < 2 {
			t.Errorf("%d good artifacts after a kill", n)
		}
		if left := staged(t, r.path("vault")); len(left) > 0 {
			t.Errorf("staging holds %v", left)
		}
	}
	night = night.Add(24 * time.Hour)
	r.ok(apply("--allow-delete=100")...)
	night = night.Add(time.Minute)
	r.ok(apply("--allow-delete=100")...) // deletes by the record of the last night
	if n := r.good(); n != 4 {
		t.Errorf("%d good artifacts at the end, retention keeps 2 of each of 2 domains", n)
	}
	manifests, err := filepath.Glob(r.path("vault/*/domain/*/*.holdfast.json"))
	check(t, err)
	if len(manifests) != 4 {
		t.Errorf("the store shows %d artifacts, recorded as good are 4: %v", len(manifests), manifests)
	}
	if out := r.ok("lock", "list").out; out != "Nothing is locked.\n" {
		t.Errorf("locks: %s", out)
	}
	temporary := 0
	for _, pattern := range []string{"vault/.holdfast/*/.*.tmp", "vault/.holdfast/catalog/*/*/*/.*.tmp"} {
		found, err := filepath.Glob(r.path(pattern))
		check(t, err)
		temporary += len(found)
	}
	if temporary > kills {
		t.Errorf("%d temporary files after %d kills", temporary, kills)
	}
	figure(t, 1, "random kill -9 of apply: %d kills, %d with work open, resumed: 0 bad artifacts, 0 quiesced, %s", kills, cut,
		fmt.Sprintf("%d staged, %d temporary files of at most one a kill", len(staged(t, r.path("vault"))), temporary))
}
