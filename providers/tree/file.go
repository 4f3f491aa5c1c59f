package tree

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/attribute"
	"github.com/holdfast-dr/holdfast/providers/opened"
)

const (
	attempts = 3
	// settle is longer than the kernel's clock tick: a file changed less than this ago may change
	// again without its time showing it.
	settle    = 12 * time.Millisecond
	chunk     = 64 << 20  // between two looks at the context
	smallSize = 256 << 10 // up to this, reading and writing beats setting up a copy in the kernel
)

// bring copies one file, link, fifo, socket or device node to the target and puts it in place by renaming.
func (c *copying) bring(b *both, e *entry) error {
	if c.protected[e.src.id] || e.inDst && c.protected[e.dst.id] {
		return errProtected
	}
	var err error
	for range attempts {
		var size int64
		if size, err = c.bringOnce(b, e); err == nil {
			c.copied.Add(1)
			c.bytes.Add(size)
			c.progress(1, 0)
			return nil
		}
		if gone(err) {
			if _, ok, lerr := b.src.lstat(e.name); lerr == nil && !ok {
				c.files.Add(-1)
				return nil
			}
		}
		if !errors.Is(err, providers.ErrChanged) && !gone(err) || c.ctx.Err() != nil {
			return err
		}
		var ok bool
		if e.src, ok, err = b.src.lstat(e.name); err != nil {
			return err
		} else if !ok {
			c.files.Add(-1)
			return nil
		}
		if e.src.isDir() {
			return fmt.Errorf("%w: it is no file any more", providers.ErrChanged)
		}
		err = fmt.Errorf("%w, %d times", providers.ErrChanged, attempts)
	}
	return err
}

func (c *copying) bringOnce(b *both, e *entry) (int64, error) {
	if err := c.changes(b); err != nil {
		return 0, err
	}
	if e.src.nlink > 1 {
		if l := c.link(&e.src); l != nil {
			return c.linked(l, b, e)
		}
	}
	return c.place(b, e, func(temp string) (int64, error) { return c.create(b, e, temp) })
}

// place puts what create makes under a temporary name into its place.
func (c *copying) place(b *both, e *entry, create func(temp string) (int64, error)) (int64, error) {
	temp := tempName()
	size, err := create(temp)
	if err == nil {
		err = b.dst.loosened(e.name, func() error { return unix.Renameat(b.dst.fd, temp, b.dst.fd, e.name) })
	}
	if err != nil {
		if uerr := unix.Unlinkat(b.dst.fd, temp, 0); uerr != nil && uerr != unix.ENOENT {
			err = errors.Join(err, fmt.Errorf("remove unfinished %s: %w", temp, uerr))
		}
		return 0, err
	}
	if e.flags != 0 {
		return size, c.flagName(b, e)
	}
	return size, nil
}

// create makes the target's entry under a temporary name.
func (c *copying) create(b *both, e *entry, temp string) (size int64, err error) {
	switch e.src.kind() {
	case unix.S_IFREG:
		return c.content(b, e, temp)
	case unix.S_IFLNK:
		var to string
		if to, err = b.src.readlink(e.name); err == nil {
			err = unix.Symlinkat(to, b.dst.fd, temp)
		}
	default:
		err = unix.Mknodat(b.dst.fd, temp, e.src.kind()|0o600, int(e.src.rdev))
	}
	if err != nil {
		return 0, err
	}
	return 0, c.describe(join(b.path, e.name), attribute.Named(b.src.fd, e.name), attribute.Named(b.dst.fd, temp), &e.src)
}

// content copies a regular file and checks that it did not change meanwhile.
func (c *copying) content(b *both, e *entry, temp string) (int64, error) {
	release, err := opened.Read(c.ctx, opened.Inode{Dev: e.src.id.dev, Ino: e.src.id.ino})
	if err != nil {
		return 0, err
	}
	defer release()
	from, err := b.src.openat(e.name, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(from)
	before, err := dir{from}.stat()
	if err != nil {
		return 0, err
	}
	if !before.isFile() || c.protected[before.id] {
		return 0, providers.ErrChanged
	}
	if before, err = c.settled(from, before); err != nil {
		return 0, err
	}
	to, err := b.dst.openat(temp, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o600)
	if err != nil {
		return 0, err
	}
	err = c.data(from, to, &before)
	if err == nil {
		err = c.describe(join(b.path, e.name), attribute.Opened(from), attribute.Opened(to), &before)
	}
	e.flags = attribute.FlagsOf(from)
	if err == nil {
		err = unchangedSince(from, &before)
	}
	e.src = before
	return before.size, errors.Join(err, closed(to))
}

func closed(fd int) error {
	if err := unix.Close(fd); err != nil && err != unix.EINTR {
		return err
	}
	return nil
}

// settled waits until a later change of the file is sure to show in its times.
func (c *copying) settled(fd int, i info) (info, error) {
	last := i.ctime
	if before(last, i.mtime) {
		last = i.mtime
	}
	age := time.Since(time.Unix(last.Unix()))
	if age < 0 || age >= settle {
		return i, nil
	}
	wait := time.NewTimer(settle - age)
	defer wait.Stop()
	select {
	case <-wait.C:
		return dir{fd}.stat()
	case <-c.ctx.Done():
		return i, context.Cause(c.ctx)
	}
}

// unchangedSince checks that neither content nor anything else of an open file changed.
func unchangedSince(fd int, before *info) error {
	after, err := dir{fd}.stat()
	if err != nil {
		return err
	}
	if after.size != before.size || after.mtime != before.mtime || after.ctime != before.ctime {
		return providers.ErrChanged
	}
	return nil
}

// data copies the bytes, leaving holes where the source has them.
func (c *copying) data(from, to int, i *info) error {
	if i.blocks*512 >= i.size {
		return c.part(from, to, 0, i.size)
	}
	for pos := int64(0); pos < i.size; {
		start, err := unix.Seek(from, pos, unix.SEEK_DATA)
		if err == unix.ENXIO {
			break
		}
		if err != nil {
			return c.part(from, to, pos, i.size)
		}
		end, err := unix.Seek(from, start, unix.SEEK_HOLE)
		if err != nil {
			return err
		}
		if err := c.part(from, to, start, min(end, i.size)); err != nil {
			return err
		}
		pos = end
	}
	return unix.Ftruncate(to, i.size)
}

var copyBuffers = sync.Pool{New: func() any { b := make([]byte, smallSize); return &b }}

// part copies from start to end, in the kernel where it can: shared blocks, server-side copies.
func (c *copying) part(from, to int, start, end int64) error {
	inKernel := end-start > smallSize
	for pos := start; pos < end; {
		if c.ctx.Err() != nil {
			return context.Cause(c.ctx)
		}
		n := 0
		if inKernel {
			in, out := pos, pos
			var err error
			n, err = retry(func() (int, error) {
				return unix.CopyFileRange(from, &in, to, &out, int(min(end-pos, chunk)), 0)
			})
			if err != nil && !cannotCopy(err) {
				return err
			}
			inKernel = err == nil && n > 0
		}
		if !inKernel {
			var err error
			if n, err = through(from, to, pos, end); err != nil {
				return err
			}
			if n == 0 {
				return providers.ErrChanged
			}
		}
		pos += int64(n)
		c.progress(0, int64(n))
	}
	return nil
}

// sameBytes compares the content of two open files.
func (c *copying) sameBytes(a, b int, size int64) (bool, error) {
	x, y := copyBuffers.Get().(*[]byte), copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(x)
	defer copyBuffers.Put(y)
	for pos := int64(0); pos < size; {
		if c.ctx.Err() != nil {
			return false, context.Cause(c.ctx)
		}
		n, err := retry(func() (int, error) { return unix.Pread(a, *x, pos) })
		if err != nil || n == 0 {
			return false, err
		}
		m, err := retry(func() (int, error) { return unix.Pread(b, (*y)[:n], pos) })
		if err != nil || !bytes.Equal((*x)[:n], (*y)[:m]) {
			return false, err
		}
		pos += int64(n)
	}
	return true, nil
}

func cannotCopy(err error) bool {
	switch err {
	case unix.EXDEV, unix.ENOSYS, unix.EINVAL, unix.EOPNOTSUPP, unix.EPERM, unix.EIO, unix.EBADF:
		return true
	}
	return false
}

func through(from, to int, pos, end int64) (int, error) {
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	n, err := retry(func() (int, error) { return unix.Pread(from, (*buf)[:min(end-pos, smallSize)], pos) })
	if err != nil {
		return 0, err
	}
	for done := 0; done < n; {
		m, err := retry(func() (int, error) { return unix.Pwrite(to, (*buf)[done:n], pos+int64(done)) })
		if err != nil {
			return 0, err
		}
		done += m
	}
	return n, nil
}
