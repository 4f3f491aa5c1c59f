// Package tree mirrors a local directory tree to another one.
//
// A pass walks both trees as one merge of sorted listings, so its memory does
// not grow with the number of files. A file counts as unchanged when type,
// size, modification time (to the nanosecond), mode and, for root, owner are the same, and when it was
// changed in another way since, content: a file can be put in another's place with its size and time.
// Files arrive under a temporary name and are renamed. Symbolic links are recreated and never
// followed on either side; so are fifos, sockets and, for root, device nodes; lost+found at the top is left out.
//
// What an entry carries comes along: owner by number, since both trees are of one machine, mode, extended attributes,
// access lists, flags, hard links. What the target does not take is told, one line a kind. A change of nothing else is
// noticed by the source's time of change (ctime), when that is not before the target's: with file systems that keep clocks of
// their own, one made shortly after a pass may be noticed with the next change of the entry. The
// tops of the trees are never made immutable or append-only.
//
// A copy never deletes: an entry in the way of one of another type is moved
// aside (.holdfast-old-*) and is removed, and counted, by the next prune. A copy
// that ends without error is durable: one syncfs per file system, no fsync per file.
//
// Each side carries a marker file at its top (.holdfast-mirror.NAME.json), so that a foreign,
// swapped or unmounted directory is refused before the first write, and a
// direction is reversed only by a failover with a higher epoch.
package tree

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/holdfast-dr/holdfast/config/glob"
	"github.com/holdfast-dr/holdfast/providers"
)

// MirrorType copies file:// to file://.
func MirrorType() providers.MirrorType {
	return providers.MirrorType{
		Source: "file",
		Target: "file",
		Doc:    "Copies a directory tree to another directory of this machine: a second disk, a mounted file server.",
		Open: func(_ context.Context, _ string, env providers.Env) (providers.Mirror, error) {
			return &mirror{protected: env.Protected}, nil
		},
	}
}

var _ providers.Mirror = (*mirror)(nil)

type mirror struct{ protected []string }

func (m *mirror) Close() error { return nil }

func workers() int { return 2 * runtime.GOMAXPROCS(0) }

func (m *mirror) Compare(ctx context.Context, req providers.MirrorRequest) (providers.MirrorDiff, error) {
	exclude, err := glob.Compile(req.Exclude)
	if err != nil {
		return providers.MirrorDiff{}, failed("compare", req, err)
	}
	s, err := openSides(req)
	if err != nil {
		return providers.MirrorDiff{}, err
	}
	defer s.close()
	seen, err := identify(s, req)
	if err != nil {
		return providers.MirrorDiff{}, err
	}
	diff, err := compare(ctx, s, exclude)
	if err != nil {
		return providers.MirrorDiff{}, failed("compare", req, err)
	}
	diff.First = seen.first()
	return diff, nil
}

func failed(op string, req providers.MirrorRequest, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s %s: %w", op, req.Mirror, err)
	}
	e := &providers.Error{Op: op, Target: req.Mirror, Err: err}
	switch {
	case errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT):
		e.Err = providers.NoSpace(err)
		e.Hint = "Make room at the target; what was copied stays and is not copied again."
	case errors.Is(err, providers.ErrNested):
		e.Hint = "It is mounted there: unmount it, or exclude that path."
	case errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM):
		e.Hint = "Give holdfast the right to these files, or exclude them."
	case errors.Is(err, providers.ErrChanged):
		e.Retry = true
	case errors.Is(err, unix.EIO) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESTALE):
		e.Retry = true
	}
	return e
}
