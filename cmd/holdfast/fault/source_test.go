package fault_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-dr/holdfast/config/sampletest"
)

// A source that fails after it wrote, hangs, is killed, writes nothing or too little. The device is quiesced meanwhile.
func TestFaultSource(t *testing.T) {
	t.Parallel()
	var cases, artifacts atomic.Int64
	t.Cleanup(func() {
		figure(t, 13, "sources that exit, die, hang, give nothing or too little: %d cases, typed reasons, %d artifacts, 0 left quiesced", cases.Load(), artifacts.Load())
	})
	for name, c := range map[string]struct{ script, reason string }{
		"exits after writing":      {"head -c 100000 /dev/zero; exit 3", "FAILED_SOURCE_EXIT"},
		"exits before writing":     {"exit 1", "FAILED_SOURCE_EXIT"},
		"is killed":                {"head -c 100000 /dev/zero; kill -9 $$", "FAILED_SOURCE_EXIT"},
		"hangs":                    {"head -c 100000 /dev/zero; sleep 600", "FAILED_TIMEOUT"},
		"hangs and hides":          {"trap '' TERM; head -c 100000 /dev/zero; sleep 600 & wait", "FAILED_TIMEOUT"},
		"writes nothing":           {"exit 0", "FAILED_TOO_SMALL"},
		"writes too little":        {"echo x", "FAILED_TOO_SMALL"},
		"is gone":                  {"", "FAILED_NOT_AVAILABLE"},
		"fails beside a full pipe": {"head -c 3000000 /dev/zero; echo broken >&2; exit 1", "FAILED_SOURCE_EXIT"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cases.Add(1)
			r := newRig(t, `
device "command" "box" {
  command   = ["${var.root}/source", var.root]
  min_size  = "10KiB"
  timeout   = "1s"
  state     = ["${var.root}/box", var.root, "state", "whole"]
  quiesce   = ["${var.root}/box", var.root, "quiesce", "whole", "{timeout}"]
  unquiesce = ["${var.root}/box", var.root, "unquiesce", "whole"]
}
store "plain" "vault" { path = "${var.root}/vault" }
backup_plan "nightly" {
  store = store.vault
  activity "all" {
    action  = "secure_backup"
    devices = ["box"]
    quiesce {}
  }
}
`)
			r.write("box", box)
			r.write("source", "#!/bin/sh\n"+c.script+"\n")
			r.ok("init")
			r.ok("apply", "--auto-approve")
			if c.script == "" {
				r.write("source", "#!/no/such/interpreter\n")
			}
			got := r.want([]int{10}, "run", "nightly", "--json")
			if task := r.task("backup_plan.nightly"); task.Reason != c.reason {
				t.Errorf("reason %s, want %s: %s", task.Reason, c.reason, task.Error)
			}
			if got.retries() > 2 {
				t.Errorf("%d retries", got.retries())
			}
			if state := r.read("state-whole"); state != "normal\n" {
				t.Errorf("left %s", state)
			}
			n := r.good() + len(secureBackups(t, r.path("vault"))) + len(staged(t, r.path("vault")))
			if artifacts.Add(int64(n)); n != 0 {
				t.Errorf("%d artifacts or staged ones", n)
			}
		})
	}
}

// stopped reports whether a process was stopped by a signal.
func stopped(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && strings.Contains(string(stat), ") T ")
}

// A source that is stopped in the middle blocks its own task and nothing else. One with a timeout ends by it.
func TestFaultBlockedSource(t *testing.T) {
	t.Parallel()
	r := newRig(t, `
device "command" "stuck" { command = ["${var.root}/stuck", var.root] }
device "command" "brief" {
  command = ["${var.root}/stuck", var.root]
  timeout = "1s"
}
device "command" "other" { command = ["${var.root}/source", var.root] }
store "plain" "vault" { path = "${var.root}/vault" }
backup_plan "nightly" {
  store = store.vault
  activity "all" {
    action  = "secure_backup"
    devices = ["stuck", "other"]
  }
}
backup_plan "brief" {
  store = store.vault
  activity "all" {
    action  = "secure_backup"
    devices = ["brief"]
  }
}
`)
	r.write("payload", "content")
	r.write("source", prints)
	r.write("stuck", "#!/bin/sh\necho $$ >\"$1/pid\"\ntouch \"$1/started\"\nkill -STOP $$\ncat \"$1/payload\"\n")
	r.ok("init")
	r.ok("apply", "--auto-approve")
	p := r.start("run", "nightly", "--json")
	r.appears("started")
	r.until("the other artifact", func() bool { return len(secureBackups(t, r.path("vault"))) == 1 })
	select {
	case <-p.done:
		t.Error("the run ended before the blocked task could")
	default:
	}
	began := time.Now()
	var status struct{ At time.Time }
	r.json(&status, "status")
	answered := time.Since(began)
	pid, err := strconv.Atoi(strings.TrimSpace(r.read("pid")))
	check(t, err)
	r.until("the stopped source", func() bool { return stopped(pid) })
	check(t, syscall.Kill(pid, syscall.SIGCONT))
	if got := p.ended(); got.code != 0 {
		t.Errorf("exit code %d: %s", got.code, got.out)
	}
	r.want([]int{10}, "run", "brief")
	if task := r.task("backup_plan.brief"); task.Reason != "FAILED_TIMEOUT" {
		t.Errorf("%s: %s", task.Reason, task.Error)
	}
	figure(t, 7, "a source that is stopped (SIGSTOP): the other task ended meanwhile, status answered in %v, FAILED_TIMEOUT", answered.Round(time.Millisecond))
}

// Two applies of one due plan at the same moment, many times.
func TestFaultTwoApplies(t *testing.T) {
	t.Parallel()
	r := newRig(t, `
device "command" "web" { command = ["${var.root}/source", var.root] }
store "plain" "vault" { path = "${var.root}/vault" }
backup_plan "nightly" {
  schedule = "0 23 * * *"
  store    = store.vault
  activity "all" {
    action  = "secure_backup"
    devices = ["web"]
  }
}
`)
	r.write("source", "#!/bin/sh\necho x >>\"$1/captures\"\ncat \"$1/payload\"\n")
	r.write("payload", "content")
	r.ok("init")
	night := time.Date(2026, 3, 1, 23, 0, 1, 0, time.UTC)
	r.ok("apply", "--auto-approve", "--now="+night.Format(time.RFC3339))
	n := sampletest.Count(t, 8, 100)
	refused := 0
	for range n {
		night = night.Add(24 * time.Hour)
		var both []*process
		for range 2 {
			both = append(both, r.start("apply", "--auto-approve", "--now="+night.Format(time.RFC3339)))
		}
		done := 0
		for _, p := range both {
			switch got := p.ended(); got.code {
			case 0:
				done++
			case 5, 6: // the plan is no longer usable: the slot has its run; or the lock is held
				refused++
			default:
				t.Errorf("exit code %d: %s%s", got.code, got.out, got.err)
			}
		}
		if done == 0 {
			t.Error("neither of two applies ended well")
		}
	}
	slots := map[string]int{}
	for _, run := range r.runs("backup_plan.nightly") {
		slots[run.TriggerKey]++
		if run.Status != "succeeded" {
			t.Errorf("run %s of %s is %s", run.ID, run.TriggerKey, run.Status)
		}
	}
	for slot, times := range slots {
		if times != 1 {
			t.Errorf("the slot %s has %d runs", slot, times)
		}
	}
	data, err := os.ReadFile(r.path("captures"))
	check(t, err)
	captures, good := len(data)/2, r.good()
	if len(slots) != n+1 || captures != n+1 || good != n+1 || len(secureBackups(t, r.path("vault"))) != n+1 {
		t.Errorf("%d slots: %d recorded, %d captures, %d artifacts, want one each", n+1, len(slots), captures, good)
	}
	figure(t, 15, "two applies of one slot at once: %d rounds, %d slots with one run each, %s, %d told that the other was first", n, len(slots),
		fmt.Sprintf("%d captures, %d artifacts", captures, good), refused)
}
