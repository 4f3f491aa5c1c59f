package reconcile

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/config/diag"
	"github.com/holdfast-dr/holdfast/state"
)

// Input is everything a plan depends on. The same input gives the same plan.
type Input struct {
	Doc       *config.Document
	State     *state.Snapshot
	Inventory *Inventory
	Config    ConfigInfo // Digest is filled in by Build
	Rewound   bool       // the commit does not descend from the last applied one
	Now       time.Time
	Version   string
	Options   Options
}

// Options narrows what is planned.
type Options struct {
	Mode     Mode     // ModeApply when empty
	Run      string   // ModeRun: address of the object whose work starts now
	Operator string   // ModeRun: who asks; shown as the reason
	Targets  []string // addresses or patterns with *; what they refer to is included
	Exclude  []string // addresses or patterns with *
}

// planLifetime is how long a plan that destroys or moves a role may be applied.
const planLifetime = 24 * time.Hour

// Build makes the plan. With errors in the list the plan is not applyable, but it holds whatever could be planned.
func Build(in Input) (*Plan, diag.List) {
	b := newBuilder(in)
	b.build()
	b.finish()
	return b.plan, b.diags
}

func newBuilder(in Input) *builder {
	b := &builder{
		in:     in,
		doc:    in.Doc,
		st:     in.State,
		inv:    in.Inventory,
		now:    in.Now,
		stores: map[config.Address]int{},
		moves:  map[config.Address]movement{},
		asked:  asked{map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]Endpoints{}},
		plan: &Plan{
			FormatVersion: FormatVersion,
			Version:       in.Version,
			Timestamp:     in.Now.UTC(),
			Environment:   in.Doc.Settings.Environment,
			Mode:          in.Options.Mode,
			Complete:      true,
			Config:        in.Config,
			State:         StateInfo{Lineage: in.State.Meta.Lineage, Generation: in.State.Meta.Generation},
			Parallel:      in.Doc.Settings.MaxParallel,
			Objects:       map[string]Spec{},
			Changes:       []Change{}, // JSON shows an empty list, not null
			Actions:       []Action{},
			Deferred:      []Deferred{},
			Drift:         []Drift{},
			Roles:         []RoleStatus{},
			Gates:         []Gate{},
		},
	}
	if b.plan.Mode == "" {
		b.plan.Mode = ModeApply
	}
	if b.inv == nil {
		b.inv = &Inventory{Source: "none"}
	}
	b.plan.Inventory = InventoryInfo{TakenAt: b.inv.TakenAt, Source: b.inv.Source}
	b.desire()
	b.applyMoves()
	b.selectTargets()
	return b
}

// build runs the phases that fill the plan.
func (b *builder) build() {
	switch b.plan.Mode {
	case ModeRun:
		b.runOne(config.Address(b.in.Options.Run))
	case ModeDestroy, ModeCompare:
		b.diff()
		return
	default:
		b.diff()
		b.initStores()
		b.switchRoles()
		b.backups()
		b.mirrors()
		b.failovers()
	}
	b.storeDrift()
}

// builder carries one Build. Its methods are the phases, in the order Build calls them.
type builder struct {
	in    Input
	doc   *config.Document
	st    *state.Snapshot
	inv   *Inventory
	now   time.Time
	plan  *Plan
	diags diag.List

	desired  []desired                 // ordered by address
	byAddr   map[config.Address]int    // into desired
	selected func(config.Address) bool // nil: everything
	recorded map[string]state.Object   // with moved objects under their new address

	stores map[config.Address]int      // stores initialised by this plan: index of the action
	moves  map[config.Address]movement // roles written by this plan
	asked  asked
}

// desired is one declared object with its specification.
type desired struct {
	object config.Object
	addr   config.Address
	spec   json.RawMessage
	digest string
}

func (b *builder) desire() {
	objects := b.doc.Objects()
	b.desired = make([]desired, 0, len(objects))
	b.byAddr = make(map[config.Address]int, len(objects))
	sum := sha256.New()
	for _, o := range objects {
		spec := config.Spec(o)
		d := desired{object: o, addr: o.Head().Address, spec: spec, digest: config.Digest(spec)}
		b.byAddr[d.addr] = len(b.desired)
		b.desired = append(b.desired, d)
		fmt.Fprintf(sum, "%s %s\n", d.addr, d.digest)
	}
	b.plan.Config.Digest = "sha256:" + hex.EncodeToString(sum.Sum(nil))
}

// selectTargets turns --target and --exclude into a filter. What a target refers to is part of it.
func (b *builder) selectTargets() {
	opts := b.in.Options
	if len(opts.Targets) == 0 && len(opts.Exclude) == 0 {
		return
	}
	b.plan.Complete = false
	chosen := map[config.Address]bool{}
	var choose func(a config.Address)
	choose = func(a config.Address) {
		if chosen[a] {
			return
		}
		chosen[a] = true
		if i, ok := b.byAddr[a]; ok {
			for _, ref := range b.references(b.desired[i].object) {
				choose(ref)
			}
		}
	}
	known := make([]string, 0, len(b.desired))
	for _, d := range b.desired {
		known = append(known, string(d.addr))
	}
	for addr := range b.st.Objects {
		if _, ok := b.byAddr[config.Address(addr)]; !ok {
			known = append(known, addr)
		}
	}
	for _, pattern := range append(slices.Clone(opts.Targets), opts.Exclude...) {
		if !slices.ContainsFunc(known, func(a string) bool { return matchAddress(pattern, a) }) {
			b.diags.Errorf("HF-TGT-001", diag.Range{}, "No such object", "No declared or recorded object matches %q.%s", pattern, didYouMean(pattern, known))
		}
	}
	for _, a := range known {
		if len(opts.Targets) == 0 || slices.ContainsFunc(opts.Targets, func(p string) bool { return matchAddress(p, a) }) {
			choose(config.Address(a))
		}
	}
	b.selected = func(a config.Address) bool {
		return chosen[a] && !slices.ContainsFunc(opts.Exclude, func(p string) bool { return matchAddress(p, string(a)) })
	}
}

// matchAddress matches an address or the block it is an instance of.
func matchAddress(pattern, address string) bool {
	return config.MatchPattern(pattern, address) || config.MatchPattern(pattern, string(config.Address(address).Block()))
}

func (b *builder) wants(a config.Address) bool { return b.selected == nil || b.selected(a) }

// references lists what an object needs recorded before it.
func (b *builder) references(o config.Object) []config.Address {
	var refs []config.Address
	put := func(all ...config.Address) {
		for _, a := range all {
			if a != "" {
				refs = append(refs, a)
			}
		}
	}
	switch o := o.(type) {
	case *config.Device:
		put(o.Site)
	case *config.Store:
		put(o.Site)
	case *config.BackupPlan:
		put(o.Store, o.Window, o.Retention)
		for _, act := range o.Activities {
			for _, d := range b.matchDevices(act) {
				put(d.Address)
			}
		}
	case *config.Mirror:
		put(o.Window, roleOf(o.Source), roleOf(o.Target))
	case *config.FailoverTarget:
		for _, m := range o.Members {
			put(m.Site)
		}
	case *config.Failover:
		put(o.Sites()...)
		put(o.Targets()...)
		put(o.Window)
	}
	return refs
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
	spec := Spec{Spec: b.desired[i].spec}
	switch o := b.desired[i].object.(type) {
	case *config.Device:
		spec.Type = o.Type
	case *config.Store:
		spec.Type = o.Type
		spec.Identity = b.storeIdentity(a)
	case *config.FailoverTarget:
		spec.Type = o.Type
	}
	b.plan.Objects[string(a)] = spec
}

// needRecorded adds the precondition that a recorded object is still what it was.
func (b *builder) needRecorded(a config.Address) {
	if rec, ok := b.recorded[string(a)]; ok {
		b.need(Precondition{Kind: NeedGeneration, Address: rec.Address, Want: fmt.Sprint(rec.Generation)})
	}
}

func (b *builder) need(p Precondition) {
	if !slices.Contains(b.plan.Preconditions, p) {
		b.plan.Preconditions = append(b.plan.Preconditions, p)
	}
}

// finish counts, gates and seals the plan.
func (b *builder) finish() {
	p := b.plan
	for _, s := range b.doc.Secrets {
		if len(p.Actions) > 0 {
			p.Objects[string(s.Address)] = Spec{Spec: config.Spec(s)}
		}
	}
	b.gates()
	b.preconditions()
	for _, c := range p.Changes {
		switch c.Action {
		case Create, Adopt:
			p.Summary.Add++
		case Update:
			p.Summary.Change++
		case Delete, Forget:
			p.Summary.Destroy++
		case Move:
			p.Summary.Move++
		}
	}
	for _, a := range p.Actions {
		p.Summary.Actions++
		for _, t := range a.Tasks {
			if t.Skip != nil {
				p.Summary.Skipped++
			} else {
				p.Summary.Tasks++
			}
		}
	}
	p.Summary.Deferred = len(p.Deferred)
	p.Summary.Drift = len(p.Drift)
	b.diags.Sort()
	p.Findings = append([]diag.Diagnostic{}, b.diags...)
	p.Errored = b.diags.HasErrors()
	p.Applyable = !p.Errored && !p.Empty() && p.Mode != ModeCompare
	p.Digest = p.digest()
}

// preconditions adds those that concern the plan as a whole; phases add the rest where they rely on something.
func (b *builder) preconditions() {
	p := b.plan
	own := p.Preconditions
	p.Preconditions = []Precondition{{Kind: NeedLineage, Want: p.State.Lineage}}
	for _, c := range p.Changes {
		addr := c.Address
		if c.Action == Move {
			addr = c.Previous
		}
		b.need(Precondition{Kind: NeedGeneration, Address: addr, Want: fmt.Sprint(c.IfGeneration)})
	}
	for _, n := range own {
		b.need(n)
	}
	if last := b.st.LastCommit(); last != "" && len(p.Changes) > 0 && p.Config.Commit != "" {
		b.need(Precondition{Kind: NeedDescends, Want: last})
	}
	grave := slices.ContainsFunc(p.Gates, func(g Gate) bool { return g.Class == ClassDestroy || g.Class == ClassRole })
	if grave {
		p.ExpiresAt = p.Timestamp.Add(planLifetime)
		b.need(Precondition{Kind: NeedNotAfter, Want: p.ExpiresAt.Format(time.RFC3339)})
	}
	slices.SortStableFunc(p.Preconditions, func(x, y Precondition) int {
		return strings.Compare(string(x.Kind)+x.Address, string(y.Kind)+y.Address)
	})
}

// Intact checks that a plan read from a file is of a form this version knows and is the plan its digest names.
func (p *Plan) Intact() error {
	if p.FormatVersion != FormatVersion {
		return fmt.Errorf("its format is %q, this version reads %q; make a new plan", p.FormatVersion, FormatVersion)
	}
	if p.digest() != p.Digest {
		return errors.New("its content does not match its digest: it was cut or changed; make a new plan")
	}
	for address, spec := range p.Objects {
		if !json.Valid(spec.Spec) {
			return fmt.Errorf("the specification of %s is damaged; make a new plan", address)
		}
	}
	return nil
}

// digest seals what an approval is about. Times, estimates and summaries are left out: the same work planned an hour
// later has the same digest.
func (p *Plan) digest() string {
	type sealedAction struct {
		Address, Kind, Class, Trigger, Key string
		After                              []int
		Tasks                              []Task
		Missed                             []Missed
	}
	sealed := struct {
		Mode          Mode
		Config        string
		Changes       []Change
		Actions       []sealedAction
		Preconditions []Precondition
		Objects       map[string]Spec
	}{Mode: p.Mode, Config: p.Config.Digest, Objects: p.Objects}
	for _, c := range p.Changes {
		c.Range = diag.Range{}
		c.Note = ""
		sealed.Changes = append(sealed.Changes, c)
	}
	for _, a := range p.Actions {
		sealed.Actions = append(sealed.Actions, sealedAction{a.Address, string(a.Kind), string(a.Class), string(a.Trigger), a.TriggerKey, a.After, a.Tasks, a.Missed})
	}
	for _, n := range p.Preconditions {
		if n.Kind != NeedNotAfter {
			sealed.Preconditions = append(sealed.Preconditions, n)
		}
	}
	sum := sha256.New()
	if err := json.NewEncoder(sum).Encode(sealed); err != nil {
		panic("reconcile: encode plan: " + err.Error()) // plain structs of ours: cannot fail
	}
	return "sha256:" + hex.EncodeToString(sum.Sum(nil))
}

func didYouMean(word string, candidates []string) string {
	if n := diag.Nearest(word, candidates); n != "" {
		return fmt.Sprintf(" Did you mean %s?", n)
	}
	return ""
}
