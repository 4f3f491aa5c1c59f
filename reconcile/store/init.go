package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/state"
)

// Declared is a store as a configuration declares it.
type Declared struct {
	Address string
	Spec    json.RawMessage
	Commit  string
}

// Outcome is what Init did.
type Outcome struct {
	Store    string `json:"store"`
	Identity string `json:"identity"`
	Epoch    int64  `json:"epoch"`
	Done     string `json:"done"` // initialised | adopted | recorded | nothing
}

// What Init did.
const (
	Initialised = "initialised"
	Adopted     = "adopted"
	Recorded    = "recorded" // the place was marked already
	Nothing     = "nothing"
)

func name(address string) string { return config.Address(address).Name() }

// Init marks the place of a store and records it, as an apply that records it for the first time does. With adopt it takes
// over what is there: a place with content becomes the store, an older copy becomes the one that counts, and a store that this state does not
// know is known from then on. It needs the apply lock.
func (k *Keeper) Init(ctx context.Context, l state.Lock, d Declared, adopt bool) (_ Outcome, err error) {
	snap, err := k.Backend.Snapshot(ctx)
	if err != nil {
		return Outcome{}, err
	}
	rec, recorded := snap.Objects[d.Address]
	s, err := k.Opener.Store(ctx, d.Address)
	if err != nil {
		return Outcome{}, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	info, err := s.Stat(ctx)
	if err != nil && !(adopt && errors.Is(err, providers.ErrCorrupt)) {
		return Outcome{}, fmt.Errorf("inspect %s: %w", d.Address, err)
	}
	if info.Unmounted != "" {
		return Outcome{}, fmt.Errorf("%s is not mounted: %s. Nothing was changed. Mount it at its path first", d.Address, info.Unmounted)
	}
	out := Outcome{Store: d.Address, Identity: cmp.Or(rec.Identity, reconcile.StoreIdentity(snap.Meta.Lineage, d.Address))}
	if adopt {
		if !recorded && info.Initialised {
			out.Identity = info.Identity
		}
		if err := mayAdopt(snap, d.Address, out.Identity, info); err != nil {
			return out, err
		}
		out.Done = Adopted
		err = s.Adopt(ctx, out.Identity)
	} else {
		if out.Done, err = mayInit(snap, d.Address, out.Identity, info); err != nil || out.Done == Nothing {
			out.Epoch = info.Epoch
			return out, err
		}
		switch {
		case out.Done == Recorded:
		case recorded: // another place takes its place: what was there before is an older copy from now on
			err = s.Adopt(ctx, out.Identity)
		default:
			err = s.Init(ctx, out.Identity)
		}
	}
	if err != nil {
		return out, fmt.Errorf("initialise %s: %w", d.Address, err)
	}
	if info, err = s.Stat(ctx); err != nil {
		return out, fmt.Errorf("inspect %s: %w", d.Address, err)
	}
	out.Epoch = info.Epoch
	return out, k.record(ctx, l, d, rec, out, info)
}

// mayInit says what initialising without adopting comes to.
func mayInit(snap *state.Snapshot, address, identity string, info providers.StoreInfo) (done string, err error) {
	rec, recorded := snap.Objects[address]
	good := tally(snap, address)[state.ArtifactGood].Count
	m := reconcile.Mark(rec).Misfit(address, mark(info))
	switch {
	case info.Initialised && recorded && m != nil:
		return "", fmt.Errorf("%s %s: %s", address, m.Summary, m.Detail)
	case info.Initialised && recorded && rec.Epoch != 0:
		return Nothing, nil
	case info.Initialised && info.Identity == identity:
		return Recorded, nil
	case info.Initialised:
		return "", fmt.Errorf("the place of %s is a store already, with the identity %s, which this state did not give it. If the state that did is lost, take it over with what is in it: holdfast store init --adopt %s",
			address, info.Identity, name(address))
	case !info.Empty:
		return "", fmt.Errorf("the place of %s: %w. To make it a store and leave what is there: holdfast store init --adopt %s", address, providers.ErrNotEmpty, name(address))
	case good > 0:
		return "", fmt.Errorf("the place of %s is empty, and %d good artifacts are recorded in it: it is more likely not mounted. Mount it; or, if its content is lost, begin anew: holdfast store init --adopt %s",
			address, good, name(address))
	}
	return Initialised, nil
}

// mayAdopt refuses what would give one place two owners in this state, or one record two places.
func mayAdopt(snap *state.Snapshot, address, identity string, info providers.StoreInfo) error {
	if info.Initialised && info.Identity != identity {
		return fmt.Errorf("the place of %s is another store: it carries the identity %s, recorded is %s. Nothing was changed. To use that store, declare it under another name and adopt it there",
			address, info.Identity, identity)
	}
	for _, other := range slices.Sorted(maps.Keys(snap.Objects)) {
		if other != address && identity != "" && snap.Objects[other].Identity == identity {
			return fmt.Errorf("the place of %s is %s, which is recorded with the identity %s. Nothing was changed", address, other, identity)
		}
	}
	return nil
}

// record writes what the place carries now.
func (k *Keeper) record(ctx context.Context, l state.Lock, d Declared, rec state.Object, out Outcome, info providers.StoreInfo) error {
	c := state.Change{
		Op: state.OpPut, Address: d.Address, IfGeneration: rec.Generation, Spec: rec.Spec, Digest: rec.Digest, Protect: rec.Protect, Commit: rec.Commit,
		Identity: out.Identity, Epoch: info.Epoch, Heads: heads(info), By: k.Actor, At: k.Now(),
	}
	if rec.Address == "" {
		c.Spec, c.Digest, c.Protect, c.Commit = d.Spec, config.Digest(d.Spec), true, d.Commit
	}
	if _, err := k.Backend.Record(ctx, l, []state.Change{c}, nil); err != nil {
		return fmt.Errorf("record %s, whose place carries epoch %d now: %w", d.Address, info.Epoch, err)
	}
	detail, err := json.Marshal(out)
	if err != nil {
		return err
	}
	return k.Backend.Log(ctx, k.Now(), k.Actor, "store init", d.Address, detail)
}
