package load_test

import (
	"flag"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/config/diag"
	"github.com/holdfast-dr/holdfast/config/load"
)

var update = flag.Bool("update", false, "write the results of the golden tests into testdata")

// TestGolden loads every directory of every archive in testdata and compares
// what comes out with the file "want" in it. A file "options" has lines such
// as "var region=eu", "env HOLDFAST_VAR_region=eu" and "version 0.2.0".
func TestGolden(t *testing.T) {
	archives, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatalf("no archives: %v", err)
	}
	for _, file := range archives {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { goldenArchive(t, file) })
	}
}

func goldenArchive(t *testing.T, file string) {
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	out := &txtar.Archive{Comment: archive.Comment}
	for i, f := range archive.Files {
		dir := path.Dir(f.Name)
		if path.Base(f.Name) != "want" {
			out.Files = append(out.Files, f)
		}
		if i+1 < len(archive.Files) && path.Dir(archive.Files[i+1].Name) == dir {
			continue
		}
		t.Run(dir, func(t *testing.T) {
			fsys, opts, want := goldenCase(archive, dir)
			got := render(load.Load(fsys, opts))
			out.Files = append(out.Files, txtar.File{Name: dir + "/want", Data: []byte(got)})
			if got != want && !*update {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
	if *update {
		if err := os.WriteFile(file, txtar.Format(out), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func goldenCase(archive *txtar.Archive, dir string) (fsys fstest.MapFS, opts load.Options, want string) {
	fsys = fstest.MapFS{}
	opts = load.Options{Types: registry{}, Version: "0.1.0", Vars: map[string]string{}, Environ: map[string]string{}}
	for _, f := range archive.Files {
		if path.Dir(f.Name) != dir {
			continue
		}
		switch name := path.Base(f.Name); {
		case name == "want":
			want = string(f.Data)
		case name == "options":
			setOptions(&opts, string(f.Data))
		case strings.HasSuffix(name, ".holdvars.hcl"):
			opts.VarFiles = append(opts.VarFiles, load.File{Name: name, Data: f.Data})
		default:
			fsys[name] = &fstest.MapFile{Data: f.Data}
		}
	}
	return fsys, opts, want
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
