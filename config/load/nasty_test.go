package load_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/holdfast-dr/holdfast/config/load"
)

// chain declares locals that each make something of the one before.
func chain(n int, first, next string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "locals {\n  l0 = %s\n", first)
	for i := 1; i <= n; i++ {
		fmt.Fprintf(&b, "  l%d = %s\n", i, strings.ReplaceAll(next, "X", fmt.Sprintf("local.l%d", i-1)))
	}
	return b.String() + "}\n"
}

func loops(n int, inner string) string {
	return "locals { a = " + strings.Repeat("[for x in range(1000) : ", n) + inner + strings.Repeat("]", n) + " }"
}

// TestCostlyExpressions has what would take minutes, or all memory, without bounds.
func TestCostlyExpressions(t *testing.T) {
	const huge, large, much, failed = "more than 400 digits", "too large", "computes too much", "The call of "
	for _, c := range []struct{ src, want string }{
		{`store "plain" "x" { path = "/x/${1e99999999}" }`, huge},
		{`store "plain" "x" { path = "/x/${1e-99999999}" }`, huge},
		{`locals { a = tonumber("1e99999999") }`, huge},
		{`locals { a = "1e99999999" % 7 }`, huge},
		{`locals { a = -"1e99999999" }`, huge},
		{`locals { a = ceil("1e99999999") }`, huge},
		{`locals { a = max("1e99999999", 1) }`, huge},
		{`freeze "x" { from = 1e99999999 }`, huge},
		{`backup_plan "x" { parallel = 1e99999999 }`, huge},
		{`locals { a = ` + strings.Repeat("9", 60_000) + ` }`, huge},
		{`locals { a = tonumber("` + strings.Repeat("9", 16_000) + `") }`, huge},
		{`locals { a = "${jsondecode("[1e99999999]")[0]}" }`, huge},
		{`locals { a = jsondecode("` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `") }`, "nested"},
		{chain(5, "1e300", "X * X") + `store "plain" "x" { path = "/${local.l5}" }`, huge},
		{`store "plain" "x" { path = "/${` + strings.Repeat("1e300 * ", 900) + `1}" }`, huge},
		{`locals { a = format("%999999999d", 1) }`, failed + "format"},
		{`locals { a = format("%.999999999f", 1) }`, failed + "format"},
		{`locals { a = formatlist("%-99999999s", ["x"]) }`, failed + "formatlist"},
		{`locals { a = range(0, 1e15) }`, failed + "range"},
		{chain(60, `"xxxxxxxxxxxxxxxx"`, `"${X}${X}${X}${X}"`), large},
		{chain(60, `{ a = 1 }`, `{ a = X, b = X, c = X, d = X }`), large},
		{chain(9, "range(1000)", "[X, X, X, X, X, X, X, X, X, X]") + "locals { f = jsonencode(local.l9) }", large},
		{`locals { a = replace("` + strings.Repeat("x", 10_000) + `", "", "` + strings.Repeat("y", 10_000) + `") }`, large},
		{`locals { a = join("` + strings.Repeat("x", 10_000) + `", range(1000)) }`, large},
		{`locals { a = join("", [for x in range(1000) : "` + strings.Repeat("x", 10_000) + `"]) }`, large},
		{`locals { a = setproduct(range(1000), range(1000)) }`, failed + "setproduct"},
		{`locals { a = toset([for x in range(1000) : { "k${x}" = x }]) }`, "different types"},
		{loops(4, `"`+strings.Repeat("x", 10_000)+`${1 + 1}"`), much},
		{`locals { a = try(` + strings.TrimSuffix(strings.TrimPrefix(loops(4, `"`+strings.Repeat("x", 10_000)+`${1 + 1}"`), "locals { a = "), " }") + `, 1) }`, much},
	} {
		start := time.Now()
		_, list := load.Load(fstest.MapFS{"a.hold.hcl": {Data: []byte(c.src)}}, load.Options{Types: registry{}, Version: "1.0.0"})
		found := ""
		for _, d := range list {
			found += d.Detail + "\n"
		}
		if !strings.Contains(found, c.want) {
			t.Errorf("%.100s: %s, want %q", c.src, found, c.want)
		}
		t.Logf("%v %.60s", time.Since(start).Round(time.Millisecond), c.src)
	}
}

func TestHugeNumbersInJSON(t *testing.T) {
	for src, bad := range map[string]bool{
		`{"backup_plan": {"x": {"parallel": 1e99999999}}}`:                                      true,
		`{"backup_plan": {"x": {"parallel": ` + strings.Repeat("9", 1000) + `}}}`:               true,
		`{"locals": {"a": -1E+401}}`:                                                            true,
		`{"locals": {"a": 1e400, "b": "1e99999999", "c": "` + strings.Repeat("9", 1000) + `"}}`: false,
	} {
		_, list := load.Load(fstest.MapFS{"a.hold.json": {Data: []byte(src)}}, load.Options{Types: registry{}})
		if got := len(list) > 0 && strings.Contains(list[0].Detail, "400 digits"); got != bad {
			t.Errorf("%.60s: %v", src, list)
		}
	}
}

// FuzzExpression bounds the time that any expression takes.
func FuzzExpression(f *testing.F) {
	for _, seed := range []string{`"${1e9}"`, `range(1000)`, `[for x in range(9) : "${x}${x}"]`, `format("%99d", 1)`, `replace("a", "", "b")`, `{ for k in ["a"] : k => 1e300 * 1e300 }`, `setproduct([1], ["a"])`, `regexall("(a*)*", "aa")`, `try(1 / 0, "x")`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, expr string) {
		start := time.Now()
		load.Load(fstest.MapFS{"a.hold.hcl": {Data: []byte("locals {\n  a = " + expr + "\n  b = [local.a, \"${local.a}\"]\n}\n")}}, load.Options{Types: registry{}})
		if d := time.Since(start); d > 10*time.Second {
			t.Errorf("took %v", d)
		}
	})
}

// TestTooManyTokens has text that costs the parser gigabytes, though no file is too large.
func TestTooManyTokens(t *testing.T) {
	line := "locals { a = [" + strings.Repeat("1,", 1<<17) + "] }\n"
	for name, fsys := range map[string]fstest.MapFS{
		"one list":      {"a.hold.hcl": {Data: []byte("locals { a = [" + strings.Repeat("1,", 1<<20) + "] }")}},
		"lines":         {"a.hold.hcl": {Data: []byte(strings.Repeat("\n", 1<<21))}},
		"words":         {"a.hold.hcl": {Data: []byte(strings.Repeat("a ", 1<<21))}},
		"templates":     {"a.hold.hcl": {Data: []byte("locals {\n a = <<E\n#" + strings.Repeat("${1}", 1<<19) + "\nE\n}")}},
		"JSON":          {"a.hold.json": {Data: []byte(`{"locals":{"a":[` + strings.Repeat("1,", 1<<20) + `1]}}`)}},
		"several files": {"a.hold.hcl": {Data: []byte(line)}, "b.hold.hcl": {Data: []byte(line + line)}, "c.hold.hcl": {Data: []byte(line + line)}},
	} {
		_, list := load.Load(fsys, load.Options{Types: registry{}, Version: "1.0.0"})
		if len(list) != 1 || !strings.Contains(list[0].Detail, "words, signs and lines") {
			t.Errorf("%s: %v", name, list)
		}
	}
	comments := fstest.MapFS{"a.hold.hcl": {Data: []byte(strings.Repeat("# "+strings.Repeat("why, ", 1000)+"\n", 1<<10))}}
	if _, list := load.Load(comments, load.Options{Types: registry{}, Version: "1.0.0"}); list.HasErrors() {
		t.Errorf("comments: %v", list)
	}
}
