package plan

import (
	"fmt"

	"github.com/spf13/cobra"
)

// Why some flags say nothing beside others.
const (
	saved    = "the plan file says what is done"
	resumed  = "a run goes on with the plan that it began with"
	compared = "--against compares whole configurations"
)

// unfit refuses flags that would be without effect.
func unfit(cmd *cobra.Command, why string, flags ...string) error {
	for _, name := range flags {
		if cmd.Flags().Changed(name) {
			return fmt.Errorf("--%s has no effect here, because %s: leave it away", name, why)
		}
	}
	return nil
}
