package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/holdfast-dr/holdfast/"

// imports is the architecture: what each package may import of ours. Imports only go down. A new package is a new line
// here, with its reason in the package comment.
var imports = map[string][]string{
	"config/diag":     {},
	"config/schedule": {},
	"config/unit":     {},
	"providers":       {"config/unit"},
	"state":           {},

	"config":                    {"config/diag", "config/schedule", "config/unit"},
	"providers/ahead":           {},
	"providers/attribute":       {},
	"config/glob":               {},
	"providers/priority":        {},
	"providers/process":         {"providers/priority"},
	"providers/opened":          {},
	"providers/scratch":         {},
	"providers/secrets":         {"providers", "providers/process"},
	"providers/command":         {"providers", "providers/process", "providers/scratch", "config/unit"},
	"providers/files":           {"providers", "providers/attribute", "providers/files/archive", "providers/opened", "config/glob"},
	"providers/postgresql":      {"providers", "config/glob", "providers/postgresql/dump", "providers/process", "providers/scratch", "config/unit"},
	"providers/postgresql/dump": {},
	"providers/files/archive": {
		"providers", "providers/ahead", "providers/attribute", "providers/opened", "config/glob", "providers/priority", "providers/scratch",
	},
	"providers/providertest/faulty": {
		"providers",
	},
	"providers/providertest/simulator": {
		"providers", "providers/providertest",
	},
	"state/sqlstore/database": {
		"state",
	},
	"providers/plain": {
		"providers", "providers/ahead", "providers/plain/chain", "providers/plain/codec", "providers/plain/disk", "providers/plain/layout", "config/unit",
	},
	"providers/plain/chain":  {},
	"providers/plain/codec":  {"providers"},
	"providers/plain/disk":   {"providers"},
	"providers/plain/layout": {"providers", "providers/plain/chain", "providers/plain/codec"},
	"providers/sqlite":       {"providers", "providers/attribute", "config/glob", "providers/opened", "providers/priority", "providers/scratch"},
	"providers/symlink":      {"providers"},
	"providers/tree":         {"providers", "providers/attribute", "providers/opened", "config/glob"},
	"providers/providertest": {"config/sampletest", "providers"}, // a test kit, as are its children
	"state/sqlstore":         {"state", "state/sqlstore/database"},
	"config/golden":          {}, // a test kit
	"config/sampletest":      {}, // a test kit: how much of a long test is run
	"state/statetest":        {"state", "state/sqlstore"},

	"config/language":      {"config", "config/diag", "config/schedule", "config/unit", "config/glob"}, // what a pattern of paths may be
	"config/load":          {"config", "config/diag", "config/language", "config/load/problem", "config/load/syntax", "config/load/value", "config/glob"},
	"config/source":        {"config/diag", "config/source/git", "config/source/remote"},
	"config/source/git":    {}, // the git program, hardened: reads what the library for git cannot
	"config/load/problem":  {"config/diag", "config/load/spelling"},
	"config/load/spelling": {}, // text as it was written, in messages too
	"config/load/syntax":   {"config/diag", "config/language", "config/load/problem", "config/load/spelling"},
	"config/load/value":    {"config/diag", "config/language", "config/load/problem", "config/load/spelling", "config/load/syntax"},
	"config/source/remote": {"config/diag"}, // for the words of messages
	"providers/all":        {"config", "config/language", "providers", "providers/command", "providers/files", "providers/plain", "providers/postgresql", "providers/sqlite", "providers/symlink", "providers/tree"},
	"reconcile":            {"config", "config/diag", "config/schedule", "config/unit", "state"},

	"reconcile/retention":    {"state"},
	"reconcile/verification": {"config", "state"},
	"reconcile/planner": {
		"config", "config/diag", "config/schedule", "config/unit", "reconcile", "reconcile/retention", "reconcile/verification", "state",
	},
	"reconcile/status": {
		"config", "config/schedule", "config/unit", "reconcile", "reconcile/retention", "reconcile/verification", "state",
	},

	"reconcile/observe":  {"config", "providers", "reconcile", "reconcile/planner", "state"},
	"reconcile/store":    {"config", "config/schedule", "providers", "reconcile", "state"},
	"reconcile/artifact": {"providers", "providers/ahead", "config/glob", "state"},
	"reconcile/recovery": {"config/diag", "config/unit", "reconcile", "state"},
	"reconcile/execute":  {"providers", "providers/ahead", "providers/priority", "providers/process", "providers/secrets", "reconcile", "reconcile/artifact", "state"},

	"cmd/internal/view": {"config/diag", "config/unit", "reconcile", "reconcile/artifact", "reconcile/status", "reconcile/store", "state"},
	"cmd/internal/app": {
		"config", "config/diag", "config/language", "config/load", "config/source", "providers", "providers/all", "providers/scratch", "providers/secrets",
		"reconcile", "reconcile/artifact", "reconcile/execute", "reconcile/observe", "reconcile/planner", "reconcile/recovery", "reconcile/store",
		"state", "state/sqlstore",
	},
	"cmd/internal/view/progress": {"cmd/internal/view", "config/unit", "reconcile/execute"},

	"cmd/internal/command":               {"cmd/internal/app", "cmd/internal/view", "config", "config/diag", "state", "state/sqlstore"},
	"cmd/internal/command/configuration": {"cmd/internal/app", "cmd/internal/command", "cmd/internal/view", "config/diag", "config/load"},
	"cmd/internal/command/execution": {
		"cmd/internal/app", "cmd/internal/command", "cmd/internal/view", "cmd/internal/view/progress",
		"reconcile", "reconcile/execute", "state", "state/sqlstore",
	},
	"cmd/internal/command/plan": {
		"cmd/internal/app", "cmd/internal/command", "cmd/internal/command/execution", "cmd/internal/view", "config", "config/diag",
		"reconcile", "reconcile/execute", "state",
	},
	"cmd/internal/command/record": {
		"cmd/internal/app", "cmd/internal/command", "cmd/internal/view", "config", "config/diag", "config/unit",
		"reconcile", "reconcile/execute", "reconcile/status", "state", "state/sqlstore",
	},
	"cmd/internal/command/recovery": {
		"cmd/internal/app", "cmd/internal/command", "cmd/internal/command/execution", "cmd/internal/view", "cmd/internal/view/progress", "config/diag",
		"config", "config/unit", "providers", "config/glob",
		"reconcile", "reconcile/artifact", "reconcile/execute", "reconcile/status", "reconcile/store", "reconcile/verification", "state", "state/sqlstore",
	},
	"cmd/internal/command/store": {
		"cmd/internal/app", "cmd/internal/command", "cmd/internal/view", "config", "config/diag", "providers", "reconcile/store", "state", "state/sqlstore",
	},
	"cmd/internal/cli": {
		"cmd/internal/command", "cmd/internal/command/configuration", "cmd/internal/command/plan", "cmd/internal/command/record",
		"cmd/internal/command/recovery", "cmd/internal/command/store", "cmd/internal/view", "config/diag",
	},
	"cmd/holdfast": {"cmd/internal/cli"},
}

// pure packages decide; they read no clock, disk, network or randomness.
var pure = []string{"config", "config/diag", "config/language", "config/schedule", "config/unit", "state", "reconcile", "reconcile/planner", "reconcile/recovery", "reconcile/retention", "reconcile/status", "reconcile/verification", "config/glob", "providers/plain/chain", "providers/plain/layout", "providers/postgresql/dump"}

// impure is what a pure package may not import, and which calls of allowed packages it may not make.
var (
	impureImports = []string{"os", "net", "net/http", "math/rand", "math/rand/v2", "crypto/rand", "sync", "log", "log/slog", "os/exec", "path/filepath"}
	impureCalls   = []string{"time.Now", "time.Since", "time.Until", "time.Sleep", "time.After", "time.NewTimer", "time.NewTicker", "time.LoadLocation"}
)

// fences keep a library behind one door.
var fences = map[string][]string{
	"github.com/hashicorp/hcl/": {"config/load", "config/load/problem", "config/load/spelling", "config/load/syntax", "config/load/value"},
	"github.com/zclconf/go-cty": {"config/load", "config/load/value"},
	"github.com/go-git/":        {"config/source", "config/source/git", "config/source/remote"},
	"modernc.org/sqlite":        {"state/sqlstore/database", "providers/sqlite"},
	"database/sql":              {"state/sqlstore/database", "providers/sqlite"},
	"github.com/pressly/goose":  {"state/sqlstore/database"},
	"github.com/spf13/": {
		"cmd/internal/cli", "cmd/internal/command", "cmd/internal/command/configuration", "cmd/internal/command/plan",
		"cmd/internal/command/record", "cmd/internal/command/recovery", "cmd/internal/command/store",
	},
	"github.com/vbauerster/":          {"cmd/internal/view/progress"},
	"github.com/netresearch/go-cron":  {"config/schedule"},
	"github.com/klauspost/compress":   {"providers/files/archive", "providers/sqlite", "providers/command", "providers/plain/codec"},
	"filippo.io/age":                  {"providers/plain/codec"},
	"github.com/oklog/ulid":           {"reconcile/execute", "providers/plain/layout", "providers/providertest"},
	"github.com/hashicorp/go-hclog":   {"cmd/internal/app", "cmd/internal/command"},
	"golang.org/x/term":               {"cmd/internal/command", "cmd/internal/view/progress"},
	"github.com/jackc/pgx/":           {"providers/postgresql"},
	"github.com/rogpeppe/go-internal": {"config/golden"},
}

func TestImports(t *testing.T) {
	seen := map[string]bool{}
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") && path != root && d.Name() != "..") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		rel, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		pkg := filepath.ToSlash(rel)
		seen[pkg] = true
		allowed, listed := imports[pkg]
		if !listed {
			t.Errorf("%s: package %s is not in the table", path, pkg)
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		checkImports(t, path, pkg, allowed, file)
		if slices.Contains(pure, pkg) {
			checkCalls(t, path, pkg, file)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for pkg := range imports {
		if !seen[pkg] {
			t.Errorf("the table lists %s, which does not exist", pkg)
		}
	}
}

func checkImports(t *testing.T, path, pkg string, allowed []string, file *ast.File) {
	for _, spec := range file.Imports {
		name, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		if own, ok := strings.CutPrefix(name, module); ok && !slices.Contains(allowed, own) {
			t.Errorf("%s: %s may not import %s", path, pkg, own)
		}
		if slices.Contains(pure, pkg) && slices.Contains(impureImports, name) {
			t.Errorf("%s: %s is pure and may not import %s", path, pkg, name)
		}
		for fence, inside := range fences {
			if strings.HasPrefix(name, fence) && !slices.Contains(inside, pkg) {
				t.Errorf("%s: only %v may import %s", path, inside, name)
			}
		}
	}
}

// checkCalls finds clock reads. config/schedule may load zones: their data is embedded in the program.
func checkCalls(t *testing.T, path, pkg string, file *ast.File) {
	ast.Inspect(file, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		x, ok := sel.X.(*ast.Ident)
		if !ok {
			return true
		}
		call := x.Name + "." + sel.Sel.Name
		if slices.Contains(impureCalls, call) && !(pkg == "config/schedule" && call == "time.LoadLocation") {
			t.Errorf("%s: %s is pure and may not call %s", path, pkg, call)
		}
		return true
	})
}
