package postgresql

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// databaseSize gives what the database of a connection takes on its server's disk, in bytes; 0 when the server does not tell. No backup fails of that.
func databaseSize(ctx context.Context, conn *pgx.Conn) (n int64) {
	if conn.QueryRow(ctx, "SELECT pg_catalog.pg_database_size(pg_catalog.current_database())").Scan(&n) != nil {
		return 0
	}
	return n
}
