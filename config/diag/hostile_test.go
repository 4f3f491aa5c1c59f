package diag_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/holdfast-dr/holdfast/config/diag"
)

func snippet(src string, from, to int) *diag.Snippet {
	l := diag.List{{Range: diag.Range{
		Filename: "f", Start: diag.Pos{Line: 1 + strings.Count(src[:max(0, min(from, len(src)))], "\n"), Byte: from}, End: diag.Pos{Byte: to},
	}}}
	l.WithSnippets(map[string][]byte{"f": []byte(src)})
	return l[0].Snippet
}

func TestSnippetPlaces(t *testing.T) {
	tests := []struct {
		name, src    string
		from, to     int
		code, marked string
		line         int
	}{
		{"file start", "a = 1\nb = 2\n", 0, 1, "a = 1", "a", 1},
		{"the newline itself", "a = 1\nb = 2\n", 5, 6, "a = 1", "", 1},
		{"second line", "a = 1\nb = 2\n", 6, 7, "b = 2", "b", 2},
		{"end of file after a newline", "a = 1\n", 6, 6, "", "", 2},
		{"end of file without one", "a = 1", 5, 5, "a = 1", "", 1},
		{"CRLF", "a = 1\r\nb = 2\r\n", 7, 12, "b = 2", "b = 2", 2},
		{"the CR itself", "a = 1\r\nb = 2\r\n", 5, 7, "a = 1", "", 1},
		{"end beyond the file", "a = 1", 4, 1 << 40, "a = 1", "1", 1},
		{"end before the file", "a = 1", 4, -1 << 40, "a = 1", "", 1},
		{"characters", "ä = \"ß\"\n", 5, 9, "ä = \"ß\"", "\"ß\"", 1},
		{"empty file", "", 0, 0, "", "", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := snippet(tt.src, tt.from, tt.to)
			if s == nil {
				t.Fatal("no snippet")
			}
			if marked := s.Code[s.HighlightStartOffset:s.HighlightEndOffset]; s.Code != tt.code || marked != tt.marked || s.StartLine != tt.line {
				t.Errorf("line %d %q, marked %q; want line %d %q, marked %q", s.StartLine, s.Code, marked, tt.line, tt.code, tt.marked)
			}
		})
	}
	for _, place := range []int{-1, 6, 1 << 40, -1 << 40} {
		if s := snippet("a = 1", place, place+1); s != nil {
			t.Errorf("byte %d of a file of 5 gives %+v", place, s)
		}
	}
}

func TestSnippetOfAnySource(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		src := rapid.StringOf(rapid.SampledFrom([]rune("ab= \t\r\n\"äß🙂"))).Draw(t, "src")
		src = strings.Repeat(src, rapid.SampledFrom([]int{1, 1, 40}).Draw(t, "times"))
		runes := []int{len(src)}
		for i := range src {
			runes = append(runes, i)
		}
		from := rapid.SampledFrom(runes).Draw(t, "from")
		to := rapid.IntRange(-3, len(src)+3).Draw(t, "to")
		s := snippet(src, from, to)
		switch {
		case s == nil:
			t.Fatal("no snippet")
		case s.HighlightStartOffset < 0 || s.HighlightEndOffset < s.HighlightStartOffset || s.HighlightEndOffset > len(s.Code):
			t.Fatalf("marks %d to %d of %d bytes", s.HighlightStartOffset, s.HighlightEndOffset, len(s.Code))
		case strings.ContainsAny(s.Code, "\n") || strings.HasSuffix(s.Code, "\r") && len(s.Code) < 390 || len(s.Code) > 400:
			t.Fatalf("%q is not one line", s.Code)
		case !strings.Contains(src, s.Code) || !utf8.ValidString(s.Code):
			t.Fatalf("%q is no part of the source", s.Code)
		}
		rest := src[from:]
		if marked := s.Code[s.HighlightStartOffset:]; !strings.HasPrefix(rest, marked) {
			t.Fatalf("marks %q, the source has %q", marked, rest)
		}
	})
}

func TestSnippetOfLongLine(t *testing.T) {
	src := strings.Repeat("ä", 500_000) + "HERE" + strings.Repeat("ß", 500_000)
	for _, from := range []int{0, 1_000_000, len(src)} {
		s := snippet(src, from, from+4)
		marked := s.Code[s.HighlightStartOffset:s.HighlightEndOffset]
		if len(s.Code) > 400 || !utf8.ValidString(s.Code) || !strings.HasPrefix(src[from:], marked) || from < len(src) && len(marked) != 4 {
			t.Errorf("at byte %d: %d bytes, marked %q", from, len(s.Code), marked)
		}
	}
}

func TestSortIsStableAndOrdered(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var l diag.List
		for i := range rapid.IntRange(0, 20).Draw(t, "n") {
			l = append(l, diag.Diagnostic{
				Severity: rapid.SampledFrom([]diag.Severity{diag.Error, diag.Warning}).Draw(t, "severity"),
				Code:     rapid.SampledFrom([]string{"a", "b"}).Draw(t, "code"),
				Range:    diag.Range{Filename: rapid.SampledFrom([]string{"", "f", "g"}).Draw(t, "file"), Start: diag.Pos{Byte: rapid.IntRange(0, 2).Draw(t, "byte")}},
				Detail:   string(rune('A' + i)),
			})
		}
		before := slices.Clone(l)
		l.Sort()
		type key struct {
			warning bool
			file    string
			at      int
			code    string
		}
		for i := 1; i < len(l); i++ {
			a, b := l[i-1], l[i]
			ka, kb := key{a.Severity != diag.Error, a.Range.Filename, a.Range.Start.Byte, a.Code}, key{b.Severity != diag.Error, b.Range.Filename, b.Range.Start.Byte, b.Code}
			less := ka.warning != kb.warning && kb.warning || ka.warning == kb.warning && (ka.file < kb.file ||
				ka.file == kb.file && (ka.at < kb.at || ka.at == kb.at && (ka.code < kb.code || ka.code == kb.code && a.Detail < b.Detail)))
			if !less {
				t.Fatalf("%+v stands before %+v", a, b)
			}
		}
		errors, warnings := before.Count()
		if errors+warnings != len(l) || before.HasErrors() != (errors > 0) {
			t.Fatalf("%d errors and %d warnings in %d", errors, warnings, len(l))
		}
	})
}

func TestNearestOfHostileWords(t *testing.T) {
	long := strings.Repeat("ab", 1<<19)
	for _, tt := range []struct {
		word       string
		candidates []string
		want       string
	}{
		{"", []string{"", "a", "ab"}, ""},
		{"x", []string{"abc", "z"}, "z"},
		{"id", []string{"ids", "xy"}, "ids"},
		{"sotre", []string{"aaaaa", "store"}, "store"},
		{"stora", []string{"store", "aaaaa"}, "store"},
		{"größe", []string{"grösse", "größen"}, "größen"},
		{"\xff\xfe", []string{"ab"}, ""},
		{long, []string{long + "x"}, ""},
		{"store", []string{long, "store"}, "store"},
	} {
		if got := diag.Nearest(tt.word, tt.candidates); got != tt.want {
			t.Errorf("Nearest(%.20q, %.40q) is %.20q, want %q", tt.word, tt.candidates, got, tt.want)
		}
	}
}

func TestDiagnosticAsJSON(t *testing.T) {
	var l diag.List
	l.Errorf("code", diag.Range{}, "summary", "%s and 100%%", "detail")
	got, err := json.Marshal(l)
	if want := `[{"severity":"error","code":"code","summary":"summary","detail":"detail and 100%"}]`; err != nil || string(got) != want {
		t.Errorf("%s, %v; want %s", got, err, want)
	}
	if (diag.Range{}).String() != "" || (diag.Range{Filename: "f", Start: diag.Pos{Line: 2, Column: 3}}).String() != "f:2,3" {
		t.Error("a range prints wrongly")
	}
}
