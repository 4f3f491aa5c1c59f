// Package command protects and moves things through programs of the operator:
// a device whose standard output is the artifact, and a failover target made of
// a status and a switch command. Commands are argument lists; there is never a shell.
package command

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/holdfast-dr/holdfast/config/unit"
	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/process"
)

// Settings are the arguments of a device of type "command".
type Settings struct {
	Command        []string                    `hcl:"command" json:"command" doc:"Program and arguments; no shell. Its standard output is the artifact, its exit code must be 0. {domain} in an argument is the domain."`
	Domains        []string                    `hcl:"domains,optional" json:"domains,omitempty" doc:"Parts that can be captured by themselves; the command must then contain {domain}, which is all-domains for the whole. Without it, inspect tells them."`
	Restore        []string                    `hcl:"restore_command,optional" json:"restore_command,omitempty" doc:"Gets the artifact on its standard input; must contain {dir}, the directory to restore into. Without it the artifact is written there as a file."`
	InPlace        []string                    `hcl:"restore_in_place,optional" json:"restore_in_place,omitempty" doc:"Puts an artifact of {domain}, given on its standard input, back into the device; a whole one, checked before. It must leave the old content until the new one is complete, and do no harm when it runs again: a repetition, after a crash, has the same value in HOLDFAST_RESTORE, and when that restore was finished already it should leave what was written since. With the variable HOLDFAST_REPLACE=no it must end with exit code 3 where something is already."`
	Inspect        []string                    `hcl:"inspect,optional" json:"inspect,omitempty" doc:"Prints lines KEY=VALUE with the keys identity, model, firmware, build and, once for each, domain. When it fails the device is not available and its tasks are skipped."`
	State          []string                    `hcl:"state,optional" json:"state,omitempty" doc:"Prints normal, quiescing, quiesced or unquiescing: whether {domain} takes work. For all-domains it is normal only when every domain is."`
	Quiesce        []string                    `hcl:"quiesce,optional" json:"quiesce,omitempty" doc:"Asks {domain} to finish its work within {timeout} seconds and take no more. It need not wait for that; state is asked. Must do no harm when it was asked before."`
	Unquiesce      []string                    `hcl:"unquiesce,optional" json:"unquiesce,omitempty" doc:"Asks {domain} to take work again. Must do no harm, and succeed, when the domain is normal already."`
	Unsaved        []string                    `hcl:"unsaved,optional" json:"unsaved,omitempty" doc:"Prints yes when {domain} runs with changes nobody saved, otherwise no. With yes an export of the domain takes two artifacts."`
	CommandUnsaved []string                    `hcl:"command_unsaved,optional" json:"command_unsaved,omitempty" doc:"Like command, for what {domain} runs with, saved or not: the nonpersisted artifact. Needed with unsaved."`
	FreeSpace      []string                    `hcl:"free_space,optional" json:"free_space,omitempty" doc:"Prints the bytes that are free on the device, where it puts a secure backup together."`
	Environment    map[string]string           `hcl:"environment,optional" json:"environment,omitempty" doc:"Variables added to PATH, HOME, LANG and TZ, which are all that is passed on."`
	SecretEnv      map[string]providers.Secret `hcl:"secret_environment,optional" json:"secret_environment,omitempty" doc:"Variables that hold secrets; their values never reach arguments, errors or records."`
	Extension      string                      `hcl:"extension,optional" json:"extension" default:".out" doc:"Ending of the artifact's file name, such as \".ldif\"."`
	Compress       bool                        `hcl:"compress,optional" json:"compress" default:"true" doc:"Compresses the output with zstd. Switch it off when the command compresses."`
	MinSize        unit.Size                   `hcl:"min_size,optional" json:"min_size" default:"1B" doc:"Less output than this is a failed capture."`
	Timeout        unit.Duration               `hcl:"timeout,optional" json:"timeout" default:"1h" doc:"After this the command and its children are killed and the capture failed. 0s: no limit."`
	AnswerTimeout  unit.Duration               `hcl:"answer_timeout,optional" json:"answer_timeout" default:"1m" doc:"After this inspect, state, quiesce, unquiesce, unsaved and free_space are killed; quiesce has its {timeout} on top. 0s: no limit."`
}

const (
	domainPlace  = "{domain}"
	dirPlace     = "{dir}"
	timeoutPlace = "{timeout}"
)

var (
	extensionForm = regexp.MustCompile(`^(\.[A-Za-z0-9_-]{1,20}){1,4}$`)
	variableForm  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// Check reports what is wrong with the settings.
func (s *Settings) Check(report func(path, problem string)) {
	checkArgv(report, "command", s.Command, true)
	checkArgv(report, "restore_command", s.Restore, false)
	checkDomains(report, s)
	checkControl(report, s)
	if len(s.Restore) > 0 && !contains(s.Restore, dirPlace) {
		report("restore_command", "The restore command must contain {dir}: a restore goes into a directory, never straight into what is in use.")
	}
	if contains(s.InPlace, dirPlace) {
		report("restore_in_place", "There is no directory {dir} when the device itself is restored; restore_command is for directories.")
	}
	switch {
	case !extensionForm.MatchString(s.Extension):
		report("extension", fmt.Sprintf("The extension %q must start with a dot and go on with letters, digits, _ and -.", s.Extension))
	case s.Compress && strings.HasSuffix(s.Extension, zstdSuffix):
		report("compress", "The output is compressed already, by its extension. Set compress = false.")
	}
	checkVariables(report, "environment", s.Environment)
	for name := range s.SecretEnv {
		checkVariable(report, "secret_environment", name)
		if _, twice := s.Environment[name]; twice {
			report("secret_environment", fmt.Sprintf("The variable %s is also in environment.", name))
		}
	}
}

func checkDomains(report func(path, problem string), s *Settings) {
	switch has := contains(s.Command, domainPlace); {
	case len(s.Domains) > 0 && !has:
		report("command", "With domains the command must contain {domain}, or each would give the same artifact.")
	case len(s.Domains) == 0 && len(s.Inspect) == 0 && has:
		report("domains", "The command contains {domain}; list the domains there are, or let inspect tell them.")
	}
	seen := map[string]bool{}
	for i, d := range s.Domains {
		at := fmt.Sprintf("domains[%d]", i)
		switch {
		case !plainDomain(d):
			report(at, fmt.Sprintf("The domain %q must not be empty, start with a dash or contain control characters.", d))
		case d == providers.AllDomains:
			report(at, fmt.Sprintf("The domain name %q is reserved.", d))
		case seen[d]:
			report(at, fmt.Sprintf("The domain %q is listed twice.", d))
		}
		seen[d] = true
	}
}

// plainDomain says that a name can be an argument of a program without being taken for an option.
func plainDomain(d string) bool {
	return d != "" && !strings.HasPrefix(d, "-") && utf8.ValidString(d) && !strings.ContainsFunc(d, unicode.IsControl)
}

func checkArgv(report func(path, problem string), path string, argv []string, required bool) {
	switch {
	case len(argv) == 0 && required:
		report(path, "A program is needed.")
	case len(argv) > 0 && argv[0] == "":
		report(path, "The program's name is empty.")
	case len(argv) > 0 && strings.ContainsAny(argv[0], "{}"):
		report(path, "The program's name must not contain a placeholder.")
	}
	for i, a := range argv {
		if strings.ContainsRune(a, 0) {
			report(fmt.Sprintf("%s[%d]", path, i), "An argument contains a NUL character.")
		}
	}
}

func checkVariables(report func(path, problem string), path string, vars map[string]string) {
	for name, value := range vars {
		checkVariable(report, path, name)
		if strings.ContainsRune(value, 0) {
			report(path, fmt.Sprintf("The value of %s contains a NUL character.", name))
		}
	}
}

func checkVariable(report func(path, problem string), path, name string) {
	if !variableForm.MatchString(name) {
		report(path, fmt.Sprintf("%q is no name of an environment variable.", name))
	}
}

func contains(argv []string, place string) bool {
	return slices.ContainsFunc(argv, func(a string) bool { return strings.Contains(a, place) })
}

// checked turns what Check reports into an error, for settings that did not come through a configuration.
func checked(kind, name string, check func(report func(path, problem string))) error {
	var problems []error
	check(func(path, problem string) { problems = append(problems, fmt.Errorf("%s: %s", path, problem)) })
	if len(problems) > 0 {
		return fmt.Errorf("open %s %s: %w", kind, name, errors.Join(problems...))
	}
	return nil
}

// DeviceType describes the device type "command".
func DeviceType() providers.DeviceType {
	return providers.DeviceType{
		Type:     "command",
		Doc:      "Anything that a program can write to its standard output.",
		Actions:  []providers.Action{providers.SecureBackup, providers.ExportDomain},
		InPlace:  canPut,
		Settings: func() any { return new(Settings) },
		Open: func(_ context.Context, name string, settings any, env providers.Env) (providers.Device, error) {
			s, ok := settings.(*Settings)
			if !ok {
				return nil, fmt.Errorf("open device %s: settings are %T, not those of a command device", name, settings)
			}
			if err := checked("device", name, s.Check); err != nil {
				return nil, err
			}
			return &device{name: name, Settings: s, env: env}, nil
		},
	}
}

type device struct {
	*Settings
	name string
	env  providers.Env
}

var _ providers.Device = (*device)(nil)

// host identifies this machine, whose command it is. The machine id itself is not meant to be passed on.
func host() string {
	if b, err := os.ReadFile("/etc/machine-id"); err == nil && len(strings.TrimSpace(string(b))) >= 32 {
		sum := sha256.Sum256([]byte("holdfast device " + strings.TrimSpace(string(b))))
		return "machine-" + hex.EncodeToString(sum[:16])
	}
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	return "host-" + name
}

func (d *device) Close() error { return nil }

// capturing refuses what the commands cannot be asked for, and gives the one that makes the artifact.
func (d *device) capturing(ctx context.Context, req providers.CaptureRequest) ([]string, error) {
	switch {
	case req.Action == providers.SecureBackup && req.Domain != providers.AllDomains && req.Domain != "":
		return nil, fmt.Errorf("domain %q: %w", req.Domain, providers.ErrNotFound)
	case req.Action != providers.SecureBackup && req.Action != providers.ExportDomain:
		return nil, fmt.Errorf("action %q: %w", req.Action, errors.ErrUnsupported)
	case req.Variant == providers.Nonpersisted && (req.Action != providers.ExportDomain || len(d.CommandUnsaved) == 0):
		return nil, fmt.Errorf("variant %q: %w", req.Variant, errors.ErrUnsupported)
	}
	if req.Action == providers.ExportDomain {
		if err := d.exports(ctx, req.Domain); err != nil {
			return nil, err
		}
	}
	if req.Variant == providers.Nonpersisted {
		return d.CommandUnsaved, nil
	}
	return d.Command, nil
}

// exports refuses a domain that the device has not. One without parts is exported as a whole.
func (d *device) exports(ctx context.Context, domain string) error {
	known := []string{providers.AllDomains}
	switch {
	case len(d.Domains) > 0:
		known = d.Domains
	case contains(d.Command, domainPlace):
		info, err := d.Inspect(ctx)
		if err != nil {
			return err
		}
		known = info.Domains
	}
	if !slices.Contains(known, domain) {
		return fmt.Errorf("domain %q: %w", domain, providers.ErrNotFound)
	}
	return nil
}

// spec fills the placeholders of a command and adds its environment. Every
// argument stays one argument, whatever is filled in.
func (d *device) spec(ctx context.Context, argv []string, domain, dir string) (process.Spec, error) {
	if domain == "" {
		domain = providers.AllDomains
	}
	return d.filled(ctx, argv, strings.NewReplacer(domainPlace, domain, dirPlace, dir))
}

func (d *device) filled(ctx context.Context, argv []string, fill *strings.Replacer) (process.Spec, error) {
	s := process.Spec{Env: map[string]string{}, Timeout: d.Timeout.Std()}
	for _, a := range argv {
		s.Argv = append(s.Argv, fill.Replace(a))
	}
	for k, v := range d.Environment {
		s.Env[k] = v
	}
	var err error
	s.Redact, err = secrets(ctx, d.env, d.SecretEnv, s.Env)
	return s, err
}

// secrets resolves references into variables and lists the values that must not show.
func secrets(ctx context.Context, env providers.Env, refs map[string]providers.Secret, vars map[string]string) ([]string, error) {
	var values []string
	for k, ref := range refs {
		if env.Secret == nil {
			return nil, fmt.Errorf("%s for %s: no secrets here", ref, k)
		}
		v, err := env.Secret(ctx, ref)
		if err != nil {
			return nil, fmt.Errorf("%s for %s: %w", ref, k, err)
		}
		vars[k] = v
		values = append(values, v)
	}
	return values, nil
}
