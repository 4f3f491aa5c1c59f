package diag_test

import (
	"strings"
	"testing"

	"github.com/holdfast-dr/holdfast/config/diag"
)

func TestWords(t *testing.T) {
	for _, c := range []struct{ what, got, want string }{
		{"quote", diag.Quote("a\n\"b\""), `"a\n\"b\""`},
		{"quote of long text", diag.Quote(strings.Repeat("ä", 81)), `"` + strings.Repeat("ä", 80) + `..."`},
		{"quoted", strings.Join(diag.Quoted([]string{"a", `b"`}), " "), `"a" "b\""`},
		{"printable", diag.Printable(" a\tb\x1b[2J\xff\u202e "), "a b?[2J??"},
		{"printable long text", diag.Printable(strings.Repeat("x", 301)), strings.Repeat("x", 300) + "..."},
		{"sentence", diag.Sentence("ärger."), "Ärger"},
		{"empty sentence", diag.Sentence(""), ""},
		{"no words", diag.Joined(nil, " and "), ""},
		{"one word", diag.Joined([]string{"a"}, " and "), "a"},
		{"three words", diag.Joined([]string{"a", "b", "c"}, " or "), "a, b or c"},
		{"article before a vowel", diag.Article("activity"), "an activity"},
		{"article", diag.Article("store"), "a store"},
		{"suggestion", diag.Suggest("var.", "reigon", []string{"region", "size"}, " No."), " Did you mean var.region?"},
		{"no suggestion", diag.Suggest("var.", "reigon", nil, " No."), " No."},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %q, want %q", c.what, c.got, c.want)
		}
	}
}
