package sqlite

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"github.com/holdfast-dr/holdfast/providers"
)

// Limits on what an artifact may make a restore hold in memory.
const (
	maxWindow = 64 << 20
	maxFacts  = 16 << 20
)

// Restore writes each database into the directory under its own name, checks
// it, and compares it with the facts that were taken at the capture. Nothing existing is overwritten.
func (d *device) Restore(ctx context.Context, req providers.RestoreRequest, src providers.Source) error {
	return d.wrap("restore", d.restore(ctx, req, src))
}

func (d *device) restore(ctx context.Context, req providers.RestoreRequest, src providers.Source) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if req.Dir == "" {
		return d.inPlace(ctx, req, src)
	}
	_, err := extract(ctx, req, src, func(name string, file *carried) error { return file.give(filepath.Join(req.Dir, name), req) })
	return err
}

// extract writes the databases into req.Dir, has done called for each with what its file carried, and gives their names.
func extract(ctx context.Context, req providers.RestoreRequest, src providers.Source, done func(string, *carried) error) (names []string, err error) {
	want, err := readFacts(ctx, src)
	if err != nil {
		return nil, err
	}
	chosen, err := choose(req, src, want)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(req.Dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	for _, f := range src.Files() {
		if f.Name == factsName {
			continue
		}
		name, err := databaseName(f.Name, req.Action, want)
		if err != nil {
			return nil, err
		}
		if !chosen[name] {
			delete(want, name)
			continue
		}
		if err := write(ctx, root, src, f.Name, name); err != nil {
			return nil, fmt.Errorf("database %s: %w", name, err)
		}
		if err := compare(ctx, filepath.Join(req.Dir, name), want[name]); err != nil {
			return nil, fmt.Errorf("database %s: %w", name, err)
		}
		if err := done(name, want[name].File); err != nil {
			return nil, fmt.Errorf("database %s: %w", name, err)
		}
		delete(want, name)
		names = append(names, name)
	}
	for name := range want {
		return nil, fmt.Errorf("%w: no file of database %q", providers.ErrCorrupt, name)
	}
	dir, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	return names, errors.Join(dir.Sync(), dir.Close())
}

func readFacts(ctx context.Context, src providers.Source) (facts, error) {
	if !slices.ContainsFunc(src.Files(), func(f providers.File) bool { return f.Name == factsName }) {
		return nil, fmt.Errorf("%w: no %s", providers.ErrCorrupt, factsName)
	}
	r, err := src.Open(ctx, factsName)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", factsName, err)
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, maxFacts))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", factsName, err)
	}
	var all facts
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", providers.ErrCorrupt, factsName, err)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%w: %s names no database", providers.ErrCorrupt, factsName)
	}
	return all, nil
}

// databaseName gives the name of the database in an artifact's file: the facts have it, and for an export it is the only one.
func databaseName(file string, action providers.Action, want facts) (string, error) {
	name := strings.TrimSuffix(file, suffix)
	if action == providers.ExportDomain && file == exportName && len(want) == 1 {
		for name = range want {
		}
	}
	if _, known := want[name]; !known || name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return "", fmt.Errorf("%w: file %q is of no known database", providers.ErrCorrupt, file)
	}
	return name, nil
}

// write puts one database into the directory and onto the medium.
func write(ctx context.Context, root *os.Root, src providers.Source, file, name string) (err error) {
	in, err := src.Open(ctx, file)
	if err != nil {
		return fmt.Errorf("open %s: %w", file, err)
	}
	raw := &rawReader{r: in}
	defer func() { err = errors.Join(err, in.Close()) }()
	zip, err := zstd.NewReader(raw, zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return err
	}
	defer zip.Close()
	out, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return providers.Plainly(err)
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if _, err := io.Copy(out, contextReader{ctx, zip}); err != nil {
		switch {
		case raw.err != nil:
			return fmt.Errorf("read %s: %w", file, raw.err)
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
			return providers.NoSpace(err)
		case errors.As(err, new(*os.PathError)):
			return err
		}
		return fmt.Errorf("%w: %s: %w", providers.ErrCorrupt, file, err)
	}
	return out.Sync()
}

// rawReader remembers an error of the store, which is no damage of the artifact.
type rawReader struct {
	r   io.Reader
	err error
}

func (r *rawReader) Read(b []byte) (int, error) {
	n, err := r.r.Read(b)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}

func compare(ctx context.Context, path string, want fact) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	got, err := examine(ctx, file)
	if err != nil {
		return err
	}
	if got.damage != "" {
		return fmt.Errorf("%w: %s", providers.ErrCorrupt, got.damage)
	}
	got.size, want.size, want.File = 0, 0, nil
	if !reflect.DeepEqual(got, want) {
		return fmt.Errorf("%w: it has %s, the capture had %s", providers.ErrCorrupt, got, want)
	}
	return nil
}

func (f fact) String() string {
	var rows int64
	for _, n := range f.Tables {
		rows += n
	}
	return fmt.Sprintf("%d tables, %d rows, schema %.12s, version %d", len(f.Tables), rows, f.Schema, f.UserVersion)
}
