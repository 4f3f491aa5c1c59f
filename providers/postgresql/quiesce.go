package postgresql

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast-dr/holdfast/providers"
)

const (
	reloadDelay   = 300 * time.Millisecond // until a reload that was asked for has reached every session
	drainInterval = 50 * time.Millisecond
	readWrite     = "SET default_transaction_read_only = off" // for this session
)

// clients are the sessions that quiescing is about: not this one, not other programs of holdfast, not replication.
const clients = `FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND application_name <> '` + applicationName + `'`

// fits reports whether the configured way to quiesce works for a server in its present role.
func (d *device) fits(s server, domain string) error {
	switch {
	case d.Settings.Quiesce == "":
		return fmt.Errorf("quiesce is not configured: %w", errors.ErrUnsupported)
	case d.Settings.Quiesce == ReadOnly && s.Standby:
		return fmt.Errorf("%s on a standby, which is read-only anyhow: %w", ReadOnly, errors.ErrUnsupported)
	case d.Settings.Quiesce == PauseReplay && !s.Standby:
		return fmt.Errorf("%s on a primary: %w", PauseReplay, errors.ErrUnsupported)
	case d.Settings.Quiesce == PauseReplay && domain != providers.AllDomains:
		return fmt.Errorf("%s for one database: %w", PauseReplay, errors.ErrUnsupported)
	}
	return nil
}

// quiesceState observes what was asked for and whether it is reached.
func (d *device) quiesceState(ctx context.Context, conn *pgx.Conn, s server, domain string) (providers.QuiesceState, error) {
	if d.fits(s, domain) != nil {
		return providers.QuiesceImpossible, nil
	}
	if s.Standby {
		var state string
		if err := conn.QueryRow(ctx, "SELECT pg_get_wal_replay_pause_state()").Scan(&state); err != nil {
			return "", lost(conn, err)
		}
		switch state {
		case "paused":
			return providers.Quiesced, nil
		case "pause requested":
			return providers.Quiescing, nil
		}
		return providers.Normal, nil
	}
	readOnly := readOnlyCluster
	if domain != providers.AllDomains {
		readOnly = readOnlyDatabase
	}
	asked, err := readOnly(ctx, conn, domain)
	if err != nil {
		return "", lost(conn, err)
	}
	if !asked {
		return providers.Normal, nil
	}
	busy, err := writers(ctx, conn, domain, nil)
	if err != nil {
		return "", err
	}
	if len(busy) > 0 {
		return providers.Quiescing, nil
	}
	return providers.Quiesced, nil
}

// readOnlyCluster asks the files, because this session's role or database may have a value of its own.
func readOnlyCluster(ctx context.Context, conn *pgx.Conn, _ string) (bool, error) {
	var is bool
	err := conn.QueryRow(ctx, "SELECT coalesce((SELECT setting::bool FROM pg_file_settings WHERE lower(name) = 'default_transaction_read_only' AND applied), false)").Scan(&is)
	return is, err
}

func readOnlyDatabase(ctx context.Context, conn *pgx.Conn, database string) (bool, error) {
	var is bool
	err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_db_role_setting s JOIN pg_database b ON b.oid = s.setdatabase
		WHERE s.setrole = 0 AND b.datname = $1 AND 'default_transaction_read_only=on' = ANY (s.setconfig))`, database).Scan(&is)
	return is, err
}

// Quiesce makes new transactions of the cluster or of one database read-only, waits for the older ones until
// the timeout, and ends the sessions that still have one; or it pauses the replay of a standby. A session that
// asks for a read-write transaction by name still gets one: DomainState then says that the domain is quiescing.
func (d *device) Quiesce(ctx context.Context, domain string, timeout time.Duration) error {
	if d.Settings.Quiesce == "" {
		return errors.ErrUnsupported
	}
	return d.explain(ctx, "quiesce", d.with(ctx, "", func(_ *target, conn *pgx.Conn, s server) error {
		if err := d.quiescable(ctx, conn, s, domain); err != nil {
			return err
		}
		if s.Standby {
			_, err := conn.Exec(ctx, "SELECT pg_wal_replay_pause()")
			return lost(conn, err)
		}
		if domain == providers.AllDomains {
			if err := execAll(ctx, conn, "ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()"); err != nil {
				return err
			}
		} else if err := execAll(ctx, conn, readWrite, "ALTER DATABASE "+ident(domain)+" SET default_transaction_read_only = on"); err != nil {
			return err
		}
		return drain(ctx, conn, domain, timeout)
	}))
}

// Unquiesce takes back what Quiesce set.
func (d *device) Unquiesce(ctx context.Context, domain string) error {
	if d.Settings.Quiesce == "" {
		return errors.ErrUnsupported
	}
	return d.explain(ctx, "unquiesce", d.with(ctx, "", func(_ *target, conn *pgx.Conn, s server) error {
		if err := d.quiescable(ctx, conn, s, domain); err != nil {
			return err
		}
		switch {
		case s.Standby:
			return execAll(ctx, conn, "SELECT pg_wal_replay_resume()")
		case domain == providers.AllDomains:
			return execAll(ctx, conn, "ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()")
		}
		return execAll(ctx, conn, readWrite, "ALTER DATABASE "+ident(domain)+" RESET default_transaction_read_only")
	}))
}

func (d *device) quiescable(ctx context.Context, conn *pgx.Conn, s server, domain string) error {
	if err := d.fits(s, domain); err != nil {
		return err
	}
	if domain == providers.AllDomains {
		return nil
	}
	return d.domain(ctx, conn, domain)
}

func execAll(ctx context.Context, conn *pgx.Conn, statements ...string) error {
	for _, q := range statements {
		if _, err := conn.Exec(ctx, q); err != nil {
			return lost(conn, err)
		}
	}
	return nil
}

// writers gives the processes that write, and with a time also those that may do so because they are older than it:
// the transactions of a cluster, the sessions of a database, which has no reload.
func writers(ctx context.Context, conn *pgx.Conn, domain string, since *time.Time) ([]int32, error) {
	query, args := "SELECT pid "+clients, []any{}
	older := "false"
	if since != nil {
		args = append(args, *since)
		older = "xact_start <= $1"
		if domain != providers.AllDomains {
			older = "backend_start <= $1"
		}
	}
	query += " AND (backend_xid IS NOT NULL OR " + older + ")"
	if domain != providers.AllDomains {
		args = append(args, domain)
		query += fmt.Sprintf(" AND datname = $%d", len(args))
	}
	rows, err := conn.Query(ctx, query, args...)
	if err != nil {
		return nil, lost(conn, err)
	}
	pids, err := pgx.CollectRows(rows, pgx.RowTo[int32])
	return pids, lost(conn, err)
}

// drain waits until nobody writes, and after the timeout ends the sessions of those that still may.
func drain(ctx context.Context, conn *pgx.Conn, domain string, timeout time.Duration) error {
	reload := time.NewTimer(reloadDelay)
	defer reload.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-reload.C:
	}
	var since time.Time
	if err := conn.QueryRow(ctx, "SELECT clock_timestamp()").Scan(&since); err != nil {
		return lost(conn, err)
	}
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	tick := time.NewTicker(drainInterval)
	defer tick.Stop()
	for end := false; ; {
		if domain != providers.AllDomains {
			if _, err := conn.Exec(ctx, "SELECT pg_terminate_backend(pid) "+clients+" AND datname = $1 AND state = 'idle' AND backend_start <= $2", domain, since); err != nil {
				return lost(conn, err)
			}
		}
		busy, err := writers(ctx, conn, domain, &since)
		if err != nil || len(busy) == 0 {
			return err
		}
		if end {
			_, err := conn.Exec(ctx, "SELECT pg_terminate_backend(pid) FROM unnest($1::int[]) AS pid", busy)
			return lost(conn, err)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-deadline.C:
			end = true
		case <-tick.C:
		}
	}
}
