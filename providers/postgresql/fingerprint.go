package postgresql

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// facts are what a restored database is compared with.
type facts struct {
	Rows map[string]int64  `json:"rows"`           // of each table
	Sums map[string]string `json:"sums,omitempty"` // of each declared column
	Path string            `json:"path,omitempty"` // the database's own search path, if only with it all could be read
}

// table is a table that an export holds. A partitioned one has no rows of its own.
type table struct {
	schema, name string
	partitioned  bool
}

// String is the name as SQL writes it.
func (t table) String() string { return ident(t.schema, t.name) }

// tablesQuery lists the tables that pg_dump takes. Tables of extensions are filled by their extension,
// foreign tables and the parts they play are elsewhere, and a standby has no content of unlogged ones.
const tablesQuery = `SELECT n.nspname, c.relname, c.relkind = 'p' FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND NOT (c.relpersistence = 'u' AND pg_is_in_recovery())
	AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
	AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
	AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_namespace'::regclass AND d.objid = n.oid AND d.deptype = 'e')
	ORDER BY 1, 2`

func tables(ctx context.Context, conn *pgx.Conn) ([]table, error) {
	rows, err := conn.Query(ctx, tablesQuery)
	if err != nil {
		return nil, lost(conn, err)
	}
	var (
		all []table
		t   table
	)
	_, err = pgx.ForEachRow(rows, []any{&t.schema, &t.name, &t.partitioned}, func() error {
		all = append(all, t)
		return nil
	})
	return all, lost(conn, err)
}

// lock keeps the tables from being dropped or truncated, which a snapshot does not protect against.
func lock(ctx context.Context, conn *pgx.Conn, all []table) error {
	for part := range slices.Chunk(all, 100) {
		names := make([]string, len(part))
		for i, t := range part {
			names[i] = t.String()
		}
		if _, err := conn.Exec(ctx, "LOCK TABLE ONLY "+strings.Join(names, ", ONLY ")+" IN ACCESS SHARE MODE"); err != nil {
			return lost(conn, err)
		}
	}
	return nil
}

// reader reads facts in the transaction that is open. What it reads first goes without the search path, so that nothing of the database's own
// can get into a name; an index on a function that finds others through the path makes even counting rows need it.
type reader struct {
	conn  *pgx.Conn
	path  func(context.Context) (string, error) // the database's own
	used  string                                // when it was needed
	begun bool
}

// try reads, and reads again with the database's own path. What fails then, too, leaves the transaction as it was.
func (r *reader) try(ctx context.Context, read func() error) error {
	if !r.begun {
		if err := execAll(ctx, r.conn, "SAVEPOINT facts"); err != nil {
			return err
		}
		r.begun = true
	}
	first := lost(r.conn, read())
	if first == nil || errors.Is(first, errLost) || ctx.Err() != nil {
		return first
	}
	if err := execAll(ctx, r.conn, "ROLLBACK TO facts"); err != nil {
		return err
	}
	var refused *pgconn.PgError
	if !errors.As(first, &refused) || !strings.HasPrefix(refused.Code, "42") { // names that are not found, and the like
		return first
	}
	path, err := r.path(ctx)
	if err != nil || path == "" {
		return errors.Join(first, err)
	}
	if err := execAll(ctx, r.conn, "SELECT set_config('search_path', "+literal(path)+", true)"); err != nil {
		return err
	}
	if err = lost(r.conn, read()); err == nil {
		r.used = path
	}
	if errors.Is(err, errLost) {
		return err
	}
	return errors.Join(err, execAll(ctx, r.conn, "ROLLBACK TO facts"))
}

// rows counts the rows of a table.
func (r *reader) rows(ctx context.Context, t table) (n int64, err error) {
	err = r.try(ctx, func() error { return r.conn.QueryRow(ctx, "SELECT pg_catalog.count(*) FROM ONLY "+t.String()).Scan(&n) })
	return n, err
}

// sum adds up a column.
func (r *reader) sum(ctx context.Context, c column) (sum string, found bool, err error) {
	err = r.try(ctx, func() (err error) {
		sum, found, err = c.sum(ctx, r.conn)
		return err
	})
	return sum, found, err
}

// ownPath is the search path of sessions in the connection's database.
func (t *target) ownPath(ctx context.Context, database string) (path string, err error) {
	conn, err := t.connect(ctx, database, "search_path")
	if err != nil {
		return "", err
	}
	defer closeConn(ctx, conn)
	err = conn.QueryRow(ctx, "SELECT pg_catalog.current_setting('search_path')").Scan(&path)
	return path, err
}

// measure takes the facts in the connection's transaction. What was asked for and is not there, or cannot be read, is told as a warning.
func (f *Fingerprint) measure(ctx context.Context, r *reader, database string, all []table) (facts, []string, error) {
	got := facts{Rows: map[string]int64{}, Sums: map[string]string{}}
	if f == nil {
		f = &Fingerprint{}
	}
	var warnings []string
	// gone says whether an error is not one of what is read, which only costs the fact.
	gone := func(what string, err error) bool {
		if errors.Is(err, errLost) || ctx.Err() != nil {
			return true
		}
		warnings = append(warnings, fmt.Sprintf("%s, and no restore compares it: %v", what, err))
		return false
	}
	for _, t := range all {
		if t.partitioned || !matchAny(f.Tables, t.schema+"."+t.name) {
			continue
		}
		n, err := r.rows(ctx, t)
		switch {
		case err == nil:
			got.Rows[t.String()] = n
		case gone("the rows of "+t.String()+" could not be counted", err):
			return got, nil, fmt.Errorf("count the rows of %s: %w", t, err)
		}
	}
	for _, text := range f.Sums {
		c, err := parseColumn(text)
		if err != nil {
			return got, nil, fmt.Errorf("column %s %w", text, err)
		}
		if c.database != "" && c.database != database {
			continue
		}
		name := ident(c.schema, c.table, c.name)
		sum, found, err := r.sum(ctx, c)
		switch {
		case err == nil && found:
			got.Sums[name] = sum
		case err == nil:
			warnings = append(warnings, fmt.Sprintf("database %s has no column %s to sum", database, name))
		case gone("the column "+name+" could not be summed", err):
			return got, nil, fmt.Errorf("sum %s: %w", text, err)
		}
	}
	got.Path = r.used
	return got, warnings, nil
}

// remeasure takes the same facts of another database: of the names that are in f.
func (f facts) remeasure(ctx context.Context, conn *pgx.Conn) (facts, error) {
	got := facts{Rows: map[string]int64{}, Sums: map[string]string{}}
	all, err := tables(ctx, conn)
	if err != nil {
		return got, err
	}
	if err := execAll(ctx, conn, "BEGIN READ ONLY"); err != nil {
		return got, err
	}
	r := &reader{conn: conn, path: func(context.Context) (string, error) { return f.Path, nil }}
	for _, t := range all {
		if _, known := f.Rows[t.String()]; !known {
			continue
		}
		if got.Rows[t.String()], err = r.rows(ctx, t); err != nil {
			return got, fmt.Errorf("count the rows of %s: %w", t, err)
		}
	}
	for text := range f.Sums {
		c, err := parseColumn(text)
		if err != nil {
			return got, fmt.Errorf("column %s %w", text, err)
		}
		sum, found, err := r.sum(ctx, c)
		if err != nil {
			return got, fmt.Errorf("sum %s: %w", text, err)
		}
		if found {
			got.Sums[text] = sum
		}
	}
	return got, execAll(ctx, conn, "COMMIT")
}

// of gives the facts about some tables.
func (f facts) of(objects []object) *facts {
	some := facts{Rows: map[string]int64{}, Sums: map[string]string{}, Path: f.Path}
	for _, o := range objects {
		name := ident(o.Schema, o.Name)
		if n, known := f.Rows[name]; known {
			some.Rows[name] = n
		}
		for column, sum := range f.Sums {
			if strings.HasPrefix(column, name+".") {
				some.Sums[column] = sum
			}
		}
	}
	return &some
}

// differences says what is not as it was, at most five lines of it.
func (f facts) differences(got facts) []string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(f.Rows)) {
		if n, ok := got.Rows[name]; !ok {
			all = append(all, fmt.Sprintf("table %s is missing", name))
		} else if n != f.Rows[name] {
			all = append(all, fmt.Sprintf("table %s has %d rows and had %d", name, n, f.Rows[name]))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(f.Sums)) {
		if got.Sums[name] != f.Sums[name] {
			all = append(all, fmt.Sprintf("the sum of %s is %q and was %q", name, got.Sums[name], f.Sums[name]))
		}
	}
	const most = 5
	if len(all) > most {
		all = append(all[:most], fmt.Sprintf("and %d more", len(all)-most))
	}
	return all
}

// column is a column to sum; without a database it is meant in every one.
type column struct{ database, schema, table, name string }

// parseColumn reads [database.]schema.table.column. Parts in double quotes hold any character; "" is a quote.
func parseColumn(text string) (column, error) {
	var parts []string
	for rest := text; ; {
		part, left, err := cutIdent(rest)
		if err != nil {
			return column{}, err
		}
		parts = append(parts, part)
		if left == "" {
			break
		}
		rest = left[1:]
	}
	switch len(parts) {
	case 3:
		return column{"", parts[0], parts[1], parts[2]}, nil
	case 4:
		return column{parts[0], parts[1], parts[2], parts[3]}, nil
	}
	return column{}, errors.New("must be schema.table.column, or database.schema.table.column")
}

// cutIdent takes the first part off; what is left is empty or begins with a dot.
func cutIdent(s string) (part, rest string, err error) {
	if !strings.HasPrefix(s, `"`) {
		i := strings.IndexByte(s, '.')
		if i < 0 {
			i = len(s)
		}
		if i == 0 || strings.ContainsAny(s[:i], "\"\x00") {
			return "", "", errors.New("has an empty part or a stray quote")
		}
		return s[:i], s[i:], nil
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		if s[i] != '"' {
			b.WriteByte(s[i])
			continue
		}
		if i+1 < len(s) && s[i+1] == '"' {
			b.WriteByte('"')
			i++
			continue
		}
		rest = s[i+1:]
		if b.Len() == 0 || rest != "" && (rest[0] != '.' || rest == ".") {
			return "", "", errors.New("has an empty part or text after a quote")
		}
		return b.String(), rest, nil
	}
	return "", "", errors.New("has a quote that is not closed")
}

// sum adds up a column: numbers exactly, so that the order of the rows is of no matter; of anything else a hash of its text.
func (c column) sum(ctx context.Context, conn *pgx.Conn) (sum string, found bool, err error) {
	var number bool
	err = conn.QueryRow(ctx, `SELECT t.typnamespace = 'pg_catalog'::regnamespace AND t.typname IN ('int2', 'int4', 'int8', 'numeric', 'float4', 'float8', 'money') FROM pg_attribute a JOIN pg_class r ON r.oid = a.attrelid
		JOIN pg_namespace n ON n.oid = r.relnamespace JOIN pg_type t ON t.oid = a.atttypid
		WHERE n.nspname = $1 AND r.relname = $2 AND a.attname = $3 AND a.attnum > 0 AND NOT a.attisdropped
		AND r.relkind IN ('r', 'p')`, c.schema, c.table, c.name).Scan(&number)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	of := fmt.Sprintf(`pg_catalog.hashtextextended(%s::pg_catalog.text COLLATE pg_catalog."C", 0)::pg_catalog.numeric`, ident(c.name))
	if number {
		of = ident(c.name) + "::pg_catalog.numeric"
	}
	err = conn.QueryRow(ctx, fmt.Sprintf("SELECT coalesce(pg_catalog.sum(%s), 0)::pg_catalog.text FROM %s", of, ident(c.schema, c.table))).Scan(&sum)
	return sum, true, err
}
