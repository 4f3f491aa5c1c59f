package recovery

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-dr/holdfast/config/diag"
	"github.com/holdfast-dr/holdfast/config/unit"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/state"
)

// DeleteInput is everything a plan to delete one artifact depends on.
type DeleteInput struct {
	State    *state.Snapshot
	Artifact state.Artifact
	Safety   bool // it is what a restore was about to overwrite
	Force    bool // it may be the last good one of its device and domain
	Reason   string

	Store    reconcile.StoreSeen
	Operator string // who asks
	Now      time.Time
	Version  string
}

// Delete plans the deletion of an artifact that a person named. No retention decides about such an artifact: it is the safety backup of a
// restore, its backup plan is gone, or its backup plan has no retention. With errors in the list the plan is not applyable.
func Delete(in DeleteInput) (*reconcile.Plan, diag.List) {
	a := in.Artifact
	p := &reconcile.Plan{
		FormatVersion: reconcile.FormatVersion, Version: in.Version, Timestamp: in.Now.UTC(), Mode: reconcile.ModeDelete, Complete: true, Parallel: 1,
		State:     reconcile.StateInfo{Lineage: in.State.Meta.Lineage, Generation: in.State.Meta.Generation},
		Inventory: reconcile.InventoryInfo{TakenAt: in.Now.UTC(), Source: "live"},
		Objects:   map[string]reconcile.Spec{}, Changes: []reconcile.Change{}, Deferred: []reconcile.Deferred{},
		Drift: []reconcile.Drift{}, Roles: []reconcile.RoleStatus{}, Gates: []reconcile.Gate{},
	}
	args := reconcile.ExpireArgs{Artifact: a.ID, Store: a.Store, Objects: map[string]int64{}, Asked: true, Last: in.Force}
	p.Preconditions = append(p.Preconditions,
		reconcile.Precondition{Kind: reconcile.NeedLineage, Want: p.State.Lineage},
		reconcile.Precondition{Kind: reconcile.NeedArtifact, Address: a.ID, Want: string(a.State)})
	for _, address := range []string{a.Store, a.BackupPlan} {
		if address == "" {
			continue
		}
		o, recorded := in.State.Objects[address]
		if recorded {
			args.Objects[address] = o.Generation
		}
		p.Preconditions = append(p.Preconditions, reconcile.Precondition{Kind: reconcile.NeedGeneration, Address: address, Want: fmt.Sprint(o.Generation)})
	}
	if o, recorded := in.State.Objects[a.Store]; recorded {
		p.Objects[a.Store] = reconcile.Spec{Type: typeIn(o), Spec: o.Spec, Identity: o.Identity, Epoch: o.Epoch, Heads: o.Heads}
	}
	reason := "asked for"
	if in.Operator != "" {
		reason += " by " + in.Operator
	}
	p.Deletions = []reconcile.Deletion{{
		Address: a.Device, Count: 1, Bytes: a.Bytes, Oldest: a.Started.UTC(), Newest: a.Started.UTC(), IDs: []string{a.ID}, IDsDigest: reconcile.DigestIDs([]string{a.ID}),
	}}
	p.Preconditions = append(p.Preconditions, reconcile.Precondition{Kind: reconcile.NeedDeleteSet, Address: a.Device, Want: p.Deletions[0].IDsDigest})
	p.Actions = []reconcile.Action{{
		Address: a.Device, Kind: reconcile.ActionDelete, Class: reconcile.ClassDestroy, Reason: reason + ": " + in.Reason, Trigger: state.TriggerManual, Parallel: 1,
		Tasks: []reconcile.Task{{
			Kind: "delete", Stage: reconcile.StageWork, Device: a.Device, Domain: a.Domain, OnError: "halt",
			Action: fmt.Sprintf("delete %s of %s, %s, from %s", in.what(), strings.TrimSuffix(a.Device+"/"+a.Domain, "/"), unit.Bytes(a.Bytes), a.Store),
			Steps: []reconcile.Step{
				reconcile.NewStep("expire", reconcile.OpArtifactExpire, state.Rerun, args),
				reconcile.NewStep("delete", reconcile.OpArtifactDelete, state.Rerun, args),
			},
		}},
	}}
	found := in.judge()
	found.Sort()
	p.Seal(found)
	return p, found
}

// what says which kind of artifact it is.
func (in *DeleteInput) what() string {
	text := string(in.Artifact.State) + " artifact"
	switch {
	case in.Safety && in.Artifact.Run != "":
		text = "the safety backup of run " + in.Artifact.Run
	case in.Safety:
		text = "a safety backup"
	case in.Artifact.BackupPlan != "":
		text += " made by " + in.Artifact.BackupPlan
	}
	return text
}

// judge says what speaks against the deletion.
func (in *DeleteInput) judge() (found diag.List) {
	a := in.Artifact
	say := func(how diag.Severity, code, summary, detail string, args ...any) {
		found = append(found, diag.Diagnostic{Severity: how, Code: code, Address: a.Device, Summary: summary, Detail: fmt.Sprintf(detail, args...)})
	}
	if a.Pinned && a.State != state.ArtifactExpiring {
		say(diag.Error, "HF-ART-001", "The artifact is pinned", "Somebody wants artifact %s to be kept. To let it go: holdfast artifact unpin %s --reason \"...\".", a.ID, a.ID)
	}
	if r := in.retention(); r != "" {
		say(diag.Error, "HF-ART-002", "A retention decides about the artifact", "Artifact %s is of %s, and %s deletes its artifacts when no rule keeps them any more. Change the retention, and apply.", a.ID, a.BackupPlan, r)
	}
	if a.State == state.ArtifactUnverified {
		say(diag.Error, "HF-ART-003", "The artifact is unverified", "Artifact %s has no manifest that says which files are its own. Remove them by hand, then run holdfast store rescan %s.", a.ID, a.Store)
	}
	if a.State == state.ArtifactGood && !in.others() {
		how, text := diag.Error, "To delete it all the same, say --force."
		if in.Force {
			how, text = diag.Warning, "It is deleted because that was asked for."
		}
		say(how, "HF-ART-004", "It is the last good artifact", "Nothing else that is good is left of %s/%s. %s", a.Device, a.Domain, text)
	}
	in.judgeStore(say)
	if hold := in.State.Meta.Hold; hold.Holds(in.Now) {
		say(diag.Error, "HF-ART-006", "Deletions are held", "Nothing is deleted before %s (%s). To end that: holdfast state release-hold --reason \"...\".", hold.Until.UTC().Format(time.RFC3339), hold.Reason)
	}
	if slices.ContainsFunc(in.State.OpenRuns, func(r state.Run) bool { return a.Run != "" && r.ID == a.Run }) {
		say(diag.Error, "HF-ART-007", "The run that made it has not ended", "Run %s may still need artifact %s. Continue it first: holdfast apply --resume %s", a.Run, a.ID, a.Run)
	}
	return found
}

func (in *DeleteInput) judgeStore(say func(how diag.Severity, code, summary, detail string, args ...any)) {
	const code, summary = "HF-ART-005", "The store cannot be used"
	address, seen := in.Artifact.Store, in.Store
	object, recorded := in.State.Objects[address]
	switch {
	case !recorded:
		say(diag.Error, code, summary, "%s is no longer recorded. Declare it again with its path and run holdfast store init --adopt %s.", address, address)
	case seen.Error != "" || !seen.Initialised:
		say(diag.Error, code, summary, "%s: %s. holdfast store status tells more.", address, cmp.Or(seen.Error, "its place holds no store"))
	default:
		misfit := reconcile.Mark(object).Misfit(address, seen.Mark())
		if misfit == nil {
			misfit = reconcile.Behind(in.State, address, seen.Last)
		}
		if misfit != nil {
			say(diag.Error, code, summary, "%s %s. %s", address, misfit.Summary, misfit.Detail)
		}
	}
}

// retention gives the retention that decides about the artifact; empty: none does.
func (in *DeleteInput) retention() string {
	var bp struct {
		Retention string `json:"retention"`
	}
	o, recorded := in.State.Objects[in.Artifact.BackupPlan]
	if !recorded || json.Unmarshal(o.Spec, &bp) != nil {
		return ""
	}
	return bp.Retention
}

// others reports whether anything else that is good is left of the device and domain.
func (in *DeleteInput) others() bool {
	return slices.ContainsFunc(in.State.Catalogue, func(b state.ArtifactBrief) bool {
		return b.ID != in.Artifact.ID && b.Device == in.Artifact.Device && b.Domain == in.Artifact.Domain && b.State == state.ArtifactGood &&
			!b.Started.After(in.Now.Add(state.FutureLimit))
	})
}

func typeIn(o state.Object) string {
	var head struct {
		Type string `json:"type"`
	}
	if json.Unmarshal(o.Spec, &head) != nil {
		return ""
	}
	return head.Type
}
