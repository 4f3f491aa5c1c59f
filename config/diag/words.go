package diag

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Quote shows text from a file in a message: in quotes, with escapes, and not
// too long.
func Quote(s string) string {
	const most = 80
	if utf8.RuneCountInString(s) > most {
		s = string([]rune(s)[:most]) + "..."
	}
	return strconv.Quote(s)
}

// Quoted puts each word in quotes.
func Quoted(words []string) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = strconv.Quote(w)
	}
	return out
}

// Printable makes foreign text fit for a terminal and a log line.
func Printable(s string) string {
	const most = 300
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsGraphic(r):
			return r
		case unicode.IsSpace(r):
			return ' '
		}
		return '?'
	}, strings.TrimSpace(strings.ToValidUTF8(s, "?")))
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "..."
	}
	return s
}

// Sentence gives text a capital letter and no full stop.
func Sentence(s string) string {
	if s == "" {
		return ""
	}
	r, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(r)) + strings.TrimSuffix(s[n:], ".")
}

// Joined lists words in a sentence, with last before the final one: " and " gives
// "a, b and c".
func Joined(words []string, last string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + last + words[len(words)-1]
}

// Article puts a or an before a word.
func Article(word string) string {
	if word != "" && strings.ContainsRune("aeiou", rune(word[0])) {
		return "an " + word
	}
	return "a " + word
}

// Suggest is how a message about an unknown word ends: with the nearest
// candidate after prefix, or with otherwise.
func Suggest(prefix, word string, candidates []string, otherwise string) string {
	if near := Nearest(word, candidates); near != "" {
		return " Did you mean " + prefix + near + "?"
	}
	return otherwise
}
