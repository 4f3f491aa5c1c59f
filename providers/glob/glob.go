// Package glob matches slash separated paths, relative to a tree, against the
// path patterns of the configuration:
//
//	?    matches one character within a name
//	*    matches any characters within a name
//	**   as a whole name, matches any number of names, also none
//	\x   is the character x itself
//
// A pattern counts from the top of the tree: "*.tmp" is about the top only,
// "**/*.tmp" is about every level. What matches a directory matches everything
// below it. A final slash ("cache/") asks for a directory. A final "/**" is
// about what is in a directory and not about the directory.
package glob

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Matcher is a compiled list of patterns. The zero Matcher has none and
// matches nothing. It is safe for concurrent use.
type Matcher struct {
	patterns []pattern
}

type pattern struct {
	names   []name
	dirOnly bool
}

type name struct {
	text    string // as written; with the escapes removed when literal
	literal bool
	across  bool // **
}

// Compile reads patterns. The error names the first one that is wrong.
func Compile(patterns []string) (Matcher, error) {
	var m Matcher
	for _, text := range patterns {
		p, err := compile(text)
		if err != nil {
			return Matcher{}, fmt.Errorf("pattern %q: %w", text, err)
		}
		m.patterns = append(m.patterns, p)
	}
	return m, nil
}

func compile(text string) (pattern, error) {
	var p pattern
	rest, dirOnly := strings.CutSuffix(text, "/")
	p.dirOnly = dirOnly
	switch {
	case rest == "":
		return p, errors.New("is empty")
	case strings.HasPrefix(rest, "/"):
		return p, errors.New("must be relative to the tree, without a leading slash")
	case strings.ContainsRune(text, 0):
		return p, errors.New("contains a NUL character")
	}
	for part := range strings.SplitSeq(rest, "/") {
		switch {
		case part == "":
			return p, errors.New("has an empty name")
		case part == "." || part == "..":
			return p, fmt.Errorf("must not contain the name %q", part)
		case part == "**":
			if len(p.names) == 0 || !p.names[len(p.names)-1].across {
				p.names = append(p.names, name{across: true})
			}
		case strings.Contains(part, "**"):
			return p, errors.New("has ** beside other characters; it must be a whole name")
		default:
			n, err := compileName(part)
			if err != nil {
				return p, err
			}
			p.names = append(p.names, n)
		}
	}
	if last := &p.names[len(p.names)-1]; last.across {
		*last = name{text: "*"}
	}
	return p, nil
}

func compileName(text string) (name, error) {
	if !strings.ContainsAny(text, `*?\`) {
		return name{text: text, literal: true}, nil
	}
	var plain strings.Builder
	literal := true
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
			if i == len(text) {
				return name{}, errors.New(`ends a name in a single \`)
			}
			plain.WriteByte(text[i])
		case '*', '?':
			literal = false
		default:
			plain.WriteByte(text[i])
		}
	}
	if literal {
		return name{text: plain.String(), literal: true}, nil
	}
	return name{text: text}, nil
}

// Empty reports whether there are no patterns.
func (m Matcher) Empty() bool { return len(m.patterns) == 0 }

// Match reports whether path, or a directory above it, matches a pattern. The
// path is relative to the tree and slash separated; isDir says whether it is a directory.
func (m Matcher) Match(path string, isDir bool) bool {
	for i := range m.patterns {
		if m.patterns[i].match(path, isDir) {
			return true
		}
	}
	return false
}

// MayMatchBelow reports whether a path below the directory may match, so that
// a walker knows where to descend. The tree itself is the directory "".
func (m Matcher) MayMatchBelow(dir string) bool {
	for i := range m.patterns {
		if m.patterns[i].mayMatchBelow(dir) {
			return true
		}
	}
	return false
}

// match is the usual wildcard match with one point to go back to, over names.
// It finds the shortest leading part of path that matches: when that is the
// whole path, no other part is shorter, so the check for dirOnly is enough.
func (p *pattern) match(path string, isDir bool) bool {
	names, rest := p.names, path
	var retryNames []name
	var retryRest string
	for {
		if len(names) == 0 {
			return rest != "" || isDir || !p.dirOnly
		}
		if names[0].across {
			names = names[1:]
			retryNames, retryRest = names, rest
			continue
		}
		if rest == "" {
			return false
		}
		part, after := cut(rest)
		if names[0].match(part) {
			names, rest = names[1:], after
			continue
		}
		if retryNames == nil {
			return false
		}
		_, retryRest = cut(retryRest)
		names, rest = retryNames, retryRest
	}
}

func (p *pattern) mayMatchBelow(dir string) bool {
	for _, n := range p.names {
		if dir == "" || n.across {
			return true
		}
		var part string
		part, dir = cut(dir)
		if !n.match(part) {
			return false
		}
	}
	return true
}

func cut(path string) (first, rest string) {
	first, rest, _ = strings.Cut(path, "/")
	return first, rest
}

// match matches one name, with one point to go back to.
func (n name) match(s string) bool {
	if n.literal {
		return n.text == s
	}
	text := n.text
	var retryText, retryS string
	retry := false
	for text != "" || s != "" {
		if text != "" && text[0] == '*' {
			text = text[1:]
			retryText, retryS, retry = text, s, true
			continue
		}
		if text != "" && s != "" {
			if rest, left, ok := step(text, s); ok {
				text, s = rest, left
				continue
			}
		}
		if !retry || retryS == "" {
			return false
		}
		_, size := utf8.DecodeRuneInString(retryS)
		retryS = retryS[size:]
		text, s = retryText, retryS
	}
	return true
}

func step(text, s string) (rest, left string, ok bool) {
	switch text[0] {
	case '?':
		_, size := utf8.DecodeRuneInString(s)
		return text[1:], s[size:], true
	case '\\':
		text = text[1:]
	}
	return text[1:], s[1:], text[0] == s[0]
}
