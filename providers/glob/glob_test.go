package glob_test

import (
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dr/holdfast/providers/glob"
)

func TestMatch(t *testing.T) {
	tests := []struct {
		pattern, path string
		dir, want     bool
	}{
		{"a", "a", false, true},
		{"a", "a/b/c", false, true},
		{"a", "ab", false, false},
		{"a", "b/a", false, false},
		{"*.tmp", "x.tmp", false, true},
		{"*.tmp", "d/x.tmp", false, false},
		{"**/*.tmp", "x.tmp", false, true},
		{"**/*.tmp", "d/e/x.tmp", false, true},
		{"**/*.tmp", "d/e/x.tmp/inside", false, true},
		{"**/*.tmp", "d/e/x.tmpx", false, false},
		{"a/**/z", "a/z", false, true},
		{"a/**/z", "a/b/c/z", false, true},
		{"a/**/z", "b/z", false, false},
		{"a/**/b/**/c", "a/b/x/b/y/c", false, true},
		{"a/**/b/c", "a/b/b/c", false, true},
		{"a/**/b/c", "a/b/c/b", false, true},
		{"a/**/b/c", "a/b/x/c", false, false},
		{"**/**/x", "p/x", false, true},
		{"a/**", "a", true, false},
		{"a/**", "a/b", false, true},
		{"**", "a", false, true},
		{"cache/", "cache", true, true},
		{"cache/", "cache", false, false},
		{"cache/", "cache/x", false, true},
		{"**/x/", "x/x", false, true},
		{"**/x/", "y/x", false, false},
		{"?", "ä", false, true},
		{"?", "ab", false, false},
		{"a?c", "abc", false, true},
		{"a*b*c", "axxbyybc", false, true},
		{"a*b*c", "axxbyyb", false, false},
		{"*", ".hidden", false, true},
		{`\*`, "*", false, true},
		{`\*`, "x", false, false},
		{`*\?`, "why?", false, true},
		{`*\?`, "whyx", false, false},
		{"[a]", "[a]", false, true},
		{"[a]", "a", false, false},
		{"?x", "\xffx", false, true},
		{"*\xff", "a\xff", false, true},
	}
	for _, tt := range tests {
		m, err := glob.Compile([]string{tt.pattern})
		if err != nil {
			t.Fatalf("Compile(%q): %v", tt.pattern, err)
		}
		if got := m.Match(tt.path, tt.dir); got != tt.want {
			t.Errorf("%q on %q (dir %v): got %v, want %v", tt.pattern, tt.path, tt.dir, got, tt.want)
		}
	}
}

func TestCompileRefuses(t *testing.T) {
	for _, p := range []string{"", "/", "/a", "//", "a//b", "a//", "..", "a/../b", "./a", "a/.", "a**", "**b/c", `a\`, `a\/b`, "a\x00b"} {
		if _, err := glob.Compile([]string{"ok", p}); err == nil {
			t.Errorf("Compile(%q) gave no error", p)
		}
	}
}

func TestZeroMatcherMatchesNothing(t *testing.T) {
	var m glob.Matcher
	if !m.Empty() || m.Match("a", false) || m.MayMatchBelow("") {
		t.Error("the zero Matcher must be empty and match nothing")
	}
}

func TestMayMatchBelow(t *testing.T) {
	tests := []struct {
		pattern, dir string
		want         bool
	}{
		{"a/b/c", "", true},
		{"a/b/c", "a", true},
		{"a/b/c", "a/b", true},
		{"a/b/c", "a/b/c", true},
		{"a/b/c", "a/b/c/d", true},
		{"a/b/c", "b", false},
		{"a/b/c", "a/c", false},
		{"**/x", "any/where", true},
		{"a/**/x", "a/q/r", true},
		{"a/**/x", "b", false},
		{"*/x", "q", true},
		{"*/x", "q/y", false},
	}
	for _, tt := range tests {
		m, err := glob.Compile([]string{tt.pattern})
		if err != nil {
			t.Fatal(err)
		}
		if got := m.MayMatchBelow(tt.dir); got != tt.want {
			t.Errorf("%q below %q: got %v, want %v", tt.pattern, tt.dir, got, tt.want)
		}
	}
}

func TestHostilePatternIsFast(t *testing.T) {
	m, err := glob.Compile([]string{strings.Repeat("**/a*a*a*a*a*b/", 20) + "x"})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	m.Match(strings.Repeat(strings.Repeat("a", 200)+"/", 20)+"x", false)
	if d := time.Since(start); d > time.Second {
		t.Errorf("took %v", d)
	}
}

func FuzzMatch(f *testing.F) {
	f.Add("a/**/b*?", "a/x/bcd", true)
	f.Add(`\**/`, "*", false)
	f.Fuzz(func(t *testing.T, pattern, path string, dir bool) {
		m, err := glob.Compile([]string{pattern})
		if err != nil || path == "" || strings.HasPrefix(path, "/") || strings.HasSuffix(path, "/") || strings.Contains(path, "//") {
			return
		}
		if !m.Match(path, dir) {
			return
		}
		if !m.Match(path+"/below", false) && dir {
			t.Errorf("%q matches directory %q and not what is below", pattern, path)
		}
		if i := strings.LastIndexByte(path, '/'); i >= 0 && !m.MayMatchBelow(path[:i]) {
			t.Errorf("%q matches %q and says nothing below %q may", pattern, path, path[:i])
		}
	})
}
