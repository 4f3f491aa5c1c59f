package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-dr/holdfast/state"
	"github.com/holdfast-dr/holdfast/state/sqlstore/database"
)

// OpenSession starts a session and takes back what dead processes held. The session lives until CloseSession or until the
// process, or this Store, ends.
func (s *Store) OpenSession(ctx context.Context, n state.Session) (state.Session, error) {
	if n.Host == "" {
		n.Host = database.Host()
	}
	var epoch int64
	err := s.write(ctx, func(t *tx) error {
		if epoch != 0 {
			s.db.Free(epoch)
		}
		var err error
		if epoch, err = s.newEpoch(t); err != nil {
			return err
		}
		if _, err := t.Exec(`INSERT INTO session (epoch, host, pid, actor, started_at, ended_at, ending) VALUES (?, ?, ?, ?, ?, 0, '')`,
			epoch, n.Host, n.PID, n.Actor, micros(n.Started)); err != nil {
			return err
		}
		return s.reap(t, n.Started, epoch)
	})
	if err != nil {
		if epoch != 0 {
			s.db.Free(epoch)
		}
		return state.Session{}, fmt.Errorf("open session: %w", err)
	}
	n.Epoch = epoch
	return n, nil
}

// newEpoch takes the next epoch whose byte is free, and holds the byte. One that is not free belongs to a process that worked
// on the state before it was replaced by a backup.
func (s *Store) newEpoch(t *tx) (int64, error) {
	for {
		epoch, err := t.next("epoch")
		if err != nil {
			return 0, err
		}
		err = s.db.Hold(epoch)
		if errors.Is(err, database.ErrHeld) {
			continue
		}
		if err != nil {
			return 0, err
		}
		return epoch, nil
	}
}

// openSessions is the query for the sessions that did not end.
const openSessions = `SELECT epoch, host FROM session WHERE ending = ''`

// reap ends the sessions of dead processes and interrupts what nobody works on. A session that let a lock of its own expire
// counts as dead too: its process is stopped or hangs. Should it wake up, its next write is refused. Who asks is alive.
func (s *Store) reap(t *tx, at time.Time, who int64) error {
	var dead []int64
	err := t.All(openSessions, nil, func(row database.Row) error {
		var epoch int64
		var host string
		if err := row.Scan(&epoch, &host); err != nil {
			return err
		}
		gone, err := s.db.Dead(epoch, host)
		if gone {
			dead = append(dead, epoch)
		}
		return err
	})
	if err != nil {
		return err
	}
	err = t.All(`SELECT DISTINCT session FROM held_lock WHERE task = '' AND session > 0 AND session <> ? AND expires_at > 0 AND expires_at <= ?`,
		[]any{who, micros(at)}, func(row database.Row) error {
			var epoch int64
			err := row.Scan(&epoch)
			dead = append(dead, epoch)
			return err
		})
	if err != nil {
		return err
	}
	for _, epoch := range dead {
		if err := t.endSession(epoch, "dead", at); err != nil {
			return err
		}
	}
	return nil
}

// endSession marks a session as ended, interrupts its running tasks and removes its locks. Locks of its tasks stay with them.
func (t *tx) endSession(epoch int64, ending string, at time.Time) error {
	if _, err := t.Exec(`UPDATE session SET ending = ?, ended_at = ? WHERE epoch = ? AND ending = ''`, ending, micros(at), epoch); err != nil {
		return err
	}
	if _, err := t.Exec(`DELETE FROM held_lock WHERE session = ? AND task = ''`, epoch); err != nil {
		return err
	}
	var tasks []taskKey
	err := t.All(`SELECT run_id, seq FROM task WHERE owner = ? AND status = 'running'`, []any{epoch}, func(row database.Row) error {
		var k taskKey
		err := row.Scan(&k.run, &k.seq)
		tasks = append(tasks, k)
		return err
	})
	if err != nil {
		return err
	}
	for _, k := range tasks {
		if err := t.interrupt(k, at); err != nil {
			return err
		}
	}
	return nil
}

// interrupt takes a running task from its owner, whose next journal write is then refused.
func (t *tx) interrupt(k taskKey, at time.Time) error {
	to, err := state.Running.To(state.Interrupted)
	if err != nil {
		return err
	}
	n, err := t.Exec(`UPDATE task SET status = ?, owner = 0, status_at = ? WHERE run_id = ? AND seq = ? AND status = 'running'`,
		to, micros(at), k.run, k.seq)
	if n > 0 {
		t.now[k.run] = t.now[k.run].and(settling{at: at})
	}
	return err
}

// CloseSession ends a session; what it still runs becomes interrupted. Closing it again is no error.
func (s *Store) CloseSession(ctx context.Context, epoch int64) error {
	err := s.write(ctx, func(t *tx) error {
		var started instant
		found, err := t.Row(`SELECT started_at FROM session WHERE epoch = ?`, []any{epoch}, &started)
		if err != nil {
			return err
		}
		if !found {
			return state.ErrNotFound
		}
		return t.endSession(epoch, "closed", time.Now())
	})
	if err == nil {
		err = s.db.Free(epoch)
	}
	if err != nil {
		return fmt.Errorf("close session %d: %w", epoch, err)
	}
	return nil
}
