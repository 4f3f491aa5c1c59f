// Package plain keeps artifacts as ordinary files in a directory, in the
// layout IBM DPOD uses, so that a person with nothing but a shell finds them:
//
//	<path>/.holdfast/store.json                       identity of the store
//	<path>/.holdfast/tmp/<artifact id>/               staging, never listed
//	<path>/.holdfast/trash/<artifact id>.json         manifests of deletions under way
//	<path>/.holdfast/catalog/YYYY/MM/DD/<id>-<event>.json
//	<path>/<device>/secure-backup/<time>/             files and holdfast-manifest.json
//	<path>/<device>/domain/<domain>/<domain>-export-<time>-<variant>.<suffix>
//	<path>/<device>/domain/<domain>/<domain>-export-<time>-<variant>.holdfast.json
//
// Times are UTC, YYYY-MM-DD-HH-MM-SS-mmm. An artifact whose time is taken gets
// the next free millisecond; its manifest keeps the true time and the true names.
//
// All access goes through a handle on the store's directory, so that a store
// that is unmounted in the middle of a run never continues on the disk below it.
// Symbolic links inside a store are refused.
package plain

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/holdfast-dr/holdfast/config/unit"
	"github.com/holdfast-dr/holdfast/providers"
)

// Settings configures a plain store.
type Settings struct {
	Path      string     `hcl:"path" json:"path" doc:"Absolute path of the store's directory."`
	Mount     *Mount     `hcl:"mount,block" json:"mount,omitempty" doc:"What must be mounted at the path. Without it any directory will do."`
	FreeSpace *FreeSpace `hcl:"free_space,block" json:"free_space,omitempty" doc:"Space that stays free. Nothing starts below it, and writing stops at it."`
}

// Mount says what a store demands of the file system at its path.
type Mount struct {
	Required bool `hcl:"required,optional" json:"required" default:"true" doc:"The path must be a mount point."`
	Remote   bool `hcl:"remote,optional" json:"remote,omitempty" doc:"The file system must be a network file system."`
}

// FreeSpace is the space a store keeps free. The larger of the two limits counts.
type FreeSpace struct {
	MinPercent int       `hcl:"min_percent,optional" json:"min_percent,omitempty" doc:"Share of the file system that stays free, in percent."`
	MinBytes   unit.Size `hcl:"min_bytes,optional" json:"min_bytes,omitempty" doc:"Space that stays free."`
}

// Bytes is the free space below which nothing is written, on a file system of total bytes.
func (f *FreeSpace) Bytes(total int64) int64 {
	if f == nil {
		return 0
	}
	return max(int64(f.MinBytes), total/100*int64(f.MinPercent)+total%100*int64(f.MinPercent)/100)
}

// Check reports settings that cannot work.
func (s *Settings) Check(report func(path, problem string)) {
	switch {
	case !filepath.IsAbs(s.Path):
		report("path", fmt.Sprintf("%q is not an absolute path.", s.Path))
	case strings.ContainsRune(s.Path, 0):
		report("path", "The path contains a zero byte.")
	case filepath.Clean(s.Path) == "/":
		report("path", "The root directory cannot be a store.")
	}
	if s.FreeSpace != nil && (s.FreeSpace.MinPercent < 0 || s.FreeSpace.MinPercent > 99) {
		report("free_space.min_percent", fmt.Sprintf("%d is not between 0 and 99.", s.FreeSpace.MinPercent))
	}
	if s.FreeSpace != nil && s.FreeSpace.MinBytes < 0 {
		report("free_space.min_bytes", "The size is negative.")
	}
}

// StoreType describes the plain store to the registry.
func StoreType() providers.StoreType {
	return providers.StoreType{
		Type:     "plain",
		Doc:      "A directory of ordinary files, local or mounted, in the layout of IBM DPOD.",
		Settings: func() any { return new(Settings) },
		Open:     open,
	}
}

type store struct {
	name     string
	path     string
	settings Settings

	// fail, when a test sets it, is asked before every change to the medium
	// and ends the call there, as a crash would.
	fail func(point string) error

	mu       sync.Mutex // guards the next three
	identity string
	held     *os.Root // the store's directory, once its identity was seen
	closed   bool

	publishing sync.Mutex // held while artifacts appear or disappear
}

var _ providers.Store = (*store)(nil)

func open(_ context.Context, name string, settings any, env providers.Env) (providers.Store, error) {
	set, ok := settings.(*Settings)
	if !ok {
		return nil, fmt.Errorf("open store %s: settings are %T, not *plain.Settings", name, settings)
	}
	var problems []string
	set.Check(func(path, problem string) { problems = append(problems, path+": "+problem) })
	if len(problems) > 0 {
		return nil, fmt.Errorf("open store %s: %s", name, strings.Join(problems, " "))
	}
	return &store{name: name, path: filepath.Clean(set.Path), settings: *set, identity: env.Identity}, nil
}

// Close lets go of the store's directory.
func (s *store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.held == nil {
		return nil
	}
	err := s.held.Close()
	s.held = nil
	return err
}

// step marks a point before a change to the medium.
func (s *store) step(point string) error {
	if s.fail == nil {
		return nil
	}
	return s.fail(point)
}
