package planner_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/reconcile/planner"
	"github.com/holdfast-dr/holdfast/state"
)

const retained = `device "files" "ldap" {
  root "etc" { path = "/etc/ldap" }
}
store "plain" "nas" { path = "/srv/nas" }
retention "standard" { keep_last = 2 }
backup_plan "nightly" {
  store     = store.nas
  retention = retention.standard
  activity "all" {
    action  = "export_domain"
    devices = ["ldap"]
  }
}
`

// retainedInput is a world in which A0 to A(n-1) are recorded, a day apart, the newest a day old.
func retainedInput(t *testing.T, n int) planner.Input {
	t.Helper()
	doc := loadDocument(t, fstest.MapFS{"main.hold.hcl": {Data: []byte(retained)}})
	in := planner.Input{Doc: doc, Now: noon, State: &state.Snapshot{Meta: state.Meta{Lineage: "l"}, Objects: apply(doc, "l")}}
	for i := range n {
		at := noon.AddDate(0, 0, i-n)
		in.State.Catalogue = append(in.State.Catalogue, state.ArtifactBrief{
			ID: fmt.Sprint("A", i), Store: "store.nas", BackupPlan: "backup_plan.nightly", Device: "device.ldap", Domain: "etc", Action: "export_domain",
			State: state.ArtifactGood, Started: at, Verified: at, Bytes: 10,
		})
	}
	return in
}

func TestDeletionIsSealed(t *testing.T) {
	in := retainedInput(t, 5)
	plan, _ := planner.Build(in)
	if len(plan.Deletions) != 1 || plan.Summary.Deletes != 3 {
		t.Fatalf("%+v", plan.Deletions)
	}
	in.Now = in.Now.Add(time.Hour)
	slices.Reverse(in.State.Catalogue)
	if again, _ := planner.Build(in); again.Digest != plan.Digest {
		t.Error("the same deletion an hour later has another digest")
	}
	body, err := json.Marshal(plan)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string][2]string{
		"unchanged":       {"", ""},
		"another id":      {`"ids":["A0"`, `"ids":["A4"`},
		"a smaller count": {`"count":3`, `"count":1`},
		"another target":  {`"artifact":"A0"`, `"artifact":"A4"`},
		"fewer must stay": {`"newer":1`, `"newer":0`},
	} {
		text := strings.Replace(string(body), change[0], change[1], 1)
		var read reconcile.Plan
		if err := json.Unmarshal([]byte(text), &read); err != nil {
			t.Fatal(err)
		}
		if err := read.Intact(); (err == nil) != (name == "unchanged") {
			t.Errorf("%s: %v (changed: %t)", name, err, text != string(body))
		}
	}
}

func TestDeleteSet(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*state.Snapshot)
		want   string
	}{
		"nothing changed":   {func(*state.Snapshot) {}, ""},
		"one is gone":       {func(s *state.Snapshot) { s.Catalogue = s.Catalogue[1:] }, ""},
		"one has begun":     {func(s *state.Snapshot) { s.Catalogue[0].State = state.ArtifactExpiring }, ""},
		"a kept one pinned": {func(s *state.Snapshot) { s.Catalogue[4].Pinned = true }, ""},
		"one was pinned":    {func(s *state.Snapshot) { s.Catalogue[0].Pinned = true }, "Artifact A0 was pinned meanwhile"},
		"the retention changed": {func(s *state.Snapshot) {
			o := s.Objects["retention.standard"]
			o.Generation = 99
			s.Objects[o.Address] = o
		}, "retention.standard was changed meanwhile"},
		"the backup plan was removed": {func(s *state.Snapshot) { delete(s.Objects, "backup_plan.nightly") }, "backup_plan.nightly is no longer recorded"},
	} {
		t.Run(name, func(t *testing.T) {
			in := retainedInput(t, 5)
			plan, _ := planner.Build(in)
			test.change(in.State)
			err := plan.Broken(in.State, in.Now)
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "" && (!errors.Is(err, state.ErrStale) || !strings.Contains(err.Error(), test.want)):
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestLongHistoryGoesInParts: a plan deletes a bounded number, the oldest first, and the next plan goes on.
func TestLongHistoryGoesInParts(t *testing.T) {
	in := retainedInput(t, 12_002)
	for _, want := range []int{5000, 5000, 2000, 0} {
		plan, _ := planner.Build(in)
		got := 0
		for _, d := range plan.Deletions {
			got += d.Count
			in.State.Catalogue = slices.DeleteFunc(in.State.Catalogue, func(a state.ArtifactBrief) bool {
				_, gone := slices.BinarySearch(d.IDs, a.ID)
				return gone
			})
		}
		if got != want {
			t.Fatalf("a plan deletes %d, want %d", got, want)
		}
	}
	if len(in.State.Catalogue) != 2 || in.State.Catalogue[0].ID != "A12000" {
		t.Errorf("%+v are left", in.State.Catalogue)
	}
}
