package recovery_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/reconcile/recovery"
	"github.com/holdfast-dr/holdfast/state"
)

var now = time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)

const id = "01JD2Q7Z3V0M8Y4T6N5R1K9WXA"

// well is a restore in place for which everything is as it should be.
func well() recovery.Input {
	object := func(typ, identity string, generation int64) state.Object {
		return state.Object{Spec: json.RawMessage(fmt.Sprintf(`{"type":%q}`, typ)), Identity: identity, Generation: generation}
	}
	return recovery.Input{
		State: &state.Snapshot{
			Meta: state.Meta{Lineage: "l", Generation: 7},
			Objects: map[string]state.Object{
				"device.web": object("files", "", 3), "device.spare": object("files", "", 4), "device.db": object("sqlite", "", 5), "store.nas": object("plain", "n", 2),
			},
			Catalogue: []state.ArtifactBrief{{ID: id, State: state.ArtifactGood}},
		},
		Source: reconcile.RestoreSource{
			Artifact: id, Store: "store.nas", State: state.ArtifactGood, Device: "device.web", DeviceType: "files", Domain: "content",
			Action: "export_domain", Variant: "persisted", Taken: now.Add(-time.Hour), Bytes: 1000, Content: 3000, Model: "m1", Firmware: "f1", Identity: "i1",
		},
		Device: "device.web", Now: now, Operator: "ana@host",
		Seen: recovery.Seen{
			Store: reconcile.StoreSeen{Initialised: true, Identity: "n"}, Verified: now.Add(-time.Minute), FreeBytes: -1,
			Target: &reconcile.DeviceSeen{Identity: "i1", Model: "m1", Firmware: "f1", Domains: []string{"content"}},
		},
	}
}

// aside is the same restore into a directory.
func aside() recovery.Input {
	in := well()
	in.Device, in.Seen.Target, in.Dir, in.Seen.FreeBytes = "", nil, "/srv/out", 1<<30
	return in
}

func steps(p *reconcile.Plan) string {
	var names []string
	for _, s := range p.Actions[0].Tasks[0].Steps {
		names = append(names, s.Name)
	}
	return strings.Join(names, " ")
}

func codes(p *reconcile.Plan) string {
	var all []string
	for _, f := range p.Findings {
		all = append(all, fmt.Sprintf("%s %s", f.Severity, strings.TrimPrefix(f.Code, "HF-RST-")))
		if f.Detail == "" || f.Summary == "" || f.Address == "" {
			all = append(all, "(incomplete)")
		}
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// older is a store that was put back from before.
func older(in *recovery.Input) {
	o := in.State.Objects["store.nas"]
	o.Epoch = 2
	in.State.Objects["store.nas"] = o
	in.Seen.Store.Epoch = 1
}

const safely = "store inspect safety_capture safety_verify safety_commit check restore confirm"

func TestBuild(t *testing.T) {
	change := func(in recovery.Input, change func(*recovery.Input)) recovery.Input { change(&in); return in }
	for name, tc := range map[string]struct {
		in      recovery.Input
		steps   string
		codes   string
		destroy bool
	}{
		"in place":            {well(), safely, "", true},
		"into a directory":    {aside(), "store check restore", "", false},
		"raw, no such device": {change(aside(), func(in *recovery.Input) { in.Raw = true; delete(in.State.Objects, "device.web") }), "store check restore", "", false},
		"into another device": {change(well(), func(in *recovery.Input) { in.Device, in.Seen.Target.Identity = "device.spare", "i2" }), safely, "", true},
		"where nothing is": {change(well(), func(in *recovery.Input) { in.Seen.Target.Domains = []string{"other"} }),
			"store inspect check restore confirm", "", false},
		"a whole device": {change(well(), func(in *recovery.Input) { in.Source.Domain = "all-domains" }), safely, "", true},
		"a device that does not tell its domains": {change(well(), func(in *recovery.Input) { in.Seen.Target.Domains = nil }), safely, "", true},
		"without a safety backup": {change(well(), func(in *recovery.Input) { in.NoSafety, in.Reason = true, "gone" }),
			"store check restore confirm", "warning 016", true},
		"without a reason": {change(well(), func(in *recovery.Input) { in.NoSafety = true }), "store check restore confirm", "error 016", true},
		"a device that is not there": {change(well(), func(in *recovery.Input) { in.Seen.Target = &reconcile.DeviceSeen{Unavailable: true} }),
			safely, "error 014", true},
		"a device that is not there, without a safety backup": {change(well(), func(in *recovery.Input) {
			in.Seen.Target, in.NoSafety, in.Reason = &reconcile.DeviceSeen{Seen: reconcile.Seen{Error: "no route"}}, true, "gone"
		}), "store check restore confirm", "warning 016", true},
		"lenient, in the place of something": {change(well(), func(in *recovery.Input) { in.Lenient = true }), safely, "error 020", true},
		"lenient, into a device that cannot": {change(well(), func(in *recovery.Input) {
			in.Lenient, in.Domain, in.Seen.Strict = true, "new", "devices of type \"files\" take all"
		}), "store inspect check restore confirm", "error 020", false},
		"a part, in the place of something": {change(well(), func(in *recovery.Input) { in.Include = []string{"x"} }), safely, "error 020", true},
		"lenient, into a new domain":        {change(well(), func(in *recovery.Input) { in.Lenient, in.Domain = true, "new" }), "store inspect check restore confirm", "", false},
		"never verified":                    {change(well(), func(in *recovery.Input) { in.Seen.Verified = time.Time{} }), safely, "warning 001", true},
		"being deleted":                     {change(well(), func(in *recovery.Input) { in.Source.State = state.ArtifactExpiring }), safely, "error 002", true},
		"quarantined":                       {change(well(), func(in *recovery.Input) { in.Source.State = state.ArtifactQuarantined }), safely, "error 003", true},
		"quarantined, allowed in place": {change(well(), func(in *recovery.Input) { in.Source.State, in.AllowQuarantined = state.ArtifactQuarantined, true }),
			safely, "error 003", true},
		"quarantined, aside": {change(aside(), func(in *recovery.Input) { in.Source.State = state.ArtifactQuarantined }), "store check restore", "error 003", false},
		"quarantined, allowed": {change(aside(), func(in *recovery.Input) { in.Source.State, in.AllowQuarantined = state.ArtifactQuarantined, true }),
			"store check restore", "warning 003", false},
		"unverified": {change(well(), func(in *recovery.Input) { in.Source.State, in.AllowUnverified = state.ArtifactUnverified, true }), safely, "error 017", true},
		"unverified, not raw": {change(aside(), func(in *recovery.Input) { in.Source.State, in.AllowUnverified = state.ArtifactUnverified, true }),
			"store check restore", "error 017", false},
		"unverified, raw": {change(aside(), func(in *recovery.Input) { in.Source.State, in.Raw = state.ArtifactUnverified, true }),
			"store check restore", "error 017", false},
		"unverified, allowed": {change(aside(), func(in *recovery.Input) {
			in.Source.State, in.Raw, in.AllowUnverified = state.ArtifactUnverified, true, true
		}), "store check restore", "warning 017", false},
		"a store that is gone":                  {change(well(), func(in *recovery.Input) { delete(in.State.Objects, "store.nas") }), safely, "error 004", true},
		"a store that is not mounted":           {change(well(), func(in *recovery.Input) { in.Seen.Store = reconcile.StoreSeen{} }), safely, "error 005", true},
		"another store":                         {change(well(), func(in *recovery.Input) { in.Seen.Store.Identity = "x" }), safely, "error 005", true},
		"an older copy of the store":            {change(well(), older), safely, "error 005", true},
		"an older copy of the store, only read": {change(aside(), older), "store check restore", "warning 018", false},
		"a store with an error":                 {change(well(), func(in *recovery.Input) { in.Seen.Store.Error = "stale handle" }), safely, "error 005", true},
		"no key":                                {change(well(), func(in *recovery.Input) { in.Seen.Unreadable, in.Seen.NoKey = "no key of age1x", true }), safely, "error 006", true},
		"no secret": {change(well(), func(in *recovery.Input) {
			in.Seen.Unreadable, in.Seen.NoKey, in.Seen.NoSecret = "read secret.x: none.", true, true
		}), safely, "error 006", true},
		"unreadable":                    {change(well(), func(in *recovery.Input) { in.Seen.Unreadable = "not found" }), safely, "error 007", true},
		"a directory that is not empty": {change(aside(), func(in *recovery.Input) { in.Seen.Occupied = "not empty" }), "store check restore", "error 008", false},
		"no room unpacked":              {change(aside(), func(in *recovery.Input) { in.Source.Unpacked, in.Seen.FreeBytes = 9000, 8999 }), "store check restore", "error 009", false},
		"just room unpacked":            {change(aside(), func(in *recovery.Input) { in.Source.Unpacked, in.Seen.FreeBytes = 9000, 9000 }), "store check restore", "", false},
		"perhaps room":                  {change(aside(), func(in *recovery.Input) { in.Source.Unpacked, in.Source.AtMost, in.Seen.FreeBytes = 9000, true, 8999 }), "store check restore", "warning 009", false},
		"no room for holes":             {change(aside(), func(in *recovery.Input) { in.Source.Unpacked, in.Source.AtMost, in.Seen.FreeBytes = 9000, true, 2999 }), "store check restore", "error 009", false},
		"room as captured":              {change(aside(), func(in *recovery.Input) { in.Raw, in.Source.Unpacked, in.Seen.FreeBytes = true, 9000, 3000 }), "store check restore", "", false},
		"no room":                       {change(aside(), func(in *recovery.Input) { in.Seen.FreeBytes = 2999 }), "store check restore", "error 009", false},
		"just room":                     {change(aside(), func(in *recovery.Input) { in.Seen.FreeBytes = 3000 }), "store check restore", "", false},
		"a device that is gone":         {change(well(), func(in *recovery.Input) { in.Device = "device.none" }), "store inspect check restore confirm", "error 010", false},
		"aside, the device is gone":     {change(aside(), func(in *recovery.Input) { delete(in.State.Objects, "device.web") }), "store check restore", "error 010", false},
		"another type":                  {change(well(), func(in *recovery.Input) { in.Device = "device.db" }), safely, "error 011", true},
		"a type that is not told":       {change(well(), func(in *recovery.Input) { in.Source.DeviceType = "" }), safely, "", true},
		"a device that cannot":          {change(well(), func(in *recovery.Input) { in.Seen.Refused = "not supported" }), safely, "error 012", true},
		"another restore": {change(well(), func(in *recovery.Input) {
			in.State.OpenRuns = []state.Run{{ID: "9", Kind: "restore", Address: "device.web", Status: state.Interrupted}}
		}), safely, "error 013", true},
		"a backup that runs": {change(well(), func(in *recovery.Input) {
			in.State.OpenRuns = []state.Run{{ID: "9", Kind: "backup", Address: "backup_plan.x"}}
		}), safely, "", true},
		"other firmware":    {change(well(), func(in *recovery.Input) { in.Seen.Target.Firmware = "f2" }), safely, "warning 015", true},
		"another machine":   {change(well(), func(in *recovery.Input) { in.Seen.Target.Identity = "i2" }), safely, "warning 015", true},
		"firmware not told": {change(well(), func(in *recovery.Input) { in.Seen.Target.Firmware = "" }), safely, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			p, found := recovery.Build(tc.in)
			if got := steps(p); got != tc.steps {
				t.Errorf("steps %s, want %s", got, tc.steps)
			}
			if got := codes(p); got != tc.codes {
				t.Errorf("findings %q, want %q: %v", got, tc.codes, p.Findings)
			}
			if bad := strings.Contains(tc.codes, "error"); p.Errored != bad || p.Applyable == bad || found.HasErrors() != bad {
				t.Errorf("errored %t, applyable %t", p.Errored, p.Applyable)
			}
			gated := len(p.Closed(reconcile.Allowed{})) > 0
			if a := p.Actions[0]; gated != tc.destroy || (a.Class == reconcile.ClassDestroy) != tc.destroy || p.ExpiresAt.IsZero() == tc.destroy {
				t.Errorf("gates %v, class %s, expires %s", p.Gates, a.Class, p.ExpiresAt)
			}
			for _, q := range p.Restore.Seen.Requirements {
				if q.Met == reconcile.Unmet && len(p.Findings) == 0 && q.Name != "identity" {
					t.Errorf("%s is not met, and nothing is found", q.Name)
				}
			}
			again, _ := recovery.Build(tc.in)
			body, err := json.Marshal(p)
			if err != nil {
				t.Fatal(err)
			}
			var read reconcile.Plan
			if err := json.Unmarshal(body, &read); err != nil || read.Intact() != nil || again.Digest != p.Digest {
				t.Errorf("the plan does not survive being saved: %v, %v", err, read.Intact())
			}
		})
	}
}

// TestDigest: what is done and what is reviewed is sealed, what was seen is not.
func TestDigest(t *testing.T) {
	digest := func(change func(*recovery.Input)) string {
		in := well()
		change(&in)
		p, _ := recovery.Build(in)
		return p.Digest
	}
	base := digest(func(*recovery.Input) {})
	for name, change := range map[string]func(*recovery.Input){
		"time":     func(in *recovery.Input) { in.Now = in.Now.Add(time.Hour) },
		"verified": func(in *recovery.Input) { in.Seen.Verified = now },
		"earlier":  func(in *recovery.Input) { in.Seen.Earlier = []recovery.Earlier{{Bytes: 1, Took: time.Second}} },
	} {
		if digest(change) != base {
			t.Errorf("%s changes the digest", name)
		}
	}
	for name, change := range map[string]func(*recovery.Input){
		"artifact": func(in *recovery.Input) { in.Source.Artifact = "01JD2Q7Z3V0M8Y4T6N5R1K9WXB" },
		"taken":    func(in *recovery.Input) { in.Source.Taken = now },
		"target":   func(in *recovery.Input) { in.Device = "device.spare" },
		"domain":   func(in *recovery.Input) { in.Domain = "other" },
		"safety":   func(in *recovery.Input) { in.NoSafety, in.Reason = true, "x" },
		"generation": func(in *recovery.Input) {
			o := in.State.Objects["device.web"]
			o.Generation++
			in.State.Objects["device.web"] = o
		},
		"secret": func(in *recovery.Input) {
			in.Secrets = map[string]reconcile.Spec{"secret.x": {Spec: json.RawMessage(`{}`)}}
		},
	} {
		if digest(change) == base {
			t.Errorf("%s does not change the digest", name)
		}
	}
}

func TestBroken(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(s *state.Snapshot)
		want   string
	}{
		"nothing":           {func(*state.Snapshot) {}, ""},
		"artifact deleted":  {func(s *state.Snapshot) { s.Catalogue = nil }, "Artifact " + id + " was deleted meanwhile"},
		"artifact expiring": {func(s *state.Snapshot) { s.Catalogue[0].State = state.ArtifactExpiring }, "is expiring now, and was good"},
		"device changed": {func(s *state.Snapshot) {
			s.Objects["device.web"] = state.Object{Generation: 8}
		}, "device.web was changed meanwhile"},
		"store gone": {func(s *state.Snapshot) { delete(s.Objects, "store.nas") }, "store.nas is no longer recorded"},
	} {
		in := well()
		p, _ := recovery.Build(in)
		tc.change(in.State)
		err := p.Broken(in.State, now)
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %q", name, err, tc.want)
		}
	}
}

func TestExpectedDuration(t *testing.T) {
	in := well()
	in.Seen.Earlier = []recovery.Earlier{{Bytes: 1000, Took: 2 * time.Second}, {Bytes: 500, Took: 5 * time.Second}, {Bytes: 0, Took: time.Hour}, {Bytes: 1, Took: 0}}
	if p, _ := recovery.Build(in); p.Restore.Seen.Seconds != 10 {
		t.Errorf("expected %d s, want 10", p.Restore.Seen.Seconds)
	}
	in.Seen.Earlier = nil
	if p, _ := recovery.Build(in); p.Restore.Seen.Seconds != 0 {
		t.Errorf("expected %d s, want none", p.Restore.Seen.Seconds)
	}
}

// TestWords: what is said of keys and content is said once, with what to do.
func TestWords(t *testing.T) {
	declared := map[string]reconcile.Spec{"secret.key": {Spec: json.RawMessage(`{}`)}}
	const where = " Its secret block in the configuration says where it is read from: put it there, or name the place where it is, and plan again."
	for name, c := range map[string]struct {
		seen    recovery.Seen
		secrets map[string]reconcile.Spec
		detail  string // of the error; empty: there is none
		need    string // name and answer of the requirement
	}{
		"not encrypted": {recovery.Seen{}, nil, "", "content yes"},
		"encrypted":     {recovery.Seen{Encrypted: true}, declared, "", "key yes"},
		"no configuration": {recovery.Seen{Unreadable: "secret.key is needed: name the configuration that declares it with --chdir or --repo", NoKey: true, NoSecret: true}, nil,
			"secret.key is needed: name the configuration that declares it with --chdir or --repo.", "key no key"},
		"file gone": {recovery.Seen{Unreadable: "read secret.key: open k: no such file", NoKey: true, NoSecret: true}, declared, "read secret.key: open k: no such file." + where, "key no key"},
		"other key": {recovery.Seen{Unreadable: "it is for age1x (Give store \"v\" a decrypt block.)", NoKey: true}, declared, "it is for age1x (Give store \"v\" a decrypt block.)", "key no key"},
		"dots":      {recovery.Seen{Unreadable: "gone.", NoKey: true}, declared, "gone.", "key no key"},
		"damaged":   {recovery.Seen{Unreadable: "gone"}, nil, "gone. Check it with: holdfast verify " + id, "content gone"},
	} {
		in := aside()
		in.Seen.Unreadable, in.Seen.NoKey, in.Seen.NoSecret, in.Seen.Encrypted, in.Secrets = c.seen.Unreadable, c.seen.NoKey, c.seen.NoSecret, c.seen.Encrypted, c.secrets
		p, found := recovery.Build(in)
		got := ""
		for _, d := range found {
			got += d.Detail
		}
		if got != c.detail {
			t.Errorf("%s: %q, want %q", name, got, c.detail)
		}
		i := slices.IndexFunc(p.Restore.Seen.Requirements, func(r reconcile.Requirement) bool { return r.Name+" "+r.Got == c.need })
		if i < 0 {
			t.Errorf("%s: no requirement %q in %+v", name, c.need, p.Restore.Seen.Requirements)
		}
	}
}

// TestUnknownTarget: nothing is said to be replaced in a device that nobody knows.
func TestUnknownTarget(t *testing.T) {
	in := well()
	in.Device, in.Seen.Target = "device.wb", nil
	p, _ := recovery.Build(in)
	if p.Restore.Target.Replace || p.Restore.Safety || len(p.Gates) > 0 || !p.Errored {
		t.Errorf("the plan replaces what an unknown device holds: %+v", p.Restore.Target)
	}
}
