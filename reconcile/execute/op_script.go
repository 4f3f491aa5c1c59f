package execute

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/holdfast-dr/holdfast/providers/process"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/state"
)

// softSkip is the exit code (EX_TEMPFAIL) with which a pre script says that there is nothing to do now.
const softSkip = 75

// Outcomes that scripts can be bound to.
const (
	onSuccess = "success"
	onFailure = "failure"
)

type scriptOutput struct {
	report
	ExitCode int    `json:"exit_code"`
	Stdout   string `json:"stdout,omitempty"` // first and last 32 KiB, without secrets
	Stderr   string `json:"stderr,omitempty"`
}

func script(ctx context.Context, c *call) (outcome, error) {
	var a reconcile.ScriptArgs
	if err := c.args(&a); err != nil {
		return outcome{}, err
	}
	so := c.soFar()
	if len(a.On) > 0 && !met(a.On, so.status) {
		return outcome{output: &report{Note: fmt.Sprintf("runs only after %v", a.On)}, skipped: true}, nil
	}
	env := so.env()
	maps.Copy(env, a.Env)
	maps.Copy(env, map[string]string{
		"HOLDFAST_RUN":      c.rec.Run,
		"HOLDFAST_TASK":     c.rec.ID,
		"HOLDFAST_ADDRESS":  c.t.r.rec.Address,
		"HOLDFAST_ACTIVITY": c.rec.Activity,
		"HOLDFAST_DEVICE":   name(c.rec.Device),
		"HOLDFAST_DOMAIN":   c.rec.Domain,
		"HOLDFAST_ACTION":   c.rec.Action,
	})
	argv, err := a.Argv(reconcile.ScriptValues{
		BackupPlan: name(c.t.r.rec.Address), Run: c.rec.Run, Task: c.rec.ID, Activity: c.rec.Activity,
		Device: name(c.rec.Device), Domain: c.rec.Domain, Action: c.rec.Action, Status: string(so.status),
	})
	if err != nil {
		return outcome{}, ends(state.Failed, FailedScript, "the script is not run: %v", err)
	}
	res, err := process.Run(ctx, process.Spec{Argv: argv, Env: env, Timeout: a.Timeout.Std(), Redact: c.redact.Values()})
	out := outcome{output: &scriptOutput{ExitCode: res.ExitCode, Stdout: res.Stdout, Stderr: res.Stderr}}
	var exit *process.ExitError
	if errors.As(err, &exit) {
		if exit.Code == softSkip && !c.step.Always && c.spec.Stage != reconcile.StageAfter {
			return out, ends(state.Skipped, SkippedSoft, "the script says that there is nothing to do now (exit code %d)", softSkip)
		}
		return out, ends(state.Failed, FailedScript, "%v", err)
	}
	return out, err
}

// met reports whether an outcome is among those a script is bound to.
func met(on []string, status state.Status) bool {
	outcome := onFailure
	if status.Good() || status == state.Skipped {
		outcome = onSuccess
	}
	return slices.Contains(on, outcome)
}
