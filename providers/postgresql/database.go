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
		tool, err := d.restoreTool(ctx, a, s.major())
		if err != nil {
			return err
		}
		there, err := readPlace(ctx, conn, name)
		if err != nil {
			return err
		}
		x := &exchange{
			device: d, target: t, conn: conn, admin: admin, name: name, id: req.ID, next: besideName(newPrefix, name), warn: req.Warnf,
			lenient: req.Lenient,
		}
		if len(req.Include) > 0 {
			if x.part, a.Facts, err = a.part(ctx, tool, req.Include); err != nil {
				return err
			}
		}
		switch {
		case (req.Lenient || x.part != nil) && there != nil && !there.marked(req.ID):
			return &providers.Error{
				Op: "restore into", Target: name, Err: fmt.Errorf("the database is there: %w", providers.ErrNotEmpty),
				Hint: "What is not the whole goes into a new database only. Name one that is not there.",
			}
		case there.marked(req.ID):
			return x.finish(ctx)
		case there == nil || req.Replace:
			return x.restore(ctx, tool, a, there)
		}
		if err := empty(ctx, t, name); err != nil {
			return err
		}
		if err := x.keeps(ctx, a.Database.Properties); err != nil {
			return err
		}
		if _, err := x.roles(ctx, a.Database, false); err != nil {
			return err
		}
		if err := x.load(ctx, tool, a, name); err != nil || req.ID == "" {
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

// part gives the entries of what is chosen and of what it needs, and the facts about it.
func (a *artifact) part(ctx context.Context, tool program, include []string) ([]byte, *facts, error) {
	objects, err := a.chosen(include)
	if err != nil {
		return nil, nil, err
	}
	list, err := a.readTOC(ctx, tool)
	if err != nil {
		return nil, nil, err
	}
	in, err := entries(list, objects, true)
	if err != nil {
		return nil, nil, err
	}
	if missing := a.missing(in); len(missing) > 0 {
		return nil, nil, fmt.Errorf("views among what is chosen need %s: choose these, too", strings.Join(missing, ", "))
	}
	return in.List, a.Facts.of(objects), nil
}

// keeps tells what an empty database that was there has of its own, and keeps.
func (x *exchange) keeps(ctx context.Context, captured *properties) error {
	if captured == nil {
		return nil
	}
	now, err := readProperties(ctx, x.conn, x.name)
	if err != nil {
		return err
	}
	if words := now.differ(captured); len(words) > 0 {
		x.warn("%s was there and keeps what it has of its own: %s", x.name, strings.Join(words, ", "))
	}
	return nil
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

// roles makes those that the database needs and the server does not have. With properties that are to be set, it gives them without what
// is about roles that could not be made.
func (x *exchange) roles(ctx context.Context, db *database, properties bool) (*properties, error) {
	made, err := makeRoles(ctx, x.conn, db.Roles)
	if err != nil {
		return nil, err
	}
	own := db.Properties
	if own != nil && properties {
		var more []string
		if own, more, err = x.ownRoles(ctx, db); err != nil {
			return nil, err
		}
		made = append(made, more...)
	}
	tellMade(x.warn, made)
	return own, nil
}

// ownRoles makes the roles that the properties speak of. Without the right to make roles, what is about those that are missing is left out; the
// dsn's role is then the owner.
func (x *exchange) ownRoles(ctx context.Context, db *database) (own *properties, made []string, err error) {
	own = db.Properties
	var none []string
	for _, role := range append(own.roles(), db.Owner) {
		more, err := makeRoles(ctx, x.conn, []string{role})
		switch {
		case isCode(err, "42501") && !slices.Contains(none, role):
			none = append(none, role)
		case err != nil && !isCode(err, "42501"):
			return nil, nil, err
		}
		made = append(made, more...)
	}
	if len(none) == 0 {
		return own, made, nil
	}
	x.warn("the dsn's role may not make the roles %s, which are missing: what they own, and their rights and settings on the database, are not restored",
		strings.Join(none, ", "))
	if slices.Contains(none, db.Owner) {
		var me string
		if err := x.conn.QueryRow(ctx, "SELECT current_user").Scan(&me); err != nil {
			return nil, nil, lost(x.conn, err)
		}
		own = own.ownedBy(db.Owner, me)
	}
	return own.without(none), made, nil
}

// makeRoles makes those that own something in the dump and are missing, without a login and without rights:
// globals.sql has what they were.
func makeRoles(ctx context.Context, conn *pgx.Conn, roles []string) (made []string, err error) {
	missing, err := strs(ctx, conn, "SELECT n FROM unnest($1::text[]) n WHERE n NOT IN (SELECT rolname FROM pg_roles) ORDER BY 1", roles)
	if err != nil {
		return nil, err
	}
	for _, role := range missing {
		if err := execAll(ctx, conn, "CREATE ROLE "+ident(role)+" NOLOGIN"); err != nil {
			return made, fmt.Errorf("make role %q: %w", role, err)
		}
		made = append(made, role)
	}
	return made, nil
}

func tellMade(warn func(string, ...any), made []string) {
	if len(made) > 0 {
		warn("roles that were missing are made without login and without rights: %s; the artifact's %s has what they were", strings.Join(made, ", "), globalsName)
	}
}

// create makes the new database as the dump's was. Owner and tablespace are those of the database it will replace, if there is one. Nobody
// else may connect until it has its name.
func (x *exchange) create(ctx context.Context, db *database, there *place) error {
	var super, owner, space bool
	wanted := db.tablespace()
	if there != nil {
		wanted = there.tablespace
	}
	if err := x.conn.QueryRow(ctx, `SELECT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user),
		EXISTS (SELECT FROM pg_roles WHERE rolname = $1), EXISTS (SELECT FROM pg_tablespace WHERE spcname = $2)`, db.Owner, wanted).
		Scan(&super, &owner, &space); err != nil {
		return lost(x.conn, err)
	}
	query := fmt.Sprintf("CREATE DATABASE %s TEMPLATE template0 ENCODING %s LC_COLLATE %s LC_CTYPE %s",
		ident(x.next), literal(db.Encoding), literal(db.Collate), literal(db.CType))
	switch db.Provider {
	case "icu":
		query += " LOCALE_PROVIDER icu ICU_LOCALE " + literal(db.Locale)
		if db.Rules != "" {
			query += " ICU_RULES " + literal(db.Rules)
		}
	case "builtin":
		query += " LOCALE_PROVIDER builtin BUILTIN_LOCALE " + literal(db.Locale)
	}
	switch {
	case there != nil:
		query += " OWNER " + ident(there.owner)
	case owner:
		query += " OWNER " + ident(db.Owner)
	}
	switch {
	case wanted == "", wanted == "pg_default": // which only a superuser may name
	case space:
		query += " TABLESPACE " + ident(wanted)
	default:
		x.warn("the server has no tablespace %s, in which the database was", wanted)
	}
	if super { // whom it does not concern
		query += " CONNECTION LIMIT 0"
	}
	if err := execAll(ctx, x.conn, query); err != nil {
		return fmt.Errorf("make database %q: %w", x.next, err)
	}
	return execAll(ctx, x.conn, "REVOKE ALL ON DATABASE "+ident(x.next)+" FROM PUBLIC")
}

// tablespace is that of the database itself; empty when it is not known.
func (db *database) tablespace() string {
	if db.Properties == nil {
		return ""
	}
	return db.Properties.Tablespace
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

// load runs pg_restore in one transaction and compares the facts. A lenient one loads what it can and tells the rest.
func (x *exchange) load(ctx context.Context, tool program, a *artifact, name string) error {
	t, conn := x.target, x.conn
	// Also while the cluster is quiesced.
	options := strings.TrimSpace(t.dsn["options"] + " -c default_transaction_read_only=off")
	args := []string{"--dbname=" + pair("dbname", name) + " " + pair("options", options), "--no-password"}
	if !x.lenient {
		args = append(args, "--exit-on-error", "--single-transaction")
	}
	missing, err := strs(ctx, conn, "SELECT n FROM unnest($1::text[]) n WHERE n NOT IN (SELECT spcname FROM pg_tablespace)", a.Database.Tablespaces)
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		x.warn("the server does not have the tablespaces %s: everything is in the one of the database", strings.Join(missing, ", "))
		args = append(args, "--no-tablespaces")
	}
	if err := a.read(ctx, dumpName, func(r io.Reader) error {
		_, err := t.runWith(ctx, tool, x.part, r, nil, args...)
		if x.lenient {
			return lenient(err, x.warn)
		}
		return named(err, x.name)
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
	switch diff := a.Facts.differences(got); {
	case len(diff) > 0 && x.lenient:
		x.warn("the restored database is not what was captured: %s", strings.Join(diff, "; "))
	case len(diff) > 0:
		return fmt.Errorf("%w: the restored database is not what was captured: %s", providers.ErrCorrupt, strings.Join(diff, "; "))
	}
	return nil
}
