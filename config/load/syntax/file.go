// Package syntax is what the files look like: native or JSON, safe to parse, and
// taken apart into arguments and blocks that mean nothing yet.
package syntax

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/json"

	"github.com/holdfast-dr/holdfast/config/diag"
	"github.com/holdfast-dr/holdfast/config/language"
	"github.com/holdfast-dr/holdfast/config/load/problem"
	"github.com/holdfast-dr/holdfast/config/load/spelling"
)

const maxFiles = 10_000

// File is one file on its way to being parsed.
type File struct {
	Name   string
	Text   []byte
	Body   hcl.Body // nil when the file cannot be used at all
	Report problem.Report
}

// Read reads every configuration file in the root of fsys, in order of name.
func Read(fsys fs.FS, rep *problem.Report) []*File {
	entries, err := fs.ReadDir(fsys, ".")
	if errors.Is(err, fs.ErrNotExist) {
		rep.Add(problem.BadFile, hcl.Range{}, "The configuration directory does not exist.")
		return nil
	}
	if err != nil {
		rep.Add(problem.BadFile, hcl.Range{}, "The configuration directory cannot be read: %v.", err)
		return nil
	}
	var names, others []string
	for _, e := range entries {
		switch name := e.Name(); {
		case isConfiguration(name) && e.IsDir():
			rep.Add(problem.BadFile, hcl.Range{Filename: name}, "%s is a directory, but its name is that of a configuration file. Rename it.", diag.Quote(name))
		case isConfiguration(name):
			names = append(names, name)
		case looksLikeConfiguration(name):
			others = append(others, name)
		}
	}
	switch {
	case len(names) == 0 && len(others) > 0:
		rep.Add(problem.NoFiles, hcl.Range{}, "There is no file here whose name ends in %s or %s. There is %s: rename it, for example to %s.",
			language.NativeEnding, language.JSONEnding, diag.Quote(others[0]), diag.Quote(strings.SplitN(others[0], ".", 2)[0]+language.NativeEnding))
	case len(names) == 0 && !rep.Incomplete:
		rep.Add(problem.NoFiles, hcl.Range{}, "There is no file here whose name ends in %s or %s. Is this the right directory? Subdirectories are configurations of their own.",
			language.NativeEnding, language.JSONEnding)
	case len(names) > maxFiles:
		rep.Add(problem.BadFile, hcl.Range{}, "There are %d configuration files here; at most %d are read.", len(names), maxFiles)
		return nil
	}
	slices.Sort(names)
	var files []*File
	for _, name := range names {
		f := &File{Name: name}
		f.Text, err = readLimited(fsys, name)
		if err != nil {
			f.Report.Add(problem.BadFile, startOf(name), "The file cannot be read: %v.", unwrapPath(err))
		}
		files = append(files, f)
	}
	return files
}

func isConfiguration(name string) bool {
	return !strings.HasPrefix(name, ".") && (strings.HasSuffix(name, language.NativeEnding) || strings.HasSuffix(name, language.JSONEnding))
}

func looksLikeConfiguration(name string) bool {
	return !strings.HasSuffix(name, language.VarsEnding) && !strings.HasPrefix(name, ".") &&
		(strings.HasSuffix(name, ".hcl") || strings.HasSuffix(name, ".hold") || strings.HasSuffix(name, ".tf") || strings.Contains(name, ".hold."))
}

func readLimited(fsys fs.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFileSize+1))
}

// startOf is the place of a file as a whole.
func startOf(name string) hcl.Range {
	return hcl.Range{Filename: name, Start: hcl.InitialPos, End: hcl.InitialPos}
}

func unwrapPath(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// ParseAll parses the files that could be read, several at a time; or none, if they are
// together more than a parser should have.
func ParseAll(files []*File) {
	all := 0
	for _, f := range files {
		if all += tokens(f.Text); all > maxTokens {
			f.Report.Add(problem.BadFile, startOf(f.Name), "%s", tooMany)
			return
		}
	}
	var wg sync.WaitGroup
	limit := make(chan struct{}, runtime.GOMAXPROCS(0))
	for _, f := range files {
		if f.Report.Incomplete {
			continue
		}
		limit <- struct{}{}
		wg.Go(func() {
			defer func() { <-limit }()
			f.Parse()
		})
	}
	wg.Wait()
}

// Parse checks that the text is safe to parse and parses it.
func (f *File) Parse() {
	start := startOf(f.Name)
	defer f.recovered(start)
	isJSON := strings.HasSuffix(f.Name, language.JSONEnding)
	if rng, why := unsafeText(f.Text, f.Name, isJSON); why != "" {
		f.Report.Add(problem.BadFile, rng, "%s", why)
		return
	}
	var file *hcl.File
	var diags hcl.Diagnostics
	if isJSON {
		file, diags = json.Parse(f.Text, f.Name)
	} else {
		file, diags = hclsyntax.ParseConfig(f.Text, f.Name, hcl.InitialPos)
	}
	for _, d := range diags {
		if isJSON && bytes.Contains(f.Text, []byte("sensitive")) {
			d.Detail = "The text is not shown, because the file has a sensitive variable." // details quote it
		}
		f.Report.AddSyntax(d, start)
		if d.Summary == "Invalid multi-line string" {
			break // what follows is not what was meant
		}
	}
	if file != nil {
		f.Body = file.Body
		if native, ok := f.Body.(*hclsyntax.Body); ok {
			Bound(native)
		}
	}
}

// recovered turns a panic of the HCL library into a problem: a configuration
// file is input, and input must not end the program.
func (f *File) recovered(rng hcl.Range) {
	if p := recover(); p != nil {
		f.Body = nil
		f.Report.Add(problem.Defect, rng, "The file could not be parsed because of an error in holdfast. Please report it with the file, without what is secret in it.")
	}
}

// ParseExpression reads an expression that comes from outside the files, such
// as a flag. False: it is none.
func ParseExpression(text, name string) (hcl.Expression, bool) {
	if _, why := unsafeText([]byte(text), name, false); why != "" {
		return nil, false
	}
	kept, ok := spelling.KeepNative(text)
	if !ok {
		return nil, false
	}
	expr, diags := hclsyntax.ParseExpression([]byte(kept), name, hcl.InitialPos)
	if diags.HasErrors() {
		return nil, false
	}
	Bound(expr)
	return expr, true
}
