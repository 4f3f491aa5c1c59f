package load_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/holdfast-dr/holdfast/config/load"
)

const canary = "S3CR3TS3CR3TS3CR3TS3CR3T"

// TestNoDiagnosticShowsASecret breaks configurations whose values are all secret, in every place and in many
// ways, and looks for the secret in what is said about them.
func TestNoDiagnosticShowsASecret(t *testing.T) {
	const native = "variable \"pw\" {\n  sensitive = true\n  type = string\n  default = DEFAULT\n  validation {\n    condition = length(var.pw) > 99\n    error_message = \"no ${var.pw}\"\n  }\n}\n"
	uses := native + `
locals {
  a = upper(var.pw)
  b = tonumber(var.pw)
  c = regex("(", var.pw)
  d = { (var.pw) = jsondecode(var.pw) }
  e = var.pw.x
  f = [for x in split("", var.pw) : nope(x)]
}
device "files" "d" {
  for_each = toset([var.pw])
  root "r" {
    path = var.pw
    exclude = [var.pw, "${var.pw}x"]
  }
}
device "postgresql" "p" {
  dsn = var.pw
  options = { a = var.pw }
  jobs = var.pw
}
mirror "m" {
  source = endpoint(var.pw)
  target = endpoint("sftp://a:${var.pw}@b/c")
  every = var.pw
}
settings { timezone = var.pw }
`
	asJSON := `{"variable": {"pw": {"sensitive": true, "type": "string", "default": DEFAULT}}, "settings": {"timezone": "${var.pw}"}}`
	said := 0
	check := func(fsys fstest.MapFS, opts load.Options) {
		opts.Types, opts.Version = registry{}, "1.0.0"
		doc, list := load.Load(fsys, opts)
		list.WithSnippets(doc.Sources)
		out, err := json.Marshal(list)
		if err != nil {
			t.Fatal(err)
		}
		said += len(list)
		if i := strings.Index(string(out), "S3CR3T"); i >= 0 {
			for name, f := range fsys {
				t.Logf("%s:\n%s", name, f.Data)
			}
			t.Fatalf("%v %v %q: ...%s", opts.Vars, opts.Environ, opts.VarFiles, out[max(0, i-300):min(len(out), i+60)])
		}
	}
	quoted := fmt.Sprintf("%q", canary)
	values := []string{quoted, "[" + quoted + "]", "{ a = " + quoted + " }", canary, "upper(" + canary + ")", "x." + canary, "\"${" + canary + "}\"",
		"<<EOT\n" + canary + "\nEOT\n", quoted + " + 1", "nope(" + quoted + ")", "tonumber(" + quoted + ")", quoted + "[9]", "jsondecode(" + quoted + ")"}
	for _, value := range values {
		inFile := "pw = " + value + "\n"
		none := strings.Replace(uses, "  default = DEFAULT\n", "", 1)
		for _, typ := range []string{"string", "number", "list(string)", "object({ a = number })", "any"} {
			typed := strings.Replace(none, "type = string", "type = "+typ, 1)
			check(fstest.MapFS{"a.hold.hcl": {Data: []byte(typed)}}, load.Options{VarFiles: []load.File{{Name: "v.holdvars.hcl", Data: []byte(inFile)}}})
			check(fstest.MapFS{"a.hold.hcl": {Data: []byte(typed)}}, load.Options{Vars: map[string]string{"pw": value}})
			check(fstest.MapFS{"a.hold.hcl": {Data: []byte(typed)}}, load.Options{Environ: map[string]string{"HOLDFAST_VAR_pw": value}})
			check(fstest.MapFS{"a.hold.hcl": {Data: []byte(strings.Replace(strings.Replace(uses, "DEFAULT", value, 1), "type = string", "type = "+typ, 1))}}, load.Options{})
		}
		for _, broken := range breakages(inFile) {
			check(fstest.MapFS{"a.hold.hcl": {Data: []byte(native)}}, load.Options{VarFiles: []load.File{{Name: "any name", Data: []byte(broken)}}})
		}
		for _, broken := range breakages(strings.Replace(native, "DEFAULT", value, 1)) {
			check(fstest.MapFS{"a.hold.hcl": {Data: []byte(broken)}}, load.Options{})
		}
		if value == quoted || value == canary {
			for _, broken := range breakages(strings.Replace(asJSON, "DEFAULT", value, 1)) {
				check(fstest.MapFS{"a.hold.json": {Data: []byte(broken)}}, load.Options{})
			}
		}
	}
	if said < 1000 {
		t.Errorf("only %d diagnostics", said)
	}
}

// breakages damages a text near every place that is not in the word "sensitive" or the name of the variable.
func breakages(text string) []string {
	var all []string
	for i := 0; i < len(text); i += 3 {
		if at := strings.Index(text, "sensitive"); i >= at-3 && i < at+12 && at >= 0 || i < len(`variable "pw" {`) && strings.HasPrefix(text, "variable") {
			continue
		}
		for _, with := range []string{"", "\"", "{", "\n", "$", "\x00", "\xff"} {
			all = append(all, text[:i]+with+text[i+1:])
		}
		all = append(all, text[:i])
	}
	return all
}
