package source

import (
	"context"
	"errors"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/holdfast-dr/holdfast/config/source/remote"
)

// openRemote fetches one commit, without its history when the server can do that.
func openRemote(ctx context.Context, loc remote.Location, ref, dir string) (*Source, error) {
	name, id, db, err := fetchRef(ctx, loc, ref)
	if err != nil {
		return nil, remote.Explain(loc, err)
	}
	s, err := commitSource(db, loc.Shown, name, id, dir)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	s.ancestry = func(ctx context.Context, ancestor string) (Descent, error) {
		history, err := fetchHistory(ctx, loc, plumbing.NewHash(s.Info.Commit))
		if err != nil {
			return "", remote.Explain(loc, err)
		}
		d, err := history.descent(ctx, s.Info.Commit, ancestor)
		return d, errors.Join(err, history.db.Close())
	}
	return s, nil
}

func fetchRef(ctx context.Context, loc remote.Location, ref string) (name string, id objectID, db *database, err error) {
	ctx, cancel := context.WithTimeout(ctx, remote.Timeout)
	defer cancel()
	defer func() { err = late(ctx, err) }()
	c, err := remote.Dial(ctx, loc)
	if err != nil {
		return "", id, nil, err
	}
	defer c.Close()
	name, id, found, err := pick(c, ref)
	switch {
	case err != nil:
		return "", id, nil, err
	case (found || c.Gives(id)) && !id.IsZero():
		db, err = received(c.Commit(ctx, id, maxFileSize))
		return name, id, db, err
	case !isFullID(ref) && !isPartID(ref):
		return "", id, nil, unknownRef(c, ref)
	}
	// The server only gives what refs lead to: fetch it all and search.
	db, err = received(c.All(ctx, maxFileSize))
	if err != nil {
		return "", id, nil, err
	}
	if db == nil {
		return "", id, nil, unknownRef(c, ref)
	}
	if isFullID(ref) {
		if _, err = db.size(id); errors.Is(err, errMissing) {
			err = unknownRef(c, ref)
		}
	} else {
		id, err = byPrefix(db, c, ref)
	}
	if err != nil {
		return "", id, nil, errors.Join(err, db.Close())
	}
	return "", id, db, nil
}

// fetchHistory fetches a commit and everything before it.
func fetchHistory(ctx context.Context, loc remote.Location, id objectID) (*history, error) {
	h, _, err := fetchHistories(ctx, loc, func(*remote.Conn) (objectID, error) { return id, nil }, id)
	return h, err
}

// fetchFork fetches the history of a ref and that of a commit.
func fetchFork(ctx context.Context, loc remote.Location, ref string, commit objectID) (*history, objectID, error) {
	return fetchHistories(ctx, loc, func(c *remote.Conn) (objectID, error) {
		_, id, found, err := pick(c, ref)
		if err == nil && !found && isFullID(ref) {
			return id, nil
		}
		if err == nil && !found {
			err = unknownRef(c, ref)
		}
		return id, err
	}, commit)
}

func fetchHistories(
	ctx context.Context, loc remote.Location, find func(*remote.Conn) (objectID, error), commit objectID,
) (h *history, id objectID, err error) {
	ctx, cancel := context.WithTimeout(ctx, remote.Timeout)
	defer cancel()
	defer func() { err = late(ctx, err) }()
	c, err := remote.Dial(ctx, loc)
	if err != nil {
		return nil, id, err
	}
	defer c.Close()
	if id, err = find(c); err != nil {
		return nil, id, err
	}
	db, err := received(c.History(ctx, id, commit))
	if err != nil {
		return nil, id, err
	}
	return &history{db: db, shallow: c.Shallow()}, id, nil
}

// received makes a database of a pack, which may be nil.
func received(p *remote.Pack, err error) (*database, error) {
	if err != nil || p == nil {
		return nil, err
	}
	return &database{store: p, hint: " (the server did not send it; it may be larger than the limits)"}, nil
}

// late replaces the many errors an ended context leads to by the context's own.
func late(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
