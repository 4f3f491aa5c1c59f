package language_test

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/config/language"
	"github.com/holdfast-dr/holdfast/config/unit"
)

// Secret has the name that marks a credential.
type Secret string

type goodSettings struct {
	Path    string            `hcl:"path" json:"path" doc:"x"`
	Days    []string          `hcl:"days,optional" json:"days" enum:"mon|tue" doc:"x"`
	Every   *unit.Duration    `hcl:"every,optional" json:"every" default:"5m" min:"1m" max:"1h" doc:"x"`
	Jobs    int               `hcl:"jobs,optional" json:"jobs" min:"1" doc:"x"`
	Ratio   float64           `hcl:"ratio,optional" json:"ratio" max:"1" doc:"x"`
	Env     map[string]Secret `hcl:"env,optional" json:"env" doc:"x"`
	Store   config.Address    `hcl:"to,optional" json:"to" ref:"store" doc:"x"`
	Cron    string            `hcl:"cron,optional" json:"cron" kind:"cron" doc:"x"`
	Mounts  []*mountSettings  `hcl:"mount,blocks" json:"mount" doc:"x"`
	Ignored int
}

type mountSettings struct {
	Name   string `hcl:"name,label" json:"name" doc:"x"`
	Remote bool   `hcl:"remote,optional" json:"remote" default:"true" doc:"x"`
}

type registry struct{}

func (registry) Names(string) []string               { return []string{"good"} }
func (registry) Settings(string, string) (any, bool) { return new(goodSettings), true }
func (registry) Member(string) (any, bool)           { return nil, false }
func (registry) Endpoint(string, string) error       { return nil }

func TestVerify(t *testing.T) {
	if err := language.Verify(registry{}); err != nil {
		t.Error(err)
	}
}

type badSettings struct {
	NoDoc    string         `hcl:"no_doc" json:"no_doc"`
	OtherDoc string         `hcl:"a" json:"b" doc:"x"`
	Unknown  map[int]string `hcl:"c" json:"c" doc:"x"`
	Default  int            `hcl:"d,optional" json:"d" default:"many" doc:"x"`
	Kind     string         `hcl:"e" json:"e" kind:"colour" doc:"x"`
	Enum     string         `hcl:"f,optional" json:"f" enum:"a|b" default:"c" doc:"x"`
	Both     string         `hcl:"g" json:"g" default:"c" doc:"x"`
	Option   string         `hcl:"h,maybe" json:"h" doc:"x"`
	Site     string         `hcl:"site,optional" json:"site" doc:"x"`
	Fence    string         `hcl:"fence,optional" json:"fence" doc:"x"`
}

type badRegistry struct{ registry }

func (badRegistry) Names(kind string) []string                  { return []string{"bad"} }
func (badRegistry) Settings(kind, typ string) (any, bool)       { return new(badSettings), true }
func (badRegistry) Member(typ string) (member any, hasOne bool) { return 5, true }

func TestVerifyFindsMistakes(t *testing.T) {
	err := language.Verify(badRegistry{})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"NoDoc: has no doc", "OtherDoc: json name", "Unknown: values of type", "Default: strconv", `Kind: unknown kind "colour"`,
		"Enum: default", "Both: a required argument", `Option: unknown option "maybe"`, `"site" is an argument of every`, `"fence" is a reserved word`, "not a pointer to a struct"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in:\n%v", want, err)
		}
	}
}

func TestTable(t *testing.T) {
	table, err := language.TableOf(reflect.TypeFor[goodSettings]())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		form    language.Form
		shape   language.Shape
		example string
	}{
		{"path", language.FormString, language.Single, `"..."`},
		{"days", language.FormString, language.List, `["mon"]`},
		{"every", language.FormDuration, language.Single, `"5m"`},
		{"jobs", language.FormInt, language.Single, "1"},
		{"ratio", language.FormFloat, language.Single, "1"},
		{"env", language.FormSecret, language.Mapping, "{ name = secret.NAME }"},
		{"to", language.FormReference, language.Single, "store.NAME"},
		{"cron", language.FormString, language.Single, `"0 23 * * 1-5"`},
	} {
		f := table.Arg(c.name)
		if f == nil {
			t.Errorf("no %s", c.name)
			continue
		}
		if f.Form != c.form || f.Shape != c.shape || f.Example() != c.example || f.Required != (c.name == "path") {
			t.Errorf("%s: %s, %s, %s, required %v", c.name, f.Form, f.Shape, f.Example(), f.Required)
		}
	}
	if len(table.Args) != 8 || table.Arg("mount") != nil || table.Block("mount").Header() != `mount "NAME"` {
		t.Errorf("%d arguments", len(table.Args))
	}
	if _, err := language.TableOf(reflect.TypeFor[string]()); err == nil {
		t.Error("a string has a table")
	}
}

func TestPresetAndBounds(t *testing.T) {
	table, err := language.TableOf(reflect.TypeFor[goodSettings]())
	if err != nil {
		t.Fatal(err)
	}
	var s goodSettings
	v := reflect.ValueOf(&s).Elem()
	for _, f := range table.Args {
		f.SetPreset(v.FieldByIndex(f.Index))
	}
	if s.Every == nil || s.Every.String() != "5m" || s.Jobs != 0 {
		t.Errorf("presets: %+v", s)
	}
	for _, c := range []struct {
		name string
		v    any
		want string
	}{{"jobs", 1, ""}, {"jobs", 0, "at least 1"}, {"ratio", 1.0, ""}, {"ratio", 1.5, "at most 1"}, {"every", *s.Every * 100, "at most 1h"}} {
		if got := table.Arg(c.name).OutOfBounds(reflect.ValueOf(c.v)); got != c.want {
			t.Errorf("%s %v: %q", c.name, c.v, got)
		}
	}
}

func TestKinds(t *testing.T) {
	if names := language.KindNames(); len(names) != len(language.Kinds) || !slices.IsSorted(names) {
		t.Errorf("%q", names)
	}
	for kind, want := range map[string]string{"settings": "settings", "device": `device "TYPE" "NAME"`, "backup_plan": `backup_plan "NAME"`} {
		if got := language.KindByName(kind).Header("NAME"); got != want {
			t.Errorf("%s: %s", kind, got)
		}
	}
	if language.KindByName("job") != nil || language.IsObject("settings") || !language.IsObject("secret") {
		t.Error("kinds that are none, or objects that are none")
	}
	for _, k := range language.Kinds {
		if _, reserved := language.Reserved(k.Name); reserved {
			t.Errorf("%s is reserved", k.Name)
		}
		if better, foreign := language.Foreign(k.Name); foreign {
			t.Errorf("%s is called %s", k.Name, better)
		}
	}
}

func TestNames(t *testing.T) {
	for name, valid := range map[string]bool{"a": true, "_a-1": true, "": false, "1a": false, "-a": false, "a b": false, "ä": false,
		strings.Repeat("a", language.MaxName): true, strings.Repeat("a", language.MaxName+1): false} {
		if language.ValidName(name) != valid {
			t.Errorf("%q is valid: %v", name, !valid)
		}
	}
	for key, valid := range map[string]bool{"eu west": true, "ä": true, " ": false, "a\nb": false, strings.Repeat("a", language.MaxKey+1): false} {
		if (language.BadKey(key) == "") != valid {
			t.Errorf("%q: %s", key, language.BadKey(key))
		}
	}
}

func TestMeanings(t *testing.T) {
	good := map[string]string{"clock": "22:00", "cron": "0 23 * * 1-5", "date": "2026-12-24", "time": "2026-12-24T06:00:00Z",
		"timezone": "Europe/Berlin", "pattern": "QA*", "paths": "{a,b}/*.[ch]", "version": ">= 0.1, < 2"}
	for meaning, text := range good {
		if err := language.CheckMeaning(meaning, text); err != nil {
			t.Errorf("%s %s: %v", meaning, text, err)
		}
		if err := language.CheckMeaning(meaning, "\x00"); err == nil {
			t.Errorf("%s takes anything", meaning)
		}
	}
	if err := language.CheckMeaning("", "anything"); err != nil {
		t.Error(err)
	}
}

func TestEndpoints(t *testing.T) {
	for url, valid := range map[string]bool{"file:///srv/data": true, "file:///srv/100%/a b": true, "sftp://u@host/data": true,
		"/srv": false, "srv": false, "file://srv": false, "file:///": false, "file:///srv/../x": false, "file:///a\nb": false, "sftp://": false} {
		if err := language.CheckEndpoint(url); (err == nil) != valid {
			t.Errorf("%s: %v", url, err)
		}
	}
	if err := language.CheckEndpoint("sftp://u:hunter2@host/x"); !errors.Is(err, language.ErrPassword) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("password: %v", err)
	}
}

func TestSatisfies(t *testing.T) {
	for _, c := range []struct {
		required, have string
		want           bool
	}{
		{">= 0.1", "0.1.0", true}, {"> 0.1", "0.1.0", false}, {"~> 1.2", "1.9.0", true}, {"~> 1.2", "2.0.0", false}, {"~> 1.2.3", "1.3.0", false},
		{"!= 1", "1.0.0", false}, {"< 2, >= 1", "v1.5.0-rc1", true}, {"1.2", "1.2.0", true}, {">= 9", "dev", true},
	} {
		if got := language.Satisfies(c.required, c.have); got != c.want {
			t.Errorf("%s satisfies %s: %v", c.have, c.required, got)
		}
	}
}
