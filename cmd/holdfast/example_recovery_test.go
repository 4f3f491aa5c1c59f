package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The recovery example loses a bit, the state and rows, and has all of it back at its end. What it does not assert itself is asserted here.
func TestRecoveryExample(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"sqlite3", "age-keygen", "bash"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Fatalf("the demo needs %s: %v", name, err)
		}
	}
	bin, err := exec.LookPath("holdfast") // put there by testscript.Main
	if err != nil {
		t.Fatal(err)
	}
	temp := t.TempDir()
	cmd := exec.Command(filepath.Join("..", "..", "examples", "recovery", "demo.sh"), bin)
	cmd.Env = append(os.Environ(), "TMPDIR="+temp)
	b, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	parts := strings.Split(string(b), "== ")
	if len(parts) != 8 {
		t.Fatalf("the demo has %d parts:\n%s", len(parts), b)
	}
	for i, wants := range [][]string{
		1: {`(?m)^4 .*nightly +backup +succeeded`, `store\.vault +6 .*healthy`},
		2: {`reads back 2 artifacts`, `web/content failed FAILED_VERIFY: artifact \w+ in store.vault is damaged`, `nothing: a newer one is good`, `HF-RST-003`},
		3: {
			`HF-STO-002`, `epoch 2\.`, `6 were added, 0 changed, 0 kept`, `web/content  NOT GOOD`, `6 artifacts read, 1 not good`, `0 actions now`,
			`Nothing to do`, `No runs of backup_plan.nightly are recorded`,
		},
		4: {`taken +2026-11-03 23:00`, `(?m)^the page of Tuesday$`},
		5: {
			`(?m)^now: +orders: 1, the last: an order after the mistake$`, `what is there is REPLACED`, `this plan needs --allow=destroy`,
			`(?m)^restored: orders: 3, the last: an order of Wednesday$`, `(?m)^replaced: orders: 1, the last: an order after the mistake$`,
		},
		6: {`store\.vault +fits`, `store\.vault: 7 artifacts`},
		7: {`Done`},
	} {
		for _, want := range wants {
			if !regexp.MustCompile(want).MatchString(parts[i]) {
				t.Errorf("part %d of the demo does not say %q:\n%s", i, want, parts[i])
			}
		}
	}
	if strings.Contains(string(b), "AGE-SECRET-KEY") {
		t.Error("the demo shows its private key")
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("the example left %v, %v", left, err)
	}
}
