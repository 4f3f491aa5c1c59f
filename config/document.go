// Package config is the declared model: what a commit says must survive what.
// One typed struct per block kind. It does no I/O; config/load fills it from HCL.
//
// Struct tags are the one table behind the decoder, the JSON schema and the
// language reference:
//
//	hcl:"name[,optional|block|blocks|label]"  argument or nested block; required unless optional
//	json:"name"                               the same name; the recorded specification uses it
//	doc:"..."                                 one sentence for the reference
//	default:"..."                             applied when the argument is absent, as it would be written
//	enum:"a|b"                                the allowed words
//	ref:"store"                               a reference to an object of this kind (or kinds, by |)
//	min:"1" max:"9"                           bounds of a number, duration or size, both allowed
//	kind:"cron|clock|date|time|timezone|pattern|endpoint|address|version"  the meaning of a string, checked at load
//
// Durations and sizes are recognised by their Go types (config/unit).
package config

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/holdfast-dr/holdfast/config/diag"
)

// Object is one declared block that holdfast records when it is applied.
type Object interface {
	Head() *Header
}

// Header is what every object has.
type Header struct {
	Address Address               `json:"-"`
	Range   diag.Range            `json:"-"` // the block's header
	Ranges  map[string]diag.Range `json:"-"` // value ranges by path: "store", "activity[0].devices[1]"; a nested block's path gives its header

	// Incomplete says that the block had errors, so that parts of it may be
	// missing here. Check does not judge what is missing.
	Incomplete bool `json:"-"`
}

// Head gives the header itself, so that embedding it makes an Object.
func (h *Header) Head() *Header { return h }

// At gives the range of an argument's value. When the argument was not
// written, it is that of the nearest thing around it: the list, the nested
// block, the block.
func (h *Header) At(path string) diag.Range {
	for path != "" {
		if r, ok := h.Ranges[path]; ok {
			return r
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
	return h.Range
}

// Document is one whole configuration: every file of one directory of one commit.
type Document struct {
	Settings Settings
	State    *StateBackend // nil: the default, SQLite in holdfast.db
	Secrets  []*Secret

	Sites           []*Site
	Devices         []*Device
	Stores          []*Store
	Windows         []*MaintenanceWindow
	Freezes         []*Freeze
	BackupPlans     []*BackupPlan
	Retentions      []*Retention
	Mirrors         []*Mirror
	FailoverTargets []*FailoverTarget
	Failovers       []*Failover

	Moved   []Moved
	Removed []Removed

	// Sources is the text of every file read, by name, for snippets.
	Sources map[string][]byte

	index     map[Address]Object
	specified []Specified
}

// Objects lists every recordable object, ordered by address. Secrets are not
// objects: only references to them are recorded.
func (d *Document) Objects() []Object {
	var all []Object
	add(&all, d.Sites)
	add(&all, d.Devices)
	add(&all, d.Stores)
	add(&all, d.Windows)
	add(&all, d.Freezes)
	add(&all, d.BackupPlans)
	add(&all, d.Retentions)
	add(&all, d.Mirrors)
	add(&all, d.FailoverTargets)
	add(&all, d.Failovers)
	slices.SortFunc(all, func(a, b Object) int {
		return strings.Compare(string(a.Head().Address), string(b.Head().Address))
	})
	return all
}

func add[T Object](all *[]Object, objects []T) {
	for _, o := range objects {
		*all = append(*all, o)
	}
}

// Lookup finds an object by address. T is the pointer type of its kind:
// Lookup[*Store](doc, "store.nas"). The first call builds an index; do not
// add objects after it.
func Lookup[T Object](d *Document, a Address) (T, bool) {
	if d.index == nil {
		d.index = make(map[Address]Object)
		for _, o := range d.Objects() {
			d.index[o.Head().Address] = o
		}
	}
	o, ok := d.index[a].(T)
	return o, ok
}

// Spec is the recorded form of an object: its arguments, with defaults filled
// in and provider settings beside them, as canonical JSON (sorted keys). It
// contains references to secrets, never their values.
func Spec(o Object) json.RawMessage {
	fields := map[string]json.RawMessage{}
	merge(fields, o)
	if p, ok := o.(interface{ providerSettings() any }); ok && p.providerSettings() != nil {
		merge(fields, p.providerSettings())
	}
	return must(json.Marshal(fields))
}

// Specified is an object with its specification.
type Specified struct {
	Address Address
	Object  Object
	Spec    json.RawMessage
	Digest  string // of Spec
}

// Specified lists every recordable object with its specification, ordered by
// address. The first call works them out; do not change objects after it.
func (d *Document) Specified() []Specified {
	if d.specified == nil {
		objects := d.Objects()
		d.specified = make([]Specified, len(objects))
		for i, o := range objects {
			spec := Spec(o)
			d.specified[i] = Specified{Address: o.Head().Address, Object: o, Spec: spec, Digest: Digest(spec)}
		}
	}
	return d.specified
}

// Digest is the SHA-256 of a specification, "sha256:" and 64 hex digits.
func Digest(spec []byte) string {
	sum := sha256.Sum256(spec)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func merge(into map[string]json.RawMessage, v any) {
	if err := json.Unmarshal(must(json.Marshal(v)), &into); err != nil {
		panic(fmt.Sprintf("config: specification of %T is no JSON object: %v", v, err))
	}
}

// must is for encoding our own structs, which cannot fail unless one was
// declared with a type JSON does not know.
func must(b []byte, err error) []byte {
	if err != nil {
		panic("config: " + err.Error())
	}
	return b
}
