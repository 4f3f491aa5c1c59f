package providers

import "context"

// Move is one change of the active side of a failover.
type Move struct {
	Failover string `json:"failover"` // address of the group
	From     string `json:"from"`     // member name; empty when none was active
	To       string `json:"to"`       // member name
	Epoch    int64  `json:"epoch"`    // the epoch the move leads to; grows with every move of the group
}

// TargetState is what a target shows of itself.
type TargetState struct {
	Active string `json:"active,omitempty"` // member name; empty: none is active
	Epoch  int64  `json:"epoch,omitempty"`  // marker of the last move; 0: none, or the target cannot hold one
	Frozen bool   `json:"frozen,omitempty"` // writers are stopped
	Broken string `json:"broken,omitempty"` // why the active member cannot serve, when that can be seen; empty: nothing is seen
}

// Target is one typed thing whose active side can move. Every method may be
// called again after a crash with the same Move. A Move whose epoch is lower
// than the marker at the target is refused with ErrStaleEpoch.
type Target interface {
	// Observe reads the state. It changes nothing. It is also the check after
	// a crash: a move is done when Active is its To and, for a target that holds a marker, Epoch is its epoch.
	Observe(ctx context.Context) (TargetState, error)
	// Freeze stops writers on the active side. Without the ability it returns errors.ErrUnsupported.
	Freeze(ctx context.Context, mv Move) error
	// Unfreeze lets writers go on where they were; it undoes Freeze when a switch did not take place.
	Unfreeze(ctx context.Context, mv Move) error
	// Switch makes To active and From not, so that never both are. A To that is active already is only marked with the epoch, so that
	// the move is done; a target that holds no marker then does nothing.
	Switch(ctx context.Context, mv Move) error
	// Verify checks that To really serves. It changes nothing.
	Verify(ctx context.Context, mv Move) error
	Close() error
}
