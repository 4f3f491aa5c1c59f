package config_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/config/diag"
)

func head(kind, name string) config.Header {
	return config.Header{Address: config.NewAddress(kind, name, ""), Range: diag.Range{Filename: name + ".hold.hcl"}}
}

func device(name string, labels map[string]string) *config.Device {
	return &config.Device{Header: head("device", name), Labels: labels}
}

func plan(name string, activities ...*config.Activity) *config.BackupPlan {
	return &config.BackupPlan{Header: head("backup_plan", name), Store: "store.nas", Activities: activities}
}

// TestCheck has the cases that HCL cannot make, or where silence matters. The
// messages themselves are golden in config/load.
func TestCheck(t *testing.T) {
	web := device("web", map[string]string{"tier": "1"})
	secure := func(devices ...string) *config.Activity {
		return &config.Activity{Name: "a", Action: "secure_backup", Devices: devices}
	}
	target := func(name string, sites ...config.Address) *config.FailoverTarget {
		ft := &config.FailoverTarget{Header: head("failover_target", name)}
		for _, s := range sites {
			ft.Members = append(ft.Members, &config.Member{Name: s.Name(), Site: s})
		}
		return ft
	}
	incomplete := target("x")
	incomplete.Incomplete = true
	group := func(name string, steps ...*config.FailoverStep) *config.Failover {
		return &config.Failover{Header: head("failover", name), Preferred: "site.a", Standby: []config.Address{"site.b"}, Steps: steps}
	}
	data := &config.FailoverStep{Name: "data", Targets: []config.Address{"failover_target.x"}}
	freeze := &config.FailoverStep{Name: "freeze", Targets: []config.Address{"failover_target.x"}}

	for name, test := range map[string]struct {
		doc  config.Document
		want []string
	}{
		"empty":           {config.Document{}, nil},
		"good plan":       {config.Document{Devices: []*config.Device{web}, BackupPlans: []*config.BackupPlan{plan("p", secure("w*", "web"))}}, nil},
		"empty pattern":   {config.Document{Devices: []*config.Device{web}, BackupPlans: []*config.BackupPlan{plan("p", secure(""))}}, []string{"HF-CFG-104"}},
		"no devices":      {config.Document{BackupPlans: []*config.BackupPlan{plan("p", secure("*"))}}, []string{"HF-CFG-105"}},
		"label differs":   {config.Document{Devices: []*config.Device{web}, BackupPlans: []*config.BackupPlan{plan("p", &config.Activity{Name: "a", Labels: map[string]string{"tier": "2"}})}}, []string{"HF-CFG-105"}},
		"label there":     {config.Document{Devices: []*config.Device{web}, BackupPlans: []*config.BackupPlan{plan("p", &config.Activity{Name: "a", Labels: map[string]string{"tier": "1"}})}}, nil},
		"incomplete plan": {config.Document{BackupPlans: []*config.BackupPlan{{Header: config.Header{Incomplete: true}}}}, nil},
		"good failover":   {config.Document{FailoverTargets: []*config.FailoverTarget{target("x", "site.a", "site.b")}, Failovers: []*config.Failover{group("f", freeze, data)}}, nil},
		"incomplete target": {config.Document{FailoverTargets: []*config.FailoverTarget{incomplete},
			Failovers: []*config.Failover{group("f", data)}}, nil},
		"shared target": {config.Document{FailoverTargets: []*config.FailoverTarget{target("x", "site.a", "site.b")},
			Failovers: []*config.Failover{group("f", data), group("g", data)}}, []string{"HF-CFG-114"}},
		"frozen elsewhere": {config.Document{FailoverTargets: []*config.FailoverTarget{target("x", "site.a", "site.b"), target("y", "site.a", "site.b")},
			Failovers: []*config.Failover{group("f", data), group("g", freeze, &config.FailoverStep{Name: "data", Targets: []config.Address{"failover_target.y"}})}}, []string{"HF-CFG-114"}},
		"good moves": {config.Document{Sites: []*config.Site{{Header: head("site", "c")}},
			Moved: []config.Moved{{From: "site.a", To: "site.b"}, {From: "site.b", To: "site.c"}}}, nil},
		"long circle": {config.Document{Moved: []config.Moved{{From: "site.a", To: "site.b"}, {From: "site.b", To: "site.c"}, {From: "site.c", To: "site.a"}}}, []string{"HF-CFG-117"}},
		"into a circle": {config.Document{Moved: []config.Moved{{From: "site.x", To: "site.a"}, {From: "site.a", To: "site.b"}, {From: "site.b", To: "site.c"}}},
			[]string{"HF-CFG-117"}},
		"unreadable dates":  {config.Document{Freezes: []*config.Freeze{{Header: head("freeze", "x"), From: "soon", To: "later"}}}, nil},
		"good retention":    {config.Document{Retentions: []*config.Retention{{Header: head("retention", "r"), KeepWithin: 1}}}, nil},
		"whole day windows": {config.Document{Windows: []*config.MaintenanceWindow{{Header: head("maintenance_window", "w"), Start: "00:00", End: "24:00"}}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, d := range config.Check(&test.doc) {
				got = append(got, d.Code)
			}
			slices.Sort(got)
			if got = slices.Compact(got); !slices.Equal(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestCheckScheduleAndWindow(t *testing.T) {
	for _, test := range []struct {
		schedule, zone, start, end, windowZone string
		days                                   []string
		warned                                 bool
	}{
		{"0 23 * * *", "", "22:00", "06:00", "", nil, false},
		{"0 5 * * *", "", "22:00", "06:00", "", nil, false},
		{"0 6 * * *", "", "22:00", "06:00", "", nil, true},
		{"0 12 * * *", "America/New_York", "16:00", "18:00", "UTC", nil, false},
		{"0 12 * * *", "", "16:00", "18:00", "", nil, true},
		{"0 23 29 2 *", "", "22:00", "06:00", "", nil, false},
		{"0 23 * * 1-5", "", "22:00", "06:00", "", []string{"sat"}, true},
		{"0 3 * * sun", "", "22:00", "06:00", "", []string{"sat"}, false},
		{"30 2 * * *", "Europe/Berlin", "02:00", "03:00", "Europe/Berlin", nil, false},
		{"*/15 * * * *", "", "22:00", "22:15", "", nil, false},
		{"nonsense", "", "22:00", "06:00", "", nil, false},
		{"0 12 * * *", "Nowhere/Land", "22:00", "06:00", "", nil, false},
	} {
		bp := plan("p", &config.Activity{Name: "a", Devices: []string{"web"}})
		bp.Schedule, bp.Timezone, bp.Window = test.schedule, test.zone, "maintenance_window.w"
		doc := &config.Document{
			Settings: config.Settings{Timezone: "UTC"},
			Devices:  []*config.Device{device("web", nil)},
			Windows: []*config.MaintenanceWindow{{Header: head("maintenance_window", "w"), Start: test.start, End: test.end,
				Timezone: test.windowZone, Days: test.days}},
			BackupPlans: []*config.BackupPlan{bp},
		}
		list := config.Check(doc)
		if warned := len(list) == 1 && list[0].Severity == diag.Warning; warned != test.warned || len(list) > 1 {
			t.Errorf("%+v: %v", test, list)
		}
	}
}

func TestMatchPattern(t *testing.T) {
	for _, test := range []struct {
		pattern, name string
		want          bool
	}{
		{"QA1", "QA1", true},
		{"QA1", "QA11", false},
		{"QA1", "qa1", false},
		{"QA*", "QA", true},
		{"QA*", "QA17", true},
		{"QA*", "XQA", false},
		{"*QA", "XQA", true},
		{"*QA", "QAX", false},
		{"*", "", true},
		{"**", "anything", true},
		{"", "", true},
		{"", "a", false},
		{"a*b*c", "abc", true},
		{"a*b*c", "aXbXbXc", true},
		{"a*b*c", "acb", false},
		{"a*a", "a", false},
		{"ab*ba", "aba", false},
		{"*a*a*", "ab", false},
		{"*.tmp", "x.tmp", true},
		{"a.c", "abc", false},
		{"a?c", "abc", false},
		{"web[*", `web["eu"]`, true},
		{"*ü*", "Grüße", true},
	} {
		if got := config.MatchPattern(test.pattern, test.name); got != test.want {
			t.Errorf("%q matches %q: %v", test.pattern, test.name, got)
		}
	}
	if config.MatchPattern(strings.Repeat("*a", 5000), strings.Repeat("a", 4999)) {
		t.Error("one a is missing")
	}
}

func TestRoleEndpoint(t *testing.T) {
	for side, want := range map[string]string{
		"failover.f.active":           "failover.f active true",
		"failover.f.standby":          "failover.f standby true",
		`failover.f["a.b"].active`:    `failover.f["a.b"] active true`,
		"failover.f.primary":          "failover.f primary false",
		"file:///failover.f.active":   "  false",
		"":                            "  false",
		"store.nas":                   "  false",
		"sftp://host/failover.active": "  false",
	} {
		a, role, ok := config.RoleEndpoint(side)
		got := string(a) + " " + role + " " + map[bool]string{true: "true", false: "false"}[ok]
		if got != want {
			t.Errorf("%q: %q, want %q", side, got, want)
		}
	}
}

func TestHeaderAt(t *testing.T) {
	at := func(name string) diag.Range { return diag.Range{Filename: name} }
	h := config.Header{Range: at("block"), Ranges: map[string]diag.Range{"a": at("a"), "a[1]": at("a1"), "a[1].b": at("a1b")}}
	for path, want := range map[string]string{"": "block", "x": "block", "a": "a", "a[0]": "a", "a[1]": "a1", "a[1].b": "a1b", "a[1].c": "a1", "a[1].b[2].c": "a1b", "a[2].b": "a", "x.y[3]": "block"} {
		if got := h.At(path).Filename; got != want {
			t.Errorf("%q: %s, want %s", path, got, want)
		}
	}
}
