package command

import (
	"context"
	"errors"

	"github.com/holdfast-dr/holdfast/cmd/internal/app"
	"github.com/holdfast-dr/holdfast/state"
)

// Exit codes of the whole program.
const (
	exitDone        = 0
	exitFault       = 1 // configuration, I/O, usage, internal
	exitChanges     = 2 // plan --detailed-exitcode: changes or due actions
	exitDrift       = 3 // drift only
	exitUnusable    = 5 // plan not usable: stale, other lineage, expired, rewound commit
	exitLocked      = 6
	exitBlocked     = 7  // nothing done: window closed, protected, needs --allow
	exitPartial     = 8  // some tasks succeeded, some failed
	exitDeclined    = 9  // at the prompt
	exitFailed      = 10 // the operation ran and failed
	exitInterrupted = 130
	exitTerminated  = 143
)

// exitError ends the program with a code. Without Err it was reported already.
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

// exit gives an error that only sets the exit code.
func exit(code int) error {
	if code == exitDone {
		return nil
	}
	return &exitError{code: code}
}

// codeOf maps an error to the exit code table.
func codeOf(err error) int {
	var e *exitError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &e):
		return e.code
	case errors.Is(err, state.ErrLocked), errors.Is(err, state.ErrBusy):
		return exitLocked
	case errors.Is(err, state.ErrStale), errors.Is(err, state.ErrDuplicate), errors.Is(err, app.ErrBadPlan): // another apply was faster
		return exitUnusable
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	}
	return exitFault
}
