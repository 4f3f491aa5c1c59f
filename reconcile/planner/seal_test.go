package planner_test

import (
	"encoding/json"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/holdfast-dr/holdfast/config/golden"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/reconcile/planner"
	"github.com/holdfast-dr/holdfast/state"
)

// unsealed are the parts of a plan that may change without another approval: texts for people, times, observations.
var unsealed = []string{
	"/holdfast_version", "/complete", "/config/repo", "/config/commit", "/state/*", "/inventory/*",
	"/deferred/*/*", "/drift/*/*", "/roles/*/*", "/findings/*/*", "/findings/*/range/*", "/findings/*/range/*/*", "/summary/*",
	"/changes/*/note", "/changes/*/range/*", "/changes/*/range/*/*", "/actions/*/reason", "/actions/*/summary", "/actions/*/tasks/*/skip/reason",
	"/gates/*/reason", "/actions/*/space/*", "/actions/*/tasks/*/estimate",
}

// goldenInput gives the input of a golden case, "archive/directory".
func goldenInput(t testing.TB, name string) planner.Input {
	t.Helper()
	return goldenCase(golden.Read(t, "testdata/plan/"+path.Dir(name)+".txtar", path.Base(name))).input(t)
}

// goldenPlans gives the plans of some golden cases.
func goldenPlans(t testing.TB, cases ...string) []*reconcile.Plan {
	t.Helper()
	var plans []*reconcile.Plan
	for _, name := range cases {
		p, _ := planner.Build(goldenInput(t, name))
		plans = append(plans, p)
	}
	return plans
}

// TestTampered changes every single value of some plans.
func TestTampered(t *testing.T) {
	for _, p := range goldenPlans(t, "changes/classes", "failovers/switchover", "tasks/scripts", "tasks/seed", "due/missed_skip", "changes/fresh", "failovers/conflict") {
		body := asJSON(t, p)
		for _, l := range leaves(t, body) {
			other := l.changed()
			free := slices.ContainsFunc(unsealed, func(pattern string) bool {
				ok, err := path.Match(pattern, l.where)
				if err != nil {
					t.Fatal(err)
				}
				return ok
			}) || l.where == "/timestamp" && p.ExpiresAt.IsZero()
			var back reconcile.Plan
			err := json.Unmarshal([]byte(body[:l.from]+other+body[l.to:]), &back)
			if err == nil {
				err = back.Intact()
			}
			if free && err != nil || !free && err == nil {
				t.Errorf("%s: %s -> %s: %v", l.where, l.text, other, err)
			}
		}
	}
}

// leaf is one value in a JSON text.
type leaf struct {
	where    string // "/actions/0/kind"
	text     string
	from, to int
}

// changed gives another value of the same kind.
func (l leaf) changed() string {
	var text string
	switch {
	case l.text == "true":
		return "false"
	case l.text == "false":
		return "true"
	case json.Unmarshal([]byte(l.text), &text) != nil:
		return "1" + strings.TrimPrefix(l.text, "-")
	}
	if at, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return strconv.Quote(at.Add(time.Second).Format(time.RFC3339Nano))
	}
	return l.text[:len(l.text)-1] + `x"`
}

// leaves lists every value that is no object and no list.
func leaves(t *testing.T, body string) []leaf {
	var found []leaf
	dec := json.NewDecoder(strings.NewReader(body))
	dec.UseNumber()
	var value func(where string)
	value = func(where string) {
		before := int(dec.InputOffset())
		token, err := dec.Token()
		if err != nil {
			t.Fatal(err)
		}
		switch token {
		case json.Delim('{'):
			for dec.More() {
				key, err := dec.Token()
				if err != nil {
					t.Fatal(err)
				}
				value(where + "/" + strings.ReplaceAll(key.(string), "/", "|"))
			}
		case json.Delim('['):
			for i := 0; dec.More(); i++ {
				value(where + "/" + strconv.Itoa(i))
			}
		default:
			from := before + len(body[before:dec.InputOffset()]) - len(strings.TrimLeft(body[before:dec.InputOffset()], ":, "))
			found = append(found, leaf{where, body[from:dec.InputOffset()], from, int(dec.InputOffset())})
			return
		}
		if _, err := dec.Token(); err != nil {
			t.Fatal(err)
		}
	}
	value("")
	return found
}

func TestIntact(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(p *reconcile.Plan)
		want string
	}{
		{"as it is", func(*reconcile.Plan) {}, ""},
		{"other format", func(p *reconcile.Plan) { p.FormatVersion = "2.0" }, "make a new plan"},
		{"gate taken out", func(p *reconcile.Plan) { p.Gates = nil }, "does not match its digest"},
		{"action taken out", func(p *reconcile.Plan) { p.Actions = p.Actions[1:] }, "does not match its digest"},
		{"object taken out", func(p *reconcile.Plan) { delete(p.Objects, "mirror.docs") }, "does not match its digest"},
		{"damaged object", func(p *reconcile.Plan) { p.Objects["mirror.docs"] = reconcile.Spec{Spec: []byte("{")} }, "mirror.docs is damaged"},
		{"longer life", func(p *reconcile.Plan) { p.ExpiresAt = p.ExpiresAt.Add(time.Hour) }, "does not match its digest"},
		{"endless life", func(p *reconcile.Plan) { p.ExpiresAt = time.Time{} }, "does not match its digest"},
		{"younger", func(p *reconcile.Plan) { p.Timestamp = p.Timestamp.Add(time.Hour) }, "does not match its digest"},
		{"not to be encoded", func(p *reconcile.Plan) { p.Actions[0].DueAt = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) }, "does not match its digest"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := goldenPlans(t, "failovers/switchover")[0]
			c.edit(p)
			err := p.Intact()
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// TestNoSecrets looks for a secret's value in a plan that refers to it.
func TestNoSecrets(t *testing.T) {
	const canary = "c4n4ry-S3CR3T"
	t.Setenv("HOLDFAST_TEST_SECRET", canary)
	doc := loadDocument(t, fstest.MapFS{"main.hold.hcl": {Data: []byte(`
secret "key" { env = "HOLDFAST_TEST_SECRET" }
device "command" "ldap" {
  command            = ["/usr/sbin/slapcat"]
  secret_environment = { KEY = secret.key }
}
store "plain" "nas" { path = "/data/nas" }
backup_plan "nightly" {
  schedule = "0 23 * * *"
  store    = store.nas
  activity "all" {
    action  = "secure_backup"
    devices = ["ldap"]
  }
}
`)}})
	p, _ := planner.Build(planner.Input{Doc: doc, State: &state.Snapshot{}, Now: noon})
	body := asJSON(t, p)
	if !strings.Contains(body, "secret.key") || !p.Applyable {
		t.Errorf("the plan does not name its secret: %s", body)
	}
	if strings.Contains(body, canary) {
		t.Errorf("the plan has the secret: %s", body)
	}
	if _, ok := p.Objects["secret.key"]; !ok {
		t.Error("the plan does not say where its secret is")
	}
}

// FuzzPlanJSON reads plan files that anybody may have written.
func FuzzPlanJSON(f *testing.F) {
	for _, p := range goldenPlans(f, "failovers/switchover", "tasks/scripts", "changes/classes") {
		body, err := json.Marshal(p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	f.Add([]byte(`{"format_version":"1.0","objects":{"a":{}},"actions":[{"after":[5],"tasks":[{"steps":[{"args":null}]}]}]}`))
	f.Add([]byte(`{"format_version":"1.0","actions":[{"due_at":"9999-12-31T23:59:59-23:59"}],"changes":[{"before":"\u2028<","after":null}]}`))
	f.Fuzz(func(_ *testing.T, body []byte) {
		var p reconcile.Plan
		if json.Unmarshal(body, &p) != nil {
			return
		}
		snap := &state.Snapshot{Objects: map[string]state.Object{}, Roles: map[string]state.Role{}}
		if p.Intact() == nil {
			for i, a := range p.Actions {
				for _, j := range a.After {
					if j < 0 || j >= i {
						panic("an action waits for one that is not before it")
					}
				}
			}
		}
		_ = p.Broken(snap, noon)
		p.Closed(reconcile.Allowed{})
		p.Unrecorded(snap)
		for _, a := range p.Actions {
			p.ByAction(a.Address)
			for _, task := range a.Tasks {
				for _, s := range task.Steps {
					var w reconcile.WindowArgs
					if s.Op == reconcile.OpWindow && json.Unmarshal(s.Args, &w) == nil {
						_, _ = w.Check(noon)
					}
				}
			}
		}
		for _, c := range p.Changes {
			c.Record("commit", "ana", noon)
		}
	})
}
