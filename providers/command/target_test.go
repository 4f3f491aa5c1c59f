package command_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dr/holdfast/config/unit"
	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/command"
	"github.com/holdfast-dr/holdfast/providers/providertest"
)

// A little service: its state is one file, replaced atomically.
const (
	statusScript = `cat "$1/state" 2>/dev/null || echo none; test ! -e "$1/frozen" || echo frozen`
	switchScript = `has=$(sed -n 's/^epoch=//p' "$1/state" 2>/dev/null); test "${has:-0}" -le "$3" || exit 3
printf '%s\nepoch=%s\n' "$2" "$3" >"$1/next" && mv "$1/next" "$1/state" && rm -f "$1/frozen"
echo "$HOLDFAST_FROM>$HOLDFAST_TO@$HOLDFAST_EPOCH of $HOLDFAST_FAILOVER by $SITE" >>"$1/log"`
)

func service(dir string) *command.TargetSettings {
	return &command.TargetSettings{
		Status:   sh(statusScript, dir),
		Switch:   sh(switchScript, dir, "{to}", "{epoch}"),
		Freeze:   sh(`echo {from} >"$1/frozen"`, dir),
		Unfreeze: sh(`rm -f "$1/frozen"`, dir),
		Timeout:  unit.Duration(time.Minute),
	}
}

func openTarget(t *testing.T, s *command.TargetSettings) providers.Target {
	t.Helper()
	target, err := command.TargetType().Open(t.Context(), "proxy", s, map[string]any{
		"berlin": &command.Member{Environment: map[string]string{"SITE": "B"}}, "dublin": &command.Member{Environment: map[string]string{"SITE": "D"}},
	}, env())
	if err != nil {
		t.Fatal(err)
	}
	return target
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return string(b)
}

func TestTargetContract(t *testing.T) {
	for name, change := range map[string]func(*command.TargetSettings){
		"all commands":   func(*command.TargetSettings) {},
		"without freeze": func(s *command.TargetSettings) { s.Freeze, s.Unfreeze = nil, nil },
		"with verify":    func(s *command.TargetSettings) { s.Verify = sh(`test "$1" = {to}`, "{to}") },
		"without marker": func(s *command.TargetSettings) { s.Status[2] += " | grep -v epoch" },
	} {
		t.Run(name, func(t *testing.T) {
			providertest.Target(t, func(t *testing.T) providertest.TargetCase {
				dir := t.TempDir()
				return providertest.TargetCase{
					Open: func(t *testing.T) providers.Target {
						s := service(dir)
						change(s)
						return openTarget(t, s)
					},
					Members: []string{"berlin", "dublin"},
					Active: func() ([]string, error) {
						b, err := os.ReadFile(filepath.Join(dir, "state"))
						first, _, _ := strings.Cut(string(b), "\n")
						return []string{first}, err
					},
					State: func(t *testing.T) string {
						return read(t, dir+"/state") + "|" + read(t, dir+"/frozen") + "|" + read(t, dir+"/log")
					},
					Serve: func(t *testing.T, member string) { write(t, dir+"/state", member+"\n") },
				}
			})
		})
	}
}

func move(epoch int64) providers.Move {
	return providers.Move{Failover: "failover.shop", From: "berlin", To: "dublin", Epoch: epoch}
}

func TestSwitchTellsTheCommandAboutTheMove(t *testing.T) {
	dir := t.TempDir()
	if err := openTarget(t, service(dir)).Switch(t.Context(), move(4)); err != nil {
		t.Fatal(err)
	}
	if got, want := read(t, dir+"/log"), "berlin>dublin@4 of failover.shop by D\n"; got != want {
		t.Errorf("the command learned %q, want %q", got, want)
	}
}

func TestSwitchFails(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(s *command.TargetSettings)
		want   error
		text   string
	}{
		"stale by exit code": {func(s *command.TargetSettings) { s.Switch = sh("exit 3") }, providers.ErrStaleEpoch, ""},
		"other exit code":    {func(s *command.TargetSettings) { s.Switch = sh("echo no $PW >&2; exit 1") }, nil, "no [redacted]"},
		"lies":               {func(s *command.TargetSettings) { s.Switch = sh("exit 0") }, nil, "dublin should be active with epoch 4, status shows none"},
		"no program":         {func(s *command.TargetSettings) { s.Switch = []string{"holdfast-no-such-program"} }, providers.ErrUnavailable, ""},
		"status fails":       {func(s *command.TargetSettings) { s.Status = sh("echo dublin; exit 1") }, providers.ErrUnavailable, ""},
		"status unknown":     {func(s *command.TargetSettings) { s.Status = sh("echo paris") }, nil, "members are berlin, dublin"},
		"status garbled":     {func(s *command.TargetSettings) { s.Status = sh("echo dublin; echo epoch 4") }, nil, "line 2"},
		"status bad epoch":   {func(s *command.TargetSettings) { s.Status = sh("echo dublin; echo epoch=-4") }, nil, "no number"},
		"hangs": {func(s *command.TargetSettings) {
			s.Switch, s.Timeout = sh("exec sleep 1000"), unit.Duration(300*time.Millisecond)
		}, nil, "timed out"},
	} {
		t.Run(name, func(t *testing.T) {
			s := service(t.TempDir())
			s.SecretEnv = map[string]providers.Secret{"PW": "secret.password"}
			tc.change(s)
			err := openTarget(t, s).Switch(t.Context(), move(4))
			if err == nil || tc.want != nil && !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("error = %v, want %v with %q", err, tc.want, tc.text)
			}
			if tc.want == nil && errors.Is(err, providers.ErrStaleEpoch) {
				t.Errorf("error = %v is a stale epoch", err)
			}
			providertest.NoSecrets(t, []string{secret}, err)
		})
	}
}

func TestVerifyRunsTheCommand(t *testing.T) {
	s := service(t.TempDir())
	s.Verify = sh("echo {to} does not answer >&2; exit 1")
	target := openTarget(t, s)
	if err := target.Switch(t.Context(), move(4)); err != nil {
		t.Fatal(err)
	}
	if err := target.Verify(t.Context(), move(4)); err == nil || !strings.Contains(err.Error(), "dublin does not answer") {
		t.Errorf("error = %v", err)
	}
}

func TestTargetCheck(t *testing.T) {
	for name, tc := range map[string]struct {
		s    command.TargetSettings
		want []string
	}{
		"nothing":      {command.TargetSettings{}, []string{"status", "switch"}},
		"freeze alone": {command.TargetSettings{Status: []string{"a"}, Switch: []string{"b"}, Freeze: []string{"c"}}, []string{"freeze"}},
		"variables":    {command.TargetSettings{Status: []string{"a"}, Switch: []string{"b"}, Environment: map[string]string{"A B": ""}, SecretEnv: map[string]providers.Secret{"": "x"}}, []string{"environment", "secret_environment"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			tc.s.Check(func(path, _ string) { got = append(got, path) })
			slices.Sort(got)
			if !slices.Equal(got, tc.want) {
				t.Errorf("problems at %q, want %q", got, tc.want)
			}
		})
	}
	for _, name := range []string{"none", "-x", "a b", ""} {
		s := service(t.TempDir())
		if _, err := command.TargetType().Open(t.Context(), "proxy", s, map[string]any{name: &command.Member{}}, env()); err == nil {
			t.Errorf("the member name %q was accepted", name)
		}
	}
}
