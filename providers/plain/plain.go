// Package plain keeps artifacts as ordinary files in a directory, in the
// layout IBM DPOD uses, so that a person with nothing but a shell finds them:
//
//	<path>/.holdfast/store.json                       identity of the store
//	<path>/.holdfast/tmp/<artifact id>/               staging, never listed
//	<path>/.holdfast/trash/<artifact id>.json         manifests of deletions under way
//	<path>/.holdfast/catalog/YYYY/MM/DD/<id>-<event>.json
//	<path>/.holdfast/heads/<writer>.json              end of a writer's chain of events
//	<path>/<device>/secure-backup/<time>/             files and holdfast-manifest.json
//	<path>/<device>/domain/<domain>/<domain>-export-<time>-<variant>.<suffix>
//	<path>/<device>/domain/<domain>/<domain>-export-<time>-<variant>.holdfast.json
//
// Times are UTC, YYYY-MM-DD-HH-MM-SS-mmm. An artifact whose time is taken gets
// the next free millisecond; its manifest keeps the true time and the true names.
// Files that the store compresses or encrypts get the suffix .zst, .age or both.
// DPOD's own files are found as well, also under <device>/all-domains/.
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
	"github.com/holdfast-dr/holdfast/providers/plain/codec"
)

// Settings configures a plain store.
type Settings struct {
	Path      string     `hcl:"path" json:"path" doc:"Absolute path of the store's directory."`
	Mount     *Mount     `hcl:"mount,block" json:"mount,omitempty" doc:"What must be mounted at the path. Without it any directory will do."`
	FreeSpace *FreeSpace `hcl:"free_space,block" json:"free_space,omitempty" doc:"Space that stays free. Nothing starts below it, and writing stops at it."`
	Compress  string     `hcl:"compress,optional" json:"compress,omitempty" enum:"none|zstd" doc:"How files are compressed, none when absent. Files whose names say that they are compressed stay as they are."`
	Encrypt   *Encrypt   `hcl:"encrypt,block" json:"encrypt,omitempty" doc:"Who can read the files. Without it they are not encrypted. What is stored already stays as it is."`
	Decrypt   *Decrypt   `hcl:"decrypt,block" json:"decrypt,omitempty" doc:"How encrypted files are read. Backups and their verification do not need it."`
}

// Encrypt says for whom files are encrypted, with age. Who writes need not be able to read.
type Encrypt struct {
	Recipients []string `hcl:"recipients" json:"recipients" doc:"Public keys of age, each beginning with age1. Any one of their private keys reads the files."`
}

// Decrypt says how encrypted files are read.
type Decrypt struct {
	Identity providers.Secret `hcl:"identity" json:"identity" doc:"Secret with private keys of age, one in each line. Earlier keys beside the current one let older files be read."`
}

// Mount says what a store demands of the file system at its path.
type Mount struct {
	Required bool `hcl:"required,optional" json:"required" default:"true" doc:"The path must be a mount point."`
	Remote   bool `hcl:"remote,optional" json:"remote,omitempty" doc:"The file system must be a network file system."`
}

// FreeSpace is the space a store keeps free. The larger of the two limits of bytes counts.
type FreeSpace struct {
	MinPercent int       `hcl:"min_percent,optional" json:"min_percent,omitempty" doc:"Share of the file system that stays free, in percent."`
	MinBytes   unit.Size `hcl:"min_bytes,optional" json:"min_bytes,omitempty" doc:"Space that stays free."`
	MinInodes  int       `hcl:"min_inodes,optional" json:"min_inodes,omitempty" doc:"Inodes that stay free. Each file and directory takes one; file systems without a fixed number of them are not checked."`
}

// Bytes is the free space below which nothing is written, on a file system of total bytes.
func (f *FreeSpace) Bytes(total int64) int64 {
	if f == nil {
		return 0
	}
	return max(int64(f.MinBytes), total/100*int64(f.MinPercent)+total%100*int64(f.MinPercent)/100)
}

// Inodes is the number of free inodes below which nothing is written.
func (f *FreeSpace) Inodes() int64 {
	if f == nil {
		return 0
	}
	return int64(f.MinInodes)
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
	if s.FreeSpace != nil && s.FreeSpace.MinInodes < 0 {
		report("free_space.min_inodes", "The number is negative.")
	}
	if s.FreeSpace != nil && s.FreeSpace.MinBytes < 0 {
		report("free_space.min_bytes", "The size is negative.")
	}
	if s.Compress != "" && s.Compress != "none" && s.Compress != codec.Zstd {
		report("compress", fmt.Sprintf("%q is not known; there are none and zstd.", s.Compress))
	}
	if s.Encrypt != nil && len(s.Encrypt.Recipients) == 0 {
		report("encrypt.recipients", "Without a recipient nobody could read the files.")
	} else if s.Encrypt != nil {
		if _, err := codec.ParseRecipients(s.Encrypt.Recipients); err != nil {
			report("encrypt.recipients", fmt.Sprintf("A recipient cannot be used: %v.", err))
		}
	}
	if s.Decrypt != nil && s.Decrypt.Identity == "" {
		report("decrypt.identity", "No secret is named.")
	}
}

// StoreType describes the plain store to the registry.
func StoreType() providers.StoreType {
	return providers.StoreType{
		Type:     "plain",
		Doc:      "A directory of ordinary files, local or mounted, in the layout of IBM DPOD.",
		Settings: func() any { return new(Settings) },
		Place:    place,
		Open:     open,
	}
}

func place(settings any) string {
	s, ok := settings.(*Settings)
	if !ok {
		return ""
	}
	return s.Path
}

type store struct {
	name     string
	path     string
	settings Settings

	writer     string            // of the chain of events
	epoch      int64             // recorded; lower ones are not the store
	recipients *codec.Recipients // nil without encryption
	secret     func(ctx context.Context, ref providers.Secret) (string, error)

	// fail, when a test sets it, is asked before every change to the medium
	// and ends the call there, as a crash would.
	fail func(point string) error

	mu         sync.Mutex // guards the next four
	identity   string
	held       *os.Root // the store's directory, once its identity was seen
	closed     bool
	identities *codec.Identities // once resolved

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
	s := &store{
		name: name, path: filepath.Clean(set.Path), settings: *set,
		identity: env.Identity, epoch: env.Epoch, writer: writerID(env.Writer), secret: env.Secret,
	}
	if set.Encrypt != nil {
		var err error
		if s.recipients, err = codec.ParseRecipients(set.Encrypt.Recipients); err != nil {
			return nil, fmt.Errorf("open store %s: %w", name, err)
		}
	}
	return s, nil
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
