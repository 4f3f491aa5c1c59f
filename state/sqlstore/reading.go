package sqlstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/holdfast-dr/holdfast/state"
)

// PutReading writes what a reading outside a run found.
func (s *Store) PutReading(ctx context.Context, r state.Reading) (after state.ArtifactState, err error) {
	if err = wantReading(r); err == nil {
		err = s.write(ctx, func(t *tx) (err error) {
			after, err = t.putReading(r)
			return err
		})
	}
	if err != nil {
		return "", fmt.Errorf("record the reading of artifact %s: %w", r.Artifact, err)
	}
	return after, nil
}

func wantReading(r state.Reading) error {
	switch {
	case r.Artifact == "":
		return errors.New("a reading without artifact")
	case r.At.IsZero():
		return errors.New("a reading without time")
	}
	return nil
}

// putReading writes the outcome of a reading if the artifact is still good. It touches nothing but what a reading decides.
func (t *tx) putReading(r state.Reading) (state.ArtifactState, error) {
	a, err := t.brief(r.Artifact)
	if err != nil || a.State != state.ArtifactGood {
		return a.State, err
	}
	if r.Error != "" {
		_, err = t.Exec(`UPDATE artifact SET state = 'quarantined', error = ?, quarantined_at = ? WHERE id = ?`, r.Error, micros(r.At), r.Artifact)
		return state.ArtifactQuarantined, err
	}
	_, err = t.Exec(`UPDATE artifact SET verified_at = ? WHERE id = ? AND verified_at < ?`, micros(r.At), r.Artifact, micros(r.At))
	return a.State, err
}
