// Package observe asks devices, stores, mirrors and failover targets what the
// planner wants to know. Every call only reads; none runs a script or changes anything.
package observe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/reconcile/planner"
	"github.com/holdfast-dr/holdfast/state"
)

// Where an inventory came from.
const (
	SourceLive     = "live"
	SourceRecorded = "recorded"
)

const (
	timeout  = 60 * time.Second // of one device, store or target; comparing trees takes what it takes
	patience = 5 * time.Second  // for a call whose time is over, to end by itself
	parallel = 8                // calls under way at one time
	rounds   = 3                // how often answers may lead to new questions
)

// Live answers the planner's questions by looking. What cannot be inspected is in the inventory with its error; only a cancelled context
// is an error.
func Live(ctx context.Context, in planner.Input, opener *providers.Opener) (*reconcile.Inventory, error) {
	inv := &reconcile.Inventory{
		TakenAt: in.Now.UTC(), Source: SourceLive,
		Devices: map[string]reconcile.DeviceSeen{}, Stores: map[string]reconcile.StoreSeen{},
		Mirrors: map[string]reconcile.MirrorSeen{}, Targets: map[string]reconcile.TargetSeen{},
	}
	in.Inventory = inv
	for range rounds {
		questions := planner.Ask(in).Unanswered(inv)
		if questions.Empty() {
			break
		}
		if err := answer(ctx, in, questions, opener, inv); err != nil {
			return nil, err
		}
	}
	return inv, nil
}

func answer(ctx context.Context, in planner.Input, q planner.Questions, opener *providers.Opener, inv *reconcile.Inventory) error {
	var mu sync.Mutex
	var group errgroup.Group
	group.SetLimit(parallel)
	seen := reconcile.Seen{At: in.Now.UTC()}
	for _, a := range q.Devices {
		group.Go(func() error {
			got := within(ctx, func(ctx context.Context) reconcile.DeviceSeen {
				seen := device(ctx, opener, a, seen)
				seen.Covers = covers(in.Doc, opener, a)
				return seen
			},
				reconcile.DeviceSeen{Seen: unanswered(seen), Unavailable: true})
			mu.Lock()
			defer mu.Unlock()
			inv.Devices[a] = got
			return nil
		})
	}
	for _, a := range q.Stores {
		group.Go(func() error {
			got := within(ctx, func(ctx context.Context) reconcile.StoreSeen { return store(ctx, opener, a, seen) },
				reconcile.StoreSeen{Seen: unanswered(seen)})
			mu.Lock()
			defer mu.Unlock()
			inv.Stores[a] = got
			return nil
		})
	}
	for _, a := range q.Targets {
		group.Go(func() error {
			got := within(ctx, func(ctx context.Context) reconcile.TargetSeen { return target(ctx, opener, a, seen) },
				reconcile.TargetSeen{Seen: unanswered(seen)})
			mu.Lock()
			defer mu.Unlock()
			inv.Targets[a] = got
			return nil
		})
	}
	for a, e := range q.Mirrors {
		group.Go(func() error {
			got := mirror(ctx, in.Doc, opener, a, e, seen)
			mu.Lock()
			defer mu.Unlock()
			inv.Mirrors[a] = got
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// within asks with the time limit of a look. A call into a file system whose server is gone does not end with its context; it is
// left behind then, and must not keep everything else from being planned. It only reads.
func within[T any](ctx context.Context, ask func(context.Context) T, silent T) T {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	answers := make(chan T, 1)
	go func() {
		defer cancel()
		answers <- ask(ctx)
	}()
	select {
	case got := <-answers:
		return got
	case <-ctx.Done():
	}
	grace := time.NewTimer(patience)
	defer grace.Stop()
	select {
	case got := <-answers:
		return got
	case <-grace.C:
		return silent
	}
}

// unanswered is what is seen of something that does not even say that it failed.
func unanswered(seen reconcile.Seen) reconcile.Seen {
	seen.Error = fmt.Sprintf("no answer within %s: a mounted file system whose server is gone waits for ever", timeout)
	return seen
}

func device(ctx context.Context, opener *providers.Opener, a string, seen reconcile.Seen) reconcile.DeviceSeen {
	got := reconcile.DeviceSeen{Seen: seen}
	d, err := opener.Device(ctx, a)
	if err == nil {
		var info providers.DeviceInfo
		info, err = d.Inspect(ctx)
		got.Identity, got.Model, got.Firmware, got.Build = info.Identity, info.Model, info.Firmware, info.Build
		got.Domains, got.CanTellUnsaved = info.Domains, info.CanTellUnsaved
		err = errors.Join(err, d.Close())
	}
	if err != nil {
		got.Error = err.Error()
		got.Unavailable = errors.Is(err, providers.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded)
	}
	return got
}

func store(ctx context.Context, opener *providers.Opener, a string, seen reconcile.Seen) reconcile.StoreSeen {
	got := reconcile.StoreSeen{Seen: seen}
	s, err := opener.Store(ctx, a)
	if err == nil {
		var info providers.StoreInfo
		info, err = s.Stat(ctx)
		got.Initialised, got.Identity, got.Empty, got.Mounted = info.Initialised, info.Identity, info.Empty, info.Mounted
		got.Unmounted, got.FreeBytes, got.TotalBytes, got.FreeInodes = info.Unmounted, info.FreeBytes, info.TotalBytes, info.FreeInodes
		got.MinFreeBytes, got.MinFreeInodes = info.MinFreeBytes, info.MinFreeInodes
		got.Epoch = info.Epoch
		for _, h := range info.Heads {
			got.Heads = append(got.Heads, state.Head(h))
		}
		if l := info.Last; l != nil {
			got.Last = &reconcile.StoreEvent{Writer: l.Writer, Seq: l.Seq, Artifact: string(l.Artifact), Named: l.Named, Deleted: l.Deleted}
		}
		err = errors.Join(err, s.Close())
	}
	if err != nil {
		got.Error = err.Error()
	}
	return got
}

func target(ctx context.Context, opener *providers.Opener, a string, seen reconcile.Seen) reconcile.TargetSeen {
	got := reconcile.TargetSeen{Seen: seen}
	t, err := opener.Target(ctx, a)
	if err == nil {
		var st providers.TargetState
		st, err = t.Observe(ctx)
		got.Active, got.Epoch, got.Frozen, got.Broken = st.Active, st.Epoch, st.Frozen, st.Broken
		err = errors.Join(err, t.Close())
	}
	if err != nil {
		got.Error = err.Error()
	}
	return got
}

func mirror(ctx context.Context, doc *config.Document, opener *providers.Opener, a string, e planner.Endpoints, seen reconcile.Seen) reconcile.MirrorSeen {
	got := reconcile.MirrorSeen{Seen: seen, Source: e.Source, Target: e.Target}
	req := providers.MirrorRequest{Mirror: a, Source: e.Source, Target: e.Target, Epoch: e.Epoch}
	if m, ok := config.Lookup[*config.Mirror](doc, config.Address(a)); ok {
		req.Exclude = m.Exclude
	}
	m, err := opener.Mirror(ctx, a, e.Source, e.Target)
	if err == nil {
		var diff providers.MirrorDiff
		diff, err = m.Compare(ctx, req)
		got.First, got.SourceFiles, got.SourceBytes, got.TargetFiles = diff.First, diff.SourceFiles, diff.SourceBytes, diff.TargetFiles
		got.CopyFiles, got.CopyBytes, got.DeleteFiles = diff.CopyFiles, diff.CopyBytes, diff.DeleteFiles
		got.CopySample, got.DeleteSample = diff.CopySample, diff.DeleteSample
		err = errors.Join(err, m.Close())
	}
	if err != nil {
		got.Error, got.Nested = err.Error(), errors.Is(err, providers.ErrNested)
	}
	return got
}

// Recorded gives the inventory that was last written to the state. It contacts nothing. What was never inspected is not in it.
func Recorded(st *state.Snapshot) (*reconcile.Inventory, error) {
	inv := &reconcile.Inventory{
		Source:  SourceRecorded,
		Devices: map[string]reconcile.DeviceSeen{}, Stores: map[string]reconcile.StoreSeen{},
		Mirrors: map[string]reconcile.MirrorSeen{}, Targets: map[string]reconcile.TargetSeen{},
	}
	for address, o := range st.Observations {
		if outdated(st, address, o.At) {
			continue
		}
		var err error
		switch config.Address(address).Kind() {
		case config.KindDevice:
			err = put(inv.Devices, address, o.Body)
		case config.KindStore:
			err = put(inv.Stores, address, o.Body)
		case config.KindMirror:
			err = put(inv.Mirrors, address, o.Body)
		case config.KindFailoverTarget:
			err = put(inv.Targets, address, o.Body)
		}
		if err != nil {
			return nil, fmt.Errorf("read the recorded inventory of %s: %w", address, err)
		}
		if inv.TakenAt.IsZero() || o.At.Before(inv.TakenAt) {
			inv.TakenAt = o.At
		}
	}
	return inv, nil
}

// outdated reports whether holdfast itself changed what was seen since it looked: it initialised the store, moved a role or
// synced the mirror. What was seen before says nothing about the world then.
func outdated(st *state.Snapshot, address string, seen time.Time) bool {
	switch config.Address(address).Kind() {
	case config.KindStore:
		return st.Objects[address].AppliedAt.After(seen)
	case config.KindMirror:
		return st.Positions[address].Finished.After(seen)
	case config.KindFailoverTarget:
		for _, r := range st.Roles {
			if r.Since.After(seen) {
				return true
			}
		}
	}
	return false
}

func put[T any](into map[string]T, address string, body json.RawMessage) error {
	var v T
	if err := json.Unmarshal(body, &v); err != nil {
		return err
	}
	into[address] = v
	return nil
}

// Observations gives an inventory in the form the state keeps.
func Observations(inv *reconcile.Inventory) ([]state.Observation, error) {
	var all []state.Observation
	err := errors.Join(
		observations(&all, inv.TakenAt, inv.Devices),
		observations(&all, inv.TakenAt, inv.Stores),
		observations(&all, inv.TakenAt, inv.Mirrors),
		observations(&all, inv.TakenAt, inv.Targets),
	)
	return all, err
}

func observations[T any](all *[]state.Observation, at time.Time, seen map[string]T) error {
	for address, v := range seen {
		body, err := json.Marshal(v)
		if err != nil {
			return fmt.Errorf("record the inventory of %s: %w", address, err)
		}
		*all = append(*all, state.Observation{Address: address, At: at, Body: body})
	}
	return nil
}
