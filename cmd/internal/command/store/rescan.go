package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/holdfast-dr/holdfast/cmd/internal/app"
	"github.com/holdfast-dr/holdfast/cmd/internal/command"
	"github.com/holdfast-dr/holdfast/cmd/internal/view"
	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/reconcile/store"
	"github.com/holdfast-dr/holdfast/state"
)

func storeRescan(c *command.Call) *cobra.Command {
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

		ValidArgsFunction: completeStores(c),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			open := c.WithState
			if dry {
				open = c.ReadState
			}
			return withStores(ctx, open, func(s *stores) error {
				names, err := s.named(args)
				if err != nil {
					return err
				}
				plans := app.BackupPlans(s.cfg, s.snap)
				var found store.Rescanned
				scan := func(ctx context.Context, l state.Lock) (err error) {
					found, err = s.keeper().Rescan(ctx, l, names[0], plans, dry, counting(c))
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
				case c.JSON:
					return errors.Join(view.JSON(c.Out, found), rescanExit(found))
				}
				return errors.Join(view.Rescanned(c.Out, found, c.Style(c.Out)), rescanExit(found))
			})
		},
	}
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only say what would become of the record")
	return cmd
}

// counting shows how far a rescan is, where a person looks on.
func counting(c *command.Call) func(int) {
	if c.JSON {
		return nil
	}
	last := 0
	return func(n int) {
		if n-last >= 1000 {
			last = n
			fmt.Fprintf(c.Err, "%d artifacts read\n", n)
		}
	}
}

func rescanExit(r store.Rescanned) error {
	lost := slices.ContainsFunc(r.Bad, func(l store.Loss) bool { return l.Condition != providers.Unverified })
	if lost || len(r.Problems)+len(r.Unknown) > 0 {
		return command.Exit(command.ExitPartial, nil)
	}
	return nil
}
