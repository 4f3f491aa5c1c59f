package archive

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/holdfast-dr/holdfast/providers/attribute"
	"github.com/holdfast-dr/holdfast/providers/opened"
)

const (
	batchItems = 32
	batchBytes = 1 << 20 // a batch with this much is written before it goes on
	smallFile  = 1 << 20 // up to this size a file is read into memory, so that it can be read again when it changed
	attempts   = 3
)

// batch is a run of items and, once a reader was at it, their part of the archive and the listing.
type batch struct {
	items    []item
	next     int    // the first item that is not done
	archive  []byte // of the items done since it was last written
	listing  []byte
	warnings []string
	dropped  []dropped
	lost     []error // what cannot be read, of trees that skip nothing
	count    counts
	err      error
	ready    chan struct{} // capacity 1
}

// dropped is an extended attribute that was not captured.
type dropped struct{ kind, path string }

// counts is what was captured. Bytes are those of the files, data what of them is no hole.
type counts struct{ files, bytes, data, dirs, links, others, skipped int64 }

func (c *counts) add(o counts) {
	c.files += o.files
	c.bytes += o.bytes
	c.data += o.data
	c.skipped += o.skipped
	c.dirs += o.dirs
	c.links += o.links
	c.others += o.others
}

// reader turns items into archive and listing. Several run ahead of the
// writer, which has one of its own for what must happen in order: files with
// several names and files too large for memory. Only that one has out and links.
type reader struct {
	own   opened.Own
	lost  *atomic.Bool // nothing is written any more, what cannot be read is looked for
	out   io.Writer
	links map[opened.Inode]first // of entries with several names

	names   attribute.Names
	tar     tarWriter
	e       entry
	data    []byte
	attrs   []byte
	noatime bool
}

func newReader(own opened.Own, lost *atomic.Bool) *reader {
	return &reader{own: own, lost: lost, names: attribute.NewNames(), data: make([]byte, smallFile+1), attrs: make([]byte, attribute.MaxXattr), noatime: true}
}

// first is the first name of an entry with several, and what stat told when it was captured. A number of an inode that was freed is soon
// another file's: it is the same only when nothing about it changed.
type first struct {
	path string
	stat unix.Stat_t
}

// fill goes on with a batch until it is done, large enough, or at an item for the writer.
func (r *reader) fill(ctx context.Context, b *batch) {
	b.archive, b.listing = b.archive[:0], b.listing[:0]
	for b.next < len(b.items) && len(b.archive) < batchBytes {
		if b.err = ctx.Err(); b.err != nil {
			return
		}
		it := &b.items[b.next]
		var done bool
		if done, b.err = r.item(ctx, b, it); b.err != nil {
			b.err = r.cannotRead(b, it, b.err)
			done = true
		}
		if b.err != nil || !done {
			return
		}
		it.dir.release()
		b.next++
	}
}

// cannotRead goes on without what cannot be read, or passes on any other error.
func (r *reader) cannotRead(b *batch, it *item, err error) error {
	var known *unreadable
	if !errors.As(err, &known) {
		return err
	}
	if !it.dir.tree.Skip {
		b.lost = append(b.lost, known.err)
		r.lost.Store(true)
		return nil
	}
	b.count.skipped++
	it.dir.tree.skipped.Add(1)
	b.warnings = append(b.warnings, "left out, it cannot be read: "+known.Error())
	if r.e.path = it.dir.join(it.name); !r.e.incomplete {
		r.e.kind, r.e.note = kindSkipped, "cannot be read: "+known.Error()
		b.listing = r.e.appendLine(b.listing)
	}
	return nil
}

// item captures one item. It reports false for one that only the writer can do.
func (r *reader) item(ctx context.Context, b *batch, it *item) (bool, error) {
	r.e.incomplete = false
	if it.lost != nil {
		return true, it.lost
	}
	if it.name == "" {
		return true, r.directory(b, it)
	}
	e, d := &r.e, it.dir
	e.path = d.join(it.name)
	for try := 1; try <= attempts; try++ {
		var st unix.Stat_t
		switch err := unix.Fstatat(d.fd, it.name, &st, unix.AT_SYMLINK_NOFOLLOW); err {
		case nil:
		case unix.ENOENT:
			b.warn("vanished before it was read", it)
			return true, nil
		default:
			return true, d.fail("stat", it.name, err)
		}
		e.fromStat(&st)
		if r.own.Has(d.id, it.name, &st) {
			e.kind, e.note = kindSkipped, "an open file of holdfast itself"
			b.listing = e.appendLine(b.listing)
			return true, nil
		}
		if (e.linked && e.kind != kindSocket || e.size > smallFile) && r.out == nil {
			return false, nil
		}
		r.owner()
		if done, err := r.attempt(ctx, b, it, &st, try == attempts); done || err != nil {
			return true, err
		}
	}
	b.warn("left out, it was something else each time it was read", it)
	return true, nil
}

// attempt captures the item as what st says it is. It reports false when it is
// worth another look: it became something else, or changed while it was read and this is not the last try.
func (r *reader) attempt(ctx context.Context, b *batch, it *item, st *unix.Stat_t, last bool) (bool, error) {
	e := &r.e
	if first, known := r.links[opened.InodeOf(st)]; known && unchanged(&first.stat, st) {
		count := e.counter(&b.count)
		e.kind, e.target, e.size, e.sparse = kindHardlink, first.path, 0, false
		r.add(b, it, count)
		return true, nil
	}
	switch e.kind {
	case kindFile:
		return r.file(ctx, b, it, st, last)
	case kindSymlink:
		var buf [unix.PathMax]byte
		n, err := unix.Readlinkat(it.dir.fd, it.name, buf[:])
		if err == unix.EINVAL || err == unix.ENOENT {
			return false, nil
		}
		if err != nil {
			return true, it.dir.fail("readlink", it.name, err)
		}
		e.target = string(buf[:n])
		r.special(b, it)
	case kindSocket:
		b.warn("left out, a socket", it)
		b.listing = e.appendLine(b.listing)
	case kindDir:
		b.warn("left out, it became a directory while its parent was read", it)
	default:
		r.special(b, it)
	}
	return true, nil
}

// special adds an entry that is never opened.
func (r *reader) special(b *batch, it *item) {
	r.xattrs(b, it, attribute.Named(it.dir.fd, it.name))
	r.add(b, it, r.e.counter(&b.count))
	r.finish(b)
}

// counter is where entries of the kind are counted.
func (e *entry) counter(c *counts) *int64 {
	switch e.kind {
	case kindFile:
		return &c.files
	case kindSymlink:
		return &c.links
	}
	return &c.others
}

// add appends header and line of the entry.
func (r *reader) add(b *batch, it *item, count *int64) {
	b.archive = r.tar.header(b.archive, &r.e)
	b.listing = r.e.appendLine(b.listing)
	*count++
	if it.name != "" {
		it.dir.tree.entries.Add(1)
	}
}

func (r *reader) directory(b *batch, it *item) error {
	e := &r.e
	var st unix.Stat_t
	if err := unix.Fstat(it.dir.fd, &st); err != nil {
		return it.dir.fail("stat", "", err)
	}
	e.path = it.dir.join("")
	e.fromStat(&st)
	r.owner()
	r.opened(b, it, it.dir.fd)
	e.note = it.note
	if it.note != "" && !it.dir.tree.OneFilesystem {
		b.warn(it.note, it)
	}
	r.add(b, it, &b.count.dirs)
	return nil
}

// file captures a regular file.
func (r *reader) file(ctx context.Context, b *batch, it *item, st *unix.Stat_t, last bool) (bool, error) {
	e, d := &r.e, it.dir
	release, err := opened.Read(ctx, opened.Inode{Dev: st.Dev, Ino: st.Ino})
	if err != nil {
		return true, err
	}
	defer release()
	fd, err := r.open(d, it.name)
	switch err {
	case nil:
		defer unix.Close(fd)
	case unix.ENOENT, unix.ELOOP, unix.ENXIO:
		return false, nil
	default:
		return true, d.fail("open", it.name, err)
	}
	if r.lost.Load() {
		return true, nil
	}
	if e.size > smallFile {
		return r.large(ctx, b, it, fd)
	}

	if e.sparse {
		e.data = segments(fd, e.size)
	}
	n, err := readFull(fd, r.data[:e.size+1])
	var after unix.Stat_t
	if err == nil {
		err = unix.Fstat(fd, &after)
	}
	if err != nil {
		return true, d.fail("read", it.name, err)
	}
	if !unchanged(st, &after) || int64(n) != after.Size {
		if !last || after.Mode&unix.S_IFMT != unix.S_IFREG {
			return false, nil
		}
		n = min(n, int(e.size))
		e.fromStat(&after)
		r.owner()
		r.changed(b, it)
	}
	r.opened(b, it, fd)
	e.size = int64(n)
	content := r.data[:n]
	if e.data != nil {
		content = withoutHoles(content, e.data)
	}
	e.sum = sha256.Sum256(content)
	r.add(b, it, &b.count.files)
	b.archive = append(b.archive, content...)
	b.archive = pad(b.archive, int64(len(content)))
	r.finish(b)
	return true, nil
}

// withoutHoles gives the map and the data of a file.
func withoutHoles(content []byte, data []segment) []byte {
	b := sparseMap(data)
	for _, s := range data {
		b = append(b, content[s.at:s.at+s.size]...)
	}
	return b
}

// large streams a file that does not fit into memory. Its size is already in
// the archive when its content is read: what grew is cut there, and what shrank is filled
// with zeros. Both are told as a change.
func (r *reader) large(ctx context.Context, b *batch, it *item, fd int) (bool, error) {
	e, d := &r.e, it.dir
	var before, after unix.Stat_t
	if err := unix.Fstat(fd, &before); err != nil {
		return true, d.fail("stat", it.name, err)
	}
	if before.Mode&unix.S_IFMT != unix.S_IFREG {
		return false, nil
	}
	e.fromStat(&before)
	r.owner()
	r.opened(b, it, fd)
	if e.sparse {
		e.data = segments(fd, e.size)
	}
	b.archive = r.tar.header(b.archive, e)
	if _, err := r.out.Write(b.archive); err != nil {
		return true, err
	}
	b.archive = b.archive[:0]

	sum := sha256.New()
	short, lost, err := r.content(ctx, it, fd, io.MultiWriter(sum, r.out))
	if err != nil {
		return true, err
	}
	if err := unix.Fstat(fd, &after); err != nil {
		return true, d.fail("stat", it.name, err)
	}
	if lost != nil {
		e.incomplete, e.note = true, "cannot be read to its end: "+lost.Error()
	} else if short || !unchanged(&before, &after) {
		r.changed(b, it)
	}
	sum.Sum(e.sum[:0])
	b.archive = pad(b.archive, e.stored())
	b.listing = e.appendLine(b.listing)
	if lost != nil {
		return true, lost
	}
	b.count.files++
	d.tree.entries.Add(1)
	r.finish(b)
	return true, nil
}

// content writes the content of a file, or its map and its data, and reports whether there was less of it than expected, and why the rest
// could not be read. What is missing is zeros in the archive.
func (r *reader) content(ctx context.Context, it *item, fd int, out io.Writer) (short bool, lost, err error) {
	data := []segment{{0, r.e.size}}
	if r.e.data != nil {
		data = r.e.data
		if _, err := out.Write(sparseMap(data)); err != nil {
			return false, nil, err
		}
	}
	for _, s := range data {
		for at, end := s.at, s.at+s.size; at < end; {
			if err := ctx.Err(); err != nil {
				return short, lost, err
			}
			chunk, n := r.data[:min(end-at, smallFile)], 0
			if lost == nil {
				if n, err = preadFull(fd, chunk, at); err != nil {
					lost = it.dir.fail("read", it.name, err)
				}
			}
			short = short || n < len(chunk)
			clear(chunk[n:])
			if _, err := out.Write(chunk); err != nil {
				return short, lost, err
			}
			at += int64(len(chunk))
		}
	}
	return short, lost, nil
}

func (r *reader) finish(b *batch) {
	b.count.bytes += r.e.size
	b.count.data += r.e.dataSize()
	if r.e.linked && r.links != nil {
		r.links[opened.InodeOf(&r.e.stat)] = first{r.e.path, r.e.stat}
	}
}

// owner names the owner.
func (r *reader) owner() { r.e.user, r.e.group = r.names.User(r.e.uid), r.names.Group(r.e.gid) }

func (r *reader) changed(b *batch, it *item) {
	r.e.note = "changed while it was read"
	b.warn(r.e.note, it)
}

func (b *batch) warn(what string, it *item) {
	b.warnings = append(b.warnings, what+": "+it.dir.onDisk(it.name))
}

// opened reads what an open file or directory carries.
func (r *reader) opened(b *batch, it *item, fd int) {
	r.e.flags = attribute.FlagsOf(fd)
	r.xattrs(b, it, attribute.Opened(fd))
}

// maxXattrs bounds all of one entry's attributes, so that readers of the archive take its PAX header.
const maxXattrs = 512 << 10

func (r *reader) xattrs(b *batch, it *item, at attribute.Entry) {
	found, lost := attribute.Xattrs(at, r.attrs, r.e.xattrs[:0])
	total, kept := 0, found[:0]
	for _, x := range found {
		if total += len(x.Value); total > maxXattrs || strings.Contains(x.Name, "=") { // a PAX key ends at the first =
			total -= len(x.Value)
			lost = append(lost, x.Name)
			continue
		}
		kept = append(kept, x)
	}
	r.e.xattrs = kept
	r.e.listUsers, r.e.listGroups = r.names.Listed(r.e.xattrs)
	for _, name := range lost {
		b.dropped = append(b.dropped, dropped{attribute.Kind(name), it.dir.onDisk(it.name)})
	}
}

// open opens a regular file without following a link, without waiting for a
// fifo, and without touching the access time where that is allowed.
func (r *reader) open(d *dir, name string) (int, error) {
	const flags = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC
	if r.noatime {
		fd, err := openRetry(d.fd, name, flags|unix.O_NOATIME)
		if err != unix.EPERM {
			return fd, err
		}
		r.noatime = false
	}
	return openRetry(d.fd, name, flags)
}

func openRetry(dirfd int, name string, flags int) (int, error) {
	for {
		fd, err := unix.Openat(dirfd, name, flags, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// readFull reads until b is full or the file ends. When only the last byte of
// b is missing, as for a file of the expected size, it does not ask again.
func readFull(fd int, b []byte) (int, error) {
	n := 0
	for n < len(b) {
		got, err := unix.Read(fd, b[n:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return n, err
		}
		n += got
		if got == 0 || n == len(b)-1 {
			break
		}
	}
	return n, nil
}

func preadFull(fd int, b []byte, at int64) (n int, err error) {
	for n < len(b) {
		got, err := unix.Pread(fd, b[n:], at+int64(n))
		if err == unix.EINTR {
			continue
		}
		if err != nil || got == 0 {
			return n, err
		}
		n += got
	}
	return n, nil
}

// unchanged compares what tells a change. The change time (ctime) cannot be set back by programs.
func unchanged(a, b *unix.Stat_t) bool {
	return opened.InodeOf(a) == opened.InodeOf(b) && a.Mode == b.Mode && a.Size == b.Size && a.Mtim == b.Mtim && a.Ctim == b.Ctim
}
