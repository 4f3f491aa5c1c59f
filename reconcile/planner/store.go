package planner

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/state"
)

// storeIdentity is what a store's place is marked with: the recorded one, or one made from the state's lineage and the
// address, so that planning again gives the same.
func (b *builder) storeIdentity(a config.Address) string {
	if rec, ok := b.recorded[string(a)]; ok && rec.Identity != "" {
		return rec.Identity
	}
	return reconcile.StoreIdentity(b.st.Meta.Lineage, string(a))
}

// initStores plans the marking of places that are recorded for the first time.
func (b *builder) initStores() {
	for i, c := range b.plan.Changes {
		addr := config.Address(c.Address)
		if c.Action != reconcile.Create || addr.Kind() != config.KindStore {
			continue
		}
		store, ok := config.Lookup[*config.Store](b.doc, addr)
		if !ok {
			continue
		}
		seen, known := b.storeSeen(addr)
		switch {
		case known && seen.Error != "":
			b.errorf(addr, "HF-STO-001", store.Range, "The store cannot be inspected", "%s: %s.", addr, seen.Error)
			continue
		case known && !seen.Mounted && mustBeMounted(store):
			b.errorf(addr, "HF-STO-005", store.Range, "The store is not mounted",
				"%s demands a mounted file system (mount { required = true }), but its place is not a mount point. Mount it, then plan again.", addr)
			continue
		case known && seen.Initialised && seen.Identity != c.Identity:
			b.errorf(addr, "HF-STO-002", store.Range, "The place belongs to another store",
				"The place of %s carries the identity %s, which this state did not give it. Choose another path, or restore the state that recorded it. If that state is lost, take the store over with what is in it: holdfast store init --adopt %s",
				addr, seen.Identity, addr.Name())
			continue
		case known && !seen.Initialised && !seen.Empty:
			b.errorf(addr, "HF-STO-003", store.Range, "The place is not empty",
				"The place of %s holds files and is no holdfast store. Choose an empty or absent directory. To make it a store and leave what is there: holdfast store init --adopt %s", addr, addr.Name())
			continue
		case known && seen.Initialised:
			b.plan.Changes[i].Note = "is a store already, with this identity"
		case known:
			b.plan.Changes[i].Note = "will be initialised"
		default:
			b.plan.Changes[i].Note = "will be initialised if it is empty: known after inspection"
			b.plan.Complete = false
		}
		b.use(addr)
		b.stores[addr] = b.add(reconcile.Action{
			Address: c.Address, Kind: reconcile.ActionStore, Class: reconcile.ClassSafe, Reason: "recorded for the first time", Trigger: state.TriggerApply,
			Summary: "initialise",
			Tasks: []reconcile.Task{{
				Kind: "store", Stage: reconcile.StageWork, Device: c.Address, Locks: []string{lockName(addr)},
				Steps: []reconcile.Step{reconcile.NewStep("init", reconcile.OpStoreInit, state.Rerun, reconcile.StoreArgs{Store: c.Address, Identity: c.Identity})},
			}},
		})
	}
}

// mustBeMounted reports whether a store's provider is told to demand a mount. The planner reads this setting of a provider, so that a store that
// is not mounted is refused when it is planned, and not when it is initialised.
func mustBeMounted(s *config.Store) bool {
	var settings struct {
		Mount *struct {
			Required bool `json:"required"`
		} `json:"mount"`
	}
	body, err := json.Marshal(s.Settings)
	return err == nil && json.Unmarshal(body, &settings) == nil && settings.Mount != nil && settings.Mount.Required
}

// storeDrift reports recorded stores that are not what was recorded.
func (b *builder) storeDrift() {
	for _, s := range all[*config.Store](b) {
		rec, ok := b.recorded[string(s.Address)]
		if !ok || !b.wants(s.Address) {
			continue
		}
		seen, known := b.storeSeen(s.Address)
		if !known {
			continue
		}
		drift := reconcile.Drift{Address: string(s.Address)}
		switch {
		case seen.Error != "":
			drift.Summary = "cannot be inspected"
			drift.Detail = seen.Error
		case seen.Unmounted != "" && b.replacement(s.Address) == nil:
			drift.Summary = "is not mounted"
			drift.Detail = seen.Unmounted + ". Backups into it will fail until it is mounted."
		case seen.Initialised && seen.Identity == rec.Identity && b.misfit(s.Address) != nil:
			m := b.misfit(s.Address)
			drift.Summary, drift.Detail = m.Summary, m.Detail
		case seen.Initialised && seen.Identity == rec.Identity:
			if c := b.replacement(s.Address); c != nil {
				c.Class, c.Note = reconcile.ClassSafe, "the new place is this store already"
			}
			continue
		case b.replacement(s.Address) != nil:
			b.errorf(s.Address, "HF-STO-004", s.Range, "The new place is not this store",
				"%s is to be at another place, which does not carry its identity %s. Copy the old place there first, all of it. For an empty store, declare one with another name.",
				s.Address, rec.Identity)
			continue
		case !seen.Initialised:
			drift.Summary = "is not there"
			drift.Detail = "Its place carries no marker: not mounted, emptied, or moved. Backups into it will fail until it is back."
		default:
			drift.Summary = "is another store"
			drift.Detail = fmt.Sprintf("Its place carries the identity %s; recorded is %s. Nothing is written to it.", seen.Identity, rec.Identity)
		}
		b.plan.Drift = append(b.plan.Drift, drift)
	}
}

// replacement is the change that puts a recorded store at another place, or nil.
func (b *builder) replacement(a config.Address) *reconcile.Change {
	i := slices.IndexFunc(b.plan.Changes, func(c reconcile.Change) bool { return c.Address == string(a) && touches(c.Paths, "path", "type") })
	if i < 0 {
		return nil
	}
	return &b.plan.Changes[i]
}

// lockName is the lock that work on an object takes: "store/nas".
func lockName(a config.Address) string { return a.Kind() + "/" + a.Name() }

// misfit gives why the place of a recorded store was not seen to be that store, or nil.
func (b *builder) misfit(a config.Address) *reconcile.Misfit {
	rec, recorded := b.recorded[string(a)]
	seen, known := b.storeSeen(a)
	if !recorded || !known || !seen.Initialised {
		return nil
	}
	if m := reconcile.Mark(rec).Misfit(string(a), seen.Mark()); m != nil {
		return m
	}
	return reconcile.Behind(b.st, rec.Address, seen.Last)
}

// behind says why nothing may be written to a store that is the recorded one; empty: it may.
func (b *builder) behind(a config.Address) string {
	rec, recorded := b.recorded[string(a)]
	seen, known := b.storeSeen(a)
	if !recorded || !known || !seen.Initialised {
		return ""
	}
	if m := reconcile.Behind(b.st, rec.Address, seen.Last); m != nil {
		return fmt.Sprintf("%s %s: %s", a, m.Summary, m.Detail)
	}
	return ""
}
