package main

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/holdfast-dr/holdfast/cmd/internal/cli"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"holdfast": func() { os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) },
	})
}

// TestScript runs testdata/script/*.txtar: the program as its users see it, one topic in each file. The commands beside those of
// testscript are in scriptcmd_test.go.
func TestScript(t *testing.T) {
	// Started by nohup, this process ignores SIGHUP and so would the programs it starts, of which one script asks what the end of a terminal
	// does to them. What is caught here is not ignored there.
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	t.Cleanup(func() { signal.Stop(hangup) })
	testscript.Run(t, testscript.Params{
		Dir:                filepath.Join("..", "..", "testdata", "script"),
		RequireUniqueNames: true,
		Cmds:               scriptCommands,
		Condition: func(cond string) (bool, error) {
			if cond != "root" {
				return false, fmt.Errorf("unknown condition %q", cond)
			}
			return os.Geteuid() == 0 || os.Getenv("CI") != "", nil // in CI such a script fails, it is never skipped
		},
		Setup: func(env *testscript.Env) error {
			examples, err := filepath.Abs(filepath.Join("..", "..", "examples"))
			if err != nil {
				return err
			}
			env.Vars = append(env.Vars,
				"HOLDFAST_VAR_root="+env.WorkDir, "EXAMPLES="+examples,
				"TZ=UTC", "LANG=C.UTF-8", "TERM=xterm",
				"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
				"GIT_AUTHOR_NAME=Ana", "GIT_AUTHOR_EMAIL=ana@example.net", "GIT_AUTHOR_DATE=2026-03-02T08:00:00Z",
				"GIT_COMMITTER_NAME=Ana", "GIT_COMMITTER_EMAIL=ana@example.net", "GIT_COMMITTER_DATE=2026-03-02T08:00:00Z",
			)
			env.Values[jobsKey{}] = map[string]*job{}
			return nil
		},
	})
}
