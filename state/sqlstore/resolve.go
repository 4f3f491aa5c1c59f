package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/holdfast-dr/holdfast/state"
)

// Resolve records what a person decided about a task whose outcome was unknown.
func (s *Store) Resolve(ctx context.Context, r state.Resolution) error {
	k, err := parseTask(r.Task)
	if err == nil {
		err = checkResolution(r)
	}
	if err == nil {
		r.At = stored(r.At)
		err = s.write(ctx, func(t *tx) error { return t.resolve(k, r) })
	}
	var settled *settledError
	if err != nil && !errors.As(err, &settled) { // that one names the task
		return fmt.Errorf("resolve task %s: %w", r.Task, err)
	}
	return err
}

func checkResolution(r state.Resolution) error {
	if r.At.IsZero() {
		return errors.New("it needs the time")
	}
	if !slices.Contains([]state.Status{state.Succeeded, state.Warned, state.Failed, state.Interrupted}, r.To) {
		return fmt.Errorf("a task cannot be resolved as %s", r.To)
	}
	for _, s := range r.Steps {
		if err := wantJSON("the output of a step", s.Output); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) resolve(k taskKey, r state.Resolution) error {
	p, err := t.position(k)
	if err != nil {
		return err
	}
	if p.status == r.To && p.at.Equal(r.At) {
		return nil // the same call, made again
	}
	if p.status != state.Attention {
		return &settledError{r.Task, p.status}
	}
	if r.Attempt != 0 && r.Attempt != p.attempt {
		return fmt.Errorf("it was tried again and asks anew: %w", state.ErrStale)
	}
	for _, name := range r.Paid {
		if err := t.resolved(`UPDATE duty SET paid = 1 WHERE run_id = ? AND seq = ? AND name = ?`, k.run, k.seq, name); err != nil {
			return fmt.Errorf("duty %q: %w", name, err)
		}
	}
	for _, s := range r.Steps {
		ended := micros(r.At)
		if s.State == state.StepIntent {
			ended = 0
		}
		if err := t.resolved(`UPDATE step SET state = ?, output = ?, error = ?, ended_at = ? WHERE run_id = ? AND seq = ? AND idx = ?`,
			s.State, text(s.Output), s.Error, ended, k.run, k.seq, s.Index); err != nil {
			return fmt.Errorf("step %d: %w", s.Index, err)
		}
	}
	var ended int64
	if r.To.Terminal() {
		ended = micros(r.At)
		if err := t.releaseTask(k); err != nil {
			return err
		}
	}
	if _, err := t.Exec(`UPDATE task SET status = ?, reason = ?, error = ?, output = NULL, status_at = ?, ended_at = ?
		WHERE run_id = ? AND seq = ? AND status = 'attention'`, r.To, r.Code, r.Error, micros(r.At), ended, k.run, k.seq); err != nil {
		return err
	}
	t.now[k.run] = t.now[k.run].and(settling{at: r.At, whole: true})
	detail := map[string]any{"reason": r.Reason, "from": p.status, "to": r.To}
	for _, s := range r.Steps {
		detail[fmt.Sprintf("step %d", s.Index)] = s.State
	}
	if len(r.Paid) > 0 {
		detail["paid"] = r.Paid
	}
	return t.log(r.At, r.Actor, "resolve", k.String(), detail)
}

// resolved changes one row that must be there.
func (t *tx) resolved(query string, args ...any) error {
	n, err := t.Exec(query, args...)
	if err == nil && n == 0 {
		err = state.ErrNotFound
	}
	return err
}

// settledError says that there is nothing to decide about a task. It is state.ErrStale.
type settledError struct {
	task   string
	status state.Status
}

func (e *settledError) Error() string {
	return "task " + e.task + " " + e.status.Words() + " and needs no decision"
}

func (e *settledError) Is(target error) bool { return target == state.ErrStale }
