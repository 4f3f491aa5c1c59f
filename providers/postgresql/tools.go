package postgresql

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/process"
	"github.com/holdfast-dr/holdfast/providers/scratch"
)

const (
	versionsDir = "/usr/lib/postgresql" // where Debian keeps one directory for each major version
	cancelDelay = 5 * time.Second       // from a cancel request to the end of a connection
)

// program is one of PostgreSQL's programs.
type program struct {
	path    string
	version string // as it tells it: "pg_dump (PostgreSQL) 15.4"
	major   int
}

var versionForm = regexp.MustCompile(`\(PostgreSQL\) (\d+)`)

// find looks up a program that can talk to a server of the major version: the same version
// when there is one, else the nearest newer. With exact nothing but the same version will do.
func (d *device) find(ctx context.Context, name string, server int, exact bool) (program, error) {
	paths := []string{filepath.Join(d.BinDir, name)}
	if d.BinDir == "" {
		paths = candidates(name, server)
	}
	var found []string
	var startErr error
	for _, path := range paths {
		p, err := ask(ctx, path)
		switch {
		case ctx.Err() != nil:
			return program{}, context.Cause(ctx)
		case err != nil:
			startErr = err
		case p.major == server, p.major > server && !exact:
			return p, nil
		default:
			found = append(found, fmt.Sprintf("%s is %s", path, p.version))
		}
	}
	hint := fmt.Sprintf("Install PostgreSQL %d's programs (Debian: apt-get install postgresql-client-%d), or set bin_dir to their directory.", server, server)
	if len(found) > 0 {
		need := fmt.Sprintf("%d or newer", server)
		if exact {
			need = strconv.Itoa(server)
		}
		return program{}, &providers.Error{
			Op: "find the programs for", Target: d.name, Hint: hint,
			Err: fmt.Errorf("version mismatch: the server is PostgreSQL %d and needs %s of version %s, but %s", server, name, need, strings.Join(found, ", ")),
		}
	}
	if startErr == nil {
		startErr = fmt.Errorf("no %s for PostgreSQL %d", name, server)
	}
	return program{}, &providers.Error{Op: "find the programs for", Target: d.name, Hint: hint, Err: fmt.Errorf("%w: %w", providers.ErrUnavailable, startErr)}
}

// candidates lists where a program may be, best first.
func candidates(name string, server int) []string {
	var newer, older []int
	entries, _ := os.ReadDir(versionsDir) // absent on other systems than Debian
	for _, e := range entries {
		switch n, err := strconv.Atoi(e.Name()); {
		case err != nil || n == server:
		case n > server:
			newer = append(newer, n)
		default:
			older = append(older, n)
		}
	}
	slices.Sort(newer)
	slices.Sort(older)
	slices.Reverse(older)
	var paths []string
	for _, n := range slices.Concat([]int{server}, newer, older) {
		if path := filepath.Join(versionsDir, strconv.Itoa(n), "bin", name); executable(path) {
			paths = append(paths, path)
		}
	}
	if path, err := exec.LookPath(name); err == nil && filepath.IsAbs(path) {
		at := len(paths)
		if i := slices.IndexFunc(paths, func(p string) bool {
			return !strings.HasPrefix(p, filepath.Join(versionsDir, strconv.Itoa(server))+"/")
		}); i >= 0 {
			at = i
		}
		paths = slices.Insert(paths, at, path)
	}
	return paths
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// ask runs a program for its version.
func ask(ctx context.Context, path string) (program, error) {
	res, err := process.Run(ctx, process.Spec{Argv: []string{path, "--version"}, Timeout: time.Minute})
	if err != nil {
		return program{}, err
	}
	p := program{path: path, version: strings.TrimSpace(res.Stdout)}
	m := versionForm.FindStringSubmatch(p.version)
	if m == nil {
		return p, fmt.Errorf("%s does not tell the version of a PostgreSQL program", path)
	}
	p.major, err = strconv.Atoi(m[1])
	return p, err
}

// run runs a program against the target. It gives the lines of standard error.
func (t *target) run(ctx context.Context, p program, stdin io.Reader, stdout io.Writer, args ...string) (notes []string, err error) {
	return t.runWith(ctx, p, nil, stdin, stdout, args...)
}

// runWith is run for a pg_restore of the entries in a list.
func (t *target) runWith(ctx context.Context, p program, list []byte, stdin io.Reader, stdout io.Writer, args ...string) (notes []string, err error) {
	spec := process.Spec{Argv: append([]string{p.path}, args...), Env: t.environment(), Stdin: stdin, Stdout: stdout, Redact: t.secrets()}
	password, err := t.passfile()
	if err != nil {
		return nil, err
	}
	if password != nil {
		defer password.Close()
		spec.Files, spec.Env["PGPASSFILE"] = []*os.File{password}, scratch.Path(process.FirstFile)
	}
	if list != nil {
		use, err := scratch.Secret(list)
		if err != nil {
			return nil, err
		}
		defer use.Close()
		spec.Argv = append(spec.Argv, "--use-list="+scratch.Path(process.FirstFile+len(spec.Files)))
		spec.Files = append(spec.Files, use)
	}
	res, err := process.Run(ctx, spec)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(res.Stderr) {
		if line = strings.TrimSpace(line); line != "" {
			notes = append(notes, line)
		}
	}
	return notes, nil
}
