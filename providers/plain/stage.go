package plain

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/plain/disk"
	"github.com/holdfast-dr/holdfast/providers/plain/layout"
)

const (
	filesDir  = "files"       // of a staging area: the staged files
	readyDir  = "ready"       // of a staging area: a secure backup under its final names
	intentDoc = "commit.json" // of a staging area: where Commit is moving them
)

func stagingDir(id providers.ArtifactID) string { return path.Join(layout.TmpDir, string(id)) }
func stagedDir(id providers.ArtifactID) string  { return path.Join(layout.TmpDir, string(id), filesDir) }

// Stage gives an empty staging area, in which writing and reading was tried.
func (s *store) Stage(ctx context.Context, ref providers.ArtifactRef) (providers.Stage, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := layout.CheckRef(ref); err != nil {
		return nil, s.fault("stage", "", err)
	}
	root, err := s.root("stage", same)
	if err != nil {
		return nil, err
	}
	s.publishing.Lock()
	defer s.publishing.Unlock()
	if err := s.clear(ctx, root, ref.ID); err != nil {
		return nil, err
	}
	if err := s.step("stage: make directory"); err != nil {
		return nil, err
	}
	dir, err := disk.MakeSub(root, stagedDir(ref.ID))
	if err != nil {
		return nil, s.fault("stage", stagedDir(ref.ID), err)
	}
	defer dir.Close()
	if _, err := s.probe(dir, stagedDir(ref.ID)); err != nil {
		return nil, err
	}
	return &stage{store: s, root: root, id: ref.ID}, nil
}

// Discard removes a staging area, and with it what a broken off Commit had
// already moved out of it.
func (s *store) Discard(ctx context.Context, id providers.ArtifactID) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !layout.ValidID.MatchString(string(id)) {
		return s.fault("discard", "", fmt.Errorf("%q is not an artifact id", id))
	}
	root, err := s.root("discard", seen)
	if err != nil {
		return err
	}
	s.publishing.Lock()
	defer s.publishing.Unlock()
	return s.clear(ctx, root, id)
}

// clear finishes a Commit that came to its commit point, or removes what it moved out of the staging area; then the staging area goes.
func (s *store) clear(ctx context.Context, root *os.Root, id providers.ArtifactID) error {
	dir, err := disk.Sub(root, stagingDir(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return s.fault("discard", stagingDir(id), err)
	}
	defer dir.Close()
	if _, err := s.complete(ctx, root, dir, id); err != nil {
		return err
	}
	if err := s.retract(ctx, root, dir, id); err != nil {
		return err
	}
	return s.wipe(root, id)
}

// wipe removes a staging area. The intent goes before the staged files: a
// staged file that is missing beside it was moved, never deleted.
func (s *store) wipe(root *os.Root, id providers.ArtifactID) error {
	rel := stagingDir(id)
	tmp, err := disk.Sub(root, layout.TmpDir)
	if err != nil {
		return s.fault("discard", layout.TmpDir, err)
	}
	defer tmp.Close()
	dir, err := disk.Sub(tmp, string(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return s.fault("discard", rel, err)
	}
	defer dir.Close()
	if err := s.step("wipe: remove intent"); err != nil {
		return err
	}
	if err := errors.Join(disk.Remove(dir, intentDoc), disk.SyncDir(dir)); err != nil {
		return s.fault("discard", path.Join(rel, intentDoc), err)
	}
	if err := s.step("wipe: remove staging"); err != nil {
		return err
	}
	return s.fault("discard", rel, errors.Join(tmp.RemoveAll(string(id)), disk.SyncDir(tmp)))
}

// Staged opens a staged file. The page cache is told to forget it first, so
// that what is read comes from the medium where the kernel allows.
func (s *store) Staged(ctx context.Context, id providers.ArtifactID, name string) (io.ReadCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !layout.ValidID.MatchString(string(id)) {
		return nil, s.fault("read", "", fmt.Errorf("%q is not an artifact id", id))
	}
	root, err := s.root("read", seen)
	if err != nil {
		return nil, err
	}
	rel := path.Join(stagedDir(id), layout.StagedName(name))
	dir, err := disk.Sub(root, stagedDir(id))
	if err != nil {
		return nil, s.fault("read", rel, err)
	}
	defer dir.Close()
	f, _, err := disk.Open(dir, layout.StagedName(name))
	if err != nil {
		return nil, s.fault("read", rel, err)
	}
	disk.Forget(f)
	return &stagedReader{storedReader: storedReader{f, s, rel}}, nil
}

// stage takes the files of one artifact, one after another.
type stage struct {
	store *store
	root  *os.Root // of the store, as it was when Stage looked
	id    providers.ArtifactID
	files []providers.File
	open  *stagedFile

	written atomic.Int64
}

var _ providers.Stage = (*stage)(nil)

// Create starts a file. The one before must be closed.
func (g *stage) Create(name string) (io.WriteCloser, error) {
	s, rel := g.store, path.Join(stagedDir(g.id), layout.StagedName(name))
	if g.open != nil {
		return nil, s.fault("create", rel, fmt.Errorf("%q is still being written", g.open.file.Name))
	}
	if slices.ContainsFunc(g.files, func(f providers.File) bool { return f.Name == name }) {
		return nil, s.fault("create", rel, fs.ErrExist)
	}
	if err := s.step("stage: create"); err != nil {
		return nil, err
	}
	dir, err := disk.Sub(g.root, stagedDir(g.id))
	if err != nil {
		return nil, s.fault("create", rel, err)
	}
	w := &stagedFile{stage: g, file: s.stores(name), rel: rel, dir: dir, sum: sha256.New()}
	if err := w.checkSpace(); err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	if w.medium, err = dir.OpenFile(layout.StagedName(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
		return nil, errors.Join(s.fault("create", rel, err), dir.Close())
	}
	g.open = w
	if !w.file.Transformed() {
		return w, nil
	}
	e, err := newEncodedFile(w)
	if err != nil {
		w.err = s.fault("create", rel, err)
		return nil, w.Close()
	}
	return e, nil
}

// Written counts the bytes as stored.
func (g *stage) Written() int64 { return g.written.Load() }

// Files lists what was closed without error.
func (g *stage) Files() []providers.File { return slices.Clone(g.files) }

const (
	spaceEvery = 32 << 20 // bytes between looks at the free space
	flushEvery = 8 << 20  // bytes after which the kernel is asked to start writing
	hashAside  = 16 << 10 // bytes of a write from which hashing beside it pays
)

// stagedFile writes one file and hashes it on the way.
type stagedFile struct {
	stage   *stage
	file    providers.File // what is known of it
	rel     string
	dir     *os.Root
	medium  *os.File // nil once closed
	sum     hash.Hash
	size    int64
	flushed int64
	looked  int64
	err     error // the first one; nothing is written after it
}

// Write writes and hashes p at the same time.
func (w *stagedFile) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	if w.medium == nil {
		return 0, w.stage.store.fault("write", w.rel, fs.ErrClosed)
	}
	if w.size-w.looked >= spaceEvery {
		w.looked = w.size
		if w.err = w.checkSpace(); w.err != nil {
			return 0, w.err
		}
	}
	n, err := hashing(w.sum, w.medium, p)
	w.size += int64(n)
	w.stage.written.Add(int64(n))
	if err != nil {
		w.err = w.stage.store.fault("write", w.rel, err)
		return n, w.err
	}
	if w.size-w.flushed >= flushEvery {
		disk.FlushBehind(w.medium, w.flushed, w.size-w.flushed)
		w.flushed = w.size
	}
	return n, nil
}

// Close makes the file durable: its content, then its name. A failed sync is
// final: the kernel may forget the error and the data, so it is never tried again.
func (w *stagedFile) Close() error {
	if w.medium == nil {
		return w.stage.store.fault("close", w.rel, fs.ErrClosed)
	}
	err := w.err
	if err == nil {
		err = w.stage.store.step("stage: sync")
	}
	if err == nil {
		err = disk.Sync(w.medium)
	}
	err = errors.Join(err, w.medium.Close())
	if err == nil {
		err = disk.SyncDir(w.dir)
	}
	err = errors.Join(err, w.dir.Close())
	w.medium, w.stage.open = nil, nil
	if err != nil {
		return w.stage.store.fault("write", w.rel, err)
	}
	w.file.Size, w.file.SHA256 = w.size, hex.EncodeToString(w.sum.Sum(nil))
	w.stage.files = append(w.stage.files, w.file)
	return nil
}

// hashing writes and hashes p at the same time. After an error the hash means nothing.
func hashing(sum hash.Hash, to io.Writer, p []byte) (int, error) {
	if len(p) < hashAside {
		sum.Write(p)
		return to.Write(p)
	}
	var beside sync.WaitGroup
	beside.Go(func() { sum.Write(p) })
	defer beside.Wait()
	return to.Write(p)
}

func (w *stagedFile) checkSpace() error {
	s := w.stage.store
	if s.settings.FreeSpace == nil {
		return nil
	}
	dir, err := w.dir.Open(".")
	if err != nil {
		return s.fault("write", w.rel, err)
	}
	defer dir.Close()
	free, total, inodes, err := disk.Space(dir)
	if err != nil {
		return s.fault("write", w.rel, err)
	}
	short := func(what string, free, need int64) error {
		return &providers.Error{
			Op: "write", Target: path.Join(s.path, w.rel),
			Err:  fmt.Errorf("%w: %d %s are free and %d have to stay free", providers.ErrNoSpace, free, what, need),
			Hint: "Free space on the store, or lower its free_space limits.",
		}
	}
	if need := s.settings.FreeSpace.Bytes(total); free < need {
		return short("bytes", free, need)
	}
	if need := s.settings.FreeSpace.Inodes(); inodes >= 0 && inodes < need {
		return short("inodes", inodes, need)
	}
	return nil
}

// staged compares a staging area with the files a manifest lists. It reports
// which of them are still there; missing ones may have been moved by an earlier Commit.
func (s *store) staged(dir *os.Root, m providers.Manifest) (map[string]bool, error) {
	found, err := disk.Entries(dir)
	if err != nil {
		return nil, s.fault("commit", stagedDir(m.ID), err)
	}
	there := make(map[string]bool, len(found))
	for _, e := range found {
		there[e.Name()] = true
	}
	listed := make(map[string]bool, len(m.Files))
	for _, f := range m.Files {
		name := layout.StagedName(f.Name)
		listed[name] = true
		if !there[name] {
			continue
		}
		rel := path.Join(stagedDir(m.ID), name)
		info, err := disk.Lstat(dir, name)
		if err != nil {
			return nil, s.fault("commit", rel, err)
		}
		if info.Size() != f.Size {
			return nil, s.corrupt(rel, "%d bytes are staged and the manifest says %d", info.Size(), f.Size)
		}
	}
	var extra []string
	for name := range there {
		if !listed[name] {
			extra = append(extra, name)
		}
	}
	if len(extra) > 0 {
		slices.Sort(extra)
		return nil, s.fault("commit", stagedDir(m.ID), fmt.Errorf("staged but not in the manifest: %s", strings.Join(extra, ", ")))
	}
	return there, nil
}

// probe writes a file, makes it durable and reads it back, so that a place that cannot
// is found before a device is asked for anything. It gives the time by the store's file system.
func (s *store) probe(dir *os.Root, rel string) (now time.Time, err error) {
	const name = ".probe"
	if err := s.step("probe"); err != nil {
		return now, err
	}
	want := []byte(rel)
	if err := disk.WriteNew(dir, name, want); err != nil {
		return now, s.fault("write", path.Join(rel, name), err)
	}
	f, info, err := disk.Open(dir, name)
	if err != nil {
		return now, s.fault("read", path.Join(rel, name), err)
	}
	defer f.Close()
	disk.Forget(f)
	got := make([]byte, len(want)+1)
	n, err := io.ReadFull(f, got)
	switch {
	case !errors.Is(err, io.ErrUnexpectedEOF) && err != nil:
		return now, s.fault("read", path.Join(rel, name), err)
	case !bytes.Equal(got[:n], want):
		return now, s.corrupt(path.Join(rel, name), "what was just written reads back differently")
	}
	return info.ModTime(), s.fault("write", path.Join(rel, name), disk.Remove(dir, name))
}
