package glob

import (
	"cmp"
	"fmt"
	"strings"
)

// Doubt is a pattern that by its form can match nothing.
type Doubt struct {
	Index int    // in the list
	Why   string // a sentence without a full stop: what is wrong, and what to write
}

// maxNameLength is the longest name of a file in bytes (NAME_MAX of limits.h).
const maxNameLength = 255

// Doubts looks for patterns that can match nothing in a tree whose place is
// root (absolute; empty when it is not known). Every pattern compiles.
func Doubts(patterns []string, root string) []Doubt {
	m, err := Compile(patterns)
	if err != nil {
		return nil
	}
	var doubts []Doubt
	for i := range m.patterns {
		if why := m.doubt(i, root); why != "" {
			doubts = append(doubts, Doubt{i, why})
		}
	}
	return doubts
}

func (m Matcher) doubt(i int, root string) string {
	p := m.patterns[i]
	if p.takesBack && !m.takenBefore(i) {
		return fmt.Sprintf(`%q takes back what patterns before it match, but there are none; \! is the character itself`, p.text)
	}
	if c := oddEscape(p.text); c != 0 {
		return fmt.Sprintf(`%q has \%c, which is just %c: names are separated by /, and \ makes the next character an ordinary one`, p.text, c, c)
	}
	why := ""
	for j := range p.ways {
		if why = m.doubtWay(p, &p.ways[j], root); why == "" {
			return "" // this way may match something
		}
	}
	return why
}

func (m Matcher) takenBefore(i int) bool {
	for _, p := range m.patterns[:i] {
		if !p.takesBack {
			return true
		}
	}
	return false
}

// oddEscape finds a \ before a letter or a digit, where it does nothing: a path of another system.
func oddEscape(text string) byte {
	for i := 0; i+1 < len(text); i++ {
		if text[i] != '\\' {
			continue
		}
		i++
		if c := text[i] | 0x20; 'a' <= c && c <= 'z' || '0' <= text[i] && text[i] <= '9' {
			return text[i]
		}
	}
	return 0
}

func (m Matcher) doubtWay(p *pattern, w *way, root string) string {
	for i := range w.names {
		if n := w.names[i].text; len(n) > maxNameLength {
			return fmt.Sprintf("%q has a name of %d bytes, and no file has a name longer than %d", p.text, len(n), maxNameLength)
		}
	}
	literal := w.literal()
	path := strings.Join(literal, "/")
	if inside, ok := strings.CutPrefix(path+"/", strings.TrimPrefix(root, "/")+"/"); ok && len(root) > 1 {
		return fmt.Sprintf("%q begins with the path of the tree, but patterns count from there; write for example %q", p.text, "/"+cmp.Or(strings.TrimSuffix(inside, "/"), "*"))
	}
	switch {
	case len(literal) > 0 && literal[0] == "~":
		return fmt.Sprintf("%q begins with ~, which stands for itself here; patterns count from the top of the tree", p.text)
	case p.takesBack:
		return m.lost(p, literal[:min(len(literal), len(w.names)-1)])
	}
	return ""
}

// literal is the names a pattern begins with, as long as they are written out.
func (w *way) literal() []string {
	var names []string
	for i := range w.names {
		if n := &w.names[i]; n.across || n.tokens != nil {
			break
		}
		names = append(names, w.names[i].text)
	}
	return names
}

// lost says which directory above what a pattern takes back is left out as a whole.
func (m Matcher) lost(p *pattern, above []string) string {
	for i := range above {
		dir := strings.Join(above[:i+1], "/")
		if m.Match(dir, true) {
			return fmt.Sprintf("%q takes nothing back, because the directory %q is matched as a whole, and what is below it is not looked at; match what is in it instead, with %q", p.text, dir, dir+"/*")
		}
	}
	return ""
}
