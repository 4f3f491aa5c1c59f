package execute

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/ahead"
	"github.com/holdfast-dr/holdfast/providers/priority"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/state"
)

type inspectOutput struct {
	report
	Info providers.DeviceInfo `json:"info"`
}

// inspect asks a device who it is. One that is not there skips its task, unless somebody asked for just this one.
func inspect(ctx context.Context, c *call) (outcome, error) {
	var a reconcile.DeviceArgs
	if err := c.args(&a); err != nil {
		return outcome{}, err
	}
	d, err := c.opener().Device(ctx, a.Device)
	if err != nil {
		return outcome{}, fmt.Errorf("open %s: %w", a.Device, err)
	}
	defer d.Close()
	info, err := d.Inspect(ctx)
	switch {
	case errors.Is(err, providers.ErrUnavailable) && c.spec.Kind != "restore" && !(providers.Retryable(err) && c.retries[c.index] < len(retryDelays)):
		return outcome{}, ends(state.Skipped, SkippedUnavailable, "inspect %s: %v", a.Device, err)
	case err != nil:
		return outcome{}, fmt.Errorf("inspect %s: %w", a.Device, err)
	}
	return outcome{output: &inspectOutput{Info: info}}, nil
}

// deviceSpace asks whether the device has the room it needs to put the backup together. One that does not tell is backed up all the
// same, with a warning: no backup would be worse.
func deviceSpace(ctx context.Context, c *call) (outcome, error) {
	var a reconcile.SpaceArgs
	if err := c.args(&a); err != nil {
		return outcome{}, err
	}
	var st providers.DomainState
	err := c.onDevice(ctx, a.Device, func(d providers.Device) (err error) {
		st, err = d.DomainState(ctx, providers.AllDomains)
		return err
	})
	switch {
	case err != nil && !errors.Is(err, errors.ErrUnsupported):
		return outcome{}, fmt.Errorf("read the free space of %s: %w", a.Device, err)
	case err != nil || st.FreeBytes == nil:
		return outcome{output: &report{Warnings: []string{fmt.Sprintf("%s does not tell how much space it has free, so min_free was not checked", a.Device)}}}, nil
	case *st.FreeBytes < int64(a.MinFree):
		return outcome{}, ends(state.Failed, FailedDeviceSpace, "%s has %d bytes free and min_free is %s. Remove old files from the device, or lower min_free", a.Device, *st.FreeBytes, a.MinFree)
	}
	return outcome{output: &report{Note: fmt.Sprintf("%d bytes free on the device", *st.FreeBytes)}}, nil
}

type captureInput struct {
	ID      providers.ArtifactID `json:"id"`
	Started time.Time            `json:"started"`
}

type captureOutput struct {
	report
	Files    []providers.File        `json:"files"`
	Result   providers.CaptureResult `json:"result"`
	Finished time.Time               `json:"finished"`
}

// prepareCapture names the artifact before anything is written, so that a repeated capture finds and replaces what its
// former life left.
func prepareCapture(c *call) (any, error) {
	return captureInput{ID: providers.ArtifactID(c.o.NewID()), Started: c.o.Now().UTC().Truncate(time.Millisecond)}, nil
}

// artifact gives the arguments of a step on an artifact and the reference that its capture made.
func (c *call) artifact() (a reconcile.CaptureArgs, ref providers.ArtifactRef, err error) {
	if err := c.args(&a); err != nil {
		return a, ref, err
	}
	input := c.input
	if c.step.Op != reconcile.OpDeviceCapture {
		s, err := c.result(reconcile.OpDeviceCapture, &captureOutput{})
		if err != nil {
			return a, ref, err
		}
		input = s.Input
	}
	ref, err = refOf(a, input)
	return a, ref, err
}

func refOf(a reconcile.CaptureArgs, input json.RawMessage) (providers.ArtifactRef, error) {
	var in captureInput
	if err := json.Unmarshal(input, &in); err != nil || in.ID == "" {
		return providers.ArtifactRef{}, fmt.Errorf("the journal does not name the artifact of %s", a.Device)
	}
	return providers.ArtifactRef{
		ID: in.ID, Device: name(a.Device), Domain: a.Domain,
		Action: providers.Action(a.Action), Variant: providers.Variant(a.Variant), Started: in.Started,
	}, nil
}

func capture(ctx context.Context, c *call) (outcome, error) {
	a, ref, err := c.artifact()
	if err != nil {
		return outcome{}, err
	}
	if wanted, err := c.wanted(a); err != nil || !wanted {
		return saved(), err
	}
	store, err := c.opener().Store(ctx, a.Store)
	if err != nil {
		return outcome{}, fmt.Errorf("open %s: %w", a.Store, err)
	}
	defer store.Close()
	device, err := c.opener().Device(ctx, a.Device)
	if err != nil {
		return outcome{}, fmt.Errorf("open %s: %w", a.Device, err)
	}
	defer device.Close()
	stage, err := store.Stage(ctx, ref)
	if err != nil {
		return outcome{}, fmt.Errorf("stage in %s: %w", a.Store, err)
	}
	c.space.writing(c.rec.ID, a.Store, c.spec.Estimate, stage)
	ctx = priority.With(ctx, priority.Priority{Nice: a.Nice, IONice: a.IONice})
	to := &sink{Stage: stage, meter: c.meter(c.spec.Estimate), ctx: ctx, rate: int64(a.Bandwidth)}
	place, err := c.opener().Place(a.Store)
	if err != nil {
		return outcome{}, err
	}
	res, err := device.Capture(ctx, providers.CaptureRequest{Action: ref.Action, Domain: ref.Domain, Variant: ref.Variant, Leave: place}, to)
	switch {
	case errors.Is(err, providers.ErrNoSpace) && !to.failed:
		return outcome{}, ends(state.Failed, FailedDeviceSpace, "capture %s: %v", a.Device, err)
	case err != nil:
		return outcome{}, fmt.Errorf("capture %s: %w", a.Device, err)
	}
	files := stage.Files()
	if len(files) == 0 {
		return outcome{}, fmt.Errorf("capture %s gave no file: %w", a.Device, providers.ErrTooSmall)
	}
	return outcome{output: &captureOutput{
		report: report{Warnings: res.Warnings}, Files: files, Result: res, Finished: c.o.Now().UTC(),
	}}, nil
}

// verify reads every byte back from the store.
func verify(ctx context.Context, c *call) (out outcome, err error) {
	if wanted, err := c.captured(); err != nil || !wanted {
		return saved(), err
	}
	c.space.release(c.rec.ID) // every capture of the task has ended
	a, ref, err := c.artifact()
	if err != nil {
		return out, err
	}
	var captured captureOutput
	if _, err := c.result(reconcile.OpDeviceCapture, &captured); err != nil {
		return out, err
	}
	out.output = &report{Note: fmt.Sprintf("%d files read back", len(captured.Files))}
	if mutant == mutantEarlyRecord {
		art := c.record(a, providers.Manifest{ArtifactRef: ref, Files: captured.Files})
		art.Verified = c.o.Now()
		out.entry.Artifacts = []state.Artifact{art}
	}
	if mutant == mutantNoVerify {
		return out, nil
	}
	store, err := c.opener().Store(ctx, a.Store)
	if err != nil {
		return out, fmt.Errorf("open %s: %w", a.Store, err)
	}
	defer store.Close()
	meter := c.meter(providers.Manifest{Files: captured.Files}.Size())
	for _, f := range captured.Files {
		r, err := store.Staged(ctx, ref.ID, f.Name)
		if err != nil {
			return out, fmt.Errorf("read %s back from %s: %w", f.Name, a.Store, err)
		}
		sum := sha256.New()
		content := ahead.NewReader(&cancellable{ctx, r}, sum)
		n, err := content.WriteTo(meter)
		content.Close()
		r.Close()
		if err != nil {
			return out, fmt.Errorf("read %s back from %s: %w", f.Name, a.Store, err)
		}
		if got := hex.EncodeToString(sum.Sum(nil)); n != f.Size || got != f.SHA256 {
			return out, ends(state.Failed, FailedVerify, "%s in %s is not what was written: %d bytes with SHA-256 %s, want %d with %s", f.Name, a.Store, n, got, f.Size, f.SHA256)
		}
	}
	return out, nil
}

func commit(ctx context.Context, c *call) (outcome, error) {
	if wanted, err := c.captured(); err != nil || !wanted {
		return saved(), err
	}
	a, ref, err := c.artifact()
	if err != nil {
		return outcome{}, err
	}
	var captured captureOutput
	if _, err := c.result(reconcile.OpDeviceCapture, &captured); err != nil {
		return outcome{}, err
	}
	store, err := c.opener().Store(ctx, a.Store)
	if err != nil {
		return outcome{}, fmt.Errorf("open %s: %w", a.Store, err)
	}
	defer store.Close()
	span := c.quiesced()
	if span != nil {
		captured.Result.Consistency = "quiesced"
	}
	manifest := providers.Manifest{
		Schema: 1, ArtifactRef: ref, Files: captured.Files,
		BackupPlan: a.BackupPlan, Activity: a.Activity, Run: c.rec.Run, Task: c.rec.ID, Nominal: a.Nominal,
		Commit: c.plan.Config.Commit, Version: c.o.Version, DeviceType: c.plan.Objects[a.Device].Type,
		DeviceInfo: c.deviceInfo(a.Device), Result: captured.Result, Quiesced: span, Finished: captured.Finished,
	}
	m, err := store.Commit(ctx, manifest)
	if err != nil {
		// An error after the commit point: what is published is published.
		if out, done, checkErr := checkCommit(ctx, c); checkErr == nil && done {
			return out, nil
		}
		return outcome{}, fmt.Errorf("commit to %s: %w", a.Store, err)
	}
	return c.committed(a, m, sightsAfter(ctx, store, a.Store)), nil
}

func checkCommit(ctx context.Context, c *call) (outcome, bool, error) {
	if wanted, err := c.captured(); err != nil || !wanted {
		return saved(), err == nil, err
	}
	a, ref, err := c.artifact()
	if err != nil {
		return outcome{}, false, err
	}
	store, err := c.opener().Store(ctx, a.Store)
	if err != nil {
		return outcome{}, false, fmt.Errorf("open %s: %w", a.Store, err)
	}
	defer store.Close()
	m, err := store.Get(ctx, ref)
	switch {
	case errors.Is(err, providers.ErrNotFound):
		return outcome{}, false, nil
	case err != nil:
		return outcome{}, false, fmt.Errorf("look for the artifact in %s: %w", a.Store, err)
	}
	// The process may have died between the commit point and what comes after it.
	_, unfinished := store.Commit(ctx, m)
	if unfinished != nil && ctx.Err() != nil {
		return outcome{}, false, fmt.Errorf("finish the commit to %s: %w", a.Store, unfinished)
	}
	var warnings []string
	if unfinished != nil {
		warnings = []string{fmt.Sprintf("the artifact is committed, and the store's catalogue may not know it yet. The next backup there makes up for it, or holdfast store check %s --sweep: %s",
			name(a.Store), c.text(unfinished))}
	}
	return c.committed(a, m, sightsAfter(ctx, store, a.Store), warnings...), true, nil
}

func (c *call) committed(a reconcile.CaptureArgs, m providers.Manifest, sights []state.StoreSight, warnings ...string) outcome {
	done := &report{FilesDone: len(m.Files), BytesDone: m.Size(), Warnings: warnings}
	if a.Variant != reconcile.Nonpersisted { // its source is that of the persisted one
		done.Source = m.Result.Source
	}
	return outcome{
		output: done,
		entry:  state.Entry{Artifacts: []state.Artifact{c.record(a, m)}, Sights: sights},
	}
}

// record gives the record of a committed artifact. It was verified when its verify step ended.
func (c *call) record(a reconcile.CaptureArgs, m providers.Manifest) state.Artifact {
	verified, err := c.result(reconcile.OpArtifactVerify, &report{})
	art := state.Artifact{
		ID: string(m.ID), Store: a.Store, BackupPlan: a.BackupPlan, Run: c.rec.Run, Task: c.rec.ID, Device: a.Device, Domain: a.Domain,
		Action: a.Action, Variant: a.Variant, Files: len(m.Files), Bytes: m.Size(), Manifest: encode(m), State: state.ArtifactGood, Started: m.Started,
	}
	if err == nil {
		art.Verified = verified.Ended
	}
	return art
}

// deviceInfo is what the inspection in this task told about the device.
func (c *call) deviceInfo(device string) providers.DeviceInfo {
	var out inspectOutput
	for i, s := range c.spec.Steps[:c.index] {
		var a reconcile.DeviceArgs
		if s.Op == reconcile.OpDeviceInspect && json.Unmarshal(s.Args, &a) == nil && a.Device == device && c.steps[i].State == state.StepDone {
			_ = json.Unmarshal(c.steps[i].Output, &out) // unreadable: the manifest goes without
		}
	}
	return out.Info
}

// discard removes what captures staged and no commit published.
func (w *work) discard() {
	for i, s := range w.spec.Steps {
		if s.Op != reconcile.OpDeviceCapture || w.steps[i].State == "" || w.published(s.Args) {
			continue
		}
		var a reconcile.CaptureArgs
		err := json.Unmarshal(s.Args, &a)
		if w.end.Reason == FailedStoreAnswer {
			w.end.Message += fmt.Sprintf("; what was staged is still there. When the store answers again: holdfast store check %s --sweep", name(a.Store))
			return
		}
		if err == nil {
			err = w.discardOne(a, w.steps[i].Input)
		}
		if err != nil {
			w.end.Message += "; what was staged could not be removed: " + w.text(err)
		}
	}
}

// published reports whether the artifact of a capture was, or may have been, committed.
func (w *work) published(capture json.RawMessage) bool {
	return slices.ContainsFunc(w.steps, func(s state.StepRun) bool {
		step := w.spec.Steps[s.Index]
		return step.Op == reconcile.OpArtifactCommit && string(step.Args) == string(capture) && s.State == state.StepDone
	})
}

func (w *work) discardOne(a reconcile.CaptureArgs, input json.RawMessage) error {
	ref, err := refOf(a, input)
	if err != nil {
		return nil // the capture never got as far as a name
	}
	ctx, cancel := context.WithTimeout(w.base, limitLook)
	defer cancel()
	store, err := w.opener().Store(ctx, a.Store)
	if err != nil {
		return err
	}
	defer store.Close()
	return store.Discard(ctx, ref.ID)
}

// sink counts what goes into a stage, and notes whether it was the stage that failed.
type sink struct {
	providers.Stage
	meter  *meter
	failed bool
	ctx    context.Context
	rate   int64 // bytes a second; 0: as many as there are
}

func (s *sink) Create(name string) (io.WriteCloser, error) {
	w, err := s.Stage.Create(name)
	if err != nil {
		s.failed = true
		return nil, err
	}
	f := &countingFile{w, s}
	if s.rate > 0 {
		return throttled{&throttle{ctx: s.ctx, w: f, rate: s.rate}, f}, nil
	}
	return f, nil
}

type throttled struct {
	io.Writer
	io.Closer
}

type countingFile struct {
	io.WriteCloser
	sink *sink
}

func (f *countingFile) Write(p []byte) (int, error) {
	n, err := f.WriteCloser.Write(p)
	f.sink.failed = f.sink.failed || err != nil
	f.sink.meter.add(0, int64(n))
	return n, err
}

func (f *countingFile) Close() error {
	err := f.WriteCloser.Close()
	f.sink.failed = f.sink.failed || err != nil
	if err == nil {
		f.sink.meter.add(1, 0)
	}
	return err
}

// cancellable is a reader that ends with its context.
type cancellable struct {
	ctx context.Context
	r   io.Reader
}

func (c *cancellable) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(p)
}
