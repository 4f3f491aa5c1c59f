package postgresql

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// properties are what belongs to a database itself and is in no dump of its content: what pg_dump knows with --create.
// Roles are named.
type properties struct {
	Tablespace      string    `json:"tablespace"`
	ConnectionLimit int       `json:"connection_limit"` // -1: none
	Comment         string    `json:"comment,omitempty"`
	OwnAccess       bool      `json:"own_access"` // false: everybody may connect, as when a database is made
	Grants          []grant   `json:"grants,omitempty"`
	Settings        []setting `json:"settings,omitempty"`
	Labels          []label   `json:"security_labels,omitempty"`
}

// grant is a right on the database; an empty role is everybody.
type grant struct {
	Role      string `json:"role,omitempty"`
	Privilege string `json:"privilege"`
	Grantable bool   `json:"grantable,omitempty"`
}

// setting is a setting of the sessions in the database, of one role's or of all.
type setting struct {
	Role  string `json:"role,omitempty"`
	Name  string `json:"name"`
	Value string `json:"value"`
}

type label struct {
	Provider string `json:"provider"`
	Label    string `json:"label"`
}

func readProperties(ctx context.Context, conn *pgx.Conn, name string) (*properties, error) {
	p := new(properties)
	if err := conn.QueryRow(ctx, `SELECT t.spcname, greatest(d.datconnlimit, -1),
		coalesce(shobj_description(d.oid, 'pg_database'), ''), d.datacl IS NOT NULL
		FROM pg_database d JOIN pg_tablespace t ON t.oid = d.dattablespace WHERE d.datname = $1`, name).
		Scan(&p.Tablespace, &p.ConnectionLimit, &p.Comment, &p.OwnAccess); err != nil {
		return nil, lost(conn, err)
	}
	p.Comment = bareComment(p.Comment)
	var err error
	if p.Grants, err = collect[grant](ctx, conn, `SELECT
		CASE grantee WHEN 0 THEN '' ELSE pg_get_userbyid(grantee) END, privilege_type, is_grantable
		FROM pg_database, aclexplode(datacl) WHERE datname = $1 ORDER BY 1, 2`, name); err != nil {
		return nil, err
	}
	if p.Settings, err = collect[setting](ctx, conn, `SELECT
		CASE setrole WHEN 0 THEN '' ELSE pg_get_userbyid(setrole) END,
		split_part(entry, '=', 1), substr(entry, strpos(entry, '=') + 1)
		FROM pg_db_role_setting JOIN pg_database d ON d.oid = setdatabase,
			unnest(setconfig) WITH ORDINALITY AS e (entry, n)
		WHERE d.datname = $1 ORDER BY 1, n`, name); err != nil {
		return nil, err
	}
	p.Labels, err = collect[label](ctx, conn, `SELECT provider, label FROM pg_shseclabel
		JOIN pg_database d ON d.oid = objoid
		WHERE classoid = 'pg_database'::regclass AND d.datname = $1 ORDER BY 1`, name)
	return p, err
}

// collect reads rows into structs by the place of their columns.
func collect[T any](ctx context.Context, conn *pgx.Conn, query string, args ...any) ([]T, error) {
	rows, err := conn.Query(ctx, query, args...)
	if err != nil {
		return nil, lost(conn, err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[T])
	return all, lost(conn, err)
}

// roles names those that the properties speak of.
func (p *properties) roles() (all []string) {
	for _, g := range p.Grants {
		all = append(all, g.Role)
	}
	for _, s := range p.Settings {
		all = append(all, s.Role)
	}
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(role string) bool { return role == "" })
}

// without leaves out what is about roles that are not there.
func (p *properties) without(roles []string) *properties {
	q := *p
	q.Grants = slices.DeleteFunc(slices.Clone(p.Grants), func(g grant) bool { return slices.Contains(roles, g.Role) })
	q.Settings = slices.DeleteFunc(slices.Clone(p.Settings), func(s setting) bool {
		return slices.Contains(roles, s.Role)
	})
	return &q
}

// ownedBy gives one role's rights on the database to another one.
func (p *properties) ownedBy(was, is string) *properties {
	q := *p
	q.Grants = slices.Clone(p.Grants)
	for i, g := range q.Grants {
		if g.Role == was {
			q.Grants[i].Role = is
		}
	}
	return &q
}

// access gives the statements for who may do what with the database, from the state in which only its owner may.
func (p *properties) access(name, owner string) []string {
	on := " ON DATABASE " + ident(name)
	all := []string{fmt.Sprintf("ALTER DATABASE %s CONNECTION LIMIT %d", ident(name), p.ConnectionLimit)}
	if !p.OwnAccess {
		return append(all, "GRANT CONNECT, TEMPORARY"+on+" TO PUBLIC")
	}
	all = append(all, "REVOKE ALL"+on+" FROM "+ident(owner))
	for _, g := range p.Grants {
		to := "PUBLIC"
		if g.Role != "" {
			to = ident(g.Role)
		}
		// A superuser grants in the owner's name, whoever granted it before.
		q := "GRANT " + g.Privilege + on + " TO " + to
		if g.Grantable {
			q += " WITH GRANT OPTION"
		}
		all = append(all, q)
	}
	return all
}

// optional is what a server may be unable to set, such as a setting of a library that it does not have. People are told
// of it.
type optional struct {
	what       string
	statements []string
}

// optionals gives the settings of sessions (ALTER DATABASE SET, ALTER ROLE IN DATABASE SET) and the security labels.
func (p *properties) optionals(name string) (all []optional) {
	for _, s := range p.Settings {
		of, what := "DATABASE "+ident(name), "the setting "+s.Name
		if s.Role != "" {
			of, what = "ROLE "+ident(s.Role)+" IN "+of, what+" of "+s.Role
		}
		o := optional{what, []string{"ALTER " + of + " SET " + ident(s.Name) + " TO " + settingValue(s.Name, s.Value)}}
		if s.Value == "" { // which would be a list of one empty name
			o.statements = []string{
				"SELECT set_config(" + literal(s.Name) + ", '', true)", "ALTER " + of + " SET " + ident(s.Name) + " FROM CURRENT",
			}
		}
		all = append(all, o)
	}
	for _, l := range p.Labels {
		all = append(all, optional{"the security label of " + l.Provider, []string{
			"SECURITY LABEL FOR " + ident(l.Provider) + " ON DATABASE " + ident(name) + " IS " + literal(l.Label),
		}})
	}
	return all
}

// try runs the statements in the transaction that is open; what the server refuses is undone and told.
func (o optional) try(ctx context.Context, conn *pgx.Conn, warn func(string, ...any)) error {
	if err := execAll(ctx, conn, "SAVEPOINT optional"); err != nil {
		return err
	}
	err := execAll(ctx, conn, o.statements...)
	if err == nil {
		return execAll(ctx, conn, "RELEASE optional")
	}
	if errors.Is(err, errLost) || ctx.Err() != nil {
		return err
	}
	warn("%s could not be set: %v", o.what, err)
	return execAll(ctx, conn, "ROLLBACK TO optional")
}

// differ says in words which properties a database has that are not those of the artifact.
func (p *properties) differ(from *properties) (words []string) {
	text := func(v any) string { return fmt.Sprintf("%q", v) }
	for _, f := range []struct {
		word string
		a, b any
	}{
		{"access rights", []any{p.OwnAccess, p.Grants}, []any{from.OwnAccess, from.Grants}},
		{"connection limit", p.ConnectionLimit, from.ConnectionLimit},
		{"comment", p.Comment, from.Comment}, {"settings", p.Settings, from.Settings},
		{"security labels", p.Labels, from.Labels},
	} {
		if text(f.a) != text(f.b) {
			words = append(words, f.word)
		}
	}
	return words
}

// quotedLists are the settings whose value is a list of names, each of which must be quoted by itself. The server
// allows extensions none, and pg_dump has the same list.
var quotedLists = []string{
	"local_preload_libraries", "search_path", "session_preload_libraries", "shared_preload_libraries", "temp_tablespaces", "unix_socket_directories",
}

// settingValue writes a stored value for SQL.
func settingValue(name, value string) string {
	if !slices.Contains(quotedLists, strings.ToLower(name)) {
		return literal(value)
	}
	var items []string
	for rest := strings.TrimSpace(value); rest != ""; rest = strings.TrimSpace(strings.TrimPrefix(rest, ",")) {
		var item string
		item, rest = cutItem(rest)
		items = append(items, literal(item))
	}
	return strings.Join(items, ", ")
}

// cutItem takes the first name off a list; what is left is empty or begins with a comma.
func cutItem(s string) (item, rest string) {
	if !strings.HasPrefix(s, `"`) {
		i := strings.IndexByte(s+",", ',')
		return strings.TrimSpace(s[:i]), s[i:]
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		if s[i] == '"' {
			if !strings.HasPrefix(s[i+1:], `"`) {
				return b.String(), strings.TrimSpace(s[i+1:])
			}
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String(), ""
}
