// Package sqlite captures SQLite databases with SQLite's online backup: a
// capture is one transaction's view, with the changes that are only in the write-ahead
// log, while applications go on reading and writing. A plain copy of the file is neither.
package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-dr/holdfast/providers"
)

// Settings are the arguments of a device of type "sqlite".
type Settings struct {
	Path    string `hcl:"path" json:"path" doc:"A database file, or a directory whose database files are the domains. Absolute."`
	TempDir string `hcl:"temp_dir,optional" json:"temp_dir,omitempty" doc:"Where a copy is made and checked before it is stored; needs the size of the largest database. The system's temporary directory when absent."`
}

// Check reports what is wrong with the settings.
func (s *Settings) Check(report func(path, problem string)) {
	if !filepath.IsAbs(s.Path) || strings.ContainsRune(s.Path, 0) {
		report("path", fmt.Sprintf("The path %q must be absolute.", s.Path))
	}
	if s.TempDir != "" && !filepath.IsAbs(s.TempDir) {
		report("temp_dir", fmt.Sprintf("The path %q must be absolute.", s.TempDir))
	}
}

// DeviceType describes the device type "sqlite".
func DeviceType() providers.DeviceType {
	return providers.DeviceType{
		Type:     "sqlite",
		Doc:      "SQLite databases: one file, or every database file in a directory.",
		Actions:  []providers.Action{providers.SecureBackup, providers.ExportDomain},
		InPlace:  providers.ExportsInPlace,
		Parts:    parts,
		Settings: func() any { return new(Settings) },
		Open:     open,
	}
}

type device struct {
	name      string
	settings  Settings
	protected []string
}

var _ providers.Device = (*device)(nil)

func open(_ context.Context, name string, settings any, env providers.Env) (providers.Device, error) {
	s, ok := settings.(*Settings)
	if !ok {
		return nil, fmt.Errorf("open device %s: settings are %T, not those of a sqlite device", name, settings)
	}
	var problems []error
	s.Check(func(path, problem string) { problems = append(problems, fmt.Errorf("%s: %s", path, problem)) })
	if len(problems) > 0 {
		return nil, fmt.Errorf("open device %s: %w", name, errors.Join(problems...))
	}
	return &device{name: name, settings: *s, protected: env.Protected}, nil
}

func (d *device) Inspect(ctx context.Context) (providers.DeviceInfo, error) {
	if err := ctx.Err(); err != nil {
		return providers.DeviceInfo{}, d.wrap("inspect", err)
	}
	found, err := d.databases()
	if err != nil {
		return providers.DeviceInfo{}, d.wrap("inspect", fmt.Errorf("%w: %w", providers.ErrUnavailable, err))
	}
	info := providers.DeviceInfo{Model: "SQLite"}
	for _, db := range found.databases {
		info.Domains = append(info.Domains, db.name)
	}
	return info, nil
}

func (d *device) DomainState(_ context.Context, domain string) (providers.DomainState, error) {
	if domain != providers.AllDomains {
		if _, _, err := d.database(domain); err != nil {
			return providers.DomainState{}, d.wrap("read the state of", err)
		}
	}
	return providers.DomainState{Quiesce: providers.QuiesceImpossible}, nil
}

func (d *device) Quiesce(context.Context, string, time.Duration) error { return errors.ErrUnsupported }

func (d *device) Unquiesce(context.Context, string) error { return errors.ErrUnsupported }

func (d *device) Close() error { return nil }

// database is one database file.
type database struct{ name, path string }

// inventory is what is at the device's path.
type inventory struct {
	databases []database // sorted by name
	own       []string   // databases of holdfast itself, left out
	left      []string   // what else is left out and looks as if somebody took it for a database, in words
}

// databases looks for the database files. It opens none that is holdfast's own.
func (d *device) databases() (inventory, error) {
	var inv inventory
	path := filepath.Clean(d.settings.Path)
	info, err := os.Stat(path)
	if err != nil {
		return inv, err
	}
	own, err := ownFiles(d.protected)
	if err != nil {
		return inv, err
	}
	if !info.IsDir() {
		if own.has(info) {
			return inv, errOwn(path)
		}
		inv.databases = []database{{filepath.Base(path), path}}
		return inv, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return inv, err
	}
	for _, e := range entries {
		if e.Type()&fs.ModeSymlink != 0 {
			inv.link(filepath.Join(path, e.Name()))
		}
		if !e.Type().IsRegular() {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return inv, err
		}
		file := filepath.Join(path, e.Name())
		if own.has(info) {
			if !slices.ContainsFunc(companions, func(c string) bool { return strings.HasSuffix(file, c) }) {
				inv.own = append(inv.own, file)
			}
			continue
		}
		is, err := isDatabase(file, info)
		if err != nil {
			return inv, err
		}
		if is {
			inv.databases = append(inv.databases, database{e.Name(), file})
		} else if namedLikeOne(file) {
			why := "it is no SQLite database, or an encrypted one"
			if info.Size() == 0 {
				why = "it is empty"
			}
			inv.left = append(inv.left, fmt.Sprintf("left out, %s: %s", why, file))
		}
	}
	return inv, nil
}

// link notes a symbolic link to a database. It is not followed: what it leads to belongs to another place.
func (inv *inventory) link(path string) {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return
	}
	if is, err := isDatabase(path, info); err == nil && is || namedLikeOne(path) {
		inv.left = append(inv.left, "left out, a symbolic link: "+path)
	}
}

// namedLikeOne reports whether people would take a file for a database.
func namedLikeOne(path string) bool {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".db", ".db3", ".sqlite", ".sqlite3":
		return true
	}
	return false
}

// database finds a database, and gives all that is there, too.
func (d *device) database(domain string) (database, inventory, error) {
	inv, err := d.databases()
	if err != nil {
		return database{}, inv, err
	}
	if i := slices.IndexFunc(inv.databases, func(db database) bool { return db.name == domain }); i >= 0 {
		return inv.databases[i], inv, nil
	}
	if i := slices.IndexFunc(inv.own, func(path string) bool { return filepath.Base(path) == domain }); i >= 0 {
		return database{}, inv, errOwn(inv.own[i])
	}
	return database{}, inv, fmt.Errorf("database %q in %s: %w", domain, d.settings.Path, providers.ErrNotFound)
}

// wrap makes err an error of a call to this device, once.
func (d *device) wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	var known *providers.Error
	if errors.As(err, &known) {
		return err
	}
	retry, hint := advice(err)
	return &providers.Error{Op: op, Target: d.name, Err: providers.Plainly(err), Retry: retry, Hint: hint}
}
