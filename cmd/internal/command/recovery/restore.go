// Package recovery is the work on artifacts: the commands verify, restore and artifact. They go by what is recorded, and need no
// configuration.
package recovery

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/holdfast-dr/holdfast/cmd/internal/app"
	"github.com/holdfast-dr/holdfast/cmd/internal/command"
	"github.com/holdfast-dr/holdfast/cmd/internal/view"
	"github.com/holdfast-dr/holdfast/config/unit"
	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/reconcile/artifact"
	"github.com/holdfast-dr/holdfast/state"
	"github.com/holdfast-dr/holdfast/state/sqlstore"
)

// Commands are verify, restore and artifact.
func Commands(c *command.Call) []*cobra.Command {
	return []*cobra.Command{verifyCommand(c), restoreCommand(c), artifactCommand(c)}
}

func restoreCommand(c *command.Call) *cobra.Command {
	var f artifactFlags
	var dir, at string
	var raw bool
	cmd := &cobra.Command{
		Use:     "restore [ARTIFACT]",
		GroupID: command.SectionData,
		Short:   "Put an artifact's content into a directory",
		Long: `Put the content of an artifact into a directory that is absent or empty: the named
artifact, or the newest good one of a device and domain, as of a time if one is
given. Every byte is checked against its SHA-256 on the way; the directory appears
when all of it is there. No configuration is needed, only the state and the store.

restore plan and restore apply do it as a run: reviewed, recorded in the history,
resumable, and also into a device.`,
		Example: `  holdfast restore --device web --domain content --dir /srv/restored
  holdfast restore --device web --at 2026-11-20T06:00:00Z --dir /srv/restored
  holdfast restore 01JD2Q7Z3V0M8Y4T6N5R1K9WXA --dir ./out --raw`,
		Args: cobra.MaximumNArgs(1),

		ValidArgsFunction: c.CompleteState(completeArtifacts),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) == 0 && f.device == "":
				return errors.New("name an artifact, or a device with --device; holdfast verify --list shows what there is")
			case dir == "":
				return errors.New("say where to with --dir DIRECTORY; into a device goes holdfast restore plan")
			}
			return c.ReadState(cmd.Context(), func(a *app.App, st *sqlstore.Store) error {
				art, err := pick(cmd.Context(), st, a.Now(), args, f, at, func(a state.Artifact) bool { return !artifact.IsSafety(a) })
				if err != nil {
					return err
				}
				dir, err := filepath.Abs(c.File(dir))
				if err != nil {
					return err
				}
				opener, err := recordedOpener(cmd.Context(), c, a, st)
				if err != nil {
					return err
				}
				fmt.Fprintf(c.Err, "Restoring artifact %s: %s/%s, taken %s, %s\n", art.ID, art.Device, art.Domain, timeText(art.Started), unit.Bytes(art.Bytes))
				warnings, err := artifact.Restore(cmd.Context(), opener, art, artifact.Target{Dir: dir, Raw: raw}, nil)
				if sweepErr := artifact.Sweep(dir, art.ID); err == nil {
					err = sweepErr
				}
				if err != nil {
					return command.Exit(command.ExitFailed, err)
				}
				if c.JSON {
					return view.JSON(c.Out, map[string]any{"artifact": art.ID, "directory": dir, "bytes": art.Bytes, "warnings": warnings})
				}
				for _, w := range warnings {
					fmt.Fprintf(c.Err, "Warning: %s\n", view.Clean(w))
				}
				fmt.Fprintf(c.Out, "Restored to %s.\n", dir)
				return nil
			})
		},
	}
	cmd.AddCommand(restorePlanCommand(c), restoreApplyCommand(c))
	f.add(c, cmd)
	cmd.Flags().StringVar(&dir, "dir", "", "directory to restore into; absent or empty (required)")
	cmd.Flags().StringVar(&dir, "to", "", "the same as --dir")
	cmd.Flags().StringVar(&at, "at", "", atUsage)
	cmd.Flags().BoolVar(&raw, "raw", false, "write the files as they are stored, without the device's own format")
	_ = cmd.MarkFlagDirname("dir")
	_ = cmd.Flags().MarkHidden("to") // of restore plan it is a device
	return cmd
}

// recordedOpener opens providers as recorded; the configuration is read only for secrets, if it can be.
func recordedOpener(ctx context.Context, c *command.Call, a *app.App, st *sqlstore.Store) (*providers.Opener, error) {
	snap, err := st.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	if cfg, _, err := a.Load(ctx); err == nil {
		return a.RecordedOpener(cfg.Doc, snap), nil
	}
	return a.RecordedOpener(nil, snap), nil
}
