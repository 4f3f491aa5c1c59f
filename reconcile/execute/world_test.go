package execute_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dr/holdfast/config/unit"
	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/command"
	"github.com/holdfast-dr/holdfast/providers/files"
	"github.com/holdfast-dr/holdfast/providers/plain"
	"github.com/holdfast-dr/holdfast/providers/providertest/simulator"
	"github.com/holdfast-dr/holdfast/providers/symlink"
	"github.com/holdfast-dr/holdfast/providers/tree"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/state"
	"github.com/holdfast-dr/holdfast/state/sqlstore"
)

// world is a directory with everything a plan can act on: two devices, a store, two mirrored trees, and a failover whose
// targets are a link and a service of shell scripts.
type world struct{ dir string }

const (
	left, right = "site.left", "site.right"
	orders      = "failover.orders"
)

func (w world) path(parts ...string) string {
	return filepath.Join(append([]string{w.dir}, parts...)...)
}

// box is the simulated device: it has unsaved changes in one of its domains, and needs time to quiesce.
func (w world) box(t testing.TB) *simulator.Simulator {
	s := simulator.New(t, w.path("box"), nil)
	s.Set(t, func(b *simulator.Behavior) {
		b.Info = providers.DeviceInfo{Identity: "box-1", Domains: []string{"D1", "D2"}}
		b.Unsaved = []string{"D1"}
		b.QuiesceTime, b.UnquiesceTime = 3*time.Millisecond, 3*time.Millisecond
		free := int64(1 << 30)
		b.FreeBytes = &free
	})
	return s
}

// build fills the directory. Both trees are alike but for what the mirror is to copy and to delete.
func (w world) build(t testing.TB) {
	t.Helper()
	for name, content := range map[string]string{
		"docs/a.txt":        strings.Repeat("alpha\n", 5000),
		"docs/sub/b.bin":    strings.Repeat("\x00\x01\xfe\xff", 20000),
		"export.txt":        strings.Repeat("the export of the other device\n", 3000),
		"left/orders.csv":   strings.Repeat("1,2,3\n", 3000),
		"left/new.csv":      "new\n",
		"left/deep/old.csv": "old\n",
		"plain/one":         "1",
		"plain/two":         "2",
		"svc/state":         "left\nepoch=1\n",
	} {
		if err := os.MkdirAll(filepath.Dir(w.path(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(w.path(name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"right", "plain-copy", "count"} {
		if err := os.Mkdir(w.path(dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(w.path("left"), w.path("current")); err != nil {
		t.Fatal(err)
	}
	for name, script := range map[string]string{
		// The state file is replaced in one step, as a real service's role is.
		"svc/status":   `cat "$SVC/state"; [ ! -e "$SVC/frozen" ] || echo frozen`,
		"svc/switch":   `[ ! -e "$SVC/broken" ] || { echo broken >&2; exit 1; }; printf '%s\nepoch=%s\n' "$1" "$2" > "$SVC/next"; rm -f "$SVC/frozen"; mv "$SVC/next" "$SVC/state"`,
		"svc/freeze":   `touch "$SVC/frozen"`,
		"svc/unfreeze": `rm -f "$SVC/frozen"`,
		// Each run of a counted script leaves a line: its task, and the step it was given.
		"count/run": `echo "$HOLDFAST_TASK" >> "$1"`,
	} {
		if err := os.WriteFile(w.path(name), []byte("#!/bin/sh\nset -e\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	w.box(t)
	backend := w.open(t)
	defer backend.Close()
	ctx := t.Context()
	s, err := backend.OpenSession(ctx, state.Session{PID: os.Getpid(), Actor: "test", Started: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	lock, err := backend.AcquireLock(ctx, state.Lock{Name: state.ApplyLock, Session: s.Epoch, Actor: "test", Acquired: time.Now(), Operation: "apply"})
	if err != nil {
		t.Fatal(err)
	}
	role := state.Role{Failover: orders, Active: left, Epoch: 1, State: state.RoleSettled, Since: time.Now()}
	object := state.Change{Op: state.OpPut, Address: orders, Spec: json.RawMessage(`{"preferred":"site.left"}`), By: "test", At: time.Now()}
	if _, err := backend.Record(ctx, lock, []state.Change{object}, []state.RoleChange{{Role: role}}); err != nil {
		t.Fatal(err)
	}
	if err := backend.CloseSession(ctx, s.Epoch); err != nil {
		t.Fatal(err)
	}
}

// registry has the providers that the world is made of.
func registry() *providers.Registry {
	return &providers.Registry{
		Devices: []providers.DeviceType{files.DeviceType(), command.DeviceType(), simulator.DeviceType(nil)},
		Stores:  []providers.StoreType{plain.StoreType()},
		Targets: []providers.TargetType{symlink.TargetType(), command.TargetType()},
		Mirrors: []providers.MirrorType{tree.MirrorType()},
	}
}

// open opens the state.
func (w world) open(t testing.TB) *sqlstore.Store {
	t.Helper()
	b, err := sqlstore.Open(t.Context(), sqlstore.Options{Path: w.path("state.db")})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func raw(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

func step(name string, op reconcile.Op, class state.Class, args any) reconcile.Step {
	return reconcile.Step{Name: name, Op: op, Class: class, Args: raw(args)}
}

// counted is a script that leaves a line in count/NAME each time it runs.
func (w world) counted(name string, class state.Class) reconcile.Step {
	return step(name, reconcile.OpScript, class, reconcile.ScriptArgs{
		Command: []string{w.path("count", "run"), w.path("count", name)}, Timeout: unit.Duration(time.Minute),
	})
}

// objects are the specifications the plans refer to.
func (w world) objects() map[string]reconcile.Spec {
	svc := func(name string, args ...string) []string { return append([]string{w.path("svc", name)}, args...) }
	members := []any{
		map[string]any{"name": "left", "site": left, "settings": map[string]any{"path": w.path("left")}},
		map[string]any{"name": "right", "site": right, "settings": map[string]any{"path": w.path("right")}},
	}
	return map[string]reconcile.Spec{
		"device.docs": {Type: "files", Spec: raw(map[string]any{"root": []any{map[string]any{"name": "main", "path": w.path("docs")}}})},
		"device.host": {Type: "command", Spec: raw(map[string]any{"command": []string{"cat", w.path("export.txt")}, "extension": ".txt", "min_size": "1B", "timeout": "1m"})},
		"device.box":  {Type: "simulator", Spec: raw(map[string]any{"directory": w.path("box")})},
		"store.nas":   {Type: "plain", Spec: raw(map[string]any{"path": w.path("store")}), Identity: "nas-identity"},
		"failover_target.link": {Type: "files", Spec: raw(map[string]any{
			"link": w.path("current"), "member": members,
		})},
		"failover_target.svc": {Type: "command", Spec: raw(map[string]any{
			"status": svc("status"), "switch": svc("switch", "{to}", "{epoch}"), "freeze": svc("freeze"), "unfreeze": svc("unfreeze"),
			"environment": map[string]string{"SVC": w.path("svc")}, "timeout": "1m", "member": members,
		})},
	}
}

// backupTask has every step a backup can have.
func (w world) backupTask(device, domain, action string, scripts bool) reconcile.Task {
	c := reconcile.CaptureArgs{Device: device, Domain: domain, Action: action, Store: "store.nas", BackupPlan: "backup_plan.nightly", Activity: "all"}
	if action == "export_domain" {
		c.Variant = "persisted"
	}
	t := reconcile.Task{
		Kind: "backup", Stage: reconcile.StageWork, Activity: "all", Device: device, Domain: domain, Action: action, Locks: []string{strings.Replace(device, ".", "/", 1)},
		Steps: []reconcile.Step{
			step("window", reconcile.OpWindow, state.Rerun, reconcile.WindowArgs{}),
			step("store", reconcile.OpStoreCheck, state.Rerun, reconcile.StoreArgs{Store: "store.nas"}),
			step("inspect", reconcile.OpDeviceInspect, state.Rerun, reconcile.DeviceArgs{Device: device}),
			step("capture", reconcile.OpDeviceCapture, state.Rerun, c),
			step("verify", reconcile.OpArtifactVerify, state.Rerun, c),
			step("commit", reconcile.OpArtifactCommit, state.Check, c),
		},
	}
	if scripts {
		post := w.counted("task-post", state.Halt)
		post.Always = true
		t.Steps = append(t.Steps[:3], append([]reconcile.Step{w.counted("task-pre", state.Halt)}, append(t.Steps[3:], post)...)...)
	}
	return t
}

// quietTask has every step of a backup that quiesces, in the order of the planner.
func (w world) quietTask(domain, action string) reconcile.Task {
	hold := reconcile.QuiesceArgs{Device: "device.box", Domain: domain, Timeout: unit.Duration(time.Minute), MaxHold: unit.Duration(30 * time.Minute)}
	t := w.backupTask("device.box", domain, action, false)
	steps := append(t.Steps[:3:3], step("state", reconcile.OpDeviceState, state.Rerun, hold))
	var c reconcile.CaptureArgs
	if err := json.Unmarshal(t.Steps[3].Args, &c); err != nil {
		panic(err)
	}
	all := []reconcile.CaptureArgs{c}
	if action == "export_domain" {
		steps = append(steps, step("unsaved", reconcile.OpDeviceUnsaved, state.Rerun, reconcile.DomainArgs{Device: "device.box", Domain: domain}))
		c.Variant, c.IfUnsaved = "nonpersisted", true
		all = append(all, c)
	}
	if action == "secure_backup" {
		steps = append(steps, step("space", reconcile.OpDeviceSpace, state.Rerun, reconcile.SpaceArgs{Device: "device.box", MinFree: 1 << 20}))
	}
	steps = append(steps, step("quiesce", reconcile.OpDeviceQuiesce, state.Rerun, hold), step("wait", reconcile.OpDeviceWait, state.Rerun, hold))
	for _, c := range all {
		steps = append(steps, step("capture"+c.Variant, reconcile.OpDeviceCapture, state.Rerun, c))
	}
	release := step("unquiesce", reconcile.OpDeviceUnquiesce, state.Rerun, hold)
	release.Always = true
	steps = append(steps, release)
	for _, c := range all {
		steps = append(steps, step("verify"+c.Variant, reconcile.OpArtifactVerify, state.Rerun, c))
	}
	for _, c := range all {
		steps = append(steps, step("commit"+c.Variant, reconcile.OpArtifactCommit, state.Check, c))
	}
	t.Steps = steps
	return t
}

// quietAction backs the simulated device up: a domain with unsaved changes, one without, and the whole.
func (w world) quietAction() reconcile.Action {
	return reconcile.Action{
		Address: "backup_plan.quiet", Kind: reconcile.ActionBackup, Trigger: state.TriggerApply, After: []int{0},
		Tasks: []reconcile.Task{w.quietTask("D1", "export_domain"), w.quietTask("D2", "export_domain"), w.quietTask(providers.AllDomains, "secure_backup")},
	}
}

// quiet is a plan with nothing but the store and the simulated device.
func (w world) quiet() *reconcile.Plan {
	p := w.plan(w.initAction(), w.quietAction())
	p.Changes = []reconcile.Change{create("store.nas", true)}
	return p
}

func (w world) mirrorAction(address, source, target string, failover string, epoch int64) reconcile.Action {
	a := reconcile.MirrorArgs{
		Mirror: address, Source: "file://" + w.path(source), Target: "file://" + w.path(target), MaxDeletePercent: 50, Failover: failover, Epoch: epoch,
	}
	return reconcile.Action{
		Address: address, Kind: reconcile.ActionMirror, Trigger: state.TriggerApply,
		Tasks: []reconcile.Task{{Kind: "mirror", Stage: reconcile.StageWork, Device: address, Locks: []string{strings.Replace(address, ".", "/", 1)}, Steps: []reconcile.Step{
			step("copy", reconcile.OpMirrorCopy, state.Rerun, a),
			step("prune", reconcile.OpMirrorPrune, state.Rerun, a),
			step("record", reconcile.OpMirrorRecord, state.Rerun, a),
		}}},
	}
}

// moveAction switches the group from one side to the other, targets in the order given.
func (w world) moveAction(from, to string, epoch int64, targets ...string) reconcile.Action {
	args := func(target string) reconcile.MoveArgs {
		m := reconcile.MoveArgs{Failover: orders, Target: target, FromSite: "site." + from, ToSite: "site." + to, IfEpoch: epoch, Epoch: epoch + 1, Reason: "test"}
		if target != "" {
			m.From, m.To = from, to
		}
		return m
	}
	steps := []reconcile.Step{step("begin", reconcile.OpRoleBegin, state.Rerun, args(""))}
	for _, t := range targets {
		steps = append(steps, step("freeze "+t, reconcile.OpTargetFreeze, state.Rerun, args(t)))
	}
	for _, t := range targets {
		steps = append(steps, step("switch "+t, reconcile.OpTargetSwitch, state.Check, args(t)))
	}
	for _, t := range targets {
		steps = append(steps, step("verify "+t, reconcile.OpTargetVerify, state.Rerun, args(t)))
	}
	steps = append(steps, step("settle", reconcile.OpRoleSettle, state.Rerun, args("")))
	return reconcile.Action{
		Address: orders, Kind: reconcile.ActionFailover, Class: reconcile.ClassRole, Trigger: state.TriggerApply,
		Tasks: []reconcile.Task{{Kind: "failover", Stage: reconcile.StageWork, Device: orders, Locks: []string{"failover/orders"}, Steps: steps}},
	}
}

func (w world) plan(actions ...reconcile.Action) *reconcile.Plan {
	return &reconcile.Plan{
		FormatVersion: reconcile.FormatVersion, Timestamp: time.Now().UTC(), Mode: reconcile.ModeApply, Applyable: true, Complete: true,
		Digest: fmt.Sprintf("sha256:%d", time.Now().UnixNano()), Config: reconcile.ConfigInfo{Commit: "c0ffee"},
		Actions: actions, Objects: w.objects(), Parallel: 1,
	}
}

func create(address string, byAction bool) reconcile.Change {
	return reconcile.Change{Address: address, Action: reconcile.Create, After: raw(map[string]string{"name": address}), ByAction: byAction}
}

// initAction makes the store.
func (w world) initAction() reconcile.Action {
	return reconcile.Action{
		Address: "store.nas", Kind: reconcile.ActionStore, Trigger: state.TriggerApply,
		Tasks: []reconcile.Task{{Kind: "store", Stage: reconcile.StageWork, Locks: []string{"store/nas"}, Steps: []reconcile.Step{
			step("init", reconcile.OpStoreInit, state.Rerun, reconcile.StoreArgs{Store: "store.nas", Identity: "nas-identity"}),
		}}},
	}
}

// backupAction backs both devices up, between scripts.
func (w world) backupAction(key string) reconcile.Action {
	post := reconcile.Task{Kind: "script", Stage: reconcile.StageAfter, Always: true, Steps: []reconcile.Step{w.counted("plan-post", state.Rerun)}}
	return reconcile.Action{
		Address: "backup_plan.nightly", Kind: reconcile.ActionBackup, Trigger: state.TriggerSchedule, TriggerKey: key, Nominal: key, DueAt: time.Now(),
		Tasks: []reconcile.Task{
			{Kind: "script", Stage: reconcile.StageBefore, OnError: "halt", Steps: []reconcile.Step{w.counted("plan-pre", state.Halt)}},
			w.backupTask("device.docs", "main", "export_domain", true),
			w.backupTask("device.host", providers.AllDomains, "secure_backup", false),
			post,
		},
	}
}

// move is a plan that prefers the other side, and so moves the role.
func (w world) move(targets ...string) *reconcile.Plan {
	p := w.plan(w.moveAction("left", "right", 1, targets...))
	p.Changes = []reconcile.Change{{Address: orders, Action: reconcile.Update, IfGeneration: 1, After: json.RawMessage(`{"preferred":"site.right"}`), ByAction: true}}
	return p
}

// everything is a plan with every operation there is.
func (w world) everything() *reconcile.Plan {
	prefer := w.move("failover_target.svc", "failover_target.link")
	move := prefer.Actions[0]
	move.After = []int{2}
	backup := w.backupAction("2026-10-25T02:30")
	backup.After = []int{0}
	p := w.plan(w.initAction(), backup, w.mirrorAction("mirror.live", "left", "right", orders, 1), move, w.quietAction())
	p.Changes = append(prefer.Changes,
		create("store.nas", true), create("device.docs", false), create("device.host", false), create("backup_plan.nightly", false), create("mirror.live", false))
	return p
}
