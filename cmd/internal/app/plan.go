package app

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/config/diag"
	"github.com/holdfast-dr/holdfast/config/source"
	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/scratch"
	"github.com/holdfast-dr/holdfast/providers/secrets"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/reconcile/execute"
	"github.com/holdfast-dr/holdfast/reconcile/observe"
	"github.com/holdfast-dr/holdfast/reconcile/planner"
	"github.com/holdfast-dr/holdfast/state"
)

// PlanOptions says what to plan and how freshly to look.
type PlanOptions struct {
	planner.Options
	Recorded    bool // use the inventory of the last look: contact nothing, resolve no secret
	AllowRewind bool // accept a commit that does not descend from the last applied one
}

// Plan makes a plan for a configuration against a backend. A live inventory is written to the state for later.
func (a *App) Plan(ctx context.Context, cfg *Config, backend state.Backend, o PlanOptions) (*reconcile.Plan, error) {
	snap, err := backend.Snapshot(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the state: %w", err)
	}
	in := planner.Input{
		Doc: cfg.Doc, State: snap, Config: configInfo(cfg.Info), Now: a.Now(), Version: a.o.Version, Options: o.Options,
	}
	if last := snap.LastCommit(); !o.AllowRewind && last != "" && cfg.Info.Commit != "" {
		descent, err := descends(ctx, cfg, last)
		if err != nil {
			return nil, fmt.Errorf("compare with the applied commit: %w", err)
		}
		in.Rewound, in.Unproven = descent == source.DescentNo, descent == source.DescentUnknown
	}
	if o.Recorded {
		in.Inventory, err = observe.Recorded(snap)
	} else {
		in.Inventory, err = a.look(ctx, cfg.Doc, snap, backend, in)
	}
	if err != nil {
		return nil, err
	}
	plan, _ := planner.Build(in)
	withWarnings(plan, cfg)
	plan.Findings = append(plan.Findings, unfinished(snap, a.Now())...)
	return plan, nil
}

// unfinished reminds of runs that somebody must continue or decide about: no plan does it by itself. What is open and has no process is
// among them: it could write nothing more, and what it left quiesced stays so.
func unfinished(snap *state.Snapshot, now time.Time) diag.List {
	var list diag.List
	kept := map[string][]string{} // by run: the locks that its tasks in attention keep
	waits := ""
	for _, l := range snap.Locks {
		run, _, _ := strings.Cut(l.Task, ".")
		if l.Task != "" && slices.ContainsFunc(snap.Undecided, func(r state.Run) bool { return r.ID == run && r.Status == state.Attention }) {
			kept[run] = append(kept[run], l.Name)
			waits += fmt.Sprintf(" What needs %s waits until task %s is decided.", l.Name, l.Task)
		}
	}
	for _, r := range snap.OpenRuns {
		if r.Status == state.Attention {
			continue
		}
		if !r.Working(snap.Locks, now) {
			list = append(list, diag.Diagnostic{
				Severity: diag.Warning, Code: "HF-RUN-005", Address: r.Address, Summary: "A run was interrupted",
				Detail: strings.TrimSuffix(fmt.Sprintf("Run %s has not ended. Continue it with: holdfast apply --resume %s.%s", r.ID, r.ID, waits), "."),
			})
		}
	}
	for _, r := range snap.Undecided {
		locked := ""
		if names := kept[r.ID]; len(names) > 0 {
			locked = " Until then it keeps " + strings.Join(names, ", ") + " locked."
		}
		list = append(list, diag.Diagnostic{
			Severity: diag.Warning, Code: "HF-RUN-006", Address: r.Address, Summary: "A run needs a decision",
			Detail: fmt.Sprintf("A task of run %s waits for a person. Look at holdfast history %s, which says why, then decide with holdfast task resolve.%s", r.ID, r.ID, locked),
		})
	}
	return list
}

// withWarnings puts what was found in the configuration before what was found in planning, with source lines.
func withWarnings(plan *reconcile.Plan, cfg *Config) {
	plan.Findings = append(slices.Clone(cfg.Warnings), plan.Findings...)
	list := diag.List(plan.Findings)
	list.WithSnippets(cfg.Doc.Sources)
}

// look takes the inventory and keeps it.
func (a *App) look(ctx context.Context, doc *config.Document, snap *state.Snapshot, backend state.Backend, in planner.Input) (*reconcile.Inventory, error) {
	inv, err := observe.Live(ctx, in, a.opener(doc, snap))
	if err != nil {
		return nil, err
	}
	seen, err := observe.Observations(inv)
	if err != nil {
		return nil, err
	}
	if err := backend.Observe(ctx, seen); err != nil {
		a.o.Log.Warn("the inventory was not kept", "error", err)
	}
	return inv, nil
}

// Compare plans the difference between two configurations, without any state.
func (a *App) Compare(before, after *Config) *reconcile.Plan {
	snap := &state.Snapshot{Objects: map[string]state.Object{}}
	for _, o := range before.Doc.Objects() {
		spec := config.Spec(o)
		addr := string(o.Head().Address)
		snap.Objects[addr] = state.Object{Address: addr, Spec: spec, Digest: config.Digest(spec), Generation: 1}
	}
	plan, _ := planner.Build(planner.Input{
		Doc: after.Doc, State: snap, Config: configInfo(after.Info), Now: a.Now(), Version: a.o.Version,
		Options: planner.Options{Mode: reconcile.ModeCompare},
	})
	base := configInfo(before.Info)
	plan.Base = &base
	withWarnings(plan, after)
	return plan
}

func configInfo(i source.Info) reconcile.ConfigInfo {
	return reconcile.ConfigInfo{
		Repo: i.Repo, Path: i.Path, Ref: i.Ref, Commit: i.Commit, Subject: i.Subject, Author: i.Author, Time: i.Time, Dirty: i.Dirty,
	}
}

// opener opens the providers of a configuration, with recorded identities.
func (a *App) opener(doc *config.Document, snap *state.Snapshot) *providers.Opener {
	objects := map[string]config.Object{}
	for _, o := range doc.Objects() {
		objects[string(o.Head().Address)] = o
	}
	return &providers.Opener{
		Registry: a.registry,
		Env:      a.env(doc, snap),
		Lookup: func(address string) (providers.Spec, error) {
			o, ok := objects[address]
			if !ok {
				return providers.Spec{}, fmt.Errorf("%s is not declared", address)
			}
			spec, err := specOf(config.Spec(o))
			spec.Identity, spec.Epoch = snap.Objects[address].Identity, snap.Objects[address].Epoch
			return spec, err
		},
	}
}

// RecordedOpener opens the providers as they are recorded. It needs no configuration but for secrets.
func (a *App) RecordedOpener(doc *config.Document, snap *state.Snapshot) *providers.Opener {
	return &providers.Opener{
		Registry: a.registry,
		Env:      a.env(doc, snap),
		Lookup: func(address string) (providers.Spec, error) {
			rec, ok := snap.Objects[address]
			if !ok {
				return providers.Spec{}, notRecorded(address)
			}
			spec, err := specOf(rec.Spec)
			spec.Identity, spec.Epoch = rec.Identity, rec.Epoch
			return spec, err
		},
	}
}

// notRecorded says that an object is not known, and how a store becomes known again: what is in it is not lost.
func notRecorded(address string) error {
	if a := config.Address(address); a.Kind() == config.KindStore {
		return fmt.Errorf("%s is not recorded. Declare it with its path and take it over with what is in it: holdfast store init --adopt %s", address, a.Name())
	}
	return fmt.Errorf("%s is not recorded", address)
}

func specOf(body json.RawMessage) (providers.Spec, error) {
	var head struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(body, &head); err != nil {
		return providers.Spec{}, fmt.Errorf("read specification: %w", err)
	}
	return providers.Spec{Type: head.Type, Body: body}, nil
}

func (a *App) env(doc *config.Document, snap *state.Snapshot) providers.Env {
	return providers.Env{
		Writer:    snap.Meta.Lineage,
		Protected: a.own,
		Secret: secrets.New(func(ref string) (secrets.Source, error) {
			if doc == nil {
				return secrets.Source{}, fmt.Errorf("%s is needed: name the configuration that declares it with --chdir or --repo", ref)
			}
			s, err := secretOf(doc, ref)
			if err != nil {
				return secrets.Source{}, err
			}
			return secrets.Source{File: s.File, Env: s.Env, Exec: s.Exec}, nil
		}),
	}
}

// Executor gives an executor that reports to events. The end of kill stops at once what the end of a context lets finish.
func (a *App) Executor(backend state.Backend, events func(execute.Event), kill context.Context) *execute.Executor {
	_ = scratch.Sweep(os.TempDir()) // what a killed run left there; it is in nobody's way
	return execute.New(execute.Options{
		Backend: backend, Registry: a.registry, Protected: a.own, Actor: Actor(), Version: a.o.Version, Events: events, Kill: kill, Now: a.o.Now,
	})
}
