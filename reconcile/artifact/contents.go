package artifact

import (
	"context"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/state"
)

// Contents lists what is inside an artifact, as the type of its device tells, or with raw the files as they were captured. Of what a store
// holds only what the list needs is read, which is checked on the way.
func Contents(ctx context.Context, opener *providers.Opener, a state.Artifact, raw bool) providers.Contents {
	return func(yield func(providers.Entry, error) bool) {
		m, err := Manifest(a)
		if err != nil {
			yield(providers.Entry{}, err)
			return
		}
		if raw {
			providers.FilesOf(&source{manifest: m})(yield)
			return
		}
		store, err := opener.Store(ctx, a.Store)
		if err != nil {
			yield(providers.Entry{}, err)
			return
		}
		defer store.Close() // it was only read
		opener.Contents(ctx, a.Device, providers.Action(a.Action), &source{store: store, manifest: m})(yield)
	}
}
