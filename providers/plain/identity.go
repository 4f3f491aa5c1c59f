package plain

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/plain/chain"
	"github.com/holdfast-dr/holdfast/providers/plain/disk"
	"github.com/holdfast-dr/holdfast/providers/plain/layout"
)

const layoutVersion = 1

var errLayout = errors.New("a newer holdfast wrote it")

// marker is the content of .holdfast/store.json.
type marker struct {
	Identity string    `json:"identity"`
	Layout   int       `json:"layout"`
	Epoch    int64     `json:"epoch"`
	Created  time.Time `json:"created"`
	SHA256   string    `json:"sha256,omitempty"` // of the marker without it
}

// encodeMarker gives a marker as it is stored.
func encodeMarker(m marker) ([]byte, error) {
	m.SHA256 = ""
	bare, err := layout.Encode(m)
	if err != nil {
		return nil, err
	}
	m.SHA256 = chain.Sum(bare)
	return layout.Encode(m)
}

// intact reports whether these bytes are what was written for a marker. One without a hash is of an earlier version; with
// anything unknown in it, the hash is what was damaged.
func (m marker) intact(data []byte) bool {
	if m.SHA256 == "" {
		d := json.NewDecoder(bytes.NewReader(data))
		d.DisallowUnknownFields()
		return d.Decode(&m) == nil
	}
	want, err := encodeMarker(m)
	return err == nil && bytes.Equal(want, data)
}

// How closely root looks at the store before it hands out its handle.
type scrutiny int

const (
	seen   scrutiny = iota // the identity was checked once since Open
	same                   // and again now; a store that was mounted anew is followed
	strict                 // and the path still leads to the directory held
)

// changing are the calls that only the installation makes that has the store.
var changing = []string{"stage", "commit", "delete", "sweep"}

// root gives the handle on the store's directory, once it has proved to be the right store.
func (s *store) root(op string, look scrutiny) (*os.Root, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, &providers.Error{Op: op, Target: s.path, Err: fs.ErrClosed}
	}
	if s.held != nil && look == seen {
		return s.held, nil
	}
	now, err := openPath(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, s.stranger(op, "the directory does not exist")
	}
	if err != nil {
		return nil, s.fault(op, "", err)
	}
	if err := s.prove(op, now); err != nil {
		now.Close()
		return nil, err
	}
	if s.held == nil {
		s.held = now
		return now, nil
	}
	moved, err := differ(s.held, now)
	switch {
	case err != nil:
		now.Close()
		return nil, s.fault(op, "", err)
	case !moved:
		now.Close()
	case look == strict:
		now.Close()
		return nil, s.stranger(op, "the path leads to another directory than when the artifact was staged")
	default:
		s.held = now // others may still read through the old handle; the collector closes it
	}
	return s.held, nil
}

// openPath opens a directory by its path. It does not wait for what else may lie there.
func openPath(p string) (*os.Root, error) {
	info, err := os.Stat(p)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, &fs.PathError{Op: "open", Path: p, Err: errors.New("is not a directory")}
	}
	return os.OpenRoot(p)
}

func differ(a, b *os.Root) (bool, error) {
	infoA, err := a.Stat(".")
	if err != nil {
		return false, err
	}
	infoB, err := b.Stat(".")
	return err == nil && !os.SameFile(infoA, infoB), err
}

// prove checks that a directory is the store that was recorded, mounted as demanded.
func (s *store) prove(op string, dir *os.Root) error {
	if problem, err := s.mountProblem(dir); err != nil {
		return s.fault(op, "", err)
	} else if problem != "" {
		return s.stranger(op, problem)
	}
	m, err := s.readMarker(dir)
	if errors.Is(err, providers.ErrCorrupt) {
		return s.stranger(op, err.Error())
	}
	if err != nil {
		return err
	}
	if m == nil {
		return s.stranger(op, "it is not initialised or not mounted: there is no "+layout.MetaDir+"/"+layout.MarkerName)
	}
	if s.identity != "" && m.Identity != s.identity {
		return s.stranger(op, fmt.Sprintf("identity %q was recorded and %q is there", s.identity, m.Identity))
	}
	if m.Epoch < s.epoch {
		return &providers.Error{
			Op: op, Target: s.path,
			Err:  fmt.Errorf("%w: epoch %d was recorded and %d is there, so this is an older copy of the store, or the store was rolled back", providers.ErrIdentity, s.epoch, m.Epoch),
			Hint: fmt.Sprintf("Mount the right copy, or make this one the store: holdfast store init --adopt %s.", s.name),
		}
	}
	if s.epoch > 0 && m.Epoch > s.epoch && slices.Contains(changing, op) {
		return &providers.Error{
			Op: op, Target: s.path,
			Err:  fmt.Errorf("%w: epoch %d was recorded and %d is there, so another installation, or another state of this one, adopted the store", providers.ErrIdentity, s.epoch, m.Epoch),
			Hint: fmt.Sprintf("If that one is to let go of it, take it back: holdfast store init --adopt %s.", s.name),
		}
	}
	return nil
}

func (s *store) stranger(op, why string) error {
	hint := fmt.Sprintf("Check that the file system of store %q is mounted at %s.", s.name, s.path)
	return &providers.Error{Op: op, Target: s.path, Err: fmt.Errorf("%w: %s", providers.ErrIdentity, why), Hint: hint}
}

// mountProblem says what the settings demand of the mount and do not find.
func (s *store) mountProblem(dir *os.Root) (string, error) {
	if s.settings.Mount == nil {
		return "", nil
	}
	f, err := dir.Open(".")
	if err != nil {
		return "", err
	}
	defer f.Close()
	own, remote, err := disk.Mounted(f, s.path)
	switch {
	case err != nil:
		return "", err
	case s.settings.Mount.Required && !own:
		return "the path is not a mount point, and mount.required is set", nil
	case s.settings.Mount.Remote && !remote:
		return "the path is not on a network file system, and mount.remote is set", nil
	}
	return "", nil
}

// readMarker gives nil when there is none.
func (s *store) readMarker(dir *os.Root) (*marker, error) {
	rel := path.Join(layout.MetaDir, layout.MarkerName)
	meta, err := disk.Sub(dir, layout.MetaDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, s.fault("open", layout.MetaDir, err)
	}
	defer meta.Close()
	data, err := disk.Read(meta, layout.MarkerName, 1<<16)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, s.fault("read", rel, err)
	}
	var m marker
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, s.corrupt(rel, "%w", err)
	}
	if m.Layout > layoutVersion {
		return nil, s.corrupt(rel, "%w: layout version %d; this version of holdfast knows layout %d", errLayout, m.Layout, layoutVersion)
	}
	if m.Layout != layoutVersion || m.Identity == "" || m.Epoch < 0 {
		return nil, s.corrupt(rel, "layout version %d, identity %q, epoch %d", m.Layout, m.Identity, m.Epoch)
	}
	if !m.intact(data) {
		return nil, s.corrupt(rel, "it is not as it was written")
	}
	return &m, nil
}

// Stat reads identity and space. It looks at the path as it is now and changes nothing.
func (s *store) Stat(ctx context.Context) (providers.StoreInfo, error) {
	if err := ctx.Err(); err != nil {
		return providers.StoreInfo{}, err
	}
	info := providers.StoreInfo{FreeBytes: -1, TotalBytes: -1, FreeInodes: -1}
	dir, err := openPath(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		info.Empty = true
		parent, err := nearest(s.path)
		if err != nil {
			return info, s.fault("stat", "", err)
		}
		defer parent.Close()
		if s.demandsMount() {
			info.Unmounted = "the directory does not exist, so nothing is mounted there"
		}
		return info, s.fault("stat", "", s.space(&info, parent))
	}
	if err != nil {
		return info, s.fault("stat", "", err)
	}
	defer dir.Close()
	m, err := s.readMarker(dir)
	if err != nil {
		return info, err
	}
	if m != nil {
		info.Initialised, info.Identity, info.Epoch = true, m.Identity, m.Epoch
		if info.Heads, info.Last, err = s.ends(dir); err != nil {
			return info, err
		}
	} else if info.Empty, err = empty(dir); err != nil {
		return info, s.fault("stat", "", err)
	}
	f, err := dir.Open(".")
	if err != nil {
		return info, s.fault("stat", "", err)
	}
	defer f.Close()
	if info.Mounted, info.Remote, err = disk.Mounted(f, s.path); err != nil {
		return info, s.fault("stat", "", err)
	}
	if info.Unmounted, err = s.mountProblem(dir); err != nil {
		return info, s.fault("stat", "", err)
	}
	return info, s.fault("stat", "", s.space(&info, f))
}

// space fills in what is free on the file system of an open directory, and what has to stay free.
func (s *store) space(info *providers.StoreInfo, dir *os.File) (err error) {
	info.FreeBytes, info.TotalBytes, info.FreeInodes, err = disk.Space(dir)
	if err == nil {
		info.MinFreeBytes, info.MinFreeInodes = s.settings.FreeSpace.Bytes(info.TotalBytes), s.settings.FreeSpace.Inodes()
	}
	return err
}

// demandsMount reports whether something has to be mounted at the path.
func (s *store) demandsMount() bool {
	return s.settings.Mount != nil && (s.settings.Mount.Required || s.settings.Mount.Remote)
}

// ends gives the heads that can be read, and what the own one is of; Check tells of the others. Where the file system has no locks there are none: two
// processes may have written a head in either order, so that a shorter one would not mean that the store went back in time.
func (s *store) ends(dir *os.Root) (ends []providers.Head, last *providers.Event, err error) {
	at, err := disk.Sub(dir, headsDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, s.fault("read", headsDir, err)
	}
	defer at.Close()
	if !disk.Locks(at, headLock) {
		return nil, nil, nil
	}
	heads, _, err := s.heads(dir)
	if err != nil {
		return nil, nil, err
	}
	for _, h := range heads {
		if h.Writer == s.writer {
			id := artifactOf(h.Path)
			last = &providers.Event{
				Writer: h.Writer, Seq: h.Seq, Artifact: id, Named: layout.Named(id), Deleted: strings.HasSuffix(h.Path, "-"+layout.Deleted+".json"),
			}
		}
		ends = append(ends, providers.Head{Writer: h.Writer, Seq: h.Seq, SHA256: h.SHA256})
	}
	return ends, last, nil
}

// nearest opens the closest ancestor that is there.
func nearest(p string) (*os.File, error) {
	for {
		f, err := os.Open(p)
		if !errors.Is(err, fs.ErrNotExist) || p == filepath.Dir(p) {
			return f, err
		}
		p = filepath.Dir(p)
	}
}
