package postgresql

import (
	"context"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast-dr/holdfast/providers"
)

// A restore with an ID writes it below the database's comment, in the transaction that gives the database its name: who finds it
// there knows that the restore has taken place, whatever was written since. Forget takes it away.
const markWords = "restored by holdfast, not recorded yet: "

var markLine = regexp.MustCompile(`(?:^|\n)` + markWords + `[^\n]*$`)

// bareComment is a comment without the mark of any restore.
func bareComment(comment string) string { return markLine.ReplaceAllLiteralString(comment, "") }

// markedComment adds the mark of a restore; without an ID there is none.
func markedComment(comment, id string) string {
	comment = bareComment(comment)
	if id == "" {
		return comment
	}
	if comment != "" {
		comment += "\n"
	}
	return comment + markWords + id
}

// marked reports whether the database is what the restore with an ID made of it.
func (p *place) marked(id string) bool {
	return p != nil && id != "" && strings.HasSuffix("\n"+p.comment, "\n"+markWords+id)
}

// setComment gives the statement for a comment; the empty one is none.
func setComment(name, comment string) string {
	if comment == "" {
		return "COMMENT ON DATABASE " + ident(name) + " IS NULL"
	}
	return "COMMENT ON DATABASE " + ident(name) + " IS " + literal(comment)
}

// Forget takes the mark of a restore off its database.
func (d *device) Forget(ctx context.Context, req providers.RestoreRequest) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := d.with(ctx, "", func(_ *target, conn *pgx.Conn, _ server) error {
		there, err := readPlace(ctx, conn, req.Domain)
		if err != nil || !there.marked(req.ID) {
			return err
		}
		return execAll(ctx, conn, readWrite, setComment(req.Domain, bareComment(there.comment)))
	})
	return d.explain(ctx, "forget the restore of", err)
}

// finish removes what a crash left of a restore that has taken place.
func (x *exchange) finish(ctx context.Context) error {
	if err := x.turn(ctx); err != nil {
		return err
	}
	return x.sweep(ctx)
}
