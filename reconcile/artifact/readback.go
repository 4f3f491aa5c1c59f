package artifact

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/state"
)

// ReadBack is Verify with what is to be recorded of it. The reading is nil when nothing can be said of the artifact: the store could not be
// reached, is not the recorded one, or the context ended. An error beside a reading is the damage; it condemns only the artifact, since the store
// proved to be the recorded one before and after. Fits says why the place of a store is not the recorded one: what an older copy does not have is
// not lost. It is asked only before an artifact is condemned.
func ReadBack(ctx context.Context, opener *providers.Opener, a state.Artifact, fits Fits, now func() time.Time, read func(int64)) (*state.Reading, error) {
	err := Verify(ctx, opener, a, read)
	switch {
	case err == nil:
		return &state.Reading{Artifact: a.ID, At: now()}, nil
	case ctx.Err() != nil || !damage(err):
		return nil, err
	}
	if lost := proved(ctx, opener, a, fits); lost != nil {
		return nil, fmt.Errorf("%w; nothing is said of the artifact, of which it was read before: %v", lost, err)
	}
	return &state.Reading{Artifact: a.ID, At: now(), Error: err.Error()}, err
}

// Fits compares what the place of a store carries with what is recorded of it.
type Fits func(ctx context.Context, store string, info providers.StoreInfo) error

// damage reports whether an error says that content is wrong or gone. Any other error, of a disk or of rights, may pass.
func damage(err error) bool {
	return errors.Is(err, providers.ErrCorrupt) || errors.Is(err, providers.ErrNotFound) || errors.Is(err, fs.ErrNotExist)
}

// proved opens the store anew. A store that was unmounted or emptied during a reading must not have its artifacts condemned one after another.
func proved(ctx context.Context, opener *providers.Opener, a state.Artifact, fits Fits) error {
	m, err := Manifest(a)
	if err != nil {
		return err
	}
	store, err := opener.Store(ctx, a.Store)
	if err != nil {
		return fmt.Errorf("open %s: %w", a.Store, err)
	}
	defer store.Close()
	info, err := store.Stat(ctx)
	if err != nil {
		return fmt.Errorf("inspect %s: %w", a.Store, err)
	}
	if err := fits(ctx, a.Store, info); err != nil {
		return err
	}
	if _, err := store.Get(ctx, m.ArtifactRef); err != nil && !damage(err) {
		return err
	}
	return nil
}
