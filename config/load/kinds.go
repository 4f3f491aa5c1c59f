package load

import (
	"reflect"
	"regexp"

	"github.com/hashicorp/hcl/v2"

	"github.com/holdfast-dr/holdfast/config"
)

// kind is one kind of top-level block. The list of kinds and the struct tags
// are the one table behind decoder, schema and reference.
type kind struct {
	name   string
	doc    string
	typ    reflect.Type
	named  bool // has a name label, after the labels its struct declares
	typed  bool // the type label chooses a provider, whose settings stand beside its own
	object bool // has an address; may use for_each
	once   bool // at most one
	add    func(doc *config.Document, v any)
}

func kindOf[T any](name, doc string, add func(*config.Document, *T)) *kind {
	return &kind{name: name, doc: doc, typ: reflect.TypeFor[T](), add: func(d *config.Document, v any) { add(d, v.(*T)) }}
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
		func(*config.Document, *variableBlock) {}).with(named),
	kindOf(kindLocals, "Names for values; every argument is one. Used as `local.NAME`.",
		func(*config.Document, *localsBlock) {}),
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

var kindByName = func() map[string]*kind {
	byName := make(map[string]*kind, len(allKinds))
	for _, k := range allKinds {
		byName[k.name] = k
	}
	return byName
}()

// labelNames are the names of a top-level block's labels, in order.
func (k *kind) labelNames() []string {
	spec, _ := specOf(k.typ)
	var names []string
	for _, f := range spec.labels {
		names = append(names, f.name)
	}
	if k.named {
		names = append(names, "name")
	}
	return names
}

// variableBlock is the body of a variable block.
type variableBlock struct {
	Description string             `hcl:"description,optional" json:"description" doc:"For people."`
	Type        hcl.Expression     `hcl:"type,optional" json:"type" doc:"string, number, bool, list(string), map(string), object({...}) and so on; the default's own type when absent."`
	Default     hcl.Expression     `hcl:"default,optional" json:"default" doc:"The value when none is given. Without it a value must be given."`
	Sensitive   bool               `hcl:"sensitive,optional" json:"sensitive" doc:"true: the value is never shown, and may not end in an argument; credentials belong in secret blocks."`
	Validations []*validationBlock `hcl:"validation,blocks" json:"validation" doc:"A rule that every value must pass."`
}

// validationBlock is one rule for a variable's value.
type validationBlock struct {
	Condition    hcl.Expression `hcl:"condition" json:"condition" doc:"An expression over the variables that is true for a good value."`
	ErrorMessage hcl.Expression `hcl:"error_message" json:"error_message" doc:"What is wrong with a bad value and what to give instead, in a full sentence."`
}

// localsBlock has no table: its arguments are free.
type localsBlock struct{}

// reservedWords are kept free for what the design has and this version has
// not, as blocks and as arguments.
var reservedWords = map[string]string{
	"check":         "Rules over the whole configuration are not in this version.",
	"contact":       "Contacts and escalation are not in this version.",
	"count":         "There is no count; use for_each, which gives every instance a name that stays.",
	"depends_on":    "Dependencies between groups are not in this version.",
	"drill":         "Drills are not in this version.",
	"escalation":    "Contacts and escalation are not in this version.",
	"fence":         "Fencing is not in this version.",
	"import":        "Import is not in this version.",
	"max_data_loss": "Bounds on data loss are not in this version.",
	"module":        "There are no modules in this version; all files of one directory are one configuration.",
	"notification":  "Notifications are not in this version.",
	"objective":     "Objectives are not in this version.",
	"probe":         "Probes are not in this version.",
	"protect":       "Protection of single blocks is not in this version.",
	"service":       "Services are not in this version.",
	"trigger":       "Automatic triggers are not in this version.",
	"vantage":       "Vantage points are not in this version.",
	"waive":         "Waivers are not in this version.",
}

var (
	argumentName = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	namePattern  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*$`)
)

const maxName = 64 // bytes
