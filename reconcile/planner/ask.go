package planner

import (
	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/reconcile"
)

// Questions are what the planner wants to know of the world. Keys and entries are addresses.
type Questions struct {
	Devices []string
	Stores  []string
	Targets []string
	Mirrors map[string]Endpoints
}

// Endpoints are the URLs a mirror copies between, and the epoch of the role that gives the direction (0: none does).
type Endpoints struct {
	Source, Target string
	Epoch          int64
}

// Ask says what must be looked at to plan well: only what this plan depends on, not every object. What to ask
// can depend on answers, so a caller may ask again with them until nothing new comes.
func Ask(in Input) Questions {
	b := newBuilder(in)
	b.asking = true
	b.build()
	return Questions{
		Devices: sortedKeys(b.asked.devices), Stores: sortedKeys(b.asked.stores), Targets: sortedKeys(b.asked.targets), Mirrors: b.asked.mirrors,
	}
}

// Empty reports whether there is nothing to look at.
func (q Questions) Empty() bool {
	return len(q.Devices) == 0 && len(q.Stores) == 0 && len(q.Targets) == 0 && len(q.Mirrors) == 0
}

// Unanswered gives the questions an inventory has no entry for.
func (q Questions) Unanswered(inv *reconcile.Inventory) Questions {
	var rest Questions
	for _, a := range q.Devices {
		if _, ok := inv.Devices[a]; !ok {
			rest.Devices = append(rest.Devices, a)
		}
	}
	for _, a := range q.Stores {
		if _, ok := inv.Stores[a]; !ok {
			rest.Stores = append(rest.Stores, a)
		}
	}
	for _, a := range q.Targets {
		if _, ok := inv.Targets[a]; !ok {
			rest.Targets = append(rest.Targets, a)
		}
	}
	for a, e := range q.Mirrors {
		if seen, ok := inv.Mirrors[a]; !ok || seen.Source != e.Source || seen.Target != e.Target {
			if rest.Mirrors == nil {
				rest.Mirrors = map[string]Endpoints{}
			}
			rest.Mirrors[a] = e
		}
	}
	return rest
}

// asked collects what one Build looked up.
type asked struct {
	devices, stores, targets map[string]bool
	mirrors                  map[string]Endpoints
}

func (b *builder) deviceSeen(a config.Address) (reconcile.DeviceSeen, bool) {
	b.asked.devices[string(a)] = true
	seen, ok := b.inv.Devices[string(a)]
	return seen, ok
}

func (b *builder) storeSeen(a config.Address) (reconcile.StoreSeen, bool) {
	b.asked.stores[string(a)] = true
	seen, ok := b.inv.Stores[string(a)]
	return seen, ok
}

func (b *builder) targetSeen(a config.Address) (reconcile.TargetSeen, bool) {
	b.asked.targets[string(a)] = true
	seen, ok := b.inv.Targets[string(a)]
	return seen, ok
}

func (b *builder) mirrorSeen(a config.Address, r route) (reconcile.MirrorSeen, bool) {
	b.asked.mirrors[string(a)] = Endpoints{Source: r.source, Target: r.target, Epoch: r.epoch}
	seen, ok := b.inv.Mirrors[string(a)]
	return seen, ok && seen.Source == r.source && seen.Target == r.target
}
