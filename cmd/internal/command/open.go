package command

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/holdfast-dr/holdfast/cmd/internal/app"
	"github.com/holdfast-dr/holdfast/cmd/internal/view"
	"github.com/holdfast-dr/holdfast/config/diag"
	"github.com/holdfast-dr/holdfast/state/sqlstore"
)

// App gives the application with the global flags.
func (c *Call) App() (*app.App, error) {
	o := app.Options{Dir: c.chdir, Repo: c.repo, Ref: c.ref, Path: c.path, State: c.state, VarFiles: c.varFiles, Version: Version, Vars: map[string]string{}}
	if err := c.CheckDir(); err != nil {
		return nil, err
	}
	if c.ref != "" && c.repo == "" {
		return nil, errors.New("--ref needs --repo: name the repository, for example --repo . --ref " + c.ref)
	}
	for _, v := range c.vars {
		name, value, ok := strings.Cut(v, "=")
		if !ok {
			return nil, errors.New("--var: write NAME=VALUE; what is given has no =, and is not shown because it may be a value")
		}
		o.Vars[name] = value
	}
	if c.now != "" {
		now, err := time.Parse(time.RFC3339, c.now)
		if err != nil {
			return nil, fmt.Errorf("--now: %w", err)
		}
		started := time.Now()
		o.Now = func() time.Time { return now.Add(time.Since(started)) }
	}
	level := hclog.LevelFromString(c.logLevel)
	if level == hclog.NoLevel {
		return nil, fmt.Errorf("--log-level %s: write trace, debug, info, warn, error or off", c.logLevel)
	}
	o.Log = hclog.New(&hclog.LoggerOptions{Name: "holdfast", Level: level, Output: c.Err, JSONFormat: c.JSON})
	return app.New(o), nil
}

// CheckDir refuses a --chdir that is no directory.
func (c *Call) CheckDir() error {
	if c.chdir == "" {
		return nil
	}
	switch info, err := os.Stat(c.chdir); {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("--chdir %s: there is no such directory", c.chdir)
	case err != nil:
		return fmt.Errorf("--chdir: %w", err)
	case !info.IsDir():
		return fmt.Errorf("--chdir %s: it is no directory", c.chdir)
	}
	return nil
}

// Load reads the configuration. When it has errors they are printed and end the command; warnings stay with it.
func (c *Call) Load(ctx context.Context, a *app.App) (*app.Config, error) {
	return c.Loaded(a.Load(ctx))
}

// Loaded is what Load makes of what was loaded.
func (c *Call) Loaded(cfg *app.Config, diags diag.List, err error) (*app.Config, error) {
	if !errors.Is(err, app.ErrInvalid) {
		c.learn(cfg, err)
		return cfg, err
	}
	diags.WithSnippets(cfg.Doc.Sources)
	switch {
	case c.stream != nil:
		c.stream.Problems(diags)
		return nil, Exit(ExitFault, err)
	case c.JSON:
		return nil, errors.Join(view.ValidateJSON(c.Out, diags), Exit(ExitFault, nil))
	}
	return nil, errors.Join(view.Diagnostics(c.Err, diags, c.Style(c.Err)), Exit(ExitFault, nil))
}

// learn takes the zone of times for people from a configuration.
func (c *Call) learn(cfg *app.Config, err error) {
	if err != nil || c.zone != nil {
		return
	}
	if zone, err := time.LoadLocation(cfg.Doc.Settings.Timezone); err == nil {
		c.zone = zone
	}
}

// StatePath finds the state for commands that need no configuration: as told, or as the configuration says if it can be read.
func (c *Call) StatePath(ctx context.Context, a *app.App) string {
	if c.state != "" && c.repo != "" {
		return a.StatePath(nil) // no repository is fetched for the zone of times alone
	}
	cfg, _, err := a.Load(ctx)
	c.learn(cfg, err)
	if err != nil {
		return a.StatePath(nil)
	}
	return a.StatePath(cfg.Doc)
}

// WithState opens the application and the existing state for a command that needs no configuration. Both are do's until it
// returns; then the state is closed.
func (c *Call) WithState(ctx context.Context, do func(*app.App, *sqlstore.Store) error) error {
	return c.withState(ctx, do, func(a *app.App, path string) (*sqlstore.Store, error) { return a.OpenState(ctx, path, false) })
}

// ReadState is WithState for a command that writes nothing to the state. It also works where nothing can be written, and says so.
func (c *Call) ReadState(ctx context.Context, do func(*app.App, *sqlstore.Store) error) error {
	return c.withState(ctx, do, func(a *app.App, path string) (*sqlstore.Store, error) {
		st, err := a.ReadState(ctx, path)
		if err == nil && st.ReadOnly() {
			fmt.Fprintf(c.Err, "Note: the state %s cannot be written and is only read.\n", view.Line(path))
		}
		return st, err
	})
}

func (c *Call) withState(ctx context.Context, do func(*app.App, *sqlstore.Store) error, open func(*app.App, string) (*sqlstore.Store, error)) error {
	a, err := c.App()
	if err != nil {
		return err
	}
	st, err := open(a, c.StatePath(ctx, a))
	if err != nil {
		return err
	}
	return errors.Join(do(a, st), st.Close())
}
