package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/process"
)

// maxAnswer is the most that a command may say when it is asked something.
const maxAnswer = 1 << 20

// named is a command and the argument that declares it.
type named struct {
	path string
	argv []string
	with []string // arguments that are needed with this one
}

func (s *Settings) commands() []named {
	return []named{
		{"command", s.Command, nil},
		{"restore_command", s.Restore, nil},
		{"restore_in_place", s.InPlace, nil},
		{"inspect", s.Inspect, nil},
		{"state", s.State, []string{"quiesce", "unquiesce"}},
		{"quiesce", s.Quiesce, []string{"state", "unquiesce"}},
		{"unquiesce", s.Unquiesce, []string{"state", "quiesce"}},
		{"unsaved", s.Unsaved, []string{"command_unsaved"}},
		{"command_unsaved", s.CommandUnsaved, []string{"unsaved"}},
		{"free_space", s.FreeSpace, nil},
	}
}

// checkControl reports what is wrong with the commands beside the capture, and with placeholders that have no value.
func checkControl(report func(path, problem string), s *Settings) {
	all := s.commands()
	declared := map[string]bool{}
	for _, c := range all {
		declared[c.path] = len(c.argv) > 0
		if c.path != "quiesce" && contains(c.argv, timeoutPlace) {
			report(c.path, "The placeholder {timeout} has a value only in quiesce.")
		}
	}
	scoped := contains(s.Command, domainPlace)
	for _, c := range all[2:] {
		if !declared[c.path] {
			continue
		}
		checkArgv(report, c.path, c.argv, false)
		missing := slices.DeleteFunc(c.with, func(p string) bool { return declared[p] })
		if len(missing) > 0 {
			report(c.path, fmt.Sprintf("With %s also %s must be given.", c.path, strings.Join(missing, " and ")))
		}
		has := contains(c.argv, domainPlace)
		switch {
		case c.path == "inspect" && has:
			report(c.path, "The placeholder {domain} has no value here: inspect is about the whole device.")
		case c.path == "inspect", c.path == "free_space":
		case scoped && !has:
			report(c.path, fmt.Sprintf("The command contains {domain}, so %s must contain it too, or it would be about the whole device.", c.path))
		case !scoped && has:
			report(c.path, "The placeholder {domain} needs domains: the command does not contain it.")
		}
	}
}

// Inspect asks the inspect command. Without one, the device is this machine and its domains are the declared ones.
func (d *device) Inspect(ctx context.Context) (providers.DeviceInfo, error) {
	if err := ctx.Err(); err != nil {
		return providers.DeviceInfo{}, fmt.Errorf("inspect %s: %w", d.name, err)
	}
	if _, err := exec.LookPath(d.Command[0]); err != nil {
		return providers.DeviceInfo{}, &providers.Error{
			Op: "inspect", Target: d.name, Err: fmt.Errorf("%w: %w", providers.ErrUnavailable, err),
			Hint: "Install the program, or give its full path in command.",
		}
	}
	domains := slices.Sorted(slices.Values(d.Domains))
	if len(d.Settings.Inspect) == 0 {
		return providers.DeviceInfo{Identity: host(), Model: d.Command[0], Domains: domains, CanTellUnsaved: len(d.Unsaved) > 0}, nil
	}
	text, err := d.ask(ctx, d.Settings.Inspect, providers.AllDomains, 0)
	if err != nil {
		var e *providers.Error
		if err = d.explainAnswer("inspect", err); errors.As(err, &e) && errors.Is(err, providers.ErrSourceExit) {
			e.Err, e.Retry = fmt.Errorf("%w: %w", providers.ErrUnavailable, e.Err), true
		}
		return providers.DeviceInfo{}, err
	}
	info, err := parseInfo(text)
	info.CanTellUnsaved = len(d.Unsaved) > 0
	switch {
	case err != nil:
	case len(domains) > 0:
		info.Domains = domains
	case len(info.Domains) > 0 && !contains(d.Command, domainPlace):
		err = fmt.Errorf("%w: it prints domains, but command does not contain {domain}", errAnswer)
	}
	if err != nil {
		return providers.DeviceInfo{}, d.explainAnswer("inspect", err)
	}
	return info, nil
}

// parseInfo reads lines KEY=VALUE. A key it does not know is an error: a misspelt one would go unnoticed for years.
func parseInfo(text string) (providers.DeviceInfo, error) {
	var info providers.DeviceInfo
	fields := map[string]*string{"identity": &info.Identity, "model": &info.Model, "firmware": &info.Firmware, "build": &info.Build}
	seen := map[string]bool{}
	for n, line := range strings.Split(text, "\n") {
		if strings.TrimSpace(line) == "" {
			continue
		}
		bad := func(what string) (providers.DeviceInfo, error) {
			return providers.DeviceInfo{}, fmt.Errorf("%w: line %d %s", errAnswer, n+1, what)
		}
		key, value, ok := strings.Cut(line, "=")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		field := fields[key]
		switch {
		case !ok:
			return bad(fmt.Sprintf("is %s, not KEY=VALUE", quote(line)))
		case key != "domain" && field == nil:
			return bad(fmt.Sprintf("has the key %s; there are identity, model, firmware, build and domain", quote(key)))
		case seen[key]:
			return bad("tells " + key + " again")
		case key != "domain":
			if !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl) {
				return bad("has control characters in " + key)
			}
			*field, seen[key] = value, true
		case !plainDomain(value):
			return bad("has a domain that is empty, starts with a dash or contains control characters")
		case value == providers.AllDomains:
			return bad("has the domain " + value + ", which is reserved")
		default:
			info.Domains = append(info.Domains, value)
		}
	}
	slices.Sort(info.Domains)
	info.Domains = slices.Compact(info.Domains)
	return info, nil
}

// DomainState asks state, unsaved and, for the whole device, free_space: those there are.
func (d *device) DomainState(ctx context.Context, domain string) (providers.DomainState, error) {
	st, err := d.domainState(ctx, domain)
	if err != nil {
		return providers.DomainState{}, d.explainAnswer("read the state of", err)
	}
	return st, nil
}

func (d *device) domainState(ctx context.Context, domain string) (providers.DomainState, error) {
	st := providers.DomainState{Quiesce: providers.QuiesceImpossible}
	if err := d.has(domain); err != nil {
		return st, err
	}
	if len(d.State) > 0 {
		word, err := d.word(ctx, "state", d.State, domain,
			string(providers.Normal), string(providers.Quiescing), string(providers.Quiesced), string(providers.Unquiescing))
		if err != nil {
			return st, err
		}
		st.Quiesce = providers.QuiesceState(word)
	}
	if len(d.Unsaved) > 0 {
		word, err := d.word(ctx, "unsaved", d.Unsaved, domain, "no", "yes")
		if err != nil {
			return st, err
		}
		st.Unsaved = word == "yes"
	}
	if len(d.FreeSpace) > 0 && domain == providers.AllDomains {
		text, err := d.ask(ctx, d.FreeSpace, domain, 0)
		if err != nil {
			return st, err
		}
		line := firstLine(text)
		free, err := strconv.ParseInt(line, 10, 64)
		if err != nil || free < 0 {
			return st, fmt.Errorf("%w: free_space printed %s, not a number of bytes", errAnswer, quote(line))
		}
		st.FreeBytes = &free
	}
	return st, nil
}

// Quiesce runs the quiesce command, which may need the timeout and answer_timeout on top.
func (d *device) Quiesce(ctx context.Context, domain string, timeout time.Duration) error {
	return d.control(ctx, "quiesce", d.Settings.Quiesce, domain, max(timeout, 0))
}

// Unquiesce runs the unquiesce command. It asks nothing else before: it must work when nothing else does.
func (d *device) Unquiesce(ctx context.Context, domain string) error {
	return d.control(ctx, "unquiesce", d.Settings.Unquiesce, domain, 0)
}

func (d *device) control(ctx context.Context, op string, argv []string, domain string, timeout time.Duration) error {
	if len(argv) == 0 {
		return errors.ErrUnsupported
	}
	err := d.has(domain)
	if err == nil {
		_, err = d.ask(ctx, argv, domain, timeout)
	}
	if err != nil {
		return d.explainAnswer(op, err)
	}
	return nil
}

// has refuses a domain that cannot be one. Which domains inspect tells is not asked for: the commands know theirs.
func (d *device) has(domain string) error {
	told := len(d.Domains) == 0 && len(d.Settings.Inspect) > 0 && contains(d.Command, domainPlace)
	if domain == providers.AllDomains || slices.Contains(d.Domains, domain) || told && plainDomain(domain) {
		return nil
	}
	return fmt.Errorf("domain %q: %w", domain, providers.ErrNotFound)
}

// errAnswer says that a command did what it was asked, but its answer cannot be read.
var errAnswer = errors.New("unexpected answer")

// ask runs a command that answers within answer_timeout, which starts after its own timeout. The answer is free of secrets.
func (d *device) ask(ctx context.Context, argv []string, domain string, timeout time.Duration) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	seconds := (timeout + time.Second - 1) / time.Second
	spec, err := d.filled(ctx, argv, strings.NewReplacer(domainPlace, domain, timeoutPlace, strconv.FormatInt(int64(seconds), 10)))
	if err != nil {
		return "", err
	}
	spec.Timeout = d.AnswerTimeout.Std()
	if spec.Timeout > 0 {
		spec.Timeout += timeout
	}
	out := &answer{}
	spec.Stdout = out
	if _, err := process.Run(ctx, spec); err != nil {
		return "", err
	}
	text := out.String()
	for _, secret := range slices.SortedFunc(slices.Values(spec.Redact), func(a, b string) int { return len(b) - len(a) }) {
		if secret = strings.TrimSpace(secret); secret != "" {
			text = strings.ReplaceAll(text, secret, "[redacted]")
		}
	}
	return text, nil
}

// word asks for one of some words.
func (d *device) word(ctx context.Context, name string, argv []string, domain string, words ...string) (string, error) {
	text, err := d.ask(ctx, argv, domain, 0)
	if err != nil {
		return "", err
	}
	word := firstLine(text)
	if !slices.Contains(words, word) {
		return "", fmt.Errorf("%w: %s printed %s, not one of %s", errAnswer, name, quote(word), strings.Join(words, ", "))
	}
	return word, nil
}

// answer keeps what a command prints, and ends one that prints too much.
type answer struct{ bytes.Buffer }

func (a *answer) Write(p []byte) (int, error) {
	if a.Len()+len(p) > maxAnswer {
		return 0, fmt.Errorf("%w: more than %d bytes", errAnswer, maxAnswer)
	}
	return a.Buffer.Write(p)
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return strings.TrimSpace(line)
}

// quote shows the beginning of what a command printed.
func quote(s string) string {
	const most = 60
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "..."
	}
	return strconv.Quote(s)
}

// explainAnswer is explain for a command that was asked something.
func (d *device) explainAnswer(op string, err error) error {
	err = d.explain(op, err)
	var e *providers.Error
	if errors.As(err, &e) {
		switch {
		case errors.Is(err, process.ErrTimeout):
			e.Retry, e.Hint = true, "If the command needs that long, raise answer_timeout."
		case errors.Is(err, errAnswer):
			e.Hint = "Run the command by hand and compare what it prints with the documentation of the command device."
		}
	}
	return err
}
