package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfast-dr/holdfast/cmd/internal/app"
	"github.com/holdfast-dr/holdfast/cmd/internal/command"
	"github.com/holdfast-dr/holdfast/cmd/internal/view"
	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/state"
	"github.com/holdfast-dr/holdfast/state/sqlstore"
)

func stateCommand(c *command.Call) *cobra.Command {
	cmd := &cobra.Command{Use: "state", GroupID: command.SectionState, Short: "Look at, edit, copy and restore the recorded state"}
	cmd.AddCommand(stateList(c), stateShow(c), stateMove(c), stateRemove(c), statePull(c), stateBackup(c), stateRestore(c), stateAdopt(c), stateReleaseHold(c))
	return cmd
}

func stateList(c *command.Call) *cobra.Command {
	return &cobra.Command{
		Use:     "list [PATTERN ...]",
		Short:   "List recorded objects: all, or those that are named or match a pattern with *",
		Example: "  holdfast state list\n  holdfast state list 'backup_plan.*' store.vault",
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.ReadState(cmd.Context(), func(_ *app.App, st *sqlstore.Store) error {
				objects, err := recordedObjects(cmd, st, args)
				if err != nil {
					return err
				}
				if c.JSON {
					return view.JSON(c.Out, map[string]any{"objects": objects})
				}
				if len(objects) == 0 && len(args) > 0 {
					_, err := fmt.Fprintln(c.Out, view.Line("Nothing that is recorded matches "+strings.Join(args, " or ")+"."))
					return err
				}
				return view.Objects(c.Out, objects, c.Style(c.Out))
			})
		},
	}
}

// completeRecorded offers the addresses of the recorded state.
func completeRecorded(cmd *cobra.Command, st *sqlstore.Store) ([]string, error) {
	snap, err := st.Snapshot(cmd.Context())
	if err != nil {
		return nil, err
	}
	return addresses(snap), nil
}

func addresses(snap *state.Snapshot) []string { return slices.Sorted(maps.Keys(snap.Objects)) }

// recorded finds an object by its address, or by a bare name that only one has.
func recorded(snap *state.Snapshot, name string) (state.Object, error) {
	if o, ok := snap.Objects[name]; ok {
		return o, nil
	}
	all := addresses(snap)
	named := slices.DeleteFunc(slices.Clone(all), func(a string) bool { return config.Address(a).Name() != name })
	if len(named) == 1 {
		return snap.Objects[named[0]], nil
	}
	hint := ""
	if near := config.Near(name, all); len(near) > 0 {
		named = near
	}
	if len(named) > 0 {
		hint = fmt.Sprintf(" (did you mean %s?)", strings.Join(named, " or "))
	}
	return state.Object{}, fmt.Errorf("%s is not recorded%s; holdfast state list shows what is", name, hint)
}

func recordedObjects(cmd *cobra.Command, st *sqlstore.Store, patterns []string) ([]state.Object, error) {
	snap, err := st.Snapshot(cmd.Context())
	if err != nil {
		return nil, err
	}
	named := map[string]bool{}
	for _, p := range patterns {
		if strings.Contains(p, "*") {
			continue
		}
		o, err := recorded(snap, p)
		if err != nil {
			return nil, err
		}
		named[o.Address] = true
	}
	objects := []state.Object{}
	for _, addr := range addresses(snap) {
		keep := len(patterns) == 0 || named[addr]
		for _, p := range patterns {
			keep = keep || config.MatchPattern(p, addr)
		}
		if keep {
			objects = append(objects, snap.Objects[addr])
		}
	}
	return objects, nil
}

func stateShow(c *command.Call) *cobra.Command {
	return &cobra.Command{
		Use:     "show ADDRESS",
		Short:   "Show one recorded object with its specification, as JSON",
		Example: "  holdfast state show store.vault\n  holdfast state show failover.orders | jq .role",
		Args:    cobra.ExactArgs(1),

		ValidArgsFunction: c.CompleteRecorded(),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.ReadState(cmd.Context(), func(_ *app.App, st *sqlstore.Store) error {
				snap, err := st.Snapshot(cmd.Context())
				if err != nil {
					return err
				}
				o, err := recorded(snap, args[0])
				if err != nil {
					return err
				}
				shown := map[string]any{"object": o}
				if r, ok := snap.Roles[o.Address]; ok {
					shown["role"] = r
				}
				if p, ok := snap.Positions[o.Address]; ok {
					shown["position"] = p
				}
				if h, ok := snap.Artifacts[o.Address]; ok {
					shown["artifacts"] = h
				}
				return view.JSON(c.Out, shown)
			})
		},
	}
}

func stateMove(c *command.Call) *cobra.Command {
	return &cobra.Command{
		Use:     "mv FROM TO",
		Short:   "Rename a recorded object; its history, artifacts and role follow",
		Long:    "Rename a recorded object. A moved block in the configuration does the same and is reviewed; prefer it.",
		Example: "  holdfast state mv backup_plan.nightly backup_plan.night",
		Args:    cobra.ExactArgs(2),

		ValidArgsFunction: c.CompleteState(completeRecorded),
		RunE: func(cmd *cobra.Command, args []string) error {
			from, err := config.ParseAddress(args[0])
			if err != nil {
				return err
			}
			to, err := config.ParseAddress(args[1])
			if err != nil {
				return err
			}
			if from.Kind() != to.Kind() {
				return fmt.Errorf("%s is a %s and cannot become a %s", from, from.Kind(), to.Kind())
			}
			return edit(c, cmd, "state mv", string(from)+" -> "+string(to), func(snap *state.Snapshot, at time.Time) ([]state.Change, []state.RoleChange, error) {
				o, err := recorded(snap, string(from))
				if err != nil {
					return nil, nil, err
				}
				return []state.Change{{
					Op: state.OpMove, Address: string(to), Previous: string(from), IfGeneration: o.Generation, Spec: o.Spec, Digest: o.Digest,
					Protect: o.Protect, Identity: o.Identity, Commit: o.Commit, By: app.Actor(), At: at,
				}}, nil, nil
			})
		},
	}
}

// edit changes the record under the apply lock and leaves an entry in the log of edits.
func edit(c *command.Call, cmd *cobra.Command, action, object string, changes func(*state.Snapshot, time.Time) ([]state.Change, []state.RoleChange, error)) error {
	ctx := cmd.Context()
	return c.WithState(ctx, func(a *app.App, st *sqlstore.Store) error {
		return a.Locked(ctx, st, action, func(l state.Lock) error {
			snap, err := st.Snapshot(ctx)
			if err != nil {
				return err
			}
			objects, roles, err := changes(snap, a.Now())
			if err != nil {
				return err
			}
			if _, err := st.Record(ctx, l, objects, roles); err != nil {
				return err
			}
			detail, err := json.Marshal(map[string]any{"generation": snap.Meta.Generation})
			if err != nil {
				return err
			}
			if err := st.Log(ctx, a.Now(), app.Actor(), action, object, detail); err != nil {
				return err
			}
			return c.Done(map[string]any{"action": action, "object": object}, "Done: %s %s.", action, object)
		})
	})
}

func statePull(c *command.Call) *cobra.Command {
	return &cobra.Command{
		Use:     "pull",
		Short:   "Write the whole state as JSON lines to standard output; it contains no secret",
		Example: "  holdfast state pull > state.jsonl",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.ReadState(cmd.Context(), func(_ *app.App, st *sqlstore.Store) error { return st.Export(cmd.Context(), c.Out) })
		},
	}
}

func stateAdopt(c *command.Call) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "adopt FAILOVER",
		Short: "Record the active side that a failover's targets show",
		Long: `Look at the targets of a failover and record what they show as its role, with an
epoch above every marker found. For a state that was restored from a backup, a
side that was moved by hand, or a switchover with an unknown outcome. Refused while the targets disagree.`,
		Example: "  holdfast state adopt failover.orders --reason \"moved by hand during the outage\"",
		Args:    cobra.ExactArgs(1),

		ValidArgsFunction: c.CompleteObjects(config.KindFailover),
		RunE: func(cmd *cobra.Command, args []string) error {
			if reason == "" {
				return errors.New("say why with --reason")
			}
			a, err := c.App()
			if err != nil {
				return err
			}
			cfg, err := c.Load(cmd.Context(), a)
			if err != nil {
				return err
			}
			addr, err := command.Resolve(cfg.Doc, args[0], config.KindFailover)
			if err != nil {
				return err
			}
			return edit(c, cmd, "state adopt", addr, func(snap *state.Snapshot, at time.Time) ([]state.Change, []state.RoleChange, error) {
				change, err := a.Adopt(cmd.Context(), cfg, snap, config.Address(addr), reason)
				return nil, []state.RoleChange{change}, err
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why; kept with the role (required)")
	return cmd
}

func stateReleaseHold(c *command.Call) *cobra.Command {
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
			return c.WithState(cmd.Context(), func(a *app.App, st *sqlstore.Store) error {
				meta, err := st.Meta(cmd.Context())
				if err != nil {
					return err
				}
				if !meta.Hold.Holds(a.Now()) {
					return c.Done(map[string]any{"released": false}, "Nothing holds deletions back.")
				}
				if err := st.Hold(cmd.Context(), state.Hold{}, app.Actor(), reason, a.Now()); err != nil {
					return err
				}
				return c.Done(map[string]any{"released": true, "was": meta.Hold}, "Released: retention deletes again with the next plan.")
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why; kept in the log of edits (required)")
	return cmd
}
