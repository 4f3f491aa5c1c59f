package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-dr/holdfast/state"
	"github.com/holdfast-dr/holdfast/state/sqlstore/database"
)

const briefColumns = `backup_plan, store, device, domain, action, variant, started_at, id, state, verified_at, quarantined_at, bytes, pinned`

func scanBrief(row database.Row) (a state.ArtifactBrief, err error) {
	err = row.Scan(&a.BackupPlan, &a.Store, &a.Device, &a.Domain, &a.Action, &a.Variant, (*instant)(&a.Started), &a.ID, &a.State,
		(*instant)(&a.Verified), (*instant)(&a.Quarantined), &a.Bytes, &a.Pinned)
	return a, err
}

// catalogueGroups reads the artifacts that are not deleted, one row for each group: rows and columns are what reading a hundred
// thousand of them costs. The index artifact_kept holds all of it, in this order. No field before the id holds a space.
const catalogueGroups = `SELECT backup_plan, store, device, domain, action, variant, group_concat(state || ' ' || started_at || ' ' ||
	verified_at || ' ' || quarantined_at || ' ' || bytes || ' ' || pinned || ' ' || id, char(10))
	FROM artifact INDEXED BY artifact_kept WHERE state <> 'deleted' GROUP BY backup_plan, store, device, domain, action, variant`

func catalogue(ctx context.Context, q database.Querier) ([]state.ArtifactBrief, error) {
	var all []state.ArtifactBrief
	err := database.Each(ctx, q, catalogueGroups, nil, func(row database.Row) error {
		var group state.ArtifactBrief
		var members string
		if err := row.Scan(&group.BackupPlan, &group.Store, &group.Device, &group.Domain, &group.Action, &group.Variant, &members); err != nil {
			return err
		}
		for line := range strings.SplitSeq(members, "\n") {
			a, err := parseBrief(group, line)
			if err != nil {
				return err
			}
			all = append(all, a)
		}
		return nil
	})
	return all, err
}

// parseBrief reads a member of a group of the catalogue.
func parseBrief(group state.ArtifactBrief, line string) (state.ArtifactBrief, error) {
	fields := strings.SplitN(line, " ", 7)
	if len(fields) != 7 {
		return group, fmt.Errorf("artifact %q of %s: %w", line, group.BackupPlan, state.ErrCorrupt)
	}
	var n [5]int64
	for i := range n {
		v, err := strconv.ParseInt(fields[i+1], 10, 64)
		if err != nil {
			return group, fmt.Errorf("artifact %s: %w: %w", fields[6], state.ErrCorrupt, err)
		}
		n[i] = v
	}
	a := group
	a.State, a.ID, a.Bytes, a.Pinned = state.ArtifactState(fields[0]), fields[6], n[3], n[4] != 0
	for i, t := range []*time.Time{&a.Started, &a.Verified, &a.Quarantined} {
		if err := (*instant)(t).Scan(n[i]); err != nil {
			return group, err
		}
	}
	return a, nil
}

func stale(format string, args ...any) error {
	return &state.StaleError{What: fmt.Sprintf(format, args...)}
}

// expire begins a deletion if it is still allowed.
func (t *tx) expire(e state.Expiry, at time.Time) error {
	switch hold, err := t.held(); {
	case err != nil:
		return err
	case hold.Holds(at):
		return stale("Nothing is deleted before %s (%s)", hold.Until.UTC().Format(time.RFC3339), hold.Reason)
	}
	for _, address := range slices.Sorted(maps.Keys(e.Objects)) {
		o, found, err := t.object(address)
		if err != nil {
			return err
		}
		if !found || o.Generation != e.Objects[address] {
			return stale("%s is not what artifact %s was to be deleted by (generation %d -> %d)", address, e.Artifact, e.Objects[address], o.Generation)
		}
	}
	a, err := t.brief(e.Artifact)
	switch {
	case err != nil:
		return err
	case a.State == state.ArtifactExpiring || a.State == state.ArtifactDeleted:
		return nil
	case a.Pinned:
		return stale("Artifact %s is pinned", a.ID)
	}
	if e.Asked {
		err = t.spared(a, e.Last, at.Add(state.FutureLimit))
	} else {
		err = t.floors(a, e.Newer, at.Add(state.FutureLimit))
	}
	if err != nil {
		return err
	}
	_, err = t.Exec(`UPDATE artifact SET state = 'expiring' WHERE id = ?`, a.ID)
	return err
}

// spared makes sure that a deletion that a person asked for leaves something good of the same device and domain.
func (t *tx) spared(a state.ArtifactBrief, last bool, limit time.Time) error {
	if last || a.State != state.ArtifactGood {
		return nil
	}
	var others int
	_, err := t.Row(`SELECT count(*) FROM artifact WHERE device = ? AND domain = ? AND state = 'good' AND started_at <= ? AND id <> ?`,
		[]any{a.Device, a.Domain, micros(limit), a.ID}, &others)
	if err == nil && others == 0 {
		err = stale("Artifact %s is the last good one of %s/%s", a.ID, a.Device, a.Domain)
	}
	return err
}

// floors makes sure that a deletion by a rule leaves so many newer ones of the same group, and a verified one.
func (t *tx) floors(a state.ArtifactBrief, least int, limit time.Time) error {
	newer, verified, err := t.peers(a, limit)
	switch {
	case err != nil:
		return err
	case newer < max(least, 1):
		return stale("Artifact %s has %d newer good ones beside it, which is fewer than %d", a.ID, newer, max(least, 1))
	case verified == 0:
		return stale("Artifact %s is the only verified one of its kind", a.ID)
	}
	return nil
}

func (t *tx) brief(id string) (state.ArtifactBrief, error) {
	var a state.ArtifactBrief
	found := false
	err := t.All(`SELECT `+briefColumns+` FROM artifact WHERE id = ?`, []any{id}, func(row database.Row) (err error) {
		a, err = scanBrief(row)
		found = true
		return err
	})
	if err == nil && !found {
		err = state.ErrNotFound
	}
	return a, err
}

// peers counts the other good artifacts of the same group up to a time: those that are newer, and those that were verified.
func (t *tx) peers(a state.ArtifactBrief, limit time.Time) (newer, verified int, err error) {
	_, err = t.Row(`SELECT count(CASE WHEN started_at > ? OR started_at = ? AND id > ? THEN 1 END), count(CASE WHEN verified_at > 0 THEN 1 END)
		FROM artifact INDEXED BY artifact_kept
		WHERE backup_plan = ? AND store = ? AND device = ? AND domain = ? AND action = ? AND variant = ? AND started_at <= ?
		AND state <> 'deleted' AND state = 'good' AND id <> ?`,
		[]any{micros(a.Started), micros(a.Started), a.ID, a.BackupPlan, a.Store, a.Device, a.Domain, a.Action, a.Variant, micros(limit), a.ID},
		&newer, &verified)
	return newer, verified, err
}

// deleted ends a deletion that was begun.
func (t *tx) deleted(id string) error {
	n, err := t.Exec(`UPDATE artifact SET state = 'deleted' WHERE id = ? AND state IN ('expiring', 'deleted')`, id)
	if err == nil && n == 0 {
		err = stale("The deletion of artifact %s was not begun", id)
	}
	return err
}

// Pin keeps an artifact from deletion, or no longer does.
func (s *Store) Pin(ctx context.Context, artifact string, pinned bool, actor, reason string, at time.Time) error {
	err := errors.New("it needs the time")
	if !at.IsZero() {
		err = s.write(ctx, func(t *tx) error { return t.pin(artifact, pinned, actor, reason, at) })
	}
	if err != nil {
		return fmt.Errorf("pin artifact %s: %w", artifact, err)
	}
	return nil
}

func (t *tx) pin(id string, pinned bool, actor, reason string, at time.Time) error {
	a, err := t.brief(id)
	switch {
	case err != nil:
		return err
	case a.State == state.ArtifactExpiring || a.State == state.ArtifactDeleted:
		return fmt.Errorf("it is %s: %w", a.State, state.ErrStale)
	case a.Pinned == pinned:
		return nil
	}
	if _, err := t.Exec(`UPDATE artifact SET pinned = ? WHERE id = ?`, pinned, id); err != nil {
		return err
	}
	action := "unpin"
	if pinned {
		action = "pin"
	}
	return t.log(at, actor, action, id, map[string]any{"reason": reason})
}
