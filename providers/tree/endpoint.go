package tree

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/holdfast-dr/holdfast/providers"
)

// pathOf reads "file:///abs/path". Whatever a file URL could mean beyond one
// local absolute path is refused, so that a path is never read in two ways.
func pathOf(endpoint string) (string, error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		var e *url.Error
		if errors.As(err, &e) {
			err = e.Err
		}
		return "", fmt.Errorf("endpoint %q: %w", endpoint, err)
	}
	problem := ""
	switch {
	case u.Scheme != "file" || u.Opaque != "":
		problem = "must have the form file:///absolute/path"
	case u.Host != "" || u.User != nil:
		problem = "must not name a host; a local path has three slashes: file:///path"
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.Contains(endpoint, "#"):
		problem = "has a ? or # in it; write %3F or %23 when it belongs to the path"
	case !strings.HasPrefix(u.Path, "/"):
		problem = "must have an absolute path"
	case slices.Contains(strings.Split(u.Path, "/"), ".."):
		problem = "must not contain \"..\""
	case strings.ContainsRune(u.Path, 0):
		problem = "contains a NUL byte"
	}
	if problem != "" {
		return "", fmt.Errorf("endpoint %q %s", endpoint, problem)
	}
	return filepath.Clean(u.Path), nil
}

// sides are the two open roots of one request.
type sides struct {
	src, dst         dir // dst has no descriptor while the target does not exist
	srcPath, dstPath string
	srcInfo, dstInfo info
}

// openSides opens both roots. A target that does not exist stays unopened.
func openSides(req providers.MirrorRequest) (_ *sides, err error) {
	s := &sides{src: none, dst: none}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.srcPath, err = pathOf(req.Source); err != nil {
		return nil, err
	}
	if s.dstPath, err = pathOf(req.Target); err != nil {
		return nil, err
	}
	if s.src, err = openRoot(s.srcPath); err != nil {
		return nil, notThere("source", s.srcPath, err)
	}
	if err := s.apart(); err != nil {
		return nil, err
	}
	if s.dst, err = openRoot(s.dstPath); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, notThere("target", s.dstPath, err)
	}
	return s, s.look()
}

// look reads what the roots are.
func (s *sides) look() (err error) {
	if s.srcInfo, err = s.src.stat(); err != nil {
		return notThere("source", s.srcPath, err)
	}
	if !s.dst.exists() {
		return nil
	}
	if s.dstInfo, err = s.dst.stat(); err != nil {
		return notThere("target", s.dstPath, err)
	}
	return nil
}

// create makes the target directory, but never its parent.
func (s *sides) create() (err error) {
	if s.dst.exists() {
		return nil
	}
	if err := unix.Mkdir(s.dstPath, 0o700); err != nil {
		return &providers.Error{Op: "create target", Target: s.dstPath, Err: err, Hint: "Check that the directory above it exists and is mounted."}
	}
	if s.dst, err = openRoot(s.dstPath); err != nil {
		return notThere("target", s.dstPath, err)
	}
	return nil
}

// lock keeps other passes out of the target. Not every file system can lock a
// directory; the caller's own lease is the main guard.
func (s *sides) lock() error {
	if err := unix.Flock(s.dst.fd, unix.LOCK_EX|unix.LOCK_NB); err == unix.EWOULDBLOCK {
		return &providers.Error{Op: "lock target", Target: s.dstPath, Err: errors.New("another pass is running"), Retry: true}
	}
	return nil
}

func notThere(side, path string, err error) error {
	kind := providers.ErrUnavailable
	if errors.Is(err, fs.ErrNotExist) {
		kind = providers.ErrNotFound
	}
	return &providers.Error{
		Op: "open " + side, Target: path, Err: fmt.Errorf("%w: %w", kind, err), Retry: true,
		Hint: "Check that the directory exists, is mounted and may be read by holdfast.",
	}
}

func (s *sides) close() {
	s.src.close()
	if s.dst.exists() {
		// A program that another task is just starting holds a copy of the descriptor until it runs, and with it
		// the lock; a lock that was given back is free at once.
		_ = unix.Flock(s.dst.fd, unix.LOCK_UN)
	}
	s.dst.close()
}

// apart refuses roots of which one is, or contains, the other, under whatever names.
func (s *sides) apart() error {
	src, err := ancestors(s.srcPath)
	if err != nil {
		return notThere("source", s.srcPath, err)
	}
	dst, err := ancestors(s.dstPath)
	if err != nil {
		return notThere("target", s.dstPath, err)
	}
	overlap := ""
	switch {
	case dst[0] == src[0] && dst[0] != (id{}):
		overlap = "is the source itself"
	case slices.Contains(dst, src[0]):
		overlap = "is inside the source"
	case slices.Contains(src, dst[0]):
		overlap = "contains the source"
	default:
		return nil
	}
	return &providers.Error{
		Op: "open target", Target: s.dstPath, Err: fmt.Errorf("%w: it %s %s", providers.ErrNested, overlap, s.srcPath),
		Hint: "Choose two directories that do not contain each other.",
	}
}

// ancestors identifies a directory and all above it. Of one that does not exist the first is zero.
func ancestors(path string) ([]id, error) {
	var all []id
	real, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		all = append(all, id{})
		real, err = filepath.EvalSymlinks(filepath.Dir(path))
	}
	if err != nil {
		return nil, err
	}
	for {
		var st unix.Stat_t
		if err := unix.Stat(real, &st); err != nil {
			return nil, &fs.PathError{Op: "stat", Path: real, Err: err}
		}
		all = append(all, id{st.Dev, st.Ino})
		if real == filepath.Dir(real) {
			return all, nil
		}
		real = filepath.Dir(real)
	}
}

// unchanged checks that the paths still lead to the roots that were opened: a
// directory unmounted or replaced in mid-pass is no copy of anything.
func (s *sides) unchanged() error {
	for _, side := range []struct {
		name, path string
		opened     info
	}{{"source", s.srcPath, s.srcInfo}, {"target", s.dstPath, s.dstInfo}} {
		var st unix.Stat_t
		if err := unix.Stat(side.path, &st); err != nil {
			return notThere(side.name, side.path, err)
		}
		if (id{st.Dev, st.Ino}) != side.opened.id {
			return &providers.Error{
				Op: "check " + side.name, Target: side.path, Err: fmt.Errorf("%w: another directory took its place during the pass", providers.ErrIdentity),
				Hint: "Check what is mounted there, then run the mirror again.",
			}
		}
	}
	return nil
}
