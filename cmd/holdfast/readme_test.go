package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestReadme: the README's configuration is valid and formatted, and every command in it exists with its flags.
func TestReadme(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	configs := regexp.MustCompile("(?s)```hcl\n(.*?)```").FindAllStringSubmatch(string(b), -1)
	if len(configs) != 1 {
		t.Fatalf("the README has %d configurations", len(configs))
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "shop.hold.hcl"), []byte(configs[0][1]), 0o600); err != nil {
		t.Fatal(err)
	}
	holdfast(t, 0, "validate", "--chdir", dir)
	if out := holdfast(t, 0, "fmt", "--check", dir); out != "" {
		t.Error("the README's configuration is not formatted")
	}

	commands := regexp.MustCompile("(?m)^holdfast .*$|`holdfast [^`]*`").FindAllString(string(b), -1)
	if len(commands) < 25 {
		t.Fatalf("only %d commands were found", len(commands))
	}
	word := regexp.MustCompile(`"[^"]*"|\S+`)
	for _, line := range commands {
		line, _, _ = strings.Cut(strings.Trim(line, "`"), " #")
		for _, one := range strings.Split(line, ";") {
			args := word.FindAllString(strings.TrimSpace(strings.Split(one, "|")[0]), -1)
			for i := range args {
				args[i] = strings.Trim(args[i], `"`)
			}
			if out := holdfast(t, 0, append(args[1:], "--help")...); !strings.Contains(out, "Usage:") {
				t.Errorf("%s: %s", line, out)
			}
		}
	}
}
