package spelling_test

import (
	"testing"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/holdfast-dr/holdfast/config/load/spelling"
)

func TestEveryCharacterComesThrough(t *testing.T) {
	for r := rune(0); r <= utf8.MaxRune; r++ {
		if !utf8.ValidRune(r) {
			continue
		}
		text := "e" + string(r) + "\u0301"
		kept := spelling.Keep(text)
		if got := spelling.Restore(norm.NFC.String(kept)); got != text {
			t.Fatalf("%U: %+q came back as %+q", r, text, got)
		}
	}
}

func FuzzKeep(f *testing.F) {
	f.Add("cafe\u0301", "\u0301")
	f.Add("\U000F0000\U00100301", "\u212b\uf900")
	f.Add("\u1100", "\u1161")
	f.Fuzz(func(t *testing.T, a, b string) {
		if !utf8.ValidString(a + b) {
			return
		}
		joined := norm.NFC.String(norm.NFC.String(spelling.Keep(a)) + norm.NFC.String(spelling.Keep(b)))
		if got := spelling.Restore(joined); got != a+b {
			t.Errorf("%+q and %+q came back as %+q", a, b, got)
		}
		spelling.Restore(a)
		spelling.KeepJSON(a)
		if kept, ok := spelling.KeepNative(a); ok && spelling.StableSource(a) && kept != a {
			t.Errorf("%+q was changed to %+q", a, kept)
		}
	})
}
