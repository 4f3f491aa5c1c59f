package execute

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/state"
)

// Limits of calls that end by themselves soon. Captures, mirror passes and scripts have none or their own.
const (
	limitLook   = 2 * time.Minute
	limitCommit = 30 * time.Minute
	limitTarget = 15 * time.Minute
)

// operation is what a kind of step does. None of its functions writes to the journal.
type operation struct {
	limit   time.Duration                                                    // of one call; 0: none
	prepare func(*call) (input any, err error)                               // what a repeated call must use again, such as an ID; made before the intent
	owes    func(*call) []state.Duty                                         // written with the intent
	do      func(context.Context, *call) (outcome, error)                    // the effect
	check   func(context.Context, *call) (out outcome, done bool, err error) // did it happen? For class check
}

// outcome is what a call that happened leaves.
type outcome struct {
	output  any         // a pointer to a struct with a report
	entry   state.Entry // records that become true in the same transaction: artifacts, changes, roles, positions, paid duties
	skipped bool        // there was nothing to do
}

// ops has an entry for every reconcile.Op.
var ops map[reconcile.Op]*operation

func init() {
	ops = map[reconcile.Op]*operation{
		reconcile.OpWindow:          {do: window},
		reconcile.OpScript:          {do: script},
		reconcile.OpStoreInit:       {limit: limitLook, prepare: prepareInit, do: initStore, check: checkInit},
		reconcile.OpStoreCheck:      {limit: limitLook, do: checkStore},
		reconcile.OpDeviceInspect:   {limit: limitLook, do: inspect},
		reconcile.OpDeviceState:     {limit: limitLook, do: deviceState},
		reconcile.OpDeviceUnsaved:   {limit: limitLook, do: unsaved},
		reconcile.OpDeviceSpace:     {limit: limitLook, do: deviceSpace},
		reconcile.OpDeviceQuiesce:   {prepare: prepareQuiesce, owes: owesUnquiesce, do: quiesce},
		reconcile.OpDeviceWait:      {do: waitQuiesced},
		reconcile.OpDeviceUnquiesce: {do: unquiesce},
		reconcile.OpDeviceCapture:   {prepare: prepareCapture, do: capture},
		reconcile.OpArtifactVerify:  {do: verify},
		reconcile.OpArtifactCommit:  {limit: limitCommit, do: commit, check: checkCommit},
		reconcile.OpArtifactExpire:  {limit: limitLook, do: expire},
		reconcile.OpArtifactDelete:  {limit: limitCommit, do: remove},
		reconcile.OpArtifactCheck:   {do: checkArtifact},
		reconcile.OpStoreAudit:      {do: audit},
		reconcile.OpRestoreCheck:    {do: checkRestore},
		reconcile.OpArtifactRestore: {prepare: prepareRestore, do: restoreArtifact},
		reconcile.OpMirrorCopy:      {do: mirrorCopy},
		reconcile.OpMirrorPrune:     {do: mirrorPrune},
		reconcile.OpMirrorRecord:    {limit: limitLook, do: mirrorRecord},
		reconcile.OpRoleBegin:       {limit: limitLook, do: roleBegin},
		reconcile.OpTargetFreeze:    {limit: limitTarget, owes: owesUnfreeze, do: freeze},
		reconcile.OpTargetSwitch:    {limit: limitTarget, do: switchOver, check: checkSwitch},
		reconcile.OpTargetVerify:    {limit: limitTarget, do: verifyTarget},
		reconcile.OpRoleSettle:      {limit: limitLook, do: roleSettle},
	}
}

func (op *operation) prepared(c *call) (any, error) {
	if op.prepare == nil {
		return nil, nil
	}
	return op.prepare(c)
}

func (op *operation) duties(c *call) []state.Duty {
	if op.owes == nil {
		return nil
	}
	return slices.DeleteFunc(op.owes(c), func(d state.Duty) bool {
		return slices.ContainsFunc(c.work.duties, func(open state.Duty) bool { return open.Name == d.Name })
	})
}

// call is one step in progress.
type call struct {
	*work
	index int
	step  reconcile.Step
	input json.RawMessage
}

// args reads the step's arguments.
func (c *call) args(into any) error {
	if err := json.Unmarshal(c.step.Args, into); err != nil {
		return fmt.Errorf("read the arguments of step %q: %w", c.step.Name, err)
	}
	return nil
}

// ended gives the outcome of the step and remembers it.
func (c *call) ended(how state.StepState, output any, msg string) *state.StepRun {
	s := c.steps[c.index]
	s.Task, s.Index, s.Name, s.Class = c.rec.ID, c.index, c.step.Name, c.step.Class
	s.State, s.Output, s.Error, s.Ended = how, encode(output), msg, c.o.Now()
	c.steps[c.index] = s
	return &s
}

func (c *call) event(kind EventKind) Event {
	e := c.t.event(kind)
	e.Step = c.step.Name
	return e
}

// result reads the output of the step before this one that ran an operation with the same arguments.
func (c *call) result(op reconcile.Op, into any) (state.StepRun, error) {
	for i := c.index - 1; i >= 0; i-- {
		s := c.spec.Steps[i]
		if s.Op != op || string(s.Args) != string(c.step.Args) || c.steps[i].State != state.StepDone {
			continue
		}
		if err := json.Unmarshal(c.steps[i].Output, into); err != nil {
			return c.steps[i], fmt.Errorf("read the output of step %q: %w", s.Name, err)
		}
		return c.steps[i], nil
	}
	return state.StepRun{}, fmt.Errorf("the plan has no step %s before %q", op, c.step.Name)
}

// recorded gives the record of an artifact, which must be in the store it was planned with.
func (c *call) recorded(ctx context.Context, id, store string) (state.Artifact, error) {
	found, err := c.o.Backend.Artifacts(ctx, state.ArtifactFilter{ID: id})
	switch {
	case err != nil:
		return state.Artifact{}, fmt.Errorf("read the record of artifact %s: %w", id, err)
	case len(found) == 0:
		return state.Artifact{}, fmt.Errorf("artifact %s is %w", id, state.ErrNotFound)
	case found[0].Store != store:
		return state.Artifact{}, ends(state.Failed, CancelledStale, "artifact %s is in %s now, not in %s", id, found[0].Store, store)
	}
	return found[0], nil
}

// byAction gives the change that the action of this run records.
func (c *call) byAction() []state.Change {
	change, ok := c.plan.ByAction(c.t.r.rec.Address)
	if !ok {
		return nil
	}
	return []state.Change{change.Record(c.plan.Config.Commit, c.o.Actor, c.o.Now())}
}

// name is an address as people know the object: without its kind.
func name(address string) string {
	_, n, ok := strings.Cut(address, ".")
	if !ok {
		return address
	}
	return n
}
