package postgresql

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast-dr/holdfast/providers"
)

const oldestMajor = 14

// server is what a cluster says of itself.
type server struct {
	Identity string `json:"system_identifier"`
	Version  string `json:"version"`
	Number   int    `json:"version_number"` // 150004 is 15.4
	Standby  bool   `json:"standby,omitempty"`
	build    string
}

func (s server) major() int { return s.Number / 10000 }

func readServer(ctx context.Context, conn *pgx.Conn) (server, error) {
	var s server
	err := conn.QueryRow(ctx, `SELECT (SELECT system_identifier::text FROM pg_control_system()), current_setting('server_version'),
		current_setting('server_version_num')::int, pg_is_in_recovery(), version()`).Scan(&s.Identity, &s.Version, &s.Number, &s.Standby, &s.build)
	if err != nil {
		return s, lost(conn, err)
	}
	if s.major() < oldestMajor {
		return s, fmt.Errorf("PostgreSQL %s: versions before %d are %w", s.Version, oldestMajor, errors.ErrUnsupported)
	}
	return s, nil
}

// with runs a call on a connection to one database, the empty one being the dsn's.
func (d *device) with(ctx context.Context, database string, call func(*target, *pgx.Conn, server) error) error {
	t, err := d.target(ctx)
	if err != nil {
		return err
	}
	conn, err := t.connect(ctx, database)
	if err != nil {
		return err
	}
	defer closeConn(ctx, conn)
	s, err := readServer(ctx, conn)
	if err != nil {
		return err
	}
	return call(&t, conn, s)
}

// closeConn says good-bye to the server, in a short time whatever state it is in.
func closeConn(ctx context.Context, conn *pgx.Conn) {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), cancelDelay)
	defer stop()
	_ = conn.Close(ctx)
}

// Inspect reads the cluster's identity, its version and its databases.
func (d *device) Inspect(ctx context.Context) (providers.DeviceInfo, error) {
	var info providers.DeviceInfo
	err := d.with(ctx, "", func(_ *target, conn *pgx.Conn, s server) error {
		all, err := databases(ctx, conn)
		if err != nil {
			return err
		}
		info = providers.DeviceInfo{Identity: s.Identity, Model: "PostgreSQL", Firmware: s.Version, Build: s.build, CanTellUnsaved: true}
		for _, name := range all {
			if d.wanted(name) {
				info.Domains = append(info.Domains, name)
			}
		}
		return nil
	})
	return info, d.explain(ctx, "inspect", err)
}

// databases lists those that accept connections and are no templates, sorted by bytes.
func databases(ctx context.Context, conn *pgx.Conn) ([]string, error) {
	all, err := strs(ctx, conn, "SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate AND datname !~ '"+ours+"'")
	slices.Sort(all)
	return all, err
}

// missed warns of databases that are asked for and in no export. Each export tells, because nothing else would.
func (d *device) missed(ctx context.Context, conn *pgx.Conn) (told []string, err error) {
	all, err := databases(ctx, conn)
	if err != nil {
		return nil, err
	}
	if matchAny(d.Databases, providers.AllDomains) && slices.Contains(all, providers.AllDomains) {
		told = append(told, fmt.Sprintf("the database %q is in no export, because that name means the whole device: rename it, or leave it out with databases",
			providers.AllDomains))
	}
	for _, p := range d.Databases {
		if !slices.ContainsFunc(all, func(name string) bool { return match(p, name) }) {
			told = append(told, fmt.Sprintf("databases has %q, but there is no such database that accepts connections and is no template", p))
		}
	}
	return told, nil
}

// domain checks that a database is a domain of this device.
func (d *device) domain(ctx context.Context, conn *pgx.Conn, name string) error {
	all, err := databases(ctx, conn)
	if err != nil {
		return err
	}
	if name == providers.AllDomains && slices.Contains(all, name) {
		return fmt.Errorf("the database %q cannot be a domain, because that name means the whole device; rename it: %w", name, errors.ErrUnsupported)
	}
	if !d.wanted(name) || !slices.Contains(all, name) {
		return fmt.Errorf("database %q: %w", name, providers.ErrNotFound)
	}
	return nil
}

// DomainState reads whether the cluster or a database is quiesced, and whether settings were changed and not applied.
func (d *device) DomainState(ctx context.Context, domain string) (providers.DomainState, error) {
	var state providers.DomainState
	err := d.with(ctx, "", func(_ *target, conn *pgx.Conn, s server) error {
		if domain != providers.AllDomains {
			if err := d.domain(ctx, conn, domain); err != nil {
				return err
			}
		}
		q, err := d.quiesceState(ctx, conn, s, domain)
		if err != nil {
			return err
		}
		doc, err := readSettings(ctx, conn)
		state = providers.DomainState{Quiesce: q, Unsaved: len(doc.Pending) > 0}
		return err
	})
	return state, d.explain(ctx, "read the state of", err)
}

func strs(ctx context.Context, conn *pgx.Conn, query string, args ...any) ([]string, error) {
	rows, err := conn.Query(ctx, query, args...)
	if err != nil {
		return nil, lost(conn, err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return all, lost(conn, err)
}

// literal quotes a string for SQL, whatever standard_conforming_strings is.
func literal(s string) string {
	q := "'" + strings.ReplaceAll(s, "'", "''") + "'"
	if strings.Contains(q, `\`) {
		q = " E" + strings.ReplaceAll(q, `\`, `\\`)
	}
	return q
}

func ident(parts ...string) string { return pgx.Identifier(parts).Sanitize() }
