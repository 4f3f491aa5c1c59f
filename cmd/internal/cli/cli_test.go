package cli_test

import (
	"bytes"
	"strings"
	"testing"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/holdfast-dr/holdfast/cmd/internal/cli"
)

func walk(cmd *cobra.Command, visit func(*cobra.Command)) {
	visit(cmd)
	for _, sub := range cmd.Commands() {
		walk(sub, visit)
	}
}

func TestArgumentsThatAreNotUTF8AreRefused(t *testing.T) {
	for _, args := range [][]string{{"run", "backup_plan.\xff"}, {"--state", "/x\xe9.db", "status"}, {"validate", "--var", "a=caf\xe9"}} {
		var out, err bytes.Buffer
		if code := cli.Main(args, strings.NewReader(""), &out, &err); code != 1 || !strings.Contains(err.String(), "is not valid UTF-8") || out.Len() > 0 {
			t.Errorf("%q: %d, %s%s", args, code, out.String(), err.String())
		}
	}
}

func TestEveryCommandExplainsItself(t *testing.T) {
	walk(cli.Root(), func(cmd *cobra.Command) {
		path := cmd.CommandPath()
		if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") || !unicode.IsUpper(rune(cmd.Short[0])) {
			t.Errorf("%s: the short text %q should start with a capital and have no full stop", path, cmd.Short)
		}
		if !cmd.HasSubCommands() && cmd.Name() != "holdfast" {
			if cmd.Example == "" {
				t.Errorf("%s has no example", path)
			}
			for line := range strings.Lines(cmd.Example) {
				if !strings.HasPrefix(line, "  holdfast ") {
					t.Errorf("%s: the example %q does not show a call", path, line)
				}
			}
		}
		if cmd.HasParent() && !cmd.Parent().HasParent() && cmd.GroupID == "" {
			t.Errorf("%s is in no group of the help", path)
		}
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" {
				t.Errorf("%s --%s has no explanation", path, f.Name)
			}
		})
	})
}

func TestHelpOfEveryCommand(t *testing.T) {
	walk(cli.Root(), func(cmd *cobra.Command) {
		args := append(strings.Fields(cmd.CommandPath())[1:], "--help")
		var out, errs bytes.Buffer
		if code := cli.Main(args, strings.NewReader(""), &out, &errs); code != 0 || errs.Len() > 0 {
			t.Errorf("holdfast %v: exit code %d, %s", args, code, errs.String())
		}
		for line := range strings.Lines(out.String()) {
			if len(line) > 200 {
				t.Errorf("holdfast %v has a line of %d bytes: %s", args, len(line), line)
			}
		}
		if !strings.Contains(out.String(), "holdfast") {
			t.Errorf("holdfast %v says %q", args, out.String())
		}
	})
}

// Flags that the completion of shells cannot guess have a list of their own.
func TestClosedFlagsComplete(t *testing.T) {
	for _, args := range [][]string{
		{"plan", "--refresh"}, {"plan", "--format"}, {"show", "--format"}, {"apply", "--refresh"}, {"apply", "--allow"}, {"run", "--allow"}, {"plan", "--log-level"},
	} {
		var out, errs bytes.Buffer
		cli.Main(append(append([]string{"__complete"}, args...), ""), strings.NewReader(""), &out, &errs)
		if lines := strings.Split(out.String(), "\n"); len(lines) < 2 || !strings.Contains(out.String(), ":4") && !strings.Contains(out.String(), ":6") {
			t.Errorf("%v completes to %q", args, out.String())
		}
	}
}
