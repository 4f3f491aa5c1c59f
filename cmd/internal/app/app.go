// Package app puts the parts together: configuration source, state backend,
// provider registry, planner and executor. Commands call it; it prints nothing.
package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/config/diag"
	"github.com/holdfast-dr/holdfast/config/language"
	"github.com/holdfast-dr/holdfast/config/load"
	"github.com/holdfast-dr/holdfast/config/source"
	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/all"
	"github.com/holdfast-dr/holdfast/state"
	"github.com/holdfast-dr/holdfast/state/sqlstore"
)

// Options are what a person sets for one call of the program.
type Options struct {
	Dir      string            // directory of the configuration, and what relative paths count from; "" is the working directory
	Repo     string            // read the configuration from this git repository instead
	Ref      string            // commit, branch or tag of Repo
	Path     string            // folder inside the repository
	State    string            // state file; overrides the configuration
	Vars     map[string]string // --var
	VarFiles []string          // --var-file
	Now      func() time.Time  // nil: time.Now
	Log      hclog.Logger      // nil: silent
	Version  string
}

// App is one call of the program.
type App struct {
	o        Options
	registry *providers.Registry
	own      []string // paths of our own open files, which no walker may open
}

// New gives an App with every provider of this version.
func New(o Options) *App {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
	return &App{o: o, registry: all.Registry()}
}

// Now is the time of this call.
func (a *App) Now() time.Time { return a.o.Now() }

// ErrInvalid says that the configuration has errors; the list has them.
var ErrInvalid = errors.New("the configuration is not valid")

// Config is a loaded configuration and where it came from.
type Config struct {
	Doc      *config.Document
	Info     source.Info
	Warnings diag.List // found while it was loaded; a plan repeats them among its findings

	spec source.Spec
}

// Load reads the configuration. With errors in the list the error is ErrInvalid and the document holds only its sources.
func (a *App) Load(ctx context.Context) (*Config, diag.List, error) { return a.LoadRef(ctx, a.o.Ref) }

// LoadRef reads the configuration of another commit of the same repository.
func (a *App) LoadRef(ctx context.Context, ref string) (*Config, diag.List, error) {
	spec := source.Spec{Dir: a.dir(), Path: a.o.Path}
	if a.o.Repo != "" || ref != a.o.Ref {
		spec = a.repository(ctx, ref)
	}
	src, err := source.Open(ctx, spec)
	if err != nil {
		return nil, nil, err
	}
	defer src.Close()
	opts := load.Options{Types: all.Types(a.registry), Environ: environ(), Vars: a.o.Vars, Version: a.o.Version}
	for _, name := range a.o.VarFiles {
		data, err := ReadFile(ctx, a.abs(name))
		if err != nil {
			return nil, nil, fmt.Errorf("read variable file: %w", err)
		}
		opts.VarFiles = append(opts.VarFiles, load.File{Name: name, Data: data})
	}
	if err := a.committedVars(src.FS, &opts); err != nil {
		return nil, nil, err
	}
	doc, diags, err := load.Within(ctx, src.FS, opts)
	if err != nil {
		return nil, nil, err
	}
	if src.Unknown != nil {
		diags = append(diags, diag.Diagnostic{
			Severity: diag.Warning, Code: "HF-GIT-003", Summary: "The commit is not known",
			Detail: fmt.Sprintf("The files are read as they lie on disk, but the git repository around them cannot be read: %s. Nothing tells whether they go back behind what was applied.", src.Unknown),
		})
	}
	cfg := &Config{Doc: doc, Info: src.Info, Warnings: diags, spec: spec}
	if diags.HasErrors() {
		return cfg, diags, ErrInvalid
	}
	return cfg, diags, nil
}

// LoadBase reads what a configuration is compared with: that of the commit a ref names or, written REF..., of where the
// configuration's own commit branched off it. A commit that has no configuration there has an empty one.
func (a *App) LoadBase(ctx context.Context, cfg *Config, against string) (*Config, diag.List, error) {
	ref, fork := strings.CutSuffix(against, "...")
	if fork {
		if cfg.Info.Commit == "" {
			return nil, nil, errors.New("the configuration is not from a commit, so nothing is known of where it branched off")
		}
		var err error
		if ref, err = source.Fork(ctx, a.repository(ctx, ref), cfg.Info.Commit); err != nil {
			return nil, nil, err
		}
	}
	base, diags, err := a.LoadRef(ctx, ref)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrInvalid) && len(base.Doc.Sources) == 0 {
		base, diags, err = &Config{Doc: &config.Document{}}, nil, nil
	}
	if err == nil {
		base.Info.Ref = against
	}
	return base, diags, err
}

// repository names a commit of the repository that the configuration is in.
func (a *App) repository(ctx context.Context, ref string) source.Spec {
	spec := source.Spec{Repo: a.o.Repo, Ref: ref, Path: a.o.Path}
	if spec.Repo != "" {
		return spec
	}
	spec.Repo = a.dir()
	src, err := source.Open(ctx, source.Spec{Dir: a.dir(), Path: a.o.Path})
	if err != nil {
		return spec
	}
	defer src.Close()
	if src.Info.Repo != "" {
		spec.Repo, spec.Path = src.Info.Repo, src.Info.Path
	}
	return spec
}

// committedVars adds the variable files that lie beside the configuration.
func (a *App) committedVars(fsys fs.FS, opts *load.Options) error {
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return fmt.Errorf("list the configuration: %w", err)
	}
	var committed []load.File
	for _, e := range entries {
		if source.IsConfig(e.Name()) && strings.HasSuffix(e.Name(), ".holdvars.hcl") {
			data, err := fs.ReadFile(fsys, e.Name())
			if err != nil {
				return fmt.Errorf("read %s: %w", e.Name(), err)
			}
			committed = append(committed, load.File{Name: e.Name(), Data: data})
		}
	}
	opts.VarFiles = append(committed, opts.VarFiles...)
	return nil
}

// descends says how the configuration's commit relates to an earlier one.
func descends(ctx context.Context, cfg *Config, ancestor string) (d source.Descent, err error) {
	src, err := source.Open(ctx, cfg.spec)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	if src.Info.Commit != cfg.Info.Commit {
		return "", fmt.Errorf("%s came to be at another commit meanwhile; try again", src.Info.Repo)
	}
	return src.Descends(ctx, ancestor)
}

// StatePath is where the state file is: as told, from the environment, as configured, or holdfast.db.
func (a *App) StatePath(doc *config.Document) string {
	switch {
	case a.o.State != "":
		return a.abs(a.o.State)
	case os.Getenv("HOLDFAST_STATE") != "":
		return a.abs(os.Getenv("HOLDFAST_STATE"))
	case doc != nil && doc.State != nil && doc.State.Path != "":
		return a.abs(doc.State.Path)
	}
	return a.abs("holdfast.db")
}

// ErrNoState says that there is no state yet.
var ErrNoState = errors.New("there is no state yet")

// OpenState opens the state file. With create false an absent one is ErrNoState, and an empty one is refused.
func (a *App) OpenState(ctx context.Context, path string, create bool) (*sqlstore.Store, error) {
	return a.open(ctx, sqlstore.Options{Path: path, Existing: !create})
}

// ReadState opens a state file to which nothing will be written. It is opened for reading only where it cannot be written.
func (a *App) ReadState(ctx context.Context, path string) (*sqlstore.Store, error) {
	return a.open(ctx, sqlstore.Options{Path: path, Existing: true, Reading: true})
}

func (a *App) open(ctx context.Context, o sqlstore.Options) (*sqlstore.Store, error) {
	if _, err := os.Stat(o.Path); errors.Is(err, fs.ErrNotExist) && o.Existing {
		return nil, fmt.Errorf("%w at %s: run holdfast init, or name it with --state", ErrNoState, o.Path)
	}
	st, err := sqlstore.Open(ctx, o)
	if err != nil {
		return nil, err
	}
	a.own = st.Files()
	return st, nil
}

// Actor is who acts, for records: user@host.
func Actor() string {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return name + "@" + host
}

func (a *App) dir() string {
	if a.o.Dir == "" {
		return "."
	}
	return a.o.Dir
}

func (a *App) abs(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	full, err := filepath.Abs(filepath.Join(a.dir(), path))
	if err != nil {
		return path
	}
	return full
}

func environ() map[string]string {
	env := map[string]string{}
	for _, kv := range os.Environ() {
		if k, v, ok := strings.Cut(kv, "="); ok && strings.HasPrefix(k, "HOLDFAST_VAR_") {
			env[k] = v
		}
	}
	return env
}

// Types gives the loader's view of a registry.
func (a *App) Types() language.Types { return all.Types(a.registry) }

// secretOf reads a secret block's specification.
func secretOf(doc *config.Document, ref string) (*config.Secret, error) {
	i := slices.IndexFunc(doc.Secrets, func(s *config.Secret) bool { return string(s.Address) == ref })
	if i < 0 {
		return nil, fmt.Errorf("%s is not declared", ref)
	}
	return doc.Secrets[i], nil
}

var _ state.Backend = (*sqlstore.Store)(nil)
