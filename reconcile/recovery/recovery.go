// Package recovery plans what people do with one artifact: restores, by which its content goes into a directory or into a device, and its
// deletion. It is pure, as package reconcile is, and needs no configuration: what is recorded is enough.
package recovery

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-dr/holdfast/config/diag"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/state"
)

// Input is everything a plan depends on. The same input gives the same plan.
type Input struct {
	State   *state.Snapshot
	Source  reconcile.RestoreSource
	Secrets map[string]reconcile.Spec // by address; those a configuration declares

	Dir    string // absolute; or
	Device string // address
	Domain string // of Device; empty: the artifact's

	Raw              bool     // with Dir
	Include          []string // only what these patterns match
	Lenient          bool     // with Device: what it refuses is left out
	NumericOwner     bool     // owners by their numbers, not by their names
	NoSafety         bool     // overwrite without a safety backup
	Reason           string   // why
	AllowQuarantined bool     // with Dir
	AllowUnverified  bool     // with Dir and Raw

	Seen     Seen
	Operator string // who asks
	Now      time.Time
	Version  string

	Environment string
}

// Seen is how the world looked.
type Seen struct {
	Store      reconcile.StoreSeen
	Verified   time.Time             // of the artifact
	Unreadable string                // why the store cannot give the content; empty: it can
	NoKey      bool                  // it cannot because there is no key
	NoSecret   bool                  // with NoKey: the key is a secret that cannot be read
	Encrypted  bool                  // the content is, in the store
	Target     *reconcile.DeviceSeen // nil without Device
	Refused    string                // why the device cannot be restored into; empty: it can
	Whole      string                // why nothing but the whole artifact can be put back; empty: parts of it can
	Strict     string                // why the device cannot leave out what it refuses; empty: it can
	Occupied   string                // why Dir cannot be used; empty: it can
	FreeBytes  int64                 // where Dir is; -1: not known
	Earlier    []Earlier
}

// Earlier is a restore that went well.
type Earlier struct {
	Bytes int64
	Took  time.Duration
}

type builder struct {
	Input
	plan  *reconcile.Plan
	found diag.List
}

// Build makes the plan. With errors in the list it is not applyable, but it says what would be done.
func Build(in Input) (*reconcile.Plan, diag.List) {
	if in.Device != "" && in.Domain == "" {
		in.Domain = in.Source.Domain
	}
	b := &builder{Input: in}
	b.plan = &reconcile.Plan{
		FormatVersion: reconcile.FormatVersion, Version: in.Version, Timestamp: in.Now.UTC(), Environment: in.Environment,
		Mode: reconcile.ModeRestore, Complete: true, Parallel: 1,
		State:     reconcile.StateInfo{Lineage: in.State.Meta.Lineage, Generation: in.State.Meta.Generation},
		Inventory: reconcile.InventoryInfo{TakenAt: in.Now.UTC(), Source: "live"},
		Objects:   map[string]reconcile.Spec{}, Changes: []reconcile.Change{}, Actions: []reconcile.Action{}, Deferred: []reconcile.Deferred{},
		Drift: []reconcile.Drift{}, Roles: []reconcile.RoleStatus{}, Gates: []reconcile.Gate{},
	}
	_, recorded := in.State.Objects[in.Device]
	replace := recorded && b.occupied()
	b.plan.Restore = &reconcile.Restore{
		Source: in.Source, Raw: in.Raw, Include: in.Include, Lenient: in.Lenient, NumericOwner: in.NumericOwner, Safety: replace && !in.NoSafety,
		Target: reconcile.RestoreTarget{Dir: in.Dir, Device: in.Device, DeviceType: b.typeOf(in.Device), Domain: in.Domain, Replace: replace},
		Seen:   reconcile.RestoreSeen{Verified: in.Seen.Verified, FreeBytes: in.Seen.FreeBytes, Seconds: b.seconds()},
	}
	if replace && in.NoSafety {
		b.plan.Restore.Reason = in.Reason
	}
	b.judge()
	b.act()
	b.preconditions()
	b.found.Sort()
	b.plan.Seal(b.found)
	return b.plan, b.found
}

// occupied reports whether the target may hold something: it is only known to be free when the device was asked and has no such domain.
func (b *builder) occupied() bool {
	seen := b.Seen.Target
	if seen == nil || seen.Unavailable || seen.Error != "" || b.Domain == reconcile.AllDomains || len(seen.Domains) == 0 {
		return true
	}
	return slices.Contains(seen.Domains, b.Domain)
}

// typeOf gives the recorded type of a device or store; empty when it is not recorded.
func (b *builder) typeOf(address string) string {
	return typeIn(b.State.Objects[address])
}

// seconds is the duration to expect: that of the slowest earlier restore, for so many bytes. Much smaller ones tell nothing: they took
// their time for other things than bytes. Of a part of an artifact nobody knows how many bytes it takes.
func (b *builder) seconds() int64 {
	if len(b.Include) > 0 {
		return 0
	}
	var most float64
	for _, e := range b.Seen.Earlier {
		if e.Bytes > 0 && e.Took > 0 && e.Bytes >= b.Source.Bytes/10 {
			most = max(most, e.Took.Seconds()*float64(b.Source.Bytes)/float64(e.Bytes))
		}
	}
	if most == 0 {
		return 0
	}
	return max(int64(most+0.5), 1)
}

// address is the object whose history the run is part of.
func (b *builder) address() string {
	if b.Device != "" {
		return b.Device
	}
	return b.Source.Device
}

// where says where the content goes, for people.
func (b *builder) where() string {
	switch {
	case b.Dir != "":
		return b.Dir
	case b.Domain == "" || b.Domain == reconcile.AllDomains:
		return b.Device
	}
	return b.Device + "/" + b.Domain
}

// act lays out the one task. It is one, so that nothing else gets at the device between its safety backup and the restore.
func (b *builder) act() {
	r := b.plan.Restore
	args := reconcile.RestoreArgs{
		Artifact: b.Source.Artifact, Store: b.Source.Store, State: b.Source.State,
		Dir: b.Dir, Raw: b.Raw, Include: b.Include, Device: b.Device, Domain: b.Domain, Replace: r.Target.Replace,
		Lenient: b.Lenient, NumericOwner: b.NumericOwner,
	}
	look := reconcile.DeviceArgs{Device: b.Device}
	steps := []reconcile.Step{reconcile.NewStep("store", reconcile.OpStoreCheck, state.Rerun, reconcile.StoreArgs{Store: b.Source.Store})}
	if b.Device != "" && (r.Safety || !r.Target.Replace) {
		steps = append(steps, reconcile.NewStep("inspect", reconcile.OpDeviceInspect, state.Rerun, look))
	}
	if r.Safety {
		safety := reconcile.CaptureArgs{Device: b.Device, Domain: b.Domain, Action: b.Source.Action, Store: b.Source.Store, Activity: reconcile.SafetyActivity}
		if safety.Action == "export_domain" {
			safety.Variant = reconcile.Persisted
		}
		steps = append(steps,
			reconcile.NewStep("safety_capture", reconcile.OpDeviceCapture, state.Rerun, safety),
			reconcile.NewStep("safety_verify", reconcile.OpArtifactVerify, state.Rerun, safety),
			reconcile.NewStep("safety_commit", reconcile.OpArtifactCommit, state.Check, safety))
	}
	steps = append(steps,
		reconcile.NewStep("check", reconcile.OpRestoreCheck, state.Rerun, args),
		reconcile.NewStep("restore", reconcile.OpArtifactRestore, state.Rerun, args))
	lock := "directory" + b.Dir
	if b.Device != "" {
		steps = append(steps, reconcile.NewStep("confirm", reconcile.OpDeviceInspect, state.Rerun, look))
		lock = strings.Replace(b.Device, ".", "/", 1)
	}
	class := reconcile.ClassSafe
	if r.Target.Replace {
		class = reconcile.ClassDestroy
		b.plan.Gates = append(b.plan.Gates, reconcile.Gate{
			Allow: "--allow=destroy", Class: reconcile.ClassDestroy, Reason: "replaces what " + b.where() + " holds",
		})
	}
	reason := "asked for"
	if b.Operator != "" {
		reason += " by " + b.Operator
	}
	b.plan.Actions = append(b.plan.Actions, reconcile.Action{
		Address: b.address(), Kind: reconcile.ActionRestore, Class: class, Reason: reason, Trigger: state.TriggerManual, Parallel: 1,
		Tasks: []reconcile.Task{{
			Kind: "restore", Stage: reconcile.StageWork, Device: b.address(), Domain: b.domain(), OnError: "halt",
			Action: fmt.Sprintf("restore %s into %s", b.Source.Artifact, b.where()), Locks: []string{lock}, Steps: steps,
		}},
	})
	b.objects()
}

func (b *builder) domain() string {
	if b.Device != "" {
		return b.Domain
	}
	return b.Source.Domain
}

// objects puts the specifications of everything the steps name into the plan.
func (b *builder) objects() {
	for _, address := range b.uses() {
		o := b.State.Objects[address]
		spec := reconcile.Spec{Type: b.typeOf(address), Spec: o.Spec, Identity: o.Identity}
		if b.plan.Restore.Safety { // then the store is written to, which an older copy must not be
			spec.Epoch, spec.Heads = o.Epoch, o.Heads
		}
		b.plan.Objects[address] = spec
	}
	for address, spec := range b.Secrets {
		b.plan.Objects[address] = spec
	}
}

// uses lists the recorded objects that the restore needs.
func (b *builder) uses() []string {
	all := []string{b.Source.Store, b.Device}
	if b.Dir != "" && !b.Raw {
		all[1] = b.Source.Device
	}
	return slices.DeleteFunc(all, func(address string) bool {
		_, recorded := b.State.Objects[address]
		return !recorded
	})
}

func (b *builder) preconditions() {
	p := b.plan
	p.Preconditions = append(p.Preconditions,
		reconcile.Precondition{Kind: reconcile.NeedLineage, Want: p.State.Lineage},
		reconcile.Precondition{Kind: reconcile.NeedArtifact, Address: b.Source.Artifact, Want: string(b.Source.State)})
	for _, address := range b.uses() {
		p.Preconditions = append(p.Preconditions, reconcile.Precondition{
			Kind: reconcile.NeedGeneration, Address: address, Want: fmt.Sprint(b.State.Objects[address].Generation),
		})
	}
}
