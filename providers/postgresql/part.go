package postgresql

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/glob"
	"github.com/holdfast-dr/holdfast/providers/process"
	"github.com/holdfast-dr/holdfast/providers/scratch"
)

// An export can be put back in parts: its tables and what is like them, each with what belongs to it. What there is stands in the record,
// because pg_restore's own list does not tell names with spaces apart; the list tells what belongs together.

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
	return collect[object](ctx, conn, `SELECT c.oid, CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table'
			WHEN 'S' THEN 'sequence' ELSE 'table' END, n.nspname, c.relname
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.relpersistence <> 't' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
		AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
			AND (d.deptype = 'e' OR c.relkind = 'S' AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0))
		AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_namespace'::regclass AND d.objid = n.oid AND d.deptype = 'e')
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
		return nil, fmt.Errorf("the export is of a version that did not record what is in it, and is put back whole: %w", errors.ErrUnsupported)
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

// toc is pg_restore's list of a dump, in its order.
type toc []tocEntry

type tocEntry struct {
	id      int
	class   uint32 // of the catalogue that has it; 0 for what has no row of its own
	oid     uint32
	kind    string // its first words, up to the schema
	depends []int
}

var (
	tocLine    = regexp.MustCompile(`^(\d+); (\d+) (\d+) (.*)$`)
	tocDepends = regexp.MustCompile(`^;\s+depends on: ([\d ]+)`)
)

// What an entry is: a relation, which is chosen; or of one, and comes with all of those that it is of. Others, such as types, come where
// something needs them.
var (
	relations = []string{"TABLE", "VIEW", "MATERIALIZED VIEW", "FOREIGN TABLE", "SEQUENCE"}
	attached  = []string{
		"TABLE DATA", "TABLE ATTACH", "SEQUENCE OWNED BY", "SEQUENCE SET", "DEFAULT", "CONSTRAINT", "CHECK CONSTRAINT", "FK CONSTRAINT", "INDEX ATTACH", "INDEX",
		"STATISTICS", "TRIGGER", "RULE", "POLICY", "ROW SECURITY", "COMMENT", "ACL", "SECURITY LABEL", "MATERIALIZED VIEW DATA",
	}
	neverPart = []string{"DATABASE", "DATABASE PROPERTIES", "PUBLICATION", "PUBLICATION TABLE", "SUBSCRIPTION", "EVENT TRIGGER"}
)

// tocKind is the longest kind that a line begins with; empty for one that is none of these.
func tocKind(text string) (kind string) {
	for _, list := range [][]string{relations, attached, neverPart} {
		for _, k := range list {
			if strings.HasPrefix(text, k+" ") && len(k) > len(kind) {
				kind = k
			}
		}
	}
	return kind
}

// readTOC has pg_restore list a dump. No more of it is read than that needs.
func (a *artifact) readTOC(ctx context.Context, tool program) (toc, error) {
	r, err := a.Open(ctx, dumpName)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", dumpName, err)
	}
	defer r.Close()
	list, lines := toc{}, &strings.Builder{}
	_, err = process.Run(ctx, process.Spec{Argv: []string{tool.path, "--list", "--verbose"}, Env: map[string]string{"LC_ALL": "C"}, Stdin: r, Stdout: lines})
	var exit *process.ExitError
	if errors.As(err, &exit) {
		return nil, fmt.Errorf("%w: list %s: %w", providers.ErrCorrupt, dumpName, err)
	}
	if err != nil {
		return nil, err
	}
	for line := range strings.SplitSeq(lines.String(), "\n") {
		if m := tocDepends.FindStringSubmatch(line); m != nil && len(list) > 0 {
			for _, f := range strings.Fields(m[1]) {
				n, _ := strconv.Atoi(f)
				list[len(list)-1].depends = append(list[len(list)-1].depends, n)
			}
		} else if m := tocLine.FindStringSubmatch(line); m != nil {
			id, _ := strconv.Atoi(m[1])
			class, _ := strconv.ParseUint(m[2], 10, 32)
			oid, _ := strconv.ParseUint(m[3], 10, 32)
			list = append(list, tocEntry{id: id, class: uint32(class), oid: uint32(oid), kind: tocKind(m[4])})
		}
	}
	return list, nil
}

// choose gives the entries of the objects, with all that is only of them. With needs it adds what they need that is no relation.
func (l toc) choose(objects []object, needs bool) (map[int]bool, error) {
	oids, by, in := map[uint32]bool{}, map[int]tocEntry{}, map[int]bool{}
	for _, o := range objects {
		oids[o.OID] = true
	}
	const classOfRelations = 1259
	for _, e := range l {
		by[e.id] = e
		if e.class == classOfRelations && oids[e.oid] && slices.Contains(relations, e.kind) {
			in[e.id] = true
		}
	}
	if len(in) != len(objects) {
		return nil, fmt.Errorf("%w: %s has %d of %d tables that its record lists", providers.ErrCorrupt, dumpName, len(in), len(objects))
	}
	for before := -1; before != len(in); {
		before = len(in)
		for _, e := range l {
			if !in[e.id] && e.belongs(by, in) {
				in[e.id] = true
			}
			for _, id := range e.depends {
				if of, is := by[id]; needs && in[e.id] && is && of.kind == "" {
					in[id] = true
				}
			}
		}
	}
	return in, nil
}

// belongs reports whether an entry is of entries that are in, and of no relation that is not. A sequence may be one of a column.
func (e tocEntry) belongs(by map[int]tocEntry, in map[int]bool) bool {
	if e.kind != "SEQUENCE" && !slices.Contains(attached, e.kind) {
		return false
	}
	some := false
	for _, id := range e.depends {
		of, is := by[id]
		if is && of.kind != "" && !in[id] {
			return false
		}
		some = some || in[id]
	}
	return some
}

// useList writes entries as pg_restore reads them, in the order of the dump.
func (l toc) useList(in map[int]bool) []byte {
	b := []byte{} // not nil, which would be everything
	for _, e := range l {
		if in[e.id] {
			b = fmt.Appendf(b, "%d;\n", e.id)
		}
	}
	return b
}

// missing names the relations that views among the entries need and that are not among them.
func (l toc) missing(in map[int]bool, a *artifact) (names []string) {
	all, _ := a.objects()
	byOID, byID := map[uint32]object{}, map[int]tocEntry{}
	for _, o := range all {
		byOID[o.OID] = o
	}
	for _, e := range l {
		byID[e.id] = e
	}
	found := map[string]bool{}
	for _, e := range l {
		if !in[e.id] || e.kind != "VIEW" && e.kind != "MATERIALIZED VIEW" {
			continue
		}
		for _, id := range e.depends {
			if of := byID[id]; !in[id] && slices.Contains(relations, of.kind) {
				found[byOID[of.oid].path()] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
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
			in, err := list.choose([]object{o}, false)
			if err != nil {
				return err
			}
			ids := list.useList(in)
			uses = append(uses, func(r io.Reader) error { return writeSQL(ctx, out, tool, ids, o.path(), r) })
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
	return slices.DeleteFunc(slices.Clone(c.Source.Files()), func(f providers.File) bool { return !c.patterns.Match(f.Name, false) })
}

// writeSQL has pg_restore write entries of a dump into a file.
func writeSQL(ctx context.Context, out *unpacker, tool program, ids []byte, name string, dump io.Reader) error {
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
		Files: []*os.File{list}, Stdin: dump, Stdout: buffer,
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
