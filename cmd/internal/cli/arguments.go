package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/holdfast-dr/holdfast/cmd/internal/command"
)

// shape gives every command errors that say what to write. One that only has subcommands refuses a word that is none of
// them; alone, it shows its help.
func shape(c *command.Call, cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		shape(c, sub)
	}
	if valid := cmd.Args; valid != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if valid(cmd, args) != nil {
				c.OpenStream(cmd)
				return fmt.Errorf("%d arguments do not fit: %s", len(args), cmd.UseLine())
			}
			return nil
		}
	}
	if cmd.Runnable() || !cmd.HasParent() {
		return
	}
	cmd.SuggestionsMinimumDistance = 2
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		hint := ""
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			hint = fmt.Sprintf(" (did you mean %s?)", strings.Join(near, " or "))
		}
		return fmt.Errorf("unknown command %q for %q%s; see %s --help", args[0], cmd.CommandPath(), hint, cmd.CommandPath())
	}
}

// doubleDashes lets long flags be written with one dash, as Terraform's users do: -auto-approve is --auto-approve.
func doubleDashes(root *cobra.Command, args []string) []string {
	long := map[string]bool{"help": true, "version": true}
	var collect func(cmd *cobra.Command)
	collect = func(cmd *cobra.Command) {
		for _, set := range []*pflag.FlagSet{cmd.PersistentFlags(), cmd.Flags()} {
			set.VisitAll(func(f *pflag.Flag) { long[f.Name] = true })
		}
		for _, sub := range cmd.Commands() {
			collect(sub)
		}
	}
	collect(root)
	fixed := make([]string, len(args))
	for i, arg := range args {
		fixed[i] = arg
		if arg == "--" {
			copy(fixed[i:], args[i:])
			break
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(arg, "-"), "=")
		if len(name) > 1 && strings.HasPrefix(arg, "-") && !strings.HasPrefix(arg, "--") && long[name] {
			fixed[i] = "-" + arg
		}
	}
	return fixed
}
