package postgresql

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast-dr/holdfast/config/unit"
	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/process"
)

// dumpPatience is how long pg_dump waits for a lock on one table. This program has it already: pg_dump waits only
// behind somebody who waits for this program, and for whom everybody else waits. Somebody has to give way.
func (d *device) dumpPatience() time.Duration {
	const most = time.Minute
	if d.LockTimeout > 0 {
		return min(most, d.LockTimeout.Std())
	}
	return most
}

// blocked makes an error that came of waiting too long for a lock say whose lock it is.
func (d *device) blocked(ctx context.Context, database string, err error) error {
	var exit *process.ExitError
	dump := errors.As(err, &exit) && strings.Contains(exit.Stderr, "canceling statement due to") &&
		strings.Contains(exit.Stderr, "LOCK TABLE")
	if !dump && !isCode(err, "55P03") || ctx.Err() != nil {
		return err
	}
	waited := unit.Duration(d.dumpPatience())
	if !dump {
		waited = d.LockTimeout
	}
	var who []holder
	// Without names the error is still true.
	_ = d.with(ctx, database, func(_ *target, conn *pgx.Conn, _ server) (err error) {
		who, err = holders(ctx, conn)
		return err
	})
	e := &providers.Error{
		Op: "capture", Target: d.name, Retry: true,
		Err:  fmt.Errorf("waited %s for a lock in database %q: %w", waited, database, err),
		Hint: "Capture it when the other work is over, or raise lock_timeout.",
	}
	if len(who) > 0 {
		e.Err = fmt.Errorf("waited %s for a lock in database %q: %s", waited, database, who[0])
		e.Hint = "Let that session end its transaction, or end it: " + who[0].end() +
			". What may take longer needs a longer lock_timeout."
	}
	return e
}

// holder is a session that keeps everybody else from reading a table.
type holder struct {
	Table    string
	Granted  bool
	PID      int32 // 0: a prepared transaction
	User     string
	Program  string
	State    string
	Since    string
	Prepared string
}

func holders(ctx context.Context, conn *pgx.Conn) ([]holder, error) {
	return collect[holder](ctx, conn, `SELECT format('%I.%I', n.nspname, c.relname), l.granted, coalesce(l.pid, 0),
		coalesce(a.usename, ''), coalesce(a.application_name, ''), coalesce(a.state, ''),
		coalesce(to_char(a.xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"'), ''),
		coalesce((SELECT min(gid) FROM pg_prepared_xacts WHERE l.pid IS NULL AND database = current_database()), '')
		FROM pg_locks l JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace
		LEFT JOIN pg_stat_activity a ON a.pid = l.pid
		WHERE l.locktype = 'relation' AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
		AND l.mode = 'AccessExclusiveLock' AND c.relkind IN ('r', 'p', 'm') AND n.nspname !~ '^pg_'
		ORDER BY l.granted DESC, a.xact_start LIMIT 1`)
}

func (h holder) String() string {
	does := "has locked"
	if !h.Granted {
		does = "waits to lock"
	}
	if h.PID == 0 {
		return fmt.Sprintf("the prepared transaction %q %s %s", h.Prepared, does, h.Table)
	}
	text := fmt.Sprintf("session %d of user %s", h.PID, h.User)
	for _, more := range []string{h.Program, h.State} {
		if more != "" {
			text += ", " + more
		}
	}
	if h.Since != "" {
		text += ", in a transaction since " + h.Since + ","
	}
	return text + " " + does + " " + h.Table
}

// end is the statement that takes the lock away.
func (h holder) end() string {
	if h.PID == 0 {
		return "ROLLBACK PREPARED " + literal(h.Prepared)
	}
	return fmt.Sprintf("SELECT pg_terminate_backend(%d)", h.PID)
}
