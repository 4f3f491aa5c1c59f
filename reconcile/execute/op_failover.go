package execute

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/state"
)

// The role of a move, and who is active at each point:
//
//	settled(from, n) --role.begin--> moving(from, n+1) --freeze, switch, verify--> role.settle --> settled(to, n+1)
//	                                     |                                   |
//	                                     | no target was switched            | one was, or nobody can say
//	                                     v                                   v
//	                               settled(from, n+1)                  uncertain(from, n+1): a person decides
//
// The epoch is raised with the first write. So no marker outside is ever ahead of the record, a plan made
// before the move is refused from then on, and an epoch never names two moves: a move that failed has used its epoch up.

// role reads one role afresh.
func (w *work) role(ctx context.Context, failover string) (state.Role, error) {
	snap, err := w.o.Backend.Snapshot(ctx)
	if err != nil {
		return state.Role{}, fmt.Errorf("read the role of %s: %w", failover, err)
	}
	return snap.Roles[failover], nil
}

type beginOutput struct {
	report
	Previous state.Role `json:"previous"`
}

func roleBegin(ctx context.Context, c *call) (outcome, error) {
	var a reconcile.MoveArgs
	if err := c.args(&a); err != nil {
		return outcome{}, err
	}
	if err := c.expired(a); err != nil {
		return outcome{}, err
	}
	role, err := c.role(ctx, a.Failover)
	switch {
	case err != nil:
		return outcome{}, err
	case role.Epoch != a.IfEpoch || role.Active != a.FromSite:
		return outcome{}, ends(state.Cancelled, CancelledRole, "%s changed role (epoch %d -> %d, active %s): make a new plan", a.Failover, a.IfEpoch, role.Epoch, role.Active)
	case role.State != "" && role.State != state.RoleSettled:
		return outcome{}, ends(state.Cancelled, CancelledRole, "the role of %s is %s (run %s)", a.Failover, role.State, role.Run)
	}
	return outcome{
		output: &beginOutput{Previous: role},
		entry: state.Entry{Roles: []state.RoleChange{{IfEpoch: a.IfEpoch, Role: state.Role{
			Failover: a.Failover, Active: a.FromSite, Epoch: a.Epoch, State: state.RoleMoving, MovingTo: a.ToSite,
			Since: role.Since, Reason: a.Reason, Run: c.rec.Run,
		}}}},
	}, nil
}

// expired refuses to go on with a move that took too long to begin. Once a target is being switched, there is no way back.
func (c *call) expired(a reconcile.MoveArgs) error {
	if a.NotAfter.IsZero() || !c.o.Now().After(a.NotAfter) || c.begun(reconcile.OpTargetSwitch) {
		return nil
	}
	return ends(state.Cancelled, CancelledExpired, "the switchover of %s was to begin by %s", a.Failover, a.NotAfter.UTC().Format("2006-01-02 15:04 UTC"))
}

// begun reports whether a step of an operation has an intent.
func (w *work) begun(op reconcile.Op) bool {
	for i, s := range w.spec.Steps {
		if s.Op == op && w.steps[i].State != "" {
			return true
		}
	}
	return false
}

// moving reports whether this task took the role and did not settle it.
func (w *work) moving() bool { return unsettled(w.spec, w.steps) }

func unsettled(spec *reconcile.Task, steps []state.StepRun) bool {
	taken := false
	for i, s := range spec.Steps {
		switch {
		case s.Op == reconcile.OpRoleBegin && steps[i].State == state.StepDone:
			taken = true
		case s.Op == reconcile.OpRoleSettle && steps[i].State == state.StepDone:
			return false
		}
	}
	return taken
}

// withTarget opens the target of a step, after it made sure that the role is still this task's to move.
func (c *call) withTarget(ctx context.Context, use func(t providers.Target, a reconcile.MoveArgs, mv providers.Move) error) error {
	var a reconcile.MoveArgs
	if err := c.args(&a); err != nil {
		return err
	}
	if c.moving() {
		if err := c.expired(a); err != nil {
			return err
		}
		role, err := c.role(ctx, a.Failover)
		if err != nil {
			return err
		}
		if role.Epoch != a.Epoch || role.Run != c.rec.Run {
			return ends(state.Failed, CancelledRole, "%s was taken by another move (epoch %d -> %d, run %s)", a.Failover, a.Epoch, role.Epoch, role.Run)
		}
	}
	return c.onTarget(ctx, a, func(t providers.Target, mv providers.Move) error { return use(t, a, mv) })
}

func (w *work) onTarget(ctx context.Context, a reconcile.MoveArgs, use func(t providers.Target, mv providers.Move) error) error {
	t, err := w.opener().Target(ctx, a.Target)
	if err != nil {
		return fmt.Errorf("open %s: %w", a.Target, err)
	}
	defer t.Close()
	return use(t, providers.Move{Failover: a.Failover, From: a.From, To: a.To, Epoch: a.Epoch})
}

// owesUnfreeze is the duty of whoever freezes a target.
func owesUnfreeze(c *call) []state.Duty {
	var a reconcile.MoveArgs
	if c.args(&a) != nil {
		return nil // the call itself says why
	}
	return []state.Duty{{Task: c.rec.ID, Name: dutyUnfreeze(a.Target), Args: c.step.Args}}
}

func dutyUnfreeze(target string) string { return "unfreeze " + target }

func freeze(ctx context.Context, c *call) (out outcome, err error) {
	out.output = &report{}
	err = c.withTarget(ctx, func(t providers.Target, a reconcile.MoveArgs, mv providers.Move) error {
		err := t.Freeze(ctx, mv)
		if errors.Is(err, errors.ErrUnsupported) {
			out.skipped, out.output = true, &report{Note: "this target cannot stop its writers"}
			out.entry.Paid = []string{dutyUnfreeze(a.Target)}
			return nil
		}
		if err != nil {
			return fmt.Errorf("freeze %s: %w", a.Target, err)
		}
		return nil
	})
	return out, err
}

// unfreeze pays the duty of a freeze.
func (w *work) unfreeze(ctx context.Context, d state.Duty) error {
	var a reconcile.MoveArgs
	if err := json.Unmarshal(d.Args, &a); err != nil {
		return fmt.Errorf("read the duty %q: %w", d.Name, err)
	}
	return w.onTarget(ctx, a, func(t providers.Target, mv providers.Move) error {
		if err := t.Unfreeze(ctx, mv); err != nil && !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
		return nil
	})
}

func switchOver(ctx context.Context, c *call) (out outcome, err error) {
	err = c.withTarget(ctx, func(t providers.Target, a reconcile.MoveArgs, mv providers.Move) error {
		if err := t.Switch(ctx, mv); err != nil {
			return fmt.Errorf("switch %s: %w", a.Target, err)
		}
		out.output = &report{}
		return nil
	})
	return out, err
}

// checkSwitch asks the target. One that is neither here nor there is switched again: a switch may be repeated.
func checkSwitch(ctx context.Context, c *call) (out outcome, done bool, err error) {
	err = c.withTarget(ctx, func(t providers.Target, a reconcile.MoveArgs, mv providers.Move) error {
		seen, err := t.Observe(ctx)
		if err != nil {
			return fmt.Errorf("observe %s: %w", a.Target, err)
		}
		done = seen.Active == mv.To && (seen.Epoch == mv.Epoch || seen.Epoch == 0)
		out.output = &report{Note: "was found switched"}
		return nil
	})
	return out, done, err
}

func verifyTarget(ctx context.Context, c *call) (out outcome, err error) {
	err = c.withTarget(ctx, func(t providers.Target, a reconcile.MoveArgs, mv providers.Move) error {
		if err := t.Verify(ctx, mv); err != nil {
			return fmt.Errorf("verify %s: %w", a.Target, err)
		}
		out.output = &report{}
		return nil
	})
	return out, err
}

// roleSettle records the new active side, its epoch and the declared preference together. What was frozen stays with the
// side that was left, so the duties to unfreeze are void.
func roleSettle(ctx context.Context, c *call) (outcome, error) {
	var a reconcile.MoveArgs
	if err := c.args(&a); err != nil {
		return outcome{}, err
	}
	expected := a.IfEpoch
	if c.moving() {
		expected = a.Epoch
	}
	role, err := c.role(ctx, a.Failover)
	if err != nil {
		return outcome{}, err
	}
	if role.Epoch != expected || c.moving() && role.Run != c.rec.Run {
		return outcome{}, ends(state.Failed, CancelledRole, "%s was taken by another move (epoch %d -> %d, run %s)", a.Failover, expected, role.Epoch, role.Run)
	}
	since := c.o.Now()
	if a.ToSite == role.Active {
		since = role.Since
	}
	var void []string
	for _, d := range c.work.duties {
		void = append(void, d.Name)
	}
	return outcome{output: &report{}, entry: state.Entry{
		Changes: c.byAction(),
		Paid:    void,
		Roles: []state.RoleChange{{IfEpoch: expected, Role: state.Role{
			Failover: a.Failover, Active: a.ToSite, Epoch: a.Epoch, State: state.RoleSettled, Since: since, Reason: a.Reason, Run: c.rec.Run,
		}}},
	}}, nil
}

// retreat decides, when a task with an unsettled role is to end, whether the role can go back. It can when every target
// that may have been switched shows its old side; otherwise nothing is undone, because that could make two sides active.
func (w *work) retreat() {
	if !w.moving() {
		return
	}
	var begin reconcile.MoveArgs
	var before beginOutput
	for i, s := range w.spec.Steps {
		if s.Op == reconcile.OpRoleBegin {
			_ = json.Unmarshal(s.Args, &begin)             // it was read before
			_ = json.Unmarshal(w.steps[i].Output, &before) // unreadable: only the date is lost
		}
	}
	role := state.Role{
		Failover: begin.Failover, Active: begin.FromSite, Epoch: begin.Epoch, State: state.RoleSettled,
		Since: before.Previous.Since, Reason: "the move to " + begin.ToSite + " failed: " + w.end.Message, Run: w.rec.Run,
	}
	if w.end.Status != state.Attention {
		err := w.unswitched()
		if err == nil || mutant == mutantBlindRollback {
			w.final.Roles = []state.RoleChange{{Role: role, IfEpoch: begin.Epoch}}
			return
		}
		w.end = ends(state.Attention, Unknown, "%s. It cannot be undone safely: %s. Look at the targets, then decide: %s", unended(w.end.Message), unended(w.text(err)), w.choices())
		if w.pending.End != nil {
			w.pending.End.State = state.StepUnknown
		}
	}
	w.uncertain(role, begin.ToSite)
}

// uncertain leaves the role to a person.
func (w *work) uncertain(role state.Role, to string) {
	role.State, role.MovingTo, role.Reason = state.RoleUncertain, to, w.end.Message
	w.final.Roles = []state.RoleChange{{Role: role, IfEpoch: role.Epoch}}
}

// unswitched gives nil when every target whose switch was begun still shows its old side. After a timeout nobody knows
// what still happens.
func (w *work) unswitched() error {
	for i, s := range w.spec.Steps {
		if s.Op != reconcile.OpTargetSwitch || w.steps[i].State == "" {
			continue
		}
		if w.end.Reason == FailedTimeout {
			return errors.New("the switch may still take effect")
		}
		var a reconcile.MoveArgs
		if err := json.Unmarshal(s.Args, &a); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(w.base, limitLook)
		err := w.onTarget(ctx, a, func(t providers.Target, mv providers.Move) error {
			seen, err := t.Observe(ctx)
			switch {
			case err != nil:
				return fmt.Errorf("observe %s: %w", a.Target, err)
			case seen.Active != mv.From || seen.Active == mv.To:
				return fmt.Errorf("%s shows %q as active", a.Target, seen.Active)
			}
			return nil
		})
		cancel()
		if err != nil {
			return err
		}
	}
	return nil
}
