package load_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/config/diag"
	"github.com/holdfast-dr/holdfast/config/golden"
	"github.com/holdfast-dr/holdfast/config/load"
)

// TestGolden loads every directory of every archive in testdata and compares
// what comes out with the file "want" in it. A file "options" has lines such
// as "var region=eu", "env HOLDFAST_VAR_region=eu" and "version 0.2.0".
func TestGolden(t *testing.T) {
	golden.Run(t, "testdata/*.txtar", "want", func(_ *testing.T, c golden.Case) string { return render(load.Load(goldenCase(c))) })
}

func goldenCase(c golden.Case) (fsys fstest.MapFS, opts load.Options) {
	fsys = fstest.MapFS{}
	opts = load.Options{Types: registry{}, Version: "0.1.0", Vars: map[string]string{}, Environ: map[string]string{}}
	for _, name := range slices.Sorted(maps.Keys(c)) {
		switch {
		case name == "want":
		case name == "options":
			setOptions(&opts, string(c[name]))
		case strings.HasSuffix(name, ".holdvars.hcl"):
			opts.VarFiles = append(opts.VarFiles, load.File{Name: name, Data: c[name]})
		default:
			fsys[name] = &fstest.MapFile{Data: c[name]}
		}
	}
	return fsys, opts
}

func setOptions(opts *load.Options, text string) {
	for line := range strings.Lines(text) {
		what, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		name, value, _ := strings.Cut(rest, "=")
		switch what {
		case "var":
			opts.Vars[name] = value
		case "env":
			opts.Environ[name] = value
		case "version":
			opts.Version = rest
		}
	}
}

// render shows the problems, and the objects when there are no errors.
func render(doc *config.Document, list diag.List) string {
	var b strings.Builder
	for _, d := range list {
		fmt.Fprintf(&b, "%s %s: %s\n", d.Severity, d.Code, d.Summary)
		if !d.Range.IsZero() {
			fmt.Fprintf(&b, "  at %s: %s\n", d.Range, marked(doc, d.Range))
		}
		if d.Address != "" {
			fmt.Fprintf(&b, "  in %s\n", d.Address)
		}
		fmt.Fprintf(&b, "  %s\n", d.Detail)
	}
	if list.HasErrors() {
		return b.String()
	}
	fmt.Fprintf(&b, "settings %s\n", config.Spec(&doc.Settings))
	if doc.State != nil {
		fmt.Fprintf(&b, "state %s\n", config.Spec(doc.State))
	}
	for _, s := range doc.Secrets {
		fmt.Fprintf(&b, "%s %s\n", s.Address, config.Spec(s))
	}
	for _, o := range doc.Objects() {
		fmt.Fprintf(&b, "%s %s\n", o.Head().Address, config.Spec(o))
	}
	for _, m := range doc.Moved {
		fmt.Fprintf(&b, "moved %s -> %s\n", m.From, m.To)
	}
	for _, r := range doc.Removed {
		fmt.Fprintf(&b, "removed %s %s\n", r.From, r.Data)
	}
	return b.String()
}

// marked is the source text of a range, on one line.
func marked(doc *config.Document, r diag.Range) string {
	src := doc.Sources[r.Filename]
	if r.Start.Byte > len(src) || r.End.Byte > len(src) || r.End.Byte < r.Start.Byte {
		return "(not in the file)"
	}
	text := string(src[r.Start.Byte:r.End.Byte])
	if len(text) > 100 {
		text = text[:100] + "..."
	}
	return fmt.Sprintf("%q", text)
}

// load1 loads one file.
func load1(t testing.TB, name, text string) (*config.Document, diag.List) {
	t.Helper()
	return load.Load(fstest.MapFS{name: {Data: []byte(text)}}, load.Options{Types: registry{}})
}

func codes(list diag.List) []string {
	var all []string
	for _, d := range list {
		all = append(all, d.Code)
	}
	slices.Sort(all)
	return slices.Compact(all)
}
