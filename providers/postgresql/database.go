package postgresql

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast-dr/holdfast/providers"
)

// restoreDatabase puts a dump into a database that is absent or empty, or in the place of one that has something.
// What it made is removed again when it fails; what was there before never is.
func (d *device) restoreDatabase(ctx context.Context, a *artifact, req providers.RestoreRequest) error {
	name := req.Domain
	if name == "" || name == providers.AllDomains {
		return fmt.Errorf("an export goes into one database, not into %q", name)
	}
	// The dump is checked while it is read; of an artifact with any damage nothing goes into a server.
	for _, file := range []string{globalsName, settingsName} {
		if err := a.read(ctx, file, func(io.Reader) error { return nil }); err != nil {
			return err
		}
	}
	known, err := d.target(ctx)
	if err != nil {
		return err
	}
	admin := elsewhere(known.dsn["dbname"], name)
	return d.with(ctx, admin, func(t *target, conn *pgx.Conn, s server) error {
		if s.Standby {
			return fmt.Errorf("into a standby: %w", errors.ErrUnsupported)
		}
		if err := a.fits(ctx, conn, s); err != nil {
			return err
		}
		tool, err := d.find(ctx, "pg_restore", max(s.major(), a.Server.major()), false)
		if err != nil {
			return err
		}
		there, err := readPlace(ctx, conn, name)
		if err != nil {
			return err
		}
		x := &exchange{device: d, target: t, conn: conn, admin: admin, name: name, id: req.ID, next: besideName(newPrefix, name)}
		switch {
		case there.marked(req.ID):
			return x.finish(ctx)
		case there == nil || req.Replace:
			return x.restore(ctx, tool, a, there)
		}
		if err := empty(ctx, t, name); err != nil {
			return err
		}
		if err := makeRoles(ctx, conn, a.Database.Roles); err != nil {
			return err
		}
		if err := d.load(ctx, t, tool, conn, a, name); err != nil || req.ID == "" {
			return err
		}
		err = execAll(ctx, conn, readWrite, setComment(name, markedComment(there.comment, req.ID)))
		if isCode(err, "42501") {
			req.Warnf("%s belongs to somebody else, so a repetition would not know this restore and end with an error", name)
			return nil
		}
		return err
	})
}

// fits checks before anything is made whether the server has what the dump needs.
func (a *artifact) fits(ctx context.Context, conn *pgx.Conn, s server) error {
	if s.major() < a.Server.major() {
		return fmt.Errorf("version mismatch: the export is of PostgreSQL %s, the server is the older %s", a.Server.Version, s.Version)
	}
	missing, err := strs(ctx, conn, "SELECT n FROM unnest($1::text[]) n WHERE n NOT IN (SELECT name FROM pg_available_extensions) ORDER BY 1",
		slices.Sorted(maps.Keys(a.Database.Extensions)))
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		return &providers.Error{
			Op: "restore", Target: a.Database.Name, Err: fmt.Errorf("the server does not have the extensions %s", strings.Join(missing, ", ")),
			Hint: "Install their packages on the server first.",
		}
	}
	return nil
}

// makeRoles makes those that own something in the dump and are missing, without a login and without rights:
// globals.sql has what they were.
func makeRoles(ctx context.Context, conn *pgx.Conn, roles []string) error {
	missing, err := strs(ctx, conn, "SELECT n FROM unnest($1::text[]) n WHERE n NOT IN (SELECT rolname FROM pg_roles) ORDER BY 1", roles)
	if err != nil {
		return err
	}
	for _, role := range missing {
		if err := execAll(ctx, conn, "CREATE ROLE "+ident(role)+" NOLOGIN"); err != nil {
			return fmt.Errorf("make role %q: %w", role, err)
		}
	}
	return nil
}

// create makes a database as the dump's was. Owner and tablespace are those of the database it will replace, if there is one.
func (a *artifact) create(ctx context.Context, conn *pgx.Conn, name string, there *place) error {
	db := a.Database
	query := fmt.Sprintf("CREATE DATABASE %s TEMPLATE template0 ENCODING %s LC_COLLATE %s LC_CTYPE %s", ident(name), literal(db.Encoding), literal(db.Collate), literal(db.CType))
	switch db.Provider {
	case "icu":
		query += " LOCALE_PROVIDER icu ICU_LOCALE " + literal(db.Locale)
	case "builtin":
		query += " LOCALE_PROVIDER builtin BUILTIN_LOCALE " + literal(db.Locale)
	}
	if there != nil {
		query += " OWNER " + ident(there.owner) + " TABLESPACE " + ident(there.tablespace)
	} else {
		var exists bool
		if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", db.Owner).Scan(&exists); err != nil {
			return lost(conn, err)
		}
		if exists {
			query += " OWNER " + ident(db.Owner)
		}
	}
	if err := execAll(ctx, conn, query); err != nil {
		return fmt.Errorf("make database %q: %w", name, err)
	}
	return nil
}

// empty refuses a database that has anything of its own in it.
func empty(ctx context.Context, t *target, name string) error {
	conn, err := t.connect(ctx, name)
	if err != nil {
		return err
	}
	defer closeConn(ctx, conn)
	found, err := strs(ctx, conn, `SELECT what FROM (
		SELECT format('relation %I.%I', n.nspname, c.relname), c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname !~ '^pg_'
		UNION ALL SELECT format('function %I.%I', n.nspname, p.proname), p.oid FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname !~ '^pg_'
		UNION ALL SELECT format('type %I.%I', n.nspname, t.typname), t.oid FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE n.nspname !~ '^pg_'
		UNION ALL SELECT format('schema %I', nspname), oid FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'public'
		UNION ALL SELECT format('extension %I', extname), oid FROM pg_extension
		UNION ALL SELECT 'a large object', oid FROM pg_largeobject_metadata
	) o (what, oid) WHERE oid >= 16384 LIMIT 3`) // below are the objects of an empty database
	if err != nil || len(found) == 0 {
		return err
	}
	return &providers.Error{
		Op: "restore into", Target: name, Err: fmt.Errorf("the database is %w, it has %s", providers.ErrNotEmpty, strings.Join(found, ", ")),
		Hint: "Name a database that is absent or empty, or have this one replaced: it then gives its name away when the restored one is complete and checked.",
	}
}

// load runs pg_restore in one transaction and compares the facts.
func (d *device) load(ctx context.Context, t *target, tool program, conn *pgx.Conn, a *artifact, name string) error {
	// Also while the cluster is quiesced.
	options := strings.TrimSpace(t.dsn["options"] + " -c default_transaction_read_only=off")
	args := []string{"--dbname=" + pair("dbname", name) + " " + pair("options", options), "--no-password", "--exit-on-error", "--single-transaction"}
	known, err := strs(ctx, conn, "SELECT spcname FROM pg_tablespace")
	if err != nil {
		return err
	}
	if slices.ContainsFunc(a.Database.Tablespaces, func(s string) bool { return !slices.Contains(known, s) }) {
		args = append(args, "--no-tablespaces")
	}
	if err := a.read(ctx, dumpName, func(r io.Reader) error {
		_, err := t.run(ctx, tool, r, nil, args...)
		return err
	}); err != nil {
		return err
	}
	restored, err := t.connect(ctx, name)
	if err != nil {
		return err
	}
	defer closeConn(ctx, restored)
	got, err := a.Facts.remeasure(ctx, restored)
	if err != nil {
		return err
	}
	if diff := a.Facts.differences(got); len(diff) > 0 {
		return fmt.Errorf("%w: the restored database is not what was captured: %s", providers.ErrCorrupt, strings.Join(diff, "; "))
	}
	return nil
}
