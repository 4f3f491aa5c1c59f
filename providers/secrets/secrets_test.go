package secrets_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/secrets"
)

const canary = "canary-1b7f"

func file(t *testing.T, content string, mode os.FileMode) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(p, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(p, mode); err != nil {
		t.Fatal(err)
	}
	return p
}

func resolver(src secrets.Source) func(context.Context, providers.Secret) (string, error) {
	return secrets.New(func(string) (secrets.Source, error) { return src, nil })
}

func TestValues(t *testing.T) {
	t.Setenv("HOLDFAST_TEST_SECRET", canary+"\n")
	t.Setenv("HOLDFAST_TEST_EMPTY", "")
	big := strings.Repeat("x", 64<<10)
	for _, c := range []struct {
		name string
		src  secrets.Source
		want string
		err  string
	}{
		{"file", secrets.Source{File: file(t, canary, 0o600)}, canary, ""},
		{"final newline", secrets.Source{File: file(t, canary+"\n", 0o400)}, canary, ""},
		{"only one newline", secrets.Source{File: file(t, canary+"\n\n", 0o600)}, canary + "\n", ""},
		{"windows newline", secrets.Source{File: file(t, canary+"\r\n", 0o640)}, canary, ""},
		{"largest file", secrets.Source{File: file(t, big, 0o600)}, big, ""},
		{"too large", secrets.Source{File: file(t, big+"x", 0o600)}, "", "larger than"},
		{"world readable", secrets.Source{File: file(t, canary, 0o644)}, "", "chmod o="},
		{"empty file", secrets.Source{File: file(t, "\n", 0o600)}, "", "empty"},
		{"directory", secrets.Source{File: t.TempDir()}, "", "no regular file"},
		{"no file", secrets.Source{File: filepath.Join(t.TempDir(), "none")}, "", "no such file"},
		{"environment", secrets.Source{Env: "HOLDFAST_TEST_SECRET"}, canary, ""},
		{"not set", secrets.Source{Env: "HOLDFAST_TEST_NOT_SET"}, "", "HOLDFAST_TEST_NOT_SET is not set"},
		{"set to nothing", secrets.Source{Env: "HOLDFAST_TEST_EMPTY"}, "", "empty"},
		{"command", secrets.Source{Exec: []string{"printf", canary + "\\n"}}, canary, ""},
		{"command fails", secrets.Source{Exec: []string{"sh", "-c", "echo " + canary + "; echo " + canary + " >&2; exit 4"}}, "", "exit code 4"},
		{"command prints too much", secrets.Source{Exec: []string{"sh", "-c", "head -c 70000 /dev/zero"}}, "", "larger than"},
		{"no command", secrets.Source{Exec: []string{"/does/not/exist"}}, "", "not started"},
		{"nothing", secrets.Source{}, "", "exactly one"},
		{"two", secrets.Source{Env: "A", File: "/b"}, "", "exactly one"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := resolver(c.src)(t.Context(), "secret.db")
			if c.err == "" {
				if err != nil || got != c.want {
					t.Fatalf("got %q, %v", got, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.err) || !strings.Contains(err.Error(), "secret.db") {
				t.Fatalf("error %v, want one with %q", err, c.err)
			}
			if strings.Contains(err.Error(), canary) {
				t.Errorf("the error holds the value: %v", err)
			}
		})
	}
}

func TestAFailedCommandDoesNotTellWhatItPrinted(t *testing.T) {
	script := file(t, "#!/bin/sh\necho "+canary+"\necho "+canary+" >&2\nexit 4\n", 0o700)
	_, err := resolver(secrets.Source{Exec: []string{script}})(t.Context(), "secret.db")
	if err == nil || strings.Contains(err.Error(), canary) {
		t.Errorf("error %v", err)
	}
}

// TestNatureOfCauses: a secret that cannot be read is never taken for what its reader misses itself.
func TestNatureOfCauses(t *testing.T) {
	for _, src := range []secrets.Source{{File: filepath.Join(t.TempDir(), "none")}, {Exec: []string{"/does/not/exist"}}} {
		if _, err := resolver(src)(t.Context(), "secret.db"); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%+v: %v", src, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := resolver(secrets.Source{Exec: []string{"sleep", "60"}})(ctx, "secret.db"); !errors.Is(err, context.Canceled) {
		t.Errorf("the end of its context: %v", err)
	}
}

func TestLookupErrors(t *testing.T) {
	unknown := errors.New("not in the plan")
	get := secrets.New(func(string) (secrets.Source, error) { return secrets.Source{}, unknown })
	if _, err := get(t.Context(), "secret.db"); !errors.Is(err, unknown) {
		t.Errorf("error %v", err)
	}
}

func TestRedactor(t *testing.T) {
	var r secrets.Redactor
	if got := r.Replace(canary); got != canary {
		t.Errorf("a redactor that knows nothing changed the text: %q", got)
	}
	get := r.Watch(resolver(secrets.Source{File: file(t, canary, 0o600)}))
	if _, err := get(t.Context(), "secret.db"); err != nil {
		t.Fatal(err)
	}
	r.Add("secret.longer", canary+"-and-more")
	r.Add("secret.key", "-----BEGIN KEY-----\nMIIBVAIBADANBg\nkqhkiG9w0BAQ\n-----END KEY-----\n")
	for _, c := range []struct{ in, want string }{
		{"login with " + canary + " failed", "login with (secret db) failed"},
		{canary + "-and-more", "(secret longer)"},
		{"line MIIBVAIBADANBg of it", "line (secret key) of it"},
		{"nothing", "nothing"},
	} {
		if got := r.Replace(c.in); got != c.want {
			t.Errorf("%q became %q, want %q", c.in, got, c.want)
		}
	}
	if len(r.Values()) == 0 {
		t.Error("no values")
	}
}

func TestWriterSeesValuesOverSeveralWrites(t *testing.T) {
	var r secrets.Redactor
	r.Add("secret.db", canary)
	text := "first " + canary + "\nsecond\nthird " + canary
	for size := 1; size <= len(text); size++ {
		var out bytes.Buffer
		w := r.Writer(&out)
		for rest := text; rest != ""; {
			n := min(size, len(rest))
			if _, err := io.WriteString(w, rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if want := "first (secret db)\nsecond\nthird (secret db)"; out.String() != want {
			t.Fatalf("in writes of %d bytes: %q", size, out.String())
		}
	}
}
