package planner_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/config/diag"
	"github.com/holdfast-dr/holdfast/config/golden"
	"github.com/holdfast-dr/holdfast/config/load"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/reconcile/planner"
	"github.com/holdfast-dr/holdfast/state"
)

// TestPlan makes the plan of every directory of every archive in testdata/plan and compares it with the directory's want.json.
//
//	main.hold.hcl    desired
//	before.hold.hcl  what was applied; without it nothing was, or main when the options say "recorded: main"
//	common.hold.hcl  part of both; of the directory or, without one, of the archive
//	state.json       more of the recorded state
//	inventory.json   what was seen; of the directory or, without one, of the archive
//	options          lines such as "now: 2026-03-10T10:00:00Z"
func TestPlan(t *testing.T) {
	golden.Run(t, "testdata/plan/*.txtar", "want.json", func(t *testing.T, c golden.Case) string {
		in := goldenCase(c).input(t)
		plan, diags := planner.Build(in)
		checkInvariants(t, in, plan, diags)
		return render(t, plan)
	})
}

// goldenCase makes the input of a plan from files.
type goldenCase golden.Case

// noon is the time of planning when the options give none: a Tuesday.
var noon = time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)

func (c goldenCase) input(t testing.TB) planner.Input {
	t.Helper()
	in := planner.Input{
		Doc: c.load(t, "main.hold.hcl"), Now: noon, Version: "0.0.0-test",
		Config: reconcile.ConfigInfo{Repo: "/srv/repo", Commit: "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"},
		State:  &state.Snapshot{Meta: state.Meta{Lineage: "lineage-1", Generation: 7}},
	}
	applied := "before.hold.hcl"
	for line := range strings.Lines(string(c["options"])) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), ": ")
		switch {
		case !ok:
			t.Fatalf("options: %q is no key: value", line)
		case key == "recorded" && value == "main":
			applied = "main.hold.hcl"
		case key == "now":
			now, err := time.Parse(time.RFC3339, value)
			if err != nil {
				t.Fatal(err)
			}
			in.Now = now
		case key == "mode":
			in.Options.Mode = reconcile.Mode(value)
		case key == "run":
			in.Options.Mode, in.Options.Run = reconcile.ModeRun, value
		case key == "operator":
			in.Options.Operator = value
		case key == "target":
			in.Options.Targets = append(in.Options.Targets, value)
		case key == "exclude":
			in.Options.Exclude = append(in.Options.Exclude, value)
		case key == "rewound":
			in.Rewound = value == "true"
		case key == "unproven":
			in.Unproven = value == "true"
		default:
			t.Fatalf("options: there is no %q", line)
		}
	}
	if _, ok := c[applied]; ok {
		in.State.Objects = apply(c.load(t, applied), in.State.Meta.Lineage)
	}
	c.recorded(t, in.State)
	if body, ok := c["inventory.json"]; ok {
		in.Inventory = &reconcile.Inventory{Source: "live", TakenAt: in.Now}
		unmarshal(t, "inventory.json", body, in.Inventory)
	}
	return in
}

func (c goldenCase) load(t testing.TB, name string) *config.Document {
	t.Helper()
	fsys := fstest.MapFS{name: {Data: c[name]}}
	if common, ok := c["common.hold.hcl"]; ok {
		fsys["common.hold.hcl"] = &fstest.MapFile{Data: common}
	}
	return loadDocument(t, fsys)
}

func loadDocument(t testing.TB, fsys fstest.MapFS) *config.Document {
	t.Helper()
	doc, diags := load.Load(fsys, load.Options{Types: registry, Version: "0.0.0"})
	if diags.HasErrors() {
		t.Fatalf("the configuration has errors:\n%s", findings(diags))
	}
	return doc
}

// apply records every object of a document, as a first apply does.
func apply(doc *config.Document, lineage string) map[string]state.Object {
	plan, _ := planner.Build(planner.Input{
		Doc: doc, State: &state.Snapshot{Meta: state.Meta{Lineage: lineage}}, Now: noon, Options: planner.Options{Mode: reconcile.ModeCompare},
	})
	objects := map[string]state.Object{}
	for i, c := range plan.Changes {
		objects[c.Address] = recordOf(c.Record("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "ana", noon.Add(-48*time.Hour)), int64(i+1))
	}
	return objects
}

func recordOf(w state.Change, generation int64) state.Object {
	return state.Object{
		Address: w.Address, Spec: w.Spec, Digest: w.Digest, Generation: generation, Protect: w.Protect, Identity: w.Identity,
		Commit: w.Commit, AppliedAt: w.At, AppliedBy: w.By,
	}
}

// recorded merges state.json into a snapshot.
func (c goldenCase) recorded(t testing.TB, s *state.Snapshot) {
	t.Helper()
	body, ok := c["state.json"]
	if !ok {
		return
	}
	more := struct {
		Objects   map[string]state.Object   `json:"objects"`
		Roles     map[string]state.Role     `json:"roles"`
		Positions map[string]state.Position `json:"positions"`
		Cursors   map[string]state.Cursor   `json:"cursors"`
		Gaps      map[string]state.Gap      `json:"gaps"`
		Artifacts map[string]state.Holdings `json:"artifacts"`
		OpenRuns  []state.Run               `json:"open_runs"`
		Catalogue []state.ArtifactBrief     `json:"catalogue"`
		Hold      state.Hold                `json:"hold"`
		LastRuns  map[string]state.Run      `json:"last_runs"`
		LastGood  map[string]state.Run      `json:"last_good"`
	}{}
	unmarshal(t, "state.json", body, &more)
	for a, o := range more.Objects {
		s.Objects[a] = merged(s.Objects[a], o)
	}
	s.Catalogue, s.Gaps, s.Meta.Hold = more.Catalogue, more.Gaps, more.Hold
	s.LastRuns, s.LastGood = more.LastRuns, more.LastGood
	s.Roles, s.Positions, s.Cursors, s.Artifacts, s.OpenRuns = more.Roles, more.Positions, more.Cursors, more.Artifacts, more.OpenRuns
}

func merged(o, with state.Object) state.Object {
	if with.Identity != "" {
		o.Identity = with.Identity
	}
	if with.Epoch != 0 {
		o.Epoch, o.Heads = with.Epoch, with.Heads
	}
	if with.Spec != nil {
		o.Spec, o.Digest = with.Spec, config.Digest(with.Spec)
	}
	return o
}

func unmarshal(t testing.TB, name string, body []byte, into any) {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// goldenPlan is what a golden file keeps of a plan.
type goldenPlan struct {
	Plan          string         `json:"plan"`
	Changes       []string       `json:"changes,omitempty"`
	Actions       []goldenAction `json:"actions,omitempty"`
	Deferred      []string       `json:"deferred,omitempty"`
	Drift         []string       `json:"drift,omitempty"`
	Roles         []string       `json:"roles,omitempty"`
	Deletions     []string       `json:"deletions,omitempty"`
	Gates         []string       `json:"gates,omitempty"`
	Preconditions []string       `json:"preconditions,omitempty"`
	Findings      []string       `json:"findings,omitempty"`
}

type goldenAction struct {
	Action string   `json:"action"`
	Reason string   `json:"reason"`
	After  []int    `json:"after,omitempty"`
	Missed []string `json:"missed,omitempty"`
	Space  string   `json:"space,omitempty"`
	Tasks  []string `json:"tasks,omitempty"`
}

func render(t *testing.T, p *reconcile.Plan) string {
	g := goldenPlan{Plan: planLine(p)}
	for _, c := range p.Changes {
		g.Changes = append(g.Changes, changeLine(c))
	}
	for _, a := range p.Actions {
		g.Actions = append(g.Actions, actionOf(a))
	}
	for _, d := range p.Deferred {
		g.Deferred = append(g.Deferred, join("; ", d.Kind+" "+d.Address, d.Reason, "waits for "+d.Waits, stamp("until", d.Until), d.Code))
	}
	for _, d := range p.Drift {
		g.Drift = append(g.Drift, join(": ", d.Address+" "+d.Summary, d.Detail))
	}
	for _, r := range p.Roles {
		g.Roles = append(g.Roles, join("; ", fmt.Sprintf("%s %s at %s, epoch %d, prefers %s", r.Failover, r.State, r.Active, r.Epoch, r.Preferred), r.Note))
	}
	for _, d := range p.Deletions {
		g.Deletions = append(g.Deletions, fmt.Sprintf("%s: %d, %d bytes, %s .. %s, look-back %d s -> %d s: %s", d.Address, d.Count, d.Bytes,
			d.Oldest.Format(time.DateOnly), d.Newest.Format(time.DateOnly), d.LookBackBefore, d.LookBackAfter, strings.Join(d.IDs, " ")))
	}
	for _, x := range p.Gates {
		g.Gates = append(g.Gates, x.Allow+": "+x.Reason)
	}
	for _, n := range p.Preconditions {
		g.Preconditions = append(g.Preconditions, join(" ", string(n.Kind), n.Address, n.Want))
	}
	g.Findings = findingLines(p.Findings)
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(g); err != nil {
		t.Fatal(err)
	}
	return buf.String()
}

func planLine(p *reconcile.Plan) string {
	var words []string
	for _, w := range []struct {
		on   bool
		word string
	}{{p.Applyable, "applyable"}, {!p.Complete, "incomplete"}, {p.Errored, "errored"}, {p.Empty(), "empty"}, {!p.ExpiresAt.IsZero(), "expires"}} {
		if w.on {
			words = append(words, w.word)
		}
	}
	s := p.Summary
	return fmt.Sprintf("%s: +%d ~%d -%d >%d, %d actions, %d tasks, %d skipped, %d deferred, %d drift",
		strings.Join(words, " "), s.Add, s.Change, s.Destroy, s.Move, s.Actions, s.Tasks, s.Skipped, s.Deferred, s.Drift)
}

func changeLine(c reconcile.Change) string {
	line := fmt.Sprintf("%s %s (%s", c.Action, c.Address, c.Class)
	if c.Previous != "" {
		line += ", was " + c.Previous
	}
	if c.Protect {
		line += ", protected"
	}
	if c.ByAction {
		line += ", by its action"
	}
	return join("; ", line+")", c.Note, join(" ", c.Paths...))
}

func actionOf(a reconcile.Action) goldenAction {
	g := goldenAction{
		Action: join(", ", fmt.Sprintf("%s %s %s by %s", a.Kind, a.Address, a.Class, a.Trigger), a.TriggerKey, stamp("due", a.DueAt), a.Summary),
		Reason: a.Reason, After: a.After,
	}
	if s := a.Space; s != nil && (s.Needs > 0 || s.Free >= 0) {
		g.Space = fmt.Sprintf("needs %d in %s, %d free, %d tasks unknown", s.Needs, s.Store, s.Free, s.Unknown)
	}
	for _, m := range a.Missed {
		g.Missed = append(g.Missed, m.Nominal+stamp(" at", m.At))
	}
	for _, task := range a.Tasks {
		g.Tasks = append(g.Tasks, taskLine(task))
	}
	return g
}

func taskLine(t reconcile.Task) string {
	head := join(" ", fmt.Sprintf("%d %s", t.Stage, t.Kind), t.Activity, t.Device, t.Domain, t.Action)
	if t.Skip != nil {
		return fmt.Sprintf("%s: skip %s, %s", head, t.Skip.Code, t.Skip.Reason)
	}
	var steps []string
	for _, s := range t.Steps {
		name := s.Name
		if s.Class != state.Rerun {
			name += "!" + string(s.Class)
		}
		if s.Always {
			name += "!always"
		}
		steps = append(steps, name)
	}
	extra := ""
	if t.OnError == "halt" {
		extra += ", halt"
	}
	if t.Always {
		extra += ", always"
	}
	if t.Estimate > 0 {
		extra += fmt.Sprintf(", about %d bytes", t.Estimate)
	}
	if len(t.On) > 0 {
		extra += ", on " + strings.Join(t.On, " ")
	}
	return fmt.Sprintf("%s: %s%s", head, strings.Join(steps, " | "), extra)
}

func findingLines(list diag.List) []string {
	var lines []string
	for _, d := range list {
		place := ""
		if !d.Range.IsZero() {
			place = fmt.Sprintf("%s:%d", d.Range.Filename, d.Range.Start.Line)
		}
		lines = append(lines, join(" ", string(d.Severity), d.Code, d.Address, place, d.Summary+":", d.Detail))
	}
	return lines
}

func findings(list diag.List) string { return strings.Join(findingLines(list), "\n") }

func stamp(what string, t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return what + " " + t.Format(time.RFC3339)
}

// join leaves out what is empty.
func join(sep string, parts ...string) string {
	var kept []string
	for _, p := range parts {
		if p != "" {
			kept = append(kept, p)
		}
	}
	return strings.Join(kept, sep)
}
