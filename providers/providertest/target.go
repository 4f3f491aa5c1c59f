package providertest

import (
	"context"
	"errors"
	"testing"

	"github.com/holdfast-dr/holdfast/providers"
)

// TargetCase is a fresh thing whose active side can move, and how the suite looks at it from outside.
type TargetCase struct {
	// Open opens the target. A test calls it several times for the same thing.
	Open func(t *testing.T) providers.Target
	// Members are the names of at least two members.
	Members []string
	// Active lists the members that are active as their users see it. It is called while Switch runs.
	Active func() ([]string, error)
	// State describes the thing in full, to show that it was not changed.
	State func(t *testing.T) string
	// Serve makes a member active as people do by hand, without a marker.
	Serve func(t *testing.T, member string)
}

// Target runs the contract suite of providers.Target. Each call of fresh gives a thing nobody used before.
func Target(t *testing.T, fresh func(t *testing.T) TargetCase) {
	for name, f := range map[string]func(*testing.T, *targetCase){
		"move and back": targetMoves,
		"stale epoch":   targetStale,
		"one active":    targetOneActive,
		"freeze":        targetFreeze,
		"refused moves": targetRefused,
		"adopted":       targetAdopted,
	} {
		t.Run(name, func(t *testing.T) {
			c := &targetCase{TargetCase: fresh(t), t: t}
			c.reopen()
			f(t, c)
		})
	}
}

type targetCase struct {
	TargetCase
	providers.Target
	t *testing.T
}

func (c *targetCase) reopen() {
	c.Target = c.Open(c.t)
	c.t.Cleanup(func() {
		if err := c.Close(); err != nil {
			c.t.Errorf("Close: %v", err)
		}
	})
}

func (c *targetCase) observe() providers.TargetState {
	c.t.Helper()
	before := c.State(c.t)
	st, err := c.Observe(c.t.Context())
	must(c.t, err)
	if after := c.State(c.t); after != before {
		c.t.Errorf("Observe changed the target\nbefore:\n%s\nafter:\n%s", before, after)
	}
	return st
}

func (c *targetCase) move(from, to int, epoch int64) providers.Move {
	mv := providers.Move{Failover: "failover.contract", To: c.Members[to], Epoch: epoch}
	if from >= 0 {
		mv.From = c.Members[from]
	}
	return mv
}

// done wants the move to have taken place, for every way to look at it.
func (c *targetCase) done(mv providers.Move) {
	c.t.Helper()
	st := c.observe()
	if st.Active != mv.To || st.Epoch != 0 && st.Epoch != mv.Epoch {
		c.t.Errorf("after %+v the target shows %+v", mv, st)
	}
	if active, err := c.Active(); err != nil || len(active) != 1 || active[0] != mv.To {
		c.t.Errorf("after %+v active are %q, %v", mv, active, err)
	}
	before := c.State(c.t)
	if err := c.Verify(c.t.Context(), mv); err != nil {
		c.t.Errorf("Verify of %+v: %v", mv, err)
	}
	if after := c.State(c.t); after != before {
		c.t.Errorf("Verify changed the target\nbefore:\n%s\nafter:\n%s", before, after)
	}
}

// untouched wants f to leave the target as it is.
func (c *targetCase) untouched(what string, f func()) {
	c.t.Helper()
	before := c.State(c.t)
	f()
	if after := c.State(c.t); after != before {
		c.t.Errorf("%s changed the target\nbefore:\n%s\nafter:\n%s", what, before, after)
	}
}

// targetAdopted: what is active already becomes a move that is done, and stays active all the time.
func targetAdopted(t *testing.T, c *targetCase) {
	c.Serve(t, c.Members[0])
	if st := c.observe(); st.Active != c.Members[0] || st.Epoch != 0 {
		t.Fatalf("made active by hand: %+v", st)
	}
	mv := c.move(0, 0, 1)
	must(t, c.Switch(t.Context(), mv))
	c.done(mv)
	c.untouched("the same adoption again", func() { must(t, c.Switch(t.Context(), mv)) })
	next := c.move(0, 1, 2)
	must(t, c.Switch(t.Context(), next))
	c.done(next)
}

func targetMoves(t *testing.T, c *targetCase) {
	c.observe()
	for i, mv := range []providers.Move{c.move(-1, 0, 1), c.move(0, 1, 2), c.move(1, 0, 3), c.move(0, 1, 7)} {
		must(t, c.Switch(t.Context(), mv))
		c.done(mv)
		c.untouched("the same Switch again", func() { must(t, c.Switch(t.Context(), mv)) })
		if i%2 == 1 {
			c.reopen()
			c.done(mv)
		}
		other := mv
		other.From, other.To = mv.To, c.Members[(i+1)%2]
		if err := c.Verify(t.Context(), other); err == nil {
			t.Errorf("Verify of %+v, which did not take place: no error", other)
		}
	}
}

func targetStale(t *testing.T, c *targetCase) {
	must(t, c.Switch(t.Context(), c.move(-1, 0, 5)))
	must(t, c.Switch(t.Context(), c.move(0, 1, 6)))
	if c.observe().Epoch == 0 {
		t.Skip("the target holds no marker")
	}
	for _, mv := range []providers.Move{c.move(1, 0, 5), c.move(0, 1, 5), c.move(-1, 1, 0)} {
		c.untouched("a stale move", func() {
			if err := c.Switch(t.Context(), mv); !errors.Is(err, providers.ErrStaleEpoch) {
				t.Errorf("Switch by %+v: %v, want ErrStaleEpoch", mv, err)
			}
			for what, call := range map[string]func(context.Context, providers.Move) error{"Freeze": c.Freeze, "Unfreeze": c.Unfreeze} {
				if err := call(t.Context(), mv); !errors.Is(err, providers.ErrStaleEpoch) && !errors.Is(err, errors.ErrUnsupported) {
					t.Errorf("%s by %+v: %v, want ErrStaleEpoch", what, mv, err)
				}
			}
		})
	}
	c.done(c.move(0, 1, 6))
}

func targetOneActive(t *testing.T, c *targetCase) {
	must(t, c.Switch(t.Context(), c.move(-1, 0, 1)))
	stop, watched := make(chan struct{}), make(chan error, 1)
	looks := 0
	go func() {
		for {
			active, err := c.Active()
			if err == nil && len(active) > 1 {
				err = errors.New("several members were active at one time")
			}
			if err != nil {
				watched <- err
				return
			}
			looks++
			select {
			case <-stop: // after the last look, so that there is one however busy the machine is
				watched <- nil
				return
			default:
			}
		}
	}()
	for i := range 10 {
		mv := c.move(i%2, (i+1)%2, int64(i+2))
		if err := c.Switch(t.Context(), mv); err != nil {
			t.Errorf("Switch by %+v: %v", mv, err)
		}
	}
	close(stop)
	if err := <-watched; err != nil || looks == 0 {
		t.Errorf("after %d looks: %v", looks, err)
	}
}

func targetFreeze(t *testing.T, c *targetCase) {
	must(t, c.Switch(t.Context(), c.move(-1, 0, 1)))
	mv := c.move(0, 1, 2)
	if err := c.Freeze(t.Context(), mv); errors.Is(err, errors.ErrUnsupported) {
		if err := c.Unfreeze(t.Context(), mv); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("Freeze is unsupported, Unfreeze gives %v", err)
		}
		t.Skip("the target cannot freeze")
	} else if err != nil {
		t.Fatalf("Freeze: %v", err)
	}
	must(t, c.Freeze(t.Context(), mv))
	if st := c.observe(); !st.Frozen || st.Active != mv.From {
		t.Errorf("after Freeze: %+v", st)
	}
	must(t, c.Unfreeze(t.Context(), mv))
	must(t, c.Unfreeze(t.Context(), mv))
	if st := c.observe(); st.Frozen || st.Active != mv.From {
		t.Errorf("after Unfreeze: %+v", st)
	}
	must(t, c.Freeze(t.Context(), mv))
	must(t, c.Switch(t.Context(), mv))
	c.done(mv)
}

func targetRefused(t *testing.T, c *targetCase) {
	must(t, c.Switch(t.Context(), c.move(-1, 0, 1)))
	c.untouched("a move to nobody", func() {
		for _, to := range []string{"", "nobody", "none", "../" + c.Members[1], "-x"} {
			mv := providers.Move{Failover: "failover.contract", From: c.Members[0], To: to, Epoch: 2}
			if err := c.Switch(t.Context(), mv); err == nil {
				t.Errorf("a switch to %q: no error", to)
			}
			if err := c.Verify(t.Context(), mv); err == nil {
				t.Errorf("Verify of a switch to %q: no error", to)
			}
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c.untouched("a cancelled call", func() {
		if err := c.Switch(ctx, c.move(0, 1, 2)); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled Switch: %v", err)
		}
		if _, err := c.Observe(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled Observe: %v", err)
		}
	})
}
