package execute

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/holdfast-dr/holdfast/state"
)

// answers are the errors of a backend that say what happened. Any other means unknown: the write may be there or not.
var answers = []error{
	state.ErrNotFound, state.ErrStale, state.ErrFenced, state.ErrDuplicate, state.ErrBusy, state.ErrLocked, state.ErrCorrupt, state.ErrSchema,
}

func answered(err error) bool {
	return err == nil || slices.ContainsFunc(answers, func(a error) bool { return errors.Is(err, a) })
}

// persist makes one write to the backend. While its outcome is unknown the same write is made again, a few times: a
// backend knows a write that it has. What stays unknown is left to a resume.
func (l *life) persist(write func(ctx context.Context) error) error {
	const attempts = 5
	delay := 50 * time.Millisecond
	for n := 1; ; n++ {
		ctx, cancel := context.WithTimeout(l.journal, journalTimeout)
		err := write(ctx)
		cancel()
		if answered(err) || n == attempts || l.base.Err() != nil || l.o.Sleep(l.base, delay) != nil {
			return err
		}
		delay *= 4
	}
}

// write makes one entry of the task's journal.
func (w *work) write(e state.Entry) error {
	e.At = w.o.Now()
	err := w.persist(func(ctx context.Context) error { return w.o.Backend.Journal(ctx, w.claim, e) })
	if mutant == mutantNoFence && errors.Is(err, state.ErrFenced) {
		return nil
	}
	return err
}
