package language

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/holdfast-dr/holdfast/config"
)

// Kind is one kind of top-level block. The list of kinds and the struct tags
// are the one table behind decoder, schema and reference.
type Kind struct {
	Name   string
	Doc    string                            // in sentences
	Table  *Table                            // of its body
	Named  bool                              // has a name label, after the labels its struct declares
	Typed  bool                              // the type label chooses a provider, whose settings stand beside its own
	Object bool                              // has an address; may use for_each
	Once   bool                              // at most one
	Add    func(doc *config.Document, v any) // takes a pointer to the struct of the table
}

func kindOf[T any](name, doc string, add func(*config.Document, *T)) *Kind {
	return &Kind{Name: name, Doc: doc, Table: mustTable(reflect.TypeFor[T]()), Add: func(d *config.Document, v any) { add(d, v.(*T)) }}
}

// mustTable is for the structs of this module, whose tags are right.
func mustTable(typ reflect.Type) *Table {
	t, err := TableOf(typ)
	if err != nil {
		panic(err)
	}
	return t
}

func objectKind[T any](name, doc string, to func(*config.Document) *[]*T) *Kind {
	k := kindOf(name, doc, func(d *config.Document, v *T) {
		all := to(d)
		*all = append(*all, v)
	})
	k.Named, k.Object = true, true
	return k
}

func (k *Kind) with(set func(*Kind)) *Kind {
	set(k)
	return k
}

func typed(k *Kind) { k.Typed = true }
func once(k *Kind)  { k.Once = true }
func named(k *Kind) { k.Named = true }

// Kinds of block that declare no object. Those that do are in package config.
const (
	KindSettings = "settings"
	KindState    = "state"
	KindVariable = "variable"
	KindLocals   = "locals"
	KindMoved    = "moved"
	KindRemoved  = "removed"
)

// Kinds are the kinds of block, in the order of the reference.
var Kinds = []*Kind{
	kindOf(KindSettings, "What holds for the whole configuration. At most one block.",
		func(d *config.Document, v *config.Settings) { d.Settings = *v }).with(once),
	kindOf(KindState, "Where recorded state lives. At most one block; SQLite in holdfast.db when absent.",
		func(d *config.Document, v *config.StateBackend) { d.State = v }).with(once),
	kindOf(KindVariable, "A value that is given from outside: `--var NAME=VALUE`, the environment variable `HOLDFAST_VAR_NAME`, or a `*.holdvars.hcl` file. Used as `var.NAME`.",
		func(*config.Document, *Variable) {}).with(named),
	kindOf(KindLocals, "Names for values; every argument is one. Used as `local.NAME`.",
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
	kindOf(KindMoved, "Keeps an object's history when its address changes.",
		func(d *config.Document, v *config.Moved) { d.Moved = append(d.Moved, *v) }),
	kindOf(KindRemoved, "Says that an object's absence is meant, and what becomes of its data.",
		func(d *config.Document, v *config.Removed) { d.Removed = append(d.Removed, *v) }),
}

// KindByName finds a kind of block, or nil.
func KindByName(name string) *Kind { return byName[name] }

// IsObject reports whether the blocks of a kind have addresses.
func IsObject(name string) bool { return byName[name] != nil && byName[name].Object }

var byName = func() map[string]*Kind {
	m := make(map[string]*Kind, len(Kinds))
	for _, k := range Kinds {
		m[k.Name] = k
	}
	return m
}()

// KindNames lists the names of the kinds in alphabetical order.
func KindNames() []string { return slices.Sorted(maps.Keys(byName)) }

// LabelNames are the names of a top-level block's labels, in order.
func (k *Kind) LabelNames() []string {
	var names []string
	for _, f := range k.Table.Labels {
		names = append(names, f.Name)
	}
	if k.Named {
		names = append(names, "name")
	}
	return names
}

// Header shows how a block's header is written.
func (k *Kind) Header(name string) string {
	out := k.Name
	for _, f := range k.Table.Labels {
		out += fmt.Sprintf(" %q", cmp.Or(append(slices.Clone(f.Enum), strings.ToUpper(f.Name))...))
	}
	if k.Named {
		out += fmt.Sprintf(" %q", name)
	}
	return out
}
