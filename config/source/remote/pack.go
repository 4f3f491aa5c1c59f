package remote

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/go-git/go-billy/v5"
	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/format/idxfile"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"

	"github.com/holdfast-dr/holdfast/config/diag"
)

// Limits on a received pack. Compression and deltas make small packs grow a
// thousandfold; the sizes they announce are checked before anything grows.
const (
	maxPackObjects = 500_000
	maxPackObject  = 32 << 20  // bytes of one object, unpacked
	maxUnpacked    = 512 << 20 // bytes of all objects, unpacked
	packCache      = 32 * cache.MiByte
)

// Pack is one received pack in a temporary file: a store of objects to read.
type Pack struct {
	file  *packfile.Packfile
	index *idxfile.MemoryIndex
	dir   string
}

// receivePack stores a pack and indexes it. go-git's own way of doing so
// indexes in a goroutine, where a panic could not be caught.
func receivePack(ctx context.Context, r io.Reader) (p *Pack, err error) {
	dir, err := os.MkdirTemp("", "holdfast-git-")
	if err != nil {
		return nil, fmt.Errorf("store received objects: %w", err)
	}
	var f billy.File
	defer func() {
		if p != nil {
			return
		}
		if f != nil {
			err = errors.Join(err, f.Close())
		}
		err = errors.Join(err, os.RemoveAll(dir))
	}()
	if f, err = osfs.New(dir).Create("pack"); err != nil {
		return nil, fmt.Errorf("store received objects: %w", err)
	}
	if _, err = io.Copy(f, io.LimitReader(r, maxTransferred+1)); err != nil {
		return nil, err
	}
	guarded := &interruptible{File: f, ctx: ctx}
	if err = checkPack(guarded); err != nil {
		return nil, err
	}
	if _, err = f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	var w idxfile.Writer
	parser, err := packfile.NewParser(packfile.NewScanner(guarded), &w)
	if err != nil {
		return nil, err
	}
	if _, err = parser.Parse(); err != nil {
		return nil, badPack(ctx, err)
	}
	index, err := w.Index()
	if err != nil {
		return nil, badPack(ctx, err)
	}
	file := packfile.NewPackfileWithCache(index, nil, f, cache.NewObjectLRU(packCache), 0)
	return &Pack{file: file, index: index, dir: dir}, nil
}

func badPack(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("the objects the server sent are damaged: %s", diag.Printable(err.Error()))
}

// checkPack reads a pack once and compares every announced size with the limits.
func checkPack(f io.ReadSeeker) error {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	ctx := f.(*interruptible).ctx
	scan := packfile.NewScanner(f)
	_, count, err := scan.Header()
	if err != nil {
		return badPack(ctx, err)
	}
	if count > maxPackObjects {
		return fmt.Errorf("it sends %d objects, more than %d; clone it and name the local clone", count, maxPackObjects)
	}
	var total int64
	for range count {
		h, err := scan.NextObjectHeader()
		if err != nil {
			return badPack(ctx, err)
		}
		size := h.Length
		var start head
		if size <= maxPackObject {
			if _, _, err := scan.NextObject(&start); err != nil {
				return badPack(ctx, err)
			}
		}
		if h.Type.IsDelta() && size <= maxPackObject {
			size = max(size, start.targetSize())
		}
		total += size
		if size < 0 || size > maxPackObject || total > maxUnpacked {
			return fmt.Errorf("it sends objects that unpack to more than %d MiB each or %d MiB together; clone it and name the local clone",
				maxPackObject>>20, maxUnpacked>>20)
		}
	}
	return nil
}

// head keeps the first bytes written to it.
type head struct{ buf []byte }

func (h *head) Write(p []byte) (int, error) {
	if room := 2*binary.MaxVarintLen64 - len(h.buf); room > 0 {
		h.buf = append(h.buf, p[:min(room, len(p))]...)
	}
	return len(p), nil
}

// targetSize reads what a delta announces: the size of its base, then the size
// of its result, both as variable length integers. -1 when there is none.
func (h *head) targetSize() int64 {
	r := bytes.NewReader(h.buf)
	if _, err := binary.ReadUvarint(r); err != nil {
		return -1
	}
	size, err := binary.ReadUvarint(r)
	if err != nil || size > 1<<62 {
		return -1
	}
	return int64(size)
}

// interruptible is a file whose reads end with the context, because the
// library's long loops do not look at one.
type interruptible struct {
	billy.File
	ctx context.Context
}

func (f *interruptible) Read(p []byte) (int, error) {
	if err := f.ctx.Err(); err != nil {
		return 0, err
	}
	return f.File.Read(p)
}

func (p *Pack) EncodedObjectSize(id plumbing.Hash) (int64, error) {
	offset, err := p.index.FindOffset(id)
	if err != nil {
		return 0, err
	}
	return p.file.GetSizeByOffset(offset)
}

func (p *Pack) EncodedObject(_ plumbing.ObjectType, id plumbing.Hash) (plumbing.EncodedObject, error) {
	return p.file.Get(id)
}

func (p *Pack) HashesWithPrefix(prefix []byte) ([]plumbing.Hash, error) {
	entries, err := p.index.Entries()
	if err != nil {
		return nil, err
	}
	var ids []plumbing.Hash
	for {
		e, err := entries.Next()
		if errors.Is(err, io.EOF) {
			return ids, entries.Close()
		}
		if err != nil {
			return nil, err
		}
		if bytes.HasPrefix(e.Hash[:], prefix) {
			ids = append(ids, e.Hash)
		}
	}
}

// Close removes the temporary file.
func (p *Pack) Close() error {
	return errors.Join(p.file.Close(), os.RemoveAll(p.dir))
}
