package command

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/holdfast-dr/holdfast/config/unit"
	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/process"
)

// TargetSettings are the arguments of a failover target of type "command".
// {from}, {to}, {epoch} and {failover} in an argument, and the variables
// HOLDFAST_FROM, HOLDFAST_TO, HOLDFAST_EPOCH and HOLDFAST_FAILOVER, tell a command about the move.
type TargetSettings struct {
	Status      []string                    `hcl:"status" json:"status" doc:"Prints the active member's name, or none, on its first line; then, if it knows, a line epoch=N and a line frozen. Must change nothing."`
	Switch      []string                    `hcl:"switch" json:"switch" doc:"Makes {to} active and {from} not. It may be called again for the same move. Exit code 3: a higher epoch is there already."`
	Freeze      []string                    `hcl:"freeze,optional" json:"freeze,omitempty" doc:"Stops writers on {from}; harmless when called again."`
	Unfreeze    []string                    `hcl:"unfreeze,optional" json:"unfreeze,omitempty" doc:"Lets writers on {from} go on; harmless when called again."`
	Verify      []string                    `hcl:"verify,optional" json:"verify,omitempty" doc:"Checks that {to} really serves, after status shows it as active. Must change nothing."`
	Environment map[string]string           `hcl:"environment,optional" json:"environment,omitempty" doc:"Variables added to PATH, HOME, LANG and TZ, which are all that is passed on."`
	SecretEnv   map[string]providers.Secret `hcl:"secret_environment,optional" json:"secret_environment,omitempty" doc:"Variables that hold secrets; their values never reach arguments, errors or records."`
	Timeout     unit.Duration               `hcl:"timeout,optional" json:"timeout" default:"1m" doc:"After this a command and its children are killed and the step failed. 0s: no limit."`
}

// Member are the arguments of one member.
type Member struct {
	Environment map[string]string `hcl:"environment,optional" json:"environment,omitempty" doc:"Variables for the commands about this member: freeze and unfreeze when it is {from}, switch and verify when it is {to}."`
}

// staleExit is the exit code by which a switch command refuses a stale epoch.
const staleExit = 3

// noMember is what a status command prints when no member is active.
const noMember = "none"

// Check reports what is wrong with the settings.
func (s *TargetSettings) Check(report func(path, problem string)) {
	checkArgv(report, "status", s.Status, true)
	checkArgv(report, "switch", s.Switch, true)
	checkArgv(report, "freeze", s.Freeze, false)
	checkArgv(report, "unfreeze", s.Unfreeze, false)
	checkArgv(report, "verify", s.Verify, false)
	if (len(s.Freeze) > 0) != (len(s.Unfreeze) > 0) {
		report("freeze", "freeze and unfreeze belong together: a switchover that stops half way must be able to let writers go on.")
	}
	checkVariables(report, "environment", s.Environment)
	for name := range s.SecretEnv {
		checkVariable(report, "secret_environment", name)
	}
}

// Check reports what is wrong with a member's settings.
func (m *Member) Check(report func(path, problem string)) {
	checkVariables(report, "environment", m.Environment)
}

// TargetType describes the failover target type "command".
func TargetType() providers.TargetType {
	return providers.TargetType{
		Type:     "command",
		Doc:      "Anything whose active side programs can tell and move.",
		Settings: func() any { return new(TargetSettings) },
		Member:   func() any { return new(Member) },
		Open:     openTarget,
	}
}

type target struct {
	*TargetSettings
	name    string
	members map[string]*Member
	env     providers.Env
}

var _ providers.Target = (*target)(nil)

func openTarget(_ context.Context, name string, settings any, members map[string]any, env providers.Env) (providers.Target, error) {
	s, ok := settings.(*TargetSettings)
	if !ok {
		return nil, fmt.Errorf("open failover target %s: settings are %T, not those of a command target", name, settings)
	}
	t := &target{TargetSettings: s, name: name, members: map[string]*Member{}, env: env}
	err := checked("failover target", name, func(report func(path, problem string)) {
		s.Check(report)
		for _, member := range slices.Sorted(maps.Keys(members)) {
			m, ok := members[member].(*Member)
			if !ok {
				report("member."+member, fmt.Sprintf("settings are %T, not those of a command target's member", members[member]))
				continue
			}
			if member == "" || member == noMember || strings.HasPrefix(member, "-") || strings.ContainsFunc(member, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
				report("member."+strconv.Quote(member), "the name must not be \"none\", start with a dash or contain spaces")
			}
			m.Check(func(path, problem string) { report("member."+member+"."+path, problem) })
			t.members[member] = m
		}
	})
	if err != nil {
		return nil, err
	}
	return t, nil
}

func (t *target) Close() error { return nil }

func (t *target) Observe(ctx context.Context) (providers.TargetState, error) {
	res, err := t.run(ctx, t.Status, nil, "")
	if err != nil {
		return providers.TargetState{}, t.unavailable(err)
	}
	st, err := t.parse(res.Stdout)
	if err != nil {
		return providers.TargetState{}, &providers.Error{Op: "observe", Target: t.name, Err: err, Hint: "Correct the status command."}
	}
	return st, nil
}

func (t *target) unavailable(err error) error {
	if canceled(err) {
		return fmt.Errorf("observe %s: %w", t.name, err)
	}
	return &providers.Error{Op: "observe", Target: t.name, Err: fmt.Errorf("%w: %w", providers.ErrUnavailable, err), Retry: !errors.Is(err, process.ErrStart)}
}

func canceled(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// parse reads what a status command printed. Anything unknown is an error: a
// misread state is worse than none.
func (t *target) parse(text string) (providers.TargetState, error) {
	var st providers.TargetState
	for i, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		line = strings.TrimSpace(line)
		epoch, isEpoch := strings.CutPrefix(line, "epoch=")
		switch {
		case i == 0 && (line == "" || line == noMember):
		case i == 0:
			if _, known := t.members[line]; !known {
				return st, fmt.Errorf("status says that %q is active; the members are %s", line, strings.Join(slices.Sorted(maps.Keys(t.members)), ", "))
			}
			st.Active = line
		case line == "":
		case line == "frozen":
			st.Frozen = true
		case isEpoch:
			n, err := strconv.ParseInt(epoch, 10, 64)
			if err != nil || n < 0 {
				return st, fmt.Errorf("status gives %q for the epoch, which is no number", epoch)
			}
			st.Epoch = n
		default:
			return st, fmt.Errorf("line %d of status is %q; it may be epoch=N or frozen", i+1, line)
		}
	}
	return st, nil
}

func (t *target) Freeze(ctx context.Context, mv providers.Move) error {
	return t.pause(ctx, "freeze", t.TargetSettings.Freeze, mv)
}

func (t *target) Unfreeze(ctx context.Context, mv providers.Move) error {
	return t.pause(ctx, "unfreeze", t.TargetSettings.Unfreeze, mv)
}

func (t *target) pause(ctx context.Context, op string, argv []string, mv providers.Move) error {
	if len(argv) == 0 {
		return errors.ErrUnsupported
	}
	if _, err := t.current(ctx, op, mv); err != nil {
		return err
	}
	_, err := t.run(ctx, argv, &mv, mv.From)
	return t.explain(op, err)
}

func (t *target) Switch(ctx context.Context, mv providers.Move) error {
	st, err := t.current(ctx, "switch", mv)
	if err != nil {
		return err
	}
	if done(st, mv) {
		return nil
	}
	if _, err := t.run(ctx, t.TargetSettings.Switch, &mv, mv.To); err != nil {
		return t.explain("switch", err)
	}
	if st, err = t.Observe(ctx); err != nil {
		return err
	}
	if !done(st, mv) {
		return t.notDone("switch", st, mv)
	}
	return nil
}

func (t *target) Verify(ctx context.Context, mv providers.Move) error {
	st, err := t.current(ctx, "verify", mv)
	if err != nil {
		return err
	}
	if !done(st, mv) {
		return t.notDone("verify", st, mv)
	}
	if len(t.TargetSettings.Verify) == 0 {
		return nil
	}
	_, err = t.run(ctx, t.TargetSettings.Verify, &mv, mv.To)
	return t.explain("verify", err)
}

// done reports whether the move took place. Epoch 0 is a target that holds no marker.
func done(st providers.TargetState, mv providers.Move) bool {
	return st.Active == mv.To && (st.Epoch == 0 || st.Epoch == mv.Epoch)
}

func (t *target) notDone(op string, st providers.TargetState, mv providers.Move) error {
	active := st.Active
	if active == "" {
		active = noMember
	}
	return &providers.Error{
		Op: op, Target: t.name, Err: fmt.Errorf("%s should be active with epoch %d, status shows %s with epoch %d", mv.To, mv.Epoch, active, st.Epoch),
		Hint: "Find out which side serves before anything is moved.",
	}
}

// current observes the target and refuses a move that is unknown or stale.
func (t *target) current(ctx context.Context, op string, mv providers.Move) (providers.TargetState, error) {
	if t.members[mv.To] == nil {
		return providers.TargetState{}, fmt.Errorf("%s %s: member %q: %w", op, t.name, mv.To, providers.ErrNotFound)
	}
	if mv.From != "" && t.members[mv.From] == nil {
		return providers.TargetState{}, fmt.Errorf("%s %s: member %q: %w", op, t.name, mv.From, providers.ErrNotFound)
	}
	st, err := t.Observe(ctx)
	if err != nil {
		return st, err
	}
	if st.Epoch > mv.Epoch {
		return st, &providers.Error{
			Op: op, Target: t.name, Err: fmt.Errorf("%w: %d, this move has %d", providers.ErrStaleEpoch, st.Epoch, mv.Epoch),
			Hint: "A move took place that this state does not know; adopt it first.",
		}
	}
	return st, nil
}

func (t *target) run(ctx context.Context, argv []string, mv *providers.Move, about string) (process.Result, error) {
	env := maps.Clone(t.Environment)
	if env == nil {
		env = map[string]string{}
	}
	if m := t.members[about]; m != nil {
		maps.Copy(env, m.Environment)
	}
	spec := process.Spec{Argv: argv, Env: env, Timeout: t.Timeout.Std()}
	if mv != nil {
		epoch := strconv.FormatInt(mv.Epoch, 10)
		fill := strings.NewReplacer("{from}", mv.From, "{to}", mv.To, "{epoch}", epoch, "{failover}", mv.Failover)
		spec.Argv = nil
		for _, a := range argv {
			spec.Argv = append(spec.Argv, fill.Replace(a))
		}
		env["HOLDFAST_FROM"], env["HOLDFAST_TO"], env["HOLDFAST_EPOCH"], env["HOLDFAST_FAILOVER"] = mv.From, mv.To, epoch, mv.Failover
	}
	redact, err := secrets(ctx, t.env, t.SecretEnv, env)
	if err != nil {
		return process.Result{}, err
	}
	spec.Redact = redact
	return process.Run(ctx, spec)
}

func (t *target) explain(op string, err error) error {
	if err == nil {
		return nil
	}
	if canceled(err) {
		return fmt.Errorf("%s %s: %w", op, t.name, err)
	}
	e := &providers.Error{Op: op, Target: t.name, Err: err}
	var exit *process.ExitError
	switch {
	case errors.As(err, &exit) && exit.Code == staleExit && op == "switch":
		e.Err = fmt.Errorf("%w: %w", providers.ErrStaleEpoch, err)
	case errors.Is(err, process.ErrStart):
		e.Err = fmt.Errorf("%w: %w", providers.ErrUnavailable, err)
	}
	return e
}
