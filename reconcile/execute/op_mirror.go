package execute

import (
	"context"
	"fmt"
	"time"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/state"
)

type mirrorOutput struct {
	report
	Result mirrorResult `json:"result"`
}

type mirrorResult struct {
	Started time.Time `json:"started"` // the position: the target holds the source at least as of then
	providers.MirrorResult
}

// withMirror opens the mirror of a step, after it made sure that the pass still goes the right way.
func (c *call) withMirror(ctx context.Context, use func(m providers.Mirror, req providers.MirrorRequest) error) error {
	var a reconcile.MirrorArgs
	if err := c.args(&a); err != nil {
		return err
	}
	if err := c.direction(ctx, a); err != nil {
		return err
	}
	m, err := c.opener().Mirror(ctx, a.Mirror, a.Source, a.Target)
	if err != nil {
		return fmt.Errorf("open %s: %w", a.Mirror, err)
	}
	defer m.Close()
	return use(m, providers.MirrorRequest{
		Mirror: a.Mirror, Source: a.Source, Target: a.Target, Exclude: a.Exclude, MaxDeletePercent: a.MaxDeletePercent, Epoch: a.Epoch,
	})
}

// direction refuses a pass whose failover changed its role since the plan was made, or is changing it: it could copy the
// standby over the active side.
func (c *call) direction(ctx context.Context, a reconcile.MirrorArgs) error {
	if a.Failover == "" {
		return nil
	}
	role, err := c.role(ctx, a.Failover)
	switch {
	case err != nil:
		return err
	case role.Epoch != a.Epoch:
		return ends(state.Cancelled, CancelledRole, "%s changed role (epoch %d -> %d): the direction of this pass is no longer right", a.Failover, a.Epoch, role.Epoch)
	case role.State != state.RoleSettled:
		return ends(state.Cancelled, CancelledRole, "the role of %s is %s: its mirrors are suspended", a.Failover, role.State)
	}
	return nil
}

func mirrorCopy(ctx context.Context, c *call) (out outcome, err error) {
	err = c.withMirror(ctx, func(m providers.Mirror, req providers.MirrorRequest) error {
		started := c.o.Now().UTC()
		res, err := m.Copy(ctx, req, c.meter(c.spec.Estimate).add)
		if err != nil && mutant != mutantBlindPrune {
			return fmt.Errorf("copy %s to %s: %w", req.Source, req.Target, err)
		}
		out.output = &mirrorOutput{
			report: report{FilesDone: int(res.CopiedFiles), BytesDone: res.CopiedBytes, Source: content{Files: res.Files}, Warnings: res.Warnings},
			Result: mirrorResult{started, res},
		}
		return nil
	})
	return out, err
}

func mirrorPrune(ctx context.Context, c *call) (out outcome, err error) {
	err = c.withMirror(ctx, func(m providers.Mirror, req providers.MirrorRequest) error {
		var copied mirrorOutput
		if _, err := c.result(reconcile.OpMirrorCopy, &copied); err != nil {
			return err
		}
		switch {
		case req.MaxDeletePercent == 0:
			out = outcome{output: &report{Note: "never deletes"}, skipped: true}
			return nil
		case copied.Result.Clean:
			out = outcome{output: &report{Note: "nothing to delete"}, skipped: true}
			return nil
		}
		res, err := m.Prune(ctx, req)
		if err != nil {
			return fmt.Errorf("prune %s: %w", req.Target, err)
		}
		out.output = &mirrorOutput{Result: mirrorResult{MirrorResult: res}}
		return nil
	})
	return out, err
}

// mirrorRecord moves the position to the start of the copy: what changed at the source later may be missing.
func mirrorRecord(ctx context.Context, c *call) (outcome, error) {
	var a reconcile.MirrorArgs
	if err := c.args(&a); err != nil {
		return outcome{}, err
	}
	var copied mirrorOutput
	if _, err := c.result(reconcile.OpMirrorCopy, &copied); err != nil {
		return outcome{}, err
	}
	if err := c.direction(ctx, a); err != nil {
		return outcome{}, err
	}
	return outcome{output: &report{}, entry: state.Entry{Positions: []state.Position{{
		Mirror: a.Mirror, At: copied.Result.Started, Finished: c.o.Now(), Files: copied.Result.Files,
		Run: c.rec.Run, Source: a.Source, Target: a.Target,
	}}}}, nil
}
