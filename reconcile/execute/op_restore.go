package execute

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"

	"github.com/holdfast-dr/holdfast/providers"
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
	m := c.meter(art.Bytes)
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

type restoreInput struct {
	ID string `json:"id"`
}

// prepareRestore names a restore into a device before anything is changed, so that a device that it was made in knows its repetition.
func prepareRestore(c *call) (any, error) {
	var a reconcile.RestoreArgs
	if err := c.args(&a); err != nil || a.Dir != "" {
		return nil, err
	}
	return restoreInput{ID: c.o.NewID()}, nil
}

// restoreTarget is where a step puts an artifact. An intent of an older version has no ID.
func restoreTarget(a reconcile.RestoreArgs, input json.RawMessage) (artifact.Target, error) {
	var in restoreInput
	if len(input) > 0 {
		if err := json.Unmarshal(input, &in); err != nil {
			return artifact.Target{}, fmt.Errorf("read the name of the restore of %s: %w", a.Artifact, err)
		}
	}
	return artifact.Target{
		Dir: a.Dir, Raw: a.Raw, Include: a.Include, Device: a.Device, Domain: a.Domain, Replace: a.Replace, Lenient: a.Lenient, NumericOwner: a.NumericOwner, ID: in.ID,
	}, nil
}

// restoreArtifact puts the content where it is to go. What is there stays until the content is complete.
func restoreArtifact(ctx context.Context, c *call) (outcome, error) {
	a, art, err := c.restorable(ctx)
	if err != nil {
		return outcome{}, err
	}
	to, err := restoreTarget(a, c.input)
	if err != nil {
		return outcome{}, err
	}
	total := art.Bytes
	if len(a.Include) > 0 {
		total = 0 // of which only what is asked for is read
	}
	m, done := c.meter(total), report{FilesDone: art.Files, BytesDone: art.Bytes}
	var read atomic.Int64
	warnings, err := artifact.Restore(ctx, c.opener(), art, to, func(n int64) { read.Add(n); m.add(0, n) })
	switch {
	case errors.Is(err, providers.ErrNoSpace), errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT): // the store is only read
		return outcome{}, ends(state.Failed, FailedTargetSpace, "restore artifact %s: %s has no room for the content: %s", a.Artifact, cmp.Or(a.Dir, a.Device), c.text(err))
	case err != nil:
		return outcome{}, fmt.Errorf("restore artifact %s: %w", a.Artifact, err)
	}
	if mutant == mutantEarlyForget {
		_ = c.forget(a, c.input)
	}
	for i, w := range warnings {
		warnings[i] = c.redact.Replace(w)
	}
	if len(a.Include) > 0 {
		done = report{BytesDone: read.Load()}
	}
	done.Warnings = warnings
	return outcome{output: &done}, nil
}

// sweep removes what restores left in or beside their targets, when their outcome is recorded: a resume tells by it whether what is
// there is its own.
func (w *work) sweep() (left []string, err error) {
	for i, s := range w.spec.Steps {
		var a reconcile.RestoreArgs
		if s.Op != reconcile.OpArtifactRestore || w.steps[i].State == "" || json.Unmarshal(s.Args, &a) != nil {
			continue
		}
		if mutant != mutantEarlySweep {
			if err := w.flush(); err != nil {
				return nil, err
			}
		}
		err := w.forget(a, w.steps[i].Input)
		if w.base.Err() != nil {
			return nil, errInterrupted
		}
		if err != nil {
			left = append(left, "left behind: "+w.text(err))
		}
	}
	return left, nil
}

// forget has a target forget a restore.
func (w *work) forget(a reconcile.RestoreArgs, input json.RawMessage) error {
	to, err := restoreTarget(a, input)
	switch {
	case err != nil:
		return err
	case to.Dir != "":
		return artifact.Sweep(to.Dir, a.Artifact)
	case to.ID == "":
		return nil
	}
	for n := 0; ; n++ {
		ctx, cancel := context.WithTimeout(w.base, limitLook)
		err := artifact.Forget(ctx, w.opener(), to)
		cancel()
		if err == nil || !providers.Retryable(err) || n == len(retryDelays) || w.o.Sleep(w.base, retryDelays[n]) != nil {
			return err
		}
	}
}
