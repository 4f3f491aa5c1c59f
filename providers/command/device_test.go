package command_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/holdfast-dr/holdfast/config/unit"
	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/command"
	"github.com/holdfast-dr/holdfast/providers/providertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret = "correct-horse-battery"

func sh(script string, args ...string) []string {
	return append([]string{"/bin/sh", "-c", script, "sh"}, args...)
}

func env() providers.Env {
	return providers.Env{Secret: func(_ context.Context, ref providers.Secret) (string, error) {
		if ref != "secret.password" {
			return "", providers.ErrNotFound
		}
		return secret, nil
	}}
}

func device(t *testing.T, change func(*command.Settings)) providers.Device {
	t.Helper()
	s := &command.Settings{Extension: ".out", Compress: true, MinSize: 1, Timeout: unit.Duration(time.Minute)}
	change(s)
	d, err := command.DeviceType().Open(t.Context(), "ldap", s, env())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDeviceContract(t *testing.T) {
	for name, tc := range map[string]struct {
		compress bool
		restore  []string
		file     string
	}{
		"compressed":      {true, nil, "export.out"},
		"plain":           {false, nil, "export.out"},
		"restore command": {true, sh(`cat >"$1/put-back"`, "{dir}"), "put-back"},
	} {
		t.Run(name, func(t *testing.T) {
			var source string
			providertest.Device(t, providertest.DeviceSuite{
				New: func(t *testing.T) providertest.DeviceCase {
					source = t.TempDir()
					for _, part := range []string{"all-domains", "people"} {
						write(t, filepath.Join(source, part), strings.Repeat(part+" line\n", 5000))
					}
					return providertest.DeviceCase{
						Device: device(t, func(s *command.Settings) {
							s.Command = sh(`cat "$1/$2"; echo "$PASSWORD" >&2; test -e "$1/$2"`, source, "{domain}")
							s.Domains, s.Compress, s.Restore = []string{"people"}, tc.compress, tc.restore
							if tc.restore != nil {
								s.InPlace = sh(`[ -z "$HOLDFAST_RESTORE" -o ! -e "$1/$2.$HOLDFAST_RESTORE" ] || exit 0; rm -f "$1/$2".*; [ $HOLDFAST_REPLACE = yes -o ! -e "$1/$2" ] || exit 3; cat >"$1/$2.new" && mv "$1/$2.new" "$1/$2" && touch "$1/$2.$HOLDFAST_RESTORE"`, source, "{domain}")
							}
							s.SecretEnv = map[string]providers.Secret{"PASSWORD": "secret.password"}
						}),
						Break: func(t *testing.T) {
							if err := os.RemoveAll(source); err != nil {
								t.Fatal(err)
							}
						},
						Secrets: []string{secret},
						State: func(t *testing.T) (all string) {
							for _, part := range []string{"all-domains", "people"} {
								b, _ := os.ReadFile(filepath.Join(source, part))
								all += string(b)
							}
							return all
						},
						Change: func(t *testing.T, req providers.CaptureRequest) func(*testing.T) {
							write(t, filepath.Join(source, req.Domain), "changed")
							return func(t *testing.T) {
								if b, err := os.ReadFile(filepath.Join(source, req.Domain)); err != nil || string(b) != strings.Repeat(req.Domain+" line\n", 5000) {
									t.Errorf("restored %d bytes, %v", len(b), err)
								}
							}
						},
					}
				},
				InPlace: func(providers.CaptureRequest) bool { return tc.restore != nil },
				Requests: []providers.CaptureRequest{
					{Action: providers.SecureBackup, Domain: providers.AllDomains},
					{Action: providers.ExportDomain, Domain: "people", Variant: providers.Persisted},
				},
				Restored: func(t *testing.T, req providers.CaptureRequest, dir string) {
					b, err := os.ReadFile(filepath.Join(dir, tc.file))
					if err != nil || string(b) != strings.Repeat(req.Domain+" line\n", 5000) {
						t.Errorf("restored %d bytes, %v", len(b), err)
					}
				},
				FindsDamage: tc.compress && tc.restore == nil,
			})
		})
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func capture(t *testing.T, d providers.Device) (*providertest.Artifact, error) {
	t.Helper()
	art := new(providertest.Artifact)
	_, err := d.Capture(t.Context(), providers.CaptureRequest{Action: providers.SecureBackup, Domain: providers.AllDomains}, art)
	return art, err
}

func TestCaptureFails(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*command.Settings)
		want   error
		text   string
	}{
		"exit code after output": {func(s *command.Settings) { s.Command = sh("echo data; echo $PASSWORD is wrong >&2; exit 3") }, providers.ErrSourceExit, "exit code 3: [redacted] is wrong"},
		"killed":                 {func(s *command.Settings) { s.Command = sh("echo data; kill -SEGV $$") }, providers.ErrSourceExit, "signal"},
		"no output":              {func(s *command.Settings) { s.Command = []string{"true"} }, providers.ErrTooSmall, "0 bytes"},
		"too little":             {func(s *command.Settings) { s.Command = sh("echo data"); s.MinSize = 6 }, providers.ErrTooSmall, "min_size is 6B"},
		"too long": {func(s *command.Settings) {
			s.Command = sh("echo data; exec sleep 1000")
			s.Timeout = unit.Duration(100 * time.Millisecond)
		}, providers.ErrSourceExit, "raise timeout"},
		"no such program": {func(s *command.Settings) { s.Command = []string{"holdfast-no-such-program"} }, providers.ErrUnavailable, "Check that the program exists"},
		"unknown secret": {func(s *command.Settings) {
			s.Command = []string{"true"}
			s.SecretEnv = map[string]providers.Secret{"X": "secret.other"}
		}, providers.ErrNotFound, "secret.other for X"},
	} {
		t.Run(name, func(t *testing.T) {
			d := device(t, func(s *command.Settings) {
				s.SecretEnv = map[string]providers.Secret{"PASSWORD": "secret.password"}
				tc.change(s)
			})
			_, err := capture(t, d)
			if !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("error = %v, want %v with %q", err, tc.want, tc.text)
			}
			providertest.NoSecrets(t, []string{secret}, err)
		})
	}
}

func TestPlaceholdersStayArguments(t *testing.T) {
	hostile := "a b; $(touch x) `id` {dir} \"'"
	d := device(t, func(s *command.Settings) {
		s.Command, s.Domains, s.Compress = []string{"printf", "<%s>", "x={domain}", "{domain}{domain}"}, []string{hostile}, false
	})
	art := new(providertest.Artifact)
	if _, err := d.Capture(t.Context(), providers.CaptureRequest{Action: providers.ExportDomain, Domain: hostile}, art); err != nil {
		t.Fatal(err)
	}
	if got, want := string(art.Bytes("export.out")), "<x="+hostile+"><"+hostile+hostile+">"; got != want {
		t.Errorf("the command got %q, want %q", got, want)
	}
}

func TestExportWithoutDomains(t *testing.T) {
	export := providers.CaptureRequest{Action: providers.ExportDomain, Domain: providers.AllDomains, Variant: providers.Persisted}
	whole := device(t, func(s *command.Settings) { s.Command, s.Compress = []string{"echo", "all of it"}, false })
	art := new(providertest.Artifact)
	if _, err := whole.Capture(t.Context(), export, art); err != nil || string(art.Bytes("export.out")) != "all of it\n" {
		t.Errorf("a device without domains: %v, %v", art.Files(), err)
	}
	parts := device(t, func(s *command.Settings) { s.Command, s.Domains = []string{"echo", "{domain}"}, []string{"people"} })
	if _, err := parts.Capture(t.Context(), export, new(providertest.Artifact)); !errors.Is(err, providers.ErrNotFound) {
		t.Errorf("a device with domains was exported as a whole: %v", err)
	}
}

func TestInspectWithoutProgram(t *testing.T) {
	d := device(t, func(s *command.Settings) { s.Command = []string{"/nonexistent/program"} })
	if _, err := d.Inspect(t.Context()); !errors.Is(err, providers.ErrUnavailable) {
		t.Errorf("error = %v", err)
	}
}

func TestRestoreIsConfined(t *testing.T) {
	d := device(t, func(s *command.Settings) { s.Command, s.Compress = []string{"echo", "data"}, false })
	good, err := capture(t, d)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := d.Restore(t.Context(), providers.RestoreRequest{Action: providers.SecureBackup}, good); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("restore into the device: %v", err)
	}
	for _, name := range []string{"../escaped", "/etc/escaped", "..", ""} {
		bad := new(providertest.Artifact)
		bad.Set(name, []byte("x"))
		if err := d.Restore(t.Context(), providers.RestoreRequest{Dir: dir}, bad); err == nil {
			t.Errorf("the name %q was accepted", name)
		}
	}
	outside := filepath.Join(t.TempDir(), "outside")
	write(t, outside, "precious")
	if err := os.Symlink(outside, filepath.Join(dir, "export.out")); err != nil {
		t.Fatal(err)
	}
	if err := d.Restore(t.Context(), providers.RestoreRequest{Dir: dir}, good); !errors.Is(err, providers.ErrNotEmpty) {
		t.Errorf("restore over a link: %v", err)
	}
	if b, _ := os.ReadFile(outside); string(b) != "precious" {
		t.Errorf("the link was followed: %q", b)
	}
}

func TestCheck(t *testing.T) {
	good := command.Settings{Command: []string{"true"}, Extension: ".out"}
	for name, tc := range map[string]struct {
		change func(*command.Settings)
		want   []string
	}{
		"good":                {func(*command.Settings) {}, nil},
		"no command":          {func(s *command.Settings) { s.Command = nil }, []string{"command"}},
		"placeholder program": {func(s *command.Settings) { s.Command, s.Domains = []string{"{domain}"}, []string{"a"} }, []string{"command"}},
		"NUL":                 {func(s *command.Settings) { s.Command = []string{"true", "\x00"} }, []string{"command[1]"}},
		"unused domains":      {func(s *command.Settings) { s.Domains = []string{"a"} }, []string{"command"}},
		"missing domains":     {func(s *command.Settings) { s.Command = []string{"x", "{domain}"} }, []string{"domains"}},
		"bad domains": {func(s *command.Settings) {
			s.Command, s.Domains = []string{"x", "{domain}"}, []string{"", "-rf", "a", "a", "all-domains", "b\n"}
		}, []string{"domains[0]", "domains[1]", "domains[3]", "domains[4]", "domains[5]"}},
		"restore into use": {func(s *command.Settings) { s.Restore = []string{"ldapadd"} }, []string{"restore_command"}},
		"extension":        {func(s *command.Settings) { s.Extension = "/../x" }, []string{"extension"}},
		"twice compressed": {func(s *command.Settings) { s.Extension, s.Compress = ".tar.zst", true }, []string{"compress"}},
		"variables": {func(s *command.Settings) {
			s.Environment = map[string]string{"A=B": "", "OK": "\x00"}
			s.SecretEnv = map[string]providers.Secret{"OK": "secret.x", "1": "secret.x"}
		}, []string{"environment", "environment", "secret_environment", "secret_environment"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := good
			tc.change(&s)
			var got []string
			s.Check(func(path, problem string) {
				if problem == "" {
					t.Errorf("%s has no explanation", path)
				}
				got = append(got, path)
			})
			slices.Sort(got)
			if !slices.Equal(got, tc.want) {
				t.Errorf("problems at %q, want %q", got, tc.want)
			}
		})
	}
}
