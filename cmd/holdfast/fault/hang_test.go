package fault_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// hang mounts a file system whose server says hello and then never answers again, as one that is mounted hard from a machine that
// is gone. Where the kernel has no FUSE, the test is skipped only outside CI.
func hang(t *testing.T, path string) (unhang func()) {
	t.Helper()
	const kernel = "/dev/fuse"
	dev, err := unix.Open(kernel, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if (errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV)) && os.Getenv("CI") == "" {
		t.Skipf("NOT TESTED: %s: %v", kernel, err)
	}
	if err != nil {
		mayMount(t, err)
	}
	mayMount(t, unix.Mount("hang", path, "fuse", unix.MS_NODEV|unix.MS_NOSUID, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", dev)))
	hello := make([]byte, 1<<17)
	n, err := unix.Read(dev, hello)
	if err != nil || n < 56 {
		t.Fatalf("%d bytes of the kernel's first request: %v", n, err)
	}
	reply := make([]byte, 16+64) // fuse_out_header and fuse_init_out
	binary.NativeEndian.PutUint32(reply, uint32(len(reply)))
	copy(reply[8:16], hello[8:16])                        // the request it answers
	copy(reply[16:24], hello[40:48])                      // the kernel's version of the protocol
	binary.NativeEndian.PutUint32(reply[16+20:], 128<<10) // longest write
	binary.NativeEndian.PutUint16(reply[16+16:], 16)      // requests in the background
	binary.NativeEndian.PutUint16(reply[16+16+2:], 12)    // of which so many are congestion
	binary.NativeEndian.PutUint32(reply[16+24:], 1)       // granularity of times
	if _, err := unix.Write(dev, reply); err != nil {
		t.Fatal(err)
	}
	done := false
	unhang = func() {
		if !done {
			done = true
			_ = unix.Unmount(path, unix.MNT_DETACH)
			_ = unix.Close(dev) // ends what still waits
		}
	}
	t.Cleanup(unhang)
	return unhang
}

// The file server of one store goes away in the middle of a run.
func TestFaultBlockedStore(t *testing.T) {
	t.Parallel()
	remote := t.TempDir() // not in the directory of the configuration, which every command reads
	r := newRig(t, `
device "command" "far"  { command = ["${var.root}/far", var.root] }
device "command" "near" { command = ["${var.root}/near", var.root] }
store "plain" "remote" {
  path    = "`+remote+`/store"
  timeout = "1s"
}
store "plain" "local"  { path = "${var.root}/local" }
backup_plan "far" {
  schedule = "0 23 * * *"
  store    = store.remote
  activity "all" {
    action  = "secure_backup"
    devices = ["far"]
  }
}
backup_plan "near" {
  schedule = "0 23 * * *"
  store    = store.local
  activity "all" {
    action  = "secure_backup"
    devices = ["near"]
  }
}
`)
	r.write("payload", "content")
	r.write("far", prints)
	r.write("near", prints)
	r.ok("init")
	r.ok("apply", "--auto-approve", "--now=2026-03-01T23:00:01Z")
	r.write("far", "#!/bin/sh\ntouch \"$1/started\"\ncat \"$1/gate\"\ncat \"$1/payload\"\n")
	r.write("near", "#!/bin/sh\ncat \"$1/gate-near\"\ncat \"$1/payload\"\n")
	fifo(t, r.path("gate"))
	fifo(t, r.path("gate-near"))

	p := r.start("apply", "--auto-approve", "--now=2026-03-02T23:00:01Z")
	r.appears("started")
	unhang := hang(t, remote+"/store")
	r.write("gate", "more")
	r.until("a step that waits for the store", func() bool { return blocked(p.cmd.Process.Pid) })
	r.write("gate-near", "more")
	r.until("the artifact of the other store", func() bool { return len(secureBackups(t, r.path("local"))) == 2 })
	slowest := time.Duration(0)
	for range 10 {
		began := time.Now()
		r.ok("history", "--open")
		slowest = max(slowest, time.Since(began))
	}
	r.until("the end of the other task", func() bool { return r.runs("backup_plan.near")[0].Status == "succeeded" })
	// The task of the store that does not answer ends by itself, and apply with it.
	began := time.Now()
	if got := p.ended(); got.code != 8 || !strings.Contains(got.err+got.out, "FAILED_STORE_NO_ANSWER") || !strings.Contains(got.err+got.out, "store check remote --sweep") {
		t.Errorf("exit code %d: %s%s", got.code, got.out, got.err)
	}
	waited := time.Since(began)
	if got := r.runs("backup_plan.far")[0]; got.Status != "failed" {
		t.Errorf("the run is %s", got.Status)
	}
	// When it is back, nothing is left to repair.
	unhang()
	r.remove("gate", "gate-near")
	r.write("far", prints)
	r.ok("run", "far", "--now=2026-03-02T23:10:01Z")
	if n := r.good(); n != 4 {
		t.Errorf("%d good artifacts, want 4", n)
	}
	figure(t, 7, "a file server that is gone (FUSE that never answers, timeout 1s): the task of the other store ended, history answered in at most %v, the blocked task ended by itself after %v and the next run is good",
		slowest.Round(time.Millisecond), waited.Round(time.Second))
}

// blocked reports whether a thread of a process waits for FUSE.
func blocked(pid int) bool {
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return false
	}
	for _, task := range tasks {
		where, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/wchan", pid, task.Name()))
		if err == nil && (strings.Contains(string(where), "fuse") || strings.Contains(string(where), "request_wait")) {
			return true
		}
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/stat", pid, task.Name()))
		if _, after, ok := strings.Cut(string(stat), ") "); err == nil && ok && strings.HasPrefix(after, "D") {
			return true
		}
	}
	return false
}
