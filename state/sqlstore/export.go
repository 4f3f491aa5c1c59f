package sqlstore

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/holdfast-dr/holdfast/state"
	"github.com/holdfast-dr/holdfast/state/sqlstore/database"
)

// ExportFormat and ExportVersion are in the first line of an export. The version rises when a reader of the old form would
// misunderstand the new one.
const (
	ExportFormat  = "holdfast-state"
	ExportVersion = 1
)

type exportHeader struct {
	Format  string `json:"format"`
	Version int    `json:"version"`
	state.Meta
}

// exportLine is one record. The last line has type "end" and the number of records before it, so that a cut-off export is noticed.
type exportLine struct {
	Type  string `json:"type"`
	Value any    `json:"value"`
}

type exportSession struct {
	state.Session
	Ended  time.Time `json:"ended,omitzero"`
	Ending string    `json:"ending,omitempty"` // closed or dead; empty while it lives
}

type exportAudit struct {
	Seq    int64           `json:"seq"`
	At     time.Time       `json:"at"`
	Actor  string          `json:"actor"`
	Action string          `json:"action"`
	Object string          `json:"object"`
	Detail json.RawMessage `json:"detail,omitempty"`
}

// Export writes the whole state as of one moment, one JSON value to a line: a header, then every record, in a fixed order, then an end mark.
func (s *Store) Export(ctx context.Context, w io.Writer) error {
	if err := s.db.Read(ctx, func(q database.Querier) error { return s.export(ctx, q, w) }); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	return nil
}

func (s *Store) export(ctx context.Context, q database.Querier, w io.Writer) error {
	meta, err := s.meta(ctx, q)
	if err != nil {
		return err
	}
	buf := bufio.NewWriter(w)
	e := &exporter{ctx: ctx, q: q, out: json.NewEncoder(buf)}
	e.out.SetEscapeHTML(false)
	if err := e.out.Encode(exportHeader{ExportFormat, ExportVersion, meta}); err != nil {
		return err
	}
	exportAll(e, "object", scanObject, `SELECT `+objectColumns+` FROM object ORDER BY address`)
	exportAll(e, "role", scanRole, `SELECT `+roleColumns+` FROM role ORDER BY failover`)
	exportAll(e, "position", scanPosition, `SELECT `+positionColumns+` FROM mirror_position ORDER BY mirror`)
	exportAll(e, "cursor", scanCursor, `SELECT `+cursorColumns+` FROM schedule_cursor ORDER BY address`)
	exportAll(e, "observation", scanObservation, `SELECT `+observationColumns+` FROM observation ORDER BY address`)
	exportAll(e, "plan", scanPlan, `SELECT `+planColumns+` FROM plan ORDER BY id`)
	exportAll(e, "run", scanRun, `SELECT `+runColumns+` FROM run ORDER BY id`)
	exportAll(e, "task", scanTask, `SELECT `+taskColumns+` FROM task ORDER BY run_id, seq`)
	exportAll(e, "step", scanStep, `SELECT `+stepColumns+` FROM step ORDER BY run_id, seq, idx`)
	exportAll(e, "duty", scanDuty, `SELECT `+dutyColumns+` FROM duty ORDER BY run_id, seq, name`)
	exportAll(e, "artifact", scanArtifact, `SELECT `+artifactColumns+` FROM artifact ORDER BY id`)
	exportAll(e, "lock", scanLock, `SELECT `+lockColumns+` FROM held_lock ORDER BY name`)
	exportAll(e, "session", scanSession, `SELECT epoch, host, pid, actor, started_at, ended_at, ending FROM session ORDER BY epoch`)
	exportAll(e, "audit", scanAudit, `SELECT seq, at, actor, action, object, detail FROM audit ORDER BY seq`)
	if e.err != nil {
		return e.err
	}
	if err := e.out.Encode(exportLine{"end", map[string]int{"records": e.n}}); err != nil {
		return err
	}
	return buf.Flush()
}

// exporter writes records until the first error.
type exporter struct {
	ctx context.Context
	q   database.Querier
	out *json.Encoder
	n   int
	err error
}

func exportAll[T any](e *exporter, kind string, scan func(database.Row) (T, error), query string) {
	if e.err != nil {
		return
	}
	e.err = database.Each(e.ctx, e.q, query, nil, func(row database.Row) error {
		v, err := scan(row)
		if err != nil {
			return err
		}
		e.n++
		return e.out.Encode(exportLine{kind, v})
	})
}

func scanSession(row database.Row) (s exportSession, err error) {
	err = row.Scan(&s.Epoch, &s.Host, &s.PID, &s.Actor, (*instant)(&s.Started), (*instant)(&s.Ended), &s.Ending)
	return s, err
}

func scanAudit(row database.Row) (a exportAudit, err error) {
	err = row.Scan(&a.Seq, (*instant)(&a.At), &a.Actor, &a.Action, &a.Object, (*rawJSON)(&a.Detail))
	return a, err
}
