package sqlstore

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-dr/holdfast/state"
	"github.com/holdfast-dr/holdfast/state/sqlstore/database"
)

// Record writes desired objects and roles. Making the same call again after an unknown outcome changes nothing more.
func (s *Store) Record(ctx context.Context, l state.Lock, changes []state.Change, roles []state.RoleChange) (int64, error) {
	if l.Name != state.ApplyLock {
		return 0, fmt.Errorf("record: the lock is %q, not %q", l.Name, state.ApplyLock)
	}
	if err := checkChanges(changes); err != nil {
		return 0, fmt.Errorf("record: %w", err)
	}
	print, err := fingerprint(l.Token, changes, roles)
	if err != nil {
		return 0, fmt.Errorf("record: %w", err)
	}
	var generation int64
	err = s.write(ctx, func(t *tx) error {
		if err := t.holds(l); err != nil {
			return err
		}
		if _, err := t.Row(`SELECT value FROM counter WHERE name = 'generation'`, nil, &generation); err != nil {
			return err
		}
		if len(changes)+len(roles) == 0 {
			return nil
		}
		var last string
		if _, err := t.Row(`SELECT value FROM meta WHERE name = 'last_record'`, nil, &last); err != nil || last == print {
			return err
		}
		if generation, err = t.raise(changes, roles); err != nil {
			return err
		}
		_, err = t.Exec(`INSERT INTO meta (name, value) VALUES ('last_record', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, print)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("record: %w", err)
	}
	return generation, nil
}

// holds is state.ErrFenced when a lock is held no more.
func (t *tx) holds(l state.Lock) error {
	var one int64
	held, err := t.Row(`SELECT 1 FROM held_lock WHERE name = ? AND token = ? AND session = ? AND task = ''`, []any{l.Name, l.Token, l.Session}, &one)
	if err == nil && !held {
		err = state.ErrFenced
	}
	return err
}

// fingerprint identifies what is written, so that the same write is known when it comes again.
func fingerprint(what ...any) (string, error) {
	b, err := json.Marshal(what)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16]), nil
}

func checkChanges(changes []state.Change) error {
	for _, c := range changes {
		if c.Address == "" {
			return errors.New("a change without address")
		}
		switch c.Op {
		case state.OpDelete:
			continue
		case state.OpMove:
			if c.Previous == "" || c.Previous == c.Address {
				return fmt.Errorf("move to %s: from %q", c.Address, c.Previous)
			}
		case state.OpPut:
		default:
			return fmt.Errorf("change of %s: unknown operation %q", c.Address, c.Op)
		}
		if c.Spec == nil || !json.Valid(c.Spec) {
			return fmt.Errorf("change of %s: its spec is not valid JSON", c.Address)
		}
	}
	return nil
}

// raise writes changes and roles under the next generation.
func (t *tx) raise(changes []state.Change, roles []state.RoleChange) (int64, error) {
	generation, err := t.next("generation")
	if err != nil {
		return 0, err
	}
	for _, c := range changes {
		if err := t.change(c, generation); err != nil {
			return 0, err
		}
	}
	for _, r := range roles {
		if err := t.setRole(r); err != nil {
			return 0, err
		}
	}
	return generation, nil
}

func (t *tx) change(c state.Change, generation int64) error {
	address := c.Address
	if c.Op == state.OpMove {
		address = c.Previous
	}
	cur, found, err := t.object(address)
	if err != nil {
		return err
	}
	if err := unchanged(address, c.IfGeneration, cur, found); err != nil {
		return err
	}
	switch c.Op {
	case state.OpDelete:
		return t.deleteObject(c.Address)
	case state.OpMove:
		if !found {
			return &state.StaleError{What: fmt.Sprintf("%s is not recorded and cannot be moved to %s", c.Previous, c.Address)}
		}
		at, taken, err := t.object(c.Address)
		if err != nil {
			return err
		}
		if taken {
			return &state.StaleError{What: fmt.Sprintf("%s cannot be moved to %s, which is recorded already (generation %d)", c.Previous, c.Address, at.Generation)}
		}
		if err := t.moveObject(c.Previous, c.Address); err != nil {
			return err
		}
	}
	identity, epoch, heads := cmp.Or(c.Identity, cur.Identity), cmp.Or(c.Epoch, cur.Epoch), c.Heads
	if heads == nil {
		heads = cur.Heads
	}
	ends, err := headText(heads)
	if err != nil {
		return err
	}
	_, err = t.Exec(`INSERT INTO object (`+objectColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (address) DO UPDATE SET spec = excluded.spec, digest = excluded.digest, generation = excluded.generation,
		protect = excluded.protect, identity = excluded.identity, commit_id = excluded.commit_id,
		applied_at = excluded.applied_at, applied_by = excluded.applied_by, epoch = excluded.epoch, heads = excluded.heads`,
		c.Address, string(c.Spec), c.Digest, generation, c.Protect, identity, c.Commit, micros(c.At), c.By, epoch, ends)
	if err != nil || !c.Restart {
		return err
	}
	return t.moveCursor(state.Cursor{Address: c.Address, At: c.At})
}

func (t *tx) object(address string) (o state.Object, found bool, err error) {
	err = t.All(`SELECT `+objectColumns+` FROM object WHERE address = ?`, []any{address}, func(row database.Row) error {
		found = true
		o, err = scanObject(row)
		return err
	})
	return o, found, err
}

// unchanged checks the precondition of a change and names what broke it.
func unchanged(address string, want int64, cur state.Object, found bool) error {
	var have int64
	if found {
		have = cur.Generation
	}
	switch {
	case have == want:
		return nil
	case !found:
		return &state.StaleError{What: fmt.Sprintf("%s is not recorded any more (it had generation %d)", address, want)}
	}
	by := fmt.Sprintf("%s by %s", cur.AppliedAt.Format(time.RFC3339), cur.AppliedBy)
	if want == 0 {
		return &state.StaleError{What: fmt.Sprintf("%s was recorded meanwhile (generation %d, %s)", address, have, by)}
	}
	return &state.StaleError{What: fmt.Sprintf("%s changed (generation %d -> %d, %s)", address, want, have, by)}
}

// deleteObject forgets an object and where its schedule and mirror stood. Its runs and artifacts stay, and its role:
// the epoch of a role is a fence and never starts again. Its runs keep their keys with their numbers added, so that an
// object that is declared anew under the address has its own run of the same occurrence.
func (t *tx) deleteObject(address string) error {
	return t.each(address,
		`UPDATE run SET trigger_key = trigger_key || '#' || id WHERE address = ? AND trigger_key NOT LIKE '%#%'`,
		`DELETE FROM object WHERE address = ?`,
		`DELETE FROM schedule_cursor WHERE address = ?`,
		`DELETE FROM mirror_position WHERE mirror = ?`,
		`DELETE FROM observation WHERE address = ?`)
}

// each runs statements that have one argument.
func (t *tx) each(arg string, statements ...string) error {
	for _, sql := range statements {
		if _, err := t.Exec(sql, arg); err != nil {
			return err
		}
	}
	return nil
}

// moveObject renames an object in all that is recorded about it. What an earlier object left behind under the new name
// gives way; its runs stay beside those that come.
func (t *tx) moveObject(from, to string) error {
	if err := t.deleteObject(to); err != nil {
		return err
	}
	// Two runs of one occurrence cannot be under one address: the older object's run keeps its key with its number added.
	if _, err := t.Exec(`UPDATE run SET trigger_key = trigger_key || '#' || id WHERE address = ? AND EXISTS (
		SELECT 1 FROM run o WHERE o.address = ? AND o.trigger_kind = run.trigger_kind AND o.trigger_key = run.trigger_key)`, to, from); err != nil {
		return err
	}
	if err := t.moveRole(from, to); err != nil {
		return err
	}
	if _, err := t.Exec(`INSERT INTO run_head (address, last_run, last_good) SELECT ?, last_run, last_good FROM run_head WHERE address = ?
		ON CONFLICT (address) DO UPDATE SET
		last_run = CASE WHEN excluded.last_run > run_head.last_run THEN excluded.last_run ELSE run_head.last_run END,
		last_good = CASE WHEN excluded.last_good > run_head.last_good THEN excluded.last_good ELSE run_head.last_good END`, to, from); err != nil {
		return err
	}
	if err := t.each(from, `DELETE FROM run_head WHERE address = ?`); err != nil {
		return err
	}
	for _, sql := range []string{
		`UPDATE object SET address = ? WHERE address = ?`,
		`UPDATE run SET address = ? WHERE address = ?`,
		`UPDATE schedule_cursor SET address = ? WHERE address = ?`,
		`UPDATE mirror_position SET mirror = ? WHERE mirror = ?`,
		`UPDATE observation SET address = ? WHERE address = ?`,
		`UPDATE artifact SET backup_plan = ? WHERE backup_plan = ?`,
		`UPDATE artifact SET store = ? WHERE store = ?`,
		`UPDATE artifact SET device = ? WHERE device = ?`,
		`UPDATE role SET active = ? WHERE active = ?`,
		`UPDATE role SET moving_to = ? WHERE moving_to = ?`,
	} {
		if _, err := t.Exec(sql, to, from); err != nil {
			return err
		}
	}
	return nil
}

// moveRole renames a role. Where an earlier role of the new name went further, its epoch is kept.
func (t *tx) moveRole(from, to string) error {
	role, found, err := t.role(from)
	if err != nil || !found {
		return err
	}
	old, _, err := t.role(to)
	if err != nil {
		return err
	}
	if err := t.each(from, `DELETE FROM role WHERE failover = ?`); err != nil {
		return err
	}
	role.Failover, role.Epoch = to, max(role.Epoch, old.Epoch)
	return t.putRole(role)
}

func (t *tx) role(failover string) (r state.Role, found bool, err error) {
	err = t.All(`SELECT `+roleColumns+` FROM role WHERE failover = ?`, []any{failover}, func(row database.Row) error {
		found = true
		r, err = scanRole(row)
		return err
	})
	return r, found, err
}

func (t *tx) putRole(r state.Role) error {
	_, err := t.Exec(`INSERT INTO role (`+roleColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (failover) DO UPDATE SET active = excluded.active, epoch = excluded.epoch, state = excluded.state,
		moving_to = excluded.moving_to, since = excluded.since, reason = excluded.reason, run = excluded.run`,
		r.Failover, r.Active, r.Epoch, r.State, r.MovingTo, micros(r.Since), r.Reason, r.Run)
	return err
}

// setRole writes a role whose epoch nobody raised meanwhile.
func (t *tx) setRole(c state.RoleChange) error {
	cur, found, err := t.role(c.Failover)
	if err != nil {
		return err
	}
	if c.Failover == "" || c.Epoch < c.IfEpoch || c.Epoch < 1 {
		return fmt.Errorf("role of %q: epoch %d after %d", c.Failover, c.Epoch, c.IfEpoch)
	}
	if cur.Epoch != c.IfEpoch {
		if !found {
			return &state.StaleError{What: fmt.Sprintf("%s has no recorded role any more (it had epoch %d)", c.Failover, c.IfEpoch)}
		}
		what := fmt.Sprintf("%s changed role (epoch %d -> %d, %s", c.Failover, c.IfEpoch, cur.Epoch, cur.Since.Format(time.RFC3339))
		if cur.Reason != "" {
			what += ", " + cur.Reason
		}
		return &state.StaleError{What: what + ")"}
	}
	return t.putRole(c.Role)
}

// Observe stores what was last seen. An older sight does not replace a newer one.
func (s *Store) Observe(ctx context.Context, seen []state.Observation) error {
	for _, o := range seen {
		if o.Body == nil || !json.Valid(o.Body) {
			return fmt.Errorf("observe %s: not valid JSON", o.Address)
		}
	}
	if len(seen) == 0 {
		return nil
	}
	err := s.write(ctx, func(t *tx) error {
		for _, o := range seen {
			if _, err := t.Exec(`INSERT INTO observation (address, at, body) VALUES (?, ?, ?)
				ON CONFLICT (address) DO UPDATE SET at = excluded.at, body = excluded.body WHERE excluded.at >= observation.at`,
				o.Address, micros(o.At), string(o.Body)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("observe: %w", err)
	}
	return nil
}

// Log adds one entry to the log of operator edits.
func (s *Store) Log(ctx context.Context, at time.Time, actor, action, object string, detail json.RawMessage) error {
	err := wantJSON("the detail", detail)
	if err == nil {
		err = s.write(ctx, func(t *tx) error { return t.audit(at, actor, action, object, detail) })
	}
	if err != nil {
		return fmt.Errorf("log %s of %s: %w", action, object, err)
	}
	return nil
}

// log is audit with a detail that is not JSON yet.
func (t *tx) log(at time.Time, actor, action, object string, detail any) error {
	b, err := json.Marshal(detail)
	if err != nil {
		return err
	}
	return t.audit(at, actor, action, object, b)
}

func (t *tx) audit(at time.Time, actor, action, object string, detail json.RawMessage) error {
	seq, err := t.next("audit")
	if err != nil {
		return err
	}
	_, err = t.Exec(`INSERT INTO audit (seq, at, actor, action, object, detail) VALUES (?, ?, ?, ?, ?, ?)`,
		seq, micros(at), actor, action, object, text(detail))
	return err
}
