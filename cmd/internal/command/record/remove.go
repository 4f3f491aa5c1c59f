package record

import (
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfast-dr/holdfast/cmd/internal/app"
	"github.com/holdfast-dr/holdfast/cmd/internal/command"
	"github.com/holdfast-dr/holdfast/cmd/internal/view"
	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/state"
)

func stateRemove(c *command.Call) *cobra.Command {
	var allow []string
	cmd := &cobra.Command{
		Use:   "rm ADDRESS",
		Short: "Forget a recorded object; its runs and artifacts stay",
		Long: `Forget a recorded object. A removed block in the configuration does the same and is reviewed; prefer it.

What is in a store stays there, but nothing of it can be restored or verified until
the store is taken over again. One with good artifacts takes --allow=destroy.`,
		Example: "  holdfast state rm mirror.old\n  holdfast state rm store.old --allow=destroy",
		Args:    cobra.ExactArgs(1),

		ValidArgsFunction: c.CompleteRecorded(),
		RunE: func(cmd *cobra.Command, args []string) error {
			if i := slices.IndexFunc(allow, func(class string) bool { return class != "destroy" }); i >= 0 {
				return fmt.Errorf("--allow=%s: write destroy", allow[i])
			}
			return edit(c, cmd, "state rm", args[0], func(snap *state.Snapshot, at time.Time) ([]state.Change, []state.RoleChange, error) {
				o, err := recorded(snap, args[0])
				if err != nil {
					return nil, nil, err
				}
				if good := goodIn(snap, o.Address); good > 0 {
					warning := forgotten(o.Address, good)
					if len(allow) == 0 {
						return nil, nil, command.Exit(command.ExitBlocked, fmt.Errorf("nothing was done: this needs --allow=destroy. %s", warning))
					}
					fmt.Fprintf(c.Err, "Warning: %s\n", view.Clean(warning))
				}
				return []state.Change{{Op: state.OpDelete, Address: o.Address, IfGeneration: o.Generation, By: app.Actor(), At: at}}, nil, nil
			})
		},
	}
	cmd.Flags().StringSliceVar(&allow, "allow", nil, "destroy: also forget a store that has good artifacts")
	command.OneOf(cmd, "allow", "destroy")
	return cmd
}

// goodIn counts the good artifacts of a store.
func goodIn(snap *state.Snapshot, store string) (n int) {
	for _, a := range snap.Catalogue {
		if a.Store == store && a.State == state.ArtifactGood {
			n++
		}
	}
	return n
}

func forgotten(store string, good int) string {
	return fmt.Sprintf("%s has %s, which cannot be restored or verified once it is forgotten. The way back, while it is declared: holdfast store init --adopt %s",
		store, view.Count(good, "good artifact", "good artifacts"), config.Address(store).Name())
}
