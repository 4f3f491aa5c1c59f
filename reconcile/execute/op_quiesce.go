package execute

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/state"
)

const (
	quiesceGrace = 3 * time.Minute // on top of a timeout, before the waiting ends: IBM DPOD's rule
	quiescePoll  = 2 * time.Second

	quiescePatience = 10 * time.Second // before observers are told that it takes its time
	holdPrefix      = "unquiesce "
)

// saved is the outcome of a step on unsaved changes when there are none.
func saved() outcome {
	return outcome{output: &report{Note: "there are no unsaved changes"}, skipped: true}
}

// onDevice opens a device for one use.
func (w *work) onDevice(ctx context.Context, address string, use func(providers.Device) error) error {
	d, err := w.opener().Device(ctx, address)
	if err != nil {
		return fmt.Errorf("open %s: %w", address, err)
	}
	defer d.Close()
	return use(d)
}

// refuse is the answer to a domain that is not normal: it is somebody else's, who would be surprised to find it unquiesced.
func refuse(ctx context.Context, d providers.Device, a reconcile.QuiesceArgs) error {
	st, err := d.DomainState(ctx, a.Domain)
	switch {
	case errors.Is(err, errors.ErrUnsupported), err == nil && st.Quiesce == providers.QuiesceImpossible:
		return ends(state.Failed, FailedCannotQuiesce, "%s cannot be quiesced: remove the quiesce block of the activity, or let it select other devices", a.Device)
	case err != nil:
		return fmt.Errorf("read the state of %s: %w", subject(a), err)
	case st.Quiesce != providers.Normal:
		return ends(state.Skipped, SkippedQuiesced, "%s is %s already, by somebody else", subject(a), st.Quiesce)
	}
	return nil
}

// subject is what a quiesce is about, for people.
func subject(a reconcile.QuiesceArgs) string {
	if a.Domain == providers.AllDomains {
		return a.Device
	}
	return a.Domain + " of " + a.Device
}

func deviceState(ctx context.Context, c *call) (outcome, error) {
	var a reconcile.QuiesceArgs
	if err := c.args(&a); err != nil {
		return outcome{}, err
	}
	err := c.onDevice(ctx, a.Device, func(d providers.Device) error { return refuse(ctx, d, a) })
	return outcome{output: &report{}}, err
}

type unsavedOutput struct {
	report
	Unsaved bool `json:"unsaved"`
}

// unsaved asks whether a domain runs with changes nobody saved. A device that cannot tell has none.
func unsaved(ctx context.Context, c *call) (outcome, error) {
	var a reconcile.DomainArgs
	if err := c.args(&a); err != nil {
		return outcome{}, err
	}
	var st providers.DomainState
	err := c.onDevice(ctx, a.Device, func(d providers.Device) (err error) {
		st, err = d.DomainState(ctx, a.Domain)
		return err
	})
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return outcome{output: &unsavedOutput{report: report{Note: "the device cannot tell"}}, skipped: true}, nil
	case err != nil:
		return outcome{}, fmt.Errorf("read the state of %s of %s: %w", a.Domain, a.Device, err)
	}
	return outcome{output: &unsavedOutput{Unsaved: st.Unsaved}}, nil
}

// wanted reports whether a capture is to be made: always, or because there are unsaved changes.
func (c *call) wanted(a reconcile.CaptureArgs) (bool, error) {
	if !a.IfUnsaved {
		return true, nil
	}
	for i := c.index - 1; i >= 0; i-- {
		if c.spec.Steps[i].Op != reconcile.OpDeviceUnsaved {
			continue
		}
		var out unsavedOutput
		if err := json.Unmarshal(c.steps[i].Output, &out); err != nil {
			return false, fmt.Errorf("read the output of step %q: %w", c.spec.Steps[i].Name, err)
		}
		return out.Unsaved, nil
	}
	return false, fmt.Errorf("the plan has no step %s before %q", reconcile.OpDeviceUnsaved, c.step.Name)
}

// captured is wanted for a step on the artifact.
func (c *call) captured() (bool, error) {
	var a reconcile.CaptureArgs
	if err := c.args(&a); err != nil {
		return false, err
	}
	return c.wanted(a)
}

// prepareQuiesce looks again right before the intent: once it is written, the device counts as quiesced by us.
func prepareQuiesce(c *call) (any, error) {
	var a reconcile.QuiesceArgs
	if err := c.args(&a); err != nil {
		return nil, err
	}
	for n := 0; ; n++ {
		ctx, cancel := context.WithTimeout(c.soft, limitLook)
		err := c.onDevice(ctx, a.Device, func(d providers.Device) error { return refuse(ctx, d, a) })
		cancel()
		if err == nil || n == len(retryDelays) || !providers.Retryable(err) || c.o.Sleep(c.soft, retryDelays[n]) != nil {
			return nil, err
		}
	}
}

// owesUnquiesce is the duty of whoever quiesces.
func owesUnquiesce(c *call) []state.Duty {
	var a reconcile.QuiesceArgs
	if c.args(&a) != nil {
		return nil // the call itself says why
	}
	return []state.Duty{{Task: c.rec.ID, Name: dutyUnquiesce(a), Args: c.step.Args}}
}

func dutyUnquiesce(a reconcile.QuiesceArgs) string { return holdPrefix + a.Device + " " + a.Domain }

func isHold(d state.Duty) bool { return strings.HasPrefix(d.Name, holdPrefix) }

func quiesce(ctx context.Context, c *call) (outcome, error) {
	var a reconcile.QuiesceArgs
	if err := c.args(&a); err != nil {
		return outcome{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, a.Timeout.Std()+quiesceGrace)
	defer cancel()
	err := c.onDevice(ctx, a.Device, func(d providers.Device) error { return d.Quiesce(ctx, a.Domain, a.Timeout.Std()) })
	if err != nil {
		return outcome{}, fmt.Errorf("quiesce %s: %w", subject(a), err)
	}
	return outcome{output: &report{}}, nil
}

type waitOutput struct {
	report
	Quiesced time.Time `json:"quiesced"` // when it was first seen
}

// waitQuiesced waits for the timeout and three minutes, counted from the request.
func waitQuiesced(ctx context.Context, c *call) (out outcome, err error) {
	var a reconcile.QuiesceArgs
	if err := c.args(&a); err != nil {
		return out, err
	}
	asked := c.o.Now()
	if q, _ := c.region(); q >= 0 {
		asked = c.steps[q].Began
	}
	limit := asked.Add(a.Timeout.Std() + quiesceGrace)
	slow := c.slow(a, providers.Quiesced, limit)
	err = c.onDevice(ctx, a.Device, func(d providers.Device) error {
		seen, err := c.await(ctx, d, a, providers.Quiesced, limit, nil, slow)
		if err == nil && seen != "" {
			err = ends(state.Failed, FailedQuiesce, "%s did not quiesce in %s and three minutes more: %s", subject(a), a.Timeout, seen)
		}
		return err
	})
	return outcome{output: &waitOutput{Quiesced: c.o.Now().UTC()}}, err
}

// await polls until a domain is in a state. When it is not at the limit, it gives what was seen last. Ask, if there is
// one, is called until it went well, before the first look. Errors of both may pass. Slow is told what was seen before each pause.
func (w *work) await(ctx context.Context, d providers.Device, a reconcile.QuiesceArgs, want providers.QuiesceState, limit time.Time, ask func(context.Context) error, slow func(seen string)) (seen string, err error) {
	for {
		call, cancel := context.WithTimeout(ctx, limitLook)
		var st providers.DomainState
		if ask != nil {
			err = ask(call)
		}
		if err == nil {
			ask = nil
			st, err = d.DomainState(call, a.Domain)
		}
		cancel()
		switch {
		case ctx.Err() != nil:
			return "", context.Cause(ctx)
		case errors.Is(err, errors.ErrUnsupported):
			return "", err
		case err != nil:
			seen, err = w.text(err), nil
		case st.Quiesce == want:
			return "", nil
		default:
			seen = "it is " + string(st.Quiesce)
		}
		if !w.o.Now().Before(limit) {
			return seen, nil
		}
		slow(seen)
		if err := w.o.Sleep(ctx, quiescePoll); err != nil {
			return "", err
		}
	}
}

// slow gives what tells observers, once, that a device takes its time: not before it has taken quiescePatience.
func (w *work) slow(a reconcile.QuiesceArgs, want providers.QuiesceState, limit time.Time) func(seen string) {
	from, told := w.o.Now().Add(quiescePatience), false
	return func(seen string) {
		if told || w.o.Now().Before(from) {
			return
		}
		told = true
		e := w.t.event(Waiting)
		e.Reason, e.Until = fmt.Sprintf("%s to be %s: %s", subject(a), want, unended(seen)), limit
		w.emit(e)
	}
}

// patience is when unquiescing that begins now is given up.
func (w *work) patience(a reconcile.QuiesceArgs) time.Time {
	return w.o.Now().Add(a.Timeout.Std() + quiesceGrace)
}

// unquiesce pays the duty of quiesce. In a task that quiesced nothing, or paid on its way out, there is nothing to do.
func unquiesce(ctx context.Context, c *call) (outcome, error) {
	var a reconcile.QuiesceArgs
	if err := c.args(&a); err != nil {
		return outcome{}, err
	}
	name := dutyUnquiesce(a)
	if !slices.ContainsFunc(c.work.duties, func(d state.Duty) bool { return d.Name == name }) {
		return outcome{output: &report{Note: "nothing is quiesced by this task"}, skipped: true}, nil
	}
	if err := c.release(ctx, a); err != nil {
		var v *verdict
		if errors.As(err, &v) {
			v.Duty = name
		}
		return outcome{}, err
	}
	return outcome{output: &report{}, entry: state.Entry{Paid: []string{name}}}, nil
}

// payHold unquiesces what a task quiesced.
func (w *work) payHold(ctx context.Context, d state.Duty) error {
	var a reconcile.QuiesceArgs
	if err := json.Unmarshal(d.Args, &a); err != nil {
		return fmt.Errorf("read the duty %q: %w", d.Name, err)
	}
	return w.release(ctx, a)
}

// release unquiesces a domain and waits until it is normal. It does not give up before the timeout and three minutes.
func (w *work) release(ctx context.Context, a reconcile.QuiesceArgs) error {
	limit := w.patience(a)
	slow, seen := w.slow(a, providers.Normal, limit), ""
	for {
		err := w.onDevice(ctx, a.Device, func(d providers.Device) (err error) {
			seen, err = w.await(ctx, d, a, providers.Normal, limit, func(ctx context.Context) error { return d.Unquiesce(ctx, a.Domain) }, slow)
			return err
		})
		switch {
		case err == nil && seen == "":
			return nil
		case ctx.Err() != nil || errors.Is(err, errors.ErrUnsupported):
			return fmt.Errorf("unquiesce %s: %w", subject(a), err)
		case err != nil:
			seen = w.text(err)
		}
		if !w.o.Now().Before(limit) {
			return ends(state.Attention, FailedUnquiesce, "%s is still quiesced after %s and three minutes more: %s. When it is normal again: %s",
				subject(a), a.Timeout, unended(seen), w.choices())
		}
		slow(seen)
		if err := w.o.Sleep(ctx, quiescePoll); err != nil {
			return err
		}
	}
}

// region gives the indexes of the steps that quiesce and unquiesce; -1 without.
func (w *work) region() (from, to int) {
	at := func(op reconcile.Op) int {
		return slices.IndexFunc(w.spec.Steps, func(s reconcile.Step) bool { return s.Op == op })
	}
	return at(reconcile.OpDeviceQuiesce), at(reconcile.OpDeviceUnquiesce)
}

// held makes an effect. While the device is quiesced a watchdog stands by it: when max_hold is over, the effect is cut off and the
// device released at once, whether the effect ends or not. The duty is paid in the record afterwards.
func (w *work) held(ctx context.Context, c *call, op *operation) (outcome, error) {
	i := slices.IndexFunc(w.duties, isHold)
	var a reconcile.QuiesceArgs
	if i < 0 || c.step.Always || json.Unmarshal(w.duties[i].Args, &a) != nil || a.MaxHold <= 0 {
		return op.do(ctx, c)
	}
	from, _ := w.region()
	until := w.steps[from].Began.Add(a.MaxHold.Std())
	over := ends(state.Failed, FailedMaxHold, "%s was quiesced for %s and had to be let go in the middle of step %q", subject(a), a.MaxHold, c.step.Name)
	ctx, cut := context.WithCancelCause(ctx)
	defer cut(nil)
	released := make(chan struct{})
	watchdog := time.AfterFunc(until.Sub(w.o.Now()), func() {
		defer close(released)
		cut(over)
		_ = w.release(w.base, a) // the way out of the task does it again, and tells
	})
	out, err := op.do(ctx, c)
	if watchdog.Stop() {
		return out, err
	}
	<-released
	return out, over
}

// rehold prepares a resumed task whose captures had not all ended when it was left: what is still quiesced is
// released first of all, and then everything from the quiesce on is done again. Captures keep their artifact's name.
func (w *work) rehold() error {
	from, to := w.region()
	if from < 0 || to < from || w.steps[from].State == "" {
		return nil
	}
	done := true
	for i := from; i < to; i++ {
		switch w.steps[i].State {
		case state.StepDone, state.StepSkipped:
		case state.StepFailed, state.StepUnknown:
			return nil // its way out pays
		default:
			done = false
		}
	}
	if done {
		return nil
	}
	if err := w.pay(); err != nil || w.end != nil {
		return err
	}
	for i := from; i < to; i++ {
		switch s := &w.steps[i]; {
		case s.State == "":
		case w.spec.Steps[i].Op == reconcile.OpDeviceCapture:
			s.State = state.StepIntent
		default:
			*s = state.StepRun{}
		}
	}
	return nil
}

// quiesced gives the time in which the device took no work, as far as the captures need it; nil without.
func (c *call) quiesced() *providers.Span {
	var span providers.Span
	for i, s := range c.spec.Steps[:c.index] {
		if c.steps[i].State != state.StepDone {
			continue
		}
		switch s.Op {
		case reconcile.OpDeviceWait:
			var out waitOutput
			if json.Unmarshal(c.steps[i].Output, &out) == nil {
				span.From = out.Quiesced
			}
		case reconcile.OpDeviceCapture:
			var out captureOutput
			if json.Unmarshal(c.steps[i].Output, &out) == nil && out.Finished.After(span.To) {
				span.To = out.Finished
			}
		}
	}
	if span.From.IsZero() {
		return nil
	}
	return &span
}
