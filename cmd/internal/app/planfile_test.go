package app_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-dr/holdfast/cmd/internal/app"
	"github.com/holdfast-dr/holdfast/config/diag"
	"github.com/holdfast-dr/holdfast/reconcile"
)

// saved is the file of a plan that has texts which are in no digest.
func saved(t *testing.T) (path string, body []byte) {
	t.Helper()
	p := &reconcile.Plan{
		FormatVersion: reconcile.FormatVersion, Mode: reconcile.ModeApply, Environment: "production",
		Deferred: []reconcile.Deferred{{Address: "backup_plan.nightly", Waits: "its standard window <1 & 2>"}},
		Objects:  map[string]reconcile.Spec{},
	}
	p.Seal(diag.List{{Severity: diag.Warning, Code: "HF-TST-001", Summary: "A standard warning", Detail: "\u2028"}})
	path = filepath.Join(t.TempDir(), "p.plan")
	if err := app.SavePlan(path, p); err != nil {
		t.Fatal(err)
	}
	body, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return path, body
}

func TestReadPlanNoticesEveryChange(t *testing.T) {
	path, body := saved(t)
	cut := bytes.LastIndex(body, []byte(`,`))
	var plain bytes.Buffer
	if err := json.Compact(&plain, body); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		body []byte
		good bool
	}{
		"as saved":              {body, true},
		"laid out otherwise":    {plain.Bytes(), true},
		"of before checksums":   {append(bytes.Clone(body[:cut]), '}'), true},
		"a text":                {bytes.ReplaceAll(body, []byte("standard w"), []byte("stendard w")), false},
		"a waiting object":      {bytes.Replace(body, []byte("its standard"), []byte("its stendard"), 1), false},
		"the checksum":          {bytes.Replace(body, []byte(`"checksum": "sha256:`), []byte(`"checksum": "sha256:0`), 1), false},
		"no text in checksum":   {append(bytes.Clone(body[:cut]), `,"checksum":1}`...), false},
		"empty checksum":        {append(bytes.Clone(body[:cut]), `,"checksum":""}`...), false},
		"something behind it":   {append(bytes.TrimRight(bytes.Clone(body), "}\n"), `,"complete":true}`...), false},
		"cut":                   {body[:len(body)/2], false},
		"nothing":               {nil, false},
		"a second checksum":     {append(bytes.TrimRight(bytes.Clone(body), "}\n"), `,"checksum":"sha256:00"}`...), false},
		"the member as a value": {bytes.Replace(body, []byte("A standard warning"), []byte(`A standard warning\",\"checksum\":\"sha256:`), 1), false},
	} {
		if err := os.WriteFile(path, test.body, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := app.ReadPlan(path)
		if test.good && err != nil || !test.good && !errors.Is(err, app.ErrBadPlan) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestSavePlanNamesTheDirectoryThatIsMissing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "none")
	err := app.SavePlan(filepath.Join(dir, "p.plan"), &reconcile.Plan{})
	if err == nil || !strings.Contains(err.Error(), "no directory "+dir) || strings.Contains(err.Error(), ".plan-") {
		t.Errorf("got %v", err)
	}
}
