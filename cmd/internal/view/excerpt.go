package view

import (
	"slices"
	"strings"
)

// excerpt shows the three parts of a line. When they are wider than people read, each is cut where it is farthest from the mark.
func excerpt(before, meant, rest string) (string, string, string) {
	const most, mostBefore, mostMeant = 120, 50, 60
	b, m, r := shown(before), shown(meant), shown(rest)
	if columns(b)+columns(m)+columns(r) <= most {
		return strings.Join(b, ""), strings.Join(m, ""), strings.Join(r, "")
	}
	slices.Reverse(b)
	b = fit(b, mostBefore)
	slices.Reverse(b)
	m = fit(m, mostMeant)
	r = fit(r, most-columns(b)-columns(m))
	return strings.Join(b, ""), strings.Join(m, ""), strings.Join(r, "")
}

// shown gives what each character of a text is printed as.
func shown(text string) []string {
	var all []string
	for _, r := range text {
		if r == '\t' || r == '\n' {
			r = ' '
		}
		all = append(all, Clean(string(r)))
	}
	return all
}

func columns(shown []string) (n int) {
	for _, s := range shown {
		n += width(s)
	}
	return n
}

// fit keeps as many characters as there are columns for; dots stand for the rest.
func fit(shown []string, most int) []string {
	if columns(shown) <= most {
		return shown
	}
	n := 0
	for i, s := range shown {
		if n += width(s); n > most-3 {
			return append(shown[:i:i], "...")
		}
	}
	return shown
}
