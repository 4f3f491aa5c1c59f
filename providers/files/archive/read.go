package archive

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"strings"

	"golang.org/x/sys/unix"

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
	count    counts
	err      error
	ready    chan struct{} // capacity 1
}

// counts is what was captured.
type counts struct{ files, bytes, dirs, links, others int64 }

func (c *counts) add(o counts) {
	c.files += o.files
	c.bytes += o.bytes
	c.dirs += o.dirs
	c.links += o.links
	c.others += o.others
}

// reader turns items into archive and listing. Several run ahead of the
// writer, which has one of its own for what must happen in order: files with
// several names and files too large for memory. Only that one has out and links.
type reader struct {
	own   opened.Own
	out   io.Writer
	links map[opened.Inode]string // the first path of files with several names

	names   ownerNames
	tar     tarWriter
	e       entry
	data    []byte
	attrs   []byte
	noatime bool
}

func newReader(own opened.Own) *reader {
	return &reader{own: own, names: newOwnerNames(), data: make([]byte, smallFile+1), attrs: make([]byte, maxXattr), noatime: true}
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
		if done, b.err = r.item(ctx, b, it); b.err != nil || !done {
			return
		}
		it.dir.release()
		b.next++
	}
}

// item captures one item. It reports false for one that only the writer can do.
func (r *reader) item(ctx context.Context, b *batch, it *item) (bool, error) {
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
		if e.kind == kindFile && (e.linked || e.size > smallFile) && r.out == nil {
			return false, nil
		}
		r.names.set(e)
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
	switch e.kind {
	case kindFile:
		if first, known := r.links[opened.Inode{Dev: e.dev, Ino: e.ino}]; known {
			e.kind, e.target, e.size, e.sparse = kindHardlink, first, 0, false
			r.add(b, it, &b.count.files)
			return true, nil
		}
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
		r.add(b, it, &b.count.links)
	case kindSocket:
		b.warn("left out, a socket", it)
		b.listing = e.appendLine(b.listing)
	case kindDir:
		b.warn("left out, it became a directory while its parent was read", it)
	default:
		r.add(b, it, &b.count.others)
	}
	return true, nil
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
	r.names.set(e)
	r.xattrs(b, it, it.dir.fd)
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
	if e.size > smallFile {
		return r.large(ctx, b, it, fd)
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
		r.names.set(e)
		r.changed(b, it)
	}
	r.xattrs(b, it, fd)
	e.size = int64(n)
	e.sum = sha256.Sum256(r.data[:n])
	r.add(b, it, &b.count.files)
	b.archive = append(b.archive, r.data[:n]...)
	b.archive = pad(b.archive, e.size)
	r.finish(b)
	return true, nil
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
	r.names.set(e)
	r.xattrs(b, it, fd)
	b.archive = r.tar.header(b.archive, e)
	if _, err := r.out.Write(b.archive); err != nil {
		return true, err
	}
	b.archive = b.archive[:0]

	sum, short := sha256.New(), false
	for left := e.size; left > 0; {
		if err := ctx.Err(); err != nil {
			return true, err
		}
		chunk := r.data[:min(left, smallFile)]
		n, err := readFull(fd, chunk)
		if err != nil {
			return true, d.fail("read", it.name, err)
		}
		if n < len(chunk) {
			short = true
			clear(chunk[n:])
		}
		sum.Write(chunk)
		if _, err := r.out.Write(chunk); err != nil {
			return true, err
		}
		left -= int64(len(chunk))
	}
	if err := unix.Fstat(fd, &after); err != nil {
		return true, d.fail("stat", it.name, err)
	}
	if short || !unchanged(&before, &after) {
		r.changed(b, it)
	}
	sum.Sum(e.sum[:0])
	b.archive = pad(b.archive, e.size)
	b.listing = e.appendLine(b.listing)
	b.count.files++
	d.tree.entries.Add(1)
	r.finish(b)
	return true, nil
}

func (r *reader) finish(b *batch) {
	b.count.bytes += r.e.size
	if r.e.linked && r.links != nil {
		r.links[opened.Inode{Dev: r.e.dev, Ino: r.e.ino}] = r.e.path
	}
}

func (r *reader) changed(b *batch, it *item) {
	r.e.note = "changed while it was read"
	b.warn(r.e.note, it)
}

func (b *batch) warn(what string, it *item) {
	b.warnings = append(b.warnings, what+": "+it.dir.onDisk(it.name))
}

func (r *reader) xattrs(b *batch, it *item, fd int) {
	var lost []string
	r.e.xattrs, lost = readXattrs(fd, r.attrs, r.e.xattrs[:0])
	if len(lost) > 0 {
		b.warn(fmt.Sprintf("extended attributes not captured (%s)", strings.Join(lost, ", ")), it)
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

// unchanged compares what tells a change. The change time (ctime) cannot be set back by programs.
func unchanged(a, b *unix.Stat_t) bool {
	return opened.InodeOf(a) == opened.InodeOf(b) && a.Mode == b.Mode && a.Size == b.Size && a.Mtim == b.Mtim && a.Ctim == b.Ctim
}
