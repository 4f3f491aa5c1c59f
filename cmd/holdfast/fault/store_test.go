package fault_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-dr/holdfast/config/sampletest"
)

// oneDevice is a device whose capture is what a script prints, and a plan that takes it by hand.
const oneDevice = `
device "command" "web" {
  command  = ["${var.root}/source", var.root]
  compress = false
}
backup_plan "nightly" {
  store = store.vault
  activity "all" {
    action  = "secure_backup"
    devices = ["web"]
  }
}
`

const prints = "#!/bin/sh\ncat \"$1/payload\"\n"

// waits is a source that prints half, says so, and goes on when it is told to.
const waits = "#!/bin/sh\ncat \"$1/payload\"\ntouch \"$1/started\"\n[ -p \"$1/gate\" ] && cat \"$1/gate\" >/dev/null\ncat \"$1/payload\"\n"

// A store that fills up at byte n of a backup, for many n.
func TestFaultDiskFull(t *testing.T) {
	t.Parallel()
	r := newRig(t, oneDevice+`store "plain" "vault" { path = "${var.root}/disk/vault" }`)
	disk := r.path("disk")
	tmpfs(t, disk, "size=3m")
	r.write("source", prints)
	r.write("payload", "old")
	r.ok("init")
	r.ok("apply", "--auto-approve")
	r.ok("run", "nightly")
	const size = 1 << 20
	r.write("payload", string(make([]byte, size)))

	const room = size + 100_000 // for all of it
	var small, large []int64
	for i := range int64(25) {
		small = append(small, i*4096)
		large = append(large, (25+i)*room/50)
	}
	values := slices.Concat(sampletest.Of(t, small, 6), sampletest.Of(t, large, 6), []int64{room})
	full, fits, slowest := 0, 0, time.Duration(0)
	worst := int64(100)
	for _, n := range values {
		before := free(t, disk)
		ballast(t, disk, n)
		began := time.Now()
		got := r.want([]int{0, 10}, "run", "nightly", "--json")
		took := time.Since(began)
		check(t, os.Remove(filepath.Join(disk, "ballast")))
		if got.code == 0 {
			fits++
			continue
		}
		full++
		slowest = max(slowest, took)
		if !strings.Contains(got.out, `"reason":"FAILED_STORE_SPACE"`) {
			t.Errorf("%d bytes free: %s", n, got.out)
		}
		if got.retries() > 2 {
			t.Errorf("%d bytes free: %d retries", n, got.retries())
		}
		if left := staged(t, filepath.Join(disk, "vault")); len(left) > 0 {
			t.Errorf("%d bytes free: staging holds %v", n, left)
		}
		if lost := before - free(t, disk); lost > 0 {
			back := 100 - 100*lost/size
			worst = min(worst, back)
			if back < 90 {
				t.Errorf("%d bytes free: %d bytes did not come back", n, lost)
			}
		}
	}
	if full < len(values)/3 || fits == 0 {
		t.Errorf("of %d values %d were too few bytes and %d enough", len(values), full, fits)
	}
	if n := r.good(); n != 1+fits {
		t.Errorf("%d good artifacts, want %d", n, 1+fits)
	}
	if n := len(secureBackups(t, filepath.Join(disk, "vault"))); n != 1+fits {
		t.Errorf("the store shows %d artifacts, want %d", n, 1+fits)
	}
	figure(t, 3, "disk full at byte n: %d values, %d FAILED_STORE_SPACE, %d had room, 0 false successes, 0 staged, at least %d %% of the room back, slowest %v",
		len(values), full, fits, worst, slowest.Round(time.Millisecond))
}

// A store without inodes, and one that became read-only.
func TestFaultBadMedium(t *testing.T) {
	long(t)
	t.Parallel()
	config := oneDevice + `store "plain" "vault" { path = "${var.root}/disk/vault" }`
	cases, successes, most := 0, 0, 0
	t.Run("inodes", func(t *testing.T) {
		r := newRig(t, config)
		disk := r.path("disk")
		tmpfs(t, disk, "size=4m,nr_inodes=200")
		r.write("source", prints)
		r.write("payload", "content")
		r.ok("init")
		r.ok("apply", "--auto-approve")
		r.ok("run", "nightly")
		good := 1
		for left := range 12 {
			fillInodes(t, disk, left)
			got := r.want([]int{0, 10}, "run", "nightly", "--json")
			check(t, os.RemoveAll(filepath.Join(disk, "filler")))
			cases++
			most = max(most, got.retries())
			if got.code == 0 {
				good, successes = good+1, successes+1
			} else if !strings.Contains(got.out, `"reason":"FAILED_STORE_SPACE"`) {
				t.Errorf("%d inodes left: %s", left, got.out)
			}
		}
		if n := r.good(); n != good || n != len(secureBackups(t, filepath.Join(disk, "vault"))) {
			t.Errorf("%d good artifacts, want %d", n, good)
		}
		// What could not be finished for want of inodes is finished by the next run, and nothing but inodes is needed.
		r.ok("run", "nightly")
		if left := staged(t, filepath.Join(disk, "vault")); len(left) > 0 {
			t.Errorf("staging holds %v", left)
		}
		fillInodes(t, disk, 0)
		for _, id := range r.goodIDs() {
			r.ok("artifact", "delete", id, "--reason", "room", "--force", "--auto-approve")
		}
		if left := secureBackups(t, filepath.Join(disk, "vault")); len(left) > 0 {
			t.Errorf("deleted without an inode free, and still there: %v", left)
		}
		check(t, os.RemoveAll(filepath.Join(disk, "filler")))
		r.ok("store", "check")
	})
	for _, when := range []string{"before", "during"} {
		t.Run("read-only "+when, func(t *testing.T) {
			r := newRig(t, config)
			disk := r.path("disk")
			tmpfs(t, disk, "size=4m")
			r.write("source", waits)
			r.write("payload", "content")
			r.ok("init")
			r.ok("apply", "--auto-approve")
			r.ok("run", "nightly")
			var got answer
			if when == "before" {
				check(t, unix.Mount("", disk, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
				got = r.want([]int{10}, "run", "nightly", "--json")
			} else {
				r.remove("started")
				fifo(t, r.path("gate"))
				p := r.start("run", "nightly", "--json")
				r.appears("started")
				if err := unix.Mount("", disk, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
					t.Logf("the kernel refuses to make a file system read-only under an open file: %v", err)
				}
				r.write("gate", "")
				got = p.ended()
				r.remove("gate")
			}
			cases++
			most = max(most, got.retries())
			if got.code == 0 {
				successes++
			} else if !strings.Contains(got.out, `"reason":"FAILED_STORE_READ_ONLY"`) {
				t.Errorf("reason: %s", got.out)
			}
			check(t, unix.Mount("", disk, "", unix.MS_REMOUNT, ""))
			good := r.good()
			if n := len(secureBackups(t, filepath.Join(disk, "vault"))); n != good {
				t.Errorf("%d artifacts in the store, %d good", n, good)
			}
			r.ok("run", "nightly")
		})
	}
	if most > 2 {
		t.Errorf("%d retries of one step", most)
	}
	figure(t, 4, "no inodes, read-only: %d cases, %d had enough, 0 false successes, at most %d attempts", cases, successes, most+1)
}

func fillInodes(t *testing.T, disk string, left int) {
	t.Helper()
	check(t, os.Mkdir(filepath.Join(disk, "filler"), 0o700))
	var st unix.Statfs_t
	check(t, unix.Statfs(disk, &st))
	for i := range int(st.Ffree) - left {
		check(t, os.WriteFile(filepath.Join(disk, "filler", fmt.Sprint(i)), nil, 0o600))
	}
}

// A store that is unmounted before, during and between the tasks of a run, plainly and lazily.
func TestFaultUnmounted(t *testing.T) {
	long(t)
	t.Parallel()
	cases, below, successes := 0, 0, 0
	for _, when := range []string{"before", "during", "between"} {
		for _, lazy := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, lazy %v", when, lazy), func(t *testing.T) {
				r := newRig(t, `
device "command" "a" { command = ["${var.root}/source", var.root] }
device "command" "b" { command = ["${var.root}/source", var.root] }
store "plain" "vault" { path = "${var.root}/disk" }
backup_plan "nightly" {
  store    = store.vault
  parallel = 1
  activity "all" {
    action  = "secure_backup"
    devices = ["a", "b"]
  }
  activity "again" {
    action  = "secure_backup"
    devices = ["a"]
  }
}
`)
				disk := r.path("disk")
				tmpfs(t, disk, "size=4m")
				r.write("payload", "content")
				r.write("source", prints)
				r.ok("init")
				r.ok("apply", "--auto-approve")
				r.write("source", "#!/bin/sh\necho x >>\"$1/taken\"\ncat \"$1/payload\"\nif [ \"$(wc -l <\"$1/taken\")\" = \"$(cat \"$1/stop-at\")\" ]; then\n"+
					"touch \"$1/started\"\ncat \"$1/gate\" >/dev/null\nfi\ncat \"$1/payload\"\n")
				fifo(t, r.path("gate"))
				go2 := func() { r.write("gate", "") }
				away := func() { unmount(t, disk, lazy) }

				good := 0
				var got answer
				switch when {
				case "before":
					r.write("stop-at", "0")
					away()
					got = r.run("run", "nightly", "--json")
				case "during": // the first capture is under way
					r.write("stop-at", "1")
					p := r.start("run", "nightly", "--json")
					r.appears("started")
					away()
					go2()
					got = p.ended()
				case "between": // the first task has ended, the second captures, the third waits
					r.write("stop-at", "2")
					p := r.start("run", "nightly", "--json")
					r.appears("started")
					away()
					go2()
					got = p.ended()
					good = 1
				}
				cases++
				if got.code == 0 {
					t.Errorf("the run went well: %s", got.out)
				}
				left, err := os.ReadDir(disk)
				check(t, err)
				below += len(left)
				for _, e := range left {
					t.Errorf("%s lies below the mount point", e.Name())
				}
				if when != "before" {
					ok := 0
					for _, task := range r.tasks("backup_plan.nightly") {
						if task.Status == "succeeded" {
							ok++
						} else if task.Reason != "FAILED_STORE_IDENTITY_CHANGED" {
							t.Errorf("task %s: %s %s: %s", task.ID, task.Status, task.Reason, task.Error)
						}
					}
					if ok != good {
						successes++
						t.Errorf("%d tasks succeeded, want %d", ok, good)
					}
				} else if !strings.Contains(got.out, "FAILED_STORE_IDENTITY_CHANGED") && !strings.Contains(got.out, "mount") {
					t.Errorf("before: %s", got.out)
				}
			})
		}
	}
	figure(t, 5, "store unmounted plain and lazy: %d cases, %d entries under the mount point, %d false successes", cases, below, successes)
}

// unmount takes a file system away: lazily, or plainly, which the kernel refuses while a file on it is open. Then the operator
// forces it: everything that is open stays usable, and the path shows what is below.
func unmount(t *testing.T, path string, lazy bool) {
	t.Helper()
	if !lazy {
		err := unix.Unmount(path, 0)
		if err != unix.EBUSY {
			check(t, err)
			return
		}
		t.Log("the kernel keeps a file system with open files from a plain unmount")
	}
	check(t, unix.Unmount(path, unix.MNT_DETACH))
}

// Another store stands where the recorded one was: before a run, while it captures, and by a bind mount.
func TestFaultSwappedStore(t *testing.T) {
	long(t)
	t.Parallel()
	cases := 0
	for _, when := range []string{"before", "during", "no store at all", "damaged marker"} {
		t.Run(when, func(t *testing.T) {
			r := newRig(t, oneDevice+`store "plain" "vault" { path = "${var.root}/disk" }`)
			r.write("payload", "content")
			r.write("source", waits)
			disk, other := r.path("disk"), r.path("other")
			check(t, os.MkdirAll(disk, 0o700))
			r.ok("init")
			r.ok("apply", "--auto-approve")
			r.ok("run", "nightly")
			r.remove("started")

			switch when {
			case "no store at all":
				check(t, os.Mkdir(other, 0o700))
			case "damaged marker":
				check(t, os.MkdirAll(filepath.Join(other, ".holdfast"), 0o700))
				r.write("other/.holdfast/store.json", "{")
			default: // a store of another installation
				r.write("second/b.hold.hcl", fmt.Sprintf("store \"plain\" \"vault\" { path = %q }\n", other))
				r.ok("init", "--chdir=second")
				r.ok("apply", "--auto-approve", "--chdir=second")
			}
			before := treeOf(t, other)
			swap := func() {
				mayMount(t, unix.Mount(other, disk, "", unix.MS_BIND, ""))
				t.Cleanup(func() { _ = unix.Unmount(disk, unix.MNT_DETACH) })
			}
			var got answer
			if when == "during" {
				fifo(t, r.path("gate"))
				p := r.start("run", "nightly", "--json")
				r.appears("started")
				swap()
				r.write("gate", "")
				got = p.ended()
			} else {
				swap()
				got = r.run("run", "nightly", "--json")
				if r.exists("started") {
					t.Error("the device was captured although the store is another")
				}
			}
			cases++
			if got.code == 0 || when == "during" && !strings.Contains(got.out, "FAILED_STORE_IDENTITY_CHANGED") {
				t.Errorf("exit code %d: %s", got.code, got.out)
			}
			if after := treeOf(t, other); after != before {
				t.Errorf("the other store was written to:\n%s\nbefore:\n%s", after, before)
			}
			check(t, unix.Unmount(disk, unix.MNT_DETACH))
			r.remove("gate", "started")
			r.ok("run", "nightly")
			if n := r.good(); n != 2 {
				t.Errorf("%d good artifacts", n)
			}
		})
	}
	figure(t, 6, "store swapped: %d cases, 0 captures where it was known before, 0 bytes written to the wrong store", cases)
}
