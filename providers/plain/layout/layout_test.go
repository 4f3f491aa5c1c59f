package layout_test

import (
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/plain/layout"
	"github.com/holdfast-dr/holdfast/providers/providertest"
)

func FuzzEscape(f *testing.F) {
	for _, name := range providertest.HostileNames {
		f.Add(name, 255)
		f.Add(name, 60)
	}
	f.Fuzz(func(t *testing.T, name string, limit int) {
		limit = 34 + max(limit, -limit)%(255-34+1)
		got := layout.Escape(name, limit)
		checkFileName(t, name, got, limit)
		for _, other := range []string{got, name + ".", "." + name, name + "%", strings.ToLower(name), strings.ToUpper(name)} {
			if other != name && layout.Escape(other, limit) == got {
				t.Errorf("%q and %q both become %q", name, other, got)
			}
		}
	})
}

func checkFileName(t interface{ Errorf(string, ...any) }, name, got string, limit int) {
	switch {
	case got == "" || len(got) > limit:
		t.Errorf("%q became %q, %d bytes", name, got, len(got))
	case !filepath.IsLocal(got) || strings.ContainsAny(got, "/\\") || !utf8.ValidString(got):
		t.Errorf("%q became %q, which is no file name", name, got)
	case got[0] == '.' || strings.HasSuffix(got, ".") || strings.HasSuffix(got, " "):
		t.Errorf("%q became %q, which some file systems change or hide", name, got)
	case strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }):
		t.Errorf("%q became %q, which does not print", name, got)
	}
}

var anyName = rapid.OneOf(
	rapid.SampledFrom(providertest.HostileNames),
	rapid.StringOfN(rapid.SampledFrom([]rune(`.%/\ a=~2F`)), 1, 8, -1),
	rapid.Map(rapid.SliceOfN(rapid.Byte(), 1, 300), func(b []byte) string { return string(b) }),
	rapid.StringN(1, 200, -1),
)

func TestDifferentNamesNeverShareAFile(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfNDistinct(anyName, 1, 12, rapid.ID).Draw(t, "names")
		ref := providers.ArtifactRef{
			ID: "01", Device: anyName.Draw(t, "device"), Domain: anyName.Draw(t, "domain"), Variant: providers.Nonpersisted,
			Action: rapid.SampledFrom([]providers.Action{providers.SecureBackup, providers.ExportDomain}).Draw(t, "action"),
		}
		var files []providers.File
		escaped := map[string]string{}
		for _, n := range names {
			files = append(files, providers.File{Name: n})
			e := layout.Escape(n, 120)
			checkFileName(t, n, e, 120)
			if other, taken := escaped[e]; taken {
				t.Errorf("%q and %q are both escaped as %q", n, other, e)
			}
			escaped[e] = n
		}
		used := map[string]bool{}
		for i, got := range layout.Shifted(ref, 0).Names(files) {
			checkFileName(t, names[i], got, 255)
			if used[got] || got == "holdfast-manifest.json" || strings.HasSuffix(got, "-nonpersisted.holdfast.json") {
				t.Errorf("file %q became %q, which is taken", names[i], got)
			}
			used[got] = true
		}
	})
}

// Every name that is not cut short comes back from its directory.
func TestUnescape(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := anyName.Draw(t, "name")
		escaped := layout.Escape(name, 120)
		if got := layout.Unescape(escaped); got != name && !strings.Contains(escaped, "%~") && escaped != "%" {
			t.Errorf("%q became %q and came back as %q", name, escaped, got)
		}
	})
}
