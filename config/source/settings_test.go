package source_test

import (
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-dr/holdfast/config/source"
)

func settingsOf(text string) (string, error) {
	var all strings.Builder
	err := source.EachSetting([]byte(text), func(section, name, key, value string) {
		for _, part := range []string{section, name} {
			if part != "" {
				all.WriteString(part + ".")
			}
		}
		all.WriteString(key + "\n" + value + "\x00")
	})
	return all.String(), err
}

// Config files made of all that git's syntax has, in any order, are read and refused as git does.
func TestSettingsAsGitReadsThem(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Fatal("git is not installed")
	}
	pieces := []string{
		"[core]", "[Core]\n", "[branch \"a b\"]", "[branch \"\"]\n", "[branch.feature]\n", "[a \"\\\"q\\\\\"]", "[ x]", "[x", "]", "[a \"b\"\n", "[a\t\"b\"]", "[a \"b\" ]",
		"\n", "\n\n", " ", "\t", "\r\n", "# note\n", "; note", "#", "name", "key-1", "1key", "_", "=", " = ", "value", "\"quoted ; # text\"", "\"open", "\\\n", "\\t", "\\n", "\\x",
		"\\\"", "\\\\", "true", "J\xfcrgen", "日本", "a b  c  ", "name = value\n", "\tx=y\n", "flag\n", "[extensions]\n\tobjectFormat = sha256\n", "partialClone = origin\n",
	}
	random := rand.New(rand.NewPCG(1, 2))
	file := filepath.Join(t.TempDir(), "config")
	accepted := 0
	for range 400 {
		var b strings.Builder
		if random.IntN(10) == 0 {
			b.WriteString("\ufeff")
		}
		for range 1 + random.IntN(5) {
			if random.IntN(2) == 0 {
				b.WriteString("[s]\n")
			}
			b.WriteString(pieces[random.IntN(len(pieces))])
			if random.IntN(2) == 0 {
				b.WriteString("\nk =")
			}
		}
		writeFile(t, file, b.String())
		cmd := exec.Command("git", "config", "--file", file, "--list", "-z")
		cmd.Env = gitEnv
		out, gitErr := cmd.Output()
		got, err := settingsOf(b.String())
		if (err == nil) != (gitErr == nil) {
			t.Errorf("%q: %v, git says %v", b.String(), err, gitErr)
			continue
		}
		if err != nil {
			continue
		}
		accepted++
		// Here an empty name is none; git writes a key without a value without a line for it.
		want := strings.ReplaceAll(string(out), "branch..", "branch.")
		for i, w := 0, strings.Split(want, "\x00"); i < len(w)-1; i++ {
			if !strings.Contains(w[i], "\n") {
				w[i] += "\ntrue"
			}
			want = strings.Join(w, "\x00")
		}
		tabs := strings.NewReplacer("\t", " ") // as git before 2.45 has them inside values
		if tabs.Replace(got) != tabs.Replace(want) {
			t.Errorf("%q:\n got %q\nwant %q", b.String(), got, want)
		}
	}
	if accepted < 50 {
		t.Errorf("only %d were accepted", accepted)
	}
}

func FuzzSettings(f *testing.F) {
	f.Add("[core]\n\tbare = false # no\n[a \"b\"] c = \"d\\\n e\"")
	f.Fuzz(func(t *testing.T, text string) {
		if all, err := settingsOf(text); err == nil && len(all) > 100*len(text)+10 {
			t.Errorf("%d bytes gave %d", len(text), len(all))
		}
	})
}
