package postgresql

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/holdfast-dr/holdfast/providers"
)

// A restore never writes into the database that people use. It builds a database beside it, compares the facts there, and
// then gives the two their new names in one transaction:
//
//	app                 holdfast_new_HASH
//	 | sessions ended    | built and checked
//	 v                   v
//	app_replaced_TIME   app
//
// The replaced database is kept, because it alone has what was written since the safety backup was taken; nobody can
// connect to it. With drop_replaced it is dropped instead. HASH is of the name "app", so that the next restore into it finds
// and removes what a crash left of an earlier one.
const (
	newPrefix    = "holdfast_new_" // being built
	oldPrefix    = "holdfast_old_" // replaced, being dropped
	lockPatience = "10s"           // of the exchange for the lock on a name, behind which new sessions wait
	turnPatience = "30s"           // for the sessions of a killed restore to end
)

// ours matches the names of databases that exist only while a restore runs; they are no domains.
const ours = `^holdfast_(new|old)_[0-9a-f]{16}$`

func besideName(prefix, name string) string {
	sum := sha256.Sum256([]byte(name))
	return prefix + hex.EncodeToString(sum[:8])
}

// keptName is the name of a replaced database: the old one, cut where it is too long, and the time in UTC, which
// needs no quoting.
func keptName(name, at string) string {
	const most = 63 // bytes in a name of PostgreSQL
	suffix := "_replaced_" + at
	if n := most - len(suffix); len(name) > n {
		name = strings.ToValidUTF8(name[:n], "")
	}
	return name + suffix
}

// elsewhere names a database to be connected to while another one is renamed; the empty one is the dsn's.
func elsewhere(dsn, name string) string {
	switch {
	case dsn != name:
		return ""
	case name != "postgres":
		return "postgres"
	}
	return "template1"
}

// exchange is a restore into a database of its own, which then takes the name.
type exchange struct {
	*device
	target *target
	conn   *pgx.Conn // to the database admin, where it holds the lock on the name
	admin  string
	name   string // the database people know
	id     string // of the restore; see mark.go
	next   string // the one that is built
	warn   func(format string, args ...any)

	lenient bool
	part    []byte // entries of the dump, as pg_restore reads them; nil: all
}

// restore builds the database and puts it in the place of what has the name, if anything has.
func (x *exchange) restore(ctx context.Context, tool program, a *artifact, there *place) error {
	if err := x.turn(ctx); err != nil {
		return err
	}
	// A life of this restore that was killed while its names were exchanged may have ended only now.
	if now, err := readPlace(ctx, x.conn, x.name); err != nil {
		return err
	} else if now.marked(x.id) {
		return x.sweep(ctx)
	}
	if there != nil {
		if err := x.replaceable(ctx, there); err != nil {
			return err
		}
	}
	if err := x.sweep(ctx); err != nil {
		return err
	}
	kept, err := x.build(ctx, tool, a, there)
	if err != nil {
		// Removed also when the call was cancelled.
		ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), 12*cancelDelay)
		defer stop()
		if dropErr := x.drop(ctx, x.next); dropErr != nil {
			err = errors.Join(err, fmt.Errorf("remove the unfinished database %q: %w", x.next, dropErr))
		}
		return err
	}
	if there != nil && x.DropReplaced {
		if err := x.drop(ctx, kept); err != nil {
			return fmt.Errorf("the restored database %q is in place; drop the one it replaced, %q: %w", x.name, kept, err)
		}
	}
	return nil
}

// sweep removes what an earlier restore left.
func (x *exchange) sweep(ctx context.Context) error {
	for _, left := range []string{x.next, besideName(oldPrefix, x.name)} {
		if err := execAll(ctx, x.conn, "DROP DATABASE IF EXISTS "+ident(left)+" WITH (FORCE)"); err != nil {
			return fmt.Errorf("remove what an earlier restore left: %w", err)
		}
	}
	return nil
}

// turn waits until no other restore into the database is running, also not one whose program is dead.
func (x *exchange) turn(ctx context.Context) error {
	err := execAll(ctx, x.conn, readWrite, "SET lock_timeout = '"+turnPatience+"'")
	if err != nil {
		return err
	}
	_, err = x.conn.Exec(ctx, "SELECT pg_advisory_lock(hashtextextended($1, 0))", x.next)
	if isCode(err, "55P03") {
		return &providers.Error{Op: "restore into", Target: x.name, Err: errors.New("another restore into this database is running"), Retry: true}
	}
	if err != nil {
		return lost(x.conn, err)
	}
	return execAll(ctx, x.conn, "SET lock_timeout = 0")
}

// drop removes a database, on a connection of its own: the other may be gone.
func (x *exchange) drop(ctx context.Context, name string) error {
	conn, err := x.target.connect(ctx, x.admin)
	if err != nil {
		return err
	}
	defer closeConn(ctx, conn)
	return execAll(ctx, conn, readWrite, "DROP DATABASE IF EXISTS "+ident(name)+" WITH (FORCE)")
}

// place is the database that has the name.
type place struct {
	oid        uint32
	owner      string
	tablespace string
	template   bool
	comment    string
}

// readPlace looks a name up; nil when there is no such database.
func readPlace(ctx context.Context, conn *pgx.Conn, name string) (*place, error) {
	p := new(place)
	err := conn.QueryRow(ctx, `SELECT d.oid, pg_get_userbyid(d.datdba), t.spcname, d.datistemplate, coalesce(shobj_description(d.oid, 'pg_database'), '')
		FROM pg_database d JOIN pg_tablespace t ON t.oid = d.dattablespace WHERE d.datname = $1`, name).Scan(&p.oid, &p.owner, &p.tablespace, &p.template, &p.comment)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	return p, lost(conn, err)
}

// replaceable refuses before anything is built what could not be exchanged in the end.
func (x *exchange) replaceable(ctx context.Context, there *place) error {
	if there.template {
		return fmt.Errorf("in the place of the template %q: %w", x.name, errors.ErrUnsupported)
	}
	found, err := strs(ctx, x.conn, `SELECT format('the prepared transaction %L', gid) FROM pg_prepared_xacts WHERE database = $1
		UNION ALL SELECT format('the replication slot %I', slot_name) FROM pg_replication_slots WHERE database = $1
		UNION ALL SELECT format('the subscription %I', s.subname) FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid WHERE d.datname = $1
		LIMIT 3`, x.name)
	if err != nil || len(found) == 0 {
		return err
	}
	return &providers.Error{
		Op: "restore into", Target: x.name, Err: fmt.Errorf("the database has %s, which would stay with the replaced one", strings.Join(found, ", ")),
		Hint: "End or drop it first, or restore into another database and change over by hand.",
	}
}

// build makes the new database, compares its facts and gives it the name. It says what the replaced one is called now.
func (x *exchange) build(ctx context.Context, tool program, a *artifact, there *place) (kept string, err error) {
	own, err := x.roles(ctx, a.Database, there == nil)
	if err != nil {
		return "", err
	}
	if err := x.create(ctx, a.Database, there); err != nil {
		return "", err
	}
	if err := x.load(ctx, tool, a, x.next); err != nil {
		return "", err
	}
	if err := x.analyze(ctx); err != nil {
		return "", err
	}
	return x.swap(ctx, own, there)
}

// analyze gathers the statistics that no dump has, so that queries are planned well from the first one on. What it
// stumbles over is of no matter: the server gathers them by itself, later.
func (x *exchange) analyze(ctx context.Context) error {
	conn, err := x.target.connect(ctx, x.next)
	if err != nil {
		return err
	}
	defer closeConn(ctx, conn)
	if _, err = conn.Exec(ctx, "ANALYZE"); err != nil && !conn.IsClosed() && ctx.Err() == nil {
		return nil
	}
	return lost(conn, err)
}

// swap gives the databases their names in one transaction: whoever looks, or crashes, sees one of them under the name.
func (x *exchange) swap(ctx context.Context, own *properties, there *place) (kept string, err error) {
	if err := execAll(ctx, x.conn, "BEGIN READ WRITE", "SET LOCAL lock_timeout = '"+lockPatience+"'"); err != nil {
		return "", err
	}
	if err := x.dress(ctx, own, there); err != nil {
		return "", x.inTheWay(err)
	}
	statements := []string{rename(x.next, x.name)}
	end := func() error { return nil }
	if there != nil {
		var at string
		if err := x.conn.QueryRow(ctx, `SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYYMMDD"t"HH24MISSMS')`).Scan(&at); err != nil {
			return "", lost(x.conn, err)
		}
		if kept = keptName(x.name, at); x.DropReplaced {
			kept = besideName(oldPrefix, x.name)
		}
		statements = []string{rename(x.name, kept), rename(x.next, x.name), "ALTER DATABASE " + ident(kept) + " ALLOW_CONNECTIONS false"}
		end = x.endSessions(ctx, there)
	}
	err = execAll(ctx, x.conn, append(statements, "COMMIT")...)
	if endErr := end(); err != nil {
		return "", x.inTheWay(errors.Join(err, endErr))
	}
	return kept, nil
}

// dress gives the new database in the open transaction what belongs to it itself: what the replaced one has, or what the captured one had.
// Of an artifact that does not have it only the owner may connect.
func (x *exchange) dress(ctx context.Context, own *properties, there *place) error {
	owner := ""
	if there != nil {
		now, err := readProperties(ctx, x.conn, x.name)
		if err != nil {
			return err
		}
		own, owner = now, there.owner
		if err := execAll(ctx, x.conn, "ALTER DATABASE "+ident(x.next)+" OWNER TO "+ident(owner)); err != nil {
			return err
		}
	} else if err := x.conn.QueryRow(ctx, "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = $1", x.next).Scan(&owner); err != nil {
		return lost(x.conn, err)
	}
	if own == nil {
		x.warn("%s may be connected to by its owner only: the artifact is of a version that did not record who may "+
			"(what everybody may on a new database: GRANT CONNECT, TEMPORARY ON DATABASE %s TO PUBLIC)", x.name, ident(x.name))
		own = &properties{ConnectionLimit: -1, OwnAccess: true, Grants: []grant{{owner, "ALL", false}}}
	}
	if err := execAll(ctx, x.conn, append(own.access(x.next, owner), setComment(x.next, markedComment(own.Comment, x.id)))...); err != nil {
		return err
	}
	for _, o := range own.optionals(x.next) {
		if err := o.try(ctx, x.conn, x.warn); err != nil {
			return err
		}
	}
	return nil
}

func rename(from, to string) string {
	return "ALTER DATABASE " + ident(from) + " RENAME TO " + ident(to)
}

// endSessions ends the sessions of the database that is being renamed, from the moment on when its lock keeps new
// ones out. The function it returns stops that.
func (x *exchange) endSessions(ctx context.Context, there *place) (stop func() error) {
	ctx, cancel := context.WithCancel(ctx)
	result := make(chan error, 1)
	go func() {
		conn, err := x.target.connect(ctx, x.admin)
		if err != nil {
			result <- err
			return
		}
		defer closeConn(ctx, conn)
		tick := time.NewTicker(drainInterval)
		defer tick.Stop()
		for {
			if _, err := conn.Exec(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datid = $1 AND EXISTS (SELECT FROM pg_locks
				WHERE pid = $2 AND locktype = 'object' AND classid = 'pg_database'::regclass AND objid = $1 AND mode = 'AccessExclusiveLock' AND granted)`,
				there.oid, x.conn.PgConn().PID()); err != nil {
				result <- err
				return
			}
			select {
			case <-ctx.Done():
				result <- nil
				return
			case <-tick.C:
			}
		}
	}()
	return func() error {
		cancel()
		if err := <-result; err != nil && !errors.Is(err, context.Canceled) {
			return fmt.Errorf("end the sessions of %q: %w", x.name, err)
		}
		return nil
	}
}

// inTheWay says what to do when the names could not be exchanged.
func (x *exchange) inTheWay(err error) error {
	e := &providers.Error{Op: "exchange", Target: x.name, Err: fmt.Errorf("the database is as it was: %w", err), Retry: true}
	switch {
	case isCode(err, "42501"):
		e.Retry, e.Hint = false, "The role of the dsn must own the database and have CREATEDB and pg_signal_backend, or be a superuser."
	case isCode(err, "55006"):
		e.Hint = "Sessions in it could not be ended: the role of the dsn needs pg_signal_backend, and a superuser's sessions end only for a superuser."
	case isCode(err, "55P03"):
		e.Hint = "Another session holds a lock on the database itself, such as a CREATE DATABASE that copies it."
	default:
		return err
	}
	return e
}

func isCode(err error, code string) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && e.Code == code
}
