package load

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"runtime"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/json"

	"github.com/holdfast-dr/holdfast/config/diag"
)

const (
	nativeEnding = ".hold.hcl"
	jsonEnding   = ".hold.json"
	varsEnding   = ".holdvars.hcl"

	maxFiles    = 10_000
	maxFileSize = 1 << 20
	maxDepth    = 100    // brackets inside brackets
	maxOperands = 1_000  // operators in one expression
	maxString   = 16_384 // bytes of one string
)

// source is one file on its way to being parsed.
type source struct {
	name string
	text []byte
	body hcl.Body // nil when the file cannot be used at all
	rep  report
}

// readFiles reads every configuration file in the root of fsys, in order of name.
func readFiles(fsys fs.FS, rep *report) []*source {
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		rep.add(badFile, hcl.Range{}, "The configuration directory cannot be read: %v.", err)
		return nil
	}
	var names, others []string
	for _, e := range entries {
		switch name := e.Name(); {
		case isConfiguration(name) && e.IsDir():
			rep.add(badFile, hcl.Range{Filename: name}, "%s is a directory, but its name is that of a configuration file. Rename it.", diag.Quote(name))
		case isConfiguration(name):
			names = append(names, name)
		case looksLikeConfiguration(name):
			others = append(others, name)
		}
	}
	switch {
	case len(names) == 0 && len(others) > 0:
		rep.add(noFiles, hcl.Range{}, "There is no file here whose name ends in %s or %s. There is %s: rename it, for example to %s.",
			nativeEnding, jsonEnding, diag.Quote(others[0]), diag.Quote(strings.SplitN(others[0], ".", 2)[0]+nativeEnding))
	case len(names) == 0 && !rep.incomplete:
		rep.add(noFiles, hcl.Range{}, "There is no file here whose name ends in %s or %s. Is this the right directory? Subdirectories are configurations of their own.",
			nativeEnding, jsonEnding)
	case len(names) > maxFiles:
		rep.add(badFile, hcl.Range{}, "There are %d configuration files here; at most %d are read.", len(names), maxFiles)
		return nil
	}
	slices.Sort(names)
	var files []*source
	for _, name := range names {
		f := &source{name: name}
		f.text, err = readLimited(fsys, name)
		if err != nil {
			f.rep.add(badFile, startOf(name), "The file cannot be read: %v.", unwrapPath(err))
		}
		files = append(files, f)
	}
	return files
}

func isConfiguration(name string) bool {
	return !strings.HasPrefix(name, ".") && (strings.HasSuffix(name, nativeEnding) || strings.HasSuffix(name, jsonEnding))
}

func looksLikeConfiguration(name string) bool {
	return !strings.HasSuffix(name, varsEnding) && !strings.HasPrefix(name, ".") &&
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

// parseAll parses the files, several at a time.
func parseAll(files []*source) {
	var wg sync.WaitGroup
	limit := make(chan struct{}, runtime.GOMAXPROCS(0))
	for _, f := range files {
		if f.rep.incomplete {
			continue
		}
		limit <- struct{}{}
		wg.Go(func() {
			defer func() { <-limit }()
			f.parse()
		})
	}
	wg.Wait()
}

// parse checks that the text is safe to parse and parses it.
func (f *source) parse() {
	start := startOf(f.name)
	defer f.recovered(start)
	isJSON := strings.HasSuffix(f.name, jsonEnding)
	if rng, problem := unsafeText(f.text, f.name, isJSON); problem != "" {
		f.rep.add(badFile, rng, "%s", problem)
		return
	}
	var file *hcl.File
	var diags hcl.Diagnostics
	if isJSON {
		file, diags = json.Parse(f.text, f.name)
	} else {
		file, diags = hclsyntax.ParseConfig(f.text, f.name, hcl.InitialPos)
	}
	for _, d := range diags {
		f.rep.addSyntax(d, start)
		if d.Summary == "Invalid multi-line string" {
			break // what follows is not what was meant
		}
	}
	if file != nil {
		f.body = file.Body
	}
}

// recovered turns a panic of the HCL library into a problem: a configuration
// file is input, and input must not end the program.
func (f *source) recovered(rng hcl.Range) {
	if p := recover(); p != nil {
		f.body = nil
		f.rep.add(brokenType, rng, "The file could not be parsed because of an error in holdfast (%v). Please report it with the file.", p)
	}
}

// addSyntax takes over a problem found by the parser.
func (r *report) addSyntax(d *hcl.Diagnostic, fallback hcl.Range) {
	rng := fallback
	if d.Subject != nil {
		rng = *d.Subject
	}
	plain, ok := plainSyntax[d.Summary]
	if !ok {
		plain, ok = plainSyntax[d.Detail]
	}
	if ok {
		r.add(badSyntax, rng, "%s", plain)
		return
	}
	r.add(badSyntax, rng, "%s: %s", strings.TrimSuffix(d.Summary, "."), d.Detail)
}

// plainSyntax says in plain words what the parser says about the commonest slips.
var plainSyntax = map[string]string{
	"Invalid multi-line string":                                                   "A quote \" is missing: text in quotes ends on the line it starts on. Text of several lines is written between <<EOT and EOT.",
	"Invalid single-argument block definition":                                    "A block on one line holds one argument only. Write each argument on a line of its own.",
	"Expected the start of an expression, but found an invalid expression token.": "A value is expected here.",
	"Argument definition required":                                                "A block on one line holds one argument only, and no other block. Write each on a line of its own.",
}

// unsafeText refuses text the parser should never see. The parser and the
// evaluator are recursive, so depth is bounded before they run.
func unsafeText(text []byte, name string, isJSON bool) (hcl.Range, string) {
	start := startOf(name)
	if len(text) > maxFileSize {
		return start, fmt.Sprintf("The file is larger than %d KiB. Split it: all files of the directory are one configuration.", maxFileSize>>10)
	}
	if bytes.HasPrefix(text, []byte{0xff, 0xfe}) || bytes.HasPrefix(text, []byte{0xfe, 0xff}) {
		return start, "The file is in UTF-16. Save it as UTF-8."
	}
	if i := bytes.IndexByte(text, 0); i >= 0 {
		return rangeAt(text, name, i), "The file has a NUL byte here, so it is not a text file."
	}
	if i := invalidUTF8(text); i >= 0 {
		return rangeAt(text, name, i), "The file is not valid UTF-8 from here on. Save it as UTF-8."
	}
	if isJSON {
		return deepJSON(text, name)
	}
	return deepNative(text, name)
}

func invalidUTF8(text []byte) int {
	if utf8.Valid(text) {
		return -1
	}
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && n <= 1 {
			return i
		}
		i += n
	}
	return -1
}

// rangeAt is the place of one byte of a file.
func rangeAt(text []byte, name string, i int) hcl.Range {
	line := 1 + bytes.Count(text[:i], []byte{'\n'})
	column := 1 + utf8.RuneCount(text[bytes.LastIndexByte(text[:i], '\n')+1:i])
	pos := hcl.Pos{Line: line, Column: column, Byte: i}
	end := hcl.Pos{Line: line, Column: column + 1, Byte: i + 1}
	return hcl.Range{Filename: name, Start: pos, End: end}
}

const tooDeep = "Brackets are nested more than 100 deep here."

// deepJSON bounds depth and string length.
func deepJSON(text []byte, name string) (hcl.Range, string) {
	depth, stringStart := 0, -1
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case stringStart >= 0 && c == '\\':
			i++
		case stringStart >= 0 && c == '"':
			if i-stringStart > maxString {
				return rangeAt(text, name, stringStart), tooLong
			}
			stringStart = -1
		case stringStart >= 0:
		case c == '"':
			stringStart = i
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return rangeAt(text, name, i), tooDeep
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return hcl.Range{}, ""
}

var tooLong = fmt.Sprintf("This string is longer than %d bytes.", maxString)

// suspicious is how many bytes that can nest expressions a file may have
// before it is worth a second scan. Fewer cannot exhaust the stack.
const suspicious = 30_000

// deepNative bounds the depth of brackets and templates and the number of
// operators in one expression.
func deepNative(text []byte, name string) (hcl.Range, string) {
	if nesting, depth := countNesting(text); nesting < suspicious && depth <= maxDepth {
		return hcl.Range{}, ""
	}
	tokens, _ := hclsyntax.LexConfig(text, name, hcl.InitialPos)
	operators := []int{0}
	inBody := []bool{true} // newlines end an expression
	for _, t := range tokens {
		top := len(operators) - 1
		switch t.Type {
		case hclsyntax.TokenOBrace, hclsyntax.TokenOBrack, hclsyntax.TokenOParen, hclsyntax.TokenTemplateInterp, hclsyntax.TokenTemplateControl:
			if len(operators) > maxDepth {
				return t.Range, tooDeep
			}
			operators = append(operators, 0)
			inBody = append(inBody, t.Type == hclsyntax.TokenOBrace)
			operators[top]++
		case hclsyntax.TokenCBrace, hclsyntax.TokenCBrack, hclsyntax.TokenCParen, hclsyntax.TokenTemplateSeqEnd:
			if top > 0 {
				operators, inBody = operators[:top], inBody[:top]
			}
		case hclsyntax.TokenComma:
			operators[top] = 0
		case hclsyntax.TokenNewline:
			if inBody[top] {
				operators[top] = 0
			}
		case hclsyntax.TokenStar, hclsyntax.TokenSlash, hclsyntax.TokenPlus, hclsyntax.TokenMinus, hclsyntax.TokenPercent, hclsyntax.TokenBang,
			hclsyntax.TokenAnd, hclsyntax.TokenOr, hclsyntax.TokenQuestion, hclsyntax.TokenEqualOp, hclsyntax.TokenNotEqual,
			hclsyntax.TokenLessThan, hclsyntax.TokenLessThanEq, hclsyntax.TokenGreaterThan, hclsyntax.TokenGreaterThanEq:
			operators[top]++
		}
		if operators[len(operators)-1] > maxOperands {
			return t.Range, fmt.Sprintf("This expression has more than %d operators.", maxOperands)
		}
	}
	return hcl.Range{}, ""
}

// countNesting counts the bytes that can nest expressions, and how deep
// brackets go, without looking at strings and comments.
func countNesting(text []byte) (n, deepest int) {
	depth := 0
	last := byte(0)
	for _, c := range text {
		switch c {
		case '(', '[', '{':
			n++
			depth++
			deepest = max(deepest, depth)
		case ')', ']', '}':
			depth = max(0, depth-1)
		case '!', '?', '+', '*', '/', '-', '%', '&', '|', '<', '>':
			n++
		case '=':
			if last == '=' {
				n++
			}
		}
		last = c
	}
	return n, deepest
}
