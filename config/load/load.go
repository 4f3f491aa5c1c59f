// Package load reads configuration files into the declared model. Only it and the
// packages below it know HCL. Everything wrong is collected: a run that finds one
// mistake goes on to find the others, and no text can make it panic.
package load

import (
	"errors"
	"io/fs"
	"maps"
	"reflect"
	"runtime"
	"slices"
	"sync"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/config/diag"
	"github.com/holdfast-dr/holdfast/config/language"
	"github.com/holdfast-dr/holdfast/config/load/problem"
	"github.com/holdfast-dr/holdfast/config/load/syntax"
	"github.com/holdfast-dr/holdfast/config/load/value"
)

// noTypes stands for a program without providers.
type noTypes struct{}

func (noTypes) Names(string) []string               { return nil }
func (noTypes) Settings(string, string) (any, bool) { return nil, false }
func (noTypes) Member(string) (any, bool)           { return nil, false }
func (noTypes) Endpoint(string, string) error {
	return errors.New("there are no mirrors in this program")
}

// File is a file that was read already.
type File struct {
	Name string
	Data []byte
}

// Options say what surrounds a configuration.
type Options struct {
	Types    language.Types
	Environ  map[string]string // environment variables by name; those that start with HOLDFAST_VAR_ give values to variables
	VarFiles []File            // *.holdvars.hcl files; later ones win, and all win over Environ
	Vars     map[string]string // --var; win over everything
	Version  string            // of this binary; settings.required_version is checked against it
}

// loader is one run.
type loader struct {
	opts     Options
	doc      *config.Document
	found    problem.Report
	gaps     problem.Gaps
	sources  syntax.Sources // those of doc
	eval     *value.Evaluator
	declared map[string]*declaration // by "kind.name"
	names    map[string][]string     // of objects, by kind, in order
	checked  checked
	tables   tables
}

// Load reads every *.hold.hcl and *.hold.json file in the root of fsys as one
// configuration and checks it. The document is never nil; when the list has
// errors, only its Sources are good for anything.
func Load(fsys fs.FS, opts Options) (*config.Document, diag.List) {
	l := newLoader(opts)
	list := l.load(fsys)
	return l.doc, list
}

func newLoader(opts Options) *loader {
	l := &loader{
		opts:     opts,
		doc:      &config.Document{Sources: map[string][]byte{}},
		declared: map[string]*declaration{},
		names:    map[string][]string{},
		checked:  checked{results: map[[2]string]error{}},
	}
	l.sources = l.doc.Sources
	l.eval = value.New(l.sources, &l.gaps)
	if opts.Types == nil {
		l.opts.Types = noTypes{}
	}
	return l
}

func (l *loader) load(fsys fs.FS) diag.List {
	l.run(fsys)
	l.mask()
	l.found.List.Sort()
	return slices.CompactFunc(l.found.List, sameMistake)
}

// sameMistake is true for what several instances of one block have in common.
func sameMistake(a, b diag.Diagnostic) bool {
	return !a.Range.IsZero() && a.Code == b.Code && a.Range == b.Range && a.Detail == b.Detail
}

func (l *loader) run(fsys fs.FS) {
	var rep problem.Report
	files := syntax.Read(fsys, &rep)
	l.found.Take(&rep)
	l.gaps.Partial = rep.Incomplete
	for _, f := range files {
		l.doc.Sources[f.Name] = f.Text
	}
	syntax.ParseAll(files)
	for _, f := range files {
		l.gaps.Partial = l.gaps.Partial || f.Report.Incomplete
		l.found.Take(&f.Report)
	}
	blocks := l.topLevel(files)
	l.values(blocks)
	if !l.decodeAll(l.instances(blocks)) {
		return
	}
	l.zones()
	l.stops()
	if l.gaps.None() {
		l.found.List = append(l.found.List, config.Check(l.doc)...)
	}
}

// values gives the variables and locals their values.
func (l *loader) values(blocks map[string][]*declaration) {
	in := value.Inputs{Environ: l.opts.Environ, Flags: l.opts.Vars}
	for _, f := range l.opts.VarFiles {
		in.Files = append(in.Files, &syntax.File{Name: f.Name, Text: f.Data})
	}
	var vars []*value.Variable
	for _, b := range blocks[language.KindVariable] {
		vars = append(vars, l.variable(b))
	}
	var locals []value.LocalsBlock
	for _, b := range blocks[language.KindLocals] {
		locals = append(locals, value.LocalsBlock{Block: b.block, Broken: b.broken})
	}
	l.eval.Variables(vars, in)
	l.eval.Locals(locals)
	l.found.Take(&l.eval.Report)
}

// variable decodes the block of a variable.
func (l *loader) variable(b *declaration) *value.Variable {
	v := &value.Variable{Name: b.name, Range: b.block.Header(), Failed: b.broken}
	if !b.broken {
		d := &decoder{l: l, scope: l.eval.Constant, head: &config.Header{}, what: "The variable " + v.Name}
		d.decode(b.block.Body, v.Range, &v.Block)
		v.Failed = d.Incomplete
		l.found.Take(&d.Report)
	}
	return v
}

// mask overwrites credentials in the sources, which go into messages.
func (l *loader) mask() {
	for name, text := range l.doc.Sources {
		l.doc.Sources[name] = Shown(name, text)
	}
	for _, f := range l.opts.VarFiles {
		delete(l.doc.Sources, f.Name)
	}
	maps.DeleteFunc(l.doc.Sources, func(_ string, text []byte) bool { return text == nil })
	for _, rng := range l.found.Hidden {
		src := slices.Clone(l.doc.Sources[rng.Filename])
		for i := rng.Start.Byte; i < min(rng.End.Byte, len(src)); i++ {
			if src[i] != '\n' && src[i] != '\r' {
				src[i] = '*'
			}
		}
		l.doc.Sources[rng.Filename] = src
	}
}

// instances lists the objects to decode, kind by kind, and notes all names,
// so that decoding can check references.
func (l *loader) instances(blocks map[string][]*declaration) []*instance {
	var all []*instance
	for _, k := range language.Kinds {
		if k.Name == language.KindVariable || k.Name == language.KindLocals {
			continue
		}
		for _, decl := range blocks[k.Name] {
			if !k.Object {
				if !decl.broken {
					all = append(all, &instance{declaration: decl})
				}
				continue
			}
			l.names[k.Name] = append(l.names[k.Name], decl.name)
			if !decl.broken {
				all = append(all, l.expand(decl)...)
			}
			l.gaps.Partial = l.gaps.Partial || decl.bad
		}
		slices.Sort(l.names[k.Name])
	}
	if len(all) > maxObjects {
		var rep problem.Report
		rep.Add(problem.TooMany, all[maxObjects].block.Header(), "The configuration has %d objects; at most %d are allowed.", len(all), maxObjects)
		l.found.Take(&rep)
		return all[:maxObjects]
	}
	return all
}

// decodeAll decodes the instances, several at a time, and puts them into the
// document in order. It is false when the configuration is not for this
// version of holdfast; then that is the only problem worth telling.
func (l *loader) decodeAll(all []*instance) bool {
	objects := make([]any, len(all))
	reports := make([]problem.Report, len(all))
	workers := runtime.GOMAXPROCS(0)
	const chunk = 64
	var wg sync.WaitGroup
	next := make(chan int)
	for range workers {
		wg.Go(func() {
			for start := range next {
				for i := start; i < min(start+chunk, len(all)); i++ {
					objects[i], reports[i] = l.decodeObject(all[i])
					if all[i].each == nil {
						all[i].block.Body = nil // the syntax tree is several times as large as what comes out of it
					}
				}
			}
		})
	}
	for start := 0; start < len(all); start += chunk {
		next <- start
	}
	close(next)
	wg.Wait()

	l.defaults()
	for i, obj := range objects {
		if wrong := l.versionProblem(obj); wrong != nil {
			l.found.List = wrong
			return false
		}
		all[i].kind.Add(l.doc, obj)
		l.found.Take(&reports[i])
	}
	return true
}

// defaults fills in the settings that hold without a settings block.
func (l *loader) defaults() {
	for _, f := range language.KindByName(language.KindSettings).Table.Args {
		f.SetPreset(fieldOf(&l.doc.Settings, f))
	}
}

func (l *loader) versionProblem(obj any) diag.List {
	s, ok := obj.(*config.Settings)
	if !ok || language.Satisfies(s.RequiredVersion, l.opts.Version) {
		return nil
	}
	rep := problem.Report{Address: language.KindSettings}
	rep.AddAt(problem.WrongVersion, s.At("required_version"), "The configuration requires holdfast %s, but this is %s. Install a version that fits; other problems are not looked for.", diag.Quote(s.RequiredVersion), l.opts.Version)
	return rep.List
}

// checked remembers what was checked before: thousands of objects share a few
// zones and schedules.
type checked struct {
	mu      sync.Mutex
	results map[[2]string]error
}

func (c *checked) meaning(meaning, s string) error {
	if meaning == "" {
		return nil
	}
	key := [2]string{meaning, s}
	c.mu.Lock()
	defer c.mu.Unlock()
	err, known := c.results[key]
	if !known {
		err = language.CheckMeaning(meaning, s)
		c.results[key] = err
	}
	return err
}

// tables remembers the tables of structs.
type tables struct{ byType sync.Map } // reflect.Type -> tableResult

type tableResult struct {
	table *language.Table
	err   error
}

func (t *tables) of(typ reflect.Type) (*language.Table, error) {
	r, known := t.byType.Load(typ)
	if !known {
		body, err := language.TableOf(typ)
		r, _ = t.byType.LoadOrStore(typ, tableResult{body, err})
	}
	return r.(tableResult).table, r.(tableResult).err
}
