package diag_test

import (
	"strings"
	"testing"

	"github.com/holdfast-dr/holdfast/config/diag"
)

func TestNearest(t *testing.T) {
	words := []string{"region", "labels", "site", "store", "path", "free_space", "activity"}
	for word, want := range map[string]string{
		"regoin": "region", "rgion": "region", "regions": "region", "stie": "site", "stoer": "store", "pth": "path",
		"activiti": "activity", "lables": "labels", "freespace": "free_space",
		"colour": "", "x": "", "": "", "objective": "",
	} {
		if got := diag.Nearest(word, words); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
	if got := diag.Nearest("ac", []string{"ad", "ab", "xx"}); got != "ab" {
		t.Errorf("of two equally near words the first in order is taken, got %q", got)
	}
	if got := diag.Nearest("a", nil); got != "" {
		t.Errorf("got %q", got)
	}
	long := strings.Repeat("x", 300)
	if got := diag.Nearest(long, []string{long + "y"}); got != long+"y" {
		t.Errorf("got %q", got)
	}
}

func TestListSortAndCount(t *testing.T) {
	at := func(file string, byteOffset int) diag.Range {
		return diag.Range{Filename: file, Start: diag.Pos{Line: 1, Column: 1, Byte: byteOffset}}
	}
	var l diag.List
	l.Warnf("W", at("a", 0), "warned", "one %d", 1)
	l.Errorf("E2", at("b", 5), "late", "x")
	l.Errorf("E1", at("b", 1), "early", "x")
	l.Errorf("E0", at("a", 9), "first file", "x")
	l.Sort()
	got := ""
	for _, d := range l {
		got += d.Code + " "
	}
	if errors, warnings := l.Count(); got != "E0 E1 E2 W " || errors != 3 || warnings != 1 || !l.HasErrors() {
		t.Errorf("%s %d %d", got, errors, warnings)
	}
}

func TestSnippets(t *testing.T) {
	src := map[string][]byte{"a": []byte("one\r\ntwo three\nfour")}
	place := func(from, to int) diag.Range {
		return diag.Range{Filename: "a", Start: diag.Pos{Line: 2, Byte: from}, End: diag.Pos{Byte: to}}
	}
	for name, test := range map[string]struct {
		r        diag.Range
		code     string
		from, to int
	}{
		"inside":          {place(9, 14), "two three", 4, 9},
		"to the end":      {place(15, 19), "four", 0, 4},
		"several lines":   {place(5, 19), "two three", 0, 9},
		"empty":           {place(19, 19), "four", 4, 4},
		"ends before":     {place(9, 2), "two three", 4, 4},
		"windows newline": {place(0, 3), "one", 0, 3},
	} {
		l := diag.List{{Range: test.r}}
		l.WithSnippets(src)
		s := l[0].Snippet
		if s == nil || s.Code != test.code || s.HighlightStartOffset != test.from || s.HighlightEndOffset != test.to {
			t.Errorf("%s: %+v", name, s)
		}
	}
	outside := diag.List{{Range: place(100, 101)}, {Range: diag.Range{Filename: "b"}}}
	outside.WithSnippets(src)
	if outside[0].Snippet != nil || outside[1].Snippet != nil {
		t.Error("a snippet of nothing")
	}
}
