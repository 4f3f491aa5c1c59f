package archive

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sync/errgroup"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/attribute"
)

// Limits on what an artifact may make a restore hold in memory.
const (
	maxWindow = 64 << 20
	maxLine   = 1 << 20
	maxPath   = 64 << 10
)

// Extract puts the content of an artifact into req.Dir, which must be empty. Every entry must be in the listing, and every
// file must have the size and hash that the listing gives; anything else is ErrCorrupt and ends it. Nothing is written outside
// the directory, whatever the artifact says: paths are resolved below it, nothing existing is overwritten, and symbolic links
// are made last.
//
// Owners and the setuid, setgid and sticky bits are restored only when running as root. Device nodes are never made, and
// sockets are not in the archive. What is not put back as it was is a warning.
func Extract(ctx context.Context, req providers.RestoreRequest, src providers.Source) error {
	if err := checkFiles(src); err != nil {
		return err
	}
	part, err := choose(ctx, src, req.Include)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(req.Dir)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := mustBeEmpty(root); err != nil {
		return err
	}
	archive, err := openZstd(ctx, src, src.Files()[0].Name)
	if err != nil {
		return err
	}
	defer archive.Close()
	listing, err := openZstd(ctx, src, listingName)
	if err != nil {
		return err
	}
	defer listing.Close()
	x := &extractor{
		archive: &tarReader{r: archive},
		tail:    archive,
		listing: bufio.NewReaderSize(listing, 64<<10),
		tree:    newTreeWriter(root),
		part:    part,
		owners:  attribute.NewNumbers(req.NumericOwner),
	}
	defer x.tree.close()
	if err := part.begin(x.tree); err != nil {
		return err
	}
	if err := x.run(ctx); err != nil {
		return err
	}
	x.tree.lost.tell(req)
	return nil
}

func mustBeEmpty(root *os.Root) error {
	f, err := root.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	names, err := f.Readdirnames(1)
	if len(names) > 0 {
		return fmt.Errorf("%s: %w", root.Name(), providers.ErrNotEmpty)
	}
	if err != io.EOF {
		return err
	}
	return nil
}

// zstdReader is a decompressed file of the artifact. Data that cannot be
// decompressed is ErrCorrupt; an error of the store is passed on as it is.
type zstdReader struct {
	name string
	raw  *rawReader
	zip  *zstd.Decoder
}

type rawReader struct {
	io.ReadCloser
	err error
}

func (r *rawReader) Read(b []byte) (int, error) {
	n, err := r.ReadCloser.Read(b)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}

func openZstd(ctx context.Context, src providers.Source, name string) (*zstdReader, error) {
	f, err := src.Open(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	raw := &rawReader{ReadCloser: f}
	zip, err := zstd.NewReader(raw, zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", name, err), f.Close())
	}
	return &zstdReader{name: name, raw: raw, zip: zip}, nil
}

func (r *zstdReader) Read(b []byte) (int, error) {
	n, err := r.zip.Read(b)
	if err == nil || err == io.EOF {
		return n, err
	}
	if r.raw.err != nil {
		return n, fmt.Errorf("read %s: %w", r.name, r.raw.err)
	}
	return n, fmt.Errorf("%w: %s: %w", providers.ErrCorrupt, r.name, err)
}

func (r *zstdReader) Close() error {
	r.zip.Close()
	return r.raw.Close()
}

// extractor reads archive and listing side by side: they have the same order.
type extractor struct {
	archive *tarReader
	tail    io.Reader // what comes after the archive's end
	listing *bufio.Reader
	tree    *treeWriter
	part    *part
	owners  *attribute.Numbers
}

func (x *extractor) run(ctx context.Context) error {
	group, gctx := errgroup.WithContext(ctx)
	jobs := make(chan smallJob, 64)
	group.Go(func() error {
		defer close(jobs)
		return x.read(gctx, jobs)
	})
	for range runtime.GOMAXPROCS(0) + 1 {
		group.Go(func() error {
			for j := range jobs {
				if err := x.tree.small(gctx, j); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return x.tree.finish(ctx)
}

func (x *extractor) read(ctx context.Context, jobs chan<- smallJob) error {
	for !x.part.done() {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, err := x.archive.Next()
		if err == io.EOF {
			return x.atEnd()
		}
		if err != nil {
			return corruptArchive(err)
		}
		l, err := x.line()
		if err == io.EOF {
			return fmt.Errorf("%w: the listing has no line for %q", providers.ErrCorrupt, h.Name)
		}
		if err != nil {
			return err
		}
		if err := x.entry(ctx, h, l, jobs); err != nil {
			return err
		}
	}
	return nil
}

// atEnd checks that the listing has ended as well, and that both files are whole to their last byte.
func (x *extractor) atEnd() error {
	if l, err := x.line(); err == nil {
		return fmt.Errorf("%w: the archive has no entry for %q", providers.ErrCorrupt, l.path())
	} else if err != io.EOF {
		return err
	}
	n, err := io.Copy(io.Discard, io.LimitReader(x.tail, 1<<20))
	if err == nil && n == 1<<20 {
		return fmt.Errorf("%w: there is more after the archive's end", providers.ErrCorrupt)
	}
	return err
}

func corruptArchive(err error) error {
	if errors.Is(err, tar.ErrHeader) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, tar.ErrFieldTooLong) {
		return fmt.Errorf("%w: archive: %w", providers.ErrCorrupt, err)
	}
	return fmt.Errorf("read archive: %w", err)
}

// line reads the next line that has an entry in the archive.
func (x *extractor) line() (*line, error) {
	for {
		l, err := x.anyLine()
		if err != nil || l.inArchive() {
			return l, err
		}
	}
}

func (x *extractor) anyLine() (*line, error) {
	text, err := readLine(x.listing)
	if err != nil {
		return nil, err
	}
	l := new(line)
	if err := json.Unmarshal(text, l); err != nil {
		return nil, fmt.Errorf("%w: listing: %w", providers.ErrCorrupt, err)
	}
	return l, nil
}

func readLine(r *bufio.Reader) ([]byte, error) {
	var long []byte
	for {
		part, err := r.ReadSlice('\n')
		if err == nil && long == nil {
			return part, nil
		}
		long = append(long, part...)
		switch {
		case err == nil:
			return long, nil
		case err == io.EOF && len(long) > 0:
			return nil, fmt.Errorf("%w: the listing ends within a line", providers.ErrCorrupt)
		case err != bufio.ErrBufferFull:
			return nil, err
		case len(long) > maxLine:
			return nil, fmt.Errorf("%w: the listing has a line of more than %d bytes", providers.ErrCorrupt, maxLine)
		}
	}
}

// smallJob is a file whose content was read and that is still to be written.
type smallJob struct {
	file node
	data *bytes.Buffer
	sum  [32]byte
}

func (x *extractor) entry(ctx context.Context, h *tar.Header, l *line, jobs chan<- smallJob) error {
	path := strings.TrimSuffix(h.Name, "/")
	if err := checkPath(path); err != nil {
		return err
	}
	if path != l.path() || l.Type == "" || kindOf(h.Typeflag) != l.Type || sizeOf(h) != l.Size {
		return fmt.Errorf("%w: the archive has %q where the listing has %q", providers.ErrCorrupt, h.Name, l.path())
	}
	n := newNode(path, h)
	if n.target != l.target() {
		return fmt.Errorf("%w: %q has another target in the listing", providers.ErrCorrupt, path)
	}
	if x.part != nil && !x.part.take(&n, l) {
		return nil
	}
	if err := x.tree.within(n.path); err != nil {
		return err
	}
	x.owners.Translate(&n.Attributes, h.Uname, h.Gname, l.ListUsers, l.ListGroups)
	switch l.Type {
	case kindDir:
		if x.part != nil { // it was made before
			x.tree.setLater(n)
			return nil
		}
		return x.tree.mkdir(n)
	case kindFile:
		if l.Incomplete {
			x.tree.lost.incomplete.Add(1)
			return nil
		}
		return x.file(ctx, n, h, l, jobs)
	case kindHardlink:
		if err := errors.Join(checkPath(n.target), x.tree.within(n.target)); err != nil {
			return err
		}
		return x.tree.later(n, l)
	case kindSymlink:
		return x.tree.later(n, l)
	case kindFIFO:
		return x.tree.fifo(n)
	case kindChar, kindBlock:
		x.tree.leaveOut(n.path)
	}
	return nil
}

func (x *extractor) file(ctx context.Context, n node, h *tar.Header, l *line, jobs chan<- smallJob) error {
	want := l.SHA256
	if isSparse(h) {
		want = l.DataSum
	}
	var sum [32]byte
	if len(want) != hex.EncodedLen(len(sum)) {
		return fmt.Errorf("%w: the listing has no hash of %q", providers.ErrCorrupt, n.path)
	}
	if _, err := hex.Decode(sum[:], []byte(want)); err != nil {
		return fmt.Errorf("%w: the listing's hash of %q: %w", providers.ErrCorrupt, n.path, err)
	}
	if isSparse(h) {
		return x.tree.sparse(ctx, n, h.Size, x.archive, sum)
	}
	if n.size > smallFile {
		return x.tree.large(ctx, n, x.archive, sum, l.Sparse)
	}
	buf := x.tree.buffer()
	if _, err := io.CopyN(buf, x.archive, n.size); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return corruptArchive(err)
	}
	select {
	case jobs <- smallJob{file: n, data: buf, sum: sum}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// isSparse reports whether a file is kept without its holes.
func isSparse(h *tar.Header) bool { return h.PAXRecords["GNU.sparse.major"] == "1" }

// sizeOf is the size that an entry is to have; -1 when that cannot be told.
func sizeOf(h *tar.Header) int64 {
	if !isSparse(h) {
		return h.Size
	}
	size, err := strconv.ParseInt(h.PAXRecords["GNU.sparse.realsize"], 10, 64)
	if err != nil || h.Typeflag != tar.TypeReg {
		return -1
	}
	return size
}

func kindOf(flag byte) string {
	switch flag {
	case tar.TypeReg:
		return kindFile
	case tar.TypeDir:
		return kindDir
	case tar.TypeSymlink:
		return kindSymlink
	case tar.TypeLink:
		return kindHardlink
	case tar.TypeFifo:
		return kindFIFO
	case tar.TypeChar:
		return kindChar
	case tar.TypeBlock:
		return kindBlock
	}
	return ""
}

// checkPath refuses what could lead out of the directory, before anything is opened.
func checkPath(path string) error {
	bad := path == "" || len(path) > maxPath || strings.ContainsRune(path, 0)
	if path != "." {
		for name := range strings.SplitSeq(path, "/") {
			bad = bad || name == "" || name == "." || name == ".."
		}
	}
	if bad {
		return fmt.Errorf("%w: %q is no path below the directory", providers.ErrCorrupt, path[:min(len(path), 200)])
	}
	return nil
}
