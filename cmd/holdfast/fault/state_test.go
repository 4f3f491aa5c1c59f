package fault_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dr/holdfast/config/sampletest"
)

// The disk below the state fills up at byte n of a run, for many n. What was done is finished when there is room again.
func TestFaultStateDisk(t *testing.T) {
	t.Parallel()
	r := newRig(t, oneDevice+`store "plain" "vault" { path = "${var.root}/vault" }`)
	disk := r.path("disk")
	tmpfs(t, disk, "size=6m")
	r.env = append(r.env, "HOLDFAST_STATE="+filepath.Join(disk, "holdfast.db"))
	r.write("source", prints)
	r.write("payload", "content")
	r.ok("init")
	r.ok("apply", "--auto-approve")
	r.ok("run", "nightly")
	room := append(sampletest.Of(t, []int64{64, 128, 192, 224, 256, 320, 512}, 2), 0, 1200) // KiB
	stopped, resumed := 0, 0
	for _, n := range room {
		_ = os.Remove(filepath.Join(disk, "holdfast.db.reserve")) // as if it had been spent
		ballast(t, disk, n<<10)
		for _, look := range [][]string{{"status"}, {"history"}, {"verify", "--list"}, {"restore", "--device", "web", "--dir", r.path("out")}} {
			r.ok(look...)
		}
		r.remove("out")
		got := r.want([]int{0, 1, 10}, "run", "nightly")
		check(t, os.Remove(filepath.Join(disk, "ballast")))
		if got.code != 0 {
			stopped++
			if !strings.Contains(got.out+got.err, "disk full") {
				t.Errorf("%d KiB free: %s%s", n, got.out, got.err)
			}
		}
		if got := r.ok("apply", "--resume"); !strings.Contains(got.out, "Nothing to continue") {
			resumed++
		}
		if got := r.good(); got != len(secureBackups(t, r.path("vault"))) {
			t.Errorf("%d KiB free: %d recorded, %d in the store", n, got, len(secureBackups(t, r.path("vault"))))
		}
	}
	if stopped == 0 || stopped == len(room) {
		t.Errorf("%d of %d values were too few bytes", stopped, len(room))
	}
	for _, run := range r.runs("backup_plan.nightly") {
		if run.Status != "succeeded" {
			t.Errorf("run %s is %s", run.ID, run.Status)
		}
	}
	if left := staged(t, r.path("vault")); len(left) > 0 {
		t.Errorf("staging holds %v", left)
	}
	figure(t, 2, "disk below the state full at byte n: %d values, %d stopped with \"disk full\", %d resumed, 0 recorded that are not in the store, 0 the other way",
		len(room), stopped, resumed)
}

// A state that is as old as yesterday's copy does nothing twice that it knows of, and deletes nothing that it does not know.
func TestFaultOldState(t *testing.T) {
	t.Parallel()
	r := clockRig(t, "0 23 * * *", "UTC")
	r.write("a.hold.hcl", strings.ReplaceAll(r.read("a.hold.hcl"), `"2d"`, `"30d"`))
	const day = 24 * time.Hour
	start := time.Date(2026, 3, 2, 23, 0, 5, 0, time.UTC)
	r.applyAt(start)
	r.applyAt(start.Add(day))
	r.ok("plan", "--out=saved.plan", "--destroy", "--now="+start.Add(day+time.Hour).Format(time.RFC3339))
	r.ok("state", "backup", "yesterday.db")
	r.applyAt(start.Add(2 * day))
	before := secureBackups(t, r.path("vault"))

	r.ok("state", "restore", "yesterday.db")
	if got := r.run("apply", "saved.plan", "--auto-approve", "--allow=destroy", "--allow-delete=4"); got.code != 5 {
		t.Errorf("a plan of the state that was replaced: %d %s", got.code, got.err)
	}
	if got := r.applyAt(start.Add(day + 2*time.Hour)); strings.Contains(got.out, "backup_plan.nightly started") {
		t.Error("a slot that the copy knows ran again")
	}
	r.applyAt(start.Add(2*day + time.Hour)) // the slot that only the store knows
	r.applyAt(start.Add(2*day + 2*time.Hour))
	ran, _ := r.checkSlots()
	after := secureBackups(t, r.path("vault"))
	if ran != 3 || len(after) != len(before)+1 || r.deletions() != 0 {
		t.Errorf("%d runs, %d artifacts after %d, %d deletions; want 3, one more, 0", ran, len(after), len(before), r.deletions())
	}
	figure(t, 12, "state of yesterday restored: 2 known slots 0 times again, 1 slot that only the store knows once again, %d of %d artifacts kept",
		len(before), len(before))
}

// Each page of the state is zeroed in turn. Either it is said what to do, or nothing was lost.
func TestFaultDamagedState(t *testing.T) {
	t.Parallel()
	r := newRig(t, oneDevice+`store "plain" "vault" { path = "${var.root}/vault" }`)
	r.write("source", prints)
	r.write("payload", "content")
	r.ok("init")
	r.ok("apply", "--auto-approve")
	r.ok("run", "nightly")
	r.ok("state", "backup", "copy.db")
	whole := []byte(r.read("copy.db"))
	want := listing(r.ok("state", "pull", "--state=copy.db"))
	const page = 4096
	var pages []int
	for at := 0; at+page <= len(whole); at += page {
		pages = append(pages, at)
	}
	cases, named, harmless := 0, 0, 0
	for _, at := range sampletest.Of(t, pages, 15) {
		bad := bytes.Clone(whole)
		clear(bad[at : at+page])
		check(t, os.WriteFile(r.path("bad.db"), bad, 0o600))
		got := r.run("state", "pull", "--state=bad.db")
		cases++
		switch {
		case got.code == 1 && strings.Contains(got.err, "holdfast state restore"):
			named++
		case got.code == 0 && listing(got) == want:
			harmless++
		default:
			t.Errorf("page %d zeroed: %d %s", at/page, got.code, got.err)
		}
		for _, suffix := range []string{"", "-wal", "-shm", ".lock", ".reserve"} {
			r.remove("bad.db" + suffix)
		}
	}
	figure(t, 12, "each page of the state zeroed: %d cases, %d told to restore a copy, %d lost nothing, 0 wrong answers", cases, named, harmless)
}

// listing is an export without what differs from one opening to the next.
func listing(a answer) string {
	var kept []string
	for line := range strings.Lines(a.out) {
		if strings.Contains(line, `"type":"object"`) || strings.Contains(line, `"type":"artifact"`) || strings.Contains(line, `"type":"run"`) {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}
