package execute

import (
	"context"
	"time"

	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/state"
)

type windowOutput struct {
	report
	Closes time.Time `json:"closes,omitzero"` // work is cut off then
}

// window asks whether work may start now. Nothing is in force: the task is cancelled, as IBM DPOD does.
func window(_ context.Context, c *call) (outcome, error) {
	var a reconcile.WindowArgs
	if err := c.args(&a); err != nil {
		return outcome{}, err
	}
	now := c.o.Now()
	o, err := a.Check(now)
	if err != nil {
		return outcome{}, err
	}
	if !o.Open {
		return outcome{}, ends(state.Cancelled, CancelledWindow, "may not start at %s: waits for %s", now.UTC().Format(time.RFC3339), o.Waits)
	}
	out := &windowOutput{}
	if a.AtClose == "stop" {
		out.Closes = o.Closes
	}
	return outcome{output: out}, nil
}
