package glob

import (
	"errors"
	"fmt"
	"strings"
)

// maxWays bounds what {a,b}{c,d}... multiplies to.
const maxWays = 256

func compile(text string) (*pattern, error) {
	p := &pattern{text: text}
	rest, takesBack := strings.CutPrefix(text, "!")
	p.takesBack = takesBack
	if strings.ContainsRune(text, 0) {
		return p, errors.New("contains a NUL character")
	}
	alternatives, err := expand(rest)
	if err != nil {
		return p, err
	}
	for _, a := range alternatives {
		w, err := compileWay(a)
		if err != nil {
			return p, err
		}
		p.ways = append(p.ways, w)
	}
	return p, nil
}

// expand writes out the alternatives of a pattern.
func expand(text string) ([]string, error) {
	done := []string{}
	todo := []string{text} // a stack, so that the order is the one written
	for len(todo) > 0 {
		next := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		before, choices, after, err := firstBraces(next)
		switch {
		case err != nil:
			return nil, err
		case choices == nil:
			done = append(done, next)
		case len(done)+len(todo)+len(choices) > maxWays:
			return nil, fmt.Errorf("has alternatives in { } that make more than %d patterns", maxWays)
		}
		for i := len(choices) - 1; i >= 0; i-- {
			todo = append(todo, before+choices[i]+after)
		}
	}
	return done, nil
}

// firstBraces finds the first alternatives of a pattern; choices is nil when there are none.
func firstBraces(text string) (before string, choices []string, after string, err error) {
	depth, open, start := 0, 0, 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '[':
			if end := classEnd(text, i); end > 0 {
				i = end
			}
		case '{':
			if depth++; depth == 1 {
				open, start = i, i+1
			}
		case ',':
			if depth == 1 {
				choices, start = append(choices, text[start:i]), i+1
			}
		case '}':
			switch depth--; {
			case depth < 0:
				return "", nil, "", errors.New(`has a } without a {; the character itself is \}`)
			case depth == 0 && choices == nil:
				return "", nil, "", errors.New(`has { } without a comma; alternatives are {a,b}, and the characters themselves are \{ and \}`)
			case depth == 0:
				return text[:open], append(choices, text[start:i]), text[i+1:], nil
			}
		}
	}
	if depth > 0 {
		return "", nil, "", errors.New(`has a { without a }; the character itself is \{`)
	}
	return text, nil, "", nil
}

func compileWay(text string) (way, error) {
	var w way
	rest, dirOnly := strings.CutSuffix(text, "/")
	w.dirOnly = dirOnly
	if rest == "" {
		return w, errors.New("is empty")
	}
	if !strings.Contains(rest, "/") {
		w.names = append(w.names, name{across: true})
	}
	for part := range strings.SplitSeq(strings.TrimPrefix(rest, "/"), "/") {
		switch {
		case part == "":
			return w, errors.New("has an empty name")
		case part == "." || part == "..":
			return w, fmt.Errorf("must not contain the name %q", part)
		case part == "**":
			if len(w.names) == 0 || !w.names[len(w.names)-1].across {
				w.names = append(w.names, name{across: true})
			}
		case strings.Contains(part, "**"):
			return w, errors.New("has ** beside other characters; it must be a whole name")
		default:
			n, err := compileName(part)
			if err != nil {
				return w, err
			}
			w.names = append(w.names, n)
		}
	}
	if w.names[len(w.names)-1].across {
		w.names = append(w.names, name{tokens: []token{{kind: star}}})
	}
	return w, nil
}
