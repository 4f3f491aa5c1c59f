package execute_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-dr/holdfast/config/sampletest"
)

// mutants are the protocol bugs that can be switched on in a test binary built with the tag "mutant", each with the
// test that has to notice it, and its story. The list only grows.
var mutants = []struct{ name, test, story string }{
	{"late_intent", "TestKilledAnywhere", "everything"},
	{"rerun_halt", "TestKilledAnywhere", "everything"},
	{"early_record", "TestKilledAnywhere", "everything"},
	{"fresh_id", "TestKilledAnywhere", "everything"},
	{"split_role", "TestKilledAnywhere", "everything"},
	{"late_duty", "TestKilledAnywhere", "unfrozen"},
	{"lost_duty", "TestKilledAnywhere", "refused"},
	{"late_duty", "TestKilledAnywhere", "quiesced"},
	{"lost_duty", "TestKilledAnywhere", "quiesced"},
	{"blind_rollback", "TestKilledAnywhere", "half"},
	{"blind_delete", "TestKilledAnywhere", "retention"},
	{"blind_check", "TestKilledAnywhere", "verification"},
	{"early_sweep", "TestKilledAnywhere", "restore"},
	{"early_forget", "TestKilledAnywhere", "restore"},
	{"no_verify", "TestDamagedStagingIsNeverRecorded", ""},
	{"blind_prune", "TestNothingIsPrunedAfterACopyWithErrors", ""},
	{"no_fence", "TestTakenOver", ""},
}

// TestMutantsAreCaught shows that the tests find protocol bugs: some of them, each in the long form, are switched on, and their tests must fail.
func TestMutantsAreCaught(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and runs another test binary")
	}
	bin := filepath.Join(t.TempDir(), "mutants.test")
	if out, err := exec.Command("go", "test", "-c", "-ldflags=-w", "-tags", "mutant", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	run := func(mutant, test, story string) (string, error) {
		cmd := exec.Command(bin, "-test.run=^"+test+"$", "-test.failfast", "-test.v", "-test.timeout=5m")
		cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "HOLDFAST_CRASH") }),
			"HOLDFAST_MUTANT="+mutant, "HOLDFAST_CRASH_STORY="+story)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		err := cmd.Run()
		return out.String(), err
	}
	if out, err := run("", "TestEverythingOnce|TestTakenOver|TestDamagedStagingIsNeverRecorded", ""); err != nil {
		t.Fatalf("the tests fail without a mutant: %v\n%s", err, out)
	}
	var wg sync.WaitGroup
	limit := make(chan struct{}, 2)
	for _, m := range sampletest.Of(t, mutants, 4) {
		wg.Go(func() {
			limit <- struct{}{}
			defer func() { <-limit }()
			started := time.Now()
			out, err := run(m.name, m.test, m.story)
			what := finding(out, m.story)
			if err == nil || !strings.Contains(out, "--- FAIL") || what == "" {
				t.Errorf("%s was not caught by %s (%v)\n%s", m.name, m.test, err, out)
				return
			}
			t.Logf("%-14s caught in %s: %s", m.name, time.Since(started).Round(100*time.Millisecond), what)
		})
	}
	wg.Wait()
}

// finding is what a test's output says is wrong: of a story what was found after a kill, nothing else.
func finding(out, story string) string {
	if _, after, found := strings.Cut(out, killedAt); story != "" {
		if !found {
			return ""
		}
		out = killedAt + after
	}
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "---") || strings.HasPrefix(line, "===") || strings.Contains(line, "_test.go") && strings.HasSuffix(line, ":") {
			continue
		}
		return line[:min(len(line), 160)]
	}
	return ""
}
