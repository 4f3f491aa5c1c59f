package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-dr/holdfast/state"
)

// OpenSession starts a session and takes back what dead processes held. The session lives until CloseSession or until the
// process, or this Store, ends.
func (s *Store) OpenSession(ctx context.Context, n state.Session) (state.Session, error) {
	if n.Host == "" {
		n.Host = hostname()
	}
	var epoch int64
	err := s.write(ctx, func(t *tx) error {
		if epoch != 0 {
			s.forget(epoch)
		}
		var err error
		if epoch, err = s.newEpoch(t); err != nil {
			return err
		}
		if _, err := t.exec(`INSERT INTO session (epoch, host, pid, actor, started_at, ended_at, ending) VALUES (?, ?, ?, ?, ?, 0, '')`,
			epoch, n.Host, n.PID, n.Actor, micros(n.Started)); err != nil {
			return err
		}
		return s.reap(t, n.Started)
	})
	if err != nil {
		if epoch != 0 {
			s.forget(epoch)
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
		err = s.lock.take(epoch)
		if errors.Is(err, errHeld) {
			continue
		}
		if err != nil {
			return 0, err
		}
		s.mu.Lock()
		s.mine[epoch] = true
		s.mu.Unlock()
		return epoch, nil
	}
}

// forget gives the byte of an epoch free.
func (s *Store) forget(epoch int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.mine[epoch] {
		return nil
	}
	delete(s.mine, epoch)
	return s.lock.free(epoch)
}

// dead reports whether the process of a session that did not end is gone. On a local file system the kernel knows, after
// a reboot and in another container too. On a network file system only processes of this host are judged.
func (s *Store) dead(epoch int64, host string) (bool, error) {
	s.mu.Lock()
	mine := s.mine[epoch]
	s.mu.Unlock()
	if mine {
		return false, nil
	}
	if s.shared && host != hostname() {
		return false, nil
	}
	held, err := s.lock.held(epoch, 1)
	return !held && err == nil, err
}

// deadSessions picks the dead ones of the sessions it is given.
func (s *Store) deadSessions(sessions func(each func(epoch int64, host string) error) error) ([]int64, error) {
	var dead []int64
	err := sessions(func(epoch int64, host string) error {
		gone, err := s.dead(epoch, host)
		if gone {
			dead = append(dead, epoch)
		}
		return err
	})
	return dead, err
}

// reap ends the sessions of dead processes and interrupts what nobody works on. A session that let a lock of its own expire
// counts as dead too: its process is stopped or hangs. Should it wake up, its next write is refused.
func (s *Store) reap(t *tx, at time.Time) error {
	dead, err := s.deadSessions(func(each func(int64, string) error) error {
		return t.all(`SELECT epoch, host FROM session WHERE ending = ''`, nil, func(row scanner) error {
			var epoch int64
			var host string
			if err := row.Scan(&epoch, &host); err != nil {
				return err
			}
			return each(epoch, host)
		})
	})
	if err != nil {
		return err
	}
	err = t.all(`SELECT DISTINCT session FROM held_lock WHERE task = '' AND session > 0 AND expires_at > 0 AND expires_at <= ?`,
		[]any{micros(at)}, func(row scanner) error {
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
	if _, err := t.exec(`UPDATE session SET ending = ?, ended_at = ? WHERE epoch = ? AND ending = ''`, ending, micros(at), epoch); err != nil {
		return err
	}
	if _, err := t.exec(`DELETE FROM held_lock WHERE session = ? AND task = ''`, epoch); err != nil {
		return err
	}
	var tasks []taskKey
	err := t.all(`SELECT run_id, seq FROM task WHERE owner = ? AND status = 'running'`, []any{epoch}, func(row scanner) error {
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
	n, err := t.exec(`UPDATE task SET status = ?, owner = 0, status_at = ? WHERE run_id = ? AND seq = ? AND status = 'running'`,
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
		found, err := t.row(`SELECT started_at FROM session WHERE epoch = ?`, []any{epoch}, &started)
		if err != nil {
			return err
		}
		if !found {
			return state.ErrNotFound
		}
		return t.endSession(epoch, "closed", time.Now())
	})
	if err == nil {
		err = s.forget(epoch)
	}
	if err != nil {
		return fmt.Errorf("close session %d: %w", epoch, err)
	}
	return nil
}
