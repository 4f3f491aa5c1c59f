package recovery

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/holdfast-dr/holdfast/cmd/internal/app"
	"github.com/holdfast-dr/holdfast/cmd/internal/command"
	"github.com/holdfast-dr/holdfast/state"
	"github.com/holdfast-dr/holdfast/state/sqlstore"
)

func artifactCommand(c *command.Call) *cobra.Command {
	cmd := &cobra.Command{
		Use: "artifact", GroupID: command.SectionData, Short: "See what is inside artifacts, keep them from deletion, or delete one",
		Example: "  holdfast artifact files 01JQ0M3X7T8R5V2N6K4C9D1E0F\n  holdfast artifact pin 01JQ0M3X7T8R5V2N6K4C9D1E0F --reason \"audit 2026\"\n  holdfast artifact delete 01JQ0M3X7T8R5V2N6K4C9D1E0F --reason \"the restore was right\"",
	}
	cmd.AddCommand(
		filesCommand(c),
		deleteCommand(c),
		pinCommand(c, "pin", true, "Keep an artifact from deletion, whatever its retention says"),
		pinCommand(c, "unpin", false, "Let retention decide about an artifact again"),
	)
	return cmd
}

func pinCommand(c *command.Call, word string, pinned bool, short string) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:     word + " ARTIFACT",
		Short:   short,
		Long:    short + ".\nA plan that was to delete a pinned artifact is refused or leaves it alone; make a new one.",
		Example: "  holdfast artifact " + word + " 01JQ0M3X7T8R5V2N6K4C9D1E0F --reason \"audit 2026\"",
		Args:    cobra.ExactArgs(1),

		ValidArgsFunction: c.CompleteState(completeArtifacts),
		RunE: func(cmd *cobra.Command, args []string) error {
			if reason == "" {
				return errors.New("say why with --reason")
			}
			return c.WithState(cmd.Context(), func(a *app.App, st *sqlstore.Store) error {
				err := st.Pin(cmd.Context(), args[0], pinned, app.Actor(), reason, a.Now())
				switch {
				case errors.Is(err, state.ErrStale): // of the artifact, not of a plan
					return command.Exit(command.ExitFault, err)
				case errors.Is(err, state.ErrNotFound):
					return fmt.Errorf("there is no artifact %s; holdfast verify --list shows what there is", args[0])
				case err != nil:
					return err
				}
				return c.Done(map[string]any{"artifact": args[0], "pinned": pinned}, "Artifact %s: %sned.", args[0], word)
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why; kept in the log of edits (required)")
	return cmd
}
