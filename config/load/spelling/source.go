package spelling

import (
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// StableSource is Stable for the source of an expression, where characters may be written as escapes.
func StableSource(source string) bool {
	return Stable(source) && !strings.Contains(source, `\u`) && !strings.Contains(source, `\U`)
}

// KeepNative is Keep for an expression in native syntax. It is false when a
// name outside quotes would have to be kept.
func KeepNative(source string) (string, bool) {
	tokens, _ := hclsyntax.LexExpression([]byte(source), "", hcl.InitialPos)
	var b strings.Builder
	at := 0
	for _, t := range tokens {
		from, to := t.Range.Start.Byte, t.Range.End.Byte
		b.WriteString(source[at:from]) // blanks
		text := source[from:to]
		switch t.Type {
		case hclsyntax.TokenQuotedLit:
			text = Keep(unescape(text))
		case hclsyntax.TokenStringLit:
			text = Keep(text)
		case hclsyntax.TokenIdent:
			if !Stable(text) {
				return "", false
			}
		}
		b.WriteString(text)
		at = to
	}
	b.WriteString(source[at:])
	return b.String(), true
}

// KeepJSON is Keep for a value in JSON syntax.
func KeepJSON(source string) string { return Keep(unescape(source)) }

// unescape writes out the escapes \u and \U of characters that must be kept, and leaves all others.
func unescape(text string) string {
	if !strings.Contains(text, `\`) {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); {
		if text[i] != '\\' || i+1 == len(text) {
			b.WriteByte(text[i])
			i++
			continue
		}
		r, size := escaped(text[i:])
		if size > 0 && !stable(r) {
			b.WriteRune(r)
		} else {
			size = max(size, 2)
			b.WriteString(text[i : i+size])
		}
		i += size
	}
	return b.String()
}

// escaped reads \uXXXX, also as one half of a pair, or \UXXXXXXXX. The size is 0 when there is none.
func escaped(s string) (r rune, size int) {
	switch s[1] {
	case 'u':
		first := hex(s, 2, 4)
		if second := hex(s, 8, 4); utf16.IsSurrogate(first) && strings.HasPrefix(s[6:], `\u`) {
			if r := utf16.DecodeRune(first, second); r != utf8.RuneError {
				return r, 12
			}
		}
		return first, sizeOf(first, 6)
	case 'U':
		r = hex(s, 2, 8)
		return r, sizeOf(r, 10)
	}
	return 0, 0
}

func sizeOf(r rune, size int) int {
	if r < 0 || !utf8.ValidRune(r) {
		return 0
	}
	return size
}

// hex reads n digits, or gives -1.
func hex(s string, at, n int) rune {
	if len(s) < at+n {
		return -1
	}
	x, err := strconv.ParseUint(s[at:at+n], 16, 31)
	if err != nil {
		return -1
	}
	return rune(x)
}
