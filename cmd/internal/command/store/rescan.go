package command

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/holdfast-dr/holdfast/cmd/internal/app"
	"github.com/holdfast-dr/holdfast/cmd/internal/view"
	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/reconcile/store"
	"github.com/holdfast-dr/holdfast/state"
	"github.com/holdfast-dr/holdfast/state/sqlstore"
)

func (c *cli) storeRescan() *cobra.Command {
	var dry bool
	cmd := &cobra.Command{
		Use:   "rescan STORE",
		Short: "Rebuild the record of artifacts from the store alone",
		Long: `Take the artifacts of a store into the record, from what lies in the store alone:
for a state that was lost, or restored from an older backup.

  intact artifacts become good, damaged and missing ones quarantined, and those known
  only by their path, such as DPOD's own backups, unverified
  what the record knows better stays: pins, quarantines, deletions that have begun
  schedules go on after the newest artifact of each backup plan, so nothing runs twice

If anything changes, retention deletes nothing for 7 days; holdfast state release-hold
ends that. A rescan may be broken off and done again. With artifacts that are damaged,
missing or not understood the exit code is 8.`,
		Example: "  holdfast store rescan nas --dry-run\n  holdfast store rescan nas",
		Args:    cobra.ExactArgs(1),

		ValidArgsFunction: c.completeStores,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			return c.withStores(ctx, func(s *stores) error {
				names, err := s.named(args)
				if err != nil {
					return err
				}
				plans := app.BackupPlans(s.cfg, s.snap)
				var found store.Rescanned
				scan := func(ctx context.Context, l state.Lock) (err error) {
					found, err = s.keeper().Rescan(ctx, l, names[0], plans, dry, c.counting())
					return err
				}
				if dry {
					err = scan(ctx, state.Lock{})
				} else {
					err = s.app.Holding(ctx, s.st, "store rescan", scan)
				}
				switch {
				case err != nil:
					return err
				case c.json:
					return errors.Join(view.JSON(c.out, found), rescanExit(found))
				}
				return errors.Join(view.Rescanned(c.out, found, c.style(c.out)), rescanExit(found))
			})
		},
	}
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only say what would become of the record")
	return cmd
}

// counting shows how far a rescan is, where a person looks on.
func (c *cli) counting() func(int) {
	if c.json {
		return nil
	}
	last := 0
	return func(n int) {
		if n-last >= 1000 {
			last = n
			fmt.Fprintf(c.err, "%d artifacts read\n", n)
		}
	}
}

func rescanExit(r store.Rescanned) error {
	lost := slices.ContainsFunc(r.Bad, func(l store.Loss) bool { return l.Condition != providers.Unverified })
	if lost || len(r.Problems)+len(r.Unknown) > 0 {
		return exit(exitPartial)
	}
	return nil
}

func (c *cli) stateReleaseHold() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "release-hold",
		Short: "Let retention delete again before a hold ends by itself",
		Long: `After a state was restored or artifacts were recovered from a store, retention
deletes nothing for 7 days. End that now, when the record is known to be right:
the artifacts are listed (holdfast verify --list), and the stores fit (holdfast store check).`,
		Example: "  holdfast state release-hold --reason \"compared with the old list\"",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if reason == "" {
				return errors.New("say why with --reason")
			}
			return c.withState(cmd.Context(), func(a *app.App, st *sqlstore.Store) error {
				meta, err := st.Meta(cmd.Context())
				if err != nil {
					return err
				}
				if !meta.Hold.Holds(a.Now()) {
					return c.done(map[string]any{"released": false}, "Nothing holds deletions back.")
				}
				if err := st.Hold(cmd.Context(), state.Hold{}, app.Actor(), reason, a.Now()); err != nil {
					return err
				}
				return c.done(map[string]any{"released": true, "was": meta.Hold}, "Released: retention deletes again with the next plan.")
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why; kept in the log of edits (required)")
	return cmd
}
