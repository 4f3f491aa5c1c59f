package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-dr/holdfast/state"
	"github.com/holdfast-dr/holdfast/state/sqlstore/database"
)

// holdOperation marks a lock that a person holds: it belongs to no session and ends by itself.
const holdOperation = "hold"

// leaseTime is how long a session's lock lasts when its taker does not say.
const leaseTime = 60 * time.Second

const lockColumns = `name, token, session, task, actor, host, pid, operation, reason, acquired_at, expires_at`

func scanLock(row database.Row) (l state.Lock, err error) {
	err = row.Scan(&l.Name, &l.Token, &l.Session, &l.Task, &l.Actor, &l.Host, &l.PID, &l.Operation, &l.Reason,
		(*instant)(&l.Acquired), (*instant)(&l.Expires))
	return l, err
}

func (t *tx) lockNamed(name string) (l state.Lock, found bool, err error) {
	err = t.All(`SELECT `+lockColumns+` FROM held_lock WHERE name = ?`, []any{name}, func(row database.Row) error {
		found = true
		l, err = scanLock(row)
		return err
	})
	return l, found, err
}

// putLock makes a lock held, in place of whoever held it, and gives it the next fencing number.
func (t *tx) putLock(l state.Lock) (int64, error) {
	token, err := t.next("token")
	if err != nil {
		return 0, err
	}
	_, err = t.Exec(`INSERT INTO held_lock (`+lockColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (name) DO UPDATE SET token = excluded.token, session = excluded.session, task = excluded.task, actor = excluded.actor,
		host = excluded.host, pid = excluded.pid, operation = excluded.operation, reason = excluded.reason,
		acquired_at = excluded.acquired_at, expires_at = excluded.expires_at`,
		l.Name, token, l.Session, l.Task, l.Actor, l.Host, l.PID, l.Operation, l.Reason, micros(l.Acquired), micros(l.Expires))
	return token, err
}

// lost reports whether a lock's holder has lost it: it expired, or its session is over. A lock of a task is kept for the task.
func (s *Store) lost(t *tx, l state.Lock, at time.Time) (bool, error) {
	if l.Task != "" {
		return false, nil
	}
	if !l.Expires.IsZero() && !l.Expires.After(at) {
		return true, nil
	}
	if l.Session == 0 {
		return false, nil
	}
	var host, ending string
	found, err := t.Row(`SELECT host, ending FROM session WHERE epoch = ?`, []any{l.Session}, &host, &ending)
	if err != nil || !found || ending != "" {
		return err == nil, err
	}
	return s.db.Dead(l.Session, host)
}

// AcquireLock takes a lock for a session, or for a person when l.Operation is "hold" (then with an expiry and without a
// session). A session's lock lasts 60 s unless l.Expires says otherwise. Asking again with the same session, operation and time
// gives the same lock.
func (s *Store) AcquireLock(ctx context.Context, l state.Lock) (state.Lock, error) {
	if err := checkLock(&l); err != nil {
		return state.Lock{}, fmt.Errorf("acquire lock %s: %w", l.Name, err)
	}
	var got state.Lock
	err := s.write(ctx, func(t *tx) error {
		got = l
		if l.Session != 0 {
			if err := t.wantSession(l.Session); err != nil {
				return err
			}
		}
		cur, held, err := t.lockNamed(l.Name)
		if err != nil {
			return err
		}
		if held {
			if sameHolding(cur, l) {
				got = cur
				return nil
			}
			lost, err := s.lost(t, cur, l.Acquired)
			if err != nil {
				return err
			}
			if !lost {
				return &state.LockedError{Lock: cur}
			}
		}
		got.Token, err = t.putLock(l)
		return err
	})
	var locked *state.LockedError
	if errors.As(err, &locked) {
		return state.Lock{}, locked
	}
	if err != nil {
		return state.Lock{}, fmt.Errorf("acquire lock %s: %w", l.Name, err)
	}
	return got, nil
}

func checkLock(l *state.Lock) error {
	switch {
	case l.Name == "":
		return errors.New("it needs a name")
	case l.Task != "":
		return errors.New("locks of tasks are taken by claiming the task")
	case l.Acquired.IsZero():
		return errors.New("it needs the time")
	case l.Session == 0 && l.Operation != holdOperation:
		return errors.New("it needs a session")
	case l.Session == 0 && l.Expires.IsZero():
		return errors.New("a lock held by a person needs an expiry")
	}
	l.Acquired = l.Acquired.Truncate(time.Microsecond).UTC()
	if l.Expires.IsZero() {
		l.Expires = l.Acquired.Add(leaseTime)
	}
	l.Expires = l.Expires.Truncate(time.Microsecond).UTC()
	if !l.Expires.After(l.Acquired) {
		return errors.New("it would be expired already")
	}
	return nil
}

func sameHolding(a, b state.Lock) bool {
	return a.Session == b.Session && a.Task == b.Task && a.Operation == b.Operation && a.Actor == b.Actor && a.Acquired.Equal(b.Acquired)
}

// wantSession refuses a session that is over.
func (t *tx) wantSession(epoch int64) error {
	var one int64
	found, err := t.Row(`SELECT 1 FROM session WHERE epoch = ? AND ending = ''`, []any{epoch}, &one)
	if err == nil && !found {
		err = fmt.Errorf("session %d is over: %w", epoch, state.ErrFenced)
	}
	return err
}

// RenewLock moves the expiry of a lock that is still held.
func (s *Store) RenewLock(ctx context.Context, l state.Lock) error {
	if l.Expires.IsZero() {
		return fmt.Errorf("renew lock %s: it needs an expiry", l.Name)
	}
	err := s.write(ctx, func(t *tx) error {
		n, err := t.Exec(`UPDATE held_lock SET expires_at = ? WHERE name = ? AND token = ? AND session = ? AND task = ?`,
			micros(l.Expires), l.Name, l.Token, l.Session, l.Task)
		if err == nil && n == 0 {
			err = state.ErrFenced
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("renew lock %s: %w", l.Name, err)
	}
	return nil
}

// ReleaseLock gives a lock back. One that was lost already stays with its new holder.
func (s *Store) ReleaseLock(ctx context.Context, l state.Lock) error {
	err := s.write(ctx, func(t *tx) error {
		_, err := t.Exec(`DELETE FROM held_lock WHERE name = ? AND token = ? AND session = ? AND task = ''`, l.Name, l.Token, l.Session)
		return err
	})
	if err != nil {
		return fmt.Errorf("release lock %s: %w", l.Name, err)
	}
	return nil
}

// BreakLock takes a lock from its holder and gives what it was. A running task that loses a lock so is interrupted:
// it cannot go on without it.
func (s *Store) BreakLock(ctx context.Context, name, actor, reason string, at time.Time) (state.Lock, error) {
	var was state.Lock
	err := s.write(ctx, func(t *tx) error {
		var held bool
		var err error
		if was, held, err = t.lockNamed(name); err != nil {
			return err
		}
		if !held {
			return state.ErrNotFound
		}
		if _, err := t.Exec(`DELETE FROM held_lock WHERE name = ?`, name); err != nil {
			return err
		}
		if was.Task != "" {
			k, err := parseTask(was.Task)
			if err != nil {
				return err
			}
			if err := t.interrupt(k, at); err != nil {
				return err
			}
		}
		return t.log(at, actor, "break lock", name, map[string]any{"reason": reason, "taken_from": was})
	})
	if err != nil {
		return state.Lock{}, fmt.Errorf("break lock %s: %w", name, err)
	}
	return was, nil
}

// Locks lists the held locks by name, with those that expired and were not taken since.
func (s *Store) Locks(ctx context.Context) ([]state.Lock, error) {
	var locks []state.Lock
	err := s.db.Read(ctx, func(q database.Querier) (err error) {
		locks, err = s.locks(ctx, q)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list locks: %w", err)
	}
	return locks, nil
}

// locks reads the held locks, and looks whether the processes are there that took them.
func (s *Store) locks(ctx context.Context, q database.Querier) ([]state.Lock, error) {
	locks, err := database.List(ctx, q, scanLock, `SELECT `+lockColumns+` FROM held_lock ORDER BY name`)
	for i := range locks {
		if l := &locks[i]; l.Session != 0 && err == nil {
			l.Gone, err = s.db.Dead(l.Session, l.Host)
		}
	}
	return locks, err
}
