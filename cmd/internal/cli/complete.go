package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// completeArguments lets the completion of a command end where its arguments end, and offer none twice. Where no argument fits, no file does.
func completeArguments(cmd *cobra.Command) {
	valid, offer := cmd.Args, cmd.ValidArgsFunction
	if valid == nil && offer == nil {
		return
	}
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if valid != nil && !room(cmd, valid, len(args)) {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		if offer == nil {
			return nil, cobra.ShellCompDirectiveDefault
		}
		offers, directive := offer(cmd, args, typed)
		return slices.DeleteFunc(slices.Clone(offers), func(o string) bool {
			word, _, _ := strings.Cut(o, "\t")
			return slices.Contains(args, word)
		}), directive
	}
}
