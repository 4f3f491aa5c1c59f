package load_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-dr/holdfast/config/language"
	"github.com/holdfast-dr/holdfast/config/load"
)

func TestVerify(t *testing.T) {
	if err := language.Verify(registry{}); err != nil {
		t.Error(err)
	}
}

type schemaJSON struct {
	Blocks []schemaBlockJSON
}

type schemaBlockJSON struct {
	Kind      string
	Doc       string
	Arguments []struct{ Name, Type, Doc, Example string }
	Blocks    []schemaBlockJSON
	Types     []struct {
		Type string
	}
}

// TestSchemaAgrees checks that schema, reference and examples speak of the same language.
func TestSchemaAgrees(t *testing.T) {
	raw := load.Schema(registry{})
	if !bytes.Equal(raw, load.Schema(registry{})) {
		t.Error("the schema differs from call to call")
	}
	var s schemaJSON
	if err := json.Unmarshal(raw, &s); err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile(filepath.Join("testdata", "good.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	reference := string(load.Reference(registry{}))
	if len(s.Blocks) < 17 {
		t.Errorf("only %d kinds of block", len(s.Blocks))
	}
	for _, b := range s.Blocks {
		if !strings.Contains(string(example), "\n"+b.Kind+" ") {
			t.Errorf("no example of %s in testdata/good.txtar", b.Kind)
		}
		if !strings.Contains(reference, "\n## "+b.Kind+"\n") {
			t.Errorf("%s is not in the reference", b.Kind)
		}
		checkBlock(t, b.Kind, b, reference)
	}
}

func checkBlock(t *testing.T, path string, b schemaBlockJSON, reference string) {
	if !strings.HasSuffix(b.Doc, ".") {
		t.Errorf("the doc of %s is no sentence: %q", path, b.Doc)
	}
	for _, a := range b.Arguments {
		if !strings.HasSuffix(a.Doc, ".") || a.Example == "" || a.Type == "" {
			t.Errorf("%s.%s: doc %q, example %q, type %q", path, a.Name, a.Doc, a.Example, a.Type)
		}
		if !strings.Contains(reference, "| `"+a.Name+"` |") {
			t.Errorf("%s.%s is not in the reference", path, a.Name)
		}
	}
	for _, n := range b.Blocks {
		checkBlock(t, path+" "+n.Kind, n, reference)
	}
}
