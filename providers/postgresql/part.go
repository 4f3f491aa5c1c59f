package postgresql

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/holdfast-dr/holdfast/config/glob"
	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/postgresql/dump"
	"github.com/holdfast-dr/holdfast/providers/process"
	"github.com/holdfast-dr/holdfast/providers/scratch"
)

// An export can be put back in parts: its tables and what is like them, each with what belongs to it. What there is
// stands in the record, because pg_restore's own list does not tell names with spaces apart; the list tells what
// belongs together.

// object is a table, or what is like one, in an export.
type object struct {
	OID    uint32 `json:"oid"`
	Kind   string `json:"kind"`
	Schema string `json:"schema"`
	Name   string `json:"name"`
}

// path names it as a path: the schema is the directory.
func (o object) path() string { return pathName(o.Schema) + "/" + pathName(o.Name) }

func pathName(name string) string {
	if name == "." || name == ".." {
		return strings.ReplaceAll(name, ".", "%2E")
	}
	return strings.NewReplacer("%", "%25", "/", "%2F").Replace(name)
}

// readObjects lists what a dump of the database holds. A sequence of a column comes with its table.
func readObjects(ctx context.Context, conn *pgx.Conn) ([]object, error) {
	return collect[object](ctx, conn, `SELECT c.oid, CASE c.relkind
			WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table' WHEN 'S' THEN 'sequence' ELSE 'table' END, n.nspname, c.relname
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.relpersistence <> 't'
		AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
		AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
			AND (d.deptype = 'e' OR c.relkind = 'S' AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0))
		AND NOT EXISTS (SELECT FROM pg_depend d
			WHERE d.classid = 'pg_namespace'::regclass AND d.objid = n.oid AND d.deptype = 'e')
		ORDER BY 3, 4`)
}

var parts = &providers.Parts{
	Refuse: func(_ any, action providers.Action, _ bool) error {
		if action != providers.ExportDomain {
			return fmt.Errorf("a %s is put back whole: %w", action, errors.ErrUnsupported)
		}
		return nil
	},
	Contents: func(ctx context.Context, _ any, _ providers.Action, src providers.Source) providers.Contents {
		a, err := readArtifact(ctx, src)
		if err != nil {
			return providers.Failing(err)
		}
		if !a.has(dumpName) {
			return providers.FilesOf(src)
		}
		objects, err := a.objects()
		if err != nil {
			return providers.Failing(err)
		}
		return func(yield func(providers.Entry, error) bool) {
			for _, o := range objects {
				if !yield(providers.Entry{Path: o.path(), Kind: o.Kind, Size: -1}, nil) {
					return
				}
			}
		}
	},
}

func (a *artifact) objects() ([]object, error) {
	if a.Database.Objects == nil {
		return nil, fmt.Errorf("the export is of a version that did not record what is in it, and is put back whole: %w",
			errors.ErrUnsupported)
	}
	return *a.Database.Objects, nil
}

// chosen gives what the patterns match.
func (a *artifact) chosen(include []string) ([]object, error) {
	patterns, err := glob.Compile(include)
	if err != nil {
		return nil, err
	}
	all, err := a.objects()
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(slices.Clone(all), func(o object) bool { return !patterns.Match(o.path(), false) })
	if len(all) == 0 {
		return nil, fmt.Errorf("no table of the export matches %q: %w", include, providers.ErrNotFound)
	}
	return all, nil
}

// readTOC has pg_restore list a dump. No more of it is read than that needs.
func (a *artifact) readTOC(ctx context.Context, tool program) (dump.TOC, error) {
	r, err := a.Open(ctx, dumpName)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", dumpName, err)
	}
	defer r.Close()
	list := &strings.Builder{}
	_, err = process.Run(ctx, process.Spec{
		Argv: []string{tool.path, "--list", "--verbose"}, Env: map[string]string{"LC_ALL": "C"}, Stdin: r, Stdout: list,
	})
	var exit *process.ExitError
	if errors.As(err, &exit) {
		return nil, fmt.Errorf("%w: list %s: %w", providers.ErrCorrupt, dumpName, err)
	}
	return dump.ReadTOC(list.String()), err
}

// entries gives those of the objects in the list, as pg_restore reads them; see dump.TOC.
func entries(list dump.TOC, objects []object, needs bool) (*dump.Selection, error) {
	oids := map[uint32]bool{}
	for _, o := range objects {
		oids[o.OID] = true
	}
	in := list.Choose(oids, needs)
	if in.Relations != len(objects) {
		return nil, fmt.Errorf("%w: %s has %d of %d tables that its record lists",
			providers.ErrCorrupt, dumpName, in.Relations, len(objects))
	}
	return in, nil
}

// missing names the relations that are needed and not chosen.
func (a *artifact) missing(in *dump.Selection) (names []string) {
	for _, o := range *a.Database.Objects {
		if slices.Contains(in.Missing, o.OID) {
			names = append(names, o.path())
		}
	}
	return names
}

// restoreTool finds a pg_restore that reads the dump.
func (d *device) restoreTool(ctx context.Context, a *artifact, server int) (program, error) {
	least := max(server, a.Server.major())
	if m := versionForm.FindStringSubmatch(a.Tool); m != nil {
		made, _ := strconv.Atoi(m[1])
		least = max(least, made)
	}
	return d.find(ctx, "pg_restore", least, false)
}

// atOnce is how many parts are written in one pass over the dump.
const atOnce = 8

// writePart writes what is chosen as SQL, each into a file of its own.
func (d *device) writePart(ctx context.Context, a *artifact, req providers.RestoreRequest) error {
	if !a.has(dumpName) {
		return a.writeFiles(ctx, req)
	}
	objects, err := a.chosen(req.Include)
	if err != nil {
		return err
	}
	tool, err := d.restoreTool(ctx, a, 0)
	if err != nil {
		return err
	}
	list, err := a.readTOC(ctx, tool)
	if err != nil {
		return err
	}
	out, err := newUnpacker(req.Dir)
	if err != nil {
		return err
	}
	defer out.close()
	for batch := range slices.Chunk(objects, atOnce) {
		var uses []func(io.Reader) error
		for _, o := range batch {
			in, err := entries(list, []object{o}, false)
			if err != nil {
				return err
			}
			uses = append(uses, func(r io.Reader) error { return writeSQL(ctx, out, tool, in.List, o.path(), r) })
		}
		if err := a.read(ctx, dumpName, func(r io.Reader) error { return spread(r, uses) }); err != nil {
			return err
		}
	}
	return out.sync()
}

// writeFiles writes those of the artifact's files that are chosen, of an artifact without a dump.
func (a *artifact) writeFiles(ctx context.Context, req providers.RestoreRequest) error {
	patterns, err := glob.Compile(req.Include)
	if err != nil {
		return err
	}
	some := *a
	some.Source = chosenFiles{a.Source, patterns}
	if len(some.Files()) == 0 {
		return fmt.Errorf("no file of the export matches %q: %w", req.Include, providers.ErrNotFound)
	}
	return some.write(ctx, req.Dir)
}

type chosenFiles struct {
	providers.Source
	patterns glob.Matcher
}

func (c chosenFiles) Files() []providers.File {
	return slices.DeleteFunc(slices.Clone(c.Source.Files()), func(f providers.File) bool {
		return !c.patterns.Match(f.Name, false)
	})
}

// writeSQL has pg_restore write entries of a dump into a file.
func writeSQL(ctx context.Context, out *unpacker, tool program, ids []byte, name string, from io.Reader) error {
	list, err := scratch.Secret(ids)
	if err != nil {
		return err
	}
	defer list.Close()
	if err := out.mkdir(path.Dir(name)); err != nil {
		return err
	}
	file, err := out.create(name)
	if err != nil {
		return err
	}
	buffer := bufio.NewWriterSize(file, 256<<10)
	_, err = process.Run(ctx, process.Spec{
		Argv:  []string{tool.path, "--file=-", "--use-list=" + scratch.Path(process.FirstFile)},
		Env:   map[string]string{"LC_ALL": "C"},
		Files: []*os.File{list}, Stdin: from, Stdout: buffer,
	})
	if err := errors.Join(err, buffer.Flush(), file.Close()); err != nil {
		return noRoom(err)
	}
	return out.give(name)
}

// spread gives the same content to all uses at once. One that needs no more of it does not hold up the others.
func spread(from io.Reader, uses []func(io.Reader) error) error {
	var (
		g    errgroup.Group
		ends []*io.PipeWriter
	)
	for _, use := range uses {
		r, w := io.Pipe()
		ends = append(ends, w)
		g.Go(func() error {
			err := use(r)
			_ = r.CloseWithError(errEnough)
			return err
		})
	}
	buffer := make([]byte, 256<<10)
	for {
		n, err := from.Read(buffer)
		for i, w := range ends {
			if w == nil {
				continue
			}
			if _, writeErr := w.Write(buffer[:n]); writeErr != nil {
				ends[i] = nil
			} else if err != nil {
				_ = w.CloseWithError(err) // io.EOF is a plain end
			}
		}
		if err == io.EOF || err == nil && !slices.ContainsFunc(ends, func(w *io.PipeWriter) bool { return w != nil }) {
			return g.Wait()
		}
		if err != nil {
			return errors.Join(err, g.Wait())
		}
	}
}

var errEnough = errors.New("no more is read")
