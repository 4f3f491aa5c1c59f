package load_test

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/config/load"
)

// FuzzLoad feeds any text to the loader, as native syntax and as JSON. There
// may be problems, but each has a code and a place that is in the file, and
// what loads can be recorded.
func FuzzLoad(f *testing.F) {
	archives, err := os.ReadDir("testdata")
	if err != nil {
		f.Fatal(err)
	}
	for _, a := range archives {
		if !strings.HasSuffix(a.Name(), ".txtar") {
			continue
		}
		archive, err := txtar.ParseFile("testdata/" + a.Name())
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range archive.Files {
			if strings.Contains(file.Name, ".hold.") {
				f.Add(string(file.Data), strings.HasSuffix(file.Name, ".json"))
			}
		}
	}
	f.Add(nativeText, false)
	f.Add(jsonText, true)
	f.Fuzz(func(t *testing.T, text string, isJSON bool) {
		name := "a.hold.hcl"
		if isJSON {
			name = "a.hold.json"
		}
		doc, list := load.Load(fstest.MapFS{name: {Data: []byte(text)}}, load.Options{Types: registry{}, Version: "1.0.0"})
		for _, d := range list {
			if d.Code == "" || d.Detail == "" || d.Code == "HF-CFG-040" {
				t.Errorf("%+v", d)
			}
			if d.Range.Filename != name || d.Range.Start.Byte < 0 || d.Range.Start.Byte > len(text) {
				t.Errorf("nowhere in the file: %+v", d)
			}
		}
		list.WithSnippets(doc.Sources)
		if !list.HasErrors() {
			for _, o := range doc.Objects() {
				config.Digest(config.Spec(o))
			}
		}
		once, problems := load.Format([]byte(text), name)
		if problems.HasErrors() {
			return
		}
		if twice, _ := load.Format(once, name); string(twice) != string(once) {
			t.Errorf("formatting is not stable:\n%q\n%q", once, twice)
		}
	})
}
