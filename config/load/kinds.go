package load

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/holdfast-dr/holdfast/config"
)

// kind is one kind of top-level block. The list of kinds and the struct tags
// are the one table behind decoder, schema and reference.
type kind struct {
	name   string
	doc    string
	table  *table
	named  bool // has a name label, after the labels its struct declares
	typed  bool // the type label chooses a provider, whose settings stand beside its own
	object bool // has an address; may use for_each
	once   bool // at most one
	add    func(doc *config.Document, v any)
}

func kindOf[T any](name, doc string, add func(*config.Document, *T)) *kind {
	return &kind{name: name, doc: doc, table: mustTable(reflect.TypeFor[T]()), add: func(d *config.Document, v any) { add(d, v.(*T)) }}
}

// mustTable is for the structs of this module, whose tags are right.
func mustTable(typ reflect.Type) *table {
	t, err := tableOf(typ)
	if err != nil {
		panic(err)
	}
	return t
}

func objectKind[T any](name, doc string, to func(*config.Document) *[]*T) *kind {
	k := kindOf(name, doc, func(d *config.Document, v *T) {
		all := to(d)
		*all = append(*all, v)
	})
	k.named, k.object = true, true
	return k
}

func (k *kind) with(set func(*kind)) *kind {
	set(k)
	return k
}

func typed(k *kind) { k.typed = true }
func once(k *kind)  { k.once = true }
func named(k *kind) { k.named = true }

const (
	kindSettings = "settings"
	kindState    = "state"
	kindVariable = "variable"
	kindLocals   = "locals"
	kindMoved    = "moved"
	kindRemoved  = "removed"
)

var allKinds = []*kind{
	kindOf(kindSettings, "What holds for the whole configuration. At most one block.",
		func(d *config.Document, v *config.Settings) { d.Settings = *v }).with(once),
	kindOf(kindState, "Where recorded state lives. At most one block; SQLite in holdfast.db when absent.",
		func(d *config.Document, v *config.StateBackend) { d.State = v }).with(once),
	kindOf(kindVariable, "A value that is given from outside: `--var NAME=VALUE`, the environment variable `HOLDFAST_VAR_NAME`, or a `*.holdvars.hcl` file. Used as `var.NAME`.",
		func(*config.Document, *Variable) {}).with(named),
	kindOf(kindLocals, "Names for values; every argument is one. Used as `local.NAME`.",
		func(*config.Document, *struct{}) {}),
	objectKind(config.KindSecret, "A reference to a credential: its value is read when a step needs it and never stored or printed. Exactly one of `file`, `env` and `exec`.",
		func(d *config.Document) *[]*config.Secret { return &d.Secrets }),
	objectKind(config.KindSite, "A failure domain: a data centre, a region.",
		func(d *config.Document) *[]*config.Site { return &d.Sites }),
	objectKind(config.KindDevice, "A system to protect.",
		func(d *config.Document) *[]*config.Device { return &d.Devices }).with(typed),
	objectKind(config.KindStore, "A place for artifacts.",
		func(d *config.Document) *[]*config.Store { return &d.Stores }).with(typed),
	objectKind(config.KindWindow, "When work may start. A window whose end is not after its start crosses midnight and belongs to the day it starts on.",
		func(d *config.Document) *[]*config.MaintenanceWindow { return &d.Windows }),
	objectKind(config.KindFreeze, "Days on which no work of the named kinds starts.",
		func(d *config.Document) *[]*config.Freeze { return &d.Freezes }),
	objectKind(config.KindBackupPlan, "When, where to, how long kept, and what is done to which devices.",
		func(d *config.Document) *[]*config.BackupPlan { return &d.BackupPlans }),
	objectKind(config.KindRetention, "How long artifacts are kept: the union of its rules, above its floor.",
		func(d *config.Document) *[]*config.Retention { return &d.Retentions }),
	objectKind(config.KindMirror, "Keeps a target directory tree a copy of a source tree.",
		func(d *config.Document) *[]*config.Mirror { return &d.Mirrors }),
	objectKind(config.KindFailoverTarget, "One typed thing whose active side can move.",
		func(d *config.Document) *[]*config.FailoverTarget { return &d.FailoverTargets }).with(typed),
	objectKind(config.KindFailover, "The group of targets that moves together. Which site is active is recorded, never declared.",
		func(d *config.Document) *[]*config.Failover { return &d.Failovers }),
	kindOf(kindMoved, "Keeps an object's history when its address changes.",
		func(d *config.Document, v *config.Moved) { d.Moved = append(d.Moved, *v) }),
	kindOf(kindRemoved, "Says that an object's absence is meant, and what becomes of its data.",
		func(d *config.Document, v *config.Removed) { d.Removed = append(d.Removed, *v) }),
}

// kindByName finds a kind, or nil.
func kindByName(name string) *kind { return byName[name] }

// isObject reports whether the blocks of a kind have addresses.
func isObject(name string) bool { return byName[name] != nil && byName[name].object }

var byName = func() map[string]*kind {
	m := make(map[string]*kind, len(allKinds))
	for _, k := range allKinds {
		m[k.name] = k
	}
	return m
}()

// kindNames lists the kinds in alphabetical order.
func kindNames() []string { return slices.Sorted(maps.Keys(byName)) }

// labelNames are the names of a top-level block's labels, in order.
func (k *kind) labelNames() []string {
	var names []string
	for _, f := range k.table.labels {
		names = append(names, f.name)
	}
	if k.named {
		names = append(names, "name")
	}
	return names
}

// form shows how a block's header is written.
func (k *kind) form(name string) string {
	out := k.name
	for _, f := range k.table.labels {
		out += fmt.Sprintf(" %q", cmp.Or(append(slices.Clone(f.enum), strings.ToUpper(f.name))...))
	}
	if k.named {
		out += fmt.Sprintf(" %q", name)
	}
	return out
}
