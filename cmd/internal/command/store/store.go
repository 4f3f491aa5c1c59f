// Package store is the work on the places where artifacts lie: the command store.
package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/holdfast-dr/holdfast/cmd/internal/app"
	"github.com/holdfast-dr/holdfast/cmd/internal/command"
	"github.com/holdfast-dr/holdfast/cmd/internal/view"
	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/config/diag"
	"github.com/holdfast-dr/holdfast/reconcile/store"
	"github.com/holdfast-dr/holdfast/state"
	"github.com/holdfast-dr/holdfast/state/sqlstore"
)

// Commands are the command store.
func Commands(c *command.Call) []*cobra.Command { return []*cobra.Command{storeCommand(c)} }

func storeCommand(c *command.Call) *cobra.Command {
	cmd := &cobra.Command{
		Use: "store", GroupID: command.SectionData, Short: "Look after the places where artifacts lie",
		Long: `Look after stores: mark their places, see how they stand, check them, and rebuild
the record of artifacts from a store when the state was lost. A store that is
recorded is looked at as it is recorded; one that is only declared, as it is declared.`,
	}
	cmd.AddCommand(storeInit(c), storeStatus(c), storeCheck(c), storeRescan(c))
	return cmd
}

// stores is what the commands on stores work with. The configuration is nil when it cannot be read: then there are only recorded stores.
type stores struct {
	app  *app.App
	st   *sqlstore.Store
	cfg  *app.Config
	snap *state.Snapshot
}

func (s *stores) doc() *config.Document {
	if s.cfg == nil {
		return nil
	}
	return s.cfg.Doc
}

func (s *stores) keeper() *store.Keeper { return s.app.Keeper(s.doc(), s.snap, s.st) }

// addresses lists the recorded and the declared stores.
func (s *stores) addresses() []string {
	all := map[string]bool{}
	for address := range s.snap.Objects {
		all[address] = config.Address(address).Kind() == config.KindStore
	}
	if s.cfg != nil {
		for _, o := range s.cfg.Doc.Objects() {
			if a := o.Head().Address; a.Kind() == config.KindStore {
				all[string(a)] = true
			}
		}
	}
	maps.DeleteFunc(all, func(_ string, is bool) bool { return !is })
	return slices.Sorted(maps.Keys(all))
}

// named finds stores by address or bare name; without a name all of them.
func (s *stores) named(names []string) ([]string, error) {
	all := s.addresses()
	if len(names) == 0 {
		return all, nil
	}
	var found []string
	for _, n := range names {
		a := command.Address(config.KindStore, n)
		if !slices.Contains(all, a) {
			hint := ""
			if near := diag.Nearest(a, all); near != "" {
				hint = " (did you mean " + near + "?)"
			} else if len(all) > 0 {
				hint = "; there is " + strings.Join(all, ", ")
			}
			return nil, fmt.Errorf("no store %q is recorded or declared%s", n, hint)
		}
		found = append(found, a)
	}
	return found, nil
}

// withStores opens the state, by Call.WithState or Call.ReadState, and, if it can be read, the configuration.
func withStores(ctx context.Context, open func(context.Context, func(*app.App, *sqlstore.Store) error) error, do func(*stores) error) error {
	return open(ctx, func(a *app.App, st *sqlstore.Store) error {
		s := &stores{app: a, st: st}
		cfg, _, err := a.Load(ctx)
		if err == nil {
			s.cfg = cfg
		}
		if s.snap, err = st.Snapshot(ctx); err != nil {
			return err
		}
		return do(s)
	})
}

// completeStores offers the recorded and the declared stores.
func completeStores(c *command.Call) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		var names []string
		err := withStores(cmd.Context(), c.ReadState, func(s *stores) error {
			names = command.Offers(s.addresses(), word)
			return nil
		})
		if err != nil { // no state yet: what is declared
			return c.CompleteObjects(config.KindStore)(cmd, args, word)
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

func storeInit(c *command.Call) *cobra.Command {
	var adopt, noRescan bool
	cmd := &cobra.Command{
		Use:   "init STORE",
		Short: "Mark the place of a store now, or take over what is there",
		Long: `Mark the place of a declared store and record it, as the apply that records it for
the first time does. Only an absent or empty place is marked.

With --adopt, take over what is there:
  content without a mark   becomes the store and stays as it is
  a store whose state was  is known to this state from then on; its artifacts are
  lost                     taken in at once, as by holdfast store rescan
  an older copy, mounted   becomes the one that counts; the other one is refused
  in the store's place     when it comes back
Every adoption raises the epoch in the mark, so that no other copy and no other
state can be mixed up with this one. Nothing in the place is deleted.`,
		Example: "  holdfast store init nas\n  holdfast store init --adopt nas\n  holdfast store init --adopt store.nas --no-rescan",
		Args:    cobra.ExactArgs(1),

		ValidArgsFunction: completeStores(c),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			return withStores(ctx, c.WithState, func(s *stores) error {
				found, err := s.named(args)
				if err != nil {
					return err
				}
				d, declared := app.DeclaredStore(s.cfg, found[0])
				_, known := s.snap.Objects[d.Address]
				if !declared && !known {
					return fmt.Errorf("%s is not recorded, and the configuration that declares it cannot be read; holdfast validate shows why", d.Address)
				}
				return s.app.Holding(ctx, s.st, "store init", func(ctx context.Context, l state.Lock) error {
					out, err := s.keeper().Init(ctx, l, d, adopt)
					if err != nil {
						return err
					}
					if !adopt || known || noRescan {
						return storeDone(c, out, known)
					}
					return adopted(ctx, c, s, l, out)
				})
			})
		},
	}
	cmd.Flags().BoolVar(&adopt, "adopt", false, "take over a place that has content, or another copy of the store")
	cmd.Flags().BoolVar(&noRescan, "no-rescan", false, "do not take in the artifacts of a store that this state does not know")
	return cmd
}

func storeDone(c *command.Call, out store.Outcome, known bool) error {
	if c.JSON {
		return view.JSON(c.Out, out)
	}
	text := map[string]string{
		store.Initialised: "is initialised", store.Adopted: "was taken over", store.Recorded: "carried its mark already and is recorded", store.Nothing: "is initialised already; nothing was changed",
	}[out.Done]
	next := ""
	if out.Done == store.Adopted {
		next = " Next: holdfast store rescan " + config.Address(out.Store).Name()
		if known {
			next += " takes in what its record does not have"
		}
	}
	_, err := fmt.Fprintf(c.Out, "%s %s: identity %s, epoch %d.%s\n", out.Store, text, out.Identity, out.Epoch, next)
	return err
}

// adopted takes in the artifacts of a store that was just adopted.
func adopted(ctx context.Context, c *command.Call, s *stores, l state.Lock, out store.Outcome) error {
	if !c.JSON {
		fmt.Fprintf(c.Out, "%s was taken over: identity %s, epoch %d.\n", out.Store, out.Identity, out.Epoch)
	}
	var err error
	if s.snap, err = s.st.Snapshot(ctx); err != nil {
		return err
	}
	found, err := s.keeper().Rescan(ctx, l, out.Store, app.BackupPlans(s.cfg, s.snap), false, counting(c))
	if err != nil {
		return fmt.Errorf("%w; the store is taken over: go on with holdfast store rescan %s", err, config.Address(out.Store).Name())
	}
	if c.JSON {
		return errors.Join(view.JSON(c.Out, map[string]any{"init": out, "rescan": found}), rescanExit(found))
	}
	return errors.Join(view.Rescanned(c.Out, found, c.Style(c.Out)), rescanExit(found))
}

func storeStatus(c *command.Call) *cobra.Command {
	return &cobra.Command{
		Use:   "status [STORE ...]",
		Short: "Show how stores stand: identity, space, artifacts",
		Long: `Look at stores and show their identity and epoch beside the recorded ones, free
space, what is recorded in them and how far their catalogues go. The exit code is
1 when something does not fit.`,
		Example: "  holdfast store status\n  holdfast store status nas\n  holdfast store status --json | jq '.stores[] | select(.problems != [])'",

		ValidArgsFunction: completeStores(c),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withStores(cmd.Context(), c.ReadState, func(s *stores) error {
				names, err := s.named(args)
				if err != nil {
					return err
				}
				all, code := []store.Status{}, command.ExitDone
				for _, n := range names {
					st := s.keeper().Status(cmd.Context(), s.snap, n)
					if all = append(all, st); len(st.Problems) > 0 {
						code = command.ExitFault
					}
				}
				if err := cmd.Context().Err(); err != nil {
					return err
				}
				if c.JSON {
					return errors.Join(view.JSON(c.Out, map[string]any{"stores": all}), command.Exit(code, nil))
				}
				return errors.Join(view.Stores(c.Out, all, c.Style(c.Out)), command.Exit(code, nil))
			})
		},
	}
}

func storeCheck(c *command.Call) *cobra.Command {
	var sweep, repair bool
	cmd := &cobra.Command{
		Use:   "check [STORE ...]",
		Short: "Compare stores with themselves and with the record",
		Long: `Compare the catalogue, the manifests and the files of stores with each other and
with the record, without reading the content of artifacts: holdfast verify does
that. Entries that are gone from the catalogue are noticed too. The exit code is 1
when something was found.

With --sweep, remove afterwards what crashes left: staging areas that nobody wrote
to for an hour, and deletions that broke off. What a task that has not ended may go
on with stays.

With --repair, put artifacts into the catalogue that are there and that it does not
know, as a crash of an earlier version may have left them, or an adoption.`,
		Example: "  holdfast store check\n  holdfast store check nas --sweep\n  holdfast store check nas --repair\n  holdfast store check nas --json | jq '.stores[].findings[]'",

		ValidArgsFunction: completeStores(c),
		RunE: func(cmd *cobra.Command, args []string) error {
			open := c.ReadState
			if sweep || repair {
				open = c.WithState
			}
			return withStores(cmd.Context(), open, func(s *stores) error {
				names, err := s.named(args)
				if err != nil {
					return err
				}
				var all []store.Checked
				code := command.ExitDone
				for _, n := range names {
					one, err := checkStore(cmd.Context(), s, n, sweep, repair)
					if err != nil {
						return err
					}
					if all = append(all, one); one.Error != "" || len(one.Findings) > 0 {
						code = command.ExitFault
					}
				}
				if c.JSON {
					return errors.Join(view.JSON(c.Out, map[string]any{"stores": append([]store.Checked{}, all...)}), command.Exit(code, nil))
				}
				return errors.Join(view.StoreChecks(c.Out, all, c.Style(c.Out)), command.Exit(code, nil))
			})
		},
	}
	cmd.Flags().BoolVar(&sweep, "sweep", false, "remove what crashes left")
	cmd.Flags().BoolVar(&repair, "repair", false, "put artifacts into the catalogue that it does not know")
	return cmd
}

// checkStore checks one store. A store that cannot be checked does not keep the others from it.
func checkStore(ctx context.Context, s *stores, address string, sweep, repair bool) (store.Checked, error) {
	if _, ok := s.snap.Objects[address]; !ok {
		return store.Checked{Store: address, Error: strings.Join(s.keeper().Status(ctx, s.snap, address).Problems, " ")}, ctx.Err()
	}
	k := s.keeper()
	one, err := k.Check(ctx, address)
	if err == nil && repair {
		one, err = k.Repair(ctx, one)
	}
	if err == nil && sweep {
		swept, sweepErr := k.Sweep(ctx, address)
		one.Swept, err = &swept, sweepErr
	}
	if ctx.Err() != nil {
		return one, ctx.Err()
	}
	if err != nil {
		one.Error = err.Error()
	}
	return one, nil
}
