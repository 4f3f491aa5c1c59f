package execute

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/process"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/state"
)

// Reason codes of the checks before a backup plan's pre script, which end its run. IBM DPOD's names, and two more of their kind.
const (
	beforePrefix = "PRE_VALIDATION_"

	BeforeWindow   = reconcile.OutsideWindow
	BeforeMount    = beforePrefix + "STORE_IS_NOT_MOUNTED"
	BeforeSpace    = beforePrefix + "BACKUP_STORE_OUT_OF_SPACE"
	BeforeIdentity = beforePrefix + "STORE_IDENTITY_CHANGED"
	BeforeFailed   = beforePrefix + "FAILED" // a check could not be made
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

	Interrupted      = "INTERRUPTED_PROCESS_STOP"
	InterruptedStore = "INTERRUPTED_STORE_NO_ANSWER"
	Unknown          = "OUTCOME_UNKNOWN"
	DutyUnpaid       = "DUTY_UNPAID"

	Failed              = "FAILED"
	FailedScript        = "FAILED_SCRIPT"
	FailedTimeout       = "FAILED_TIMEOUT"
	FailedUnavailable   = "FAILED_NOT_AVAILABLE"
	FailedNoAnswer      = "FAILED_NO_ANSWER"
	FailedStoreSpace    = "FAILED_STORE_SPACE"
	FailedTargetSpace   = "FAILED_TARGET_SPACE"
	FailedDeviceSpace   = "NOT_ENOUGH_FREE_SPACE_ON_DEVICE"
	FailedStoreMount    = "FAILED_STORE_NOT_MOUNTED"
	FailedStoreAnswer   = "FAILED_STORE_NO_ANSWER"
	FailedStoreReadOnly = "FAILED_STORE_READ_ONLY"
	FailedStoreMedium   = "FAILED_STORE_MEDIUM"
	FailedStoreIdentity = "FAILED_STORE_IDENTITY_CHANGED"
	FailedNoKey         = "FAILED_NO_KEY"
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
	Duty    string       `json:"duty,omitempty"` // attention: the one that could not be paid
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
	{providers.ErrStoreNoAnswer, FailedStoreAnswer},
	{providers.ErrNoAnswer, FailedNoAnswer},
	{providers.ErrReadOnly, FailedStoreReadOnly},
	{providers.ErrMedium, FailedStoreMedium},
	{providers.ErrIdentity, FailedStoreIdentity},
	{providers.ErrNoKey, FailedNoKey},
	{providers.ErrSecret, FailedNoKey},
	{providers.ErrNotEmpty, FailedNotEmpty},
	{providers.ErrTooSmall, FailedTooSmall},
	{providers.ErrChanged, FailedSourceChanged},
	{process.ErrTimeout, FailedTimeout}, // before what a program that was killed for it looks like
	{context.DeadlineExceeded, FailedTimeout},
	{providers.ErrSourceExit, FailedSourceExit},
	{providers.ErrCorrupt, FailedVerify},
	{providers.ErrEmptySource, FailedEmptySource},
	{providers.ErrTooManyDeletes, FailedDeletes},
	{providers.ErrStaleEpoch, FailedStaleEpoch},
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
			return &verdict{Status: status, Reason: r.code, Message: once(err)}
		}
	}
	return &verdict{Status: state.Failed, Reason: Failed, Message: once(err)}
}

// once is the text of an error without lines that one before them said already: what writing a file fails of, closing it fails of, too.
func once(err error) string {
	var said []string
	for line := range strings.SplitSeq(err.Error(), "\n") {
		if !slices.ContainsFunc(said, func(before string) bool { return strings.HasSuffix(before, line) }) {
			said = append(said, line)
		}
	}
	return strings.Join(said, "\n")
}

// before gives the verdict of a check before the pre script: it is about the whole backup plan.
func (v *verdict) before() *verdict {
	code := BeforeFailed
	switch v.Reason {
	case CancelledWindow:
		code = BeforeWindow
	case FailedStoreMount:
		code = BeforeMount
	case FailedStoreSpace:
		code = BeforeSpace
	case FailedStoreIdentity:
		code = BeforeIdentity
	}
	return &verdict{Status: v.Status, Reason: code, Message: v.Message}
}

// report is the part that the outputs of all operations share. The totals of a task are made from it, so that a
// resumed task counts what its former lives did.
type report struct {
	FilesDone int      `json:"files_done,omitempty"`
	BytesDone int64    `json:"bytes_done,omitempty"`
	Source    content  `json:"source,omitzero"` // what that protects
	Warnings  []string `json:"warnings,omitempty"`
	Note      string   `json:"note,omitempty"`
	End       *verdict `json:"end,omitempty"` // of a failed step
}

// content counts what is protected, as it counts at its source.
type content = providers.Content

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
