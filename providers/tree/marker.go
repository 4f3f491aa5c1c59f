package tree

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/holdfast-dr/holdfast/providers"
)

// marker is the identity one mirror leaves at the top of both of its sides. A
// directory may be the source of several mirrors, so each has a file of its own.
type marker struct {
	Mirror string `json:"mirror"`
	Side   string `json:"side"`   // sideSource or sideTarget, at the last pass
	Source string `json:"source"` // endpoints of the last pass
	Target string `json:"target"`
	Epoch  int64  `json:"epoch"`
	Paired bool   `json:"paired"` // the target's: the source carries a marker too
}

const (
	sideSource   = "source"
	sideTarget   = "target"
	markerPrefix = ownPrefix + "mirror."
	markerSuffix = ".json"
	begunSuffix  = ".begun"
	markerLimit  = 64 << 10
)

func markerName(mirror string) string {
	return markerPrefix + url.PathEscape(strings.TrimPrefix(mirror, "mirror.")) + markerSuffix
}

func isMarker(name string) bool {
	return strings.HasPrefix(name, markerPrefix) && strings.HasSuffix(name, markerSuffix)
}

// begunName is an empty file at the top of a target that is there from the first change of a pass until all of it is durable. It
// outlives the process, which is enough: what is there after a crash of the machine is on the disk.
func begunName(mirror string) string {
	return strings.TrimSuffix(markerName(mirror), markerSuffix) + begunSuffix
}

func isBegun(name string) bool {
	return strings.HasPrefix(name, markerPrefix) && strings.HasSuffix(name, begunSuffix)
}

func beginWriting(target dir, mirror string) error {
	fd, err := target.openat(begunName(mirror), unix.O_WRONLY|unix.O_CREAT|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return fmt.Errorf("note that a pass changes the target: %w", err)
	}
	return closed(fd)
}

func hasBegun(target dir, mirror string) (bool, error) {
	_, ok, err := target.lstat(begunName(mirror))
	return ok, err
}

func endWriting(target dir, mirror string) error {
	if err := unix.Unlinkat(target.fd, begunName(mirror), 0); err != nil && err != unix.ENOENT {
		return fmt.Errorf("note that the target is durable: %w", err)
	}
	return nil
}

// readMarker gives nil when there is none.
func readMarker(d dir, path, name string) (*marker, error) {
	fd, err := d.openat(name, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err == unix.ENOENT {
		return nil, nil
	}
	if err != nil {
		return nil, &providers.Error{Op: "read marker", Target: path + "/" + name, Err: err}
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, markerLimit))
	if err != nil {
		return nil, &providers.Error{Op: "read marker", Target: path + "/" + name, Err: err, Retry: true}
	}
	m := &marker{}
	if err := json.Unmarshal(b, m); err != nil || m.Mirror == "" {
		return nil, &providers.Error{
			Op: "read marker", Target: path + "/" + name, Err: fmt.Errorf("%w: the file is damaged", providers.ErrIdentity),
			Hint: "Copy the marker of the other side here, or remove both and start with an empty target.",
		}
	}
	return m, nil
}

func writeMarker(d dir, m marker) error {
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	temp := tempName()
	fd, err := d.openat(temp, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), temp)
	_, err = f.Write(append(b, '\n'))
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = unix.Renameat(d.fd, temp, d.fd, markerName(m.Mirror))
	}
	if err != nil {
		return errors.Join(err, unix.Unlinkat(d.fd, temp, 0))
	}
	return unix.Fsync(d.fd)
}

// identity is what the markers of both sides say.
type identity struct{ src, dst *marker }

func (i identity) first() bool { return i.dst == nil }

// identify refuses sides that are not this mirror's, in this direction. It changes nothing.
//
//	target's marker     source's marker     outcome
//	none                none                first pass, if the target is empty
//	none                this pair           refused: the target lost its marker, it is not mounted
//	                                        (a former target's that was not paired tells nothing)
//	another mirror's    any                 refused
//	paired              none                refused: the source lost its marker, it is not mounted
//	higher epoch        or higher epoch     stale
//	reversed            or reversed         only with a higher epoch than the marker's
func identify(s *sides, req providers.MirrorRequest) (identity, error) {
	var i identity
	var err error
	if i.src, err = readMarker(s.src, s.srcPath, markerName(req.Mirror)); err != nil {
		return i, err
	}
	if err := i.src.check(sideSource, s.srcPath, req); err != nil {
		return i, err
	}
	if !s.dst.exists() {
		return i, i.checkFirst(s, req)
	}
	if i.dst, err = readMarker(s.dst, s.dstPath, markerName(req.Mirror)); err != nil {
		return i, err
	}
	if err := i.dst.check(sideTarget, s.dstPath, req); err != nil {
		return i, err
	}
	if i.dst == nil {
		return i, i.checkFirst(s, req)
	}
	if i.src == nil && i.dst.Paired {
		return i, wrongIdentity(s.srcPath, "the source carried a marker of this mirror and has none now",
			"Check that it is mounted. If the source was rebuilt on purpose, copy "+markerName(req.Mirror)+" from the target to it.")
	}
	return i, noOtherMirror(s, req)
}

// checkFirst decides about a target without a marker of this mirror.
func (i identity) checkFirst(s *sides, req providers.MirrorRequest) error {
	if i.src != nil && i.src.pair(req) && (i.src.Side == sideSource || i.src.Paired) {
		return wrongIdentity(s.dstPath, "the target carried a marker of this mirror and has none now",
			"Check that it is mounted. If it was emptied on purpose, remove "+markerName(req.Mirror)+" from the source.")
	}
	if !s.dst.exists() {
		return nil
	}
	if err := noOtherMirror(s, req); err != nil {
		return err
	}
	names, err := listAgain(s.dst)
	if err != nil {
		return notThere("target", s.dstPath, err)
	}
	for _, name := range names {
		if skip, _ := own(name, true, true); !skip {
			return &providers.Error{
				Op: "check target", Target: s.dstPath, Err: fmt.Errorf("%w and never synced by %s", providers.ErrNotEmpty, req.Mirror),
				Hint: "Empty it or choose another directory; a pass would delete what the source does not have.",
			}
		}
	}
	return nil
}

// noOtherMirror refuses a directory that is the target of another mirror.
func noOtherMirror(s *sides, req providers.MirrorRequest) error {
	names, err := listAgain(s.dst)
	if err != nil {
		return notThere("target", s.dstPath, err)
	}
	for _, name := range names {
		if !isMarker(name) || name == markerName(req.Mirror) {
			continue
		}
		m, err := readMarker(s.dst, s.dstPath, name)
		if err != nil {
			return err
		}
		if m != nil && m.Side == sideTarget {
			return wrongIdentity(s.dstPath, fmt.Sprintf("it is the target of %s, a copy of %s", m.Mirror, m.Source),
				"Choose another directory. If that mirror is gone, remove "+name+" there.")
		}
	}
	return nil
}

func listAgain(d dir) ([]string, error) {
	again, err := d.again()
	if err != nil {
		return nil, err
	}
	defer again.close()
	return again.list()
}

// pair reports whether the marker is about these two endpoints, in any direction.
func (m *marker) pair(req providers.MirrorRequest) bool {
	return m.Source == req.Source && m.Target == req.Target || m.Source == req.Target && m.Target == req.Source
}

func (m *marker) check(side, path string, req providers.MirrorRequest) error {
	switch {
	case m == nil:
		return nil
	case m.Mirror != req.Mirror:
		return wrongIdentity(path, fmt.Sprintf("its marker belongs to %s", m.Mirror),
			"If the mirror was renamed, write its new name into "+markerName(req.Mirror)+" there.")
	case m.Epoch > req.Epoch:
		return &providers.Error{
			Op: "check " + side, Target: path, Err: fmt.Errorf("%w: %d, this pass has %d", providers.ErrStaleEpoch, m.Epoch, req.Epoch),
			Hint: "A failover took place that this state does not know; adopt it before any mirror runs.",
		}
	case !m.pair(req):
		// A source keeps its marker when the mirror gets another target: that one is checked by itself.
		if side == sideSource {
			return nil
		}
		return wrongIdentity(path, fmt.Sprintf("it is a copy of %s made as %s", m.Source, m.Target),
			"If the directories were only moved, correct source and target in "+markerName(req.Mirror)+" on both sides.")
	case m.Side != side && m.Epoch == req.Epoch:
		return wrongIdentity(path, fmt.Sprintf("it is the mirror's %s, and no failover reversed the direction", m.Side),
			"Swap source and target back. To reverse the mirror without a failover, remove "+markerName(req.Mirror)+" on both sides and empty the new target.")
	}
	return nil
}

func wrongIdentity(path, why, hint string) error {
	return &providers.Error{Op: "check", Target: path, Err: fmt.Errorf("%w: %s", providers.ErrIdentity, why), Hint: hint}
}

// mark writes what the markers should say. A source that cannot be written to
// goes without. The target comes first: a marker only at the source means that the target lost its own.
func (i identity) mark(s *sides, req providers.MirrorRequest) error {
	want := marker{Mirror: req.Mirror, Source: req.Source, Target: req.Target, Epoch: req.Epoch, Side: sideTarget}
	put := func(d dir, path string, has *marker, m marker) error {
		if has != nil && *has == m {
			return nil
		}
		if err := writeMarker(d, m); err != nil {
			return &providers.Error{Op: "write marker", Target: path, Err: err}
		}
		return nil
	}
	source := want
	source.Side = sideSource
	sourceDone := i.src != nil && *i.src == source
	want.Paired = sourceDone
	if err := put(s.dst, s.dstPath, i.dst, want); err != nil {
		return err
	}
	if sourceDone {
		return nil
	}
	err := put(s.src, s.srcPath, i.src, source)
	if errors.Is(err, unix.EROFS) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
		return nil
	}
	if err != nil {
		return err
	}
	want.Paired = true
	return put(s.dst, s.dstPath, nil, want)
}

// confirm checks at the end of a pass that the target still carries this mirror's marker.
func confirm(s *sides, req providers.MirrorRequest) error {
	m, err := readMarker(s.dst, s.dstPath, markerName(req.Mirror))
	if err != nil {
		return err
	}
	if m == nil {
		return wrongIdentity(s.dstPath, "its marker vanished during the pass", "Find out what else works in that directory.")
	}
	if err := m.check(sideTarget, s.dstPath, req); err != nil {
		return err
	}
	return s.unchanged()
}
