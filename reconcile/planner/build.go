// Package planner decides: it compares the desired state (a configuration of a commit) with the recorded and the observed state and
// says in a plan what is to be done. It is pure: the same input gives the same plan.
package planner

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/config/diag"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/reconcile/retention"
	"github.com/holdfast-dr/holdfast/state"
)

// Input is everything a plan depends on. The same input gives the same plan.
type Input struct {
	Doc       *config.Document
	State     *state.Snapshot
	Inventory *reconcile.Inventory
	Config    reconcile.ConfigInfo // Digest is filled in by Build
	Rewound   bool                 // the commit does not descend from the last applied one
	Unproven  bool                 // whether it does cannot be told: the history at hand is cut off
	Now       time.Time
	Version   string
	Options   Options
}

// Options narrows what is planned.
type Options struct {
	Mode     reconcile.Mode // ModeApply when empty
	Run      string         // ModeRun: address of the object whose work starts now
	Operator string         // ModeRun: who asks; shown as the reason
	Targets  []string       // addresses or patterns with *; what they refer to is included (ModeDestroy: what refers to them)
	Exclude  []string       // addresses or patterns with *
	// Unreviewed: the plan is done at once, and nobody is asked. What a task finds out by itself, such as what a mirror has to
	// copy, is not looked up before.
	Unreviewed bool
}

// Build makes the plan. With errors in the list the plan is not applyable, but it holds whatever could be planned.
func Build(in Input) (*reconcile.Plan, diag.List) {
	b := newBuilder(in)
	b.build()
	b.finish()
	return b.plan, b.diags
}

// builder carries one Build. Its methods are the phases, in the order build calls them.
type builder struct {
	in    Input
	doc   *config.Document
	st    *state.Snapshot
	inv   *reconcile.Inventory
	now   time.Time
	plan  *reconcile.Plan
	diags diag.List

	desired  []config.Specified        // ordered by address
	byAddr   map[config.Address]int    // into desired
	selected func(config.Address) bool // nil: everything
	recorded map[string]state.Object   // with moved objects under their new address
	renamed  map[string]string         // recorded address -> the address it moves to

	stores  map[config.Address]int      // stores initialised by this plan: index of the action
	moves   map[config.Address]movement // roles written by this plan
	planned map[string]bool             // addresses with an action
	needed  map[reconcile.Precondition]bool
	asked   asked
	asking  bool // only asked matters: tasks are not laid out

	open      map[string]state.Run // runs that have not ended, by address
	devices   deviceIndex
	freezes   []*config.Freeze
	followers map[config.Address][]*config.Mirror // mirrors whose direction follows a failover
	crons     map[[2]string]cron                  // by schedule and zone
	openings  map[[2]string]opening               // by window and kind of work
	sights    map[config.Address]sight
	guards    []guard
	guarded   bool                             // guards is filled
	artifacts map[string][]state.ArtifactBrief // the catalogue by backup plan
	sizes     map[retention.Group]int64        // what the next artifact of a group may need; see estimate
	fill      map[string]int64                 // bytes that this plan puts into each store
}

func newBuilder(in Input) *builder {
	b := &builder{
		in:        in,
		doc:       in.Doc,
		st:        in.State,
		inv:       in.Inventory,
		now:       in.Now,
		stores:    map[config.Address]int{},
		moves:     map[config.Address]movement{},
		planned:   map[string]bool{},
		needed:    map[reconcile.Precondition]bool{},
		asked:     asked{map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]Endpoints{}},
		open:      make(map[string]state.Run, len(in.State.OpenRuns)),
		followers: map[config.Address][]*config.Mirror{},
		crons:     map[[2]string]cron{},
		openings:  map[[2]string]opening{},
		sights:    map[config.Address]sight{},
		plan:      newPlan(in),
	}
	if b.inv == nil {
		b.inv = &reconcile.Inventory{Source: "none"}
	}
	b.plan.Inventory = reconcile.InventoryInfo{TakenAt: b.inv.TakenAt, Source: b.inv.Source}
	for _, r := range b.st.OpenRuns {
		// What waits for a decision may do so for long, and does nothing meanwhile: the next run does not wait for it.
		if _, ok := b.open[r.Address]; !ok && r.Status != state.Attention {
			b.open[r.Address] = r
		}
	}
	b.desire()
	b.index()
	b.applyMoves()
	b.selectTargets()
	return b
}

func newPlan(in Input) *reconcile.Plan {
	p := &reconcile.Plan{
		FormatVersion: reconcile.FormatVersion,
		Version:       in.Version,
		Timestamp:     in.Now.UTC(),
		Environment:   in.Doc.Settings.Environment,
		Mode:          in.Options.Mode,
		Complete:      true,
		Config:        in.Config,
		State:         reconcile.StateInfo{Lineage: in.State.Meta.Lineage, Generation: in.State.Meta.Generation},
		Parallel:      in.Doc.Settings.MaxParallel,
		Objects:       map[string]reconcile.Spec{},
		Changes:       []reconcile.Change{}, // JSON shows an empty list, not null
		Actions:       []reconcile.Action{},
		Deferred:      []reconcile.Deferred{},
		Drift:         []reconcile.Drift{},
		Roles:         []reconcile.RoleStatus{},
		Gates:         []reconcile.Gate{},
	}
	if p.Mode == "" {
		p.Mode = reconcile.ModeApply
	}
	return p
}

// build runs the phases that fill the plan.
func (b *builder) build() {
	switch b.plan.Mode {
	case reconcile.ModeRun:
		b.runOne(config.Address(b.in.Options.Run))
	case reconcile.ModeDestroy, reconcile.ModeCompare:
		b.diff()
		return
	default:
		b.diff()
		b.initStores()
		b.switchRoles()
		b.backups()
		b.mirrors()
		b.failovers()
		b.retain()
		b.verifyStores()
	}
	b.storeDrift()
	b.room()
}

func (b *builder) desire() {
	b.desired = b.doc.Specified()
	b.byAddr = make(map[config.Address]int, len(b.desired))
	sum := sha256.New()
	for i, d := range b.desired {
		b.byAddr[d.Address] = i
		fmt.Fprintf(sum, "%s %s\n", d.Address, d.Digest)
	}
	b.plan.Config.Digest = "sha256:" + hex.EncodeToString(sum.Sum(nil))
}

// index prepares look-ups over the declared objects.
func (b *builder) index() {
	b.devices = indexDevices(all[*config.Device](b))
	b.freezes = all[*config.Freeze](b)
	for _, m := range all[*config.Mirror](b) {
		group := roleOf(m.Source)
		if group == "" {
			group = roleOf(m.Target)
		}
		if group != "" {
			b.followers[group] = append(b.followers[group], m)
		}
	}
}

// all lists the declared objects of one kind, ordered by address: the order of declaration means nothing.
func all[T config.Object](b *builder) []T {
	var found []T
	for _, d := range b.desired {
		if o, ok := d.Object.(T); ok {
			found = append(found, o)
		}
	}
	return found
}

// errorf reports what makes the plan not applyable.
func (b *builder) errorf(a config.Address, code string, rng diag.Range, summary, detail string, args ...any) {
	b.diags.Errorf(code, rng, summary, detail, args...)
	b.diags[len(b.diags)-1].Address = string(a)
}

// warnf reports what a person should know before applying.
func (b *builder) warnf(a config.Address, code string, rng diag.Range, summary, detail string, args ...any) {
	b.diags.Warnf(code, rng, summary, detail, args...)
	b.diags[len(b.diags)-1].Address = string(a)
}

// add appends an action and gives its index.
func (b *builder) add(a reconcile.Action) int {
	b.planned[a.Address] = true
	b.plan.Actions = append(b.plan.Actions, a)
	return len(b.plan.Actions) - 1
}

// use puts the specification of a declared object into the plan, so that steps can refer to it.
func (b *builder) use(a config.Address) {
	i, ok := b.byAddr[a]
	if !ok {
		return
	}
	if _, done := b.plan.Objects[string(a)]; done {
		return
	}
	spec := reconcile.Spec{Spec: b.desired[i].Spec}
	switch o := b.desired[i].Object.(type) {
	case *config.Device:
		spec.Type = o.Type
	case *config.Store:
		spec.Type = o.Type
		spec.Identity = b.storeIdentity(a)
		spec.Epoch, spec.Heads, spec.Behind = b.recorded[string(a)].Epoch, b.recorded[string(a)].Heads, b.behind(a)
	case *config.FailoverTarget:
		spec.Type = o.Type
	}
	b.plan.Objects[string(a)] = spec
}

// needRecorded adds the precondition that a recorded object is still what it was.
func (b *builder) needRecorded(a config.Address) {
	if rec, ok := b.recorded[string(a)]; ok {
		b.need(reconcile.Precondition{Kind: reconcile.NeedGeneration, Address: rec.Address, Want: fmt.Sprint(rec.Generation)})
	}
}

// needEpoch adds the precondition that a role is still the one that was planned with.
func (b *builder) needEpoch(failover config.Address, epoch int64) {
	b.need(reconcile.Precondition{Kind: reconcile.NeedRoleEpoch, Address: b.recordedAddress(failover), Want: fmt.Sprint(epoch)})
}

func (b *builder) need(p reconcile.Precondition) {
	if !b.needed[p] {
		b.needed[p] = true
		b.plan.Preconditions = append(b.plan.Preconditions, p)
	}
}

// applied reports whether an object is recorded, under its address, as it is declared.
func (b *builder) applied(a config.Address) bool {
	i, declared := b.byAddr[a]
	rec, recorded := b.recorded[string(a)]
	return declared && recorded && rec.Address == string(a) && rec.Digest == b.desired[i].Digest
}

// recordedAddress is the address an object has in the recorded state, before this plan.
func (b *builder) recordedAddress(a config.Address) string {
	if rec, ok := b.recorded[string(a)]; ok {
		return rec.Address
	}
	return string(a)
}

// current is the address that a recorded address has with this plan.
func (b *builder) current(a string) string {
	if to, ok := b.renamed[a]; ok {
		return to
	}
	return a
}

func didYouMean(word string, candidates []string) string {
	if near := config.Near(word, candidates); len(near) > 0 {
		return fmt.Sprintf(" Did you mean %s?", strings.Join(near, " or "))
	}
	return ""
}

// finish counts, gates and seals the plan.
func (b *builder) finish() {
	p := b.plan
	if len(p.Actions) > 0 {
		for _, s := range b.doc.Secrets {
			p.Objects[string(s.Address)] = reconcile.Spec{Spec: config.Spec(s)}
		}
	}
	b.gates()
	b.preconditions()
	b.diags.Sort()
	p.Seal(b.diags)
}

// preconditions adds those that concern the plan as a whole; phases add the rest where they rely on something.
func (b *builder) preconditions() {
	p := b.plan
	b.need(reconcile.Precondition{Kind: reconcile.NeedLineage, Want: p.State.Lineage})
	for _, c := range p.Changes {
		addr := c.Address
		if c.Action == reconcile.Move {
			addr = c.Previous
		}
		b.need(reconcile.Precondition{Kind: reconcile.NeedGeneration, Address: addr, Want: fmt.Sprint(c.IfGeneration)})
	}
	if last := b.st.LastCommit(); last != "" && len(p.Changes) > 0 && p.Config.Commit != "" {
		b.need(reconcile.Precondition{Kind: reconcile.NeedDescends, Want: last})
	}
}
