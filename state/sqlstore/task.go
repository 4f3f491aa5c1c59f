package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-dr/holdfast/state"
)

// position is where a task stands.
type position struct {
	status  state.Status
	owner   int64
	attempt int64
	at      time.Time
	locks   []string
	last    string // fingerprint of its newest journal entry
}

func (t *tx) position(k taskKey) (position, error) {
	var p position
	found, err := t.Row(`SELECT status, owner, attempt, status_at, locks, last_entry FROM task WHERE run_id = ? AND seq = ?`,
		[]any{k.run, k.seq}, &p.status, &p.owner, &p.attempt, (*instant)(&p.at), (*nameList)(&p.locks), &p.last)
	if err == nil && !found {
		err = state.ErrNotFound
	}
	return p, err
}

// Claim makes a waiting task running and takes its locks. Locks that the task kept through a crash are its own. The same session
// claiming again with the same time, before it wrote anything, gets the same claim: its first answer may have been lost.
func (s *Store) Claim(ctx context.Context, session int64, task string, at time.Time) (state.Claim, error) {
	var claim state.Claim
	k, err := parseTask(task)
	if err == nil && at.IsZero() {
		err = errors.New("it needs the time")
	}
	if err == nil {
		err = s.write(ctx, func(t *tx) (err error) {
			claim, err = s.claim(t, session, k, stored(at))
			return err
		})
	}
	if errors.Is(err, state.ErrBusy) { // by a process that may have died since this session was opened
		err = errors.Join(err, s.write(ctx, func(t *tx) error { return s.reap(t, stored(at), session) }))
	}
	if err != nil {
		return state.Claim{}, fmt.Errorf("claim task %s: %w", task, err)
	}
	return claim, nil
}

func (s *Store) claim(t *tx, session int64, k taskKey, at time.Time) (state.Claim, error) {
	c := state.Claim{Task: k.String(), Session: session}
	if err := t.wantSession(session); err != nil {
		return c, err
	}
	p, err := t.position(k)
	if err != nil {
		return c, err
	}
	if p.status == state.Running && p.owner == session && p.at.Equal(at) && p.last == "" {
		c.Attempt = p.attempt
		c.Token, err = t.firstToken(p.locks)
		return c, err
	}
	if p.status != state.Pending && p.status != state.Interrupted {
		return c, fmt.Errorf("it is %s, not waiting: %w", p.status, state.ErrStale)
	}
	to, err := p.status.To(state.Running)
	if err != nil {
		return c, err
	}
	if waits, err := t.undecided(k.run); err != nil {
		return c, err
	} else if waits {
		return c, fmt.Errorf("its run waits for a person's decision: %w", state.ErrStale)
	}
	var actor, host string
	var pid int
	if _, err := t.Row(`SELECT actor, host, pid FROM session WHERE epoch = ?`, []any{session}, &actor, &host, &pid); err != nil {
		return c, err
	}
	for i, name := range p.locks {
		cur, held, err := t.lockNamed(name)
		if err != nil {
			return c, err
		}
		if held && cur.Task != c.Task {
			lost, err := s.lost(t, cur, at)
			if err != nil {
				return c, err
			}
			if !lost {
				return c, busy(cur)
			}
		}
		token, err := t.putLock(state.Lock{Name: name, Session: session, Task: c.Task, Actor: actor, Host: host, PID: pid, Acquired: at})
		if err != nil {
			return c, err
		}
		if i == 0 {
			c.Token = token
		}
	}
	c.Attempt = p.attempt + 1
	n, err := t.Exec(`UPDATE task SET status = ?, owner = ?, attempt = ?, status_at = ?, last_entry = '',
		started_at = CASE WHEN started_at = 0 THEN ? ELSE started_at END
		WHERE run_id = ? AND seq = ? AND status = ? AND attempt = ?`,
		to, session, c.Attempt, micros(at), micros(at), k.run, k.seq, p.status, p.attempt)
	if err == nil && n == 0 {
		err = state.ErrStale
	}
	if err != nil {
		return c, err
	}
	_, err = t.Exec(`UPDATE run SET started_at = ? WHERE id = ? AND started_at = 0`, micros(at), k.run)
	t.now[k.run] = t.now[k.run].and(settling{at: at})
	return c, err
}

func (t *tx) firstToken(locks []string) (int64, error) {
	if len(locks) == 0 {
		return 0, nil
	}
	l, _, err := t.lockNamed(locks[0])
	return l.Token, err
}

func busy(l state.Lock) error {
	if l.Task != "" {
		return fmt.Errorf("%s is %w: %s", l.Name, state.ErrBusy, l.Task)
	}
	return fmt.Errorf("%w: %w", state.ErrBusy, &holder{l})
}

// holder says who holds a lock, without being an error callers decide on.
type holder struct{ lock state.Lock }

func (h *holder) Error() string { return (&state.LockedError{Lock: h.lock}).Error() }

// Journal writes one entry. Writing the entry again that was the last to be committed for the claim is no error.
func (s *Store) Journal(ctx context.Context, c state.Claim, e state.Entry) error {
	err := s.journal(ctx, c, e)
	if err != nil {
		return fmt.Errorf("journal of task %s: %w", c.Task, err)
	}
	return nil
}

func (s *Store) journal(ctx context.Context, c state.Claim, e state.Entry) error {
	k, err := parseTask(c.Task)
	if err != nil {
		return err
	}
	if err := checkEntry(e); err != nil {
		return err
	}
	print, err := fingerprint(c, e)
	if err != nil {
		return err
	}
	return s.write(ctx, func(t *tx) error {
		n, err := t.Exec(`UPDATE task SET last_entry = ? WHERE run_id = ? AND seq = ? AND owner = ? AND attempt = ? AND status = 'running'
			AND last_entry <> ?`, print, k.run, k.seq, c.Session, c.Attempt, print)
		if err != nil {
			return err
		}
		if n == 1 {
			return t.entry(k, c, e)
		}
		p, err := t.position(k)
		if err != nil {
			return err
		}
		if p.attempt == c.Attempt && p.last == print {
			return nil
		}
		return fmt.Errorf("%w: it is %s, attempt %d of session %d", state.ErrFenced, p.status, p.attempt, p.owner)
	})
}

func checkEntry(e state.Entry) error {
	if e.At.IsZero() {
		return errors.New("the entry has no time")
	}
	if err := checkChanges(e.Changes); err != nil {
		return err
	}
	if e.Finish != nil {
		if _, err := state.Running.To(e.Finish.Status); err != nil {
			return err
		}
	}
	for _, a := range e.Artifacts {
		if a.ID == "" {
			return errors.New("an artifact without id")
		}
	}
	for _, x := range e.Readings {
		if err := wantReading(x); err != nil {
			return err
		}
	}
	return nil // the fingerprint, which is made of JSON, finds what is not
}

func (t *tx) entry(k taskKey, c state.Claim, e state.Entry) error {
	for _, name := range e.Paid {
		if _, err := t.Exec(`UPDATE duty SET paid = 1 WHERE run_id = ? AND seq = ? AND name = ?`, k.run, k.seq, name); err != nil {
			return err
		}
	}
	for _, d := range e.Duties {
		if _, err := t.Exec(`INSERT INTO duty (`+dutyColumns+`) VALUES (?, ?, ?, ?, 0)
			ON CONFLICT (run_id, seq, name) DO UPDATE SET args = excluded.args, paid = 0`, k.run, k.seq, d.Name, text(d.Args)); err != nil {
			return err
		}
	}
	if e.End != nil {
		if err := t.endStep(k, c, *e.End, e.At); err != nil {
			return err
		}
	}
	if e.Begin != nil {
		if err := t.beginStep(k, c, *e.Begin, e.At); err != nil {
			return err
		}
	}
	for _, a := range e.Artifacts {
		if err := t.putArtifact(a, putIfGood); err != nil {
			return err
		}
	}
	for _, x := range e.Readings {
		if _, err := t.putReading(x); err != nil {
			return err
		}
	}
	for _, x := range e.Expire {
		if err := t.expire(x, e.At); err != nil {
			return err
		}
	}
	for _, id := range e.Deleted {
		if err := t.deleted(id); err != nil {
			return err
		}
	}
	for _, p := range e.Positions {
		if _, err := t.Exec(`INSERT INTO mirror_position (`+positionColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (mirror) DO UPDATE SET at = excluded.at, finished_at = excluded.finished_at, files = excluded.files,
			run = excluded.run, source = excluded.source, target = excluded.target`,
			p.Mirror, micros(p.At), micros(p.Finished), p.Files, p.Run, p.Source, p.Target); err != nil {
			return err
		}
	}
	for _, seen := range e.Sights {
		if err := t.saw(seen); err != nil {
			return err
		}
	}
	if len(e.Changes)+len(e.Roles) > 0 {
		if _, err := t.raise(e.Changes, e.Roles); err != nil {
			return err
		}
	}
	if e.Finish != nil {
		return t.finish(k, *e.Finish, e.At)
	}
	return nil
}

// beginStep writes the intent of a step, in place of an earlier attempt's.
func (t *tx) beginStep(k taskKey, c state.Claim, s state.StepRun, at time.Time) error {
	if s.State == "" {
		s.State = state.StepIntent
	}
	return t.putStep(k, c, s, micros(at), 0)
}

// endStep writes the outcome of a step. A step that was never begun, such as a skipped one, is stored whole.
func (t *tx) endStep(k taskKey, c state.Claim, s state.StepRun, at time.Time) error {
	n, err := t.Exec(`UPDATE step SET state = ?, output = ?, error = ?, ended_at = ? WHERE run_id = ? AND seq = ? AND idx = ?`,
		s.State, text(s.Output), s.Error, micros(at), k.run, k.seq, s.Index)
	if err != nil || n == 1 {
		return err
	}
	return t.putStep(k, c, s, micros(at), micros(at))
}

func (t *tx) putStep(k taskKey, c state.Claim, s state.StepRun, began, ended int64) error {
	_, err := t.Exec(`INSERT INTO step (`+stepColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (run_id, seq, idx) DO UPDATE SET name = excluded.name, class = excluded.class, state = excluded.state,
		session = excluded.session, attempt = excluded.attempt, input = excluded.input, output = excluded.output, error = excluded.error,
		began_at = excluded.began_at, ended_at = excluded.ended_at`,
		k.run, k.seq, s.Index, s.Name, s.Class, s.State, c.Session, c.Attempt, text(s.Input), text(s.Output), s.Error, began, ended)
	return err
}

// finish ends a running task, or lets it wait again when it was interrupted.
func (t *tx) finish(k taskKey, f state.TaskRun, at time.Time) error {
	to, err := state.Running.To(f.Status)
	if err != nil {
		return err
	}
	var ended int64
	if to.Terminal() {
		ended = micros(at)
		if err := t.releaseUnlessOwing(k, to); err != nil {
			return err
		}
	}
	_, err = t.Exec(`UPDATE task SET status = ?, reason = ?, error = ?, owner = 0, status_at = ?, ended_at = ?, files = ?, bytes = ?, errors = ?,
		output = ?, source_files = ?, source_bytes = ? WHERE run_id = ? AND seq = ? AND status = 'running'`,
		to, f.Reason, f.Error, micros(at), ended, f.Files, f.Bytes, f.Errors, text(f.Output), f.SourceFiles, f.SourceBytes, k.run, k.seq)
	t.now[k.run] = t.now[k.run].and(settling{at: at, ended: tally(to, 1, f.SourceFiles, f.SourceBytes)})
	return err
}

// releaseUnlessOwing gives the locks of an ended task back. One that a person must look at and that owes something keeps them:
// nobody else may use a device that is still quiesced.
func (t *tx) releaseUnlessOwing(k taskKey, to state.Status) error {
	if to == state.Attention {
		owes, err := t.Row(`SELECT 1 FROM duty WHERE run_id = ? AND seq = ? AND paid = 0`, []any{k.run, k.seq}, new(int))
		if err != nil || owes {
			return err
		}
	}
	return t.releaseTask(k)
}

func (t *tx) releaseTask(k taskKey) error {
	_, err := t.Exec(`DELETE FROM held_lock WHERE task = ? AND task <> ''`, k.String())
	return err
}

// Cancel ends the pending tasks of a run: skipped, cancelled or failed. With missed, which is a status of runs only, the tasks are
// skipped and the run is missed if nothing of it was done.
func (s *Store) Cancel(ctx context.Context, run string, status state.Status, reason, msg string, at time.Time) error {
	id, err := runNumber(run)
	if err == nil {
		to := status
		if status == state.Missed {
			to = state.Skipped
		}
		if _, err = state.Pending.To(to); err == nil && !to.Terminal() {
			err = fmt.Errorf("%s does not end a task", status)
		}
		if err == nil {
			err = s.write(ctx, func(t *tx) error { return t.cancel(id, status, to, reason, msg, at) })
		}
	}
	if err != nil {
		return fmt.Errorf("cancel run %s: %w", run, err)
	}
	return nil
}

func (t *tx) cancel(id int64, status, to state.Status, reason, msg string, at time.Time) error {
	var before state.Status
	found, err := t.Row(`SELECT status FROM run WHERE id = ?`, []any{id}, &before)
	if err != nil {
		return err
	}
	if !found {
		return state.ErrNotFound
	}
	n, err := t.Exec(`UPDATE task SET status = ?, reason = ?, error = ?, status_at = ?, ended_at = ? WHERE run_id = ? AND status = 'pending'`,
		to, reason, msg, micros(at), micros(at), id)
	if err != nil || n == 0 {
		return err
	}
	change := settling{at: at, whole: true}
	t.now[id] = change
	after, err := t.settleRun(id, change)
	if err != nil || after != to {
		return err
	}
	_, err = t.Exec(`UPDATE run SET status = ?, reason = ?, error = ? WHERE id = ?`, status, reason, msg, id)
	return err
}
