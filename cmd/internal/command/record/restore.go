package record

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/holdfast-dr/holdfast/cmd/internal/command"
	"github.com/holdfast-dr/holdfast/state"
	"github.com/holdfast-dr/holdfast/state/sqlstore"
)

func stateRestore(c *command.Call) *cobra.Command {
	var other bool
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Replace the state with a backup of it; the replaced file is kept",
		Long: `Replace the state with a file that "holdfast state backup" wrote. The copy is
checked first, the replaced file is kept beside it, and the state gets a new
lineage: plans made before are refused. Retention deletes nothing for 7 days, so that
what the restored state does not know is not lost; "holdfast store rescan" takes it in.

A state that somebody holds (holdfast lock hold) is not replaced, and neither is the
state of another project: one that has another lineage than the backup and was never
restored from a backup of it. A state that is damaged, or has nothing in it, is.`,
		Example: "  holdfast state restore /safe/place/holdfast-2026-11-20.db",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			a, err := c.App()
			if err != nil {
				return err
			}
			path := c.StatePath(cmd.Context(), a)
			kept, err := sqlstore.Restore(cmd.Context(), sqlstore.Replacement{From: c.File(args[0]), To: path, At: a.Now(), OtherLineage: other})
			if err != nil {
				return notReplaced(err)
			}
			const next = "Next, for each store: holdfast store rescan STORE takes in what was backed up since; then holdfast plan"
			what := map[string]any{"state": path, "file": args[0]}
			if kept == "" {
				return c.Done(what, "The state %s was restored from %s. %s", path, args[0], next)
			}
			what["kept"] = kept
			return c.Done(what, "The state %s was restored from %s. The one before is kept in %s. %s", path, args[0], kept, next)
		},
	}
	cmd.Flags().BoolVar(&other, "allow-other-lineage", false, "also replace a state that the backup is not one of")
	return cmd
}

// notReplaced adds to a refusal what can be done about it.
func notReplaced(err error) error {
	var held *state.LockedError
	var other *sqlstore.OtherLineageError
	switch {
	case errors.As(err, &held):
		return fmt.Errorf("%w. Nothing was replaced. To end the hold: holdfast lock release %s --reason WHY", err, held.Lock.Name)
	case errors.As(err, &other):
		return command.Exit(command.ExitBlocked, fmt.Errorf("%w. Nothing was replaced. Name the right state with --state, or replace it all the same with --allow-other-lineage; it is kept", err))
	}
	return err
}
