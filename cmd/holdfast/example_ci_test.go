package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// ciCheckout is a clone as CI systems make it for a pull request: detached at what would be merged. main went on after the
// branch left it.
type ciCheckout struct {
	t         *testing.T
	dir, temp string
	env       []string
}

func newCheckout(t *testing.T) *ciCheckout {
	t.Helper()
	for _, name := range []string{"git", "jq", "bash", "holdfast"} { // holdfast was put there by testscript.Main
		if _, err := exec.LookPath(name); err != nil {
			t.Fatalf("the workflows need %s: %v", name, err)
		}
	}
	c := &ciCheckout{t: t, temp: t.TempDir()}
	c.env = append(os.Environ(), "PATH="+c.temp+"/bin:"+os.Getenv("PATH"), "FAKE="+c.temp, "HOME="+c.temp,
		"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
		"GIT_AUTHOR_NAME=Ana", "GIT_AUTHOR_EMAIL=ana@example.net", "GIT_COMMITTER_NAME=Ana", "GIT_COMMITTER_EMAIL=ana@example.net")
	config, err := os.ReadFile(filepath.Join("..", "..", "examples", "ci", "shop.hold.hcl"))
	if err != nil {
		t.Fatal(err)
	}
	origin := c.temp + "/origin"
	c.sh(c.temp, "git init -q -b main origin")
	c.write(origin+"/shop.hold.hcl", string(config))
	c.sh(origin, "git add -A && git commit -qm shop && git checkout -qb feature")
	c.write(origin+"/dublin.hold.hcl", "site \"dublin\" {}\n")
	c.sh(origin, "git add -A && git commit -qm dublin && git checkout -q main")
	c.write(origin+"/berlin.hold.hcl", "site \"berlin\" {}\n")
	c.sh(origin, "git add -A && git commit -qm berlin")
	c.sh(c.temp, "git init -q work && git -C work remote add origin file://"+origin+
		" && git -C work fetch -q origin '+refs/heads/*:refs/remotes/origin/*' && git -C work checkout -q --detach origin/feature")
	c.dir = c.temp + "/work"
	return c
}

func (c *ciCheckout) write(path, text string) {
	c.t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil { // some are programs
		c.t.Fatal(err)
	}
}

func (c *ciCheckout) read(name string) string {
	c.t.Helper()
	b, err := os.ReadFile(filepath.Join(c.temp, name))
	if err != nil {
		c.t.Fatal(err)
	}
	return string(b)
}

func (c *ciCheckout) try(dir, script string) error {
	c.t.Helper()
	cmd := exec.Command("bash", "-e", "-c", script)
	cmd.Dir, cmd.Env = dir, c.env
	out, err := cmd.CombinedOutput()
	c.t.Logf("%s\n%s", script, out)
	return err
}

func (c *ciCheckout) sh(dir, script string) {
	c.t.Helper()
	if err := c.try(dir, script); err != nil {
		c.t.Fatalf("%s: %v", script, err)
	}
}

func workflow(t *testing.T, name string, into any) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "examples", "ci", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(b, into); err != nil {
		t.Fatal(err)
	}
}

const planned = "Plan: 1 to add, 0 to change, 0 to destroy"

func (c *ciCheckout) called(want string) {
	c.t.Helper()
	if got := c.read("calls"); strings.TrimSpace(got) != want {
		c.t.Errorf("called %q, want %q", got, want)
	}
	c.sh(c.temp, "rm calls")
}

// The workflow for GitHub: what runs in it runs here, with a gh that only notes what it is asked.
func TestExampleGitHub(t *testing.T) {
	t.Parallel()
	var w struct {
		Env  map[string]string
		Jobs map[string]struct {
			Steps []struct {
				Name, Run, If, Uses string
				Env                 map[string]string
				With                map[string]any
			}
		}
	}
	workflow(t, "github.yml", &w)
	steps := w.Jobs["plan"].Steps
	if len(steps) == 0 || steps[0].With["fetch-depth"] != 0 {
		t.Fatalf("the history is not fetched: %+v", steps)
	}
	c := newCheckout(t)
	c.write(c.temp+"/bin/gh", `#!/bin/sh
case "$2" in --paginate) cat "$FAKE/comments.json";; *) echo "$2 $3 $4" >>"$FAKE/calls"; cat "${6#body=@}" >"$FAKE/body";; esac
`)
	c.env = append(c.env, "RUNNER_TEMP="+c.temp, "GITHUB_REPOSITORY=ana/shop", "GITHUB_STEP_SUMMARY="+c.temp+"/summary")
	values := strings.NewReplacer("${{ github.base_ref }}", "main", "${{ github.token }}", "t", "${{ github.event.pull_request.number }}", "7")
	for key, value := range w.Env {
		c.env = append(c.env, key+"="+value)
	}
	run := func() (failed []string) {
		for _, s := range steps {
			if s.Run == "" || s.Name == "Install" || failed != nil && s.If == "" {
				continue
			}
			for key, value := range s.Env {
				c.env = append(c.env, key+"="+values.Replace(value))
			}
			if c.try(c.dir, s.Run) != nil {
				failed = append(failed, s.Name)
			}
		}
		return failed
	}
	const others = `{"id": 1, "user": {"login": "mallory"}, "body": "<!-- holdfast:plan production -->\nmine"},
		{"id": 2, "user": {"login": "github-actions[bot]"}, "body": "<!-- holdfast:plan production-2 -->\nanother"}`
	c.write(c.temp+"/comments.json", "["+others+"]")
	if failed := run(); failed != nil {
		t.Fatalf("failed: %v", failed)
	}
	c.called("--method POST repos/ana/shop/issues/7/comments")
	for _, where := range []string{"body", "summary"} {
		if got := c.read(where); !strings.HasPrefix(got, "<!-- holdfast:plan production -->\n") || !strings.Contains(got, planned) {
			t.Errorf("%s: %.300s", where, got)
		}
	}
	// The second time it is updated, also when there is no plan.
	c.write(c.temp+"/comments.json", "["+others+"]["+`{"id": 3, "user": {"login": "github-actions[bot]"}, "body": "<!-- holdfast:plan production -->\nold"}]`)
	c.write(c.dir+"/dublin.hold.hcl", "sight \"dublin\" {}\n")
	if failed := run(); !slices.Equal(failed, []string{"Plan"}) {
		t.Fatalf("failed: %v", failed)
	}
	c.called("--method PATCH repos/ana/shop/issues/comments/3")
	if got := c.read("body"); !strings.Contains(got, "Plan failed") || !strings.Contains(got, "dublin.hold.hcl:1") {
		t.Errorf("the comment: %s", got)
	}
}

// The workflow for GitLab, with a curl that only notes what it is asked.
func TestExampleGitLab(t *testing.T) {
	t.Parallel()
	var w struct {
		Holdfast struct {
			Variables   map[string]string
			Script      []string
			AfterScript []string `yaml:"after_script"`
		}
	}
	workflow(t, "gitlab.yml", &w)
	if w.Holdfast.Variables["GIT_DEPTH"] != "0" {
		t.Fatalf("the history is not fetched: %+v", w)
	}
	c := newCheckout(t)
	c.sh(c.dir, "git update-ref -d refs/remotes/origin/main")
	c.write(c.temp+"/bin/curl", `#!/bin/sh
grep -qx 'header = "PRIVATE-TOKEN: secret"' || exit 22
case "$*" in *secret*) exit 23;; esac
for last; do :; done
case "$*" in *--request*) echo "$7 $last" >>"$FAKE/calls"; cat "${9#body@}" >"$FAKE/body";; */user) echo '{"id": 42}';; *) cat "$FAKE/notes.json";; esac
`)
	c.env = append(c.env, "COMMENT_TOKEN=secret", "CI_API_V4_URL=https://git.example.net/api/v4", "CI_PROJECT_ID=5",
		"CI_MERGE_REQUEST_IID=7", "CI_MERGE_REQUEST_TARGET_BRANCH_NAME=main")
	for key, value := range w.Holdfast.Variables {
		c.env = append(c.env, key+"="+value)
	}
	const notes = "https://git.example.net/api/v4/projects/5/merge_requests/7/notes"
	const other = `{"id": 1, "author": {"id": 6}, "body": "<!-- holdfast:plan production -->\nmine"}`
	c.write(c.temp+"/notes.json", "["+other+"]")
	script, after := strings.Join(w.Holdfast.Script, "\n"), strings.Join(w.Holdfast.AfterScript, "\n")
	c.sh(c.dir, script)
	c.sh(c.dir, after)
	c.called("POST " + notes)
	if got := c.read("body"); !strings.Contains(got, planned) {
		t.Errorf("the comment: %s", got)
	}
	c.write(c.temp+"/notes.json", "["+other+`, {"id": 3, "author": {"id": 42}, "body": "<!-- holdfast:plan production -->\nold"}]`)
	c.write(c.dir+"/dublin.hold.hcl", "sight \"dublin\" {}\n")
	if c.try(c.dir, script) == nil {
		t.Error("a configuration that does not load does not fail the job")
	}
	c.sh(c.dir, after)
	c.called("PUT " + notes + "/3")
	if got := c.read("body"); !strings.Contains(got, "Plan failed") {
		t.Errorf("the comment: %s", got)
	}
}
