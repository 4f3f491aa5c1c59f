package recovery_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/reconcile/recovery"
	"github.com/holdfast-dr/holdfast/state"
)

// unwanted is a safety backup that may be deleted.
func unwanted() recovery.DeleteInput {
	in := well()
	in.State.Catalogue = append(in.State.Catalogue, state.ArtifactBrief{
		ID: "other", Device: "device.web", Domain: "content", State: state.ArtifactGood, Started: now.Add(-time.Hour),
	})
	in.State.Objects["backup_plan.kept"] = state.Object{Spec: json.RawMessage(`{"retention":"retention.r"}`), Generation: 2}
	in.State.Objects["backup_plan.free"] = state.Object{Spec: json.RawMessage(`{}`), Generation: 2}
	return recovery.DeleteInput{
		State: in.State, Store: in.Seen.Store, Safety: true, Reason: "done", Operator: "ana@host", Now: now,
		Artifact: state.Artifact{ID: id, Store: "store.nas", Run: "12", Device: "device.web", Domain: "content", State: state.ArtifactGood, Bytes: 1000, Started: now},
	}
}

func TestDelete(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*recovery.DeleteInput)
		codes  string
	}{
		"a safety backup":               {func(*recovery.DeleteInput) {}, ""},
		"of a plan that is gone":        {func(in *recovery.DeleteInput) { in.Artifact.BackupPlan = "backup_plan.gone" }, ""},
		"of a plan without a retention": {func(in *recovery.DeleteInput) { in.Artifact.BackupPlan = "backup_plan.free" }, ""},
		"of a plan with a retention":    {func(in *recovery.DeleteInput) { in.Artifact.BackupPlan = "backup_plan.kept" }, "error HF-ART-002"},
		"pinned":                        {func(in *recovery.DeleteInput) { in.Artifact.Pinned = true }, "error HF-ART-001"},
		"pinned, begun before":          {func(in *recovery.DeleteInput) { in.Artifact.Pinned, in.Artifact.State = true, state.ArtifactExpiring }, ""},
		"unverified":                    {func(in *recovery.DeleteInput) { in.Artifact.State = state.ArtifactUnverified }, "error HF-ART-003"},
		"quarantined":                   {func(in *recovery.DeleteInput) { in.Artifact.State = state.ArtifactQuarantined }, ""},
		"the last good one":             {func(in *recovery.DeleteInput) { in.State.Catalogue = nil }, "error HF-ART-004"},
		"the last good one, forced":     {func(in *recovery.DeleteInput) { in.State.Catalogue, in.Force = nil, true }, "warning HF-ART-004"},
		"the last one, damaged":         {func(in *recovery.DeleteInput) { in.State.Catalogue, in.Artifact.State = nil, state.ArtifactQuarantined }, ""},
		"others are of the future":      {func(in *recovery.DeleteInput) { in.State.Catalogue[1].Started = now.Add(240 * time.Hour) }, "error HF-ART-004"},
		"others are damaged":            {func(in *recovery.DeleteInput) { in.State.Catalogue[1].State = state.ArtifactQuarantined }, "error HF-ART-004"},
		"a store that is gone":          {func(in *recovery.DeleteInput) { delete(in.State.Objects, "store.nas") }, "error HF-ART-005"},
		"a store that is not mounted":   {func(in *recovery.DeleteInput) { in.Store = reconcile.StoreSeen{} }, "error HF-ART-005"},
		"another store":                 {func(in *recovery.DeleteInput) { in.Store.Identity = "x" }, "error HF-ART-005"},
		"a hold": {func(in *recovery.DeleteInput) {
			in.State.Meta.Hold = state.Hold{Until: now.Add(time.Hour), Reason: "rescan"}
		}, "error HF-ART-006"},
		"its restore has not ended":      {func(in *recovery.DeleteInput) { in.State.OpenRuns = []state.Run{{ID: "12"}} }, "error HF-ART-007"},
		"another restore, has not ended": {func(in *recovery.DeleteInput) { in.State.OpenRuns = []state.Run{{ID: "13"}} }, ""},
	} {
		in := unwanted()
		c.change(&in)
		p, found := recovery.Delete(in)
		var codes []string
		for _, d := range found {
			codes = append(codes, string(d.Severity)+" "+d.Code)
		}
		if got := strings.Join(codes, ", "); got != c.codes {
			t.Errorf("%s: %q, want %q: %v", name, got, c.codes, found)
		}
		if bad := strings.HasPrefix(c.codes, "error"); p.Errored != bad || p.Applyable == bad {
			t.Errorf("%s: errored %t, applyable %t", name, p.Errored, p.Applyable)
		}
		if got := steps(p); got != "expire delete" || p.Intact() != nil {
			t.Errorf("%s: steps %q, %v", name, got, p.Intact())
		}
	}
}

// TestDeleteBroken: what changes after the plan was shown stops it.
func TestDeleteBroken(t *testing.T) {
	for name, c := range map[string]struct {
		change func(s *state.Snapshot)
		want   string
	}{
		"nothing":  {func(*state.Snapshot) {}, ""},
		"gone":     {func(s *state.Snapshot) { s.Catalogue = s.Catalogue[1:] }, "was deleted meanwhile"},
		"pinned":   {func(s *state.Snapshot) { s.Catalogue[0].Pinned = true }, "was pinned meanwhile"},
		"store":    {func(s *state.Snapshot) { s.Objects["store.nas"] = state.Object{Generation: 9} }, "store.nas was changed meanwhile"},
		"retained": {func(s *state.Snapshot) { s.Objects["backup_plan.new"] = state.Object{Generation: 1} }, "backup_plan.new was recorded meanwhile"},
	} {
		in := unwanted()
		in.Artifact.BackupPlan = "backup_plan.new"
		p, _ := recovery.Delete(in)
		c.change(in.State)
		err := p.Broken(in.State, now)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}
