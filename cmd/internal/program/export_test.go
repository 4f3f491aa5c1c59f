package command

import (
	"io"

	"github.com/spf13/cobra"
)

// Root gives the tree of commands.
func Root() *cobra.Command { return (&cli{out: io.Discard, err: io.Discard}).root() }
