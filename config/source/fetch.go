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
		d, err := descent(ctx, history, s.Info.Commit, ancestor, nil)
		return d, errors.Join(err, history.Close())
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
func fetchHistory(ctx context.Context, loc remote.Location, id objectID) (db *database, err error) {
	ctx, cancel := context.WithTimeout(ctx, remote.Timeout)
	defer cancel()
	defer func() { err = late(ctx, err) }()
	c, err := remote.Dial(ctx, loc)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return received(c.History(ctx, id))
}

// received makes a database of a pack, which may be nil.
func received(p *remote.Pack, err error) (*database, error) {
	if err != nil || p == nil {
		return nil, err
	}
	return &database{stores: []objectStore{p}, hint: " (the server did not send it; it may be larger than the limits)"}, nil
}

// late replaces the many errors an ended context leads to by the context's own.
func late(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
