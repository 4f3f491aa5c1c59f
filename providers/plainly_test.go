package providers_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"testing"

	"github.com/holdfast-dr/holdfast/providers"
)

func TestPlainly(t *testing.T) {
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	call := regexp.MustCompile(`\b[a-z]+at\b`)
	one := func(_ any, err error) error { return err }
	for name, err := range map[string]error{
		"open":     one(root.Open("none")),
		"stat":     one(root.Stat("none")),
		"lstat":    one(root.Lstat("none")),
		"root":     one(root.OpenRoot("none")),
		"read":     one(root.ReadFile("none")),
		"readlink": one(root.Readlink("none")),
		"mkdir":    root.Mkdir("none/deep", 0o700),
		"remove":   root.Remove("none"),
		"rename":   root.Rename("none", "other"),
		"symlink":  root.Symlink("a", "none/b"),
		"link":     root.Link("none", "b"),
		"chmod":    root.Chmod("none", 0o600),
		"lchown":   root.Lchown("none", os.Getuid(), os.Getgid()),
		"joined":   errors.Join(root.Remove("none"), one(root.Open("none"))),
	} {
		got := providers.Plainly(err)
		if !errors.Is(got, fs.ErrNotExist) || call.MatchString(got.Error()) {
			t.Errorf("%s: %v became %v", name, err, got)
		}
	}
	told := fmt.Errorf("%w: %w", providers.ErrCorrupt, one(root.Open("none")))
	for _, err := range []error{nil, errors.New("openat"), told, &fs.PathError{Op: "seek", Path: "x", Err: fs.ErrInvalid}} {
		if got := providers.Plainly(err); got != err {
			t.Errorf("%v became %v", err, got)
		}
	}
}
