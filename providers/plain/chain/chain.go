// Package chain links the entries of a catalogue, so that one that is lost,
// changed, added or put elsewhere is seen. It is apart from the store because it
// compares numbers and hashes only: it reads no clock and no disk.
//
// Each writer has a chain of its own, so that hosts that share a store need not
// agree on an order. An entry names its place in the chain and the hash
// of the entry before. The head, which lies elsewhere, names the last entry:
//
//	entry 1  <-prev-  entry 2  <-prev-  entry 3  <-  head
package chain

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
)

// Link is an entry's place in the chain of its writer.
type Link struct {
	Writer string `json:"writer"`
	Seq    int64  `json:"seq"`            // from 1, without gaps
	Prev   string `json:"prev,omitempty"` // SHA-256 of the entry before, as stored
}

// Entry is one entry as it lies in the catalogue.
type Entry struct {
	Link
	Path   string
	SHA256 string // of its bytes
}

// Head is the end of a writer's chain. It is written before the entry it names and
// holds a copy of it: an entry that a crash kept from its place is put there by the next write.
type Head struct {
	Schema int    `json:"schema"` // 1
	Writer string `json:"writer"`
	Seq    int64  `json:"seq"`
	Path   string `json:"path"`
	SHA256 string `json:"sha256"`
	Entry  string `json:"entry"` // the bytes of the entry
}

// Sum is the hash that links are made of.
func Sum(entry []byte) string {
	sum := sha256.Sum256(entry)
	return hex.EncodeToString(sum[:])
}

// Next is the link of the entry after the head.
func (h Head) Next() Link {
	return Link{Writer: h.Writer, Seq: h.Seq + 1, Prev: h.SHA256}
}

// Sound reports whether a head is one of this writer and its copy of the entry is whole.
func (h Head) Sound(writer string) bool {
	return h.Schema == 1 && h.Writer == writer && h.Seq > 0 && Sum([]byte(h.Entry)) == h.SHA256
}

// Problem is something in a chain that does not fit.
type Problem struct {
	Writer string
	Path   string // of an entry that is not what was written, or that stands after a gap
	Gap    bool   // entries are gone
	NoHead bool   // the head is gone, so entries at the end could be
	Detail string
}

// Verify compares the entries of all writers with each other and with the heads. Heads that
// cannot be read are left out by the caller.
func Verify(entries []Entry, heads []Head) []Problem {
	chains := map[string][]Entry{}
	for _, e := range entries {
		chains[e.Writer] = append(chains[e.Writer], e)
	}
	ends := map[string]Head{}
	for _, h := range heads {
		ends[h.Writer] = h
		if _, ok := chains[h.Writer]; !ok {
			chains[h.Writer] = nil
		}
	}
	var problems []Problem
	for _, writer := range slices.Sorted(maps.Keys(chains)) {
		links := chains[writer]
		slices.SortFunc(links, func(a, b Entry) int { return cmp.Or(cmp.Compare(a.Seq, b.Seq), cmp.Compare(a.Path, b.Path)) })
		head, ended := ends[writer]
		problems = append(problems, along(links, head)...)
		if ended {
			problems = append(problems, atEnd(links, head)...)
		} else {
			last := links[len(links)-1]
			problems = append(problems, Problem{Writer: writer, Path: last.Path, Gap: true, NoHead: true,
				Detail: fmt.Sprintf("The head of writer %s is gone, so entries after its number %d would not be missed.", writer, last.Seq)})
		}
	}
	return problems
}

// along follows one chain, in order. Of two entries that do not fit, it blames the one
// that the entry after it, or the head, does not vouch for.
func along(links []Entry, head Head) []Problem {
	vouched := func(i int) bool {
		if i+1 < len(links) {
			return links[i+1].Prev == links[i].SHA256
		}
		return head.SHA256 == links[i].SHA256
	}
	var problems []Problem
	before := Entry{}
	for i, e := range links {
		p := Problem{Writer: e.Writer, Path: e.Path}
		switch gap := e.Seq - before.Seq; {
		case gap < 1:
			p.Detail = fmt.Sprintf("Writer %s has the number %d twice, here and at %s.", e.Writer, e.Seq, before.Path)
		case gap == 2:
			p.Gap = true
			p.Detail = fmt.Sprintf("The entry before this one, number %d of writer %s, is gone.", e.Seq-1, e.Writer)
		case gap > 2:
			p.Gap = true
			p.Detail = fmt.Sprintf("The %d entries before this one, numbers %d to %d of writer %s, are gone.", gap-1, before.Seq+1, e.Seq-1, e.Writer)
		case e.Prev != before.SHA256 && before.Path == "":
			p.Detail = fmt.Sprintf("The entry changed: the first one of writer %s names none before it.", e.Writer)
		case e.Prev != before.SHA256 && vouched(i):
			p.Path = before.Path
			p.Detail = fmt.Sprintf("The entry changed: %s follows another one as number %d of writer %s.", e.Path, before.Seq, e.Writer)
		case e.Prev != before.SHA256 && i+1 == len(links) && head.Seq == 0:
			p.Detail = fmt.Sprintf("The entry changed, or the one before it, %s.", before.Path)
		default:
			before = e
			continue // or told with the next one, or at the end, which nobody vouches for either
		}
		problems = append(problems, p)
		before = e
	}
	return problems
}

func atEnd(links []Entry, head Head) []Problem {
	p := Problem{Writer: head.Writer, Path: head.Path}
	last := Entry{}
	if len(links) > 0 {
		last = links[len(links)-1]
	}
	switch {
	case last.Seq < head.Seq:
		p.Gap = true
		p.Detail = fmt.Sprintf("The last entries of writer %s are gone: it wrote %d, and the last one there is number %d.", head.Writer, head.Seq, last.Seq)
	case last.Seq > head.Seq:
		p.Path = last.Path
		p.Detail = fmt.Sprintf("Writer %s wrote %d entries, and this is number %d.", head.Writer, head.Seq, last.Seq)
	case last.SHA256 != head.SHA256:
		p.Path = last.Path
		p.Detail = fmt.Sprintf("The entry changed: it is not the last one writer %s wrote.", head.Writer)
	default:
		return nil
	}
	return []Problem{p}
}
