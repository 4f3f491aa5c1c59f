// Package dump understands what pg_restore says of a dump: its list of contents, and what it could not load. It is
// pure.
package dump

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// TOC is the list of a dump, in its order.
type TOC []Entry

// Entry is one line of it.
type Entry struct {
	ID      int
	Class   uint32 // OID of the catalogue that has it; 0 for what has no row of its own
	OID     uint32
	Kind    string // of those that this package tells apart; empty for any other
	Depends []int  // IDs, also of entries that are not in the dump
}

var (
	lineForm    = regexp.MustCompile(`^(\d+); (\d+) (\d+) (.*)$`)
	dependsForm = regexp.MustCompile(`^;\s+depends on: ([\d ]+)`)
)

// What an entry is: a relation, which can be chosen; or attached to relations, and comes with all of those that it is
// of. Others, such as types, come where something needs them, except for those that are never part of a part.
var (
	relations = []string{"TABLE", "VIEW", "MATERIALIZED VIEW", "FOREIGN TABLE", "SEQUENCE"}
	attached  = []string{
		"TABLE DATA", "TABLE ATTACH", "SEQUENCE OWNED BY", "SEQUENCE SET", "DEFAULT", "CONSTRAINT", "CHECK CONSTRAINT", "FK CONSTRAINT",
		"INDEX ATTACH", "INDEX", "STATISTICS", "TRIGGER", "RULE", "POLICY", "ROW SECURITY", "COMMENT", "ACL", "SECURITY LABEL", "MATERIALIZED VIEW DATA",
	}
	neverPart = []string{
		"DATABASE", "DATABASE PROPERTIES", "PUBLICATION", "PUBLICATION TABLE", "SUBSCRIPTION", "EVENT TRIGGER",
	}
)

const classOfRelations = 1259 // pg_class

// kindOf is the longest kind that a line begins with. Names that follow are not told apart: they may have spaces.
func kindOf(text string) (kind string) {
	for _, list := range [][]string{relations, attached, neverPart} {
		for _, k := range list {
			if strings.HasPrefix(text, k+" ") && len(k) > len(kind) {
				kind = k
			}
		}
	}
	return kind
}

// ReadTOC reads what pg_restore --list --verbose prints.
func ReadTOC(list string) (t TOC) {
	number := func(s string) int {
		n, _ := strconv.Atoi(s) // digits, by the form of the line
		return n
	}
	for line := range strings.SplitSeq(list, "\n") {
		if m := dependsForm.FindStringSubmatch(line); m != nil && len(t) > 0 {
			for _, f := range strings.Fields(m[1]) {
				t[len(t)-1].Depends = append(t[len(t)-1].Depends, number(f))
			}
		} else if m := lineForm.FindStringSubmatch(line); m != nil {
			t = append(t, Entry{
				ID: number(m[1]), Class: uint32(number(m[2])), OID: uint32(number(m[3])), Kind: kindOf(m[4]),
			})
		}
	}
	return t
}

// Selection is a part of a dump.
type Selection struct {
	Relations int      // that were asked for and are there
	List      []byte   // for pg_restore --use-list; never nil
	Missing   []uint32 // OIDs of relations that views among it need and that are not in it
}

// Choose gives relations by their OIDs, with all that is of them and of no other one. With needs it adds what they need
// that is no relation.
func (t TOC) Choose(oids map[uint32]bool, needs bool) *Selection {
	by, in, s := map[int]Entry{}, map[int]bool{}, &Selection{List: []byte{}}
	for _, e := range t {
		by[e.ID] = e
		if e.Class == classOfRelations && oids[e.OID] && slices.Contains(relations, e.Kind) {
			in[e.ID] = true
		}
	}
	s.Relations = len(in)
	for before := -1; before != len(in); {
		before = len(in)
		for _, e := range t {
			if !in[e.ID] && e.belongs(by, in) {
				in[e.ID] = true
			}
			for _, id := range e.Depends {
				if of, is := by[id]; needs && in[e.ID] && is && of.Kind == "" {
					in[id] = true
				}
			}
		}
	}
	for _, e := range t {
		if !in[e.ID] {
			continue
		}
		s.List = fmt.Appendf(s.List, "%d;\n", e.ID)
		for _, id := range e.Depends {
			of := by[id]
			view := e.Kind == "VIEW" || e.Kind == "MATERIALIZED VIEW"
			if view && !in[id] && slices.Contains(relations, of.Kind) && !slices.Contains(s.Missing, of.OID) {
				s.Missing = append(s.Missing, of.OID)
			}
		}
	}
	return s
}

// belongs reports whether an entry is of entries that are in, and of no relation that is not. A sequence may be one of
// a column.
func (e Entry) belongs(by map[int]Entry, in map[int]bool) bool {
	if e.Kind != "SEQUENCE" && !slices.Contains(attached, e.Kind) {
		return false
	}
	some := false
	for _, id := range e.Depends {
		of, is := by[id]
		if is && of.Kind != "" && !in[id] {
			return false
		}
		some = some || in[id]
	}
	return some
}
