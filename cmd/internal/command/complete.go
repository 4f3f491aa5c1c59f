package command

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/holdfast-dr/holdfast/cmd/internal/app"
	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/state"
	"github.com/holdfast-dr/holdfast/state/sqlstore"
)

// mostOffered bounds what a shell is offered of a long list.
const mostOffered = 100

// completeArtifacts offers the newest artifacts, with what they are of.
func (c *cli) completeArtifacts(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return c.offer(cmd, func(st *sqlstore.Store) (offers []string, err error) {
		all, err := st.Artifacts(cmd.Context(), state.ArtifactFilter{})
		for _, a := range all[:min(len(all), mostOffered)] {
			offers = append(offers, fmt.Sprintf("%s\t%s/%s, %s, %s", a.ID, a.Device, a.Domain, c.timeText(a.Started), a.State))
		}
		return offers, err
	})
}

// completeDomains offers the domains that the device named by a flag has artifacts of.
func (c *cli) completeDomains(flag string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		device, err := cmd.Flags().GetString(flag)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return c.offer(cmd, func(st *sqlstore.Store) ([]string, error) {
			all, err := st.Artifacts(cmd.Context(), state.ArtifactFilter{Device: address(config.KindDevice, device)})
			domains := map[string]bool{}
			for _, a := range all {
				domains[a.Domain] = true
			}
			return sorted(domains), err
		})
	}
}

// completeAttention offers the tasks that wait for a decision.
func (c *cli) completeAttention(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return c.offer(cmd, func(st *sqlstore.Store) (offers []string, err error) {
		snap, err := st.Snapshot(cmd.Context())
		if err != nil {
			return nil, err
		}
		for _, r := range snap.Undecided() {
			tasks, err := st.Tasks(cmd.Context(), r.ID)
			if err != nil {
				return nil, err
			}
			for _, t := range tasks {
				if t.Status == state.Attention {
					offers = append(offers, t.ID+"\t"+r.Address)
				}
			}
		}
		return offers, nil
	})
}

// offer reads the state for a shell, which is told nothing of errors.
func (c *cli) offer(cmd *cobra.Command, read func(*sqlstore.Store) ([]string, error)) (offers []string, _ cobra.ShellCompDirective) {
	err := c.withState(cmd.Context(), func(_ *app.App, st *sqlstore.Store) (err error) {
		offers, err = read(st)
		return err
	})
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return offers, cobra.ShellCompDirectiveNoFileComp
}
