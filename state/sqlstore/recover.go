package sqlstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/holdfast-dr/holdfast/state"
	"github.com/holdfast-dr/holdfast/state/sqlstore/database"
)

// Recover takes in what a store tells of its artifacts. Numbers of runs that the artifacts name are not given out again.
func (s *Store) Recover(ctx context.Context, l state.Lock, r state.Recovery) (state.RecoveryResult, error) {
	var result state.RecoveryResult
	err := checkRecovery(l, r)
	if err == nil {
		err = s.write(ctx, func(t *tx) (err error) {
			if err := t.holds(l); err != nil {
				return err
			}
			result, err = t.recover(r)
			return err
		})
	}
	if err != nil {
		return state.RecoveryResult{}, fmt.Errorf("recover artifacts of %s: %w", r.Store, err)
	}
	return result, nil
}

func checkRecovery(l state.Lock, r state.Recovery) error {
	if l.Name != state.ApplyLock {
		return fmt.Errorf("the lock is %q, not %q", l.Name, state.ApplyLock)
	}
	if r.Store == "" || r.At.IsZero() {
		return errors.New("it needs the store and the time")
	}
	for _, a := range r.Found {
		if err := wantArtifact(a); err != nil {
			return fmt.Errorf("artifact %q: %w", a.ID, err)
		}
		if strings.ContainsFunc(a.ID, unicode.IsControl) { // the catalogue is read line by line
			return fmt.Errorf("artifact %q has no usable id", a.ID)
		}
		if a.Store != r.Store {
			return fmt.Errorf("artifact %s is said to be in %s", a.ID, a.Store)
		}
		switch a.State {
		case state.ArtifactGood, state.ArtifactQuarantined, state.ArtifactUnverified, state.ArtifactDeleted:
		default:
			return fmt.Errorf("artifact %s cannot be found %q", a.ID, a.State)
		}
	}
	return nil
}

func (t *tx) recover(r state.Recovery) (state.RecoveryResult, error) {
	var n state.RecoveryResult
	for _, a := range r.Found {
		if err := t.recoverOne(a, r.At, &n); err != nil {
			return n, fmt.Errorf("artifact %s: %w", a.ID, err)
		}
	}
	for _, c := range r.Cursors {
		moved, err := t.Exec(`INSERT INTO schedule_cursor (`+cursorColumns+`) VALUES (?, ?, ?)
			ON CONFLICT (address) DO UPDATE SET nominal = excluded.nominal, at = excluded.at WHERE excluded.at > schedule_cursor.at`,
			c.Address, c.Nominal, micros(c.At))
		if err != nil {
			return n, err
		}
		n.Cursors += int(moved)
	}
	if len(r.Seen) > 0 {
		if err := t.saw(state.StoreSight{Store: r.Store, Heads: r.Seen}); err != nil {
			return n, err
		}
	}
	if n.Added+n.Changed+n.Cursors == 0 {
		return n, nil
	}
	hold, err := t.held()
	if err == nil && r.Hold.Until.After(hold.Until) {
		err = t.setHold(r.Hold)
	}
	if err != nil {
		return n, err
	}
	return n, t.log(r.At, r.Actor, "rescan", r.Store, n)
}

// recoverOne joins one artifact with its record.
func (t *tx) recoverOne(found state.Artifact, at time.Time, n *state.RecoveryResult) error {
	var cur state.Artifact
	known := false
	err := t.All(`SELECT `+artifactColumns+` FROM artifact WHERE id = ?`, []any{found.ID}, func(row database.Row) (err error) {
		known = true
		cur, err = scanArtifact(row)
		return err
	})
	if err != nil {
		return err
	}
	if known && cur.Store != found.Store {
		n.Elsewhere++
		return nil
	}
	next, changed := found, true
	if known {
		next, changed = cur.Recovered(found, at)
	}
	if !changed {
		n.Kept++
		return nil
	}
	if err := t.reserveRun(&next); err != nil {
		return err
	}
	if known {
		n.Changed++
	} else {
		n.Added++
	}
	return t.putArtifact(next, putArtifact)
}

// mostRuns bounds the numbers of runs that are believed: counting goes on above them.
const mostRuns = 1 << 40

// reserveRun keeps the number of the run that made an artifact from being given to another run. Where that happened already, the
// artifact is of no run.
func (t *tx) reserveRun(a *state.Artifact) error {
	run, err := runNumber(a.Run)
	if err != nil || run > mostRuns {
		a.Run, a.Task = "", ""
		return nil
	}
	var address string
	var created int64
	taken, err := t.Row(`SELECT address, created_at FROM run WHERE id = ?`, []any{run}, &address, &created)
	switch {
	case err != nil:
		return err
	case taken && (address != a.BackupPlan || created > micros(a.Started)):
		a.Run, a.Task = "", ""
		return nil
	}
	_, err = t.Exec(`UPDATE counter SET value = ? WHERE name = 'run' AND value < ?`, run, run)
	return err
}

// PutSight raises what is recorded of a store to what was seen of it outside a run.
func (s *Store) PutSight(ctx context.Context, seen state.StoreSight) error {
	if err := s.write(ctx, func(t *tx) error { return t.saw(seen) }); err != nil {
		return fmt.Errorf("record what was seen of %s: %w", seen.Store, err)
	}
	return nil
}

// saw raises what is recorded of a store to what was seen of it.
func (t *tx) saw(seen state.StoreSight) error {
	o, found, err := t.object(seen.Store)
	if err != nil || !found {
		return err
	}
	if o.Epoch == 0 {
		o.Epoch = seen.Epoch
	}
	heads, err := headText(state.Further(o.Heads, seen.Heads))
	if err != nil {
		return err
	}
	_, err = t.Exec(`UPDATE object SET epoch = ?, heads = ? WHERE address = ?`, o.Epoch, heads, seen.Store)
	return err
}

// Hold sets until when nothing is deleted; the zero Hold ends it.
func (s *Store) Hold(ctx context.Context, h state.Hold, actor, reason string, at time.Time) error {
	err := errors.New("it needs the time")
	if !at.IsZero() {
		err = s.write(ctx, func(t *tx) error { return t.changeHold(h, actor, reason, at) })
	}
	if err != nil {
		return fmt.Errorf("hold deletions: %w", err)
	}
	return nil
}

func (t *tx) changeHold(h state.Hold, actor, reason string, at time.Time) error {
	was, err := t.held()
	if err != nil || was.Until.Equal(h.Until) && was.Reason == h.Reason {
		return err
	}
	if err := t.setHold(h); err != nil {
		return err
	}
	action := "hold"
	if h.Until.IsZero() {
		action = "release-hold"
	}
	return t.log(at, actor, action, "deletions", map[string]any{"reason": reason, "until": h.Until, "was": was.Until})
}

func (t *tx) held() (state.Hold, error) {
	var h state.Hold
	_, err := t.Row(`SELECT value FROM meta WHERE name = 'hold'`, nil, (*holdText)(&h))
	return h, err
}

func (t *tx) setHold(h state.Hold) error {
	if h.Until.IsZero() {
		_, err := t.Exec(`DELETE FROM meta WHERE name = 'hold'`)
		return err
	}
	h.Until = stored(h.Until)
	b, err := json.Marshal(h)
	if err == nil {
		_, err = t.Exec(`INSERT INTO meta (name, value) VALUES ('hold', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, string(b))
	}
	return err
}
