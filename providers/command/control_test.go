package command_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dr/holdfast/config/unit"
	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/command"
	"github.com/holdfast-dr/holdfast/providers/providertest"
	"github.com/holdfast-dr/holdfast/providers/providertest/simulator"
)

// appliance is a simulated appliance and the directory in which its behavior is set.
type appliance struct {
	program, dir string
}

func newAppliance(t *testing.T) appliance {
	t.Helper()
	a := appliance{simulator.ApplianceScript(t), filepath.Join(t.TempDir(), "appliance")}
	if out, err := exec.Command(a.program, a.dir, "init", "east", "west").CombinedOutput(); err != nil {
		t.Fatalf("init: %v: %s", err, out)
	}
	return a
}

// set writes one of the files that say how the appliance behaves.
func (a appliance) set(t *testing.T, name, content string) {
	t.Helper()
	write(t, filepath.Join(a.dir, name), content+"\n")
}

func (a appliance) argv(args ...string) []string { return append([]string{a.program, a.dir}, args...) }

func (a appliance) settings(s *command.Settings) {
	s.Command = a.argv("backup", "{domain}")
	s.Inspect = a.argv("inspect")
	s.State = a.argv("state", "{domain}")
	s.Quiesce = a.argv("quiesce", "{domain}", "{timeout}")
	s.Unquiesce = a.argv("unquiesce", "{domain}")
	s.Unsaved = a.argv("unsaved", "{domain}")
	s.CommandUnsaved = a.argv("backup-unsaved", "{domain}")
	s.FreeSpace = a.argv("free-space")
	s.Compress = false
}

func (a appliance) device(t *testing.T) providers.Device { return device(t, a.settings) }

var (
	exportEast  = providers.CaptureRequest{Action: providers.ExportDomain, Domain: "east", Variant: providers.Persisted}
	unsavedEast = providers.CaptureRequest{Action: providers.ExportDomain, Domain: "east", Variant: providers.Nonpersisted}
	secureAll   = providers.CaptureRequest{Action: providers.SecureBackup, Domain: providers.AllDomains}
)

func TestApplianceContract(t *testing.T) {
	for name, seconds := range map[string]string{"at once": "0", "slow": "1"} {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && seconds != "0" {
				t.Skip("whole seconds pass")
			}
			providertest.Device(t, providertest.DeviceSuite{
				New: func(t *testing.T) providertest.DeviceCase {
					a := newAppliance(t)
					a.set(t, "quiesce_seconds", seconds)
					a.set(t, "unquiesce_seconds", seconds)
					return providertest.DeviceCase{Device: a.device(t), Break: func(t *testing.T) { a.set(t, "down", "") }}
				},
				Requests: []providers.CaptureRequest{secureAll, exportEast, unsavedEast},
				Restored: func(t *testing.T, req providers.CaptureRequest, dir string) {
					want := "configuration of east\n"
					if req.Domain == providers.AllDomains {
						want += "configuration of west\n"
					}
					if b, err := os.ReadFile(filepath.Join(dir, "export.out")); err != nil || string(b) != want {
						t.Errorf("restored %q, %v, want %q", b, err, want)
					}
				},
			})
		})
	}
}

func TestInspectAnswer(t *testing.T) {
	for name, tc := range map[string]struct {
		print string
		want  providers.DeviceInfo
		text  string // of the error
	}{
		"all": {
			"identity = S/N 1\nmodel=IDG\n\n firmware=10.5=a\r\nbuild=\ndomain=b\ndomain=a c\ndomain=b\n",
			providers.DeviceInfo{Identity: "S/N 1", Model: "IDG", Firmware: "10.5=a", Domains: []string{"a c", "b"}}, "",
		},
		"nothing":         {"", providers.DeviceInfo{}, ""},
		"misspelt":        {"identity=1\nfirmwear=2\n", providers.DeviceInfo{}, `line 2 has the key "firmwear"; there are identity`},
		"no pair":         {"hello\n", providers.DeviceInfo{}, `line 1 is "hello", not KEY=VALUE`},
		"twice":           {"model=a\nmodel=b\n", providers.DeviceInfo{}, "line 2 tells model again"},
		"escape sequence": {"model=\x1b[2J\n", providers.DeviceInfo{}, "control characters in model"},
		"no text":         {"model=\xff\n", providers.DeviceInfo{}, "control characters in model"},
		"option":          {"domain=-rf\n", providers.DeviceInfo{}, "starts with a dash"},
		"empty domain":    {"domain=\n", providers.DeviceInfo{}, "domain that is empty"},
		"reserved domain": {"domain=all-domains\n", providers.DeviceInfo{}, "reserved"},
		"secret":          {"model=" + secret + "\n", providers.DeviceInfo{Model: "[redacted]"}, ""},
		"secret as key":   {secret + "\n", providers.DeviceInfo{}, "[redacted]"},
	} {
		t.Run(name, func(t *testing.T) {
			d := device(t, func(s *command.Settings) {
				s.Command, s.Inspect = []string{"echo", "{domain}"}, []string{"printf", "%s", tc.print}
				s.SecretEnv = map[string]providers.Secret{"PASSWORD": "secret.password"}
			})
			got, err := d.Inspect(t.Context())
			switch {
			case tc.text == "" && (err != nil || !sameInfo(got, tc.want)):
				t.Errorf("Inspect: %+v, %v, want %+v", got, err, tc.want)
			case tc.text != "" && (err == nil || !strings.Contains(err.Error(), tc.text)):
				t.Errorf("error = %v, want %q", err, tc.text)
			case errors.Is(err, providers.ErrUnavailable):
				t.Errorf("an answer that cannot be read counts as no answer: %v", err)
			}
			providertest.NoSecrets(t, []string{secret}, got, err)
		})
	}
}

func sameInfo(a, b providers.DeviceInfo) bool {
	return a.Identity == b.Identity && a.Model == b.Model && a.Firmware == b.Firmware && a.Build == b.Build && slices.Equal(a.Domains, b.Domains)
}

func TestInspectOfDeclaredDomains(t *testing.T) {
	a := newAppliance(t)
	d := device(t, func(s *command.Settings) { a.settings(s); s.Domains = []string{"west"} })
	if info, err := d.Inspect(t.Context()); err != nil || !slices.Equal(info.Domains, []string{"west"}) || info.Identity != "SIM-0001" {
		t.Errorf("Inspect: %+v, %v", info, err)
	}
	if _, err := d.Capture(t.Context(), exportEast, new(providertest.Artifact)); !errors.Is(err, providers.ErrNotFound) {
		t.Errorf("a domain that is not declared was captured: %v", err)
	}
	if err := d.Quiesce(t.Context(), "east", time.Minute); !errors.Is(err, providers.ErrNotFound) {
		t.Errorf("a domain that is not declared was quiesced: %v", err)
	}
	whole := device(t, func(s *command.Settings) { s.Command, s.Inspect = []string{"true"}, a.argv("inspect") })
	if _, err := whole.Inspect(t.Context()); err == nil || !strings.Contains(err.Error(), "does not contain {domain}") {
		t.Errorf("domains that cannot be captured by themselves: %v", err)
	}
}

func TestUnavailable(t *testing.T) {
	a := newAppliance(t)
	d := a.device(t)
	a.set(t, "down", "")
	if _, err := d.Inspect(t.Context()); !errors.Is(err, providers.ErrUnavailable) || !providers.Retryable(err) || !strings.Contains(err.Error(), "not reachable") {
		t.Errorf("Inspect: %v", err)
	}
	if _, err := d.DomainState(t.Context(), "east"); !errors.Is(err, providers.ErrSourceExit) || !providers.Retryable(err) {
		t.Errorf("DomainState: %v", err)
	}
	slow := device(t, func(s *command.Settings) {
		s.Command, s.Inspect, s.AnswerTimeout = []string{"true"}, sh("exec sleep 1000"), unit.Duration(50*time.Millisecond)
	})
	if _, err := slow.Inspect(t.Context()); !errors.Is(err, providers.ErrUnavailable) || !strings.Contains(err.Error(), "raise answer_timeout") {
		t.Errorf("Inspect that hangs: %v", err)
	}
	unknown := device(t, func(s *command.Settings) {
		s.Command, s.Inspect, s.SecretEnv = []string{"true"}, []string{"true"}, map[string]providers.Secret{"X": "secret.other"}
	})
	if _, err := unknown.Inspect(t.Context()); !errors.Is(err, providers.ErrNotFound) || errors.Is(err, providers.ErrUnavailable) {
		t.Errorf("Inspect without its secret: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	patient := device(t, func(s *command.Settings) { s.Command, s.Inspect = []string{"true"}, sh("exec sleep 1000") })
	if _, err := patient.Inspect(ctx); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, providers.ErrUnavailable) {
		t.Errorf("Inspect after the caller's deadline: %v", err)
	}
}

func TestDomainState(t *testing.T) {
	for name, tc := range map[string]struct {
		state, unsaved, free string
		text                 string // of the error
	}{
		"good":               {"echo ' quiesced '; echo more", "echo yes", "echo 12", ""},
		"no word":            {"true", "echo no", "echo 12", `state printed "", not one of normal, quiescing, quiesced, unquiescing`},
		"other word":         {"echo Normal", "echo no", "echo 12", `state printed "Normal"`},
		"secret":             {"echo $PASSWORD", "echo no", "echo 12", `state printed "[redacted]"`},
		"long":               {"head -c 1000 /dev/zero | tr '\\0' x", "echo no", "echo 12", `xxx..."`},
		"endless":            {"yes normal", "echo no", "echo 12", "more than 1048576 bytes"},
		"unsaved word":       {"echo normal", "echo 1", "echo 12", `unsaved printed "1", not one of no, yes`},
		"unsaved fails":      {"echo normal", "echo no; exit 1", "echo 12", "exit code 1"},
		"free of a fraction": {"echo normal", "echo no", "echo 1.5", `free_space printed "1.5"`},
		"free of a unit":     {"echo normal", "echo no", "echo 5GiB", `free_space printed "5GiB"`},
		"free below nothing": {"echo normal", "echo no", "echo -1", `free_space printed "-1"`},
	} {
		t.Run(name, func(t *testing.T) {
			d := device(t, func(s *command.Settings) {
				s.Command, s.State, s.Unsaved, s.FreeSpace = []string{"true"}, sh(tc.state), sh(tc.unsaved), sh(tc.free)
				s.Quiesce, s.Unquiesce, s.CommandUnsaved = []string{"true"}, []string{"true"}, []string{"true"}
				s.SecretEnv = map[string]providers.Secret{"PASSWORD": "secret.password"}
			})
			st, err := d.DomainState(t.Context(), providers.AllDomains)
			switch {
			case tc.text != "" && (err == nil || !strings.Contains(err.Error(), tc.text)):
				t.Errorf("error = %v, want %q", err, tc.text)
			case tc.text == "" && (err != nil || st.Quiesce != providers.Quiesced || !st.Unsaved || st.FreeBytes == nil || *st.FreeBytes != 12):
				t.Errorf("DomainState: %+v, %v", st, err)
			}
			providertest.NoSecrets(t, []string{secret}, st, err)
		})
	}
}

func TestDomainStateWithoutCommands(t *testing.T) {
	d := device(t, func(s *command.Settings) { s.Command = []string{"true"} })
	if st, err := d.DomainState(t.Context(), providers.AllDomains); err != nil || st != (providers.DomainState{Quiesce: providers.QuiesceImpossible}) {
		t.Errorf("DomainState: %+v, %v", st, err)
	}
	if err := d.Quiesce(t.Context(), providers.AllDomains, 0); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Quiesce: %v", err)
	}
	if err := d.Unquiesce(t.Context(), providers.AllDomains); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Unquiesce: %v", err)
	}
}

func TestQuiescePlaceholders(t *testing.T) {
	said := filepath.Join(t.TempDir(), "said")
	hostile := "a b; $(touch x) {timeout} \"'"
	d := device(t, func(s *command.Settings) {
		s.Command, s.Domains = []string{"true", "{domain}"}, []string{hostile}
		s.State, s.Unquiesce = []string{"true", "{domain}"}, []string{"true", "{domain}"}
		s.Quiesce = sh(`printf '<%s>' "$@" >"$0"`, "{domain}", "in {timeout} s")
		s.Quiesce[3] = said
	})
	for timeout, want := range map[time.Duration]string{time.Minute: "60", 1500 * time.Millisecond: "2", 0: "0", -time.Second: "0"} {
		if err := d.Quiesce(t.Context(), hostile, timeout); err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(said); err != nil || string(b) != "<"+hostile+"><in "+want+" s>" {
			t.Errorf("with %s the command got %q, %v", timeout, b, err)
		}
	}
	for _, domain := range []string{"-rf", "", "b"} {
		if err := d.Quiesce(t.Context(), domain, 0); !errors.Is(err, providers.ErrNotFound) {
			t.Errorf("the domain %q: %v", domain, err)
		}
	}
}

// TestDomainsOfInspect leaves it to the commands which of the domains that inspect tells exist, but not what a domain may look like.
func TestDomainsOfInspect(t *testing.T) {
	d := newAppliance(t).device(t)
	for _, domain := range []string{"-rf", "", "a\nb", "\xff"} {
		_, stateErr := d.DomainState(t.Context(), domain)
		for _, err := range []error{stateErr, d.Quiesce(t.Context(), domain, 0), d.Unquiesce(t.Context(), domain)} {
			if !errors.Is(err, providers.ErrNotFound) {
				t.Errorf("the domain %q: %v", domain, err)
			}
		}
	}
	if err := d.Unquiesce(t.Context(), "north"); !errors.Is(err, providers.ErrSourceExit) {
		t.Errorf("a domain that the appliance does not have: %v", err)
	}
}

func TestSecretsInsideSecrets(t *testing.T) {
	vars := map[string]providers.Secret{}
	for _, name := range []string{"a", "ab", "abc", "abcd", "abcde"} {
		vars["V_"+name] = providers.Secret(name)
	}
	s := &command.Settings{Command: []string{"true"}, Inspect: sh("echo model=$V_abcde"), SecretEnv: vars, Extension: ".out"}
	d, err := command.DeviceType().Open(t.Context(), "ldap", s, providers.Env{Secret: func(_ context.Context, ref providers.Secret) (string, error) {
		return "key-" + string(ref), nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	if info, err := d.Inspect(t.Context()); err != nil || info.Model != "[redacted]" {
		t.Errorf("Inspect: %+v, %v", info, err)
	}
}

// TestQuiesceMayWait lets quiesce use its timeout before answer_timeout counts.
func TestQuiesceMayWait(t *testing.T) {
	d := device(t, func(s *command.Settings) {
		s.Command, s.State, s.Unquiesce = []string{"true"}, []string{"true"}, sh("exec sleep 1000")
		s.Quiesce, s.AnswerTimeout = sh("sleep 0.3"), unit.Duration(100*time.Millisecond)
	})
	if err := d.Quiesce(t.Context(), providers.AllDomains, time.Minute); err != nil {
		t.Errorf("Quiesce within its timeout: %v", err)
	}
	if err := d.Unquiesce(t.Context(), providers.AllDomains); !errors.Is(err, providers.ErrSourceExit) || !providers.Retryable(err) {
		t.Errorf("Unquiesce that hangs: %v", err)
	}
}

func TestApplianceFaults(t *testing.T) {
	a := newAppliance(t)
	d := device(t, func(s *command.Settings) { a.settings(s); s.MinSize = 20; s.Timeout = unit.Duration(time.Second) })
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	take := func(req providers.CaptureRequest) (string, error) {
		art := new(providertest.Artifact)
		_, err := d.Capture(t.Context(), req, art)
		return string(art.Bytes("export.out")), err
	}
	with := func(knob string, check func()) {
		t.Helper()
		a.set(t, knob, "0")
		check()
		must(os.Remove(filepath.Join(a.dir, knob)))
	}

	a.set(t, "domains/east/running", "configuration of east, changed")
	for domain, want := range map[string]bool{"east": true, "west": false, providers.AllDomains: true} {
		if st, err := d.DomainState(t.Context(), domain); err != nil || st.Unsaved != want || (st.FreeBytes != nil) != (domain == providers.AllDomains) {
			t.Errorf("%s: %+v, %v", domain, st, err)
		}
	}
	saved, err := take(exportEast)
	must(err)
	running, err := take(unsavedEast)
	must(err)
	if saved != "configuration of east\n" || running != "configuration of east, changed\n" {
		t.Errorf("saved %q, running %q", saved, running)
	}

	for knob, want := range map[string]error{
		"backup_fails": providers.ErrSourceExit, "backup_hangs": providers.ErrSourceExit,
		"backup_short": providers.ErrTooSmall, "down": providers.ErrUnavailable,
	} {
		with(knob, func() {
			if _, err := take(exportEast); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", knob, err, want)
			}
		})
	}
	a.set(t, "free_bytes", "10")
	if _, err := take(secureAll); err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("a secure backup without space: %v", err)
	}
	a.set(t, "free_bytes", "1000")

	with("quiesce_fails", func() {
		if err := d.Quiesce(t.Context(), "east", time.Minute); !errors.Is(err, providers.ErrSourceExit) {
			t.Errorf("Quiesce: %v", err)
		}
	})
	state := func(want providers.QuiesceState) {
		t.Helper()
		if st, err := d.DomainState(t.Context(), "east"); err != nil || st.Quiesce != want {
			t.Errorf("the state is %+v, %v, want %s", st, err, want)
		}
	}
	with("never_quiesces", func() {
		must(d.Quiesce(t.Context(), "east", time.Minute))
		state(providers.Quiescing)
		if _, err := take(exportEast); err == nil || !strings.Contains(err.Error(), "busy") {
			t.Errorf("a domain on its way was captured: %v", err)
		}
	})
	state(providers.Quiesced)
	with("unquiesce_fails", func() {
		if err := d.Unquiesce(t.Context(), "east"); err == nil {
			t.Error("Unquiesce that is refused succeeded")
		}
	})
	state(providers.Quiesced)
	with("never_unquiesces", func() {
		must(d.Unquiesce(t.Context(), "east"))
		state(providers.Unquiescing)
	})
	state(providers.Normal)
}

func TestCheckControl(t *testing.T) {
	trio := func(s *command.Settings, argv ...string) { s.State, s.Quiesce, s.Unquiesce = argv, argv, argv }
	for name, tc := range map[string]struct {
		change func(*command.Settings)
		want   []string
	}{
		"whole": {func(s *command.Settings) {
			trio(s, "x")
			s.Inspect, s.Unsaved, s.CommandUnsaved, s.FreeSpace = []string{"x"}, []string{"x"}, []string{"x"}, []string{"x"}
		}, nil},
		"domains": {func(s *command.Settings) {
			trio(s, "x", "{domain}")
			s.Command, s.Inspect = []string{"x", "{domain}"}, []string{"x"}
			s.Unsaved, s.CommandUnsaved, s.FreeSpace = s.Command, s.Command, []string{"x"}
			s.Quiesce = []string{"x", "{domain}", "{timeout}"}
		}, nil},
		"state alone":     {func(s *command.Settings) { s.State = []string{"x"} }, []string{"state"}},
		"quiesce alone":   {func(s *command.Settings) { s.Quiesce = []string{"x"} }, []string{"quiesce"}},
		"unquiesce alone": {func(s *command.Settings) { s.Unquiesce = []string{"x"} }, []string{"unquiesce"}},
		"no unquiesce":    {func(s *command.Settings) { s.State, s.Quiesce = []string{"x"}, []string{"x"} }, []string{"quiesce", "state"}},
		"unsaved alone":   {func(s *command.Settings) { s.Unsaved = []string{"x"} }, []string{"unsaved"}},
		"capture alone":   {func(s *command.Settings) { s.CommandUnsaved = []string{"x"} }, []string{"command_unsaved"}},
		"would hit all": {func(s *command.Settings) {
			trio(s, "x")
			s.Command, s.Domains = []string{"x", "{domain}"}, []string{"a"}
			s.Unsaved, s.CommandUnsaved = []string{"x"}, []string{"x"}
		}, []string{"command_unsaved", "quiesce", "state", "unquiesce", "unsaved"}},
		"without domains": {func(s *command.Settings) { trio(s, "x", "{domain}") }, []string{"quiesce", "state", "unquiesce"}},
		"empty program":   {func(s *command.Settings) { trio(s, "") }, []string{"quiesce", "state", "unquiesce"}},
		"inspect a domain": {func(s *command.Settings) {
			s.Inspect = []string{"x", "{domain}"}
		}, []string{"inspect"}},
		"misplaced": {func(s *command.Settings) {
			trio(s, "x", "{timeout}")
			s.Command, s.FreeSpace = []string{"x", "{timeout}"}, []string{"x", "{timeout}"}
		}, []string{"command", "free_space", "state", "unquiesce"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := command.Settings{Command: []string{"true"}, Extension: ".out"}
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
