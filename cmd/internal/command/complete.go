package command

import (
	"slices"

	"github.com/spf13/cobra"

	"github.com/holdfast-dr/holdfast/cmd/internal/app"
	"github.com/holdfast-dr/holdfast/state/sqlstore"
)

// OneOf gives the completion of a declared flag whose values are few.
func OneOf(cmd *cobra.Command, flag string, values ...string) {
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
}

// CompleteObjects offers the addresses of the configuration in the working directory: of these kinds, or all.
func (c *Call) CompleteObjects(kinds ...string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		a, err := c.App()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		cfg, _, err := a.Load(cmd.Context())
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var names []string
		for _, o := range cfg.Doc.Objects() {
			addr := o.Head().Address
			if len(kinds) == 0 || slices.Contains(kinds, addr.Kind()) {
				names = append(names, string(addr))
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// CompleteState offers what is read from the state: words, each with a tab and its explanation if it needs one. A shell is
// told nothing of errors.
func (c *Call) CompleteState(read func(*cobra.Command, *sqlstore.Store) ([]string, error)) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, _ string) (offers []string, _ cobra.ShellCompDirective) {
		err := c.ReadState(cmd.Context(), func(_ *app.App, st *sqlstore.Store) (err error) {
			offers, err = read(cmd, st)
			return err
		})
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return offers, cobra.ShellCompDirectiveNoFileComp
	}
}
