package planner

import (
	"slices"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/config/diag"
	"github.com/holdfast-dr/holdfast/reconcile"
)

// selectTargets turns --target, --exclude and the object of a run into a filter. What a target refers to is part of it;
// when things are destroyed, what refers to it.
func (b *builder) selectTargets() {
	opts := b.in.Options
	if b.plan.Mode == reconcile.ModeRun {
		chosen := map[config.Address]bool{}
		b.choose(config.Address(opts.Run), chosen, b.needs)
		b.selected = func(a config.Address) bool { return chosen[a] }
		return
	}
	if len(opts.Targets) == 0 && len(opts.Exclude) == 0 {
		return
	}
	b.plan.Complete = false
	known := b.known()
	for _, pattern := range append(slices.Clone(opts.Targets), opts.Exclude...) {
		if !slices.ContainsFunc(known, func(a string) bool { return matchAddress(pattern, a) }) {
			b.diags.Errorf("HF-TGT-001", diag.Range{}, "No such object", "No declared or recorded object matches %q.%s", pattern, didYouMean(pattern, known))
		}
	}
	next := b.needs
	if b.plan.Mode == reconcile.ModeDestroy {
		next = b.users()
	}
	chosen := map[config.Address]bool{}
	for _, a := range known {
		if matchesAny(opts.Exclude, a) {
			chosen[config.Address(b.current(a))] = false // also ends the walk
		}
	}
	for _, a := range known {
		if len(opts.Targets) == 0 || matchesAny(opts.Targets, a) {
			b.choose(config.Address(b.current(a)), chosen, next)
		}
	}
	b.selected = func(a config.Address) bool { return chosen[a] }
}

// known lists every declared and every recorded address, ordered.
func (b *builder) known() []string {
	known := make([]string, 0, len(b.desired))
	for _, d := range b.desired {
		known = append(known, string(d.Address))
	}
	for addr := range b.st.Objects {
		if _, ok := b.byAddr[config.Address(addr)]; !ok {
			known = append(known, addr)
		}
	}
	slices.Sort(known)
	return known
}

// choose adds an object and everything that next leads to, as far as it is not decided already.
func (b *builder) choose(a config.Address, chosen map[config.Address]bool, next func(config.Address) []config.Address) {
	if _, decided := chosen[a]; decided {
		return
	}
	chosen[a] = true
	for _, other := range next(a) {
		b.choose(other, chosen, next)
	}
}

// needs lists what work on an object takes: what it refers to, and the mirrors that make a final pass before a switchover.
func (b *builder) needs(a config.Address) []config.Address {
	i, ok := b.byAddr[a]
	if !ok {
		return nil
	}
	refs := b.references(b.desired[i].Object)
	for _, m := range b.followers[a] {
		refs = append(refs, m.Address)
	}
	return refs
}

// users gives the opposite of references: what would be left without something it refers to.
func (b *builder) users() func(config.Address) []config.Address {
	users := map[config.Address][]config.Address{}
	for _, d := range b.desired {
		for _, ref := range b.references(d.Object) {
			users[ref] = append(users[ref], d.Address)
		}
	}
	return func(a config.Address) []config.Address { return users[a] }
}

// matchAddress matches an address or the block it is an instance of.
func matchAddress(pattern, address string) bool {
	return config.MatchPattern(pattern, address) || config.MatchPattern(pattern, string(config.Address(address).Block()))
}

func matchesAny(patterns []string, address string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matchAddress(p, address) })
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
		if o.Verify != nil {
			put(o.Verify.Window)
		}
	case *config.BackupPlan:
		put(o.Store, o.Window, o.Retention)
		for _, act := range o.Activities {
			for _, d := range b.devices.match(act) {
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
		for _, s := range o.Steps {
			put(s.Targets...)
		}
		put(o.Window)
	}
	return refs
}
