package artifact

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/holdfast-dr/holdfast/providers"
)

// directory is one that appears complete or not at all. Its content is made in a workplace beside it:
//
//	workplace/content   being written
//	workplace/complete  exists when all of content is there and on the medium, and holds what the content is
//
// and then content is renamed. A workplace that is complete and has no content belongs to a directory that appeared.
type directory struct {
	dir       string // free of symbolic links
	workplace string
	what      string // part of the artifact; empty: all of it, in the device's own format
	published bool
}

// Workplace is where the content of a directory is put together.
func Workplace(dir, id string) string { return filepath.Clean(dir) + ".partial-" + id }

// Sweep removes the workplace of a directory; none is no error.
func Sweep(dir, id string) error {
	dir, err := resolved(dir)
	if err != nil {
		return err
	}
	return os.RemoveAll(Workplace(dir, id))
}

// resolved follows symbolic links: what a link leads to is what is restored into. An absent directory is itself.
func resolved(dir string) (string, error) {
	real, err := filepath.EvalSymlinks(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Lstat(dir); err == nil {
			return "", fmt.Errorf("restore into %s: it is a symbolic link that leads nowhere", dir)
		}
		return filepath.Clean(dir), nil
	}
	return real, err
}

func (d *directory) content() string  { return filepath.Join(d.workplace, "content") }
func (d *directory) complete() string { return filepath.Join(d.workplace, "complete") }

// begin makes an empty workplace, unless a former life of the same restore finished its own.
func begin(dir, id, what string) (*directory, error) {
	dir, err := resolved(dir)
	if err != nil {
		return nil, err
	}
	d := &directory{dir: dir, workplace: Workplace(dir, id), what: what}
	if was, err := os.ReadFile(d.complete()); err == nil && string(was) == what && !exists(d.content()) && exists(dir) {
		d.published = true
		return d, nil
	}
	if err := Vacant(dir); err != nil {
		return nil, err
	}
	if err := os.RemoveAll(d.workplace); err != nil {
		return nil, err
	}
	return d, os.MkdirAll(d.content(), 0o700)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// Vacant says why a directory cannot be restored into: it must be absent or empty, and not the root of a file system, which
// cannot be put in place in one step.
func Vacant(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("restore into %s: %w", dir, err)
	}
	if len(entries) > 0 {
		return &providers.Error{Op: "restore into", Target: dir, Err: providers.ErrNotEmpty, Hint: "Name a directory that is absent or empty."}
	}
	var own, above syscall.Stat_t
	if syscall.Stat(dir, &own) == nil && syscall.Stat(filepath.Join(dir, ".."), &above) == nil && own.Dev != above.Dev {
		return &providers.Error{
			Op: "restore into", Target: dir, Err: fmt.Errorf("a file system is mounted there: %w", errors.ErrUnsupported),
			Hint: "Name a directory inside it.",
		}
	}
	return nil
}

// publish gives the complete content its name.
func (d *directory) publish() error {
	f, err := os.OpenFile(d.complete(), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(d.what)
	if err := errors.Join(err, f.Sync(), f.Close(), syncDir(d.content()), syncDir(d.workplace)); err != nil {
		return err
	}
	// Unlike os.Rename this takes the place of an empty directory.
	err = syscall.Rename(d.content(), d.dir)
	switch {
	case errors.Is(err, syscall.ENOTEMPTY), errors.Is(err, syscall.EEXIST):
		return &providers.Error{Op: "restore into", Target: d.dir, Err: providers.ErrNotEmpty, Hint: "Something was put there while the content was made. Name a directory that is absent or empty."}
	case err != nil:
		return fmt.Errorf("restore into %s: %w", d.dir, err)
	}
	return syncDir(filepath.Dir(d.dir))
}

func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
