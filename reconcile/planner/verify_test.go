package planner_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/holdfast-dr/holdfast/config/unit"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/reconcile/planner"
	"github.com/holdfast-dr/holdfast/reconcile/status"
	"github.com/holdfast-dr/holdfast/reconcile/verification"
	"github.com/holdfast-dr/holdfast/state"
)

const readBack = `device "files" "ldap" {
  root "etc" { path = "/etc/ldap" }
}
store "plain" "nas" {
  path = "/srv/nas"
  verify { within = "30d" }
}
backup_plan "nightly" {
  store = store.nas
  activity "all" {
    action  = "export_domain"
    devices = ["ldap"]
  }
}
`

const (
	day    = 24 * time.Hour
	period = 30 * day
)

// readBackInput is a world with n artifacts that were read at noon.
func readBackInput(t testing.TB, n int, bytes func(int) int64) planner.Input {
	t.Helper()
	doc := loadDocument(t, fstest.MapFS{"main.hold.hcl": {Data: []byte(readBack)}})
	in := planner.Input{Doc: doc, Now: noon, State: &state.Snapshot{
		Meta: state.Meta{Lineage: "l"}, Objects: apply(doc, "l"), LastRuns: map[string]state.Run{}, LastGood: map[string]state.Run{},
	}}
	for i := range n {
		in.State.Catalogue = append(in.State.Catalogue, state.ArtifactBrief{
			ID: fmt.Sprintf("A%05d", i), Store: "store.nas", BackupPlan: "backup_plan.nightly", Device: "device.ldap", Domain: "etc", Action: "export_domain",
			State: state.ArtifactGood, Started: noon, Verified: noon, Bytes: bytes(i),
		})
	}
	return in
}

// checked lists the artifacts that a plan reads back.
func checked(t testing.TB, p *reconcile.Plan) (ids []string) {
	t.Helper()
	for _, a := range p.Actions {
		for _, task := range a.Tasks {
			for _, s := range task.Steps {
				var args reconcile.CheckArgs
				if s.Op != reconcile.OpArtifactCheck {
					continue
				}
				if err := json.Unmarshal(s.Args, &args); err != nil {
					t.Fatal(err)
				}
				ids = append(ids, args.Artifact)
			}
		}
	}
	return ids
}

// readNow pretends that a plan was applied.
func readNow(in *planner.Input, ids []string) (bytes int64) {
	for i := range in.State.Catalogue {
		if a := &in.State.Catalogue[i]; slices.Contains(ids, a.ID) {
			a.Verified = in.Now
			bytes += a.Bytes
		}
	}
	run := state.Run{Kind: string(reconcile.ActionVerify), CreatedAt: in.Now, Status: state.Succeeded}
	in.State.LastRuns["store.nas"], in.State.LastGood["store.nas"] = run, run
	return bytes
}

// TestEverythingIsReadInTime applies plans for half a year, at different paces: no artifact is ever older than the period, although all of them
// fall due together, and no share is much larger than it must be.
func TestEverythingIsReadInTime(t *testing.T) {
	for name, test := range map[string]struct {
		every time.Duration
		n     int
		bytes func(int) int64
		most  float64 // of the whole, in one share
	}{
		"very often":    {10 * time.Minute, 60, func(int) int64 { return 1 << 30 }, 0.25},
		"daily":         {day, 300, func(int) int64 { return 1 << 30 }, 0.21},
		"three a week":  {56 * time.Hour, 100, func(int) int64 { return 1 << 20 }, 0.5},
		"every 4 days":  {4 * day, 100, func(int) int64 { return 1 << 30 }, 0.85},
		"mixed sizes":   {day, 200, func(i int) int64 { return rand.New(rand.NewPCG(1, uint64(i))).Int64N(4 << 30) }, 0.25},
		"empty ones":    {day, 200, func(int) int64 { return 0 }, 0.25},
		"one large":     {day, 50, func(i int) int64 { return int64(1+i/49*10000) << 20 }, 1},
		"only one":      {day, 1, func(int) int64 { return 1 << 40 }, 1},
		"huge":          {day, 40, func(int) int64 { return 1 << 57 }, 0.25},
		"many, seldom":  {5 * day, 1000, func(int) int64 { return 1 << 10 }, 1},
		"hourly, a few": {time.Hour, 7, func(int) int64 { return 1 << 30 }, 0.3},
	} {
		t.Run(name, func(t *testing.T) {
			in := readBackInput(t, test.n, test.bytes)
			whole := float64(0)
			for _, a := range in.State.Catalogue {
				whole += float64(a.Bytes)
			}
			shares, largest := 0, 0.0
			for in.Now = noon; in.Now.Before(noon.Add(6 * period)); in.Now = in.Now.Add(test.every) {
				for _, a := range in.State.Catalogue {
					if age := in.Now.Sub(a.Verified); age > period {
						t.Fatalf("%s was not read for %s at %s", a.ID, age, in.Now)
					}
				}
				plan, _ := planner.Build(in)
				if plan.Empty() {
					continue
				}
				shares++
				bytes := readNow(&in, checked(t, plan))
				largest = max(largest, float64(bytes)/max(whole, 1))
				if again, _ := planner.Build(in); !again.Empty() {
					t.Fatalf("a plan that was applied leaves work: %s", asJSON(t, again.Actions))
				}
			}
			if largest > test.most {
				t.Errorf("a share is %.2f of the whole, want at most %.2f", largest, test.most)
			}
			t.Logf("%d shares in 180 days, the largest %.0f %% of the bytes", shares, largest*100)
		})
	}
}

func TestRescannedStoreIsReadInShares(t *testing.T) {
	in := readBackInput(t, 10000, func(int) int64 { return 1 << 20 })
	for i := range in.State.Catalogue {
		in.State.Catalogue[i].Verified = time.Time{}
	}
	plans, tasks := 0, 0
	for ; plans < 60; plans++ {
		plan, _ := planner.Build(in)
		ids := checked(t, plan)
		if len(ids) > 5000 {
			t.Fatalf("a plan reads %d artifacts", len(ids))
		}
		tasks += len(ids)
		readNow(&in, ids)
		if tasks == 10000 {
			break
		}
		in.Now = in.Now.Add(day)
	}
	if tasks != 10000 || plans > 8 {
		t.Errorf("%d artifacts in %d daily plans", tasks, plans)
	}
}

func TestDueChecks(t *testing.T) {
	in := readBackInput(t, 4, func(int) int64 { return 1 })
	in.State.Catalogue[0].State = state.ArtifactQuarantined
	in.State.Catalogue[1].Verified = time.Time{}
	in.State.Catalogue[2].Store = "store.other"
	var ids []string
	for _, a := range verification.Due(in.State, noon.Add(21*day)) {
		ids = append(ids, a.ID)
	}
	if got := strings.Join(ids, " "); got != "A00001 A00003" {
		t.Errorf("due are %s", got)
	}
	if due := verification.Due(in.State, noon.Add(19*day)); len(due) != 1 {
		t.Errorf("due after 19 days are %v", due)
	}
	in.State.Objects["store.nas"] = state.Object{Address: "store.nas", Spec: []byte(`[`)}
	if due := verification.Due(in.State, noon.Add(21*day)); len(due) != 0 {
		t.Errorf("due without a readable specification are %v", due)
	}
}

func TestStandingOfStores(t *testing.T) {
	in := readBackInput(t, 3, func(int) int64 { return 100 })
	in.State.Catalogue[1].Verified = noon.Add(-40 * day)
	in.State.Catalogue = append(in.State.Catalogue,
		state.ArtifactBrief{ID: "Q1", Store: "store.nas", BackupPlan: "backup_plan.nightly", Device: "device.ldap", Domain: "etc", Action: "export_domain",
			State: state.ArtifactQuarantined, Started: noon.Add(-day), Quarantined: noon},
		state.ArtifactBrief{ID: "Q2", Store: "store.nas", BackupPlan: "backup_plan.nightly", Device: "device.ldap", Domain: "var", Action: "export_domain",
			State: state.ArtifactQuarantined, Started: noon.Add(-2 * day), Quarantined: noon},
		state.ArtifactBrief{ID: "E", Store: "store.nas", State: state.ArtifactExpiring, Bytes: 7})
	in.State.LastRuns["store.nas"] = state.Run{ID: "9", Kind: "store"}
	s := status.Of(in.State, noon)
	if len(s.Stores) != 1 {
		t.Fatalf("%+v", s.Stores)
	}
	want := status.Store{
		Address: "store.nas", Artifacts: 3, Bytes: 300, Within: unit.Duration(period), Oldest: noon.Add(-40 * day), Due: 1, Overdue: 1, Quarantined: 2,
	}
	if s.Stores[0] != want {
		t.Errorf("got %+v, want %+v", s.Stores[0], want)
	}
	var got []string
	for _, q := range s.Quarantined {
		got = append(got, fmt.Sprintf("%s %t", q.Artifact, q.Replaced))
	}
	if strings.Join(got, ", ") != "Q1 true, Q2 false" {
		t.Errorf("quarantined: %v", got)
	}
	in.State.LastRuns["store.nas"] = state.Run{ID: "9", Kind: "verify"}
	if s := status.Of(in.State, noon); s.Stores[0].Last == nil {
		t.Error("the run is not shown")
	}
}
