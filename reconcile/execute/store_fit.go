package execute

import (
	"context"
	"fmt"
	"slices"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/state"
)

// misfit ends a task whose store is not the one that was recorded when the plan was made: another one, an older copy, or one
// that somebody else took over.
func (c *call) misfit(address string, info providers.StoreInfo) *verdict {
	spec := c.plan.Objects[address]
	if !info.Initialised {
		return ends(state.Failed, FailedStoreIdentity, "%s is not there: its place carries no identity, recorded is %q", address, spec.Identity)
	}
	want := reconcile.StoreMark{Identity: spec.Identity, Epoch: spec.Epoch, Heads: spec.Heads}
	if m := want.Misfit(address, reconcile.StoreMark{Identity: info.Identity, Epoch: info.Epoch, Heads: heads(info)}); m != nil {
		return ends(state.Failed, FailedStoreIdentity, "%s %s: %s", address, m.Summary, m.Detail)
	}
	return nil
}

// isRecorded compares the place of a store with what is recorded now: a plan of a restore has no bounds, since a restore may read an older copy.
func (c *call) isRecorded(ctx context.Context, address string, info providers.StoreInfo) error {
	snap, err := c.o.Backend.Snapshot(ctx)
	if err != nil {
		return fmt.Errorf("read the record of %s: %w", address, err)
	}
	seen := reconcile.StoreMark{Identity: info.Identity, Epoch: info.Epoch, Heads: heads(info)}
	if m := reconcile.Mark(snap.Objects[address]).Misfit(address, seen); m != nil {
		return ends(state.Failed, FailedStoreIdentity, "%s %s: %s", address, m.Summary, m.Detail)
	}
	return nil
}

func heads(info providers.StoreInfo) []state.Head {
	all := []state.Head{}
	for _, h := range info.Heads {
		all = append(all, state.Head(h))
	}
	return all
}

// sights is what was seen of a store, for the record.
func sights(address string, info providers.StoreInfo) []state.StoreSight {
	return []state.StoreSight{{Store: address, Epoch: info.Epoch, Heads: heads(info)}}
}

// sightsBefore is what was seen of a store before anything was written to it. How far its own entries go a state knows because it had them
// written, and never by looking: that is how one that is older than its store is told.
func sightsBefore(address string, info providers.StoreInfo) []state.StoreSight {
	seen := sights(address, info)
	if info.Last != nil {
		seen[0].Heads = slices.DeleteFunc(seen[0].Heads, func(h state.Head) bool { return h.Writer == info.Last.Writer })
	}
	return seen
}

// sightsAfter looks at a store after it was changed, so that a copy from before is told apart. Not being able to look is
// no reason to call the change a failure.
func sightsAfter(ctx context.Context, s providers.Store, address string) []state.StoreSight {
	info, err := s.Stat(ctx)
	if err != nil {
		return nil
	}
	return sights(address, info)
}
