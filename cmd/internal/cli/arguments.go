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
	cmd.SuggestionsMinimumDistance = 2
	completeArguments(cmd)
	if valid := cmd.Args; valid != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			err := misspelt(cmd, args)
			if err == nil && valid(cmd, args) != nil {
				err = misfit(cmd, valid, args)
			}
			if err != nil {
				c.OpenStream(cmd)
			}
			return err
		}
	}
	if cmd.Runnable() || !cmd.HasParent() {
		return
	}
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		return unknownCommand(cmd, args[0])
	}
}

// misfit says which argument is missing or too many.
func misfit(cmd *cobra.Command, valid cobra.PositionalArgs, args []string) error {
	if room(cmd, valid, len(args)) {
		return fmt.Errorf("an argument is missing: %s", cmd.UseLine())
	}
	fit := len(args) - 1
	for fit > 0 && valid(cmd, args[:fit]) != nil {
		fit--
	}
	return fmt.Errorf("unexpected argument %q: %s", args[fit], cmd.UseLine())
}

// room reports whether a command with so many arguments may have more.
func room(cmd *cobra.Command, valid cobra.PositionalArgs, n int) bool {
	const most = 2 // arguments that only some commands demand, beyond the first
	for more := 1; more <= most; more++ {
		if valid(cmd, make([]string, n+more)) == nil {
			return true
		}
	}
	return false
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
