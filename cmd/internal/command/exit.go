package command

import (
	"context"
	"errors"

	"github.com/holdfast-dr/holdfast/cmd/internal/app"
	"github.com/holdfast-dr/holdfast/state"
)

// Exit codes of the whole program, as its help lists them.
const (
	ExitDone        = 0
	ExitFault       = 1  // configuration, I/O, usage, internal
	ExitChanges     = 2  // plan --detailed-exitcode: changes or due actions
	ExitDrift       = 3  // drift only
	ExitUnusable    = 5  // plan not usable: stale, other lineage, expired, rewound commit
	ExitLocked      = 6  // somebody else holds the state
	ExitBlocked     = 7  // nothing done: window closed, protected, needs --allow or a person's decision
	ExitPartial     = 8  // some tasks succeeded, some failed
	ExitDeclined    = 9  // at the prompt
	ExitFailed      = 10 // the operation ran and failed
	ExitInterrupted = 130
	ExitTerminated  = 143
)

// exitError ends the program with a code. Without err it was reported already.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// Exit gives err an exit code. Without err, what there is to say was said already: the code alone ends the program, and
// ExitDone is no error.
func Exit(code int, err error) error {
	if code == ExitDone && err == nil {
		return nil
	}
	return &exitError{code: code, err: err}
}

// CodeOf maps an error to the exit code table.
func CodeOf(err error) int {
	var e *exitError
	switch {
	case err == nil:
		return ExitDone
	case errors.As(err, &e):
		return e.code
	case errors.Is(err, state.ErrLocked), errors.Is(err, state.ErrBusy):
		return ExitLocked
	case errors.Is(err, state.ErrStale), errors.Is(err, state.ErrDuplicate), errors.Is(err, app.ErrBadPlan): // another apply was faster
		return ExitUnusable
	case errors.Is(err, context.Canceled):
		return ExitInterrupted
	}
	return ExitFault
}
