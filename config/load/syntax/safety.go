package syntax

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// Limits on text.
const (
	maxFileSize = 16 << 20 // bytes; package source has the same limit
	maxDepth    = 100      // brackets inside brackets
	maxOperands = 1_000    // operators in one expression
	maxTokens   = 1 << 20  // of all files together: the parser needs up to 400 bytes of memory for each
	MaxString   = 16_384   // bytes of one string, computed or not
)

// unsafeText refuses text the parser should never see. The parser and the
// evaluator are recursive, so depth is bounded before they run.
func unsafeText(text []byte, name string, isJSON bool) (hcl.Range, string) {
	start := startOf(name)
	if len(text) > maxFileSize {
		return start, fmt.Sprintf("The file is larger than %d MiB. Split it: all files of the directory are one configuration.", maxFileSize>>20)
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
	if tokens(text) > maxTokens {
		return start, tooMany
	}
	if isJSON {
		return deepJSON(text, name)
	}
	if rng, why := hugeNumber(text, name); why != "" {
		return rng, why
	}
	return deepNative(text, name)
}

var tooMany = fmt.Sprintf("The configuration has more than %d words, signs and lines. Generate less, or make several configurations of it.", maxTokens)

// tokens is about how many tokens a parser makes of a text, found without making them:
// signs, words and lines, also those within strings. Lines of comments count as one, if
// they cannot be text with a template in it.
func tokens(text []byte) int {
	n := 0
	for line := range bytes.Lines(text) {
		n++
		if start := bytes.TrimLeft(line, " \t"); bytes.HasPrefix(start, []byte("#")) || bytes.HasPrefix(start, []byte("//")) {
			if bytes.IndexByte(line, '$') < 0 && bytes.IndexByte(line, '%') < 0 {
				continue
			}
		}
		inWord := false
		for _, c := range line {
			isWord := c == '_' || c >= utf8.RuneSelf || '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
			if isWord && !inWord || !isWord && c > ' ' {
				n++
			}
			inWord = isWord
		}
	}
	return n
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

// maxExponent bounds the powers of ten in numbers: writing one out, or working
// with its digits, takes as long as it is large.
const maxExponent = 400

const tooLarge = "This number has more than 400 digits when it is written out."

var (
	maybeHuge = regexp.MustCompile(`[0-9.][eE][+-]?[0-9]{3}|[0-9.]{400}`)
	exponent  = regexp.MustCompile(`[eE]([+-]?[0-9]+)$`)
)

// hugeNumber finds a number literal that is too large or too small. Most files have
// nothing that looks like one, and are not taken apart a second time.
func hugeNumber(text []byte, name string) (hcl.Range, string) {
	if !maybeHuge.Match(text) {
		return hcl.Range{}, ""
	}
	tokens, _ := hclsyntax.LexConfig(text, name, hcl.InitialPos)
	for _, t := range tokens {
		if t.Type == hclsyntax.TokenNumberLit && Huge(string(t.Bytes)) {
			return t.Range, tooLarge
		}
	}
	return hcl.Range{}, ""
}

// Huge reports whether a number, written in digits, is too large or too small to work with.
func Huge(number string) bool {
	if m := exponent.FindStringSubmatch(number); m != nil {
		e, err := strconv.Atoi(m[1])
		if err != nil || max(e, -e) > maxExponent {
			return true
		}
	}
	return len(number) > maxExponent
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
			if i-stringStart > MaxString {
				return rangeAt(text, name, stringStart), tooLong
			}
			stringStart = -1
		case stringStart >= 0:
		case c == '"':
			stringStart = i
		case '0' <= c && c <= '9' || c == '-':
			end := i + 1
			for end < len(text) && bytes.IndexByte([]byte("0123456789.eE+-"), text[end]) >= 0 {
				end++
			}
			if Huge(string(text[i:end])) {
				return rangeAt(text, name, i), tooLarge
			}
			i = end - 1
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

// UnsafeJSON says why text should never be read as JSON, or nothing.
func UnsafeJSON(text string) string {
	_, why := deepJSON([]byte(text), "")
	return why
}

var tooLong = fmt.Sprintf("This string is longer than %d bytes.", MaxString)

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
