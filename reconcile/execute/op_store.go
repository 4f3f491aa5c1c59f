package execute

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/state"
)

type initInput struct {
	Identity string `json:"identity"`
}

type storeOutput struct {
	report
	Info providers.StoreInfo `json:"info"`
}

// prepareInit fixes the identity, so that a repeated init writes the same one.
func prepareInit(c *call) (any, error) {
	var a reconcile.StoreArgs
	if err := c.args(&a); err != nil {
		return nil, err
	}
	return initInput{Identity: cmp.Or(a.Identity, c.o.NewID())}, nil
}

// withStore opens the store of a step.
func (c *call) withStore(ctx context.Context, use func(a reconcile.StoreArgs, s providers.Store) error) error {
	var a reconcile.StoreArgs
	if err := c.args(&a); err != nil {
		return err
	}
	s, err := c.opener().Store(ctx, a.Store)
	if err != nil {
		return fmt.Errorf("open %s: %w", a.Store, err)
	}
	defer s.Close()
	return use(a, s)
}

func initStore(ctx context.Context, c *call) (out outcome, err error) {
	err = c.withStore(ctx, func(a reconcile.StoreArgs, s providers.Store) error {
		var in initInput
		if err := json.Unmarshal(c.input, &in); err != nil {
			return fmt.Errorf("read the input of step %q: %w", c.step.Name, err)
		}
		if err := s.Init(ctx, in.Identity); err != nil {
			return fmt.Errorf("initialise %s: %w", a.Store, err)
		}
		info, err := s.Stat(ctx)
		if err != nil {
			return fmt.Errorf("inspect %s: %w", a.Store, err)
		}
		out = c.initialised(in, info)
		return nil
	})
	return out, err
}

func checkInit(ctx context.Context, c *call) (out outcome, done bool, err error) {
	err = c.withStore(ctx, func(a reconcile.StoreArgs, s providers.Store) error {
		var in initInput
		if err := json.Unmarshal(c.input, &in); err != nil {
			return fmt.Errorf("read the input of step %q: %w", c.step.Name, err)
		}
		info, err := s.Stat(ctx)
		if err != nil {
			return fmt.Errorf("inspect %s: %w", a.Store, err)
		}
		done = info.Initialised && info.Identity == in.Identity
		out = c.initialised(in, info)
		return nil
	})
	return out, done, err
}

func (c *call) initialised(in initInput, info providers.StoreInfo) outcome {
	changes := c.byAction()
	for i := range changes {
		changes[i].Identity, changes[i].Epoch, changes[i].Heads = in.Identity, info.Epoch, heads(info)
	}
	return outcome{output: &storeOutput{Info: info}, entry: state.Entry{Changes: changes}}
}

// checkStore asks for the mount, the identity and the space before anything is captured. How much must stay free is the store's own
// setting, which it enforces also while it is written to.
func checkStore(ctx context.Context, c *call) (out outcome, err error) {
	err = c.withStore(ctx, func(a reconcile.StoreArgs, s providers.Store) error {
		info, err := s.Stat(ctx)
		if err != nil {
			return fmt.Errorf("inspect %s: %w", a.Store, err)
		}
		if info.Unmounted != "" {
			return ends(state.Failed, FailedStoreMount, "%s: %s. Mount it at its path", a.Store, info.Unmounted)
		}
		if v := c.misfit(a.Store, info); v != nil {
			return v
		}
		if behind := c.plan.Objects[a.Store].Behind; behind != "" && c.t.r.action.Kind != reconcile.ActionVerify {
			return ends(state.Failed, FailedStoreIdentity, "%s", behind)
		}
		out.entry.Sights = sightsBefore(a.Store, info)
		out.output = &storeOutput{Info: info, report: report{Note: c.roomNote(info)}}
		if c.t.r.action.Kind != reconcile.ActionBackup {
			return nil // it writes nothing
		}
		return c.space.reserve(c.rec.ID, a.Store, c.spec.Estimate, c.fits(a.Store, info))
	})
	return out, err
}
