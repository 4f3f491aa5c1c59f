package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestPages: every file and folder that the pages for contributors name exists.
func TestPages(t *testing.T) {
	root := filepath.Join("..", "..")
	place := regexp.MustCompile("`((?:\\.?[a-z_]+/)+[A-Za-z_./*]*|[a-z_]+\\.go)`")
	for _, page := range []string{"CONTRIBUTING.md", "SECURITY.md"} {
		b, err := os.ReadFile(filepath.Join(root, ".github", page))
		if err != nil {
			t.Fatal(err)
		}
		found := place.FindAllStringSubmatch(string(b), -1)
		if len(found) == 0 {
			t.Errorf("%s names no place", page)
		}
		for _, m := range found {
			name := m[1]
			if strings.Contains(name, "NAME") {
				continue
			}
			if hits, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(name))); err != nil || len(hits) == 0 {
				t.Errorf("%s names %s, which is not there", page, name)
			}
		}
	}
}
