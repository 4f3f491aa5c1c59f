package glob_test

import (
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-dr/holdfast/config/glob"
)

func TestMatch(t *testing.T) {
	tests := []struct {
		pattern, path string
		dir, want     bool
	}{
		{"a", "a", false, true},
		{"a", "a/b/c", false, true},
		{"a", "ab", false, false},
		{"a", "b/a", false, true}, // without a slash: every level
		{"a", "b/a/c", false, true},
		{"/a", "a", false, true},
		{"/a", "a/b", false, true},
		{"/a", "b/a", false, false},
		{"b/a", "b/a", false, true}, // with one: from the top
		{"b/a", "c/b/a", false, false},
		{"*.tmp", "x.tmp", false, true},
		{"*.tmp", "d/x.tmp", false, true},
		{"/*.tmp", "x.tmp", false, true},
		{"/*.tmp", "d/x.tmp", false, false},
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
		{"a/**", "a/b/c", false, true},
		{"/**", "a", false, true},
		{"**", "a", false, true},
		{"**/", "a", false, false},
		{"**/", "a/b", false, true},
		{"cache/", "cache", true, true},
		{"cache/", "cache", false, false},
		{"cache/", "cache/x", false, true},
		{"cache/", "a/cache/x", false, true},
		{"/cache/", "a/cache/x", false, false},
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
		{`\!keep`, "!keep", false, true},
		{`\[a]`, "[a]", false, true},
		{`\{a,b\}`, "{a,b}", false, true},
		{"[a]", "[a]", false, false},
		{"[ab]", "b", false, true},
		{"[ab]", "c", false, false},
		{"[ab]", "ab", false, false},
		{"x[!ab]", "xc", false, true},
		{"x[^ab]", "xa", false, false},
		{"x[!ab]", "x", false, false},
		{"x[!ab]y", "x/y", false, false},
		{"[a-cx]", "b", false, true},
		{"[a-cx]", "x", false, true},
		{"[a-cx]", "d", false, false},
		{"[ä-ü]", "ö", false, true},
		{"[]a]", "]", false, true},
		{"[!]a]", "b", false, true},
		{"[a-]", "-", false, true},
		{`[\]]`, "]", false, true},
		{`[\!a]`, "!", false, true},
		{"[*]", "*", false, true},
		{"[*]", "x", false, false},
		{"[{,}]", ",", false, true},
		{"*.[ch]", "src/x.c", false, true},
		{"*.{c,h}", "src/x.h", false, true},
		{"*.{c,h}", "src/x.o", false, false},
		{"{a,b}/{c,d}", "b/c", false, true},
		{"{a,b}/{c,d}", "x/b/c", false, false},
		{"{a,b/c}", "x/a", false, true}, // each is a pattern by itself
		{"{a,b/c}", "x/b/c", false, false},
		{"a{,.gz}", "a.gz", false, true},
		{"a{,.gz}", "a", false, true},
		{"{a,{b,c}d}", "cd", false, true},
		{"{a,{b,c}d}", "d", false, false},
		{"?x", "\xffx", false, true},
		{"*\xff", "a\xff", false, true},
		{"\xff", "\xfe", false, false},
		{"[!a]", "\xff", false, true},
		{"[\uFFFD]", "\xff", false, false},
		{"caf\u00e9", "cafe\u0301", false, false}, // two spellings, two names
		{"cafe\u0301", "cafe\u0301", false, true},
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
	for _, p := range []string{
		"", "/", "//", "//a", "a//b", "a//", "..", "a/../b", "./a", "a/.", "a**", "**b/c", `a\`, `a\/b`, "a\x00b",
		"!", "!/", "!..", "[", "[]", "[!]", "[a", "[a/b]", "[z-a]", "[[:alpha:]]", "{", "}", "{a", "a}", "{a}", "{a,}", "{a,b}}", "{..,a}",
		strings.Repeat("{a,b}", 9), strings.Repeat("{a,", 300) + strings.Repeat("}", 300),
	} {
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

func TestLaterPatternsTakeBack(t *testing.T) {
	for _, tt := range []struct {
		patterns, path string
		dir, want      bool
	}{
		{"*.log !keep.log", "a/x.log", false, true},
		{"*.log !keep.log", "a/keep.log", false, false},
		{"!keep.log *.log", "keep.log", false, true}, // the last one decides
		{"*.log !keep.log /keep.log", "keep.log", false, true},
		{"*.log !keep.log /keep.log", "a/keep.log", false, false},
		{"/* !/etc", "etc", true, false},
		{"/* !/etc", "etc/passwd", false, false},
		{"/* !/etc", "var", true, true},
		{"/* !/etc", "var/x", false, true},
		{"* !*/ !*.conf", "a/b/x.conf", false, false},
		{"* !*/ !*.conf", "a/b/x.txt", false, true},
		{"* !*/ !*.conf", "a/b", true, false},
		{"a/** !a/**/ !a/**/*.c", "a/b/c/x.c", false, false},
		{"a/** !a/**/ !a/**/*.c", "a/b/c/x.h", false, true},
		{"cache/* !cache/keep", "cache/keep/x", false, false},
		{"cache/* !cache/keep", "cache/other/x", false, true},
		{"docs !docs/drafts", "docs/drafts/x", false, false},
		{"docs !docs/drafts", "docs/x", false, true},
		{"*.{a,b} !x.{a,c}", "x.a", false, false},
		{"*.{a,b} !x.{a,c}", "x.b", false, true},
		{"cache/ !cache", "cache", false, false},
		// What people have asked of backup programs: restic/restic#2311, borgbackup/borg#2399, creativeprojects/resticprofile#599.
		{"/* !/Users /Users/* !/Users/me", "Users/me/x", false, false},
		{"/* !/Users /Users/* !/Users/me", "Users/you", true, true},
		{"/* !/Users /Users/* !/Users/me", "bin", true, true},
		{"/log/** !/log/**/", "log/a/b", true, false},
		{"/log/** !/log/**/", "log/a/b/x", false, true},
		{"data/* !data/volumes", "data/volumes/x", false, false},
	} {
		m, err := glob.Compile(strings.Fields(tt.patterns))
		if err != nil {
			t.Fatalf("Compile(%q): %v", tt.patterns, err)
		}
		if got := m.Match(tt.path, tt.dir); got != tt.want {
			t.Errorf("%q on %q (dir %v): got %v, want %v", tt.patterns, tt.path, tt.dir, got, tt.want)
		}
	}
}

func TestIdle(t *testing.T) {
	m, err := glob.Compile([]string{"*.log", "/a.log", "*.tmp", "!b.tmp", "!c.tmp", "gone/"})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"a.log", "x.tmp", "b.tmp"} {
		m.Match(path, false)
	}
	copied := m
	copied.Match("gone", false)
	if got := copied.Idle(); !slices.Equal(got, []string{"!c.tmp", "gone/"}) {
		t.Errorf("idle are %q", got)
	}
	if got := m.IdlePlaces(); len(got) != 0 {
		t.Errorf("idle places are %q", got)
	}
	places, _ := glob.Compile([]string{"/gone", "**/gone", "a/{b,c}", "{gone,a/b}", "*.tmp"})
	if got := places.IdlePlaces(); !slices.Equal(got, []string{"/gone", "a/{b,c}"}) {
		t.Errorf("idle places are %q", got)
	}
	shadowed, _ := glob.Compile([]string{"*.log", "a.log"})
	if shadowed.Match("a.log", false); len(shadowed.Idle()) != 0 {
		t.Errorf("idle are %q, which did match", shadowed.Idle())
	}
}

func TestDoubts(t *testing.T) {
	for _, tt := range []struct {
		patterns, root string
		want           []int
		why            string
	}{
		{patterns: "*.log !keep.log /var/x {a,b}"},
		{patterns: "!keep", want: []int{0}, why: "takes back"},
		{patterns: "!keep keep !keep", want: []int{0}, why: "takes back"},
		{patterns: "cache !cache/keep", want: []int{1}, why: `"cache/*"`},
		{patterns: "a/cache/ !a/cache/b/keep", want: []int{1}, why: `"a/cache/*"`},
		{patterns: "cache !cache/{keep,other}", want: []int{1}, why: `"cache/*"`},
		{patterns: "cache !{cache/keep,else}"},
		{patterns: "cache/* !cache/keep"},
		// Questions of users: restic/restic#5353 and #1005.
		{patterns: "/video/** !/video/series/Bean/", want: []int{1}, why: `"video/series/*"`},
		{patterns: ".meteor/ !.meteor/local/db", want: []int{1}, why: `".meteor/*"`},
		{patterns: "cache !cache !cache/keep"},
		{patterns: `cache\tmp`, want: []int{0}, why: "separated by /"},
		{patterns: `\!a \* \[`},
		{patterns: "~/cache", want: []int{0}, why: "stands for itself"},
		{patterns: "/srv/www/cache", root: "/srv/www", want: []int{0}, why: `"/cache"`},
		{patterns: "srv/www/cache/*.tmp", root: "/srv/www", want: []int{0}, why: `"/cache"`},
		{patterns: "srv/wwwx srv", root: "/srv/www"},
		{patterns: "srv", root: "/"},
		{patterns: strings.Repeat("x", 256), want: []int{0}, why: "255"},
		{patterns: strings.Repeat("x", 255)},
		{patterns: "a**"}, // an error, not a doubt
	} {
		var got []int
		for _, d := range glob.Doubts(strings.Fields(tt.patterns), tt.root) {
			got = append(got, d.Index)
			if !strings.Contains(d.Why, tt.why) || tt.why == "" {
				t.Errorf("%q: %s, want %q", tt.patterns, d.Why, tt.why)
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%q in %q: doubts about %v, want %v", tt.patterns, tt.root, got, tt.want)
		}
	}
}

func TestHostilePatternIsFast(t *testing.T) {
	m, err := glob.Compile([]string{
		strings.Repeat("**/a*a*a*a*a*b/", 20) + "x",
		strings.Repeat("{a*a,?*a}", 5) + "[!a]*b",
		"!" + strings.Repeat("**/{a*,?*[ab]}/", 8) + "y",
	})
	if err != nil {
		t.Fatal(err)
	}
	start := worked(t)
	m.Match(strings.Repeat(strings.Repeat("a", 200)+"/", 20)+"x", false)
	if d := worked(t) - start; d > 2*time.Second {
		t.Errorf("took %v", d)
	}
}

// worked is how long the processor worked for this process, whatever else it does.
func worked(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkMatch is one path of a usual tree against a usual list.
func BenchmarkMatch(b *testing.B) {
	m, err := glob.Compile([]string{"*.tmp", "node_modules", "cache/", "/var/log", "**/.git/objects/**", "*.{o,a,so}", "~*"})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		m.Match("home/someone/projects/thing/src/main_test.go", false)
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
		if !m.Match(path+"/below", false) && dir && !strings.HasPrefix(pattern, "!") {
			t.Errorf("%q matches directory %q and not what is below", pattern, path)
		}
		if i := strings.LastIndexByte(path, '/'); i >= 0 && !m.MayMatchBelow(path[:i]) {
			t.Errorf("%q matches %q and says nothing below %q may", pattern, path, path[:i])
		}
	})
}
