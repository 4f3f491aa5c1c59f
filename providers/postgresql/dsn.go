package postgresql

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"

	"github.com/holdfast-dr/holdfast/providers/scratch"
)

const applicationName = "holdfast"

// variables are the parameters a dsn may have, besides the password, and the environment variable that
// tells each to PostgreSQL's programs. Others would reach one of the two clients only, and are refused.
var variables = map[string]string{
	"host": "PGHOST", "hostaddr": "PGHOSTADDR", "port": "PGPORT", "user": "PGUSER", "dbname": "PGDATABASE",
	"sslmode": "PGSSLMODE", "sslrootcert": "PGSSLROOTCERT", "sslcert": "PGSSLCERT", "sslkey": "PGSSLKEY", "sslsni": "PGSSLSNI",
	"connect_timeout": "PGCONNECT_TIMEOUT", "channel_binding": "PGCHANNELBINDING", "options": "PGOPTIONS",
	"application_name": "PGAPPNAME",
}

// dsn is a connection string as parameters. It never shows in an error.
type dsn map[string]string

// parseDSN reads a URL or key=value pairs. Its errors name parameters but no values.
func parseDSN(text string) (dsn, error) {
	text = strings.TrimSpace(text)
	var (
		d   dsn
		err error
	)
	if strings.HasPrefix(text, "postgres://") || strings.HasPrefix(text, "postgresql://") {
		d, err = parseURL(text)
	} else {
		d, err = parsePairs(text)
	}
	if err != nil {
		return nil, fmt.Errorf("the dsn %w", err)
	}
	for _, k := range slices.Sorted(maps.Keys(d)) {
		v := d[k]
		if _, known := variables[k]; !known && k != "password" {
			return nil, fmt.Errorf("the dsn has the parameter %q, which is not supported; there are password, %s", k, strings.Join(slices.Sorted(maps.Keys(variables)), ", "))
		}
		if strings.ContainsAny(v, "\x00\n\r") {
			return nil, fmt.Errorf("the dsn has a line break or NUL in %s", k)
		}
	}
	if strings.Contains(d["host"], ",") || strings.Contains(d["hostaddr"], ",") {
		return nil, errors.New("the dsn names several hosts; a device is one server")
	}
	if port := d["port"]; port != "" {
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return nil, errors.New("the dsn has no port number in port")
		}
	}
	for k, v := range map[string]string{"dbname": "postgres", "application_name": applicationName, "connect_timeout": "10"} {
		if d[k] == "" {
			d[k] = v
		}
	}
	return d, nil
}

func parseURL(text string) (dsn, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, errors.New("is no valid URL; characters such as / # ? % in the password must be written as %2F %23 %3F %25, and a socket directory goes into ?host=")
	}
	d := dsn{}
	set := func(k, v string) {
		if v != "" {
			d[k] = v
		}
	}
	if strings.Contains(u.Host, ",") {
		set("host", u.Host)
	} else {
		set("host", u.Hostname())
		set("port", u.Port())
	}
	set("user", u.User.Username())
	password, _ := u.User.Password()
	set("password", password)
	set("dbname", strings.TrimPrefix(u.Path, "/"))
	query, err := url.ParseQuery(strings.ReplaceAll(u.RawQuery, "+", "%2B")) // + is no space here
	if err != nil {
		return nil, errors.New("has parameters that are not valid in a URL")
	}
	for k, v := range query {
		set(k, v[len(v)-1])
	}
	return d, nil
}

// parsePairs reads key=value pairs as libpq does: values in single quotes, \ before a quote or a backslash.
func parsePairs(text string) (dsn, error) {
	d := dsn{}
	for text = strings.TrimLeft(text, " \t\r\n"); text != ""; text = strings.TrimLeft(text, " \t\r\n") {
		key, rest, ok := strings.Cut(text, "=")
		key = strings.TrimSpace(key)
		if !ok || key == "" || strings.ContainsAny(key, " \t\r\n'\\") {
			return nil, errors.New("is neither a postgres:// URL nor key=value pairs")
		}
		rest = strings.TrimLeft(rest, " \t\r\n")
		quoted := strings.HasPrefix(rest, "'")
		if quoted {
			rest = rest[1:]
		}
		var value strings.Builder
		i, closed := 0, !quoted
	scan:
		for ; i < len(rest); i++ {
			switch c := rest[i]; {
			case c == '\\' && i+1 < len(rest):
				i++
				value.WriteByte(rest[i])
			case quoted && c == '\'':
				closed = true
				i++
				break scan
			case !quoted && strings.IndexByte(" \t\r\n", c) >= 0:
				break scan
			default:
				value.WriteByte(c)
			}
		}
		if !closed {
			return nil, fmt.Errorf("has a quote that is not closed in %q", key)
		}
		d[key], text = value.String(), rest[i:]
	}
	return d, nil
}

// pair writes one parameter for a connection string.
func pair(k, v string) string {
	return k + "='" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(v) + "'"
}

// target is a server with everything that is needed to reach it.
type target struct {
	dsn
	password string
}

// target resolves the secret. It is asked for each time, so that a rotated password is used.
func (d *device) target(ctx context.Context) (target, error) {
	if d.env.Secret == nil {
		return target{}, fmt.Errorf("%s: no secrets here", d.DSN)
	}
	text, err := d.env.Secret(ctx, d.DSN)
	if err != nil {
		return target{}, fmt.Errorf("%s: %w", d.DSN, err)
	}
	params, err := parseDSN(text)
	if err != nil {
		return target{}, fmt.Errorf("%s: %w", d.DSN, err)
	}
	// The library reads the environment, the programs get a clean one: both must see the same.
	for k, name := range variables {
		if v, ok := os.LookupEnv(name); ok && params[k] == "" {
			params[k] = v
		}
	}
	return target{params, params["password"]}, nil
}

// session are run-time parameters of every connection: nothing of the role's or the database's own may change what is read.
var session = map[string]string{
	"search_path": "pg_catalog", "row_security": "off", "statement_timeout": "0", "lock_timeout": "0",
	"idle_in_transaction_session_timeout": "0", "idle_session_timeout": "0", "client_encoding": "UTF8",
	// A session whose program is gone, with its machine or the network, ends soon and with it the locks that it holds.
	"tcp_keepalives_idle": "60", "tcp_keepalives_interval": "10", "tcp_keepalives_count": "6",
	"DateStyle": "ISO, YMD", "IntervalStyle": "iso_8601", "TimeZone": "UTC", "extra_float_digits": "3", "bytea_output": "hex",
}

// connect opens a connection; the empty database is the dsn's. Parameters of session that are named are left to role and database.
func (t *target) connect(ctx context.Context, database string, own ...string) (*pgx.Conn, error) {
	params := maps.Clone(t.dsn)
	if database != "" {
		params["dbname"] = database
	}
	if addr := params["hostaddr"]; addr != "" && params["host"] == "" {
		params["host"] = addr
	}
	delete(params, "hostaddr")
	var pairs []string
	for _, k := range slices.Sorted(maps.Keys(params)) {
		pairs = append(pairs, pair(k, params[k]))
	}
	cfg, err := pgx.ParseConfig(strings.Join(pairs, " "))
	if err != nil {
		return nil, errors.New("the dsn has a parameter with an impossible value, or names a certificate that cannot be read")
	}
	maps.Copy(cfg.RuntimeParams, session)
	for _, name := range own {
		delete(cfg.RuntimeParams, name)
	}
	cfg.DefaultQueryExecMode = pgx.QueryExecModeExec
	cfg.BuildContextWatcherHandler = func(c *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.CancelRequestContextWatcherHandler{Conn: c, DeadlineDelay: cancelDelay}
	}
	if addr := t.dsn["hostaddr"]; addr != "" {
		cfg.LookupFunc = func(context.Context, string) ([]string, error) { return []string{addr}, nil }
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, err
	}
	// The server looks whether this program still lives also while a statement runs. Where its system cannot do that, it does not.
	if _, err := conn.Exec(ctx, "SET client_connection_check_interval = '1s'"); err != nil && conn.IsClosed() {
		return nil, lost(conn, err)
	}
	t.password = cfg.Password // also when it came from a password file
	for k, v := range map[string]string{"host": cfg.Host, "port": strconv.Itoa(int(cfg.Port)), "user": cfg.User} {
		t.dsn[k] = v
	}
	// A name may have several addresses; the programs must reach this server, which has the snapshot.
	if tcp, ok := conn.PgConn().Conn().RemoteAddr().(*net.TCPAddr); ok {
		t.dsn["hostaddr"] = tcp.IP.String()
	}
	return conn, nil
}

// environment tells the connection to PostgreSQL's programs, and passfile the password, which is in no other place; nil: there is none. They
// are asked for after connect, which fills in what the dsn left out.
func (t *target) environment() map[string]string {
	env := map[string]string{"LC_ALL": "C"}
	for k, name := range variables {
		if v := t.dsn[k]; v != "" {
			env[name] = v
		}
	}
	return env
}

func (t *target) passfile() (*os.File, error) {
	if t.password == "" {
		return nil, nil
	}
	return scratch.Secret([]byte("*:*:*:*:" + strings.NewReplacer(`\`, `\\`, `:`, `\:`).Replace(t.password) + "\n"))
}

// secrets are the values that no message may hold.
func (t *target) secrets() []string {
	if t.password == "" {
		return nil
	}
	return []string{t.password, url.QueryEscape(t.password), url.PathEscape(t.password)}
}
