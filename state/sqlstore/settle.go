package sqlstore

import (
	"time"

	"github.com/holdfast-dr/holdfast/state"
	"github.com/holdfast-dr/holdfast/state/sqlstore/database"
)

// settling is what changed about the tasks of a run in the open transaction. The run is settled once before the commit.
type settling struct {
	at    time.Time
	ended numbers // tasks that ended
	whole bool    // a task that had ended changed: read all
}

// numbers counts ended tasks as a run shows them, and what they protected.
type numbers struct{ succeeded, failed, skipped, files, bytes int64 }

func tally(s state.Status, n, files, bytes int64) numbers {
	all := numbers{files: files, bytes: bytes}
	switch {
	case !s.Terminal():
		return numbers{}
	case s.Good():
		all.succeeded = n
	case s == state.Failed:
		all.failed = n
	case s == state.Skipped || s == state.Cancelled:
		all.skipped = n
	}
	return all
}

func (a numbers) and(b numbers) numbers {
	return numbers{a.succeeded + b.succeeded, a.failed + b.failed, a.skipped + b.skipped, a.files + b.files, a.bytes + b.bytes}
}

func (a settling) and(b settling) settling {
	return settling{b.at, a.ended.and(b.ended), a.whole || b.whole}
}

// settleRun gives a run the status and the numbers that follow from its tasks; once it has begun it has no other source of them, but for Await. While a
// running run has a task that is not ended its status stays, and the numbers grow by what ended: reading all tasks each time would
// make a run of thousands of them slow. In every other case they are computed from all tasks.
func (t *tx) settleRun(run int64, change settling) (state.Status, error) {
	var address string
	var before state.Status
	var started int64
	if found, err := t.Row(`SELECT address, status, started_at FROM run WHERE id = ?`, []any{run}, &address, &before, &started); err != nil || !found {
		return "", err
	}
	if before == state.Running && !change.whole {
		var open bool
		if _, err := t.Row(`SELECT EXISTS (SELECT 1 FROM task WHERE run_id = ? AND status IN ('pending', 'running'))`, []any{run}, &open); err != nil {
			return "", err
		}
		if open {
			n := change.ended
			_, err := t.Exec(`UPDATE run SET succeeded = succeeded + ?, failed = failed + ?, skipped = skipped + ?,
				source_files = source_files + ?, source_bytes = source_bytes + ? WHERE id = ?`, n.succeeded, n.failed, n.skipped, n.files, n.bytes, run)
			return before, err
		}
	}
	outcomes, n, err := t.outcomes(run)
	if err != nil {
		return "", err
	}
	status := state.Summarise(outcomes)
	switch {
	case status == state.Running && started == 0: // no task was ever claimed
		status = state.Pending
	case status == state.Skipped && before == state.Missed:
		status = state.Missed
	}
	var ended int64
	if status.Terminal() {
		ended = micros(change.at)
	}
	if _, err := t.Exec(`UPDATE run SET status = ?, ended_at = ?, succeeded = ?, failed = ?, skipped = ?, source_files = ?, source_bytes = ? WHERE id = ?`,
		status, ended, n.succeeded, n.failed, n.skipped, n.files, n.bytes, run); err != nil {
		return "", err
	}
	if status.Good() || status == state.Partial {
		err = t.newHead(address, run, run)
	}
	return status, err
}

// outcomes gives each outcome that tasks of a run have, and the numbers of the ended ones.
func (t *tx) outcomes(run int64) (all []state.Outcome, n numbers, err error) {
	const query = `SELECT status, kind = ?, count(*), sum(source_files), sum(source_bytes) FROM task WHERE run_id = ? GROUP BY 1, 2`
	err = t.All(query, []any{state.KindScript, run}, func(row database.Row) error {
		var o state.Outcome
		var count, files, bytes int64
		if err := row.Scan(&o.Status, &o.Script, &count, &files, &bytes); err != nil {
			return err
		}
		all = append(all, o)
		n = n.and(tally(o.Status, count, files, bytes))
		return nil
	})
	return all, n, err
}
