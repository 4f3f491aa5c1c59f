// Package golden runs tests whose cases lie in txtar archives: each directory of an archive is a case, and one of its files is the
// result that is wanted. With the flag -update the results are written there instead.
package golden

import (
	"flag"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "write the results of the golden tests into testdata")

// Case holds the files of one directory by their names, and those of the archive's top where the directory has none of that name.
type Case map[string][]byte

// Run makes a test of every case in the archives that match a pattern. Got is compared with the file called want.
func Run(t *testing.T, pattern, want string, got func(*testing.T, Case) string) {
	t.Helper()
	archives, err := filepath.Glob(pattern)
	if err != nil || len(archives) == 0 {
		t.Fatalf("no archives match %s: %v", pattern, err)
	}
	for _, file := range archives {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { runArchive(t, file, want, got) })
	}
}

func runArchive(t *testing.T, file, want string, got func(*testing.T, Case) string) {
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	out := &txtar.Archive{Comment: archive.Comment}
	for i, f := range archive.Files {
		dir := path.Dir(f.Name)
		if path.Base(f.Name) != want {
			out.Files = append(out.Files, f)
		}
		if dir == "." || i+1 < len(archive.Files) && path.Dir(archive.Files[i+1].Name) == dir {
			continue
		}
		t.Run(dir, func(t *testing.T) {
			c := read(archive, dir)
			result := got(t, c)
			out.Files = append(out.Files, txtar.File{Name: dir + "/" + want, Data: []byte(result)})
			if result != string(c[want]) && !*update {
				t.Errorf("got:\n%s\nwant:\n%s", result, c[want])
			}
		})
	}
	if *update {
		if err := os.WriteFile(file, txtar.Format(out), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// Read gives one case of an archive.
func Read(t testing.TB, file, dir string) Case {
	t.Helper()
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return read(archive, dir)
}

func read(archive *txtar.Archive, dir string) Case {
	c := Case{}
	for _, f := range archive.Files {
		if path.Dir(f.Name) == dir {
			c[path.Base(f.Name)] = f.Data
		}
	}
	for _, f := range archive.Files {
		if _, own := c[f.Name]; !own && path.Dir(f.Name) == "." {
			c[f.Name] = f.Data
		}
	}
	return c
}
