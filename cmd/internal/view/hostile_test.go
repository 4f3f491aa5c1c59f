package view_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/holdfast-dr/holdfast/cmd/internal/view"
	"github.com/holdfast-dr/holdfast/config/diag"
	"github.com/holdfast-dr/holdfast/config/unit"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/reconcile/status"
	"github.com/holdfast-dr/holdfast/state"
)

// hostile rewrites terminals, hides words, breaks lines, mentions people and is no UTF-8.
const hostile = "x\x1b[2J\x1b]0;title\x07\u202egnp.exe\u2066\u200b\r\nError: fake\n\u2028<script>alert(1)</script><!-- --> @everyone [a](https://evil.example) ![i](x) `code` **zz** | #1 ~~s~~ HTTPS://evil.example ftp://evil.example Www.evil.example mailto:a@evil.example $`x`$ $\\frac{1}{2}$ GH-1 !1 \xff\x00\u009b31m"

// printable fails for what a terminal would act on.
func printable(t *testing.T, what, got string) {
	t.Helper()
	for _, bad := range []string{"\x1b", "\x07", "\x00", "\r", "\u202e", "\u2066", "\u200b", "\u2028", "\u009b", "\xff"} {
		if strings.Contains(got, bad) {
			t.Errorf("%s contains %q:\n%q", what, bad, got)
		}
	}
	if !utf8.ValidString(got) {
		t.Errorf("%s is no UTF-8", what)
	}
	if strings.Contains(got, "\nError: fake") {
		t.Errorf("%s has a line that somebody else wrote:\n%s", what, got)
	}
}

// poisoned is a plan in which everything that comes from outside is hostile.
func poisoned() *reconcile.Plan {
	p := full()
	p.Environment, p.Config.Subject = hostile, hostile
	for i := range p.Changes {
		p.Changes[i].Address, p.Changes[i].Note, p.Changes[i].Previous = hostile, hostile, hostile
		before, err := json.Marshal(map[string]string{"keep_daily": hostile})
		if err != nil {
			panic(err)
		}
		p.Changes[i].Before = before
	}
	for i := range p.Actions {
		p.Actions[i].Address, p.Actions[i].Reason, p.Actions[i].Summary = hostile, hostile, hostile
		for j := range p.Actions[i].Tasks {
			t := &p.Actions[i].Tasks[j]
			t.Activity, t.Device, t.Domain = hostile, hostile, hostile
			if t.Skip != nil {
				t.Skip = &reconcile.Skip{Code: "X", Reason: hostile}
			}
		}
	}
	p.Deferred[0].Waits, p.Drift[0].Detail, p.Drift[0].Summary, p.Roles[0].Note, p.Roles[0].Active = hostile, hostile, hostile, hostile, hostile
	p.Gates[0].Reason = hostile
	d := &p.Findings[0]
	d.Summary, d.Address, d.Range.Filename, d.Snippet.Code = hostile, hostile, hostile, hostile
	d.Detail = strings.ReplaceAll(hostile, "\n", " ") // details may have lines of their own
	return p
}

func TestHostilePlan(t *testing.T) {
	printable(t, "text", planText(t, poisoned(), view.PlanOptions{Verbose: true}))

	got := markdown(t, poisoned(), 0)
	printable(t, "Markdown", strings.ReplaceAll(got, "\u200b", "")) // our own, after @ and in links
	lines := strings.Split(got, "\n")
	if !regexp.MustCompile(`^<!-- holdfast:plan [A-Za-z0-9_.%-]+ -->$`).MatchString(lines[0]) || strings.Count(lines[0], "-->") != 1 {
		t.Errorf("the marker is %q", lines[0])
	}
	rest := strings.Join(lines[1:], "\n")
	for _, bad := range []string{"<script", "<!--", "@everyone", "https://", "ftp://", "www.", "a@evil", "$", "gh-1", "#1", "!1"} {
		if strings.Contains(strings.ToLower(rest), bad) {
			t.Errorf("the Markdown contains %q:\n%s", bad, rest)
		}
	}
	for _, markup := range []string{`[^\\]\[a\]`, `[^\\]\*\*zz`, `[^\\]~~s`, "[^\\\\]`code"} {
		if m := regexp.MustCompile(markup).FindString(rest); m != "" {
			t.Errorf("the Markdown contains the markup %q", m)
		}
	}
	// Only our own tags are left.
	if tag := regexp.MustCompile(`</?[a-zA-Z!][^>]*>`).FindAllString(rest, -1); len(tag) > 0 {
		for _, s := range tag {
			if !regexp.MustCompile(`^</?(details|details open|summary|sub|span)>$`).MatchString(s) {
				t.Errorf("the Markdown contains the tag %q", s)
			}
		}
	}
}

func TestHostileRecords(t *testing.T) {
	run := aRun()
	run.Address, run.Reason, run.Actor, run.Kind = hostile, hostile, hostile, hostile
	run.Error = strings.ReplaceAll(hostile, "\n", " ")
	d := detail()
	d.Run = run
	for i := range d.Tasks {
		task := &d.Tasks[i]
		task.Device, task.Domain, task.Error, task.Activity, task.Reason = hostile, hostile, hostile, hostile, hostile
		for j := range task.Artifacts {
			a := &task.Artifacts[j]
			manifest, err := json.Marshal(map[string]any{
				"device_type": hostile, "device_info": map[string]string{"identity": hostile, "model": hostile},
				"files": []map[string]any{{"path": hostile, "size": 1, "sha256": hostile}},
			})
			if err != nil {
				t.Fatal(err)
			}
			a.Manifest, a.Device, a.Store = manifest, hostile, hostile
		}
	}
	for i := range d.Activities {
		d.Activities[i].DevicePattern, d.Activities[i].ID = hostile, hostile
	}
	steps := d.Tasks[0]
	steps.Steps = []state.StepRun{{Name: hostile, Error: hostile}}
	lock := state.Lock{Name: hostile, Actor: hostile, Operation: hostile, Reason: hostile, Task: hostile}
	object := state.Object{Address: hostile, AppliedBy: hostile, Commit: "3f9c1ab27d8e"}
	artifact := state.Artifact{ID: hostile, Device: hostile, Domain: hostile, Store: hostile}
	status := status.Report{
		BackupPlans: []status.BackupPlan{{Address: hostile}}, Mirrors: []status.Mirror{{Address: hostile}},
		Failovers: []state.Role{{Failover: hostile, Active: hostile, Reason: hostile}}, OpenRuns: []state.Run{run}, Attention: []state.Run{run}, Locks: []state.Lock{lock},
	}
	for what, show := range map[string]func(*bytes.Buffer) error{
		"runs":  func(b *bytes.Buffer) error { return view.Runs(b, []state.Run{run}, view.Style{}) },
		"run":   func(b *bytes.Buffer) error { return view.Run(b, d, view.Style{}) },
		"steps": func(b *bytes.Buffer) error { return view.Steps(b, steps, view.Style{}) },
		"result": func(b *bytes.Buffer) error {
			return view.Result(b, view.ResultJSON{Runs: []state.Run{run}, Recorded: 1, Left: []view.Left{{Run: run.ID, Task: run.ID, Why: hostile}}}, view.Style{})
		},
		"locks":     func(b *bytes.Buffer) error { return view.Locks(b, []state.Lock{lock}, time.Time{}, view.Style{}) },
		"objects":   func(b *bytes.Buffer) error { return view.Objects(b, []state.Object{object}, view.Style{}) },
		"artifacts": func(b *bytes.Buffer) error { return view.Artifacts(b, []state.Artifact{artifact}, view.Style{}) },
		"status":    func(b *bytes.Buffer) error { return view.Status(b, status, view.Style{}) },
	} {
		printable(t, what, text(t, show))
	}
}

func TestBrokenManifestIsAnError(t *testing.T) {
	d := detail()
	d.Tasks[0].Artifacts[0].Manifest = json.RawMessage(`{"files":`)
	if err := view.Run(new(bytes.Buffer), d, view.Style{}); err == nil || !strings.Contains(err.Error(), "01JD") {
		t.Errorf("got %v", err)
	}
}

func TestMarkdownIsCutToSize(t *testing.T) {
	p := full()
	for i := range 3000 {
		p.Changes = append(p.Changes, reconcile.Change{Address: fmt.Sprintf("site.s%04d", i), Action: reconcile.Create})
		p.Findings = append(p.Findings, diag.Diagnostic{Severity: diag.Warning, Code: "HF-CFG-105", Summary: "Nothing is selected", Detail: strings.Repeat("long ", 20)})
	}
	whole := len(markdown(t, p, 0))
	for _, limit := range []int{3000, 10_000, 60_000, whole} {
		got := markdown(t, p, limit)
		if len(got) > limit {
			t.Errorf("limit %d: %d bytes", limit, len(got))
		}
		if !strings.Contains(got, "Destroys (2)") || !strings.Contains(got, "Not applied without") || !strings.Contains(got, "sha256:9b1e") || !strings.Contains(got, "Changes (3005)") {
			t.Errorf("limit %d: what matters most is gone:\n%.2000s", limit, got)
		}
		if cut := strings.Contains(got, "more cut to fit"); cut != (limit < whole) {
			t.Errorf("limit %d of %d: says that it was cut: %v", limit, whole, cut)
		}
	}
	p.Config.Subject = strings.Repeat("ä", 100_000)
	if got := markdown(t, p, 3000); len(got) > 3000 {
		t.Errorf("a long subject makes %d bytes", len(got))
	}
}

// A pipeline finds its own comment by the first line: no two environments have the same.
func TestMarkdownMarksAreDistinct(t *testing.T) {
	seen := map[string]string{}
	for _, name := range []string{"prod eu", "prod-eu", "prod_eu", "prod%20eu", "prod.eu", "prod--eu", "prod-->eu", "prod/eu", "Prod-eu", "prod\xc3\xb6eu", ""} {
		p := full()
		p.Environment = name
		mark, _, _ := strings.Cut(markdown(t, p, 0), "\n")
		if other, clash := seen[mark]; clash {
			t.Errorf("%q and %q both have %s", name, other, mark)
		}
		if seen[mark] = name; strings.Count(mark, "-->") != 1 || !strings.HasSuffix(mark, " -->") {
			t.Errorf("%q: %s", name, mark)
		}
	}
	p := full()
	p.Environment = "prod-eu"
	if got := markdown(t, p, 0); !strings.HasPrefix(got, "<!-- holdfast:plan prod-eu -->\n") {
		t.Errorf("a plain name is not as it is written: %.60q", got)
	}
}

func TestMarkdownSaysWhatWasCompared(t *testing.T) {
	p := full()
	p.State.Generation, p.Timestamp = 41, time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)
	for source, want := range map[reconcile.InventoryInfo]string{
		{Source: "live", TakenAt: p.Timestamp}:                           "\n\nCompared with generation 41 of the state; devices and stores were looked at.\n",
		{Source: "recorded", TakenAt: p.Timestamp.Add(-26 * time.Hour)}:  "devices and stores as of 2026-03-09 10:00 UTC, 26 hours before.\n",
		{Source: "recorded", TakenAt: p.Timestamp.Add(-72 * time.Hour)}:  "3 days before.\n",
		{Source: "recorded", TakenAt: p.Timestamp.Add(-5 * time.Second)}: "moments before.\n",
		{Source: "recorded"}: "devices and stores were never looked at.\n",
	} {
		p.Inventory = source
		if got := markdown(t, p, 0); !strings.Contains(got, want) {
			t.Errorf("%+v: no %q in\n%.500s", source, want, got)
		}
	}
	p.Mode, p.Base = reconcile.ModeCompare, &reconcile.ConfigInfo{Commit: "aaaaaaaaaaaa", Subject: "before", Ref: "origin/main..."}
	if got := markdown(t, p, 0); !strings.Contains(got, "Compared with commit `aaaaaaa` before (origin/main...), without any state.\n") {
		t.Errorf("got %.500s", got)
	}
	p.Config.Commit = ""
	if got := markdown(t, p, 0); !strings.Contains(got, "\n\nThe configuration is **not from a commit**.\n\nCompared with") {
		t.Errorf("got %.500s", got)
	}
	p.Mode, p.Restore = reconcile.ModeRestore, &reconcile.Restore{}
	if got := markdown(t, p, 0); strings.Contains(got, "not from a commit") || !strings.Contains(got, "Compared with generation 41") {
		t.Errorf("a restore: %.500s", got)
	}
	p.Mode, p.Restore = reconcile.ModeCompare, nil
	if got := markdown(t, p, 0); !strings.Contains(got, "not from a commit") {
		t.Errorf("got %.500s", got)
	}
}

func TestMarkdownOfAFailure(t *testing.T) {
	var many diag.List
	for i := range 2000 {
		many.Errorf("HF-CFG-001", diag.Range{Filename: "a.hold.hcl", Start: diag.Pos{Line: i + 1}}, "Bad", hostile)
	}
	var b bytes.Buffer
	if err := view.MarkdownFailure(&b, "prod eu", many, errors.New("read the configuration of main: "), 5000); err != nil {
		t.Fatal(err)
	}
	got := b.String()
	for _, want := range []string{"<!-- holdfast:plan prod%20eu -->\n", "Plan failed", "The configuration has 2000 errors; read the configuration of main", "more cut to fit", "a.hold.hcl:1"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if len(got) > 5000 || strings.Contains(got, "@everyone") || strings.Contains(got, "<script") {
		t.Errorf("%d bytes, or dangerous:\n%s", len(got), got)
	}
}

func TestBytes(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 3 << 20: "3.0 MiB", 1 << 62: "4.0 EiB"} {
		if got := unit.Bytes(n); got != want {
			t.Errorf("%d: got %q, want %q", n, got, want)
		}
	}
}

func FuzzClean(f *testing.F) {
	f.Add(hostile)
	f.Fuzz(func(t *testing.T, s string) {
		got := view.Line(s)
		printable(t, "line", got)
		if strings.ContainsAny(got, "\n\t") {
			t.Errorf("%q is more than a line", got)
		}
	})
}
