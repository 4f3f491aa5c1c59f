package command

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/holdfast-dr/holdfast/cmd/internal/app"
	"github.com/holdfast-dr/holdfast/cmd/internal/view"
	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/state"
	"github.com/holdfast-dr/holdfast/state/sqlstore"
)

// offered is what a shell is told beside offers: they are all there are, and in their order.
const offered = cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder

// mostRuns bounds the runs that a shell offers.
const mostRuns = 40

// OneOf gives the completion of a declared flag whose values are few.
func OneOf(cmd *cobra.Command, flag string, values ...string) {
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
}

// Offers gives the addresses that what was typed may become. What is no beginning of an address may be that of a bare name: of those, the
// ones that only one of the addresses has.
func Offers(addresses []string, typed string) []string {
	var offers []string
	names := map[string]int{}
	for _, a := range addresses {
		names[config.Address(a).Name()]++
		if strings.HasPrefix(a, typed) {
			offers = append(offers, a)
		}
	}
	for _, n := range slices.Sorted(maps.Keys(names)) {
		if typed != "" && names[n] == 1 && strings.HasPrefix(n, typed) {
			offers = append(offers, n)
		}
	}
	return offers
}

// CompleteObjects offers what the configuration in the working directory declares: of these kinds, or all. Its command takes addresses and
// bare names.
func (c *Call) CompleteObjects(kinds ...string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		return Offers(c.declared(cmd.Context(), kinds...), typed), cobra.ShellCompDirectiveNoFileComp
	}
}

// CompleteAddresses offers every declared and every recorded address. Its command takes patterns of addresses.
func (c *Call) CompleteAddresses() cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		all := c.declared(cmd.Context())
		_ = c.WithState(cmd.Context(), func(_ *app.App, st *sqlstore.Store) error { // without a state there is what is declared
			snap, err := st.Snapshot(cmd.Context())
			if err == nil {
				all = slices.AppendSeq(all, maps.Keys(snap.Objects))
			}
			return err
		})
		slices.Sort(all)
		return slices.Compact(all), cobra.ShellCompDirectiveNoFileComp
	}
}

// CompleteRecorded offers what is recorded. Its command takes addresses and bare names.
func (c *Call) CompleteRecorded() cobra.CompletionFunc {
	return c.complete(func(ctx context.Context, st *sqlstore.Store, typed string) ([]string, error) {
		return Recorded(ctx, st, typed)
	})
}

// Recorded gives the recorded addresses and names that what was typed may become.
func Recorded(ctx context.Context, st *sqlstore.Store, typed string) ([]string, error) {
	snap, err := st.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	return Offers(slices.Sorted(maps.Keys(snap.Objects)), typed), nil
}

// CompleteRuns offers the numbers of runs, newest first.
func (c *Call) CompleteRuns(which state.RunFilter) cobra.CompletionFunc {
	return c.complete(func(ctx context.Context, st *sqlstore.Store, _ string) ([]string, error) { return Runs(ctx, st, which) })
}

// Runs gives the numbers of runs, newest first, each with what it is about and how it stands.
func Runs(ctx context.Context, st *sqlstore.Store, which state.RunFilter) ([]string, error) {
	which.Limit = mostRuns
	runs, err := st.Runs(ctx, which)
	if err != nil {
		return nil, err
	}
	var offers []string
	for _, r := range runs {
		offers = append(offers, Offer(r.ID, r.Address, string(r.Status), r.CreatedAt.Local().Format("2006-01-02 15:04")))
	}
	return offers, nil
}

// Offer is a word for a shell, with what explains it.
func Offer(word string, about ...string) string {
	text := slices.DeleteFunc(about, func(s string) bool { return s == "" })
	return word + "\t" + view.Line(strings.Join(text, " "))
}

// CompleteState offers what is read from the state: words, each with a tab and its explanation if it needs one. A shell is
// told nothing of errors.
func (c *Call) CompleteState(read func(*cobra.Command, *sqlstore.Store) ([]string, error)) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		return c.complete(func(_ context.Context, st *sqlstore.Store, _ string) ([]string, error) { return read(cmd, st) })(cmd, args, typed)
	}
}

func (c *Call) complete(read func(ctx context.Context, st *sqlstore.Store, typed string) ([]string, error)) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, typed string) (offers []string, _ cobra.ShellCompDirective) {
		err := c.ReadState(cmd.Context(), func(_ *app.App, st *sqlstore.Store) (err error) {
			offers, err = read(cmd.Context(), st, typed)
			offers = slices.DeleteFunc(offers, func(o string) bool { return !strings.HasPrefix(o, typed) })
			return err
		})
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return offers, offered
	}
}

// declared lists the addresses of the configuration: of these kinds, or all. Without one that can be read there are none.
func (c *Call) declared(ctx context.Context, kinds ...string) []string {
	a, err := c.App()
	if err != nil {
		return nil
	}
	cfg, _, err := a.Load(ctx)
	if err != nil {
		return nil
	}
	var all []string
	for _, o := range cfg.Doc.Objects() {
		addr := o.Head().Address
		if len(kinds) == 0 || slices.Contains(kinds, addr.Kind()) {
			all = append(all, string(addr))
		}
	}
	return all
}
