package cli

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/holdfast-dr/holdfast/cmd/internal/command"
)

// Root gives the tree of commands.
func Root() *cobra.Command { return tree(command.New(nil, nil, io.Discard, io.Discard)) }
