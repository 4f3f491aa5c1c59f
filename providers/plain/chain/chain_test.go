package chain_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/holdfast-dr/holdfast/providers/plain/chain"
)

// write makes a sound chain and its head.
func write(writer string, n int) ([]chain.Entry, chain.Head) {
	head := chain.Head{Schema: 1, Writer: writer}
	var entries []chain.Entry
	for range n {
		link := head.Next()
		data := fmt.Sprintf("%+v", link)
		e := chain.Entry{Link: link, Path: fmt.Sprintf("%s/%d", writer, link.Seq), SHA256: chain.Sum([]byte(data))}
		head = chain.Head{Schema: 1, Writer: writer, Seq: e.Seq, Path: e.Path, SHA256: e.SHA256, Entry: data}
		entries = append(entries, e)
	}
	return entries, head
}

func TestSoundChains(t *testing.T) {
	a, headA := write("a", 5)
	b, headB := write("b", 1)
	all := append(slices.Clone(b), a...)
	slices.Reverse(all)
	if problems := chain.Verify(all, []chain.Head{headA, headB}); len(problems) != 0 {
		t.Errorf("found %+v", problems)
	}
	if problems := chain.Verify(nil, nil); len(problems) != 0 {
		t.Errorf("found in nothing: %+v", problems)
	}
	if !headA.Sound("a") || headA.Sound("b") || (chain.Head{}).Sound("") {
		t.Error("Sound takes the wrong heads")
	}
}

func TestVerify(t *testing.T) {
	forged := chain.Sum([]byte("forged"))
	for name, c := range map[string]struct {
		damage func(e []chain.Entry, h *chain.Head) []chain.Entry
		path   string
		gap    bool
		says   string
	}{
		"first gone":    {func(e []chain.Entry, _ *chain.Head) []chain.Entry { return e[1:] }, "a/2", true, "number 1 of writer a"},
		"middle gone":   {func(e []chain.Entry, _ *chain.Head) []chain.Entry { return slices.Delete(e, 1, 3) }, "a/4", true, "numbers 2 to 3"},
		"last gone":     {func(e []chain.Entry, _ *chain.Head) []chain.Entry { return e[:4] }, "a/5", true, "it wrote 5"},
		"all gone":      {func([]chain.Entry, *chain.Head) []chain.Entry { return nil }, "a/5", true, "number 0"},
		"first changed": {func(e []chain.Entry, _ *chain.Head) []chain.Entry { e[0].SHA256 = forged; return e }, "a/1", false, "changed"},
		"third changed": {func(e []chain.Entry, _ *chain.Head) []chain.Entry { e[2].SHA256 = forged; return e }, "a/3", false, "changed"},
		"last changed":  {func(e []chain.Entry, _ *chain.Head) []chain.Entry { e[4].SHA256 = forged; return e }, "a/5", false, "changed"},
		"link of third changed": {func(e []chain.Entry, _ *chain.Head) []chain.Entry {
			e[2].Prev, e[2].SHA256 = forged, forged
			return e
		}, "a/3", false, "changed"},
		"link of last changed": {func(e []chain.Entry, _ *chain.Head) []chain.Entry {
			e[4].Prev, e[4].SHA256 = forged, forged
			return e
		}, "a/5", false, "changed"},
		"number twice": {func(e []chain.Entry, _ *chain.Head) []chain.Entry {
			more := e[4]
			more.Path = "a/6"
			return append(e, more)
		}, "a/6", false, "twice"},
		"more than the head knows": {func(e []chain.Entry, h *chain.Head) []chain.Entry {
			h.Seq, h.Path, h.SHA256 = 4, e[3].Path, e[3].SHA256
			return e
		}, "a/5", false, "wrote 4 entries"},
	} {
		entries, head := write("a", 5)
		entries = c.damage(entries, &head)
		problems := chain.Verify(entries, []chain.Head{head})
		if len(problems) != 1 {
			t.Errorf("%s: found %+v, want one", name, problems)
			continue
		}
		if p := problems[0]; p.Path != c.path || p.Gap != c.gap || !strings.Contains(p.Detail, c.says) || p.Writer != "a" {
			t.Errorf("%s: found %+v, want %s and %q", name, p, c.path, c.says)
		}
	}
	entries, _ := write("a", 2)
	if problems := chain.Verify(entries, nil); len(problems) != 1 || !problems[0].NoHead || problems[0].Path != "a/2" {
		t.Errorf("without a head: %+v", problems)
	}
}

// Whatever is taken away, changed or exchanged is found.
func TestAnyDamageIsFound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		entries, head := write("a", rapid.IntRange(1, 12).Draw(t, "n"))
		i := rapid.IntRange(0, len(entries)-1).Draw(t, "i")
		switch rapid.SampledFrom([]string{"remove", "cut", "change", "renumber", "exchange"}).Draw(t, "damage") {
		case "remove":
			entries = slices.Delete(entries, i, i+1)
		case "cut":
			entries = entries[:i]
		case "change":
			entries[i].SHA256 = chain.Sum([]byte("other"))
		case "renumber":
			entries[i].Seq += rapid.Int64Range(1, 20).Draw(t, "by")
		case "exchange":
			j := rapid.IntRange(0, len(entries)-1).Draw(t, "j")
			if i == j {
				return
			}
			entries[i].SHA256, entries[j].SHA256 = entries[j].SHA256, entries[i].SHA256
		}
		if len(chain.Verify(entries, []chain.Head{head})) == 0 {
			t.Errorf("nothing found in %+v with the head %+v", entries, head)
		}
	})
}
