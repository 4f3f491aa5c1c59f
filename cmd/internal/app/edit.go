package app

import (
	"context"
	"fmt"
	"time"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/reconcile/observe"
	"github.com/holdfast-dr/holdfast/reconcile/planner"
	"github.com/holdfast-dr/holdfast/state"
)

// lockLife is how long the apply lock of a short edit is good for.
const lockLife = time.Minute

// Locked does a short edit under the apply lock.
func (a *App) Locked(ctx context.Context, backend state.Backend, operation string, do func(state.Lock) error) error {
	return a.Holding(ctx, backend, operation, func(_ context.Context, l state.Lock) error { return do(l) })
}

// Adopt looks at the targets of a failover and gives the role they show.
func (a *App) Adopt(ctx context.Context, cfg *Config, snap *state.Snapshot, addr config.Address, reason string) (state.RoleChange, error) {
	f, ok := config.Lookup[*config.Failover](cfg.Doc, addr)
	if !ok {
		return state.RoleChange{}, fmt.Errorf("%s is not declared", addr)
	}
	in := planner.Input{Doc: cfg.Doc, State: snap, Now: a.Now(), Version: a.o.Version}
	inv, err := observe.Live(ctx, in, a.opener(cfg.Doc, snap))
	if err != nil {
		return state.RoleChange{}, err
	}
	in.Inventory = inv
	return planner.Adoption(in, f, Actor()+": "+reason)
}
