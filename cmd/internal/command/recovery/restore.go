package command

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfast-dr/holdfast/cmd/internal/app"
	"github.com/holdfast-dr/holdfast/cmd/internal/view"
	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/config/unit"
	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/reconcile/artifact"
	"github.com/holdfast-dr/holdfast/state"
	"github.com/holdfast-dr/holdfast/state/sqlstore"
)

// artifactFlags select artifacts.
type artifactFlags struct{ device, domain, store, plan string }

func (f *artifactFlags) add(c *cli, cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.device, "device", "", "of this device (name or address)")
	cmd.Flags().StringVar(&f.domain, "domain", "", "of this domain")
	cmd.Flags().StringVar(&f.store, "store", "", "in this store (name or address)")
	cmd.Flags().StringVar(&f.plan, "backup-plan", "", "made by this backup plan (name or address)")
	for flag, kind := range map[string]string{"device": config.KindDevice, "store": config.KindStore, "backup-plan": config.KindBackupPlan} {
		_ = cmd.RegisterFlagCompletionFunc(flag, c.completeObjects(kind)) // the flag was declared above
	}
	_ = cmd.RegisterFlagCompletionFunc("domain", c.completeDomains("device")) // the flag was declared above
}

func (f *artifactFlags) filter() state.ArtifactFilter {
	return state.ArtifactFilter{
		Device: address(config.KindDevice, f.device), Domain: f.domain, Store: address(config.KindStore, f.store),
		BackupPlan: address(config.KindBackupPlan, f.plan),
	}
}

// address completes a bare name.
func address(kind, name string) string {
	if name == "" {
		return ""
	}
	if _, err := config.ParseAddress(name); err == nil {
		return name
	}
	return kind + "." + name
}

func (c *cli) restoreCommand() *cobra.Command {
	var f artifactFlags
	var dir, at string
	var raw bool
	cmd := &cobra.Command{
		Use:     "restore [ARTIFACT]",
		GroupID: "data",
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

		ValidArgsFunction: c.completeArtifacts,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) == 0 && f.device == "":
				return errors.New("name an artifact, or a device with --device; holdfast verify --list shows what there is")
			case dir == "":
				return errors.New("say where to with --dir DIRECTORY; into a device goes holdfast restore plan")
			}
			return c.withState(cmd.Context(), func(a *app.App, st *sqlstore.Store) error {
				art, err := pick(cmd.Context(), st, a.Now(), args, f, at, func(a state.Artifact) bool { return !artifact.IsSafety(a) })
				if err != nil {
					return err
				}
				dir, err := filepath.Abs(c.file(dir))
				if err != nil {
					return err
				}
				opener, err := c.recordedOpener(cmd.Context(), a, st)
				if err != nil {
					return err
				}
				fmt.Fprintf(c.err, "Restoring artifact %s: %s/%s, taken %s, %s\n", art.ID, art.Device, art.Domain, c.timeText(art.Started), unit.Bytes(art.Bytes))
				warnings, err := artifact.Restore(cmd.Context(), opener, art, artifact.Target{Dir: dir, Raw: raw}, nil)
				if sweepErr := artifact.Sweep(dir, art.ID); err == nil {
					err = sweepErr
				}
				if err != nil {
					return &exitError{code: exitFailed, err: err}
				}
				if c.json {
					return view.JSON(c.out, map[string]any{"artifact": art.ID, "directory": dir, "bytes": art.Bytes, "warnings": warnings})
				}
				for _, w := range warnings {
					fmt.Fprintf(c.err, "Warning: %s\n", view.Clean(w))
				}
				fmt.Fprintf(c.out, "Restored to %s.\n", dir)
				return nil
			})
		},
	}
	cmd.AddCommand(c.restorePlanCommand(), c.restoreApplyCommand())
	f.add(c, cmd)
	cmd.Flags().StringVar(&dir, "dir", "", "directory to restore into; absent or empty (required)")
	cmd.Flags().StringVar(&dir, "to", "", "the same as --dir")
	cmd.Flags().StringVar(&at, "at", "", atUsage)
	cmd.Flags().BoolVar(&raw, "raw", false, "write the files as they are stored, without the device's own format")
	_ = cmd.MarkFlagDirname("dir")
	_ = cmd.Flags().MarkHidden("to") // of restore plan it is a device
	return cmd
}

func (c *cli) timeText(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05 MST") }

// recordedOpener opens providers as recorded; the configuration is read only for secrets, if it can be.
func (c *cli) recordedOpener(ctx context.Context, a *app.App, st *sqlstore.Store) (*providers.Opener, error) {
	snap, err := st.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	if cfg, _, err := a.Load(ctx); err == nil {
		return a.RecordedOpener(cfg.Doc, snap), nil
	}
	return a.RecordedOpener(nil, snap), nil
}

// pick finds the artifact that is meant. Of those that are not named, only what fits is taken.
func pick(ctx context.Context, st *sqlstore.Store, now time.Time, args []string, f artifactFlags, at string, fits func(state.Artifact) bool) (state.Artifact, error) {
	filter := f.filter()
	if len(args) == 1 {
		filter = state.ArtifactFilter{ID: args[0]}
	} else {
		filter.State = state.ArtifactGood
	}
	limit, err := pastTime(at, now)
	if err != nil {
		return state.Artifact{}, err
	}
	all, err := st.Artifacts(ctx, filter)
	if err != nil {
		return state.Artifact{}, err
	}
	if len(args) == 0 {
		all = slices.DeleteFunc(all, func(a state.Artifact) bool { return !fits(a) })
	}
	domains := map[string]bool{}
	for _, a := range all {
		domains[a.Domain] = true
	}
	if len(args) == 0 && f.domain == "" && len(domains) > 1 {
		return state.Artifact{}, fmt.Errorf("%s has artifacts of several domains: name one with --domain: %v", f.device, slices.Sorted(maps.Keys(domains)))
	}
	for _, a := range all { // newest first
		if limit.IsZero() || !a.Started.After(limit) {
			if a.State != state.ArtifactGood {
				return a, fmt.Errorf("artifact %s is %s: %s%s", a.ID, a.State, a.Error, despite(a))
			}
			return a, nil
		}
	}
	hint := ""
	if len(all) > 0 {
		hint = "; the oldest is of " + all[len(all)-1].Started.UTC().Format(time.RFC3339)
	} else if len(args) == 0 {
		if hint, err = nearest(ctx, st, f); err != nil {
			return state.Artifact{}, err
		}
	}
	return state.Artifact{}, fmt.Errorf("there is no %s%s; holdfast verify --list shows what there is", wanted(args, f, at), hint)
}

// despite says how an artifact that is not good is put back all the same.
func despite(a state.Artifact) string {
	const how = " To put it back all the same: holdfast restore apply --dir DIRECTORY --artifact "
	switch a.State {
	case state.ArtifactQuarantined:
		return how + a.ID + " --allow-quarantined"
	case state.ArtifactUnverified:
		return how + a.ID + " --raw --allow-unverified"
	}
	return ""
}

// wanted says which artifact was asked for.
func wanted(args []string, f artifactFlags, at string) string {
	if len(args) == 1 {
		return "artifact " + args[0]
	}
	text := "good artifact"
	for _, part := range []struct{ before, value string }{{" of ", f.device}, {"/", f.domain}, {" in store ", f.store}, {" of backup plan ", f.plan}, {" as of ", at}} {
		if part.value != "" {
			text += part.before + part.value
		}
	}
	return text
}

func sorted[V any](all map[string]V) []string {
	return slices.Sorted(maps.Keys(all))
}
