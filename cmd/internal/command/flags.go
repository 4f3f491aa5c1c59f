package command

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/holdfast-dr/holdfast/config/diag"
)

// Number declares a flag that takes a number of 0 or more. What it counts is usage's to say.
func Number(cmd *cobra.Command, into *int, flag string, value int, usage string) {
	*into = value
	cmd.Flags().Var((*number)(into), flag, usage)
}

type number int

func (n *number) String() string { return strconv.Itoa(int(*n)) }
func (n *number) Type() string   { return "int" }

func (n *number) Set(text string) error {
	v, err := strconv.Atoi(text)
	switch {
	case errors.Is(err, strconv.ErrRange):
		return errors.New("that number is too large")
	case err != nil || v < 0:
		return errors.New("write a number, 0 or more")
	}
	*n = number(v)
	return nil
}

// Words declares a flag that takes words out of few, separated by commas or in several flags, and its completion. The first of these flags
// replaces the value it has without any.
func Words(cmd *cobra.Command, into *[]string, flag string, value []string, usage string, known ...string) {
	*into = value
	cmd.Flags().Var(&words{into: into, known: known}, flag, usage)
	after := cobra.ShellCompDirectiveNoFileComp
	if len(known) > 1 {
		after |= cobra.ShellCompDirectiveNoSpace // a comma may follow
	}
	_ = cmd.RegisterFlagCompletionFunc(flag, func(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		return nextWord(typed, known), after
	})
}

// nextWord offers lists of words: each is what was typed up to its last comma, with one word more that is not in it.
func nextWord(typed string, known []string) []string {
	before := typed[:strings.LastIndexByte(typed, ',')+1]
	have := strings.Split(before, ",")
	var offers []string
	for _, w := range known {
		if offer := before + w; strings.HasPrefix(offer, typed) && !slices.Contains(have, w) {
			offers = append(offers, offer)
		}
	}
	return offers
}

type words struct {
	into  *[]string
	known []string
	set   bool
}

func (w *words) Type() string { return "strings" }

func (w *words) String() string {
	if w.into == nil || len(*w.into) == 0 {
		return ""
	}
	return strings.Join(*w.into, ",")
}

func (w *words) Set(text string) error {
	var all []string
	if w.set {
		all = *w.into
	}
	for word := range strings.SplitSeq(text, ",") {
		if word = strings.TrimSpace(word); !slices.Contains(w.known, word) {
			return fmt.Errorf("write %s", diag.Joined(w.known, " or "))
		}
		all = append(all, word)
	}
	*w.into, w.set = all, true
	return nil
}
