// Package recovery is the work on artifacts: the commands verify, restore and artifact. They go by what is recorded, and need no
// configuration.
package recovery

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/holdfast-dr/holdfast/cmd/internal/app"
	"github.com/holdfast-dr/holdfast/cmd/internal/command"
	"github.com/holdfast-dr/holdfast/cmd/internal/view"
	"github.com/holdfast-dr/holdfast/cmd/internal/view/progress"
	"github.com/holdfast-dr/holdfast/config/diag"
	"github.com/holdfast-dr/holdfast/config/unit"
	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/reconcile"
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
	var dir, at, to string
	var raw bool
	var include []string
	var numeric bool
	cmd := &cobra.Command{
		Use:     "restore [ARTIFACT]",
		GroupID: command.SectionData,
		Short:   "Put an artifact's content into a directory",
		Long: `Put the content of an artifact into a directory that is absent or empty: the named
artifact, or the newest good one of a device and domain, as of a time if one is
given. Every byte is checked against its SHA-256 on the way; the directory appears
when all of it is there. No configuration is needed, only the state and the store.

--include takes only what is wanted out of a large artifact: the rest of it is not
unpacked. holdfast artifact files lists what there is.

restore plan and restore apply do it as a run: reviewed, recorded in the history,
resumable, and also into a device.`,
		Example: `  holdfast restore --device web --domain content --dir /srv/restored
  holdfast restore --device web --at 2026-11-20T06:00:00Z --dir /srv/restored
  holdfast restore 01JD2Q7Z3V0M8Y4T6N5R1K9WXA --dir ./out --include etc/fstab
  holdfast restore 01JD2Q7Z3V0M8Y4T6N5R1K9WXA --dir ./out --raw`,
		Args: cobra.MaximumNArgs(1),

		ValidArgsFunction: c.CompleteState(completeArtifacts),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case to != "":
				return errors.New(notTo(to, args, f))
			case len(args) == 0 && f.device == "":
				return errors.New("name an artifact, or a device with --device; holdfast verify --list shows what there is")
			case dir == "":
				return errors.New("say where to with --dir DIRECTORY; into a device goes holdfast restore plan")
			}
			if err := checkPatterns(include); err != nil {
				return err
			}
			return c.ReadState(cmd.Context(), func(a *app.App, st *sqlstore.Store) error {
				art, err := pick(cmd.Context(), st, a.Now().In(c.Zone()), args, f, at, func(a state.Artifact) bool { return !artifact.IsSafety(a) })
				if err != nil {
					return err
				}
				dir, err := filepath.Abs(c.File(dir))
				if err != nil {
					return err
				}
				return quick(cmd.Context(), c, a, st, app.RestoreOptions{Artifact: art, Dir: dir, Raw: raw, Include: include, NumericOwner: numeric})
			})
		},
	}
	cmd.AddCommand(restorePlanCommand(c), restoreApplyCommand(c))
	f.add(c, cmd)
	cmd.Flags().StringVar(&dir, "dir", "", "directory to restore into; absent or empty (required)")
	cmd.Flags().StringVar(&to, "to", "", "refused: it is a flag of restore plan and restore apply")
	cmd.Flags().StringVar(&at, "at", "", atUsage)
	cmd.Flags().BoolVar(&raw, "raw", false, "write the files as they are stored, without the device's own format")
	includeFlag(cmd, &include)
	numericFlag(cmd, &numeric)
	_ = cmd.MarkFlagDirname("dir")
	_ = cmd.Flags().MarkHidden("to") // it was declared above
	return cmd
}

func numericFlag(cmd *cobra.Command, numeric *bool) {
	cmd.Flags().BoolVar(numeric, "numeric-owner", false,
		"give files to the numbers of users and groups that they had, and not to the numbers that the names have here")
}

// notTo says what --to was meant to be.
func notTo(to string, args []string, f artifactFlags) string {
	text := fmt.Sprintf("--to is not a flag of this restore, which writes a directory: that is --dir %s", to)
	if strings.Contains(to, "/") {
		return text
	}
	what := "--device " + f.device
	if len(args) == 1 {
		what = "--artifact " + args[0]
	}
	return fmt.Sprintf("%s. Into a device named %s it goes with: holdfast restore plan %s --to %s", text, to, what, to)
}

// quick restores into a directory, without a record, when nothing speaks against it.
func quick(ctx context.Context, c *command.Call, a *app.App, st *sqlstore.Store, o app.RestoreOptions) error {
	p, err := a.PlanRestore(ctx, st, o)
	if err != nil {
		return err
	}
	if p.Errored {
		return refused(c, p)
	}
	opener, err := recordedOpener(ctx, c, a, st)
	if err != nil {
		return err
	}
	art := o.Artifact
	fmt.Fprintf(c.Err, "Restoring artifact %s: %s/%s, taken %s, %s\n", art.ID, art.Device, art.Domain, timeText(art.Started, c.Zone()), unit.Bytes(art.Bytes))
	var show *progress.Display
	if !c.JSON {
		show = progress.New(c.Out)
		defer show.Close()
	}
	live := newReading(show, a, art, "restore")
	warnings, err := artifact.Restore(ctx, opener, art, artifact.Target{Dir: o.Dir, Raw: o.Raw, Include: o.Include, NumericOwner: o.NumericOwner}, live.read)
	live.end()
	if sweepErr := artifact.Sweep(o.Dir, art.ID); err == nil {
		err = sweepErr
	}
	if err != nil {
		return command.Exit(command.ExitFailed, err)
	}
	if c.JSON {
		done := map[string]any{"artifact": art.ID, "directory": o.Dir, "bytes": art.Bytes, "warnings": warnings}
		if len(o.Include) > 0 {
			done["include"], done["bytes"] = o.Include, live.n
		}
		return view.JSON(c.Out, done)
	}
	for _, w := range warnings {
		fmt.Fprintf(c.Err, "Warning: %s\n", view.Clean(w))
	}
	return show.Print(fmt.Sprintf("Restored to %s.", o.Dir))
}

// refused ends the command before anything was touched, with what forbids the restore.
func refused(c *command.Call, p *reconcile.Plan) error {
	errs := diag.List(slices.DeleteFunc(slices.Clone(p.Findings), func(d diag.Diagnostic) bool { return d.Severity != diag.Error }))
	if !c.JSON {
		return errors.Join(view.Diagnostics(c.Err, errs, c.Style(c.Err)), command.Exit(restoreCode(p), nil))
	}
	var said []string
	for _, d := range errs {
		said = append(said, fmt.Sprintf("%s [%s]: %s", d.Summary, d.Code, d.Detail))
	}
	return command.Exit(restoreCode(p), errors.New(strings.Join(said, " ")))
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
