package command

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/process"
)

const (
	baseName   = "export"
	zstdSuffix = ".zst"
	maxWindow  = 64 << 20
)

func (d *device) Capture(ctx context.Context, req providers.CaptureRequest, sink providers.Sink) (providers.CaptureResult, error) {
	argv, err := d.capturing(ctx, req)
	if err != nil {
		return providers.CaptureResult{}, fmt.Errorf("capture %s: %w", d.name, err)
	}
	spec, err := d.spec(ctx, argv, req.Domain, "")
	if err != nil {
		return providers.CaptureResult{}, fmt.Errorf("capture %s: %w", d.name, err)
	}
	name := baseName + d.Extension
	if d.Compress {
		name += zstdSuffix
	}
	file, err := sink.Create(name)
	if err != nil {
		return providers.CaptureResult{}, fmt.Errorf("capture %s: %w", d.name, err)
	}
	out := &output{hash: sha256.New(), to: file}
	if err := d.stream(ctx, spec, out); err != nil {
		// Closed without the end of the compressed stream: what is there does not look whole.
		return providers.CaptureResult{}, d.explain("capture", errors.Join(err, file.Close()))
	}
	if err := file.Close(); err != nil {
		return providers.CaptureResult{}, d.explain("capture", err)
	}
	return providers.CaptureResult{
		Consistency: "none",
		Fingerprint: map[string]any{"bytes": out.size, "sha256": hex.EncodeToString(out.hash.Sum(nil))},
		Tool:        argv[0],
		Unpacked:    out.size,
		Source:      providers.Content{Bytes: out.size},
	}, nil
}

// stream runs the command into the sink, and ends the compressed stream only when all was well.
func (d *device) stream(ctx context.Context, spec process.Spec, out *output) error {
	var zip *zstd.Encoder
	if d.Compress {
		var err error
		if zip, err = zstd.NewWriter(out.to, zstd.WithEncoderConcurrency(2), zstd.WithZeroFrames(true)); err != nil {
			return err
		}
		defer zip.Reset(nil)
		out.to = zip
	}
	spec.Stdout = out
	if _, err := process.Run(ctx, spec); err != nil {
		return err
	}
	if out.size < int64(d.MinSize) {
		return fmt.Errorf("%w: the command wrote %d bytes, min_size is %s", providers.ErrTooSmall, out.size, d.MinSize)
	}
	if zip != nil {
		return zip.Close()
	}
	return nil
}

// output counts and hashes what the command writes, before compression.
type output struct {
	to   io.Writer
	hash interface {
		io.Writer
		Sum([]byte) []byte
	}
	size int64
}

func (o *output) Write(p []byte) (int, error) {
	n, err := o.to.Write(p)
	o.size += int64(n)
	o.hash.Write(p[:n])
	return n, err
}

// explain says which of the conditions of package providers an error is.
func (d *device) explain(op string, err error) error {
	e := &providers.Error{Op: op, Target: d.name, Err: err}
	var exit *process.ExitError
	var known *providers.Error
	switch {
	case errors.As(err, &known), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s %s: %w", op, d.name, err)
	case errors.Is(err, process.ErrStart):
		e.Err = fmt.Errorf("%w: %w", providers.ErrUnavailable, err)
		e.Hint = "Check that the program exists and may be run by holdfast."
	case errors.Is(err, process.ErrTimeout):
		e.Err = fmt.Errorf("%w: %w", providers.ErrSourceExit, err)
		e.Hint = "If the command needs that long, raise timeout."
	case errors.Is(err, process.ErrOpenOutput):
		e.Err = fmt.Errorf("%w: %w", providers.ErrSourceExit, err)
		e.Hint = "A command must not leave anything running in the background."
	case errors.As(err, &exit):
		e.Err, e.Retry = fmt.Errorf("%w: %w", providers.ErrSourceExit, err), true
	}
	return e
}

func (d *device) Restore(ctx context.Context, req providers.RestoreRequest, src providers.Source) error {
	if err := d.restore(ctx, req, src); err != nil {
		return d.explain("restore", err)
	}
	return nil
}

func (d *device) restore(ctx context.Context, req providers.RestoreRequest, src providers.Source) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if req.Dir == "" && len(d.InPlace) == 0 {
		return &providers.Error{
			Op: "restore", Target: d.name, Err: fmt.Errorf("into the device itself: %w", errors.ErrUnsupported),
			Hint: "Declare restore_in_place, or restore into a directory.",
		}
	}
	if len(src.Files()) == 0 {
		return fmt.Errorf("%w: the artifact has no files", providers.ErrCorrupt)
	}
	name := src.Files()[0].Name
	if name != filepath.Base(name) || name == "." || name == ".." {
		return fmt.Errorf("%w: the artifact's file has the name %q", providers.ErrCorrupt, name)
	}
	raw, err := src.Open(ctx, name)
	if err != nil {
		return err
	}
	defer raw.Close()
	in := &input{from: raw}
	content := io.Reader(in)
	if plain, packed := strings.CutSuffix(name, zstdSuffix); packed && !strings.HasSuffix(d.Extension, zstdSuffix) {
		zip, err := zstd.NewReader(in, zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true))
		if err != nil {
			return in.blame(err)
		}
		defer zip.Close()
		name, content = plain, &unpacked{zip, in}
	}
	if req.Dir == "" {
		return d.inPlace(ctx, req, content)
	}
	if len(d.Settings.Restore) == 0 {
		return writeFile(ctx, req.Dir, name, content)
	}
	spec, err := d.spec(ctx, d.Settings.Restore, req.Domain, req.Dir)
	if err != nil {
		return err
	}
	spec.Dir, spec.Stdin = req.Dir, content
	if _, err := process.Run(ctx, spec); err != nil {
		return err
	}
	// A command may stop reading early; the rest must be whole all the same.
	_, err = io.Copy(io.Discard, content)
	return err
}

// input remembers the error of the artifact's medium, to tell it from damaged content.
type input struct {
	from io.Reader
	size int64
	err  error
}

func (i *input) Read(p []byte) (int, error) {
	n, err := i.from.Read(p)
	i.size += int64(n)
	if err != nil && err != io.EOF {
		i.err = err
	}
	return n, err
}

func (i *input) blame(err error) error {
	if i.err != nil {
		return i.err
	}
	return fmt.Errorf("%w: %w", providers.ErrCorrupt, err)
}

type unpacked struct {
	zip *zstd.Decoder
	in  *input
}

func (u *unpacked) Read(p []byte) (int, error) {
	n, err := u.zip.Read(p)
	switch {
	case err == io.EOF && u.in.size == 0:
		err = u.in.blame(io.ErrUnexpectedEOF)
	case err != nil && err != io.EOF:
		err = u.in.blame(err)
	}
	return n, err
}

// writeFile puts content into a new file of the directory and nowhere else.
func writeFile(ctx context.Context, dir, name string, content io.Reader) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s: %w", filepath.Join(dir, name), providers.ErrNotEmpty)
	}
	if err != nil {
		return providers.Plainly(err)
	}
	if _, err := io.Copy(f, &cancellable{ctx, content}); err != nil {
		return errors.Join(err, f.Close(), root.Remove(name))
	}
	return errors.Join(f.Sync(), f.Close())
}

type cancellable struct {
	ctx  context.Context
	from io.Reader
}

func (c *cancellable) Read(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.from.Read(p)
}
