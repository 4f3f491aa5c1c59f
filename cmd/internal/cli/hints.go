package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/holdfast-dr/holdfast/config/diag"
)

// unknownCommand is the error for a word that is no command below cmd.
func unknownCommand(cmd *cobra.Command, word string) error {
	hint := ""
	if near := cmd.SuggestionsFor(word); len(near) > 0 {
		hint = fmt.Sprintf(" (did you mean %s?)", strings.Join(near, " or "))
	} else if cmd.HasParent() && cmd.HasSubCommands() {
		hint = fmt.Sprintf(" (there is %s)", diag.Joined(names(cmd), " and "))
	}
	return fmt.Errorf("unknown command %q for %q%s; see %s --help", word, cmd.CommandPath(), hint, cmd.CommandPath())
}

// misspelt is the error for the first argument of a command that takes arguments and has subcommands, when one of those was probably meant.
func misspelt(cmd *cobra.Command, args []string) error {
	if !cmd.HasSubCommands() || len(args) == 0 {
		return nil
	}
	if near := diag.Nearest(args[0], names(cmd)); near != "" {
		return fmt.Errorf("unknown command %q for %q: did you mean %s %s?", args[0], cmd.CommandPath(), cmd.CommandPath(), near)
	}
	return nil
}

// flagError says of a flag that cannot be read what to do, and which one was probably meant.
func flagError(cmd *cobra.Command, err error) error {
	hint := ""
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) {
		word := unknown.GetSpecifiedShortnames() // -traget is a group of short flags
		if word == "" {
			word = unknown.GetSpecifiedName()
		}
		word, _, _ = strings.Cut(word, "=")
		if near := nearestFlag(cmd, word); near != "" {
			hint = fmt.Sprintf(" (did you mean --%s?)", near)
		}
	}
	return fmt.Errorf("%w%s; see %s --help", err, hint, cmd.CommandPath())
}

// nearestFlag looks among the flags that the help of cmd shows.
func nearestFlag(cmd *cobra.Command, word string) string {
	var names []string
	for _, set := range []*pflag.FlagSet{cmd.Flags(), cmd.InheritedFlags()} {
		set.VisitAll(func(f *pflag.Flag) {
			if !f.Hidden {
				names = append(names, f.Name)
			}
		})
	}
	return diag.Nearest(word, names)
}

// help shows the help of the command that the arguments name.
func help(cmd *cobra.Command, args []string) error {
	about := cmd.Root()
	for _, word := range args {
		next := below(about, word)
		if next == nil {
			return unknownCommand(about, word)
		}
		about = next
	}
	about.InitDefaultHelpFlag()
	about.InitDefaultVersionFlag()
	return about.Help()
}

// names lists the commands right below cmd.
func names(cmd *cobra.Command) []string {
	var all []string
	for _, sub := range cmd.Commands() {
		all = append(all, sub.Name())
	}
	return all
}

func below(cmd *cobra.Command, word string) *cobra.Command {
	for _, sub := range cmd.Commands() {
		if sub.Name() == word || sub.HasAlias(word) {
			return sub
		}
	}
	return nil
}
