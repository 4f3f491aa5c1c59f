package planner_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/config/unit"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/reconcile/planner"
	"github.com/holdfast-dr/holdfast/state"
)

// TestInvariants plans random changes of random configurations and applies them.
func TestInvariants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first := drawWorld(t, "before", nil)
		in := planner.Input{
			Doc: first.doc, Inventory: first.inventory, Now: first.now,
			State: &state.Snapshot{Meta: state.Meta{Lineage: "lineage"}}, Config: reconcile.ConfigInfo{Commit: "one"},
		}
		in = settle(t, in)
		second := drawWorld(t, "after", first)
		in.Doc, in.Now, in.Config.Commit = second.doc, second.now, "two"
		in.Inventory = second.look(in.State, in.Inventory)
		settle(t, in)
	})
}

// settle applies plans until nothing is left to do. What is applied is not planned again; only work that waits for a role or an
// address that a plan records comes in a plan of its own.
func settle(t *rapid.T, in planner.Input) planner.Input {
	for round := range 4 {
		p, diags := planner.Build(in)
		checkInvariants(t, in, p, diags)
		if p.Errored {
			return in
		}
		if round > 0 && len(p.Changes) > 0 {
			t.Fatalf("changes are planned again: %s", asJSON(t, p.Changes))
		}
		if p.Empty() {
			return in
		}
		if err := p.Broken(in.State, in.Now); err != nil {
			t.Fatalf("a new plan is stale: %v", err)
		}
		in = simulate(t, in)
	}
	p, _ := planner.Build(in)
	t.Fatalf("there is always something left to do: %s", asJSON(t, p.Actions))
	return in
}

// TestLater checks that a plan made an hour later has the same digest when nothing came due, opened or ended between.
func TestLater(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t, "calm", nil)
		for _, bp := range w.doc.BackupPlans {
			bp.Schedule = "0 11 * * *"
		}
		for _, win := range w.doc.Windows {
			win.Days, win.Start, win.End = nil, "00:00", "24:00"
		}
		for _, d := range w.doc.Devices {
			if d.Exclude != nil {
				d.Exclude.Until = "2030-01-01T00:00:00Z"
			}
		}
		w.now = time.Date(2026, 3, 10, rapid.IntRange(12, 21).Draw(t, "hour"), 30, 0, 0, time.UTC)
		in := planner.Input{
			Doc: w.doc, Inventory: w.inventory, Now: w.now, State: &state.Snapshot{Meta: state.Meta{Lineage: "lineage"}},
		}
		p, _ := planner.Build(in)
		in.Now = in.Now.Add(time.Hour)
		later, _ := planner.Build(in)
		if p.Digest != later.Digest {
			t.Fatalf("the digest changed within an hour:\n%s\n%s", asJSON(t, p), asJSON(t, later))
		}
	})
}

// world is a configuration and what is seen of it.
type world struct {
	doc       *config.Document
	inventory *reconcile.Inventory
	now       time.Time
	names     map[string]string // of every object by what it is, to rename it later
}

// drawWorld draws a configuration that the loader would accept. With an earlier one some objects are new, gone, changed or renamed.
func drawWorld(t *rapid.T, label string, earlier *world) *world {
	w := &world{
		doc:   &config.Document{Settings: config.Settings{Environment: "test", Timezone: "Europe/Berlin", MaxParallel: 4}},
		now:   noon.Add(time.Duration(rapid.IntRange(0, 400).Draw(t, label+" hour")) * time.Hour),
		names: map[string]string{},
		inventory: &reconcile.Inventory{
			Source: "live", Devices: map[string]reconcile.DeviceSeen{}, Stores: map[string]reconcile.StoreSeen{},
			Mirrors: map[string]reconcile.MirrorSeen{}, Targets: map[string]reconcile.TargetSeen{},
		},
	}
	d := drawer{T: t, w: w, label: label, earlier: earlier}
	d.sites()
	d.devices()
	d.stores()
	d.times()
	d.backupPlans()
	d.failovers()
	d.mirrors()
	d.removed()
	w.inventory.TakenAt = w.now
	return w
}

// look gives what is seen after an earlier plan was applied: stores and targets that were there are as that plan left them.
func (w *world) look(st *state.Snapshot, earlier *reconcile.Inventory) *reconcile.Inventory {
	recorded := func(a config.Address) (string, bool) {
		for _, m := range w.doc.Moved {
			if m.To == a {
				a = m.From
			}
		}
		_, ok := st.Objects[string(a)]
		return string(a), ok
	}
	for _, s := range w.doc.Stores {
		if a, ok := recorded(s.Address); ok {
			w.inventory.Stores[string(s.Address)] = earlier.Stores[a]
		}
	}
	for _, x := range w.doc.FailoverTargets {
		if a, ok := recorded(x.Address); ok {
			w.inventory.Targets[string(x.Address)] = earlier.Targets[a]
		}
	}
	return w.inventory
}

type drawer struct {
	*rapid.T
	w       *world
	label   string
	earlier *world
	count   int
}

func (d *drawer) what(name string) string {
	d.count++
	return fmt.Sprintf("%s %s %d", d.label, name, d.count)
}

func (d *drawer) n(from, to int) int    { return rapid.IntRange(from, to).Draw(d.T, d.what("number")) }
func (d *drawer) flip(percent int) bool { return d.n(1, 100) <= percent }
func (d *drawer) one(words ...string) string {
	return rapid.SampledFrom(words).Draw(d.T, d.what("word"))
}

// header names an object: as before, or with a new name and a moved block.
func (d *drawer) header(kind, id string) config.Header {
	key := kind + "." + id
	name := id
	if d.earlier != nil && d.earlier.names[key] != "" && d.flip(20) {
		name = id + "_new"
		d.w.doc.Moved = append(d.w.doc.Moved, config.Moved{From: config.NewAddress(kind, id, ""), To: config.NewAddress(kind, name, "")})
	}
	d.w.names[key] = name
	return config.Header{Address: config.NewAddress(kind, name, "")}
}

func (d *drawer) sites() {
	for i := range 3 {
		d.w.doc.Sites = append(d.w.doc.Sites, &config.Site{Header: d.header("site", fmt.Sprintf("s%d", i))})
	}
}

func (d *drawer) devices() {
	for i := range d.n(0, 4) {
		dev := &config.Device{
			Header: d.header("device", fmt.Sprintf("d%d", i)), Type: "command", Labels: map[string]string{"tier": d.one("1", "2")},
			Settings: drawSettings(d.T, "device", "command", fmt.Sprintf(`{"command": ["/bin/d", %q]}`, d.one("a", "b"))),
		}
		if d.flip(20) {
			dev.Exclude = &config.Exclusion{Until: d.w.now.Add(time.Duration(d.n(-5, 5)) * time.Hour).Format(time.RFC3339), Reason: "test"}
		}
		d.w.doc.Devices = append(d.w.doc.Devices, dev)
		if d.flip(80) {
			seen := reconcile.DeviceSeen{Unavailable: d.flip(20)}
			for range d.n(0, 3) {
				seen.Domains = append(seen.Domains, d.one("DOMAIN1", "DOMAIN2", "default", "\xff"))
			}
			d.w.inventory.Devices[string(dev.Address)] = seen
		}
	}
}

func (d *drawer) stores() {
	for i := range d.n(1, 2) {
		s := &config.Store{
			Header: d.header("store", fmt.Sprintf("st%d", i)), Type: "plain", Site: d.site(),
			Settings: drawSettings(d.T, "store", "plain", fmt.Sprintf(`{"path": "/data/%d"}`, i)),
		}
		d.w.doc.Stores = append(d.w.doc.Stores, s)
		d.w.inventory.Stores[string(s.Address)] = reconcile.StoreSeen{Empty: true}
	}
}

func (d *drawer) site() config.Address { return d.w.doc.Sites[d.n(0, 2)].Address }

func (d *drawer) times() {
	for i := range d.n(0, 2) {
		d.w.doc.Windows = append(d.w.doc.Windows, &config.MaintenanceWindow{
			Header: d.header("maintenance_window", fmt.Sprintf("w%d", i)), Days: [][]string{nil, {"mon", "tue"}}[d.n(0, 1)],
			Start: d.one("00:00", "11:00", "22:00"), End: d.one("06:00", "13:00", "24:00"), Timezone: d.one("UTC", "Europe/Berlin"), AtClose: "finish",
		})
	}
	if d.flip(20) {
		d.w.doc.Freezes = append(d.w.doc.Freezes, &config.Freeze{
			Header: d.header("freeze", "f"), From: "2026-03-12", To: "2026-03-15", Timezone: "UTC", AppliesTo: [][]string{nil, {"role"}, {"backup", "mirror"}}[d.n(0, 2)],
		})
	}
}

func (d *drawer) window() config.Address {
	if i := d.n(0, 3); i < len(d.w.doc.Windows) {
		return d.w.doc.Windows[i].Address
	}
	return ""
}

func (d *drawer) script() *config.Script {
	if d.flip(70) {
		return nil
	}
	return &config.Script{Command: []string{"/bin/hook", d.one("a", "<&>")}, Timeout: unit.Duration(time.Minute), Restartable: d.flip(50)}
}

func (d *drawer) backupPlans() {
	for i := range d.n(0, 4) {
		bp := &config.BackupPlan{
			Header: d.header("backup_plan", fmt.Sprintf("b%d", i)), Schedule: d.one("", "0 11 * * *", "30 2 * * *", "*/10 * * * *", "0 0 * * 0"),
			Timezone: d.one("UTC", "Europe/Berlin"), Window: d.window(), Store: d.w.doc.Stores[d.n(0, len(d.w.doc.Stores)-1)].Address,
			OnError: d.one("continue", "halt"), Missed: d.one("run_once", "skip"), Parallel: 2, PreScript: d.script(), PostScript: d.script(),
		}
		if d.flip(10) {
			off := false
			bp.Enabled = &off
		}
		for j := range d.n(1, 3) {
			act := &config.Activity{Name: fmt.Sprintf("a%d", j), Action: d.one("secure_backup", "export_domain"), PreScript: d.script(), PostScript: d.script()}
			if d.flip(70) {
				act.Devices = []string{d.one("*", "d*", "d1*", "*2*")}
			} else {
				act.Labels = map[string]string{"tier": d.one("1", "2", "3")}
			}
			if act.Action == "export_domain" && d.flip(50) {
				act.Domains = []string{d.one("DOMAIN*", "x")}
			}
			bp.Activities = append(bp.Activities, act)
		}
		d.w.doc.BackupPlans = append(d.w.doc.BackupPlans, bp)
	}
}

func (d *drawer) failovers() {
	for i := range d.n(0, 2) {
		target := &config.FailoverTarget{
			Header: d.header("failover_target", fmt.Sprintf("t%d", i)), Type: "files",
			Settings: drawSettings(d.T, "failover_target", "files", fmt.Sprintf(`{"link": "/srv/current%d"}`, i)),
		}
		for j, s := range d.w.doc.Sites {
			m, _ := registry.Member("files")
			fill(d.T, fmt.Sprintf(`{"path": "/srv/docs%d/%d"}`, i, j), m)
			target.Members = append(target.Members, &config.Member{Name: fmt.Sprintf("m%d", j), Site: s.Address, Settings: m})
		}
		d.w.doc.FailoverTargets = append(d.w.doc.FailoverTargets, target)
		if d.flip(90) {
			d.w.inventory.Targets[string(target.Address)] = reconcile.TargetSeen{Active: d.one("", "m0", "m1"), Epoch: int64(d.n(0, 2))}
		}
		preferred := d.n(0, 1)
		d.w.doc.Failovers = append(d.w.doc.Failovers, &config.Failover{
			Header: d.header("failover", fmt.Sprintf("f%d", i)), Preferred: d.w.doc.Sites[preferred].Address,
			Standby: []config.Address{d.w.doc.Sites[1-preferred].Address}, Mode: "manual", Failback: "manual", Window: d.window(),
			Steps: []*config.FailoverStep{{Name: d.one("data", "all"), Targets: []config.Address{target.Address}}},
		})
	}
}

func (d *drawer) mirrors() {
	for i := range d.n(0, 3) {
		m := &config.Mirror{
			Header: d.header("mirror", fmt.Sprintf("m%d", i)), Every: unit.Duration(time.Duration(d.n(1, 30)) * time.Hour), Window: d.window(),
			Source: fmt.Sprintf("file:///mnt/a/%d", i), Target: fmt.Sprintf("file:///mnt/%s/%d", d.one("b", "c"), i),
		}
		if n := len(d.w.doc.Failovers); n > 0 && d.flip(60) {
			f := d.w.doc.Failovers[d.n(0, n-1)].Address
			m.Source, m.Target = string(f)+".active", string(f)+".standby"
		}
		d.w.doc.Mirrors = append(d.w.doc.Mirrors, m)
	}
}

// removed says of most objects that are gone that this is meant; the others are errors where they are protected.
func (d *drawer) removed() {
	if d.earlier == nil {
		return
	}
	for _, o := range d.earlier.doc.Objects() {
		a := o.Head().Address
		if d.w.names[string(a)] == "" && d.flip(90) {
			d.w.doc.Removed = append(d.w.doc.Removed, config.Removed{From: a, Data: "keep"})
		}
	}
}

func drawSettings(t *rapid.T, kind, typ, body string) any {
	s, ok := registry.Settings(kind, typ)
	if !ok {
		t.Fatalf("there is no %s of type %s", kind, typ)
	}
	fill(t, body, s)
	return s
}

func fill(t *rapid.T, body string, into any) {
	if err := json.Unmarshal([]byte(body), into); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
}
