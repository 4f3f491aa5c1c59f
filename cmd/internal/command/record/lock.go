package record

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/holdfast-dr/holdfast/cmd/internal/app"
	"github.com/holdfast-dr/holdfast/cmd/internal/command"
	"github.com/holdfast-dr/holdfast/cmd/internal/view"
	"github.com/holdfast-dr/holdfast/config/unit"
	"github.com/holdfast-dr/holdfast/state"
	"github.com/holdfast-dr/holdfast/state/sqlstore"
)

func lockCommand(c *command.Call) *cobra.Command {
	cmd := &cobra.Command{Use: "lock", GroupID: command.SectionState, Short: "See, hold and release the locks of the state"}
	list := &cobra.Command{
		Use: "list", Short: "Show who holds what, since when and why", Args: cobra.NoArgs,
		Example: "  holdfast lock list",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.ReadState(cmd.Context(), func(a *app.App, st *sqlstore.Store) error {
				locks, err := st.Locks(cmd.Context())
				if err != nil {
					return err
				}
				if c.JSON {
					return view.JSON(c.Out, map[string]any{"locks": locks})
				}
				return view.Locks(c.Out, locks, a.Now(), c.Style(c.Out))
			})
		},
	}
	var reason, expires string
	hold := &cobra.Command{
		Use: "hold", Short: "Keep others from applying for a while; running work and runs by hand go on", Args: cobra.NoArgs,
		Example: "  holdfast lock hold --reason \"storage migration\" --expires 2h",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if reason == "" || expires == "" {
				return errors.New("say why with --reason, and for how long with --expires, such as 2h")
			}
			d, err := unit.ParseDuration(expires)
			if err != nil {
				return fmt.Errorf("--expires: %w", err)
			}
			if d <= 0 {
				return fmt.Errorf("--expires %s: the hold would be over at once; write for how long it lasts, such as 2h", expires)
			}
			return c.WithState(cmd.Context(), func(a *app.App, st *sqlstore.Store) error {
				now := a.Now()
				l, err := st.AcquireLock(cmd.Context(), state.Lock{
					Name: state.ApplyLock, Actor: app.Actor(), Operation: "hold", Reason: reason, Acquired: now, Expires: now.Add(d.Std()),
				})
				if err != nil {
					return err
				}
				return c.Done(map[string]any{"lock": l}, "Held until %s. To end it: holdfast lock release apply --reason ...", c.Time(l.Expires))
			})
		},
	}
	hold.Flags().StringVar(&reason, "reason", "", "why (required)")
	hold.Flags().StringVar(&expires, "expires", "", "for how long, such as 2h (required)")
	var why string
	release := &cobra.Command{
		Use: "release LOCK", Short: "Take a lock away from whoever holds it", Args: cobra.ExactArgs(1), ValidArgsFunction: c.CompleteState(completeLocks),
		Long:    "Take a lock away from whoever holds it. A dead holder loses its lock by itself; this is for a hold that is no longer needed. A live holder notices before its next write and stops.",
		Example: "  holdfast lock release apply --reason \"migration is over\"",
		RunE: func(cmd *cobra.Command, args []string) error {
			if why == "" {
				return errors.New("say why with --reason")
			}
			return c.WithState(cmd.Context(), func(a *app.App, st *sqlstore.Store) error {
				was, err := st.BreakLock(cmd.Context(), args[0], app.Actor(), why, a.Now())
				if errors.Is(err, state.ErrNotFound) {
					return fmt.Errorf("nobody holds a lock named %q; holdfast lock list shows what is held", args[0])
				}
				if err != nil {
					return err
				}
				return c.Done(map[string]any{"lock": was}, "Released; it was held by %s since %s.", was.Actor, c.Time(was.Acquired))
			})
		},
	}
	release.Flags().StringVar(&why, "reason", "", "why; kept in the log of edits (required)")
	cmd.AddCommand(list, hold, release)
	return cmd
}
