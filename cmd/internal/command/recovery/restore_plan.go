package recovery

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/holdfast-dr/holdfast/cmd/internal/app"
	"github.com/holdfast-dr/holdfast/cmd/internal/command"
	"github.com/holdfast-dr/holdfast/cmd/internal/command/execution"
	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/reconcile/artifact"
	"github.com/holdfast-dr/holdfast/reconcile/execute"
	"github.com/holdfast-dr/holdfast/state"
	"github.com/holdfast-dr/holdfast/state/sqlstore"
)

// restoreFlags say what is restored, and where to; plan and apply share them.
type restoreFlags struct {
	artifactFlags
	artifact, at, variant, action string

	dir, to, toDomain string
	inPlace, raw      bool
	lenient           bool
	include           []string
	numeric           bool

	noSafety, quarantined, unverified bool
	reason                            string
}

func (f *restoreFlags) add(c *command.Call, cmd *cobra.Command) {
	f.artifactFlags.add(c, cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.artifact, "artifact", "", "this artifact; holdfast verify --list shows them")
	flags.StringVar(&f.at, "at", "", atUsage)
	flags.StringVar(&f.variant, "variant", "persisted", "of an export: persisted (what was saved) or nonpersisted (what ran, with changes nobody saved)")
	flags.StringVar(&f.action, "action", "", "made by this action: secure_backup or export_domain")
	flags.StringVar(&f.dir, "dir", "", "restore into this directory; absent or empty")
	flags.StringVar(&f.to, "to", "", "restore into this device (name or address)")
	flags.StringVar(&f.toDomain, "to-domain", "", "with --to: into this domain (default: the artifact's)")
	flags.BoolVar(&f.inPlace, "in-place", false, "restore into the device and domain that the artifact is of")
	flags.BoolVar(&f.raw, "raw", false, "with --dir: write the files as they were captured, without the device's own format")
	includeFlag(cmd, &f.include)
	flags.BoolVar(&f.lenient, "lenient", false, "with --to and a domain that is not there: leave out, and list, what the device refuses")
	numericFlag(cmd, &f.numeric)
	flags.BoolVar(&f.noSafety, "no-safety-backup", false, "do not back up first what is overwritten; needs --reason")
	flags.StringVar(&f.reason, "reason", "", "why there is no safety backup; kept in the plan")
	flags.BoolVar(&f.quarantined, "allow-quarantined", false, "with --dir: restore an artifact although a check of it failed")
	flags.BoolVar(&f.unverified, "allow-unverified", false, "with --dir and --raw: restore an artifact that has no manifest to compare it with")
	command.OneOf(cmd, "variant", "persisted", "nonpersisted")
	command.OneOf(cmd, "action", "secure_backup", "export_domain")
	_ = cmd.RegisterFlagCompletionFunc("to", c.CompleteObjects(config.KindDevice)) // the flag was declared above
	_ = cmd.RegisterFlagCompletionFunc("to-domain", c.CompleteState(completeDomains("to")))
	_ = cmd.RegisterFlagCompletionFunc("artifact", c.CompleteState(completeArtifacts))
	_ = cmd.MarkFlagDirname("dir")
}

// check refuses flags that do not say one thing.
func (f *restoreFlags) check() error {
	targets := 0
	for _, given := range []bool{f.dir != "", f.to != "", f.inPlace} {
		if given {
			targets++
		}
	}
	switch {
	case f.artifact == "" && f.device == "":
		return errors.New("say what to restore: --artifact ID, or --device D; holdfast verify --list shows what there is")
	case f.artifact != "" && (f.artifactFlags != (artifactFlags{}) || f.at != ""):
		return errors.New("--artifact names one artifact: leave --device, --domain, --store, --backup-plan and --at away")
	case targets != 1:
		return errors.New("say where to: one of --dir DIRECTORY, --to DEVICE or --in-place")
	case strings.Contains(f.to, "/"):
		return fmt.Errorf("--to names a device, and %s is a path: a directory is --dir", f.to)
	case f.toDomain != "" && f.to == "":
		return errors.New("--to-domain is a domain of the device that --to names")
	case f.raw && f.numeric:
		return errors.New("--raw writes files as they were captured, which have no owners: leave --numeric-owner away")
	case f.raw && f.dir == "":
		return errors.New("--raw writes files, which takes --dir")
	case f.lenient && f.to == "":
		return errors.New("--lenient is for a device's domain that is not there: it takes --to, and --to-domain where the artifact's is there")
	case f.quarantined && f.dir == "":
		return errors.New("--allow-quarantined is only for --dir: such an artifact never goes into a device")
	case f.unverified && (f.dir == "" || !f.raw):
		return errors.New("--allow-unverified takes --dir and --raw: without a manifest nobody knows the form of such an artifact")
	case f.noSafety && f.dir != "":
		return errors.New("--no-safety-backup has no meaning with --dir: nothing is overwritten there")
	case f.noSafety && f.reason == "":
		return errors.New("--no-safety-backup gives up what the target holds: say why with --reason")
	case f.reason != "" && !f.noSafety:
		return errors.New("--reason is why there is no safety backup: it takes --no-safety-backup")
	case f.variant != "persisted" && f.variant != "nonpersisted":
		return fmt.Errorf("--variant=%s: write persisted or nonpersisted", f.variant)
	case f.action != "" && f.action != "secure_backup" && f.action != "export_domain":
		return fmt.Errorf("--action=%s: write secure_backup or export_domain", f.action)
	}
	return checkPatterns(f.include)
}

// options finds the artifact and says where it goes.
func (f *restoreFlags) options(ctx context.Context, c *command.Call, a *app.App, st *sqlstore.Store) (o app.RestoreOptions, err error) {
	o = app.RestoreOptions{
		Raw: f.raw, Include: f.include, Lenient: f.lenient, NumericOwner: f.numeric, NoSafety: f.noSafety, Reason: f.reason, AllowQuarantined: f.quarantined, AllowUnverified: f.unverified,
	}
	if f.artifact != "" {
		found, err := st.Artifacts(ctx, state.ArtifactFilter{ID: f.artifact})
		if err != nil {
			return o, err
		}
		if len(found) == 0 {
			return o, fmt.Errorf("there is no artifact %s; holdfast verify --list shows what there is", f.artifact)
		}
		o.Artifact = found[0]
	} else if o.Artifact, err = pick(ctx, st, a.Now().In(c.Zone()), nil, f.artifactFlags, f.at, f.fits); err != nil {
		return o, err
	}
	switch {
	case f.dir != "":
		o.Dir, err = filepath.Abs(c.File(f.dir))
	case f.inPlace:
		o.Device, o.Domain = o.Artifact.Device, o.Artifact.Domain
	default:
		o.Device, o.Domain = command.Address(config.KindDevice, f.to), f.toDomain
	}
	return o, err
}

// fits reports whether an artifact is of the action and variant that were asked for. A secure backup has no variant. What an
// earlier restore overwrote is taken only by its name.
func (f *restoreFlags) fits(a state.Artifact) bool {
	return !artifact.IsSafety(a) && (f.action == "" || a.Action == f.action) && (a.Variant == "" || a.Variant == f.variant)
}

// plan makes the plan of a restore.
func (f *restoreFlags) plan(ctx context.Context, c *command.Call, a *app.App, st *sqlstore.Store) (*reconcile.Plan, error) {
	o, err := f.options(ctx, c, a, st)
	if err != nil {
		return nil, err
	}
	return a.PlanRestore(ctx, st, o)
}

func restorePlanCommand(c *command.Call) *cobra.Command {
	var f restoreFlags
	var out, format string
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Show what a restore would do; do nothing",
		Long: `Show what a restore would put back, from where, what it depends on and what it would
overwrite. The store and the target are looked at; nothing is changed and no lock is
taken. No configuration is needed, only the state and the store.

Into a device that holds something, the target is backed up first into the store of
the artifact. When that fails, nothing is restored. Such a safety backup is marked by
holdfast verify --list, is kept until holdfast artifact delete, and is restored only by
its name.

A database can have faults that are in its export, such as rows that violate a foreign
key, and that no server takes back. --lenient makes a new database of what can be, and
warns of each thing that cannot.`,
		Example: `  holdfast restore plan --device web --domain content --in-place
  holdfast restore plan --device web --at 2026-11-20T06:00:00Z --dir /srv/restored
  holdfast restore plan --artifact 01JD2Q7Z3V0M8Y4T6N5R1K9WXA --to web-standby --out back.plan
  holdfast restore plan --device db --domain app --to db --to-domain app_salvaged --lenient
  holdfast restore plan --device db --domain app --to db --to-domain app_orders --include public/orders`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(); err != nil {
				return err
			}
			return c.ReadState(cmd.Context(), func(a *app.App, st *sqlstore.Store) error {
				p, err := f.plan(cmd.Context(), c, a, st)
				if err != nil {
					return err
				}
				if out != "" && !p.Errored {
					if err := app.SavePlan(c.File(out), p); err != nil {
						return err
					}
				}
				code := restoreCode(p)
				if err := execution.Show(c, p, execution.Review{Format: format, Code: code}); err != nil {
					return err
				}
				if out != "" && !p.Errored && !c.JSON && format == "text" {
					execution.Saved(c, p, "holdfast restore apply", out)
				}
				return command.Exit(code, nil)
			})
		},
	}
	f.add(c, cmd)
	cmd.Flags().StringVar(&out, "out", "", "also write the plan to this file, for holdfast restore apply FILE")
	cmd.Flags().StringVar(&format, "format", "text", "text, markdown or json")
	command.OneOf(cmd, "format", "text", "markdown", "json")
	return cmd
}

// restoreCode is the exit code of a plan: what something forbids is blocked.
func restoreCode(p *reconcile.Plan) int {
	if p.Errored {
		return command.ExitBlocked
	}
	return command.ExitDone
}

func restoreApplyCommand(c *command.Call) *cobra.Command {
	var f restoreFlags
	var do execution.Flags
	cmd := &cobra.Command{
		Use:   "apply [PLANFILE]",
		Short: "Do a restore that was planned",
		Long: `Do what a saved plan of a restore says, or nothing when something it relies on has
changed. Without a file, make the plan from the same flags as restore plan, show it,
ask, and do it.

Every step is written to the journal. If the process dies at any point, the target
holds the old or the new content whole, and "holdfast apply --resume" goes on.`,
		Example: `  holdfast restore apply back.plan --allow=destroy
  holdfast restore apply --device web --domain content --in-place
  holdfast restore apply --device web --domain content --in-place --auto-approve --allow=destroy
  holdfast restore apply --artifact 01JD2Q7Z3V0M8Y4T6N5R1K9WXA --dir /srv/restored --auto-approve
  holdfast restore apply --device web --dir /srv/restored --include "etc/*.conf" --auto-approve`,
		Args:        cobra.MaximumNArgs(1),
		Annotations: command.Streams,
		RunE: func(cmd *cobra.Command, args []string) error {
			c.OpenStream(cmd)
			allowed, err := do.Allowed()
			if err != nil {
				return err
			}
			if len(args) == 1 {
				if givenBesides(cmd, "auto-approve", "allow") {
					return errors.New("a plan file says what is restored and where to: leave the other flags away")
				}
				return restoreFile(cmd.Context(), c, args[0], allowed)
			}
			if err := f.check(); err != nil {
				return err
			}
			return c.WithState(cmd.Context(), func(a *app.App, st *sqlstore.Store) error {
				p, err := f.plan(cmd.Context(), c, a, st)
				if err != nil {
					return err
				}
				return restore(cmd.Context(), c, a, st, p, allowed, do.Approve)
			})
		},
	}
	f.add(c, cmd)
	cmd.Flags().BoolVar(&do.Approve, "auto-approve", false, "do not ask")
	command.Words(cmd, &do.Allow, "allow", nil, "destroy: allow that what the target holds is replaced", "destroy")
	return cmd
}

// givenBesides reports whether flags of the command were given, besides those named.
func givenBesides(cmd *cobra.Command, names ...string) (given bool) {
	own := cmd.LocalNonPersistentFlags()
	cmd.Flags().Visit(func(f *pflag.Flag) { given = given || own.Lookup(f.Name) != nil && !slices.Contains(names, f.Name) })
	return given
}

// restore shows a plan, asks, and does it.
func restore(ctx context.Context, c *command.Call, a *app.App, st *sqlstore.Store, p *reconcile.Plan, allowed reconcile.Allowed, approve bool) error {
	question := execution.Question{Approved: approve, Opens: reconcile.ClassDestroy, Review: "holdfast restore plan"}
	if err := execution.Announce(c, p, allowed, question, false); err != nil {
		return err
	}
	if p.Errored {
		return command.Exit(restoreCode(p), nil)
	}
	if err := execution.Confirm(ctx, c, p, allowed, question); err != nil {
		return err
	}
	return execution.Begin(ctx, c, a, st, func(ctx context.Context, x *execute.Executor) (execute.Result, error) { return x.Run(ctx, p) })
}

func restoreFile(ctx context.Context, c *command.Call, path string, allowed reconcile.Allowed) error {
	p, err := app.ReadPlan(c.File(path))
	if err != nil {
		return err
	}
	if p.Restore == nil || p.Mode != reconcile.ModeRestore {
		return fmt.Errorf("%s is no plan of a restore: do it with holdfast apply %s", path, path)
	}
	if !p.Applyable {
		return command.Exit(command.ExitUnusable, errors.New("this plan cannot be applied: it was made with errors. Make a new plan"))
	}
	return c.WithState(ctx, func(a *app.App, st *sqlstore.Store) error {
		return restore(ctx, c, a, st, p, allowed, true)
	})
}
