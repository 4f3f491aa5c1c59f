package fault_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/holdfast-dr/holdfast/config/sampletest"
)

// The medium of a store fails at the n-th call of a kind, once or from then on, for each n of a backup.
func TestFaultMediumErrors(t *testing.T) {
	long(t)
	t.Parallel()
	var cases, failed, warned, well, full, most int
	for _, c := range []struct {
		op     string
		times  int
		with   syscall.Errno
		reason string
	}{
		// A read that fails once is made again by the kernel.
		{"write", 1, unix.EIO, "FAILED_STORE_MEDIUM"},
		{"fsync", 1, unix.EIO, "FAILED_STORE_MEDIUM"},
		{"name", 1, unix.EIO, "FAILED_STORE_MEDIUM"},
		{"read", always, unix.EIO, "FAILED_STORE_MEDIUM"},
		{"write", always, unix.EIO, "FAILED_STORE_MEDIUM"},
		{"fsync", always, unix.EIO, "FAILED_STORE_MEDIUM"},
		{"name", always, unix.EIO, "FAILED_STORE_MEDIUM"},
		// The quota is used up, of which the free space of the file system says nothing.
		{"write", always, unix.EDQUOT, "FAILED_STORE_SPACE"},
		{"name", always, unix.EDQUOT, "FAILED_STORE_SPACE"},
	} {
		times := map[int]string{1: "once", always: "from then on"}[c.times]
		t.Run(c.op+" "+c.with.Error()+" "+times, func(t *testing.T) {
			r := newRig(t, oneDevice+`store "plain" "vault" { path = "${var.root}/disk/vault" }`)
			check(t, os.Mkdir(r.path("raw"), 0o700))
			m := newMedium(t, r.path("raw"), r.path("disk"))
			r.write("source", prints)
			r.write("payload", "content")
			r.ok("init")
			r.ok("apply", "--auto-approve")
			r.ok("run", "nightly")
			good := 1
			for n := range sampletest.Points(t, 4) {
				m.fail(c.op, c.with, n-1, c.times, ".")
				got := r.want([]int{0, 10}, "run", "nightly", "--json")
				if m.heal() == 0 {
					if got.code != 0 { // runs failed after they had published what they took: the store knows more than the state
						r.want([]int{0, 8}, "store", "rescan", "vault")
						good = len(secureBackups(t, r.path("raw/vault")))
						r.ok("run", "nightly")
					}
					good++
					break
				}
				cases++
				task := r.task("backup_plan.nightly")
				most = max(most, got.retries())
				switch {
				case got.code != 0 && task.Reason == c.reason:
					if failed++; c.with == unix.EDQUOT {
						full++
					}
				case got.code != 0:
					t.Errorf("call %d: %s %s: %s", n, task.Status, task.Reason, task.Error)
				case task.Status == "succeeded_with_warnings" && (strings.Contains(task.Error, "the medium failed") || strings.Contains(task.Error, c.with.Error())):
					good, warned = good+1, warned+1
				case c.times == 1 || c.op == "fsync" || c.op == "read": // done again, or not needed
					good, well = good+1, well+1
				default:
					t.Errorf("call %d: %s with a medium that failed: %s", n, task.Status, task.Error)
				}
			}
			if n := r.good(); n != good {
				t.Errorf("%d good artifacts, want %d", n, good)
			}
			if c.times == 1 || c.op == "name" {
				r.ok("store", "check")
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
	figure(t, 4, "EIO from FUSE at each write, fsync, read and change of a name in the store, once and from then on, and a quota that is used up: %d cases, %d FAILED_STORE_MEDIUM, %d FAILED_STORE_SPACE, %d committed with a warning, %d unharmed, 0 false successes, at most %d attempts",
		cases, failed-full, full, warned, well, most+1)
}

// stateOn puts the files of a state with content onto a medium, one by one, so that the directory is what it was. The shared memory of the
// engine stays outside: it is no part of what must last.
func (r *rig) stateOn(at string) *medium {
	r.t.Helper()
	raw, seen := r.path(at+"/raw"), r.path(at+"/seen")
	check(r.t, os.MkdirAll(raw, 0o700))
	for _, name := range []string{"holdfast.db", "holdfast.db-wal"} {
		data, err := os.ReadFile(r.path(name))
		if err != nil && !os.IsNotExist(err) {
			r.t.Fatal(err)
		}
		check(r.t, os.WriteFile(filepath.Join(raw, name), data, 0o600))
		check(r.t, os.WriteFile(r.path(name), nil, 0o600))
	}
	m := newMedium(r.t, raw, seen)
	for _, name := range []string{"holdfast.db", "holdfast.db-wal"} {
		mayMount(r.t, unix.Mount(filepath.Join(seen, name), r.path(name), "", unix.MS_BIND, ""))
		r.t.Cleanup(func() { _ = unix.Unmount(r.path(name), unix.MNT_DETACH) })
	}
	return m
}

// The medium of the state fails at the n-th call of a kind, once or from then on. Apply stops and says so; what was done is finished when
// the medium is well again.
func TestFaultStateMedium(t *testing.T) {
	t.Parallel()
	type point struct {
		op       string
		n, times int
		r        *rig
		m        *medium
		p        *process
	}
	points := []*point{
		{op: "write", n: 100, times: always}, {op: "fsync", n: 5, times: always},
	}
	var more []*point
	for _, n := range []int{0, 20, 40, 60, 80, 120, 140, 160, 180, 200, 220} {
		more = append(more, &point{op: "write", n: n, times: always}, &point{op: "write", n: n + 3, times: 1})
	}
	for n := range 10 {
		more = append(more, &point{op: "fsync", n: n, times: always}, &point{op: "fsync", n: n, times: 1})
	}
	for _, n := range []int{0, 1, 40, 130} {
		more = append(more, &point{op: "read", n: n, times: always})
	}
	points = append(points, sampletest.Of(t, more, 8)...)
	stopped, resumed, hit := 0, 0, 0
	const together = 20 // they mostly wait before they try again
	for group := range slices.Chunk(points, together) {
		for _, c := range group {
			c.r = newRig(t, oneDevice+`store "plain" "vault" { path = "${var.root}/vault" }`)
			c.r.write("source", prints)
			c.r.write("payload", "content")
			c.r.ok("init")
			c.r.ok("apply", "--auto-approve")
			c.r.ok("run", "nightly")
			c.m = c.r.stateOn("medium")
			c.m.fail(c.op, unix.EIO, c.n, c.times, ".")
			c.p = c.r.start("run", "nightly")
		}
		for _, c := range group {
			what := fmt.Sprintf("%s %d, %d times", c.op, c.n, c.times)
			got := c.p.ended()
			if c.m.heal() > 0 {
				hit++
			}
			if got.code != 0 {
				stopped++
				if got.code != 1 || !strings.Contains(got.err, "the disk may be failing") && !strings.Contains(got.err, "look in the kernel's log") {
					t.Errorf("%s: %d %s", what, got.code, got.err)
				}
			}
			if again := c.r.ok("apply", "--resume"); !strings.Contains(again.out, "Nothing to continue") {
				resumed++
			}
			for _, run := range c.r.runs("backup_plan.nightly") {
				if run.Status != "succeeded" {
					t.Errorf("%s: run %s is %s", what, run.ID, run.Status)
				}
				got.out = strings.ReplaceAll(got.out, "run "+run.ID+":", "")
			}
			if strings.Contains(got.out, "run ") {
				t.Errorf("%s: a run was told of that is not recorded: %s", what, got.out)
			}
			if n := c.r.good(); n != len(secureBackups(t, c.r.path("vault"))) {
				t.Errorf("%s: %d good artifacts, %d in the store", what, n, len(secureBackups(t, c.r.path("vault"))))
			}
			c.r.ok("run", "nightly")
		}
	}
	if stopped == 0 || resumed == 0 {
		t.Errorf("%d stopped, %d resumed", stopped, resumed)
	}
	figure(t, 2, "EIO below the state (FUSE under database and log) at a write, fsync or read: %d cases, %d hit, %d stopped with an error that names the disk, %d resumed, 0 acknowledged runs lost, 0 false records",
		len(points), hit, stopped, resumed)
}

// Power fails at each flush of the state during a backup: only what was flushed is left, or that with half of the sectors that were not. The
// world outside is as it was at that moment. What was acknowledged is there, and a resume finishes the rest.
func TestFaultStatePowerLoss(t *testing.T) {
	t.Parallel()
	r := newRig(t, oneDevice+`store "plain" "vault" { path = "${var.root}/world/vault" }`)
	r.write("source", "#!/bin/sh\necho x >>\"$1/world/captured\"\ncat \"$1/payload\"\n")
	r.write("payload", "content")
	check(t, os.Mkdir(r.path("world"), 0o700))
	r.ok("init")
	r.ok("apply", "--auto-approve")
	m := r.stateOn("medium")
	scenes := t.TempDir()
	m.say("record", scenes, r.path("world"))
	told, err := os.Create(r.path("world/told"))
	check(t, err)
	defer told.Close()
	cmd := r.command(t.Context(), "run", "nightly")
	cmd.Stdout = told
	check(t, cmd.Run())
	for _, name := range []string{"holdfast.db", "holdfast.db-wal"} {
		check(t, unix.Unmount(r.path(name), unix.MNT_DETACH))
	}

	all, err := os.ReadDir(scenes)
	check(t, err)
	cases, begun, resumed := 0, 0, 0
	for _, scene := range append(sampletest.Of(t, all, 10), all[0], all[len(all)/2]) { // before anything was done, and in the middle of it
		for _, name := range []string{"world", "holdfast.db", "holdfast.db-wal", "holdfast.db-shm"} {
			r.remove(name)
		}
		check(t, os.CopyFS(r.dir, os.DirFS(filepath.Join(scenes, scene.Name()))))
		cases++
		runs := r.runs("backup_plan.nightly")
		seen := r.read("world/told")
		switch {
		case strings.Contains(seen, "succeeded") && (len(runs) != 1 || r.task("backup_plan.nightly").Status != "succeeded"):
			t.Errorf("scene %s: a success was told that is not recorded: %+v", scene.Name(), runs)
		case (seen != "" || r.exists("world/captured")) && len(runs) != 1:
			t.Errorf("scene %s: the backup was begun, and there is no record of it", scene.Name())
		}
		begun += len(runs)
		if got := r.ok("apply", "--resume"); !strings.Contains(got.out, "Nothing to continue") {
			resumed++
		}
		for _, run := range r.runs("backup_plan.nightly") {
			if run.Status != "succeeded" {
				t.Errorf("scene %s: run %s is %s", scene.Name(), run.ID, run.Status)
			}
		}
		if good := r.good(); good != len(runs) || good != len(secureBackups(t, r.path("world/vault"))) {
			t.Errorf("scene %s: %d good artifacts, %d in the store, %d runs", scene.Name(), good, len(secureBackups(t, r.path("world/vault"))), len(runs))
		}
	}
	if resumed == 0 || begun == cases {
		t.Errorf("%d scenes, %d with a run, %d resumed", cases, begun, resumed)
	}
	figure(t, 2, "power lost at each flush of the state, with and without half of the sectors that were not flushed: %d scenes, %d with the run, %d resumed, 0 acknowledged writes lost, 0 false records",
		cases, begun, resumed)
}
