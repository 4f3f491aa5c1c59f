package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-dr/holdfast/cmd/internal/cli"
	"github.com/holdfast-dr/holdfast/reconcile"
)

// holdfast runs the program in this process.
func holdfast(t *testing.T, want int, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	if code := cli.Main(args, strings.NewReader(""), &out, &errs); code != want {
		t.Fatalf("holdfast %v: exit code %d, want %d\n%s%s", args, code, want, out.String(), errs.String())
	}
	return out.String()
}

// Every directory of examples is valid, formatted, and can be planned on a machine that has nothing of it.
func TestExamples(t *testing.T) {
	root := filepath.Join("..", "..", "examples")
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		t.Run(e.Name(), func(t *testing.T) {
			dir, state := filepath.Join(root, e.Name()), filepath.Join(t.TempDir(), "holdfast.db")
			t.Setenv("HOLDFAST_VAR_root", t.TempDir())
			t.Setenv("HOLDFAST_VAR_recipient", "age16xjzfqj2p9w5h5ldtawummqfuq9t9z0k46y9jhe36062ahsmtq4qwuvspn") // of nobody: only encrypted for
			if !strings.Contains(string(readme), "`"+e.Name()+"`") {
				t.Errorf("the README of the examples does not name it")
			}
			holdfast(t, 0, "validate", "--chdir", dir)
			if out := holdfast(t, 0, "fmt", "--check", dir); out != "" {
				t.Errorf("not formatted: %s", out)
			}
			holdfast(t, 0, "init", "--chdir", dir, "--state", state)
			plan := func(args ...string) reconcile.Plan {
				var p reconcile.Plan
				out := holdfast(t, 0, append([]string{"plan", "--json", "--chdir", dir, "--state", state}, args...)...)
				if err := json.Unmarshal([]byte(out), &p); err != nil {
					t.Fatal(err)
				}
				return p
			}
			recorded := plan("--refresh=recorded", "--now=2026-11-20T12:00:00Z")
			if recorded.Errored || !recorded.Applyable || recorded.Summary.Add == 0 {
				t.Errorf("the plan cannot be applied: %+v", recorded.Findings)
			}
			if again := plan("--refresh=recorded", "--now=2026-11-20T12:00:00Z"); again.Digest != recorded.Digest {
				t.Error("the same plan has another digest")
			}
			if slices.ContainsFunc(recorded.Preconditions, func(n reconcile.Precondition) bool { return n.Kind == "" }) {
				t.Error("a precondition says nothing")
			}
		})
	}
}

// The demo runs to its end; what it says it does, it does, since it stops at the first command that fails.
func TestDemo(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"git", "sqlite3", "bash"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Fatalf("the demo needs %s: %v", name, err)
		}
	}
	bin, err := exec.LookPath("holdfast") // put there by testscript.Main
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join("..", "..", "examples", "quickstart", "demo.sh"), bin)
	cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"identical", "orders restored", "(exit code 7)", "51 documents", "dublin/documents", "== Done"} {
		if !bytes.Contains(out, []byte(want)) {
			t.Errorf("the demo does not say %q:\n%s", want, out)
		}
	}
}
