package postgresql

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/process"
)

var errTimeout = errors.New("timed out")

// explain makes err an error of a call to this device, once, and says which condition of package providers it is.
func (d *device) explain(ctx context.Context, op string, err error) error {
	if err == nil {
		return nil
	}
	// A cancelled connection or program tells of closed sockets and signals; the cause is what matters.
	if ctx.Err() != nil && !errors.Is(err, context.Cause(ctx)) {
		err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	var known *providers.Error
	if errors.As(err, &known) {
		return err
	}
	e := &providers.Error{Op: op, Target: d.name, Err: providers.Plainly(err)}
	var (
		exit    *process.ExitError
		connect *pgconn.ConnectError
		server  *pgconn.PgError
	)
	asServer := errors.As(err, &server)
	switch {
	case errors.Is(err, errTimeout), errors.Is(err, process.ErrTimeout):
		e.Hint = "If it needs that long, raise timeout."
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s %s: %w", op, d.name, err)
	case asServer && strings.HasPrefix(server.Code, "28"):
		e.Err = fmt.Errorf("%w: %w", providers.ErrUnavailable, err)
		e.Hint = "The server refuses the credentials of the dsn: check user, password and pg_hba.conf."
	case asServer && strings.HasPrefix(server.Code, "57P"), asServer && strings.HasPrefix(server.Code, "53"):
		e.Err, e.Retry = fmt.Errorf("%w: %w", providers.ErrUnavailable, err), true
	case asServer && server.Code == "42501":
		e.Hint = "Grant the role of the dsn what is missing; membership in pg_read_all_data and pg_monitor is enough for exports."
	case errors.As(err, &connect):
		e.Err, e.Retry = fmt.Errorf("%w: %w", providers.ErrUnavailable, err), !asServer
	case errors.Is(err, process.ErrStart):
		e.Err = fmt.Errorf("%w: %w", providers.ErrUnavailable, err)
		e.Hint = "Check that the program may be run by holdfast."
	case errors.As(err, &exit), errors.Is(err, process.ErrOpenOutput):
		e.Err, e.Retry = fmt.Errorf("%w: %w", providers.ErrSourceExit, err), true
		e.Hint = exitHint(exit)
	case errors.Is(err, errLost):
		e.Err, e.Retry = fmt.Errorf("%w: %w", providers.ErrUnavailable, err), true
	}
	return e
}

// errLost marks an error of a connection that is no longer usable.
var errLost = errors.New("connection lost")

// lost marks err when it ended the connection.
func lost(conn *pgx.Conn, err error) error {
	if err != nil && conn.IsClosed() {
		return fmt.Errorf("%w: %w", errLost, err)
	}
	return err
}

func exitHint(e *process.ExitError) string {
	if e == nil {
		return ""
	}
	for part, hint := range map[string]string{
		"no pg_hba.conf entry for replication": "A secure backup needs a replication line in pg_hba.conf for the role of the dsn, and its attribute REPLICATION.",
		"must be superuser or replication":     "A secure backup needs the attribute REPLICATION for the role of the dsn.",
		"server version mismatch":              "Install the programs of the server's version, or set bin_dir.",
	} {
		if strings.Contains(e.Stderr, part) {
			return hint
		}
	}
	return ""
}
