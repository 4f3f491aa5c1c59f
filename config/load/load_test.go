package load_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/config/golden"
	"github.com/holdfast-dr/holdfast/config/load"
)

// everything is the fixture that has one of each kind.
func everything(t testing.TB) (*config.Document, fstest.MapFS) {
	t.Helper()
	fsys, opts := goldenCase(golden.Read(t, "testdata/good.txtar", "everything"))
	doc, list := load.Load(fsys, opts)
	if list.HasErrors() {
		t.Fatal(render(doc, list))
	}
	return doc, fsys
}

// TestSpecRoundTrip decodes every recorded specification again: what the
// engine reads back later must equal what was declared.
func TestSpecRoundTrip(t *testing.T) {
	doc, _ := everything(t)
	for _, o := range doc.Objects() {
		spec := config.Spec(o)
		again := reflect.New(reflect.TypeOf(o).Elem())
		if err := json.Unmarshal(spec, again.Interface()); err != nil {
			t.Fatalf("%s: %v", o.Head().Address, err)
		}
		switch v := o.(type) {
		case *config.Device:
			again.Interface().(*config.Device).Settings = decodeSettings(t, "device", v.Type, spec)
		case *config.Store:
			again.Interface().(*config.Store).Settings = decodeSettings(t, "store", v.Type, spec)
		case *config.FailoverTarget:
			b := again.Interface().(*config.FailoverTarget)
			b.Settings = decodeSettings(t, "failover_target", v.Type, spec)
			for _, m := range b.Members {
				if settings, ok := (registry{}).Member(v.Type); ok {
					raw, _ := json.Marshal(m.Settings)
					if err := json.Unmarshal(raw, settings); err != nil {
						t.Fatal(err)
					}
					m.Settings = settings
				}
			}
		}
		*again.Interface().(config.Object).Head() = *o.Head()
		if !reflect.DeepEqual(o, again.Interface()) {
			t.Errorf("%s: %s\nread back as\n%s", o.Head().Address, spec, config.Spec(again.Interface().(config.Object)))
		}
	}
}

func decodeSettings(t *testing.T, kind, typ string, spec []byte) any {
	t.Helper()
	s, _ := registry{}.Settings(kind, typ)
	if err := json.Unmarshal(spec, s); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestRanges(t *testing.T) {
	doc, fsys := everything(t)
	bp, _ := config.Lookup[*config.BackupPlan](doc, "backup_plan.qa")
	dev, _ := config.Lookup[*config.Device](doc, "device.web")
	target, _ := config.Lookup[*config.FailoverTarget](doc, "failover_target.name")
	for _, test := range []struct {
		head *config.Header
		path string
		want string
	}{
		{&bp.Header, "", `backup_plan "qa"`},
		{&bp.Header, "store", "store.nas"},
		{&bp.Header, "timezone", `backup_plan "qa"`},
		{&bp.Header, "activity[0].devices[1]", `"orders"`},
		{&bp.Header, "activity[1]", `activity "domains"`},
		{&bp.Header, "activity[1].name", `"domains"`},
		{&bp.Header, "activity[1].labels", `activity "domains"`},
		{&bp.Header, "activity[1].post_script.on", `["failure"]`},
		{&dev.Header, "type", `"files"`},
		{&dev.Header, "root[1].path", `"/srv/uploads"`},
		{&dev.Header, "root[1].exclude[7]", `["*.tmp"]`},
		{&target.Header, "member[0].key", "secret.key"},
	} {
		r := test.head.At(test.path)
		if got := string(fsys[r.Filename].Data[r.Start.Byte:r.End.Byte]); got != test.want {
			t.Errorf("%s at %q is %q, not %q", test.head.Address, test.path, got, test.want)
		}
	}
}

const nativeText = `
settings { timezone = "Europe/Berlin" }
variable "list" { type = list(string) }
locals { dir = "/srv" }
secret "dsn" { env = "DSN" }
site "a" {}
site "b" { labels = { tier = "1" } }
device "postgresql" "orders" {
  for_each = toset(["x", "y"])
  site     = site.a
  dsn      = secret.dsn
  jobs     = 2
  options  = { key = "${each.key}-1" }
}
device "files" "web" {
  root "content" { path = "${local.dir}/www" }
  root "uploads" { path = "/srv/uploads" }
}
device "command" "ldap" {
  command = ["slapcat"]
  env     = { A = secret.dsn }
  tokens  = [secret.dsn]
}
store "plain" "nas" {
  for_each = { x = "/x", y = "/y" }
  path     = each.value
  mount { required = true }
}
backup_plan "p" {
  for_each = toset(["x"])
  store    = store.nas[each.key]
  enabled  = false
  activity "a" {
    action  = "secure_backup"
    devices = var.list
  }
  activity "b" {
    action  = "export_domain"
    devices = ["web"]
    domains = ["*"]
  }
}
failover_target "dns" "t" {
  name = "n"
  member "a" {
    site    = site.a
    address = "192.0.2.1"
    key     = secret.dsn
  }
  member "b" {
    site    = site.b
    address = "192.0.2.2"
  }
}
failover "f" {
  preferred = site.a
  standby   = [site.b]
  step "route" { targets = [failover_target.t] }
}
mirror "m" {
  source = endpoint("file:///a")
  target = endpoint("file:///b")
  every  = "1h"
}
mirror "n" {
  source = failover.f.active
  target = failover.f.standby
  every  = "1h"
}
moved {
  from = site.old
  to   = site.a
}
removed { from = store.gone["x"] }
`

const jsonText = `{
  "//": "a comment",
  "settings": {"timezone": "Europe/Berlin"},
  "variable": {"list": {"type": "list(string)"}},
  "locals": {"dir": "/srv"},
  "secret": {"dsn": {"env": "DSN"}},
  "site": {"a": {}, "b": {"labels": {"tier": "1"}}},
  "device": {
    "postgresql": {"orders": {"for_each": "${toset([\"x\", \"y\"])}", "site": "site.a", "dsn": "secret.dsn", "jobs": 2, "options": {"key": "${each.key}-1"}}},
    "files": {"web": {"root": {"content": {"path": "${local.dir}/www"}, "uploads": {"path": "/srv/uploads"}}}},
    "command": {"ldap": {"command": ["slapcat"], "env": {"A": "secret.dsn"}, "tokens": ["secret.dsn"]}}
  },
  "store": {"plain": {"nas": {"for_each": {"x": "/x", "y": "/y"}, "path": "${each.value}", "mount": {"required": true}}}},
  "backup_plan": {"p": {
    "for_each": "${toset([\"x\"])}", "store": "store.nas[each.key]", "enabled": false,
    "activity": [
      {"a": {"action": "secure_backup", "devices": "${var.list}"}},
      {"b": {"action": "export_domain", "devices": ["web"], "domains": ["*"]}}
    ]
  }},
  "failover_target": {"dns": {"t": {"name": "n", "member": {
    "a": {"site": "site.a", "address": "192.0.2.1", "key": "secret.dsn"},
    "b": {"site": "site.b", "address": "192.0.2.2"}
  }}}},
  "failover": {"f": {"preferred": "site.a", "standby": ["site.b"], "step": {"route": {"targets": ["failover_target.t"]}}}},
  "mirror": {
    "m": {"source": "${endpoint(\"file:///a\")}", "target": "${endpoint(\"file:///b\")}", "every": "1h"},
    "n": {"source": "failover.f.active", "target": "failover.f.standby", "every": "1h"}
  },
  "moved": {"from": "site.old", "to": "site.a"},
  "removed": [{"from": "store.gone[\"x\"]"}]
}`

func TestJSONEqualsNative(t *testing.T) {
	opts := load.Options{Types: registry{}, Vars: map[string]string{"list": `["orders*", "ldap"]`}}
	native := render(load.Load(fstest.MapFS{"a.hold.hcl": {Data: []byte(nativeText)}}, opts))
	fromJSON := render(load.Load(fstest.MapFS{"a.hold.json": {Data: []byte(jsonText)}}, opts))
	if native != fromJSON {
		t.Errorf("native:\n%s\nJSON:\n%s", native, fromJSON)
	}
	if strings.Contains(native, "error HF") || !strings.Contains(native, `backup_plan.p["x"]`) {
		t.Error(native)
	}
}

func TestHostileFiles(t *testing.T) {
	const megabyte = 1 << 20
	var list []string
	for i := range 10_001 {
		list = append(list, strconv.Itoa(i))
	}
	numbers := strings.Join(list, ",")
	wrap := func(expr string) string { return "locals {\n  a = " + expr + "\n}\n" }
	for name, test := range map[string]struct {
		file, text, code string
	}{
		"too large":          {"a.hold.hcl", strings.Repeat("#"+strings.Repeat(" comment", 1000)+"\n", 16*megabyte/8002+1), "HF-CFG-002"},
		"NUL":                {"a.hold.hcl", "site \"a\" {\x00}", "HF-CFG-002"},
		"not UTF-8":          {"a.hold.hcl", "site \"\xff\" {}", "HF-CFG-002"},
		"UTF-16":             {"a.hold.hcl", "\xff\xfes\x00i\x00", "HF-CFG-002"},
		"brackets":           {"a.hold.hcl", wrap(strings.Repeat("[", megabyte/2)), "HF-CFG-002"},
		"shallow brackets":   {"a.hold.hcl", wrap(strings.Repeat("[", 200) + strings.Repeat("]", 200)), "HF-CFG-002"},
		"blocks":             {"a.hold.hcl", strings.Repeat("a {\n", megabyte/5), "HF-CFG-002"},
		"nots":               {"a.hold.hcl", wrap(strings.Repeat("!", megabyte/2) + "true"), "HF-CFG-002"},
		"minuses":            {"a.hold.hcl", wrap(strings.Repeat("-", megabyte/2) + "1"), "HF-CFG-002"},
		"sums":               {"a.hold.hcl", wrap(strings.Repeat("1+", megabyte/3) + "1"), "HF-CFG-002"},
		"comparisons":        {"a.hold.hcl", wrap(strings.Repeat("1==", megabyte/4) + "1"), "HF-CFG-002"},
		"conditions":         {"a.hold.hcl", wrap(strings.Repeat("true?1:", megabyte/8) + "1"), "HF-CFG-002"},
		"templates":          {"a.hold.hcl", wrap(strings.Repeat(`"${`, megabyte/4)), "HF-CFG-002"},
		"JSON":               {"a.hold.json", strings.Repeat(`{"a":`, megabyte/6), "HF-CFG-002"},
		"JSON string":        {"a.hold.json", `{"locals":{"a":"${` + strings.Repeat("!", megabyte/2) + `true}"}}`, "HF-CFG-002"},
		"JSON short string":  {"a.hold.json", `{"locals":{"a":"${` + strings.Repeat("!", 15_000) + `true}"}}`, ""},
		"many attributes":    {"a.hold.hcl", wrap(strings.Repeat("a.", megabyte/3) + "a"), "HF-CFG-019"},
		"long text":          {"a.hold.hcl", `site "a" { region = "` + strings.Repeat("x", 20_000) + `" }`, "HF-CFG-015"},
		"long list":          {"a.hold.hcl", `device "command" "a" { command = [` + strings.Repeat(`"x",`, 10_001) + `] }`, "HF-CFG-017"},
		"long computed list": {"a.hold.hcl", `device "command" "a" { command = split(",", "` + numbers + `") }`, "HF-CFG-017"},
		"too many instances": {"a.hold.hcl", `site "a" { for_each = toset(split(",", "` + numbers + `")) }`, "HF-CFG-035"},
	} {
		t.Run(name, func(t *testing.T) {
			doc, list := load1(t, test.file, test.text)
			if test.code == "" {
				return
			}
			if !slices.Contains(codes(list), test.code) {
				t.Errorf("no %s in:\n%.2000s", test.code, render(doc, list))
			}
		})
	}
}

type brokenFS struct{ fstest.MapFS }

func (b brokenFS) Open(name string) (fs.File, error) {
	if name == "a.hold.hcl" {
		return nil, &fs.PathError{Op: "open", Path: "/secret/place", Err: errors.New("disk on fire")}
	}
	return b.MapFS.Open(name)
}

func TestUnreadableFile(t *testing.T) {
	fsys := brokenFS{fstest.MapFS{
		"a.hold.hcl":       {Data: []byte(`site "a" {}`)},
		"b.hold.hcl":       {Data: []byte(`site "b" { regon = 1 }` + "\n" + `store "plain" "s" { site = site.a }`)},
		"c.hold.hcl/x":     {Data: []byte(`x`)},
		".hidden.hold.hcl": {Data: []byte(`nonsense {}`)},
	}}
	doc, list := load.Load(fsys, load.Options{Types: registry{}})
	if got := codes(list); !slices.Equal(got, []string{"HF-CFG-002", "HF-CFG-006", "HF-CFG-007"}) {
		t.Errorf("%v\n%s", got, render(doc, list))
	}
	if text := render(doc, list); !strings.Contains(text, "disk on fire") || strings.Contains(text, "/secret/place") {
		t.Error(text)
	}
}

// TestCredentialsAreHidden looks for a literal credential in messages and in
// the sources that snippets are made of.
func TestCredentialsAreHidden(t *testing.T) {
	const text = `
device "postgresql" "a" { dsn = "postgres://me:hunter2@db" }
device "command" "b" {
  command = ["true"]
  tokens  = ["hunter2"]
  env     = { A = "hunter2" }
}
mirror "m" {
  source = endpoint("sftp://me:hunter2@host/a")
  target = "sftp://me:hunter2@host/a"
  every  = "1h"
}
`
	fsys := fstest.MapFS{"a.hold.hcl": {Data: []byte(text)}}
	doc, list := load.Load(fsys, load.Options{Types: registry{}})
	list.WithSnippets(doc.Sources)
	raw, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 5 || strings.Contains(string(raw), "hunter2") {
		t.Errorf("%d problems:\n%s", len(list), raw)
	}
	if !strings.Contains(string(fsys["a.hold.hcl"].Data), "hunter2") {
		t.Error("the caller's file was changed")
	}
}

func TestFormat(t *testing.T) {
	const ugly = "site   \"a\" {\nregion=\"eu\"   # why\n  labels   = {a=1}\r\n}\n\n\n"
	got, list := load.Format([]byte(ugly), "a.hold.hcl")
	const want = "site \"a\" {\n  region = \"eu\" # why\n  labels = { a = 1 }\n}\n"
	if string(got) != want || list != nil {
		t.Errorf("%q %v", got, list)
	}
	if got, _ := load.Format([]byte(`{"site":{"a":{}}}`), "a.hold.json"); string(got) != "{\n  \"site\": {\n    \"a\": {}\n  }\n}\n" {
		t.Errorf("%q", got)
	}
	if got, list := load.Format([]byte("site {\n"), "a.hold.hcl"); got != nil || !list.HasErrors() {
		t.Errorf("%q %v", got, list)
	}
}

func TestFormatIsStable(t *testing.T) {
	archives, err := os.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range archives {
		if !strings.HasSuffix(a.Name(), ".txtar") {
			continue
		}
		archive, err := txtar.ParseFile("testdata/" + a.Name())
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range archive.Files {
			once, list := load.Format(f.Data, f.Name)
			if list.HasErrors() || !strings.Contains(f.Name, ".hold.") {
				continue
			}
			if twice, _ := load.Format(once, f.Name); string(once) != string(twice) {
				t.Errorf("%s %s changes again:\n%s", a.Name(), f.Name, twice)
			}
		}
	}
}

func TestSensitiveMayDecide(t *testing.T) {
	doc, list := load1(t, "a.hold.hcl", `
variable "pin" {
  default   = "hunter2"
  sensitive = true
  validation {
    condition     = length(var.pin) > 3
    error_message = "Too short."
  }
}
`)
	if len(list) > 0 {
		t.Error(render(doc, list))
	}
}

func TestEveryCodeHasAFixture(t *testing.T) {
	source := ""
	for _, file := range []string{"problem/code.go", "../check.go"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		source += string(text)
	}
	fixtures := ""
	archives, _ := fs.Glob(os.DirFS("testdata"), "*.txtar")
	for _, a := range archives {
		text, err := os.ReadFile("testdata/" + a)
		if err != nil {
			t.Fatal(err)
		}
		fixtures += string(text)
	}
	// These have tests of their own above, or cannot happen with a verified registry.
	elsewhere := []string{"HF-CFG-002", "HF-CFG-038", "HF-CFG-040"}
	seen := map[string]bool{}
	for _, quoted := range strings.Split(source, `"`) {
		if !strings.HasPrefix(quoted, "HF-CFG-") || len(quoted) != len("HF-CFG-001") {
			continue
		}
		if seen[quoted] {
			t.Errorf("%s is there twice", quoted)
		}
		seen[quoted] = true
		if !strings.Contains(fixtures, quoted+":") && !slices.Contains(elsewhere, quoted) {
			t.Errorf("no fixture for %s", quoted)
		}
	}
	if len(seen) < 60 {
		t.Errorf("only %d codes", len(seen))
	}
}

// estate is a configuration of n devices and n*2/5 backup plans in several files.
func estate(devices, plans int) fstest.MapFS {
	fsys := fstest.MapFS{}
	var b strings.Builder
	b.WriteString("site \"berlin\" {}\nsecret \"dsn\" { env = \"DSN\" }\nretention \"standard\" { keep_daily = 14 }\n")
	b.WriteString("store \"plain\" \"nas\" { path = \"/data\" }\nmaintenance_window \"night\" {\n  start = \"22:00\"\n  end   = \"06:00\"\n}\n")
	files := 0
	flush := func() {
		fsys[fmt.Sprintf("f%03d.hold.hcl", files)] = &fstest.MapFile{Data: []byte(b.String())}
		files++
		b.Reset()
	}
	for i := range devices {
		fmt.Fprintf(&b, "device \"files\" \"web%04d\" {\n  site   = site.berlin\n  labels = { tier = \"%d\", owner = \"team\" }\n  root \"content\" { path = \"/srv/www/%d\" }\n  root \"uploads\" { path = \"/srv/uploads/%d\" }\n}\n", i, i%3, i, i)
		if i%500 == 499 {
			flush()
		}
	}
	for i := range plans {
		fmt.Fprintf(&b, "backup_plan \"plan%04d\" {\n  schedule           = \"%d 23 * * 1-5\"\n  store              = store.nas\n  retention          = retention.standard\n  maintenance_window = maintenance_window.night\n"+
			"  activity \"secure\" {\n    action  = \"secure_backup\"\n    devices = [\"web%04d\", \"web%03d*\"]\n  }\n  activity \"domains\" {\n    action  = \"export_domain\"\n    devices = [\"web%04d\"]\n    domains = [\"content\"]\n  }\n}\n",
			i, i%60, i, i/10, i+1)
		if i%500 == 499 {
			flush()
		}
	}
	flush()
	return fsys
}

// BenchmarkLoad loads 5,000 devices and 2,000 backup plans.
func BenchmarkLoad(b *testing.B) {
	fsys := estate(5000, 2000)
	size := 0
	for _, f := range fsys {
		size += len(f.Data)
	}
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		doc, list := load.Load(fsys, load.Options{Types: registry{}})
		if len(list) > 0 || len(doc.Devices) != 5000 {
			b.Fatal(render(doc, list)[:1000])
		}
	}
}

func TestWithoutTypes(t *testing.T) {
	doc, list := load.Load(fstest.MapFS{"a.hold.hcl": {Data: []byte(nativeText)}}, load.Options{Vars: map[string]string{"list": `["web"]`}})
	if got := codes(list); !slices.Equal(got, []string{"HF-CFG-013", "HF-CFG-029"}) {
		t.Errorf("%v\n%s", got, render(doc, list))
	}
}
