package postgresql

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/process"
)

const maxRecord = 64 << 20

// Restore writes an artifact into a directory, which needs no server: an export as its files, a secure backup as a
// data directory that a server of the same version can start on. Without a directory an export goes into the database
// req.Domain of this device, which must be absent or empty, or is replaced. The facts taken at its capture must then hold there.
func (d *device) Restore(ctx context.Context, req providers.RestoreRequest, src providers.Source) error {
	ctx, stop := d.limit(ctx)
	defer stop()
	return d.explain(ctx, "restore", d.restore(ctx, req, src))
}

func (d *device) restore(ctx context.Context, req providers.RestoreRequest, src providers.Source) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	a, err := readArtifact(ctx, src)
	if err != nil {
		return err
	}
	switch {
	case req.Dir == "" && a.has(dumpName):
		return d.restoreDatabase(ctx, a, req)
	case req.Dir == "" && a.has(baseName):
		return fmt.Errorf("a secure backup into a running server: %w", errors.ErrUnsupported)
	case req.Dir == "":
		return fmt.Errorf("settings into a running server: %w", errors.ErrUnsupported)
	case a.has(baseName):
		return d.restoreBase(ctx, a, req.Dir)
	case len(req.Include) > 0:
		return d.writePart(ctx, a, req)
	}
	return a.write(ctx, req.Dir)
}

// artifact is a source with what its record says.
type artifact struct {
	providers.Source
	record
}

// readArtifact reads the record and checks that the artifact has the files it lists and no others. An export of what
// only runs has no record, just its settings.
func readArtifact(ctx context.Context, src providers.Source) (*artifact, error) {
	a := &artifact{Source: src}
	var names []string
	for _, f := range src.Files() {
		if f.Name != fingerprintName {
			names = append(names, f.Name)
		}
	}
	slices.Sort(names)
	if len(src.Files()) == 1 && slices.Equal(names, []string{settingsName}) {
		var doc settingsDoc
		b, err := a.content(ctx, settingsName)
		if err == nil {
			err = decode(settingsName, b, &doc)
		}
		if err == nil && doc.Variant != providers.Nonpersisted {
			err = fmt.Errorf("%w: %s is of variant %q and alone", providers.ErrCorrupt, settingsName, doc.Variant)
		}
		return a, err
	}
	if len(src.Files()) == len(names) {
		return nil, fmt.Errorf("%w: no %s", providers.ErrCorrupt, fingerprintName)
	}
	b, err := a.content(ctx, fingerprintName)
	if err != nil {
		return nil, err
	}
	if err := decode(fingerprintName, b, &a.record); err != nil {
		return nil, err
	}
	sealed, err := a.seal()
	if err != nil {
		return nil, err
	}
	want := map[bool][]string{false: {baseName, settingsName}, true: {dumpName, globalsName, settingsName}}[a.Database != nil]
	switch {
	case sealed.Sum != a.Sum:
		return nil, fmt.Errorf("%w: %s does not have its own checksum", providers.ErrCorrupt, fingerprintName)
	case a.Format != 1:
		return nil, fmt.Errorf("%w: %s has format %d", providers.ErrCorrupt, fingerprintName, a.Format)
	case !slices.Equal(names, want) || !slices.Equal(slices.Sorted(maps.Keys(a.record.Files)), want),
		a.Database != nil && a.Facts == nil, a.Database == nil && a.Base == nil:
		return nil, fmt.Errorf("%w: the files %q are not those that %s lists", providers.ErrCorrupt, names, fingerprintName)
	}
	return a, nil
}

func decode(name string, b []byte, into any) error {
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("%w: %s: %w", providers.ErrCorrupt, name, err)
	}
	return nil
}

func (a *artifact) has(name string) bool {
	_, ok := a.record.Files[name]
	return ok
}

// content reads a small file whole.
func (a *artifact) content(ctx context.Context, name string) ([]byte, error) {
	var b strings.Builder
	err := a.read(ctx, name, func(r io.Reader) error {
		n, err := io.Copy(&b, io.LimitReader(r, maxRecord+1))
		if err == nil && n > maxRecord {
			err = fmt.Errorf("%w: %s is too large", providers.ErrCorrupt, name)
		}
		return err
	})
	return []byte(b.String()), err
}

// read hands a file to use. Of a file with a wrong checksum use gets an error instead of its last bytes, so that
// a program that reads it cannot take it for whole.
func (a *artifact) read(ctx context.Context, name string, use func(io.Reader) error) (err error) {
	r, err := a.Open(ctx, name)
	if err != nil {
		return fmt.Errorf("open %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	in := &checked{ctx: ctx, name: name, from: bufio.NewReaderSize(r, 64<<10), want: a.record.Files[name]}
	if in.want != "" {
		in.sum = sha256.New()
	}
	if err := use(in); err != nil {
		if in.err != nil {
			return in.err // what the reader made of it does not matter
		}
		return err
	}
	if _, err = io.Copy(io.Discard, in); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}

// checked compares the checksum, where one is known, before it gives the last bytes away.
type checked struct {
	ctx  context.Context
	name string
	from *bufio.Reader
	sum  hash.Hash
	want string
	err  error
}

func (c *checked) Read(b []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	n, err := c.from.Read(b)
	if c.sum != nil {
		c.sum.Write(b[:n])
	}
	if err != nil && err != io.EOF {
		c.err = fmt.Errorf("read %s: %w", c.name, err)
		return n, c.err
	}
	if _, next := c.from.Peek(1); next == io.EOF && c.sum != nil && hex.EncodeToString(c.sum.Sum(nil)) != c.want {
		c.err = fmt.Errorf("%w: %s", providers.ErrCorrupt, c.name)
		return 0, c.err
	}
	return n, err
}

// write puts all files into the directory as they are.
func (a *artifact) write(ctx context.Context, dir string) error {
	out, err := newUnpacker(dir)
	if err != nil {
		return err
	}
	defer out.close()
	for _, f := range a.Files() {
		if err := a.read(ctx, f.Name, func(r io.Reader) error { return out.write(f.Name, r) }); err != nil {
			return err
		}
	}
	return out.sync()
}

// Files lists the artifact's files.
func (a *artifact) Files() []providers.File { return a.Source.Files() }

// restoreBase unpacks a base backup and has pg_verifybackup check it. What made it follow another server, or kept it
// quiesced, is then taken away, so that the server starts by itself.
func (d *device) restoreBase(ctx context.Context, a *artifact, dir string) error {
	verify, err := d.find(ctx, "pg_verifybackup", a.Server.major(), true)
	if err != nil {
		return err
	}
	var doc settingsDoc
	b, err := a.content(ctx, settingsName)
	if err != nil {
		return err
	}
	if err := decode(settingsName, b, &doc); err != nil {
		return err
	}
	if err := a.read(ctx, baseName, func(r io.Reader) error {
		m, err := checkBase(ctx, r, dir)
		if err == nil && (m.start() != a.Position || m.end() != a.Base.End || len(m.Files) != a.Base.Files || m.bytes() != a.Base.Bytes) {
			err = fmt.Errorf("%w: %s is of another capture", providers.ErrCorrupt, baseName)
		}
		return err
	}); err != nil {
		return err
	}
	if err := verifyBackup(ctx, verify, dir); err != nil {
		return err
	}
	out, err := newUnpacker(dir)
	if err != nil {
		return err
	}
	defer out.close()
	return errors.Join(out.standAlone(a.Quiesced), out.configure(doc, b), out.sync())
}

// verifyBackup runs pg_verifybackup, with its reading of the log when its helper for that is there.
func verifyBackup(ctx context.Context, p program, dir string) error {
	args := []string{p.path, "--quiet"}
	if !executable(filepath.Join(filepath.Dir(p.path), "pg_waldump")) {
		args = append(args, "--no-parse-wal")
	}
	_, err := process.Run(ctx, process.Spec{Argv: append(args, dir), Env: map[string]string{"LC_ALL": "C"}})
	var exit *process.ExitError
	if errors.As(err, &exit) {
		return fmt.Errorf("%w: %w", providers.ErrCorrupt, err)
	}
	return err
}

// standAlone removes the marks of a standby, and of being quiesced.
func (u *unpacker) standAlone(quiesced bool) error {
	for _, name := range []string{"standby.signal", "recovery.signal"} {
		if err := u.root.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	const auto = "postgresql.auto.conf"
	old, err := u.root.ReadFile(auto)
	if !quiesced || errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var kept strings.Builder
	for line := range strings.Lines(string(old)) {
		if !strings.HasPrefix(line, "default_transaction_read_only") {
			kept.WriteString(line)
		}
	}
	if err := u.root.Remove(auto); err != nil {
		return err
	}
	return u.write(auto, strings.NewReader(kept.String()))
}

// configure makes what a server needs to start when its configuration was outside the data directory: settings as
// large as they were, no network, and local sessions by the name of the system's user. The originals, which
// name paths and ports of the old server, are put beside as they were recorded.
func (u *unpacker) configure(doc settingsDoc, recorded []byte) error {
	if _, err := u.root.Stat("postgresql.conf"); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	var conf strings.Builder
	conf.WriteString("# Made by holdfast, because the configuration was outside the data directory.\n# What it was is in holdfast-settings.json.\nlisten_addresses = ''\n")
	for _, name := range slices.Sorted(maps.Keys(doc.Required)) {
		fmt.Fprintf(&conf, "%s = '%s'\n", name, strings.NewReplacer("'", "''", `\`, `\\`, "\n", " ").Replace(doc.Required[name]))
	}
	files := map[string]string{"postgresql.conf": conf.String(), "holdfast-settings.json": string(recorded)}
	for name, content := range map[string]string{"pg_hba.conf": "local all all peer\n", "pg_ident.conf": ""} {
		if _, err := u.root.Stat(name); errors.Is(err, os.ErrNotExist) {
			files[name] = content
		}
	}
	for name, content := range files {
		if err := u.write(name, strings.NewReader(content)); err != nil {
			return err
		}
	}
	return nil
}
