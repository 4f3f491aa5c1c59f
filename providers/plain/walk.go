package plain

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/plain/disk"
	"github.com/holdfast-dr/holdfast/providers/plain/layout"
)

// walker goes through the directories of the layout. Its functions and methods return false when the walk ends.
type walker struct {
	store   *store
	ctx     context.Context
	problem func(err error) bool
	// visit sees each directory that can hold files of artifacts: that of one secure backup, or that of one
	// domain's exports.
	visit func(dir *os.Root, action providers.Action, rel string) bool
}

func (w walker) run(root *os.Root) bool {
	return w.each(root, "", func(dir *os.Root, device string) bool {
		if strings.HasPrefix(device, ".") || device == layout.LostFound {
			return true
		}
		return w.device(dir, device)
	})
}

func (w walker) device(root *os.Root, device string) bool {
	secure, domains, older := path.Join(device, layout.SecureDir), path.Join(device, layout.DomainDir), path.Join(device, providers.AllDomains)
	visit := func(action providers.Action, home string) func(parent *os.Root, name string) bool {
		return func(parent *os.Root, name string) bool {
			rel := path.Join(home, name)
			return w.within(parent, name, rel, func(dir *os.Root) bool { return w.visit(dir, action, rel) })
		}
	}
	return w.within(root, device, device, func(dir *os.Root) bool {
		return w.within(dir, layout.SecureDir, secure, func(dir *os.Root) bool {
			return w.each(dir, secure, visit(providers.SecureBackup, secure))
		}) && w.within(dir, layout.DomainDir, domains, func(dir *os.Root) bool {
			return w.each(dir, domains, visit(providers.ExportDomain, domains))
		}) && w.within(dir, providers.AllDomains, older, func(dir *os.Root) bool {
			return w.visit(dir, providers.ExportDomain, older)
		})
	})
}

// each visits the directories in a directory. A symbolic link, and a directory that
// cannot be read, is told as a problem.
func (w walker) each(dir *os.Root, rel string, visit func(parent *os.Root, name string) bool) bool {
	for entry, err := range disk.All(dir) {
		if err == nil {
			err = w.ctx.Err()
		}
		if err != nil {
			return w.tell(rel, err) && w.ctx.Err() == nil
		}
		switch entry.Type() {
		case fs.ModeDir:
			if !visit(dir, entry.Name()) {
				return false
			}
		case fs.ModeSymlink:
			if !w.tell(path.Join(rel, entry.Name()), disk.ErrLink) {
				return false
			}
		}
	}
	return true
}

func (w walker) tell(rel string, err error) bool {
	return w.problem(w.store.fault("list", rel, err))
}

// within runs visit in a directory that may be missing.
func (w walker) within(parent *os.Root, name, rel string, visit func(dir *os.Root) bool) bool {
	dir, err := disk.Sub(parent, name)
	if errors.Is(err, fs.ErrNotExist) {
		return true
	}
	if err != nil {
		return w.tell(rel, err)
	}
	defer dir.Close()
	return visit(dir)
}
