package recovery

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/holdfast-dr/holdfast/cmd/internal/app"
	"github.com/holdfast-dr/holdfast/cmd/internal/command"
	"github.com/holdfast-dr/holdfast/cmd/internal/view"
	"github.com/holdfast-dr/holdfast/config/glob"
	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/reconcile/artifact"
	"github.com/holdfast-dr/holdfast/state"
	"github.com/holdfast-dr/holdfast/state/sqlstore"
)

// includeFlag declares the flag that chooses what of an artifact is put back.
func includeFlag(cmd *cobra.Command, into *[]string) {
	cmd.Flags().StringArrayVar(into, "include", nil,
		"only what matches this pattern, as in include of a files device; may be repeated. holdfast artifact files lists what there is")
}

func checkPatterns(patterns []string) error {
	if _, err := glob.Compile(patterns); err != nil {
		return fmt.Errorf("--include: the %w", err)
	}
	return nil
}

func filesCommand(c *command.Call) *cobra.Command {
	var raw bool
	cmd := &cobra.Command{
		Use:   "files ARTIFACT [PATTERN ...]",
		Short: "List what is inside an artifact",
		Long: `List what is inside an artifact: mode, size, time and path of everything that matches
one of the patterns, or of all. The patterns are those of a files device's include, and
those of holdfast restore --include, which puts back what they match. Only the
artifact's own list is read, and checked on the way. No configuration is needed, only
the state and the store.

--raw lists the files of the artifact as they were captured, as restore --raw writes them.`,
		Example: `  holdfast artifact files 01JQ0M3X7T8R5V2N6K4C9D1E0F
  holdfast artifact files 01JQ0M3X7T8R5V2N6K4C9D1E0F "etc/**"
  holdfast restore 01JQ0M3X7T8R5V2N6K4C9D1E0F --include etc/fstab --dir ./out`,
		Args: cobra.MinimumNArgs(1),

		ValidArgsFunction: c.CompleteState(completeArtifacts),
		RunE: func(cmd *cobra.Command, args []string) error {
			chosen, err := glob.Compile(args[1:])
			if err != nil {
				return fmt.Errorf("the %w", err)
			}
			return c.ReadState(cmd.Context(), func(a *app.App, st *sqlstore.Store) error {
				art, err := listable(cmd.Context(), st, args[0], raw)
				if err != nil {
					return err
				}
				opener, err := recordedOpener(cmd.Context(), c, a, st)
				if err != nil {
					return err
				}
				return list(cmd.Context(), c, art.ID, artifact.Contents(cmd.Context(), opener, art, raw), chosen)
			})
		},
	}
	cmd.Flags().BoolVar(&raw, "raw", false, "list the artifact's files as they were captured")
	return cmd
}

// listable finds the artifact that is named. What is inside one without a manifest nobody knows.
func listable(ctx context.Context, st *sqlstore.Store, id string, raw bool) (state.Artifact, error) {
	found, err := st.Artifacts(ctx, state.ArtifactFilter{ID: id})
	switch {
	case err != nil:
		return state.Artifact{}, err
	case len(found) == 0:
		return state.Artifact{}, fmt.Errorf("there is no artifact %s; holdfast verify --list shows what there is", id)
	}
	art := found[0]
	switch {
	case art.State == state.ArtifactExpiring || art.State == state.ArtifactDeleted:
		return art, fmt.Errorf("artifact %s is %s; holdfast verify --list shows what there is", id, art.State)
	case art.State == state.ArtifactUnverified && !raw:
		return art, fmt.Errorf("artifact %s has no manifest, so nobody knows the form of its files: --raw lists them as they lie in the store", id)
	}
	return art, nil
}

// list prints entries as they come. A list that breaks off says so, also in JSON.
func list(ctx context.Context, c *command.Call, id string, all providers.Contents, chosen glob.Matcher) error {
	out := view.NewEntries(c.Out, id, c.JSON, c.Style(c.Out))
	for e, err := range all {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return command.Exit(command.ExitFailed, out.Broken(err))
		}
		if !chosen.Empty() && !chosen.Match(e.Path, e.Kind == "dir") {
			continue
		}
		if err := out.Add(view.Entry{Path: e.Path, Kind: e.Kind, Size: e.Size, Mode: e.Mode, Modified: e.Modified, Target: e.Target}); err != nil {
			return err
		}
	}
	if err := out.End(); err != nil || out.Count > 0 || chosen.Empty() {
		return err
	}
	if c.JSON {
		return command.Exit(command.ExitFault, nil)
	}
	return fmt.Errorf("nothing in artifact %s matches; without a pattern everything is listed", id)
}
