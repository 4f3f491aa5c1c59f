package sqlite

import (
	"context"
	"errors"
	"fmt"

	"github.com/holdfast-dr/holdfast/config/glob"
	"github.com/holdfast-dr/holdfast/providers"
)

// parts are the databases of an artifact.
var parts = &providers.Parts{
	Refuse: func(_ any, _ providers.Action, intoDevice bool) error {
		if intoDevice {
			return fmt.Errorf("a database is put back whole: %w", errors.ErrUnsupported)
		}
		return nil
	},
	Contents: func(ctx context.Context, _ any, action providers.Action, src providers.Source) providers.Contents {
		return func(yield func(providers.Entry, error) bool) {
			want, err := readFacts(ctx, src)
			if err != nil {
				yield(providers.Entry{}, err)
				return
			}
			for _, f := range src.Files() {
				if f.Name == factsName {
					continue
				}
				name, err := databaseName(f.Name, action, want)
				if !yield(providers.Entry{Path: name, Kind: "file", Size: -1}, err) || err != nil {
					return
				}
			}
		}
	},
}

// choose gives the names of the databases that are put back.
func choose(req providers.RestoreRequest, src providers.Source, want facts) (map[string]bool, error) {
	patterns, err := glob.Compile(req.Include)
	if err != nil {
		return nil, err
	}
	chosen := map[string]bool{}
	for _, f := range src.Files() {
		name, err := databaseName(f.Name, req.Action, want)
		if f.Name != factsName && err == nil && (patterns.Empty() || patterns.Match(name, false)) {
			chosen[name] = true
		}
	}
	if len(chosen) == 0 && !patterns.Empty() {
		return nil, fmt.Errorf("no database of the artifact matches %q: %w", req.Include, providers.ErrNotFound)
	}
	return chosen, nil
}
