// Package files captures directory trees of the machine it runs on. Each named
// root is a domain of the device, kept as an archive (package archive) and restored from
// one, into a directory beside it or in its place.
package files

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-dr/holdfast/config/glob"
	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/files/archive"
)

// Settings are the arguments of a device of type "files".
type Settings struct {
	Roots []*Root `hcl:"root,blocks" json:"root" doc:"Directory trees, each a domain of the device. At least one."`
}

// Root is one directory tree.
type Root struct {
	Name             string   `hcl:"name,label" json:"name" doc:"Name of the domain, unique in the device."`
	Path             string   `hcl:"path" json:"path" doc:"The directory, absolute. A symbolic link here is followed; below it none is."`
	Include          []string `hcl:"include,optional" json:"include,omitempty" kind:"paths" doc:"Paths taken; everything when absent. As in .gitignore: *.conf at every level, /etc at the top only, a/**/b, {a,b}, [ab]; ! takes back."`
	Exclude          []string `hcl:"exclude,optional" json:"exclude,omitempty" kind:"paths" doc:"Paths left out; wins over include. As in .gitignore: *.tmp and cache/ at every level, /cache at the top only, a/**/b, {a,b}, [ab]; ! takes back."`
	ExcludeCaches    bool     `hcl:"exclude_caches,optional" json:"exclude_caches,omitempty" doc:"true: of directories with a valid CACHEDIR.TAG only that file is taken."`
	ExcludeIfPresent []string `hcl:"exclude_if_present,optional" json:"exclude_if_present,omitempty" doc:"Names of files: of a directory that has one of them only that file is taken, such as .nobackup."`
	ExcludeNoDump    bool     `hcl:"exclude_nodump,optional" json:"exclude_nodump,omitempty" doc:"true: files and directories with the flag nodump (chattr +d) are left out."`
	OnUnreadable     string   `hcl:"on_unreadable,optional" json:"on_unreadable,omitempty" enum:"fail|skip" doc:"What becomes of what cannot be read. fail, also when absent: the backup fails and names it all; skip: it is left out, with a warning and a count."`
	OneFilesystem    bool     `hcl:"one_filesystem,optional" json:"one_filesystem,omitempty" doc:"true: directories where another file system is mounted are captured without their content."`
	AllowEmpty       bool     `hcl:"allow_empty,optional" json:"allow_empty,omitempty" doc:"true: a root without a single file is no error. It usually means that something is not mounted."`
}

const skipUnreadable = "skip"

func (r *Root) scope() (archive.Scope, error) {
	return archive.NewScope(archive.Rules{
		Include: r.Include, Exclude: r.Exclude, Caches: r.ExcludeCaches, IfPresent: r.ExcludeIfPresent, NoDump: r.ExcludeNoDump,
	})
}

var rootName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*$`)

// Check reports what is wrong with the settings.
func (s *Settings) Check(report func(path, problem string)) {
	if len(s.Roots) == 0 {
		report("root", "A files device needs at least one root block.")
	}
	seen := map[string]bool{}
	for i, r := range s.Roots {
		at := fmt.Sprintf("root[%d]", i)
		switch {
		case !rootName.MatchString(r.Name) || len(r.Name) > 100:
			report(at, fmt.Sprintf("The root name %q must start with a letter, a digit or _, go on with these, dots and dashes, and have at most 100 characters.", r.Name))
		case r.Name == providers.AllDomains:
			report(at, fmt.Sprintf("The root name %q is reserved.", r.Name))
		case seen[r.Name]:
			report(at, fmt.Sprintf("There is another root %q in this device.", r.Name))
		}
		seen[r.Name] = true
		if !filepath.IsAbs(r.Path) || strings.ContainsRune(r.Path, 0) {
			report(at+".path", fmt.Sprintf("The path %q must be absolute.", r.Path))
		}
		if _, err := glob.Compile(r.Include); err != nil {
			report(at+".include", "The "+err.Error()+".")
		}
		if _, err := glob.Compile(r.Exclude); err != nil {
			report(at+".exclude", "The "+err.Error()+".")
		}
		for _, name := range r.ExcludeIfPresent {
			if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
				report(at+".exclude_if_present", fmt.Sprintf("%q is no name of a file.", name))
			}
		}
	}
}

// Doubt reports what is allowed and probably not meant: patterns that can match nothing.
func (s *Settings) Doubt(report func(path, problem string)) {
	for i, r := range s.Roots {
		for _, d := range glob.Doubts(r.Include, r.Path) {
			report(fmt.Sprintf("root[%d].include[%d]", i, d.Index), "The pattern "+d.Why+".")
		}
		for _, d := range glob.Doubts(r.Exclude, r.Path) {
			report(fmt.Sprintf("root[%d].exclude[%d]", i, d.Index), "The pattern "+d.Why+".")
		}
	}
}

// DeviceType describes the device type "files".
func DeviceType() providers.DeviceType {
	return providers.DeviceType{
		Type:    "files",
		Doc:     "Directory trees of this machine.",
		Actions: []providers.Action{providers.SecureBackup, providers.ExportDomain},
		InPlace: canReplace,
		Reads:   reads,
		Parts: &providers.Parts{
			Refuse: func(_ any, _ providers.Action, intoDevice bool) error {
				if intoDevice {
					return fmt.Errorf("a root is put back whole: %w", errors.ErrUnsupported)
				}
				return nil
			},
			Contents: func(ctx context.Context, _ any, _ providers.Action, src providers.Source) providers.Contents {
				return archive.Contents(ctx, src)
			},
		},
		Settings: func() any { return new(Settings) },
		Open:     open,
	}
}

// reads gives the roots. Patterns that cannot be read were reported by Check.
func reads(settings any) (trees []providers.Tree) {
	s, ok := settings.(*Settings)
	if !ok {
		return nil
	}
	for _, r := range s.Roots {
		scope, err := r.scope()
		if err == nil {
			trees = append(trees, providers.Tree{Domain: r.Name, Path: r.Path, LeavesOut: func(path string) bool { return scope.LeavesOut(path, true) }})
		}
	}
	return trees
}

type device struct {
	name      string
	roots     []*Root
	protected []string
}

var _ providers.Device = (*device)(nil)

func open(_ context.Context, name string, settings any, env providers.Env) (providers.Device, error) {
	s, ok := settings.(*Settings)
	if !ok {
		return nil, fmt.Errorf("open device %s: settings are %T, not those of a files device", name, settings)
	}
	var problems []error
	s.Check(func(path, problem string) { problems = append(problems, fmt.Errorf("%s: %s", path, problem)) })
	if len(problems) > 0 {
		return nil, fmt.Errorf("open device %s: %w", name, errors.Join(problems...))
	}
	return &device{name: name, roots: s.Roots, protected: env.Protected}, nil
}

// Inspect lists every declared root as a domain, also one that is missing: its
// own task must fail, and leaving it out here would hide it. Only when no root can be
// read is the whole device unavailable.
func (d *device) Inspect(ctx context.Context) (providers.DeviceInfo, error) {
	if err := ctx.Err(); err != nil {
		return providers.DeviceInfo{}, d.wrap("inspect", err)
	}
	info := providers.DeviceInfo{Identity: machineIdentity()}
	var missing []error
	for _, r := range d.roots {
		info.Domains = append(info.Domains, r.Name)
		if err := unix.Access(r.Path+"/.", unix.R_OK|unix.X_OK); err != nil {
			missing = append(missing, fmt.Errorf("root %s: %w", r.Name, &fs.PathError{Op: "read", Path: r.Path, Err: err}))
		}
	}
	slices.Sort(info.Domains)
	if len(missing) == len(d.roots) {
		return providers.DeviceInfo{}, &providers.Error{
			Op: "inspect", Target: d.name,
			Err:  fmt.Errorf("%w: %w", providers.ErrUnavailable, errors.Join(missing...)),
			Hint: "Check that the directories exist, are mounted and may be read.",
		}
	}
	return info, nil
}

// machineIdentity is derived from the machine id, which should itself not be
// published (machine-id(5)); without one it is the host name.
func machineIdentity() string {
	if id, err := os.ReadFile("/etc/machine-id"); err == nil && len(strings.TrimSpace(string(id))) >= 32 {
		sum := sha256.Sum256([]byte("holdfast device " + strings.TrimSpace(string(id))))
		return "machine-" + hex.EncodeToString(sum[:16])
	}
	host, err := os.Hostname()
	if err != nil {
		return ""
	}
	return "host-" + host
}

func (d *device) DomainState(_ context.Context, domain string) (providers.DomainState, error) {
	if domain != providers.AllDomains {
		if _, err := d.root(domain); err != nil {
			return providers.DomainState{}, d.wrap("read the state of", err)
		}
	}
	return providers.DomainState{Quiesce: providers.QuiesceImpossible}, nil
}

func (d *device) Quiesce(context.Context, string, time.Duration) error { return errors.ErrUnsupported }

func (d *device) Unquiesce(context.Context, string) error { return errors.ErrUnsupported }

// Restore extracts an artifact into an empty directory, or in place of a root: see archive.Extract and inPlace.
func (d *device) Restore(ctx context.Context, req providers.RestoreRequest, src providers.Source) error {
	return d.wrap("restore", d.restore(ctx, req, src))
}

func (d *device) restore(ctx context.Context, req providers.RestoreRequest, src providers.Source) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if req.Dir == "" {
		return d.inPlace(ctx, req, src)
	}
	return archive.Extract(ctx, req, src)
}

func (d *device) Close() error { return nil }

func (d *device) root(domain string) (*Root, error) {
	i := slices.IndexFunc(d.roots, func(r *Root) bool { return r.Name == domain })
	if i < 0 {
		return nil, fmt.Errorf("root %q: %w", domain, providers.ErrNotFound)
	}
	return d.roots[i], nil
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
	return &providers.Error{Op: op, Target: d.name, Err: providers.Plainly(err)}
}
