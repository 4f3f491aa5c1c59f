package glob

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// name is what a pattern says about one name of a path.
type name struct {
	across bool   // **
	text   string // when there are no tokens: the name itself
	tokens []token
}

type token struct {
	kind  kind
	text  string // of plain
	class *class // of oneOf
}

type kind byte

const (
	plain kind = iota // these characters
	star              // any characters, also none
	any1              // one character
	oneOf             // one character of a class
)

// class is the characters between [ and ].
type class struct {
	not    bool
	ranges [][2]rune
}

func compileName(text string) (name, error) {
	var tokens []token
	var run strings.Builder
	flush := func() {
		if run.Len() > 0 {
			tokens = append(tokens, token{kind: plain, text: run.String()})
			run.Reset()
		}
	}
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			if i++; i == len(text) {
				return name{}, errors.New(`ends a name in a single \`)
			}
			run.WriteByte(text[i])
		case '*':
			flush()
			tokens = append(tokens, token{kind: star})
		case '?':
			flush()
			tokens = append(tokens, token{kind: any1})
		case '[':
			end := classEnd(text, i)
			if end < 0 {
				return name{}, errors.New(`has a [ without a ] in the same name; the character itself is \[`)
			}
			c, err := compileClass(text[i+1 : end])
			if err != nil {
				return name{}, err
			}
			flush()
			tokens = append(tokens, token{kind: oneOf, class: c})
			i = end
		default:
			run.WriteByte(text[i])
		}
	}
	if tokens == nil {
		return name{text: run.String()}, nil
	}
	flush()
	return name{tokens: tokens}, nil
}

// classEnd finds the ] of the class that begins at text[at], or gives -1. A ]
// that comes first is one of the characters.
func classEnd(text string, at int) int {
	i := at + 1
	if i < len(text) && (text[i] == '!' || text[i] == '^') {
		i++
	}
	if i < len(text) && text[i] == ']' {
		i++
	}
	for ; i < len(text) && text[i] != '/'; i++ {
		switch text[i] {
		case '\\':
			i++
		case ']':
			return i
		}
	}
	return -1
}

func compileClass(text string) (*class, error) {
	c := &class{}
	if text[0] == '!' || text[0] == '^' {
		c.not, text = true, text[1:]
	}
	if strings.Contains(text, "[:") {
		return nil, errors.New("has a named class such as [:alpha:], which is not known here; write the characters, such as [a-zA-Z]")
	}
	next := func() rune {
		if text[0] == '\\' && len(text) > 1 {
			text = text[1:]
		}
		r, size := utf8.DecodeRuneInString(text)
		text = text[size:]
		return r
	}
	for text != "" {
		lo := next()
		hi := lo
		if len(text) > 1 && text[0] == '-' {
			text = text[1:]
			hi = next()
		}
		if hi < lo {
			return nil, fmt.Errorf("has the range %c-%c, which is empty; write %c-%c", lo, hi, hi, lo)
		}
		c.ranges = append(c.ranges, [2]rune{lo, hi})
	}
	return c, nil
}

func (c *class) has(r rune) bool {
	for _, x := range c.ranges {
		if x[0] <= r && r <= x[1] {
			return !c.not
		}
	}
	return c.not
}

// match matches one name, with one point to go back to.
func (n *name) match(s string) bool {
	if n.tokens == nil {
		return n.text == s
	}
	tokens := n.tokens
	if len(tokens) == 2 && tokens[0].kind == star && tokens[1].kind == plain { // *.tmp
		return strings.HasSuffix(s, tokens[1].text)
	}
	var retryTokens []token
	var retryS string
	retry := false
	for len(tokens) > 0 || s != "" {
		if len(tokens) > 0 && tokens[0].kind == star {
			if tokens = tokens[1:]; len(tokens) == 0 {
				return true
			}
			retryTokens, retryS, retry = tokens, s, true
			continue
		}
		if len(tokens) > 0 {
			if rest, ok := tokens[0].take(s); ok {
				tokens, s = tokens[1:], rest
				continue
			}
		}
		if !retry || retryS == "" {
			return false
		}
		_, size := character(retryS)
		retryS = retryS[size:]
		tokens, s = retryTokens, retryS
	}
	return true
}

// take gives what is left of s after what the token matches.
func (t *token) take(s string) (rest string, ok bool) {
	if t.kind == plain {
		return strings.CutPrefix(s, t.text)
	}
	if s == "" {
		return s, false
	}
	r, size := character(s)
	return s[size:], t.kind == any1 || t.class.has(r)
}

// character is the first character of s. A byte that is not UTF-8 is one by
// itself, beyond all that a class can name.
func character(s string) (rune, int) {
	r, size := utf8.DecodeRuneInString(s)
	if r == utf8.RuneError && size == 1 {
		return utf8.MaxRune + 1 + rune(s[0]), 1
	}
	return r, size
}
