package load

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/config/diag"
	"github.com/holdfast-dr/holdfast/config/glob"
	"github.com/holdfast-dr/holdfast/config/language"
	"github.com/holdfast-dr/holdfast/config/load/problem"
)

// decodeObject decodes one instance of a top-level block.
func (l *loader) decodeObject(in *instance) (any, problem.Report) {
	obj := reflect.New(in.kind.Table.Type)
	head := &config.Header{}
	if o, ok := obj.Interface().(config.Object); ok {
		head = o.Head()
	}
	head.Range = problem.Place(in.block.Header())
	d := &decoder{l: l, head: head, scope: l.eval.Scope, typ: in.typ, what: "The " + in.kind.Name + " block", forEach: in.kind.Object}
	switch {
	case in.kind.Object:
		head.Address = in.address()
		d.Address = string(head.Address)
		d.what = in.kind.Name + "." + in.name
	case in.kind.Once:
		head.Address = config.Address(in.kind.Name)
		d.Address = in.kind.Name
	}
	if in.each != nil {
		d.scope = d.scope.ForEach(in.key, in.value)
	}
	d.object(in, obj)
	head.Incomplete = d.Incomplete
	return obj.Interface(), d.Report
}

// object sets the labels and decodes the body.
func (d *decoder) object(in *instance, obj reflect.Value) {
	for i, label := range in.kind.Table.Labels {
		text := in.block.Labels[i]
		fieldOf(obj.Interface(), label).SetString(text)
		d.note(label.Name, in.block.LabelRanges[i])
		if label.Enum != nil && !d.text(label, text, in.block.LabelRanges[i]) {
			return
		}
	}
	targets := []any{obj.Interface()}
	if in.kind.Typed {
		settings, ok := d.l.opts.Types.Settings(in.kind.Name, in.typ)
		if !ok {
			d.unknownType(in)
			return
		}
		if settings != nil {
			obj.Elem().FieldByName("Settings").Set(reflect.ValueOf(settings))
			targets = append(targets, settings)
		}
	}
	d.decode(in.block.Body, in.block.Header(), targets...)
	for _, settings := range targets[1:] {
		d.check(settings, "")
		d.doubt(settings)
	}
	switch v := obj.Interface().(type) {
	case *config.Mirror:
		d.mirror(v)
	case *config.Moved:
		v.Range = problem.Place(in.block.Header())
	case *config.Removed:
		v.Range = problem.Place(in.block.Header())
	}
}

// unknownType reports a type label that no provider has.
func (d *decoder) unknownType(in *instance) {
	names := d.l.opts.Types.Names(in.kind.Name)
	what := strings.ReplaceAll(in.kind.Name, "_", " ")
	others := fmt.Sprintf(" There are: %s.", strings.Join(names, ", "))
	if len(names) == 0 {
		others = " There are none in this version."
	}
	d.Add(problem.UnknownType, in.block.LabelRanges[0], "There is no %s type %s.%s", what, diag.Quote(in.typ), diag.Suggest("", in.typ, names, others))
}

// mirror checks that both sides can be connected.
func (d *decoder) mirror(m *config.Mirror) {
	if d.Incomplete || !strings.Contains(m.Source, "://") || !strings.Contains(m.Target, "://") {
		return
	}
	if err := d.l.opts.Types.Endpoint(m.Source, m.Target); err != nil {
		d.AddAt(problem.NoMirror, d.head.At("target"), "%s.", diag.Sentence(err.Error()))
	}
	_, root, _ := strings.Cut(m.Source, "://")
	for _, doubt := range glob.Doubts(m.Exclude, root) {
		d.Doubt(problem.IdlePattern, d.head.At(fmt.Sprintf("exclude[%d]", doubt.Index)), "The pattern "+doubt.Why+".")
	}
}

// fieldOf gives the field of a struct that ptr points to.
func fieldOf(ptr any, f *language.Field) reflect.Value {
	return reflect.ValueOf(ptr).Elem().FieldByIndex(f.Index)
}
