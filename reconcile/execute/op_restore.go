package execute

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/reconcile/artifact"
	"github.com/holdfast-dr/holdfast/state"
)

// restorable gives the arguments of a step of a restore and the record of its artifact, which must still be in the state that was
// planned with.
func (c *call) restorable(ctx context.Context) (a reconcile.RestoreArgs, art state.Artifact, err error) {
	if err := c.args(&a); err != nil {
		return a, art, err
	}
	art, err = c.recorded(ctx, a.Artifact, a.Store)
	if err == nil && art.State != a.State {
		err = ends(state.Failed, CancelledStale, "artifact %s is %s now, and was %s when the restore was planned", a.Artifact, art.State, a.State)
	}
	return a, art, err
}

// checkRestore reads every stored byte before anything is touched. An artifact that is damaged is quarantined.
func checkRestore(ctx context.Context, c *call) (outcome, error) {
	a, art, err := c.restorable(ctx)
	if err != nil {
		return outcome{}, err
	}
	m := c.meter()
	reading, err := artifact.ReadBack(ctx, c.opener(), art, c.isRecorded, c.o.Now, func(n int64) { m.add(0, n) })
	if reading == nil {
		return outcome{}, fmt.Errorf("check artifact %s in %s: %w", a.Artifact, a.Store, err)
	}
	entry := state.Entry{Readings: []state.Reading{*reading}}
	if err != nil {
		entry.Readings[0].Error = c.text(err)
		return outcome{entry: entry}, ends(state.Failed, FailedVerify, "artifact %s in %s is damaged: %s", a.Artifact, a.Store, c.text(err))
	}
	return outcome{output: &report{Note: fmt.Sprintf("%d files read", art.Files)}, entry: entry}, nil
}

// restoreArtifact puts the content where it is to go. What is there stays until the content is complete.
func restoreArtifact(ctx context.Context, c *call) (outcome, error) {
	a, art, err := c.restorable(ctx)
	if err != nil {
		return outcome{}, err
	}
	m := c.meter()
	to := artifact.Target{Dir: a.Dir, Raw: a.Raw, Device: a.Device, Domain: a.Domain, Replace: a.Replace}
	warnings, err := artifact.Restore(ctx, c.opener(), art, to, func(n int64) { m.add(0, n) })
	if err != nil {
		return outcome{}, fmt.Errorf("restore artifact %s: %w", a.Artifact, err)
	}
	for i, w := range warnings {
		warnings[i] = c.redact.Replace(w)
	}
	return outcome{output: &report{FilesDone: art.Files, BytesDone: art.Bytes, Warnings: warnings}}, nil
}

// sweep removes what restores into directories left beside them, when their outcome is recorded: a resume tells by it whether the
// directory is its own.
func (w *work) sweep() (left []string, err error) {
	for i, s := range w.spec.Steps {
		var a reconcile.RestoreArgs
		if s.Op != reconcile.OpArtifactRestore || w.steps[i].State == "" || json.Unmarshal(s.Args, &a) != nil || a.Dir == "" {
			continue
		}
		if mutant != mutantEarlySweep {
			if err := w.flush(); err != nil {
				return nil, err
			}
		}
		if err := artifact.Sweep(a.Dir, a.Artifact); err != nil {
			left = append(left, "left behind: "+w.text(err))
		}
	}
	return left, nil
}
