package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/ahead"
)

// large streams a file to the disk: reading the archive, hashing and writing are beside each other. It gets its owner and mode only when
// its hash is right. Runs of zeros of a sparse file become holes again.
func (t *treeWriter) large(ctx context.Context, n node, archive io.Reader, want [32]byte, sparse bool) error {
	return t.create(n, func(fd int) error {
		sum := sha256.New()
		content := ahead.NewReader(entryReader{archive}, sum)
		defer content.Close()
		size, err := content.WriteTo(&largeFile{ctx: ctx, fd: fd, path: n.path, sparse: sparse})
		if err == nil && size != n.size {
			err = corruptArchive(io.ErrUnexpectedEOF)
		}
		if err == nil && sparse {
			err = Failed("truncate", n.path, unix.Ftruncate(fd, n.size))
		}
		if err != nil {
			return err
		}
		return sameSum(n.path, sum.Sum(nil), want)
	})
}

// sparse makes a file of its map and its data. It gets its owner and mode only when their hash is right.
func (t *treeWriter) sparse(ctx context.Context, n node, stored int64, archive io.Reader, want [32]byte) error {
	return t.create(n, func(fd int) error {
		sum := sha256.New()
		content := io.TeeReader(entryReader{archive}, sum)
		data, ok, err := readSparseMap(content, n.size, stored)
		if err == nil && !ok {
			err = fmt.Errorf("%w: %q has a map of its holes that cannot be", providers.ErrCorrupt, n.path)
		}
		if err != nil {
			return err
		}
		for _, s := range data {
			if _, err := unix.Seek(fd, s.at, io.SeekStart); err != nil {
				return Failed("seek", n.path, err)
			}
			part := io.LimitReader(content, s.size)
			if size, err := io.Copy(&largeFile{ctx: ctx, fd: fd, path: n.path, size: s.at, flushed: s.at}, part); err != nil {
				return err
			} else if size != s.size {
				return corruptArchive(io.ErrUnexpectedEOF)
			}
		}
		if err := Failed("truncate", n.path, unix.Ftruncate(fd, n.size)); err != nil {
			return err
		}
		return sameSum(n.path, sum.Sum(nil), want)
	})
}

// entryReader reads the content of an entry, and says so of its errors.
type entryReader struct{ archive io.Reader }

func (r entryReader) Read(p []byte) (int, error) {
	n, err := r.archive.Read(p)
	if err != nil && err != io.EOF {
		err = corruptArchive(err)
	}
	return n, err
}

// flushEvery is after how many bytes of a large file the kernel is asked to start writing, so that the end, which
// waits until all of it is on the medium, waits for little.
const flushEvery = 8 << 20

// largeFile writes the content of a file.
type largeFile struct {
	ctx     context.Context
	fd      int
	path    string
	sparse  bool
	size    int64
	flushed int64
}

func (f *largeFile) Write(p []byte) (int, error) {
	if err := f.ctx.Err(); err != nil {
		return 0, err
	}
	if err := writeSparse(f.fd, f.path, p, f.sparse); err != nil {
		return 0, err
	}
	f.size += int64(len(p))
	if f.size-f.flushed >= flushEvery {
		_ = unix.SyncFileRange(f.fd, f.flushed, f.size-f.flushed, unix.SYNC_FILE_RANGE_WRITE)
		f.flushed = f.size
	}
	return len(p), nil
}

func writeSparse(fd int, path string, b []byte, sparse bool) error {
	for len(b) > 0 {
		part := b
		if sparse {
			part = b[:min(len(b), len(zeros))]
			if bytes.Equal(part, zeros[:len(part)]) {
				if _, err := unix.Seek(fd, int64(len(part)), io.SeekCurrent); err != nil {
					return Failed("seek", path, err)
				}
				b = b[len(part):]
				continue
			}
		}
		if err := writeAll(fd, path, part); err != nil {
			return err
		}
		b = b[len(part):]
	}
	return nil
}
