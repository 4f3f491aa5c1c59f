package reconcile

import (
	"time"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/state"
)

// Record gives the write that makes a change recorded.
func (c Change) Record(commit, by string, at time.Time) state.Change {
	w := state.Change{
		Op: state.OpPut, Address: c.Address, IfGeneration: c.IfGeneration,
		Spec: c.After, Protect: c.Protect, Identity: c.Identity, Restart: c.Restart, Commit: commit, By: by, At: at,
	}
	switch c.Action {
	case Delete, Forget:
		w.Op = state.OpDelete
		return w
	case Move:
		w.Op, w.Previous = state.OpMove, c.Previous
	}
	w.Digest = config.Digest(c.After)
	return w
}

// Unrecorded lists the changes that the plan records at once and that are still to be written. They are written
// together, so they are all unwritten or none is: an object that is not what the plan was made against was written by this
// plan before, or by a later one, and neither may be undone.
func (p *Plan) Unrecorded(s *state.Snapshot) []Change {
	var left []Change
	for _, c := range p.Changes {
		if c.ByAction {
			continue
		}
		addr := c.Address
		if c.Action == Move {
			addr = c.Previous
		}
		if s.Objects[addr].Generation != c.IfGeneration {
			return nil
		}
		left = append(left, c)
	}
	return left
}

// ByAction gives the change that the action on an address records when it ended well.
func (p *Plan) ByAction(address string) (Change, bool) {
	for _, c := range p.Changes {
		if c.ByAction && c.Address == address {
			return c, true
		}
	}
	return Change{}, false
}
