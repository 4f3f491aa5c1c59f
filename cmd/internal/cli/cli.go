// Package cli is the command line: all commands in one tree, from the arguments to the exit code.
package cli

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/holdfast-dr/holdfast/cmd/internal/command"
	"github.com/holdfast-dr/holdfast/cmd/internal/command/configuration"
	"github.com/holdfast-dr/holdfast/cmd/internal/command/plan"
	"github.com/holdfast-dr/holdfast/cmd/internal/command/record"
	"github.com/holdfast-dr/holdfast/cmd/internal/command/recovery"
	"github.com/holdfast-dr/holdfast/cmd/internal/command/store"
	"github.com/holdfast-dr/holdfast/cmd/internal/view"
)

// Main runs the program and gives its exit code.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	c := command.New(args, stdin, stdout, stderr)
	ctx, stop := c.Signals()
	defer stop()
	root := tree(c)
	if i := slices.IndexFunc(args, func(s string) bool { return !utf8.ValidString(s) }); i >= 0 {
		return c.End(fmt.Errorf("the argument %q is not valid UTF-8, and would be recorded as something else", args[i]))
	}
	root.SetArgs(doubleDashes(root, args))
	root.SetIn(stdin)
	root.SetOut(c.Out)
	root.SetErr(stderr)
	return c.End(root.ExecuteContext(ctx))
}

const rootHelp = `holdfast is business continuity as code: declare backup plans, maintenance
windows, mirrors and failover targets in *.hold.hcl files, keep them in git,
review the plan, apply it.

  holdfast init                 make the state file, check the configuration
  holdfast plan                 show what would change and what is due
  holdfast apply                do it, after a yes
  holdfast status               how things stand
  holdfast history              what happened

The configuration is read from the working directory (--chdir), or from a
commit of a git repository (--repo URL --ref REF) without a checkout.

Exit codes: 0 done, 1 error, 2 changes (plan --detailed-exitcode), 3 drift only,
5 plan not usable, 6 locked, 7 blocked and nothing done, 8 partial,
9 declined, 10 ran and failed, 130/143 interrupted.`

// tree gives all commands, below the one that is the program.
func tree(c *command.Call) *cobra.Command {
	root := &cobra.Command{
		Use:           "holdfast",
		Short:         "Business continuity as code",
		Long:          rootHelp,
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       command.Version,
	}
	c.Flags(root)
	root.AddGroup(
		&cobra.Group{ID: command.SectionWork, Title: "Everyday work:"},
		&cobra.Group{ID: command.SectionLook, Title: "Looking:"},
		&cobra.Group{ID: command.SectionData, Title: "Artifacts:"},
		&cobra.Group{ID: command.SectionState, Title: "Recorded state:"},
	)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		c.OpenStream(cmd)
		return flagError(cmd, err)
	})
	root.AddCommand(versionCommand(c))
	root.AddCommand(configuration.Commands(c)...)
	root.AddCommand(plan.Commands(c)...)
	root.AddCommand(record.Commands(c)...)
	root.AddCommand(recovery.Commands(c)...)
	root.AddCommand(store.Commands(c)...)
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		switch cmd.Name() {
		case "help":
			cmd.GroupID = command.SectionLook
			cmd.Run, cmd.RunE = nil, help
			cmd.Example = "  holdfast help apply\n  holdfast help state mv"
		case "completion":
			cmd.GroupID = command.SectionLook
			for _, shell := range cmd.Commands() {
				shell.Example = "  holdfast completion " + shell.Name()
			}
		}
	}
	shape(c, root)
	return root
}

func versionCommand(c *command.Call) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		GroupID: command.SectionLook,
		Short:   "Print the version of holdfast",
		Example: "  holdfast version\n  holdfast version --json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if c.JSON {
				return view.JSON(c.Out, map[string]string{"version": command.Version, "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH})
			}
			_, err := fmt.Fprintf(c.Out, "holdfast %s (%s, %s/%s)\n", command.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}
