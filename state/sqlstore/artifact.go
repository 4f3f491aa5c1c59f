package sqlstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/holdfast-dr/holdfast/state"
)

const putArtifact = `INSERT INTO artifact (` + artifactColumns + `) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)
	ON CONFLICT (id) DO UPDATE SET store = excluded.store, backup_plan = excluded.backup_plan, run = excluded.run, task = excluded.task,
	device = excluded.device, domain = excluded.domain, action = excluded.action, variant = excluded.variant, files = excluded.files,
	bytes = excluded.bytes, manifest = excluded.manifest, state = excluded.state, started_at = excluded.started_at,
	verified_at = excluded.verified_at, error = excluded.error, quarantined_at = excluded.quarantined_at`

// putIfGood leaves alone what a check, a person or a deletion decided since the artifact was made.
const putIfGood = putArtifact + ` WHERE artifact.state = 'good'`

func (t *tx) putArtifact(a state.Artifact, how string) error {
	_, err := t.Exec(how, a.ID, a.Store, a.BackupPlan, a.Run, a.Task, a.Device, a.Domain, a.Action, a.Variant, a.Files, a.Bytes,
		text(a.Manifest), a.State, micros(a.Started), micros(a.Verified), a.Error, micros(a.Quarantined))
	return err
}

// PutArtifact writes a whole record. One whose deletion has begun is never good again: then it is state.ErrStale.
func (s *Store) PutArtifact(ctx context.Context, a state.Artifact) error {
	err := wantArtifact(a)
	if err == nil {
		err = s.write(ctx, func(t *tx) error {
			var cur state.ArtifactState
			if _, err := t.Row(`SELECT state FROM artifact WHERE id = ?`, []any{a.ID}, &cur); err != nil {
				return err
			}
			switch {
			case cur == state.ArtifactDeleted && a.State != cur:
				return fmt.Errorf("it was deleted: %w", state.ErrStale)
			case cur == state.ArtifactExpiring && a.State != cur && a.State != state.ArtifactDeleted:
				return fmt.Errorf("its deletion has begun: %w", state.ErrStale)
			}
			return t.putArtifact(a, putArtifact)
		})
	}
	if err != nil {
		return fmt.Errorf("put artifact %s: %w", a.ID, err)
	}
	return nil
}

func wantArtifact(a state.Artifact) error {
	if a.ID == "" {
		return errors.New("it needs an id")
	}
	return wantJSON("its manifest", a.Manifest)
}
