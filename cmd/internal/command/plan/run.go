package command

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/holdfast-dr/holdfast/cmd/internal/app"
	"github.com/holdfast-dr/holdfast/cmd/internal/view"
	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/reconcile/execute"
)

func (c *cli) runCommand() *cobra.Command {
	var do doFlags
	var dry bool
	cmd := &cobra.Command{
		Use:     "run ADDRESS",
		GroupID: "work",
		Short:   "Start the work of one backup plan, mirror or failover now",
		Long: `Start the work of one object now, due or not, without asking. Maintenance windows
and freezes hold. What is run must be applied as it is declared. Running does not
wait for an apply.`,
		Example:     "  holdfast run backup_plan.nightly\n  holdfast run nightly --dry-run\n  holdfast run failover.orders --allow=role",
		Args:        cobra.ExactArgs(1),
		Annotations: streams,
		RunE: func(cmd *cobra.Command, args []string) error {
			if !dry {
				c.open(cmd)
			}
			allowed, err := do.allowed()
			if err != nil {
				return err
			}
			a, err := c.app()
			if err != nil {
				return err
			}
			cfg, err := c.load(cmd.Context(), a)
			if err != nil {
				return err
			}
			addr, err := resolveName(cfg.Doc, args[0], config.KindBackupPlan, config.KindMirror, config.KindFailover)
			if err != nil {
				return err
			}
			o := app.PlanOptions{AllowRewind: true}
			o.Mode, o.Run, o.Operator = reconcile.ModeRun, addr, app.Actor()
			st, err := a.OpenState(cmd.Context(), a.StatePath(cfg.Doc), false)
			if err != nil {
				return err
			}
			defer st.Close()
			p, err := a.Plan(cmd.Context(), cfg, st, o)
			if err != nil {
				return err
			}
			if dry {
				code := planCode(p, false)
				if p.Empty() && !p.Errored {
					code = exitBlocked
				}
				return errors.Join(c.showPlan(p, "text", 0, true, code), exit(code))
			}
			if p.Errored || p.Empty() {
				return c.nothingToRun(p)
			}
			if c.stream != nil {
				c.stream.plan(p)
			}
			if err := c.blocked(p, allowed); err != nil {
				return err
			}
			return c.execute(cmd.Context(), a, st, func(ctx context.Context, x *execute.Executor) (execute.Result, error) { return x.Run(ctx, p) })
		},
		ValidArgsFunction: c.completeObjects(config.KindBackupPlan, config.KindMirror, config.KindFailover),
	}
	cmd.Flags().StringSliceVar(&do.allow, "allow", nil, "role: allow the move of an active side")
	oneOf(cmd, "allow", "role")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "show what would be done and what the look at devices and stores found; do nothing")
	return cmd
}

// resolveName accepts an address, or a bare name where only one of the kinds has it.
func resolveName(doc *config.Document, name string, kinds ...string) (string, error) {
	if strings.Contains(name, ".") {
		_, err := config.ParseAddress(name)
		return name, err
	}
	var found []string
	names := map[string]bool{}
	for _, o := range doc.Objects() {
		a := o.Head().Address
		if !slices.Contains(kinds, a.Kind()) {
			continue
		}
		names[a.Name()] = true
		if a.Name() == name {
			found = append(found, string(a))
		}
	}
	switch len(found) {
	case 0:
		return "", fmt.Errorf("no %s is named %q%s", strings.Join(kinds, " or "), name, meant(name, names))
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("%q may be %s: write the address", name, strings.Join(found, " or "))
}

// nothingToRun says why the work of one object does not start.
func (c *cli) nothingToRun(p *reconcile.Plan) error {
	if p.Errored {
		if c.stream != nil {
			c.stream.plan(p)
			return exit(erroredCode(p))
		}
		return errors.Join(view.Diagnostics(c.err, p.Findings, c.style(c.err)), exit(erroredCode(p)))
	}
	if c.stream != nil {
		c.stream.plan(p)
	}
	why := "there is nothing to run"
	if len(p.Deferred) > 0 {
		d := p.Deferred[0]
		why = fmt.Sprintf("%s waits for %s", d.Address, d.Waits)
		if d.Code != "" {
			why += " [" + d.Code + "]"
		}
	}
	return &exitError{code: exitBlocked, err: errors.New("nothing was done: " + why)}
}
