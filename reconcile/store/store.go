// Package store looks after the places of stores: it marks them, compares them with the record, and rebuilds the record of
// artifacts from a store alone. What may change in the record is judged by the state; here is only the way to it.
package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/state"
)

// Keeper works on the stores of one state. All fields are required.
type Keeper struct {
	Backend state.Backend
	Opener  *providers.Opener // opens stores with their recorded identity and epoch
	Now     func() time.Time
	Actor   string
}

// Tally counts artifacts.
type Tally struct {
	Count int   `json:"count"`
	Bytes int64 `json:"bytes"`
}

// Status is how a store stands: what its place shows beside what is recorded.
type Status struct {
	Store    string                        `json:"store"` // address
	Recorded bool                          `json:"recorded"`
	Identity string                        `json:"recorded_identity,omitempty"`
	Epoch    int64                         `json:"recorded_epoch,omitempty"`
	Heads    []state.Head                  `json:"recorded_heads,omitempty"`
	Place    providers.StoreInfo           `json:"place"`
	Records  map[state.ArtifactState]Tally `json:"artifacts"` // recorded in it, by state
	Problems []string                      `json:"problems"`  // what does not fit, in full sentences
}

// Status looks at a store. What is wrong with it is in the status; an error is one of the state.
func (k *Keeper) Status(ctx context.Context, snap *state.Snapshot, address string) Status {
	rec, recorded := snap.Objects[address]
	st := Status{
		Store: address, Recorded: recorded, Identity: rec.Identity, Epoch: rec.Epoch, Heads: rec.Heads,
		Records: tally(snap, address), Problems: []string{},
	}
	info, err := k.look(ctx, address)
	if info.Unmounted != "" { // what is free there is of another file system
		info.FreeBytes, info.TotalBytes, info.FreeInodes = -1, -1, -1
	}
	st.Place = info
	if info.Unmounted != "" && err == nil {
		st.Problems = append(st.Problems, "It is not mounted: "+info.Unmounted+". Mount it at its path.")
	}
	m := reconcile.Mark(rec).Misfit(address, mark(info))
	if m == nil && recorded {
		m = reconcile.Behind(snap, address, last(info))
	}
	switch {
	case err != nil:
		st.Problems = append(st.Problems, fmt.Sprintf("It cannot be inspected: %v.", err))
	case !recorded && info.Unmounted != "":
		st.Problems = append(st.Problems, "It is declared and not recorded yet: once it is mounted, apply the configuration, or mark it with holdfast store init "+name(address)+".")
	case !recorded:
		st.Problems = append(st.Problems, "It is declared and not recorded yet: apply the configuration, or mark it now with holdfast store init "+name(address)+".")
	case !info.Initialised && info.Unmounted != "":
	case !info.Initialised:
		st.Problems = append(st.Problems, "Its place carries no identity: it is not mounted, was emptied, or moved.")
	case m != nil:
		st.Problems = append(st.Problems, fmt.Sprintf("It %s. %s", m.Summary, m.Detail))
	}
	if err == nil && info.Initialised {
		st.Problems = append(st.Problems, lostHeads(rec.Heads, heads(info))...)
	}
	if err == nil && info.Initialised && info.FreeBytes == 0 {
		st.Problems = append(st.Problems, "It has no space left.")
	}
	return st
}

func (k *Keeper) look(ctx context.Context, address string) (info providers.StoreInfo, err error) {
	s, err := k.Opener.Store(ctx, address)
	if err != nil {
		return info, err
	}
	info, err = s.Stat(ctx)
	return info, errors.Join(err, s.Close())
}

// lostHeads tells of writers whose part of the catalogue is not vouched for any more.
func lostHeads(recorded, seen []state.Head) []string {
	var lost []string
next:
	for _, h := range recorded {
		for _, s := range seen {
			if s.Writer == h.Writer {
				continue next
			}
		}
		lost = append(lost, fmt.Sprintf("The head of writer %s of its catalogue is gone; entry %d was seen.", h.Writer, h.Seq))
	}
	return lost
}

func tally(snap *state.Snapshot, address string) map[state.ArtifactState]Tally {
	all := map[state.ArtifactState]Tally{}
	for _, a := range snap.Catalogue {
		if a.Store == address {
			t := all[a.State]
			t.Count++
			t.Bytes += a.Bytes
			all[a.State] = t
		}
	}
	return all
}

func last(info providers.StoreInfo) *reconcile.StoreEvent {
	if info.Last == nil {
		return nil
	}
	return &reconcile.StoreEvent{Writer: info.Last.Writer, Seq: info.Last.Seq, Artifact: string(info.Last.Artifact), Named: info.Last.Named, Deleted: info.Last.Deleted}
}

func mark(info providers.StoreInfo) reconcile.StoreMark {
	return reconcile.StoreMark{Identity: info.Identity, Epoch: info.Epoch, Heads: heads(info)}
}

func heads(info providers.StoreInfo) []state.Head {
	all := []state.Head{}
	for _, h := range info.Heads {
		all = append(all, state.Head(h))
	}
	return all
}
