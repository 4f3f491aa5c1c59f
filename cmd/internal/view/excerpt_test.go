package view_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/holdfast-dr/holdfast/cmd/internal/view"
	"github.com/holdfast-dr/holdfast/config/diag"
)

// A line is shown around its mark, however long it is and whatever its characters are printed as; the mark stays below what it means.
func TestLongSnippet(t *testing.T) {
	for name, c := range map[string]struct {
		line     string
		from, to int
		marked   string // what stands above the mark
	}{
		"short":             {`site "a" { x = 1 }`, 11, 12, "x"},
		"NULs":              {`site "a" {` + strings.Repeat("\x00", 5000), 10, 11, `\u0000`},
		"no UTF-8":          {`x = "` + strings.Repeat("\xff", 500), 5, 6, `\ufffd`},
		"brackets":          {strings.Repeat("{", 5000), 3000, 3001, "{"},
		"a long word":       {`site "` + strings.Repeat("a", 5000) + `" {}`, 5, 5007, `"` + strings.Repeat("a", 56) + "..."},
		"at the end":        {strings.Repeat("ä", 3000) + "!", 6000, 6001, "!"},
		"wide before":       {strings.Repeat("\x00", 300) + "x = 1", 300, 301, "x"},
		"tabs":              {"\t\tx = 1", 2, 3, "x"},
		"nothing is marked": {strings.Repeat("y", 5000), 0, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			src := []byte("first\n" + c.line + "\nlast\n")
			list := diag.List{{Severity: diag.Error, Code: "HF-X", Summary: "Wrong", Range: diag.Range{
				Filename: "a", Start: diag.Pos{Line: 2, Byte: 6 + c.from}, End: diag.Pos{Line: 2, Byte: 6 + c.to},
			}}}
			list.WithSnippets(map[string][]byte{"a": src})
			var b bytes.Buffer
			if err := view.Diagnostics(&b, list, view.Style{}); err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(b.String(), "\n")
			code, mark := []rune(lines[2]), []rune(lines[3])
			if len(code) > 130 {
				t.Errorf("%d columns: %s", len(code), lines[2])
			}
			got := ""
			for i, r := range mark {
				if r == '^' && i < len(code) {
					got += string(code[i])
				}
			}
			if got != c.marked {
				t.Errorf("marked is %q, want %q:\n%s\n%s", got, c.marked, lines[2], lines[3])
			}
		})
	}
}
