// Package glob matches slash separated paths, relative to a tree, against the
// path patterns of the configuration, by the rules of gitignore(5):
//
//	?      matches one character within a name
//	*      matches any characters within a name
//	[ab-d] matches one of these characters, [!ab-d] any other one
//	**     as a whole name, matches any number of names, also none
//	{a,b}  stands for either text; the pattern is one pattern for each
//	!p     takes back what a pattern before it matches
//	\x     is the character x itself
//
// A pattern without a slash, or with one at its end only, is about every level
// of the tree: "*.tmp", "cache/". Any other counts from the top: "/cache",
// "var/cache". What matches a directory matches everything below it, until a
// pattern takes it back. A final slash asks for a directory. A final "/**" is about
// what is in a directory and not about the directory.
//
// For every path the deepest part of it that a pattern names decides, and for one
// part the last pattern. A walker that leaves a directory out never asks about what is
// below: as in Git, "!cache/keep" after "cache" brings nothing back, after "cache/*" it does.
//
// Patterns and paths are bytes: no letter is equal to another one, in whatever form Unicode
// has it. A byte that is not UTF-8 counts as one character, equal to itself only.
package glob

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
)

// Matcher is a compiled list of patterns. The zero Matcher has none and
// matches nothing. It is safe for concurrent use; copies share what Idle tells.
type Matcher struct {
	patterns  []*pattern
	takesBack bool // some pattern does
}

// pattern is one pattern as written.
type pattern struct {
	text      string
	takesBack bool
	ways      []way // one for each combination of its alternatives
	met       atomic.Bool
}

// way is a pattern without alternatives.
type way struct {
	names   []name
	dirOnly bool
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
		m.takesBack = m.takesBack || p.takesBack
	}
	return m, nil
}

// Empty reports whether there are no patterns.
func (m Matcher) Empty() bool { return len(m.patterns) == 0 }

// Match reports whether path, or a directory above it, matches. The path is
// relative to the tree and slash separated; isDir says whether it is a directory.
func (m Matcher) Match(path string, isDir bool) bool {
	if m.takesBack {
		return m.weigh(path, isDir)
	}
	matched := false
	for _, p := range m.patterns {
		if matched && p.met.Load() {
			continue
		}
		if p.match(path, isDir, false) {
			p.meet()
			matched = true
		}
	}
	return matched
}

// weigh follows the path from the top: every part of it that a pattern names changes the verdict.
func (m Matcher) weigh(path string, isDir bool) bool {
	matched := false
	for at := 0; at < len(path); at++ {
		i := strings.IndexByte(path[at:], '/')
		if at += i; i < 0 {
			at = len(path)
		}
		part, dir := path[:at], at < len(path) || isDir
		for _, p := range m.patterns {
			if p.match(part, dir, true) {
				p.meet()
				matched = !p.takesBack
			}
		}
	}
	return matched
}

// MayMatchBelow reports whether a path below the directory may match, so that
// a walker knows where to descend. The tree itself is the directory "".
func (m Matcher) MayMatchBelow(dir string) bool {
	for _, p := range m.patterns {
		if !p.takesBack && p.mayMatchBelow(dir) {
			return true
		}
	}
	return false
}

// Idle lists the patterns, as written, that have matched no path they were
// asked about. After a whole walk they are probably slips of the pen.
func (m Matcher) Idle() []string {
	var idle []string
	for _, p := range m.patterns {
		if !p.met.Load() {
			idle = append(idle, p.text)
		}
	}
	return idle
}

// IdlePlaces is Idle without the patterns that are about every level: "*.tmp" is often
// written in case there is one, "/var/cache" because there is.
func (m Matcher) IdlePlaces() []string {
	var idle []string
	for _, p := range m.patterns {
		anyLevel := slices.ContainsFunc(p.ways, func(w way) bool { return w.names[0].across })
		if !p.met.Load() && !anyLevel {
			idle = append(idle, p.text)
		}
	}
	return idle
}

func (p *pattern) meet() {
	if !p.met.Load() { // reading is cheaper than writing what is there
		p.met.Store(true)
	}
}

func (p *pattern) match(path string, isDir, whole bool) bool {
	for i := range p.ways {
		if p.ways[i].match(path, isDir, whole) {
			return true
		}
	}
	return false
}

func (p *pattern) mayMatchBelow(dir string) bool {
	for i := range p.ways {
		if p.ways[i].mayMatchBelow(dir) {
			return true
		}
	}
	return false
}

// match is the usual wildcard match with one point to go back to, over names.
// Unless the whole path is asked for it finds the shortest leading part that
// matches: when that is the whole path, no other part is shorter, so the check
// for dirOnly is enough.
func (w *way) match(path string, isDir, whole bool) bool {
	names, rest := w.names, path
	var retryNames []name
	var retryRest string
	for {
		if len(names) == 0 && (rest == "" || !whole) {
			return rest != "" || isDir || !w.dirOnly
		}
		if len(names) > 0 {
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
		}
		if retryNames == nil {
			return false
		}
		_, retryRest = cut(retryRest)
		names, rest = retryNames, retryRest
	}
}

func (w *way) mayMatchBelow(dir string) bool {
	for i := range w.names {
		n := &w.names[i]
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
