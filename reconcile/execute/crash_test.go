package execute_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-dr/holdfast/config/sampletest"
	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/tree"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/state"
)

// story is a plan that is killed and resumed, and how it must end.
type story struct {
	plan      func(w world) *reconcile.Plan
	prepare   func(t testing.TB, w world)
	resumeErr string // provider call that fails in all lives but the first
	attention bool   // a person may be asked
	end       func(ctx context.Context, w world, b state.Backend, f *findings)
	again     func(w world) *reconcile.Plan
	few       int                         // so many are enough for a sample; 0: a third of the places
	uses      func(w world, point string) // what those do who use the world, before a point of a provider
}

func settledAt(side string, epoch int64) func(context.Context, world, state.Backend, *findings) {
	return func(ctx context.Context, w world, b state.Backend, f *findings) {
		snap, err := b.Snapshot(ctx)
		if err != nil {
			f.addf("%v", err)
			return
		}
		r := snap.Roles[orders]
		if r.State != state.RoleSettled || r.Active != side || r.Epoch != epoch {
			f.addf("the role ended %s at %s with epoch %d, not settled at %s with %d", r.State, r.Active, r.Epoch, side, epoch)
			w.eachTask(ctx, b, func(t state.TaskRun) {
				if !t.Status.Good() {
					f.addf("  task %s is %s %s: %s", t.ID, t.Status, t.Reason, t.Error)
				}
			})
		}
	}
}

var stories = map[string]story{
	// Every operation once; all is well but for the kills.
	"everything": {
		plan:    world.everything,
		prepare: prepareMirrored,
		few:     32,
		end:     settledAt(right, 2),
		again: func(w world) *reconcile.Plan {
			return w.plan(w.backupAction("2026-10-26T02:30"), w.mirrorAction("mirror.live", "right", "left", orders, 2))
		},
	},
	// The same with tasks side by side: the points come in another order each time.
	"together": {
		plan: func(w world) *reconcile.Plan {
			p := w.everything()
			p.Parallel = 4
			return p
		},
		prepare: prepareMirrored,
		end:     settledAt(right, 2),
		few:     16,
	},
	// A device is quiesced for each of three tasks: whatever happens, it takes work again, and everything is backed up.
	"quiesced": {
		plan: world.quiet,
		few:  20,
		end: func(ctx context.Context, w world, b state.Backend, f *findings) {
			w.eachTask(ctx, b, func(t state.TaskRun) {
				if !t.Status.Good() {
					f.addf("task %s is %s %s: %s", t.ID, t.Status, t.Reason, t.Error)
				}
			})
			arts, _ := b.Artifacts(ctx, state.ArtifactFilter{})
			if len(arts) != 4 {
				f.addf("%d artifacts, want 4", len(arts))
			}
			for _, a := range arts {
				var m providers.Manifest
				if json.Unmarshal(a.Manifest, &m) != nil || m.Quiesced == nil || m.Result.Consistency != "quiesced" || m.Quiesced.To.Before(m.Quiesced.From) {
					f.addf("artifact %s does not tell when the device was quiesced", a.ID)
				}
			}
		},
	},
	// The first target refuses the switch: nothing was moved, so everything goes back.
	"refused": {
		plan: func(w world) *reconcile.Plan {
			return w.move("failover_target.svc", "failover_target.link")
		},
		prepare: breakService,
		end:     settledAt(left, 2),
	},
	// The second target refuses after the first was switched: nobody may undo that.
	"half": {
		plan: func(w world) *reconcile.Plan {
			return w.move("failover_target.link", "failover_target.svc")
		},
		prepare:   breakService,
		attention: true,
		end: func(ctx context.Context, w world, b state.Backend, f *findings) {
			snap, err := b.Snapshot(ctx)
			if err != nil || snap.Roles[orders].State != state.RoleUncertain {
				f.addf("the role is %s after half a switchover (%v)", snap.Roles[orders].State, err)
			}
		},
	},
	// Four of six artifacts go; of each group the newest stays.
	"retention": {
		plan:    func(w world) *reconcile.Plan { return w.retention(w.aged()[:4]...) },
		prepare: prepareBackups,
		end: func(ctx context.Context, w world, b state.Backend, f *findings) {
			w.wantDeleted(ctx, b, f, w.aged()[:4]...)
		},
	},
	// Six artifacts are read back, one of which is damaged.
	"verification": {
		plan:    func(w world) *reconcile.Plan { return w.verification(w.aged()...) },
		prepare: prepareDamage,
		end:     func(ctx context.Context, w world, b state.Backend, f *findings) { w.wantRead(ctx, b, f) },
	},
	// What a device holds is replaced, after a safety backup, and the same artifact goes into a directory.
	"restore": {
		plan: func(w world) *reconcile.Plan {
			aged := w.aged() // oldest first, two devices in turn
			return w.restores(aged[len(aged)-2])
		},
		prepare: prepareRestore,
		uses:    world.useRestored,
		end:     endRestored,
	},
	// The freeze fails after a resume, so the move is given up: what the first life froze must be released.
	"unfrozen": {
		plan: func(w world) *reconcile.Plan {
			return w.move("failover_target.svc", "failover_target.link")
		},
		resumeErr: "target.Freeze",
		end: func(ctx context.Context, w world, b state.Backend, f *findings) {
			if snap, err := b.Snapshot(ctx); err != nil || snap.Roles[orders].State != state.RoleSettled {
				f.addf("the role is not settled (%v)", err)
			}
		},
	},
}

// prepareMirrored has the trees mirrored once; what the next pass is to delete is there since.
func prepareMirrored(t testing.TB, w world) {
	m, err := tree.MirrorType().Open(t.Context(), "mirror.live", providers.Env{})
	if err == nil {
		req := providers.MirrorRequest{Mirror: "mirror.live", Source: "file://" + w.path("left"), Target: "file://" + w.path("right"), Epoch: 1}
		_, err = m.Copy(t.Context(), req, nil)
	}
	if err := errors.Join(err, os.WriteFile(w.path("left", "new.csv"), []byte("newer\n"), 0o644), os.WriteFile(w.path("right", "gone.csv"), nil, 0o644)); err != nil {
		t.Fatal(err)
	}
}

func breakService(t testing.TB, w world) {
	if err := os.WriteFile(w.path("svc", "broken"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
}

// figures counts what a crash test did.
type figures struct{ scenarios, kills, violations atomic.Int64 }

// killer runs lives of one story in copies of one prepared world.
type killer struct {
	t        *testing.T
	name     string
	template string
	base     string
	n        atomic.Int64
	figures
}

func newKiller(t *testing.T, name string) *killer {
	t.Helper()
	base := t.TempDir()
	k := &killer{t: t, name: name, base: base, template: filepath.Join(base, "template")}
	if err := os.Mkdir(k.template, 0o755); err != nil {
		t.Fatal(err)
	}
	w := world{k.template}
	w.build(t)
	if p := stories[name].prepare; p != nil {
		p(t, w)
	}
	return k
}

// copy gives a fresh world.
func (k *killer) copy() (string, error) {
	dir := filepath.Join(k.base, strconv.FormatInt(k.n.Add(1), 10))
	return dir, filepath.WalkDir(k.template, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to := dir + strings.TrimPrefix(p, k.template)
		switch {
		case d.IsDir():
			return os.Mkdir(to, 0o755)
		case d.Type()&fs.ModeSymlink != 0:
			at, err := os.Readlink(p)
			if err != nil {
				return err
			}
			return os.Symlink(dir+strings.TrimPrefix(at, k.template), to)
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		if strings.HasPrefix(d.Name(), ".holdfast-mirror.") {
			b = bytes.ReplaceAll(b, []byte(k.template), []byte(dir))
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		return os.WriteFile(to, b, info.Mode().Perm())
	})
}

// live runs one child. It reports whether the child was killed at its point.
func (k *killer) live(l life) (rep report, killed bool, err error) {
	l.Story = k.name
	if !l.First {
		l.Fail = stories[k.name].resumeErr
	}
	os.Remove(filepath.Join(l.Dir, "report.json"))
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+string(raw(l)))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	runErr := cmd.Run()
	var exit *exec.ExitError
	if errors.As(runErr, &exit) {
		if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() && ws.Signal() == syscall.SIGKILL && l.At > 0 {
			return rep, true, nil
		}
	}
	if runErr != nil {
		return rep, false, fmt.Errorf("child: %w: %s", runErr, out.String())
	}
	b, err := os.ReadFile(filepath.Join(l.Dir, "report.json"))
	if err != nil {
		return rep, false, err
	}
	return rep, false, json.Unmarshal(b, &rep)
}

// killedAt begins what is found after a kill.
const killedAt = "killed at "

// scenario kills the lives in a row at the given points and lets a last one live.
func (k *killer) scenario(at ...int) error {
	dir, err := k.copy()
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	k.scenarios.Add(1)
	for i, n := range append(slices.Clone(at), 0) {
		rep, killed, err := k.live(life{Dir: dir, First: i == 0 && len(at) > 0, At: n})
		switch {
		case err != nil:
			return fmt.Errorf("life %d of %v: %w", i+1, at, err)
		case killed:
			k.kills.Add(1)
			continue
		}
		if len(rep.Findings) > 0 {
			k.violations.Add(int64(len(rep.Findings)))
			return fmt.Errorf(killedAt+"%v, in life %d:\n\t%s", at, i+1, strings.Join(rep.Findings, "\n\t"))
		}
		if i > 0 || len(at) == 0 {
			return nil // it passed fewer points, and went on to the end
		}
	}
	return nil
}

// points counts the crash points of an unharmed first life, and of a resume after one in the middle.
func (k *killer) points(first bool, before int) ([]string, error) {
	dir, err := k.copy()
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if before > 0 {
		if _, _, err := k.live(life{Dir: dir, First: true, At: before}); err != nil {
			return nil, err
		}
	}
	rep, _, err := k.live(life{Dir: dir, First: first})
	return rep.Points, err
}

// run makes scenarios on all processors until some failed.
func (k *killer) run(deaths []death) {
	work := make(chan death)
	var wg sync.WaitGroup
	var failed atomic.Int64
	enough := int64(5)
	if os.Getenv("HOLDFAST_MUTANT") != "" {
		enough = 1
	}
	for range 3 {
		wg.Go(func() {
			for d := range work {
				if err := k.scenario(d.at...); err != nil && failed.Add(1) <= enough {
					k.t.Error(err)
				}
			}
		})
	}
	for _, d := range deaths {
		if failed.Load() >= enough {
			break
		}
		work <- d
	}
	close(work)
	wg.Wait()
}

// TestKilledAnywhere kills a process at crash points: before and after each write to the state and each call to a provider, and in their
// streams. A second process goes on, is killed at some points itself, and a third one finishes. The long form takes every point, a sample one
// of each of some places in the protocol. HOLDFAST_CRASH_FULL=1 kills the second process at every point, too; HOLDFAST_CRASH_STORY=NAME tells one story.
func TestKilledAnywhere(t *testing.T) {
	if raced {
		t.Skip("what is killed are processes of one task at a time; the race detector makes them slow and finds nothing in them")
	}
	only := os.Getenv("HOLDFAST_CRASH_STORY")
	for _, name := range slices.Sorted(maps.Keys(stories)) {
		if only != "" && only != name {
			continue
		}
		t.Run(name, func(t *testing.T) {
			started := time.Now()
			k := newKiller(t, name)
			points, err := k.points(true, 0)
			if err != nil {
				t.Fatal(err)
			}
			if name == "everything" {
				wantPoints(t, points)
			}
			k.run(deaths(t, stories[name], points))
			t.Logf("%d crash points, %d scenarios, %d kills, %d violations, %s",
				len(points), k.scenarios.Load(), k.kills.Load(), k.violations.Load(), time.Since(started).Round(time.Millisecond))
		})
	}
}

// death is where a process dies: at a point of its first life, from 1, and maybe at one of its second.
type death struct {
	at    []int
	place string // of the first
}

// deaths gives each point alone, and each one followed by one in the resume, or by all of them. A resume passes about as many points as the
// first life had left; one that is not reached does not kill. A sample has one of these for each of some places, or for each place when a bug
// was switched on that has to be found.
func deaths(t *testing.T, s story, points []string) []death {
	t.Helper()
	full := os.Getenv("HOLDFAST_CRASH_FULL") != ""
	var all []death
	for i, place := range points {
		n, left := i+1, len(points)-i
		all = append(all, death{[]int{n}, place})
		for m := 1; m <= left; m++ {
			if full || m == 1+n*7919%left {
				all = append(all, death{[]int{n, m}, place})
			}
		}
	}
	drawn := sampletest.OfEach(t, all, func(d death) string { return d.place })
	if os.Getenv("HOLDFAST_MUTANT") != "" {
		return drawn
	}
	return sampletest.Of(t, drawn, cmp.Or(s.few, (len(drawn)+2)/3))
}

// wantPoints: the points are where they should be.
func wantPoints(t *testing.T, points []string) {
	for _, want := range []string{
		"Begin", "Record", "Journal", "Claim", "CloseSession", "store.Init", "store.Stage", "store.Staged", "store.Commit",
		"device.Inspect", "device.DomainState", "device.Quiesce", "device.Unquiesce", "device.Capture", "device.Capture:write", "device.Capture:close", "mirror.Copy", "mirror.Prune",
		"target.Freeze", "target.Switch", "target.Verify",
	} {
		if !slices.ContainsFunc(points, func(place string) bool { return strings.HasSuffix(place, " "+want) }) {
			t.Errorf("no crash point %s", want)
		}
	}
}
