package execute

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/process"
	"github.com/holdfast-dr/holdfast/state"
)

// Reason codes of tasks and runs. IBM DPOD's names where it has them.
const (
	CancelledWindow     = "EXECUTION_CANCELED_BECAUSE_MAINTENANCE_WINDOW"
	CancelledPolicy     = "EXECUTION_CANCELED_BECAUSE_ERROR_POLICY"
	CancelledDay        = "EXECUTION_CANCELED_BECAUSE_A_DAY_PASSED"
	CancelledDependency = "CANCELLED_DEPENDENCY_FAILED"
	CancelledRole       = "CANCELLED_ROLE_CHANGED"
	CancelledExpired    = "CANCELLED_PLAN_EXPIRED"
	CancelledStale      = "CANCELLED_PLAN_STALE"
	CancelledHold       = "CANCELLED_DELETIONS_HELD"
	PreScriptFailed     = "PLAN_FAILED_PRE_SCRIPT"

	SkippedUnavailable = "SKIPPED_DEVICE_NOT_AVAILABLE"
	SkippedQuiesced    = "SKIPPED_ALREADY_QUIESCED"
	SkippedSoft        = "SKIPPED_SOFT"
	SkippedCondition   = "SKIPPED_CONDITION_NOT_MET"
	SkippedPinned      = "SKIPPED_ARTIFACT_PINNED"
	SkippedNoTasks     = "SKIPPED_ALL_TASKS_SKIPPED"

	Interrupted = "INTERRUPTED_PROCESS_STOP"
	Unknown     = "OUTCOME_UNKNOWN"
	DutyUnpaid  = "DUTY_UNPAID"

	Failed              = "FAILED"
	FailedScript        = "FAILED_SCRIPT"
	FailedTimeout       = "FAILED_TIMEOUT"
	FailedUnavailable   = "FAILED_NOT_AVAILABLE"
	FailedStoreSpace    = "FAILED_STORE_SPACE"
	FailedStoreIdentity = "FAILED_STORE_IDENTITY_CHANGED"
	FailedNotEmpty      = "FAILED_NOT_EMPTY"
	FailedSourceExit    = "FAILED_SOURCE_EXIT"
	FailedSourceChanged = "FAILED_SOURCE_CHANGED"
	FailedTooSmall      = "FAILED_TOO_SMALL"
	FailedVerify        = "FAILED_VERIFY"
	FailedEmptySource   = "FAILED_EMPTY_SOURCE"
	FailedDeletes       = "FAILED_TOO_MANY_DELETES"
	FailedStaleEpoch    = "FAILED_STALE_EPOCH"
	FailedCannotQuiesce = "FAILED_CANNOT_QUIESCE"
	FailedQuiesce       = "FAILED_QUIESCE_TIMEOUT"
	FailedUnquiesce     = "FAILED_UNQUIESCE_TIMEOUT"
	FailedMaxHold       = "FAILED_MAX_HOLD"
)

// verdict is how a task ends. As an error of a step it ends the task like this.
type verdict struct {
	Status  state.Status `json:"status"`
	Reason  string       `json:"reason"`
	Message string       `json:"message,omitempty"`
}

func (v *verdict) Error() string { return v.Message }

func ends(status state.Status, reason, format string, args ...any) *verdict {
	return &verdict{Status: status, Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// reasons maps what went wrong in the outside world to a code. The first match counts.
var reasons = []struct {
	err  error
	code string
}{
	{errWindowClosed, CancelledWindow},
	{providers.ErrNoSpace, FailedStoreSpace},
	{providers.ErrIdentity, FailedStoreIdentity},
	{providers.ErrNotEmpty, FailedNotEmpty},
	{providers.ErrTooSmall, FailedTooSmall},
	{providers.ErrChanged, FailedSourceChanged},
	{providers.ErrSourceExit, FailedSourceExit},
	{providers.ErrCorrupt, FailedVerify},
	{providers.ErrEmptySource, FailedEmptySource},
	{providers.ErrTooManyDeletes, FailedDeletes},
	{providers.ErrStaleEpoch, FailedStaleEpoch},
	{process.ErrTimeout, FailedTimeout}, // before "unavailable": a timeout leaves open what still happens
	{context.DeadlineExceeded, FailedTimeout},
	{providers.ErrUnavailable, FailedUnavailable},
	{state.ErrStale, CancelledStale},
}

// judge turns an error of a step into the verdict on its task.
func judge(err error) *verdict {
	var v *verdict
	if errors.As(err, &v) {
		return v
	}
	for _, r := range reasons {
		if errors.Is(err, r.err) {
			status := state.Failed
			if r.err == errWindowClosed {
				status = state.Cancelled
			}
			return &verdict{Status: status, Reason: r.code, Message: err.Error()}
		}
	}
	return &verdict{Status: state.Failed, Reason: Failed, Message: err.Error()}
}

// report is the part that the outputs of all operations share. The totals of a task are made from it, so that a
// resumed task counts what its former lives did.
type report struct {
	FilesDone int      `json:"files_done,omitempty"`
	BytesDone int64    `json:"bytes_done,omitempty"`
	Warnings  []string `json:"warnings,omitempty"`
	Note      string   `json:"note,omitempty"`
	End       *verdict `json:"end,omitempty"` // of a failed step
}

func (r *report) endWith(v *verdict) { r.End = v }

// ending is the output of a step that ends its task: what its operation left, with the verdict.
func ending(output any, v *verdict) any {
	if o, ok := output.(interface{ endWith(*verdict) }); ok {
		o.endWith(v)
		return o
	}
	return &report{End: v}
}

func encode(v any) json.RawMessage {
	if v == nil {
		return nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("execute: encode %T: %v", v, err)) // plain structs of ours: cannot fail
	}
	return b
}
