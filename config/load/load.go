// Package load reads configuration files into the declared model. It is the
// only place that knows HCL. Everything wrong is collected: a run that finds
// one mistake goes on to find the others, and no text can make it panic.
package load

import (
	"errors"
	"io/fs"
	"runtime"
	"slices"
	"sync"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/config/diag"
)

// Types is what the loader has to know of the providers. Kind is "device",
// "store" or "failover_target".
type Types interface {
	// Names lists the known types of a kind.
	Names(kind string) []string
	// Settings gives a pointer to a fresh settings struct; false: no such type.
	Settings(kind, typ string) (any, bool)
	// Member gives a pointer to a fresh struct for the settings of one member of
	// a failover target; false: members of this type have no settings.
	Member(typ string) (any, bool)
	// Endpoint is nil when a mirror can be made from source to target, both URLs.
	Endpoint(source, target string) error
}

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
	Types    Types
	Environ  map[string]string // environment variables by name; those that start with HOLDFAST_VAR_ give values to variables
	VarFiles []File            // *.holdvars.hcl files; later ones win, and all win over Environ
	Vars     map[string]string // --var; win over everything
	Version  string            // of this binary; settings.required_version is checked against it
}

// loader is one run.
type loader struct {
	opts        Options
	doc         *config.Document
	diags       diag.List
	names       names
	scope       scope
	declared    map[string]*declaration // by "kind.name"
	byKindNames map[string][]string
	partial     bool            // a file could not be read, so a name that seems missing may be declared in it
	lost        map[string]bool // labels of blocks that were left out
	checked     checked
	hidden      []hcl.Range // credentials found in the files
}

// Load reads every *.hold.hcl and *.hold.json file in the root of fsys as one
// configuration and checks it. The document is never nil; when the list has
// errors, only its Sources are good for anything.
func Load(fsys fs.FS, opts Options) (*config.Document, diag.List) {
	l := &loader{
		opts:        opts,
		doc:         &config.Document{Sources: map[string][]byte{}},
		names:       names{vars: map[string]bool{}, locals: map[string]bool{}, failed: map[string]bool{}},
		declared:    map[string]*declaration{},
		byKindNames: map[string][]string{},
		lost:        map[string]bool{},
		checked:     checked{results: map[[2]string]error{}},
	}
	if opts.Types == nil {
		l.opts.Types = noTypes{}
	}
	l.run(fsys)
	l.mask()
	l.diags.Sort()
	return l.doc, slices.CompactFunc(l.diags, sameMistake)
}

// sameMistake is true for what several instances of one block have in common.
func sameMistake(a, b diag.Diagnostic) bool {
	return !a.Range.IsZero() && a.Code == b.Code && a.Range == b.Range && a.Detail == b.Detail
}

func (l *loader) run(fsys fs.FS) {
	var rep report
	files := readFiles(fsys, &rep)
	l.take(&rep)
	l.partial = rep.incomplete
	for _, f := range files {
		l.doc.Sources[f.name] = f.text
	}
	parseAll(files)
	for _, f := range files {
		l.partial = l.partial || f.rep.incomplete
		l.take(&f.rep)
	}
	blocks := l.topLevel(files)
	vars := l.variables(blocks[kindVariable])
	l.scope.ctx = &hcl.EvalContext{Functions: functions, Variables: map[string]cty.Value{"var": vars, "local": l.locals(blocks[kindLocals], vars)}}
	if !l.decodeAll(l.instances(blocks)) {
		return
	}
	l.zones()
	if !l.partial && len(l.lost) == 0 {
		l.diags = append(l.diags, config.Check(l.doc)...)
	}
}

// take adds what a report has found.
func (l *loader) take(rep *report) {
	l.diags = append(l.diags, rep.list...)
	l.hidden = append(l.hidden, rep.hidden...)
}

// mask overwrites credentials in the sources, which go into messages.
func (l *loader) mask() {
	for _, rng := range l.hidden {
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
	for _, k := range allKinds {
		if k.name == kindVariable || k.name == kindLocals {
			continue
		}
		for _, decl := range blocks[k.name] {
			if !k.object {
				if !decl.broken {
					all = append(all, &instance{declaration: decl})
				}
				continue
			}
			l.byKindNames[k.name] = append(l.byKindNames[k.name], decl.name)
			if !decl.broken {
				all = append(all, l.expand(decl)...)
			}
			l.partial = l.partial || decl.bad
		}
		slices.Sort(l.byKindNames[k.name])
	}
	if len(all) > maxObjects {
		var rep report
		rep.add(tooMany, all[maxObjects].block.header(), "The configuration has %d objects; at most %d are allowed.", len(all), maxObjects)
		l.take(&rep)
		return all[:maxObjects]
	}
	return all
}

// decodeAll decodes the instances, several at a time, and puts them into the
// document in order. It is false when the configuration is not for this
// version of holdfast; then that is the only problem worth telling.
func (l *loader) decodeAll(all []*instance) bool {
	objects := make([]any, len(all))
	reports := make([]report, len(all))
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
						all[i].block.body = nil // the syntax tree is several times as large as what comes out of it
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
			l.diags = wrong
			return false
		}
		all[i].kind.add(l.doc, obj)
		l.take(&reports[i])
	}
	return true
}

// defaults fills in the settings that hold without a settings block.
func (l *loader) defaults() {
	spec, _ := specOf(kindByName[kindSettings].typ)
	for _, f := range spec.args {
		f.setPreset(fieldOf(&l.doc.Settings, f))
	}
}

func (l *loader) versionProblem(obj any) diag.List {
	s, ok := obj.(*config.Settings)
	if !ok || satisfies(s.RequiredVersion, l.opts.Version) {
		return nil
	}
	rep := report{address: kindSettings}
	rep.addAt(wrongVersion, s.At("required_version"), "The configuration requires holdfast %s, but this is %s. Install a version that fits; other problems are not looked for.", diag.Quote(s.RequiredVersion), l.opts.Version)
	return rep.list
}
