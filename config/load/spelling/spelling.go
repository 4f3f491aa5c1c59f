// Package spelling takes text unchanged through the HCL library, whose values hold text in
// Unicode's composed form (NFC) only: a path in decomposed form, as some systems make them, would come out
// as the name of another file. Before text becomes a value, Keep writes each character that
// the form changes, or that may join the one before it, as two that it leaves
// alone; Restore is the way back, for everything that leaves the evaluator.
package spelling

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// A character is kept as its plane, counted from marker, and its place in the plane, counted from payload. Both
// are of the planes for private use, which no form of Unicode changes.
const (
	marker  = 0xF0000
	planes  = 17
	payload = 0x100000
)

// Keep gives text that survives being a value.
func Keep(text string) string {
	if Stable(text) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if stable(r) {
			b.WriteRune(r)
		} else {
			b.WriteRune(marker + r>>16)
			b.WriteRune(payload + r&0xFFFF)
		}
	}
	return b.String()
}

// Restore gives the text that was kept, wherever it stands in s.
func Restore(s string) string {
	if strings.IndexByte(s, 0xF3) < 0 { // the first byte of every marker
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		if plane := r - marker; 0 <= plane && plane < planes {
			if place, more := utf8.DecodeRuneInString(s[i+size:]); place >= payload {
				b.WriteRune(plane<<16 | (place - payload))
				i += size + more
				continue
			}
		}
		b.WriteString(s[i : i+size])
		i += size
	}
	return b.String()
}

// Stable reports whether text comes through by itself, also joined to other text.
func Stable(text string) bool {
	for i := 0; i < len(text); i++ {
		if text[i] >= utf8.RuneSelf {
			return strings.IndexFunc(text[i:], func(r rune) bool { return !stable(r) }) < 0
		}
	}
	return true
}

func stable(r rune) bool {
	if r < 0x300 {
		return true // Latin, composed
	}
	if r >= marker && r < marker+planes {
		return false
	}
	p := norm.NFC.PropertiesString(string(r))
	return p.BoundaryBefore() && norm.NFC.IsNormalString(string(r))
}
