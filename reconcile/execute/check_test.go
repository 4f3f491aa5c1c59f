package execute_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/state"
)

// findings collects what an invariant forbids.
type findings []string

func (f *findings) addf(format string, args ...any) { *f = append(*f, fmt.Sprintf(format, args...)) }

// check looks at the world and the record of it. The rules of always hold at every instant, also right after a
// kill; those of final when nothing is left to do.
func (w world) check(ctx context.Context, b state.Backend, p *reconcile.Plan, final bool) findings {
	var f findings
	snap, err := b.Snapshot(ctx)
	if err != nil {
		return findings{err.Error()}
	}
	w.checkArtifacts(ctx, b, &f)
	w.checkRole(ctx, b, snap, &f)
	w.checkMirrors(snap, &f)
	w.checkScripts(ctx, b, p, &f)
	w.checkBox(ctx, b, final, &f)
	w.checkRestores(final, &f)
	if final {
		w.checkEnd(ctx, b, &f)
	}
	return f
}

// checkArtifacts: what is recorded as good is there, every byte.
func (w world) checkArtifacts(ctx context.Context, b state.Backend, f *findings) {
	arts, err := b.Artifacts(ctx, state.ArtifactFilter{State: state.ArtifactGood})
	if err != nil {
		f.addf("list artifacts: %v", err)
		return
	}
	if len(arts) == 0 {
		return
	}
	store, err := w.openStore(ctx)
	if err != nil {
		f.addf("open store: %v", err)
		return
	}
	defer store.Close()
	for _, a := range arts {
		if w.knownDamage(a.ID) {
			continue // the story's end says what must have become of it
		}
		var m providers.Manifest
		if err := json.Unmarshal(a.Manifest, &m); err != nil {
			f.addf("manifest of %s: %v", a.ID, err)
			continue
		}
		stored, err := store.Get(ctx, m.ArtifactRef)
		if err != nil {
			f.addf("artifact %s is recorded as good, but: %v", a.ID, err)
			continue
		}
		for _, file := range stored.Files {
			r, err := store.Open(ctx, stored, file.Name)
			if err != nil {
				f.addf("artifact %s: %v", a.ID, err)
				continue
			}
			sum := sha256.New()
			n, err := io.Copy(sum, r)
			r.Close()
			if err != nil || n != file.Size || hex.EncodeToString(sum.Sum(nil)) != file.SHA256 {
				f.addf("artifact %s: %s is damaged (%v)", a.ID, file.Name, err)
			}
			if want, err := os.ReadFile(w.path("export.txt")); err == nil && a.Device == "device.host" && hex.EncodeToString(sha256Sum(want)) != file.SHA256 {
				f.addf("artifact %s is not what the device gave", a.ID)
			}
		}
		if a.Verified.IsZero() {
			f.addf("artifact %s is good but was never verified", a.ID)
		}
	}
}

func sha256Sum(b []byte) []byte { s := sha256.Sum256(b); return s[:] }

func (w world) openStore(ctx context.Context) (providers.Store, error) {
	o := providers.Opener{Registry: registry(), Lookup: func(a string) (providers.Spec, error) {
		s := w.objects()[a]
		return providers.Spec{Type: s.Type, Body: s.Spec, Identity: s.Identity}, nil
	}}
	return o.Store(ctx, "store.nas")
}

// sides tells which side the link and the service show, and whether the service is frozen.
func (w world) sides() (link, svc string, epoch int64, frozen bool) {
	if at, err := os.Readlink(w.path("current")); err == nil {
		link = filepath.Base(at)
	}
	b, _ := os.ReadFile(w.path("svc", "state"))
	_, _ = fmt.Sscanf(string(b), "%s\nepoch=%d", &svc, &epoch)
	_, err := os.Stat(w.path("svc", "frozen"))
	return link, svc, epoch, err == nil
}

// checkRole: one side is active, the record is not behind the world, and a settled role is true.
func (w world) checkRole(ctx context.Context, b state.Backend, snap *state.Snapshot, f *findings) {
	role := snap.Roles[orders]
	link, svc, epoch, frozen := w.sides()
	for _, side := range []string{link, svc} {
		if side != "left" && side != "right" {
			f.addf("a target shows %q as active", side)
		}
	}
	if epoch > role.Epoch {
		f.addf("the service carries epoch %d, the record is at %d", epoch, role.Epoch)
	}
	if role.State != state.RoleSettled {
		return
	}
	if "site."+link != role.Active || "site."+svc != role.Active {
		f.addf("the role is settled at %s, but the link shows %s and the service %s", role.Active, link, svc)
	}
	prefers := string(snap.Objects[orders].Spec)
	if (role.Active == right) != strings.Contains(prefers, right) {
		f.addf("the role is settled at %s, but the recorded failover is %s", role.Active, prefers)
	}
	if frozen && w.openDuties(ctx, b) == 0 {
		f.addf("the service is frozen, the role is settled, and nobody owes the release")
	}
}

func (w world) openDuties(ctx context.Context, b state.Backend) int {
	n := 0
	w.eachTask(ctx, b, func(t state.TaskRun) {
		duties, _ := b.Duties(ctx, t.ID)
		for _, d := range duties {
			if !d.Paid {
				n++
			}
		}
	})
	return n
}

func (w world) eachTask(ctx context.Context, b state.Backend, do func(state.TaskRun)) {
	runs, _ := b.Runs(ctx, state.RunFilter{})
	for _, r := range runs {
		tasks, _ := b.Tasks(ctx, r.ID)
		for _, t := range tasks {
			do(t)
		}
	}
}

// checkMirrors: a recorded position means a complete copy.
func (w world) checkMirrors(snap *state.Snapshot, f *findings) {
	for _, p := range snap.Positions {
		source, target := strings.TrimPrefix(p.Source, "file://"), strings.TrimPrefix(p.Target, "file://")
		if diff := compareTrees(source, target); diff != "" {
			f.addf("%s has a position, but %s", p.Mirror, diff)
		}
	}
}

// compareTrees names the first difference of two trees.
func compareTrees(a, b string) string {
	return differ(listTree(a), listTree(b), b)
}

// differ names the first difference of two listings; b is what the second one is of.
func differ(x, y map[string]string, b string) string {
	for name, content := range x {
		if got, ok := y[name]; !ok || got != content {
			return fmt.Sprintf("%s differs or is missing in %s", name, b)
		}
	}
	for name := range y {
		if _, ok := x[name]; !ok {
			return fmt.Sprintf("%s is too much in %s", name, b)
		}
	}
	return ""
}

func listTree(root string) map[string]string {
	files := map[string]string{}
	_ = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(d.Name(), ".holdfast") {
			return nil
		}
		b, _ := os.ReadFile(p)
		files[strings.TrimPrefix(p, root)] = string(b)
		return nil
	})
	return files
}

// checkScripts: a halt script ran once at most, and no script without an intent.
func (w world) checkScripts(ctx context.Context, b state.Backend, p *reconcile.Plan, f *findings) {
	for _, a := range p.Actions {
		for _, t := range a.Tasks {
			for i, s := range t.Steps {
				if s.Op == reconcile.OpScript {
					w.checkScript(ctx, b, s, i, f)
				}
			}
		}
	}
}

func (w world) checkScript(ctx context.Context, b state.Backend, s reconcile.Step, index int, f *findings) {
	lines, err := os.ReadFile(w.path("count", s.Name))
	if err != nil {
		return
	}
	ran := map[string]int{}
	for _, task := range strings.Fields(string(lines)) {
		ran[task]++
	}
	for task, n := range ran {
		if s.Class == state.Halt && n > 1 {
			f.addf("the halt script %s ran %d times for task %s", s.Name, n, task)
		}
		steps, err := b.Steps(ctx, task)
		if err != nil || !slices.ContainsFunc(steps, func(r state.StepRun) bool { return r.Index == index }) {
			f.addf("the script %s ran for task %s without an intent (%v)", s.Name, task, err)
		}
	}
}

// checkBox: what is quiesced, somebody owes to release; at the end nothing is.
func (w world) checkBox(ctx context.Context, b state.Backend, final bool, f *findings) {
	o := providers.Opener{Registry: registry(), Lookup: func(a string) (providers.Spec, error) {
		return providers.Spec{Type: w.objects()[a].Type, Body: w.objects()[a].Spec}, nil
	}}
	d, err := o.Device(ctx, "device.box")
	if err != nil {
		f.addf("open the box: %v", err)
		return
	}
	defer d.Close()
	st, err := d.DomainState(ctx, providers.AllDomains)
	switch {
	case err != nil:
		f.addf("ask the box: %v", err)
	case st.Quiesce != providers.Normal && w.openDuties(ctx, b) == 0 && st.Quiesce != providers.Unquiescing:
		f.addf("the box is %s, and nobody owes the release", st.Quiesce)
	case st.Quiesce != providers.Normal && final:
		f.addf("the box is %s at the end", st.Quiesce)
	}
}

// checkEnd: nothing is left over.
func (w world) checkEnd(ctx context.Context, b state.Backend, f *findings) {
	open, err := b.Runs(ctx, state.RunFilter{Open: true})
	open = slices.DeleteFunc(open, undecided)
	if err != nil || len(open) > 0 {
		f.addf("%d runs are open at the end (%v)", len(open), err)
	}
	attention := map[string]bool{}
	w.eachTask(ctx, b, func(t state.TaskRun) {
		attention[t.ID] = t.Status == state.Attention
		steps, _ := b.Steps(ctx, t.ID)
		for _, s := range steps {
			if t.Status.Good() && s.State != state.StepDone && s.State != state.StepSkipped {
				f.addf("task %s is %s, but step %s is %s", t.ID, t.Status, s.Name, s.State)
			}
		}
		duties, _ := b.Duties(ctx, t.ID)
		for _, d := range duties {
			if !d.Paid && t.Status != state.Attention {
				f.addf("task %s is %s and owes: %s", t.ID, t.Status, d.Name)
			}
		}
	})
	locks, _ := b.Locks(ctx)
	for _, l := range locks {
		if !attention[l.Task] {
			f.addf("the lock %s is held at the end by %q", l.Name, l.Task)
		}
	}
	staged, _ := filepath.Glob(w.path("store", ".holdfast", "tmp", "*"))
	if len(staged) > 0 {
		f.addf("staged leftovers: %v", staged)
	}
	if _, _, _, frozen := w.sides(); frozen && w.openDuties(ctx, b) == 0 {
		f.addf("the service is frozen at the end")
	}
}

// undecided: the run goes on when a person has decided.
func undecided(r state.Run) bool { return r.Status == state.Attention }

// openHalts lists the tasks that may end with attention: a halt step of theirs has an open intent.
func (w world) openHalts(ctx context.Context, b state.Backend) []string {
	var open []string
	w.eachTask(ctx, b, func(t state.TaskRun) {
		steps, _ := b.Steps(ctx, t.ID)
		for _, s := range steps {
			if s.Class == state.Halt && s.State == state.StepIntent {
				open = append(open, t.ID)
			}
		}
	})
	return open
}
