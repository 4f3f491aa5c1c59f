package source

import (
	"fmt"
	"io/fs"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits on what a repository or directory may make us read. They are far
// above real configurations and far below what would hurt the host.
const (
	maxFiles      = 10_000   // entries of one folder
	maxFileSize   = 16 << 20 // bytes of one file
	maxTotalSize  = 64 << 20 // bytes of all configuration files together
	maxDepth      = 32       // folders inside folders
	maxCommitSize = 1 << 20  // bytes of a commit or tag object
	maxTreeSize   = 16 << 20 // bytes of a tree object on the way to the folder
)

// IsConfig says whether name has one of the endings of a configuration file:
// .hold.hcl, .hold.json or .holdvars.hcl. Names that begin with a dot are not
// configuration: editors and systems leave such files beside the real ones.
func IsConfig(name string) bool {
	if strings.HasPrefix(path.Base(name), ".") {
		return false
	}
	for _, ending := range []string{".hold.hcl", ".hold.json", ".holdvars.hcl"} {
		if strings.HasSuffix(name, ending) {
			return true
		}
	}
	return false
}

// item is one entry of a folder, before it was judged.
type item struct {
	name string
	mode fs.FileMode // type bits; 0 for a plain file
	size int64       // -1: not known yet
	id   objectID    // in git only
	at   string      // on disk: where a link that is followed leads to, inside the folder
}

// place is where an entry of a folder is read.
func (it item) place(dir string) string {
	if it.at != "" {
		return it.at
	}
	return path.Join(dir, it.name)
}

// admit keeps the plain files and folders that are safe to show, in order. In
// the configuration folder itself (root), an entry that looks like
// configuration but cannot be read as such is an error: leaving it out would
// silently drop what it declares.
func admit(items []item, root bool) ([]item, error) {
	if len(items) > maxFiles {
		return nil, fmt.Errorf("the folder has more than %d entries; keep configuration in a folder of its own", maxFiles)
	}
	kept := make([]item, 0, len(items))
	folded := map[string]string{}
	for _, it := range items {
		config := root && IsConfig(strings.ToLower(it.name))
		if err := plain(it, config); err != nil {
			if config {
				return nil, err
			}
			continue
		}
		if config {
			key := strings.ToLower(it.name)
			if other, clash := folded[key]; clash {
				return nil, fmt.Errorf("%q and %q are the same name on systems that ignore case; rename one", other, it.name)
			}
			folded[key] = it.name
		}
		kept = append(kept, it)
	}
	return kept, nil
}

// plain says why an entry is not shown; config: it looks like configuration.
func plain(it item, config bool) error {
	switch {
	case !safeName(it.name):
		return fmt.Errorf("%q is not an acceptable file name; use printable characters without backslashes, at most 255 bytes", it.name)
	case it.mode&fs.ModeSymlink != 0:
		return fmt.Errorf("%s is a symbolic link; links are never followed, put a plain file in its place", it.name)
	case it.mode&submodule == submodule:
		return fmt.Errorf("%s is a git submodule, not a file; submodules are never read", it.name)
	case it.mode.IsDir() && config:
		return fmt.Errorf("%s is a folder but is named like a configuration file; rename it", it.name)
	case !it.mode.IsDir() && !it.mode.IsRegular():
		return fmt.Errorf("%s is not a plain file (%s); put a plain file in its place", it.name, kindOf(it.mode))
	}
	return nil
}

// submodule marks a git link, which no fs.FileMode describes.
const submodule = fs.ModeDir | fs.ModeIrregular

func kindOf(m fs.FileMode) string {
	switch {
	case m&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case m&fs.ModeSocket != 0:
		return "a socket"
	case m&fs.ModeDevice != 0:
		return "a device"
	}
	return "a special file"
}

// safeName refuses names that mean something else on another system or on a
// terminal: path parts, git's own directory in its disguises, control and
// direction characters.
func safeName(name string) bool {
	if name == "" || len(name) > 255 || !utf8.ValidString(name) || strings.ContainsAny(name, `/\`) {
		return false
	}
	for _, r := range name {
		if !unicode.IsGraphic(r) {
			return false
		}
	}
	switch strings.ToLower(strings.TrimRight(name, ". ")) {
	case "", ".git", "git~1":
		return false
	}
	return true
}

// cleanPath checks a folder path given by a person and returns it in fs form,
// "." for the root.
func cleanPath(p string) (string, error) {
	if p == "" {
		return ".", nil
	}
	parts := strings.Split(strings.Trim(p, "/"), "/")
	switch {
	case path.IsAbs(p):
		return "", fmt.Errorf("path %q is absolute; give it relative to the root of the repository", p)
	case len(parts) > maxDepth:
		return "", fmt.Errorf("path %q is deeper than %d folders", p, maxDepth)
	}
	for _, part := range parts {
		if part != "." && !safeName(part) {
			if part == ".." {
				return "", fmt.Errorf("path %q leaves the repository; paths with .. are refused", p)
			}
			return "", fmt.Errorf("path %q is not acceptable because of the part %q", p, part)
		}
	}
	return path.Clean(p), nil
}

// shownPath is the form of a folder in Info: the root is the empty string.
func shownPath(folder string) string {
	if folder == "." {
		return ""
	}
	return folder
}

// tooLarge is the error of a read over a limit.
type tooLarge struct {
	name        string
	size, limit int64
}

func (e *tooLarge) Error() string {
	return fmt.Sprintf("%s has %d bytes, more than the limit of %d; split it", e.name, e.size, e.limit)
}
