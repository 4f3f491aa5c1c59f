package execute

import (
	"context"
	"fmt"
	"time"

	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/reconcile/artifact"
	"github.com/holdfast-dr/holdfast/state"
)

// expiring gives the arguments of a step on an artifact that is to go, and its record. During a hold nothing goes, also what was begun.
func (c *call) expiring(ctx context.Context) (a reconcile.ExpireArgs, art state.Artifact, err error) {
	if err := c.args(&a); err != nil {
		return a, art, err
	}
	meta, err := c.o.Backend.Meta(ctx)
	switch {
	case err != nil:
		return a, art, fmt.Errorf("read whether deletions are held: %w", err)
	case meta.Hold.Holds(c.o.Now()):
		return a, art, ends(state.Cancelled, CancelledHold, "nothing is deleted before %s (%s)", meta.Hold.Until.UTC().Format(time.RFC3339), meta.Hold.Reason)
	}
	art, err = c.recorded(ctx, a.Artifact, a.Store)
	return a, art, err
}

// expire records that the deletion of an artifact begins. Whether it may is judged in the transaction that records it. What
// a person pinned since the plan was made, or deleted otherwise, is left alone.
func expire(ctx context.Context, c *call) (outcome, error) {
	a, art, err := c.expiring(ctx)
	switch {
	case err != nil:
		return outcome{}, err
	case art.State == state.ArtifactDeleted:
		return outcome{output: &report{Note: "deleted already"}, skipped: true}, nil
	case art.Pinned && art.State != state.ArtifactExpiring:
		return outcome{}, ends(state.Skipped, SkippedPinned, "artifact %s is pinned", a.Artifact)
	}
	if mutant == mutantBlindDelete {
		return outcome{output: &report{}}, nil
	}
	return outcome{output: &report{}, entry: state.Entry{Expire: []state.Expiry{{Artifact: a.Artifact, Newer: a.Newer, Objects: a.Objects, Asked: a.Asked, Last: a.Last}}}}, nil
}

// remove deletes an artifact whose deletion was recorded to begin. The store finishes what an earlier attempt left.
func remove(ctx context.Context, c *call) (outcome, error) {
	a, art, err := c.expiring(ctx)
	switch {
	case err != nil:
		return outcome{}, err
	case art.State == state.ArtifactDeleted:
		return outcome{output: &report{Note: "deleted already"}, skipped: true}, nil
	case art.State != state.ArtifactExpiring && mutant != mutantBlindDelete:
		return outcome{}, ends(state.Failed, Failed, "artifact %s is %s: its deletion was not begun", a.Artifact, art.State)
	}
	m, err := artifact.Manifest(art)
	if err != nil {
		return outcome{}, err
	}
	store, err := c.opener().Store(ctx, a.Store)
	if err != nil {
		return outcome{}, fmt.Errorf("open %s: %w", a.Store, err)
	}
	defer store.Close()
	if err := store.Delete(ctx, m.ArtifactRef); err != nil {
		return outcome{}, fmt.Errorf("delete artifact %s from %s: %w", a.Artifact, a.Store, err)
	}
	entry := state.Entry{Deleted: []string{a.Artifact}, Sights: sightsAfter(ctx, store, a.Store)}
	return outcome{output: &report{FilesDone: art.Files, BytesDone: art.Bytes}, entry: entry}, nil
}
