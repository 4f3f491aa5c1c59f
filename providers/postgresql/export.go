package postgresql

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/scratch"
)

// Names of an artifact's files.
const (
	dumpName        = "export.pgdump"
	globalsName     = "globals.sql"
	settingsName    = "settings.json"
	baseName        = "base.tar"
	fingerprintName = "fingerprint.json"
)

// record is fingerprint.json: what a restore needs to know and to compare.
type record struct {
	Format   int               `json:"format"` // 1
	Server   server            `json:"server"`
	Position position          `json:"position"` // of the snapshot, or of a base backup's start
	Tool     string            `json:"tool"`
	Files    map[string]string `json:"files"` // SHA-256 of the other files; empty for base.tar, which has a manifest of its own
	Quiesced bool              `json:"quiesced,omitempty"`
	Database *database         `json:"database,omitempty"` // of an export
	Facts    *facts            `json:"facts,omitempty"`    // of an export
	Base     *base             `json:"base,omitempty"`     // of a secure backup
	Sum      string            `json:"sum,omitempty"`      // SHA-256 of this record without its sum
}

// seal gives the record its sum.
func (r record) seal() (record, error) {
	r.Sum = ""
	b, err := json.Marshal(r)
	sum := sha256.Sum256(b)
	r.Sum = hex.EncodeToString(sum[:])
	return r, err
}

// position is where in the write-ahead log something was.
type position struct {
	LSN      string `json:"lsn"`
	Timeline int64  `json:"timeline"`
}

// database is what a database is made with.
type database struct {
	Name        string            `json:"name"`
	Owner       string            `json:"owner"`
	Encoding    string            `json:"encoding"`
	Collate     string            `json:"collate"`
	CType       string            `json:"ctype"`
	Provider    string            `json:"locale_provider"`
	Locale      string            `json:"locale,omitempty"` // of another provider than the C library
	Rules       string            `json:"icu_rules,omitempty"`
	Extensions  map[string]string `json:"extensions"` // version by name
	Roles       []string          `json:"roles"`      // that own something in it or were granted something
	Tablespaces []string          `json:"tablespaces,omitempty"`
	Properties  *properties       `json:"properties,omitempty"` // nil: of a version that did not record them
	Objects     *[]object         `json:"objects,omitempty"`    // the same
}

// Capture makes an export of one database, or a base backup of the cluster.
func (d *device) Capture(ctx context.Context, req providers.CaptureRequest, sink providers.Sink) (providers.CaptureResult, error) {
	ctx, stop := d.limit(ctx)
	defer stop()
	res, err := d.capture(ctx, req, &hashingSink{to: sink, sums: map[string]string{}})
	if err != nil {
		return providers.CaptureResult{}, d.explain(ctx, "capture", err)
	}
	return res, nil
}

func (d *device) capture(ctx context.Context, req providers.CaptureRequest, sink *hashingSink) (res providers.CaptureResult, err error) {
	if err := ctx.Err(); err != nil {
		return res, err
	}
	switch {
	case req.Action == providers.SecureBackup && (req.Domain == providers.AllDomains || req.Domain == ""):
		err = d.with(ctx, "", func(t *target, conn *pgx.Conn, s server) error {
			res, err = d.secureBackup(ctx, t, conn, s, sink)
			return err
		})
	case req.Action == providers.SecureBackup:
		err = fmt.Errorf("a secure backup is of %s, not of %q", providers.AllDomains, req.Domain)
	case req.Action != providers.ExportDomain:
		err = fmt.Errorf("action %q: %w", req.Action, errors.ErrUnsupported)
	default:
		if err := d.with(ctx, "", func(_ *target, conn *pgx.Conn, _ server) error { return d.domain(ctx, conn, req.Domain) }); err != nil {
			return res, err
		}
		err = d.with(ctx, req.Domain, func(t *target, conn *pgx.Conn, s server) error {
			if req.Variant == providers.Nonpersisted {
				res, err = d.exportRunning(ctx, conn, s, sink)
			} else {
				res, err = d.export(ctx, t, conn, s, req.Domain, sink)
			}
			return err
		})
	}
	return res, err
}

// exportRunning captures what runs and is in no file: settings. The data of a database has no such variant.
func (d *device) exportRunning(ctx context.Context, conn *pgx.Conn, s server, sink *hashingSink) (providers.CaptureResult, error) {
	doc, err := readSettings(ctx, conn)
	if err != nil {
		return providers.CaptureResult{}, err
	}
	return providers.CaptureResult{
		Consistency: "application", Tool: "PostgreSQL " + s.Version, Fingerprint: map[string]any{"pending": len(doc.Pending)},
	}, sink.json(settingsName, doc.nonpersisted())
}

// export streams a dump while the facts are taken in the snapshot that the dump reads.
func (d *device) export(ctx context.Context, t *target, conn *pgx.Conn, s server, name string, sink *hashingSink) (providers.CaptureResult, error) {
	var res providers.CaptureResult
	dump, err := d.find(ctx, "pg_dump", s.major(), false)
	if err != nil {
		return res, err
	}
	doc, err := readSettings(ctx, conn)
	if err != nil {
		return res, err
	}
	missed, err := d.missed(ctx, conn)
	if err != nil {
		return res, err
	}
	rec := record{Format: 1, Server: s, Tool: dump.version, Files: sink.sums}
	if rec.Database, err = readDatabase(ctx, conn); err != nil {
		return res, err
	}
	res.Source.Bytes = databaseSize(ctx, conn)
	if res.Warnings, err = d.dumpWithFacts(ctx, t, conn, dump, name, &rec, sink); err != nil {
		return res, err
	}
	res.Warnings = append(res.Warnings, missed...)
	if dump.major > s.major() {
		res.Warnings = append(res.Warnings, fmt.Sprintf("made by %s: it may not go back into a server of version %d", dump.version, s.major()))
	}
	if err := sink.json(settingsName, doc); err != nil {
		return res, err
	}
	res.Consistency, res.Tool = "application", dump.version
	res.Fingerprint = map[string]any{
		"rows": rec.Facts.Rows, "sums": rec.Facts.Sums, "system_identifier": s.Identity, "server_version": s.Version,
		"timeline": rec.Position.Timeline, "extensions": rec.Database.Extensions,
	}
	return res, sink.record(rec)
}

// dumpWithFacts streams the dump and what belongs to the server, and puts position, objects and facts of the dump's snapshot into the record.
// Notes are warnings for people.
func (d *device) dumpWithFacts(
	ctx context.Context, t *target, conn *pgx.Conn, dump program, name string, rec *record, sink *hashingSink,
) (notes []string, err error) {
	dumpAll, err := d.find(ctx, "pg_dumpall", rec.Server.major(), false)
	if err != nil {
		return nil, err
	}
	snapshot, all, err := d.openSnapshot(ctx, conn, &rec.Position)
	if err != nil {
		return nil, d.blocked(ctx, name, err)
	}
	objects, err := readObjects(ctx, conn)
	if err != nil {
		return nil, err
	}
	globals, err := scratch.File("") // the sink takes one file after another
	if err != nil {
		return nil, err
	}
	defer globals.Close()
	g, inner := errgroup.WithContext(ctx)
	another := target{maps.Clone(t.dsn), t.password} // connecting writes into it
	var found facts
	var missing, ofGlobals, ofDump []string
	g.Go(func() (err error) {
		r := &reader{conn: conn, path: func(ctx context.Context) (string, error) { return another.ownPath(ctx, name) }}
		found, missing, err = d.Fingerprint.measure(inner, r, name, all)
		return err
	})
	g.Go(func() (err error) {
		ofGlobals, err = d.globals(inner, t, dumpAll, name, globals)
		return err
	})
	g.Go(func() (err error) {
		ofDump, err = sink.stream(dumpName, func(w io.Writer) ([]string, error) {
			return t.run(inner, dump, nil, w, d.dumpArgs(name, snapshot)...)
		})
		return err
	})
	if err := g.Wait(); err != nil {
		return nil, d.blocked(ctx, name, err)
	}
	rec.Facts, rec.Database.Objects = &found, &objects
	closeConn(ctx, conn)
	_, err = sink.stream(globalsName, func(w io.Writer) ([]string, error) {
		_, err := io.Copy(w, scratch.Content(globals))
		return nil, err
	})
	return slices.Concat(ofDump, ofGlobals, missing), err
}

// dumpArgs are the arguments of pg_dump for a database, as a snapshot sees it.
func (d *device) dumpArgs(name, snapshot string) []string {
	args := []string{
		"--format=custom", "--no-password", "--snapshot=" + snapshot, "--dbname=" + pair("dbname", name),
		"--lock-wait-timeout=" + strconv.FormatInt(d.dumpPatience().Milliseconds(), 10),
	}
	if d.Compression != 6 {
		args = append(args, "--compress="+strconv.Itoa(d.Compression))
	}
	return args
}

// globals writes the roles and tablespaces, of which each export has its own.
func (d *device) globals(ctx context.Context, t *target, tool program, name string, to io.Writer) ([]string, error) {
	args := []string{"--globals-only", "--no-password", "--database=" + pair("dbname", name)}
	if !d.RolePasswords {
		args = append(args, "--no-role-passwords")
	}
	return t.run(ctx, tool, nil, to, args...)
}

// openSnapshot begins the transaction whose snapshot everything is read in. Tables are locked before the
// snapshot is taken, as a snapshot does not protect against TRUNCATE and DROP; those made in between after it.
func (d *device) openSnapshot(ctx context.Context, conn *pgx.Conn, at *position) (id string, all []table, err error) {
	if err := execAll(ctx, conn, fmt.Sprintf("SET lock_timeout = %d", d.LockTimeout.Std().Milliseconds())); err != nil {
		return "", nil, err
	}
	// pg_dump waits for these without a limit, as while one is refreshed.
	if _, err := strs(ctx, conn, "SELECT pg_get_viewdef(oid) FROM pg_class WHERE relkind = 'm'"); err != nil {
		return "", nil, fmt.Errorf("look at the materialized views: %w", err)
	}
	before, err := tables(ctx, conn)
	if err != nil {
		return "", nil, err
	}
	// Counting is soon over in one process, too; more of them take the dump's processors away.
	if err := execAll(ctx, conn, "SET max_parallel_workers_per_gather = 0"); err != nil {
		return "", nil, err
	}
	if _, err := conn.Exec(ctx, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"); err != nil {
		return "", nil, lost(conn, err)
	}
	if err := lock(ctx, conn, before); err != nil {
		return "", nil, fmt.Errorf("lock the tables: %w", err)
	}
	err = conn.QueryRow(ctx, `SELECT pg_export_snapshot(), (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END)::text,
		(SELECT timeline_id FROM pg_control_checkpoint())`).Scan(&id, &at.LSN, &at.Timeline)
	if err != nil {
		return "", nil, fmt.Errorf("export a snapshot: %w", lost(conn, err))
	}
	if all, err = tables(ctx, conn); err != nil {
		return "", nil, err
	}
	known := map[table]bool{}
	for _, t := range before {
		known[t] = true
	}
	var added []table
	for _, t := range all {
		if !known[t] {
			added = append(added, t)
		}
	}
	return id, all, lock(ctx, conn, added)
}

func readDatabase(ctx context.Context, conn *pgx.Conn) (*database, error) {
	db := &database{Extensions: map[string]string{}}
	var row []byte
	// As JSON, because the columns differ between versions.
	err := conn.QueryRow(ctx, `SELECT to_jsonb(d) || jsonb_build_object('owner', pg_get_userbyid(datdba), 'charset', pg_encoding_to_char(encoding))
		FROM pg_database d WHERE datname = current_database()`).Scan(&row)
	if err != nil {
		return nil, lost(conn, err)
	}
	var raw struct {
		Name, Owner, Charset, Collate, CType, Provider, Icu, Locale, Rules string
	}
	fields := map[string]*string{
		"datname": &raw.Name, "owner": &raw.Owner, "charset": &raw.Charset, "datcollate": &raw.Collate, "datctype": &raw.CType,
		"datlocprovider": &raw.Provider, "daticulocale": &raw.Icu, "datlocale": &raw.Locale, "daticurules": &raw.Rules,
	}
	var values map[string]any
	if err := json.Unmarshal(row, &values); err != nil {
		return nil, err
	}
	for k, to := range fields {
		*to, _ = values[k].(string)
	}
	db.Name, db.Owner, db.Encoding, db.Collate, db.CType = raw.Name, raw.Owner, raw.Charset, raw.Collate, raw.CType
	db.Provider = map[string]string{"i": "icu", "b": "builtin"}[raw.Provider]
	if db.Provider == "" {
		db.Provider = "libc"
	}
	db.Locale, db.Rules = raw.Icu+raw.Locale, raw.Rules // only one of the locales is there
	if db.Properties, err = readProperties(ctx, conn, db.Name); err != nil {
		return nil, err
	}
	rows, err := conn.Query(ctx, "SELECT extname, extversion FROM pg_extension")
	if err != nil {
		return nil, lost(conn, err)
	}
	var name, version string
	if _, err := pgx.ForEachRow(rows, []any{&name, &version}, func() error {
		db.Extensions[name] = version
		return nil
	}); err != nil {
		return nil, lost(conn, err)
	}
	if db.Roles, err = strs(ctx, conn, `SELECT DISTINCT r.rolname FROM pg_shdepend s JOIN pg_roles r ON r.oid = s.refobjid
		WHERE s.refclassid = 'pg_authid'::regclass AND s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
		AND r.rolname !~ '^pg_' ORDER BY 1`); err != nil {
		return nil, err
	}
	db.Tablespaces, err = strs(ctx, conn, `SELECT DISTINCT t.spcname FROM pg_class c JOIN pg_tablespace t ON t.oid = c.reltablespace
		WHERE t.spcname NOT IN ('pg_default', 'pg_global') ORDER BY 1`)
	return db, err
}

// hashingSink knows the SHA-256 of every file that went through it.
type hashingSink struct {
	to   providers.Sink
	sums map[string]string
}

type counted struct {
	to   io.Writer
	hash hash.Hash
	size int64
}

func (c *counted) Write(b []byte) (int, error) {
	n, err := c.to.Write(b)
	if c.hash != nil {
		c.hash.Write(b[:n])
	}
	c.size += int64(n)
	return n, err
}

// stream makes one file from what a program writes. An empty one is an error.
func (s *hashingSink) stream(name string, write func(io.Writer) ([]string, error)) ([]string, error) {
	file, err := s.to.Create(name)
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", name, err)
	}
	out := &counted{to: file}
	if name != baseName { // hashing it twice would cost as much as reading it
		out.hash = sha256.New()
	}
	// Programs write little at a time.
	buffer := bufio.NewWriterSize(out, 256<<10)
	notes, err := write(buffer)
	if err == nil {
		err = buffer.Flush()
	}
	if err == nil && out.size == 0 {
		err = fmt.Errorf("%w: %s is empty", providers.ErrTooSmall, name)
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return nil, err
	}
	s.sums[name] = ""
	if out.hash != nil {
		s.sums[name] = hex.EncodeToString(out.hash.Sum(nil))
	}
	return notes, nil
}

func (s *hashingSink) record(r record) error {
	r, err := r.seal()
	if err != nil {
		return err
	}
	return s.json(fingerprintName, r)
}

func (s *hashingSink) json(name string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = s.stream(name, func(w io.Writer) ([]string, error) {
		_, err := io.Copy(w, strings.NewReader(string(b)))
		return nil, err
	})
	return err
}
