package planner_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/config/unit"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/reconcile/planner"
	"github.com/holdfast-dr/holdfast/state"
)

// settings gives a provider's settings, filled from JSON.
func settings(t testing.TB, kind, typ, body string) any {
	t.Helper()
	s, ok := registry.Settings(kind, typ)
	if !ok {
		t.Fatalf("there is no %s of type %s", kind, typ)
	}
	if err := json.Unmarshal([]byte(body), s); err != nil {
		t.Fatal(err)
	}
	return s
}

func header(kind, name string) config.Header {
	return config.Header{Address: config.NewAddress(kind, name, "")}
}

// large is a configuration of about 10,000 objects and an inventory of it.
func large(t testing.TB) (*config.Document, *reconcile.Inventory) {
	doc := &config.Document{Settings: config.Settings{Environment: "bench", Timezone: "Europe/Berlin", MaxParallel: 16}}
	inv := &reconcile.Inventory{
		Source: "live", TakenAt: noon, Devices: map[string]reconcile.DeviceSeen{}, Stores: map[string]reconcile.StoreSeen{}, Targets: map[string]reconcile.TargetSeen{},
	}
	for i := range 100 {
		doc.Sites = append(doc.Sites, &config.Site{Header: header("site", fmt.Sprintf("s%d", i))})
		s := &config.Store{
			Header: header("store", fmt.Sprintf("st%d", i)), Type: "plain", Site: doc.Sites[i].Address,
			Settings: settings(t, "store", "plain", fmt.Sprintf(`{"path": "/data/%d"}`, i)),
		}
		doc.Stores = append(doc.Stores, s)
		inv.Stores[string(s.Address)] = reconcile.StoreSeen{Empty: true}
	}
	for i := range 1500 {
		doc.Retentions = append(doc.Retentions, &config.Retention{Header: header("retention", fmt.Sprintf("r%d", i)), KeepDaily: 14, MinCopies: 1})
	}
	for i := range 50 {
		doc.Windows = append(doc.Windows, &config.MaintenanceWindow{
			Header: header("maintenance_window", fmt.Sprintf("w%d", i)), Start: "00:00", End: "24:00", Timezone: "Europe/Berlin", AtClose: "finish",
		})
	}
	for i := range 5 {
		doc.Freezes = append(doc.Freezes, &config.Freeze{Header: header("freeze", fmt.Sprintf("f%d", i)), From: "2026-12-24", To: "2026-12-27", Timezone: "Europe/Berlin"})
	}
	for i := range 5000 {
		d := &config.Device{
			Header: header("device", fmt.Sprintf("d%04d", i)), Type: "command", Site: doc.Sites[i%100].Address,
			Labels:   map[string]string{"team": fmt.Sprint(i % 500), "tier": fmt.Sprint(i % 3)},
			Settings: settings(t, "device", "command", fmt.Sprintf(`{"command": ["/bin/export", "%d"]}`, i)),
		}
		doc.Devices = append(doc.Devices, d)
		inv.Devices[string(d.Address)] = reconcile.DeviceSeen{Identity: fmt.Sprint(i), Domains: []string{"app", "default"}}
	}
	for i := range 2000 {
		doc.BackupPlans = append(doc.BackupPlans, &config.BackupPlan{
			Header: header("backup_plan", fmt.Sprintf("b%d", i)), Schedule: "0 11 * * *", Timezone: "Europe/Berlin", Window: doc.Windows[i%50].Address,
			Store: doc.Stores[i%100].Address, Retention: doc.Retentions[i%1500].Address, OnError: "continue", Missed: "run_once", Parallel: 4,
			Activities: []*config.Activity{
				{Name: "names", Action: "secure_backup", Devices: []string{fmt.Sprintf("d%04d", i*2), fmt.Sprintf("d%04d", i*2+1)}},
				{Name: "pattern", Action: "export_domain", Devices: []string{fmt.Sprintf("d%04d*", i)}, Exclude: []string{"*9"}, Domains: []string{"a*"}},
				{Name: "labels", Action: "secure_backup", Labels: map[string]string{"team": fmt.Sprint(i % 500), "tier": "1"}},
			},
		})
	}
	for i := range 1000 {
		doc.Mirrors = append(doc.Mirrors, &config.Mirror{
			Header: header("mirror", fmt.Sprintf("m%d", i)), Every: unit.Duration(time.Hour),
			Source: fmt.Sprintf("file:///srv/a/%d", i), Target: fmt.Sprintf("file:///srv/b/%d", i),
		})
	}
	for i := range 120 {
		target := &config.FailoverTarget{
			Header: header("failover_target", fmt.Sprintf("t%d", i)), Type: "files",
			Settings: settings(t, "failover_target", "files", fmt.Sprintf(`{"link": "/srv/current%d"}`, i)),
		}
		for j := range 2 {
			m, _ := registry.Member("files")
			if err := json.Unmarshal(fmt.Appendf(nil, `{"path": "/srv/docs%d/%d"}`, i, j), m); err != nil {
				t.Fatal(err)
			}
			target.Members = append(target.Members, &config.Member{Name: fmt.Sprintf("m%d", j), Site: doc.Sites[j].Address, Settings: m})
		}
		doc.FailoverTargets = append(doc.FailoverTargets, target)
		doc.Failovers = append(doc.Failovers, &config.Failover{
			Header: header("failover", fmt.Sprintf("o%d", i)), Preferred: doc.Sites[0].Address, Standby: []config.Address{doc.Sites[1].Address},
			Mode: "manual", Failback: "manual", Steps: []*config.FailoverStep{{Name: "data", Targets: []config.Address{target.Address}}},
		})
		inv.Targets[string(target.Address)] = reconcile.TargetSeen{Active: "m0", Epoch: 1}
	}
	return doc, inv
}

func BenchmarkFresh(b *testing.B) {
	doc, inv := large(b)
	benchmark(b, planner.Input{Doc: doc, State: &state.Snapshot{Meta: state.Meta{Lineage: "l"}}, Inventory: inv, Now: noon})
}

func BenchmarkUnchanged(b *testing.B) {
	doc, inv := large(b)
	in := planner.Input{Doc: doc, State: &state.Snapshot{Meta: state.Meta{Lineage: "l"}}, Inventory: inv, Now: noon}
	in = simulate(b, in)
	if p, _ := planner.Build(in); !p.Empty() {
		b.Fatalf("%d changes, %d actions", len(p.Changes), len(p.Actions))
	}
	benchmark(b, in)
}

// benchmark plans as a command does: it asks, looks and builds.
func benchmark(b *testing.B, in planner.Input) {
	b.ReportAllocs()
	for b.Loop() {
		in := reversed(in) // its specifications are not worked out yet
		planner.Ask(in)
		p, _ := planner.Build(in)
		b.ReportMetric(float64(p.Summary.Tasks), "tasks")
	}
}
